"""What a configuration may hold: its sections, their keys, and how each value is read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from llmcore.config import readers
from llmcore.config.keys import Path, index_of
from llmcore.config.readers import Reader, choice, named
from llmcore.units import Duration, Size

__all__ = [
    "BUDGETS_KEYS",
    "BUDGET_KEYS",
    "BUILT_IN",
    "LIMIT_KEYS",
    "LISTS",
    "OPTION_KINDS",
    "PRICE_KEYS",
    "SECTIONS",
    "TIER",
    "keys_of",
    "reader_of",
    "wants_text",
]

_MODELS: Final = Reader(
    readers.models,
    "a model or a list of models",
    '"provider:model", another name of [models], or a list of them in the order in which to try them',
    "echo:echo",
    text=True,
)
_USD: Final = Reader(readers.price, "a price", "US dollars per million tokens, 0 or more: 0.25", "0.25")
_DURATION: Final = Reader(readers.period, "a duration", Duration.expected, "10m")

BUDGET_KEYS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "alert_at": Reader(
            readers.fractions,
            "a list of fractions",
            "parts of the limit, above 0: [0.5, 0.8, 1.0]",
            "[0.8, 1.0]",
        ),
        "alert_command": Reader(
            readers.command,
            "a program and its arguments",
            'a list of texts, which no shell sees: ["notify-send", "llmcore"]',
            '["notify-send", "llmcore"]',
        ),
        "alert_url": Reader(
            readers.address,
            "an address or a reference to one",
            'a reference, such as "env:ALERT_WEBHOOK", or an address that begins with http:// or https://',
            "env:ALERT_WEBHOOK",
            text=True,
        ),
        "limit": Reader(
            readers.allowance,
            "an amount of US dollars, or of characters",
            f'0 or more, at most {readers.MOST_USD:,}: "5.00 USD", or the number alone; of speech also "100_000 characters"',
            "5.00 USD",
            text=True,
        ),
        "on_exceed": choice(
            "a way to treat a call that does not fit",
            '"refuse", the call is not made; or "warn", it is made and reported',
            "refuse",
            "warn",
        ),
        "per": choice(
            "a period", '"day" or "month", by UTC; or "total", which never ends', "day", "month", "total"
        ),
        "unknown_price": choice(
            "a way to treat a call whose price nobody knows",
            '"refuse", the call is not made; or "allow", it is made and not counted',
            "refuse",
            "allow",
        ),
    }
)
"""The keys of [budget]."""

BUDGETS_KEYS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        **BUDGET_KEYS,
        "model": Reader(
            readers.scope,
            "a model with its provider",
            '"provider:model", or "provider:" for all models of one',
            "echo:echo",
            text=True,
        ),
        "tag": named("nightly", "a tag, as calls name it in tags="),
        "user": named("ann", "a user, as calls name one in user="),
    }
)
"""The keys of each of the [[budgets]]."""

LIMIT_KEYS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "concurrency": Reader(
            readers.count, "a number of calls", "a whole number of calls at once, 1 or more", "64"
        ),
        "requests_per_minute": Reader(
            readers.count, "a number of requests", "a whole number, 1 or more", "500"
        ),
        "tokens_per_minute": Reader(
            readers.count, "a number of tokens", "a whole number, 1 or more", "200000"
        ),
    }
)
"""The keys of [limits], and of [limits."provider:model"]."""

SECTIONS: Final[Mapping[str, Mapping[str, Reader]]] = MappingProxyType(
    {
        "llm": {
            "model": named("gpt-5.6-luna", "the name of a model, in quotes"),
            "provider": named("echo", "the name of an installed provider, in quotes"),
        },
        "models": {},
        "cache": {
            "eviction": choice(
                "a way to choose what goes from a full cache",
                '"lru", what was used longest ago; or "lfu", what is used least often',
                "lru",
                "lfu",
            ),
            "memory": Reader(readers.size, "a size", f"{Size.expected}; 0 turns the tier off", "64MB"),
            "max_size": Reader(readers.size, "a size", Size.expected, "1GB"),
            "namespace": named("default", "text without which other applications' entries are left alone"),
            "provider": named("file", "the name of an installed provider, in quotes"),
            "refresh": Reader(
                readers.part, "a part of the ttl", 'a number between 0 and 1; or "never"', "0.8"
            ),
            "ttl": Reader(readers.lifetime, "a duration", f'{Duration.expected}; or "never"', "1h"),
        },
        "storage": {"provider": named("fs", "the name of an installed provider, in quotes")},
        "voice": {
            "fallback": Reader(
                readers.names,
                "a list of providers",
                'names of installed providers, in the order in which to try them: ["espeak"]',
                '["espeak"]',
            ),
            "provider": named("espeak", "the name of an installed provider, in quotes"),
        },
        "budget": BUDGET_KEYS,
        "budgets": {},
        "prices": {},
        "limits": LIMIT_KEYS,
        "ledger": {
            "durability": choice(
                "a durability",
                '"normal", safe whatever becomes of the process; or "full", safe when the power goes, too',
                "normal",
                "full",
            ),
            "enabled": Reader(readers.flag, "true or false", "true or false, without quotes", "true"),
            "path": named(
                "./ledger.sqlite3", "the path of a file, in quotes; counted from this file's folder"
            ),
        },
        "retry": {
            "attempts": Reader(
                readers.count,
                "a number of attempts",
                "a whole number, 1 or more: the first attempt counts",
                "4",
            ),
            "deadline": _DURATION,
            "idle": Reader(readers.period, "a duration", Duration.expected, "60s"),
        },
        "observers": {
            "use": Reader(readers.names, "a list of names", 'names of installed observers: ["name"]', "[]")
        },
    }
)
"""Section -> key -> how it is read. [models], [prices] and [limits] take names, too, and [[budgets]] is a list:
see `reader_of`."""

LISTS: Final = frozenset({"budgets"})
"""Sections that are lists of tables. A key's path names an entry by its index, counted from 0: `budgets.0.limit`."""

TIER: Final = ("cache", "memory")
"""The size of the memory tier; as a table, the options of the embedded provider that shares its name."""

OPTION_KINDS: Final = frozenset({"llm", "cache", "storage", "voice", "observers"})
"""Sections with a table for each provider, [kind.name], which is checked against the provider's own options."""

PRICE_KEYS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "audio_input": _USD,
        "audio_output": _USD,
        "cache_write": _USD,
        "cache_write_12h": _USD,
        "cached_input": _USD,
        "characters": _USD,
        "input": _USD,
        "output": _USD,
    }
)

BUILT_IN: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "llm": {"provider": "echo"},
        "cache": {"provider": "file", "ttl": "1h", "namespace": "default"},
        "ledger": {"durability": "normal", "enabled": True},
        "retry": {"attempts": 4, "deadline": "10m", "idle": "60s"},
        "observers": {"use": []},
        "voice": {"fallback": []},
    }
)


def keys_of(table: Path) -> Mapping[str, Reader] | None:
    """Return the keys of the table at *table*; None where a provider's options or nothing at all decides."""
    if table[:1] == ("profiles",):
        table = table[2:]
    match table:
        case ("prices", _):
            return PRICE_KEYS
        case ("limits", _):
            return LIMIT_KEYS
        case ("budgets", index) if index_of(index) is not None:
            return BUDGETS_KEYS
        case (section,):
            return SECTIONS.get(section)
    return None


def reader_of(path: Path) -> Reader | None:
    """Return how the value at *path* is read; None where a provider's options or nothing at all decides."""
    if path[:1] == ("profiles",):
        path = path[2:]
    if len(path) == 2 and path[0] == "models":  # noqa: PLR2004 - [models] and a name
        return _MODELS
    known = keys_of(path[:-1])
    return known.get(path[-1]) if known else None


def wants_text(path: Path) -> bool:
    """Tell whether the value at *path* is text even where it looks like a number."""
    reader = reader_of(path)
    return reader is not None and reader.text
