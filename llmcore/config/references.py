"""Resolve references to secrets: `env:NAME`, `file:/path`, `keyring:service/user`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from llmcore.config.keys import find_nearest
from llmcore.interrupts import is_interrupt
from llmcore.support.errors import raise_unchained
from llmcore.support.home import find_home
from llmcore.support.user_folders import get_working_folder

__all__ = ["FORMS", "Unresolved", "resolve"]

FORMS: Final = 'a reference: "env:NAME", "file:/path" or "keyring:service/user"'
_MAX_BYTES: Final = 65_536
"""Maximum size in bytes of a file that contains a secret. A larger file is probably the wrong file."""


class Unresolved(Exception):
    """Raised if a reference cannot be resolved.

    The class is not a ValueError, because msgspec would report a ValueError as an invalid value.
    """

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
    """Return the value that the reference refers to.

    Args:
        reference: One of `FORMS`.
        env: The environment variables for `env:`.
        folder: The folder to which the path of `file:` is relative.

    Raises:
        Unresolved: The value does not exist or is empty.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        return _read_env(rest, env)
    if scheme == "file":
        return _read_file(rest, env, folder)
    return _read_keyring(rest)


def _read_env(name: str, env: Mapping[str, str]) -> str:
    if re.fullmatch(r"[A-Za-z_]\w*", name) is None:
        raise Unresolved("a reference `env:` without the name of a variable", code="LC104")
    value = env.get(name, "").strip()
    if value:
        return value
    state = "is empty" if name in env else "is not set"
    near = _find_similar(name, env)
    raise Unresolved(
        f"the environment variable {name} {state}",
        expected=f"environment variable {name} to be set" + (f" (it is not; {near} is)" if near else ""),
        suggestion=near,
        fix=f"export {name}=…",
    )


def _find_similar(name: str, env: Mapping[str, str]) -> str | None:
    """Return the variable that the user probably meant.

    The key of another vendor is never returned, because it would be sent to the wrong server.
    """
    by_lower = {other.lower(): other for other in env if other != name and env[other].strip()}
    found = find_nearest(name, by_lower)
    owner = _find_owner(name)
    return by_lower[found] if found and find_nearest(owner, [_find_owner(found)]) else None


def _find_owner(variable: str) -> str:
    """Return the first word of a variable's name, such as "openai" for OPENAI_API_KEY."""
    return variable.lower().strip("_").partition("_")[0]


def _read_file(text: str, env: Mapping[str, str], folder: Path | None) -> str:
    if not text:
        raise Unresolved("a reference `file:` without a path", code="LC104")
    home = find_home(env) if text.startswith("~/") else None
    path = (folder or _get_working_folder()) / text.removeprefix("//") if home is None else home / text[2:]
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        value = data.decode("utf-8-sig").strip()
    except OSError as error:
        raise_unchained(
            Unresolved(
                f"the file {path} cannot be read: {error.strerror or type(error).__name__}",
                expected="a file that holds the secret and nothing else",
            )
        )
    except UnicodeDecodeError:
        raise_unchained(Unresolved(f"the file {path} is not text in UTF-8"))
    if not value or len(data) > _MAX_BYTES:
        raise Unresolved(
            f"the file {path} is {'too large for a secret' if value else 'empty'}",
            expected="a file that holds the secret and nothing else",
        )
    return value


def _get_working_folder() -> Path:
    try:
        return get_working_folder()
    except OSError as error:
        raise_unchained(Unresolved(str(error.strerror), expected="an absolute path"))


def _read_keyring(text: str) -> str:
    service, _, user = text.partition("/")
    if not (service and user):
        raise Unresolved("a reference `keyring:` without service and user", code="LC104")
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise_unchained(
            Unresolved(
                "the package keyring, which reads the system's key store, is not installed",
                expected='the package keyring, or another reference: "env:NAME", "file:/path"',
                fix="pip install keyring",
            )
        )
    try:
        value = keyring.get_password(service, user)
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise_unchained(Unresolved(f"the system's key store failed: {type(error).__name__}"))
    if not value:
        raise Unresolved(
            f"the system's key store has nothing for {user} of {service}",
            fix=f"keyring set {service} {user}",
        )
    return str(value)
