"""Follows references to secrets: `env:NAME`, `file:/path`, `keyring:service/user`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from llmcore.config.keys import nearest

__all__ = ["FORMS", "Unresolved", "resolve"]

FORMS: Final = 'a reference: "env:NAME", "file:/path" or "keyring:service/user"'
_MOST_BYTES: Final = 65_536


class Unresolved(Exception):
    """A reference leads nowhere. Not a ValueError: msgspec would take that for a value that does not fit."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "LC201",
        expected: str = FORMS,
        suggestion: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.expected = expected
        self.suggestion = suggestion
        self.fix = fix


def resolve(reference: str, *, env: Mapping[str, str], folder: Path | None) -> str:
    """Return what the reference leads to.

    Args:
        reference: One of `FORMS`.
        env: The variables that `env:` sees.
        folder: What the path of `file:` is relative to.

    Raises:
        Unresolved: It leads nowhere, or to nothing.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        return _from_env(rest, env)
    if scheme == "file":
        return _from_file(rest, env, folder)
    return _from_keyring(rest)


def _from_env(name: str, env: Mapping[str, str]) -> str:
    if re.fullmatch(r"[A-Za-z_]\w*", name) is None:
        raise Unresolved("a reference `env:` without the name of a variable", code="LC104")
    value = env.get(name, "").strip()
    if value:
        return value
    state = "is empty" if name in env else "is not set"
    near = _similar(name, env)
    raise Unresolved(
        f"the environment variable {name} {state}",
        expected=f"environment variable {name} to be set" + (f" (it is not; {near} is)" if near else ""),
        suggestion=near,
        fix=f"export {name}=…",
    )


def _similar(name: str, env: Mapping[str, str]) -> str | None:
    by_lower = {other.lower(): other for other in env if other != name and env[other].strip()}
    found = nearest(name, by_lower)
    return by_lower[found] if found else None


def _from_file(text: str, env: Mapping[str, str], folder: Path | None) -> str:
    if not text:
        raise Unresolved("a reference `file:` without a path", code="LC104")
    if text.startswith("~/") and env.get("HOME"):
        path = Path(env["HOME"], text[2:])
    else:
        path = (folder or Path.cwd()) / text.removeprefix("//")
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        value = data.decode("utf-8-sig").strip()
    except OSError as error:
        raise Unresolved(
            f"the file {path} cannot be read: {error.strerror or type(error).__name__}",
            expected="a file that holds the secret and nothing else",
        ) from None
    except UnicodeDecodeError:
        raise Unresolved(f"the file {path} is not text in UTF-8") from None
    if not value or len(data) > _MOST_BYTES:
        raise Unresolved(
            f"the file {path} is {'too large for a secret' if value else 'empty'}",
            expected="a file that holds the secret and nothing else",
        )
    return value


def _from_keyring(text: str) -> str:
    service, _, user = text.partition("/")
    if not (service and user):
        raise Unresolved("a reference `keyring:` without service and user", code="LC104")
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise Unresolved(
            "the package keyring, which reads the system's key store, is not installed",
            expected='the package keyring, or another reference: "env:NAME", "file:/path"',
            fix="pip install keyring",
        ) from None
    try:
        value = keyring.get_password(service, user)
    except Exception as error:  # noqa: BLE001 - every desktop's key store has its own errors
        raise Unresolved(f"the system's key store failed: {type(error).__name__}") from None
    if not value:
        raise Unresolved(
            f"the system's key store has nothing for {user} of {service}",
            fix=f"keyring set {service} {user}",
        )
    return str(value)
