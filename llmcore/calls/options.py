"""Reading a provider's options, of whatever structure its author chose."""

from __future__ import annotations

from typing import Any

from llmcore.types import Secret

__all__ = ["fields_of", "secrets_of"]


def fields_of(options: Any) -> dict[str, Any]:
    """Return the fields of a msgspec structure, dataclass, named tuple or dict, by name."""
    if isinstance(options, dict):
        return options
    names: Any = ()
    for attribute in ("__struct_fields__", "__dataclass_fields__", "_fields"):
        names = names or getattr(options, attribute, ())
    return {name: getattr(options, name) for name in names}


def secrets_of(options: Any) -> list[str]:
    """Return the secrets among the options, to keep them out of what is shown."""
    return [
        value.reveal()
        for value in fields_of(options).values()
        if isinstance(value, Secret) and value.reveal()
    ]
