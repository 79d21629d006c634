"""What a configuration may hold: its sections, their keys, and how each value is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

import msgspec

from llmcore.config.keys import Path
from llmcore.units import Duration, Size

__all__ = [
    "BUILT_IN",
    "OPTION_KINDS",
    "PRICE_KEYS",
    "SECTIONS",
    "UNAVAILABLE",
    "Reader",
    "reader_of",
    "wants_text",
]


class Reader(msgspec.Struct, frozen=True):
    """How one value is read."""

    read: Callable[[Any], Any]
    """Return the checked value; ValueError or TypeError where it does not fit."""
    noun: str
    """What the value should be, after "is not "."""
    expected: str
    example: str
    """A value to paste, as `llmcore config set` takes it."""
    text: bool = False
    """Whether text is wanted, so that a variable's "123" stays text."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def _lifetime(value: Any) -> float | None:
    if value == "never":
        return None
    return _period(value)


def _period(value: Any) -> float:
    seconds = float(Duration.parse(value))
    if seconds <= 0:
        raise ValueError
    return seconds


def _size(value: Any) -> int:
    return int(Size.parse(value))


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _eviction(value: Any) -> str:
    if value not in ("lru", "lfu"):
        raise ValueError
    return str(value)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(_text(item) for item in value)


def _models(value: Any) -> tuple[str, ...]:
    names = (_text(value),) if isinstance(value, str) else _names(value)
    if not names:
        raise ValueError
    for name in names:
        provider, colon, model = name.partition(":")
        if name != name.strip() or (colon and not (provider.strip() and model.strip())):
            raise ValueError
    return names


def _price(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        raise ValueError from None
    if not price.is_finite() or price < 0 or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError
    return price


def _named(example: str, what: str = "text") -> Reader:
    return Reader(_text, "text", what, example, text=True)


_MODELS: Final = Reader(
    _models,
    "a model or a list of models",
    '"provider:model", another name of [models], or a list of them in the order in which to try them',
    "echo:echo",
    text=True,
)
_USD: Final = Reader(_price, "a price", "US dollars per million tokens, 0 or more: 0.25", "0.25")

SECTIONS: Final[Mapping[str, Mapping[str, Reader]]] = MappingProxyType(
    {
        "llm": {
            "model": _named("gpt-5.6-luna", "the name of a model, in quotes"),
            "provider": _named("echo", "the name of an installed provider, in quotes"),
        },
        "models": {},
        "cache": {
            "eviction": Reader(
                _eviction,
                "a way to choose what goes from a full cache",
                '"lru", what was used longest ago; or "lfu", what is used least often',
                "lru",
                text=True,
            ),
            "memory": Reader(_size, "a size", f"{Size.expected}; 0 turns the tier off", "64MB"),
            "max_size": Reader(_size, "a size", Size.expected, "1GB"),
            "namespace": _named("default", "text without which other applications' entries are left alone"),
            "provider": _named("file", "the name of an installed provider, in quotes"),
            "ttl": Reader(_lifetime, "a duration", f'{Duration.expected}; or "never"', "1h"),
        },
        "storage": {"provider": _named("fs", "the name of an installed provider, in quotes")},
        "voice": {"provider": _named("espeak", "the name of an installed provider, in quotes")},
        "prices": {},
        "retry": {
            "attempts": Reader(
                _count, "a number of attempts", "a whole number, 1 or more: the first attempt counts", "4"
            ),
            "deadline": Reader(_period, "a duration", Duration.expected, "10m"),
            "idle": Reader(_period, "a duration", Duration.expected, "60s"),
        },
        "observers": {
            "use": Reader(_names, "a list of names", 'names of installed observers: ["name"]', "[]")
        },
    }
)
"""Section -> key -> how it is read. [models] and [prices] take any name: see `reader_of`."""

TIER: Final = ("cache", "memory")
"""The size of the memory tier; as a table, the options of the embedded provider that shares its name."""

OPTION_KINDS: Final = frozenset({"llm", "cache", "storage", "voice", "observers"})
"""Sections with a table for each provider, [kind.name], which is checked against the provider's own options."""

PRICE_KEYS: Final[Mapping[str, Reader]] = MappingProxyType(
    {"cache_write": _USD, "cached_input": _USD, "input": _USD, "output": _USD}
)

UNAVAILABLE: Final[frozenset[Path]] = frozenset({("budget",), ("budgets",), ("limits",)})
"""Known, and not acted on by this version. To take a limit and hold nobody to it would be worse than refusing it."""

BUILT_IN: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "llm": {"provider": "echo"},
        "cache": {"provider": "file", "ttl": "1h", "namespace": "default"},
        "retry": {"attempts": 4, "deadline": "10m", "idle": "60s"},
        "observers": {"use": []},
    }
)


def reader_of(path: Path) -> Reader | None:
    """Return how the value at *path* is read; None where a provider's options or nothing at all decides."""
    if path[:1] == ("profiles",):
        path = path[2:]
    match path:
        case ("models", _):
            return _MODELS
        case ("prices", _, key):
            return PRICE_KEYS.get(key)
        case (section, key):
            return SECTIONS.get(section, {}).get(key)
    return None


def wants_text(path: Path) -> bool:
    """Tell whether the value at *path* is text even where it looks like a number."""
    reader = reader_of(path)
    return reader is not None and reader.text
