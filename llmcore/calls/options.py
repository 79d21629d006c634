"""Reading a provider's options, of whatever structure its author chose."""

from __future__ import annotations

from typing import Any, Final

from llmcore.types import Secret

__all__ = ["fields_of", "scrubbed", "secrets_of"]

LONGEST: Final = 500
"""Characters of a stranger's text that are passed on."""


def fields_of(options: Any) -> dict[str, Any]:
    """Return the fields of a msgspec structure, dataclass, named tuple or dict, by name."""
    if isinstance(options, dict):
        return options
    names: Any = ()
    for attribute in ("__struct_fields__", "__dataclass_fields__", "_fields"):
        names = names or getattr(options, attribute, ())
    return {name: getattr(options, name) for name in names}


def scrubbed(text: str, options: Any) -> str:
    """Return *text*, shortened, without the secrets that *options* hold."""
    for secret in secrets_of(options):
        text = text.replace(secret, "…")
    return text[:LONGEST]


def secrets_of(options: Any) -> list[str]:
    """Return the secrets among the options, to keep them out of what is shown."""
    return [
        value.reveal()
        for value in fields_of(options).values()
        if isinstance(value, Secret) and value.reveal()
    ]
