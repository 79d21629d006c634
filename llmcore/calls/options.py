"""Read a provider's options, which the plugin may define as a msgspec structure, dataclass, named tuple or dict."""

from __future__ import annotations

from typing import Any, Final

from llmcore.support.digests import start_sha256
from llmcore.types import Secret

__all__ = ["describe", "make_identity", "options_to_dict", "scrub"]

_LONGEST: Final = 500
"""Maximum number of characters of a foreign text that are shown."""


def options_to_dict(options: Any) -> dict[str, Any]:
    """Return the fields of a msgspec structure, dataclass, named tuple or dict, by name."""
    if isinstance(options, dict):
        return options
    names: Any = ()
    for attribute in ("__struct_fields__", "__dataclass_fields__", "_fields"):
        names = names or getattr(options, attribute, ())
    return {name: getattr(options, name) for name in names}


def describe(error: BaseException, options: Any) -> str:
    """Return the class and the message of a foreign exception, without the secrets in *options*."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({scrub(repr(error.code), options) if error.code is not None else ''})"
    try:
        text = scrub(str(error), options)
    except Exception:  # noqa: BLE001 - the `__str__` of a foreign exception may fail
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def scrub(text: str, options: Any) -> str:
    """Return *text*, shortened, without the secrets in *options*."""
    for secret in _find_secrets(options):
        text = text.replace(secret, "…")
    return text[:_LONGEST]


def _find_secrets(options: Any) -> list[str]:
    """Return the secrets among the options, which must not be shown."""
    return [
        value.reveal()
        for value in options_to_dict(options).values()
        if isinstance(value, Secret) and value.reveal()
    ]


def make_identity(options: Any) -> dict[str, Any]:
    """Return all options, with secrets as digests: the default identity of a backend."""
    return {name: _to_identity_value(value) for name, value in options_to_dict(options).items()}


def _to_identity_value(value: Any) -> Any:
    if isinstance(value, Secret):
        return start_sha256(value.reveal().encode()).hexdigest()
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
