"""The schema of a configuration: the sections, their keys, and a function that reads each value."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from llmcore.config import readers
from llmcore.config.keys import Path, parse_index
from llmcore.config.readers import Reader, make_choice, make_text_reader
from llmcore.units import Duration, Size

__all__ = [
    "BUDGETS_KEYS",
    "BUDGET_KEYS",
    "BUILT_IN",
    "HOST_KEYS",
    "INSTANCE_KINDS",
    "LIMIT_KEYS",
    "LISTS",
    "OPTION_KINDS",
    "PRICE_KEYS",
    "SECTIONS",
    "SHARED_KEYS",
    "SHARED_LIMITS",
    "TIER",
    "get_keys",
    "get_reader",
    "is_free",
    "is_text_wanted",
]

_MODELS: Final = Reader(
    readers.read_models,
    "a model or a list of models",
    '"provider:model", another name of [models], or a list of them, tried in order',
    "echo:echo",
    text=True,
)
_USD: Final = Reader(readers.read_price, "a price", "US dollars per million tokens, 0 or more: 0.25", "0.25")
_DURATION: Final = Reader(readers.read_period, "a duration", Duration.expected, "10m")

BUDGET_KEYS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "alert_at": Reader(
            readers.read_fractions,
            "a list of fractions",
            "fractions of the limit, greater than 0: [0.5, 0.8, 1.0]",
            "[0.8, 1.0]",
        ),
        "alert_command": Reader(
            readers.read_command,
            "a program and its arguments",
            'a list of texts, run without a shell: ["notify-send", "llmcore"]',
            '["notify-send", "llmcore"]',
        ),
        "alert_email": Reader(
            readers.read_mail_addresses,
            "an e-mail address or a list of them",
            'addresses that get an e-mail through the server in [smtp]: ["ann@example.com"]',
            "ann@example.com",
            text=True,
        ),
        "alert_faster_than": Reader(
            readers.read_factor,
            "a number greater than 1",
            f"how many times an average day a day may cost: a number greater than 1, at most {readers.MAX_FACTOR}",
            "3.0",
        ),
        "alert_slack_url": Reader(
            readers.read_address,
            "a URL or a reference to one",
            'the address of an incoming webhook of Slack or a compatible server: "env:SLACK_WEBHOOK", or a URL',
            "env:SLACK_WEBHOOK",
            text=True,
        ),
        "alert_url": Reader(
            readers.read_address,
            "a URL or a reference to one",
            'a reference, such as "env:ALERT_WEBHOOK", or a URL that starts with http:// or https://',
            "env:ALERT_WEBHOOK",
            text=True,
        ),
        "limit": Reader(
            readers.read_allowance,
            "an amount in USD or characters",
            f'0 or more, at most {readers.MAX_USD:,}: "5.00 USD", or a number alone; for speech also "100_000 characters"',
            "5.00 USD",
            text=True,
        ),
        "on_exceed": make_choice(
            '"refuse", the call is refused; or "warn", the call is made and logged',
            "refuse",
            "warn",
        ),
        "per": make_choice(
            '"day" or "month", in UTC; or "total", which never resets', "day", "month", "total"
        ),
        "unknown_price": make_choice(
            '"refuse", the call is refused; or "allow", the call is made and not counted',
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
            readers.read_scope,
            "a model with its provider",
            '"provider:model", or "provider:" for all models of a provider',
            "echo:echo",
            text=True,
        ),
        "tag": make_text_reader("nightly", "a tag, as calls pass it in tags="),
        "user": make_text_reader("ann", "a user, as calls pass it in user="),
    }
)
"""The keys of each entry of [[budgets]]."""

LIMIT_KEYS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "concurrency": Reader(
            readers.read_count,
            "a whole number of at least 1",
            "a whole number of concurrent calls, 1 or more",
            "64",
        ),
        "requests_per_minute": Reader(
            readers.read_count, "a whole number of at least 1", "a whole number, 1 or more", "500"
        ),
        "tokens_per_minute": Reader(
            readers.read_count, "a whole number of at least 1", "a whole number, 1 or more", "200000"
        ),
    }
)
"""The keys of [limits], and of [limits."provider:model"]."""

SHARED_KEYS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "lease": Reader(readers.read_period, "a duration", Duration.expected, "20s"),
        "processes": Reader(
            readers.read_count,
            "a whole number of at least 1",
            "the number of processes that share the limits, 1 or more",
            "8",
        ),
        "use": make_text_reader("redis", "the name of an installed cache with rate limits, in quotes"),
    }
)
"""Keys that the host reads in [limits.shared], in addition to the options of the cache."""

SECTIONS: Final[Mapping[str, Mapping[str, Reader]]] = MappingProxyType(
    {
        "llm": {
            "model": make_text_reader("gpt-5.6-luna", "the name of a model, in quotes"),
            "provider": make_text_reader("echo", "the name of an installed provider, in quotes"),
        },
        "models": {},
        "cache": {
            "eviction": make_choice(
                '"lru", evict the least recently used entry; or "lfu", evict the least frequently used entry',
                "lru",
                "lfu",
            ),
            "memory": Reader(readers.read_size, "a size", f"{Size.expected}; 0 turns the tier off", "64MB"),
            "max_size": Reader(readers.read_size, "a size", Size.expected, "1GB"),
            "namespace": make_text_reader("default", "text that separates the entries of applications"),
            "on_outage": make_choice(
                '"memory", the memory tier serves and stores entries; or "miss", every look-up misses',
                "memory",
                "miss",
            ),
            "provider": make_text_reader("file", "the name of an installed provider, in quotes"),
            "refresh": Reader(
                readers.read_part,
                'a number between 0 and 1 or "never"',
                'a number between 0 and 1; or "never"',
                "0.8",
            ),
            "ttl": Reader(readers.read_lifetime, "a duration", f'{Duration.expected}; or "never"', "1h"),
        },
        "storage": {"provider": make_text_reader("fs", "the name of an installed provider, in quotes")},
        "voice": {
            "fallback": Reader(
                readers.read_names,
                "a list of providers",
                'names of installed providers, tried in order: ["espeak"]',
                '["espeak"]',
            ),
            "provider": make_text_reader("espeak", "the name of an installed provider, in quotes"),
        },
        "batch": {
            "engine": make_text_reader(
                "local", "the name of an installed engine, in quotes; it runs the requests of batches"
            )
        },
        "engines": {},
        "budget": BUDGET_KEYS,
        "budgets": {},
        "prices": {},
        "limits": {
            **LIMIT_KEYS,
            "shared": make_text_reader("redis", "the name of an installed cache with rate limits, in quotes"),
        },
        "ledger": {
            "durability": make_choice(
                '"normal", survives the end of the process; or "full", also survives a power cut',
                "normal",
                "full",
            ),
            "enabled": Reader(readers.read_flag, "true or false", "true or false, without quotes", "true"),
            "path": make_text_reader(
                "./ledger.sqlite3",
                "the path of a file, in quotes; relative to the folder of the configuration file",
            ),
            "provider": make_text_reader("sqlite", "the name of an installed provider, in quotes"),
        },
        "retry": {
            "attempts": Reader(
                readers.read_count,
                "a whole number of at least 1",
                "a whole number, 1 or more, including the first attempt",
                "4",
            ),
            "deadline": _DURATION,
            "idle": Reader(readers.read_period, "a duration", Duration.expected, "60s"),
        },
        "observers": {
            "use": Reader(
                readers.read_names, "a list of names", 'names of installed observers: ["name"]', "[]"
            )
        },
    }
)
"""Section -> key -> reader.

[models], [prices] and [limits] also have names as keys, and [[budgets]] is a list; see `get_reader`.
"""

LISTS: Final = frozenset({"budgets"})
"""Sections that are lists of tables.

A path names an entry by its index, counted from 0: `budgets.0.limit`.
"""

TIER: Final = ("cache", "memory")
"""The key that sets the size of the memory tier.

If its value is a table, [cache.memory], the table has the options of the provider `memory`.
"""

SHARED_LIMITS: Final = ("limits", "shared")
"""The key that names the cache through which processes share rate limits.

If its value is a table, [limits.shared], the table has options of that cache.
"""

OPTION_KINDS: Final = frozenset({"llm", "cache", "storage", "voice", "ledger", "engines", "observers"})
"""Sections with a table for each provider, [kind.name], which is checked against the provider's options."""

INSTANCE_KINDS: Final = OPTION_KINDS - {"observers"}
"""Kinds whose tables may be instances: `[llm.local] use = "openai"`."""

HOST_KEYS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "extra_models": Reader(
            readers.read_names,
            "a list of models",
            'models of the server whose names llmcore would report as misspelt: ["gpt-7-solo"]',
            '["gpt-7-solo"]',
        ),
        "use": make_text_reader("openai", "the name of an installed provider, in quotes"),
    }
)
"""Keys that the host reads in the table of a provider or instance, in addition to the provider's options."""

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


def is_free(price: object) -> bool:
    """Return whether an entry of [prices] is 0: a free model, or a provider with only free models."""
    return isinstance(price, int | float) and not isinstance(price, bool) and price == 0


BUILT_IN: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "llm": {"provider": "echo"},
        "cache": {"provider": "file", "ttl": "1h", "namespace": "default"},
        "ledger": {"durability": "normal", "enabled": True, "provider": "sqlite"},
        "batch": {"engine": "local"},
        "retry": {"attempts": 4, "deadline": "10m", "idle": "60s"},
        "observers": {"use": []},
        "voice": {"fallback": []},
    }
)


def get_keys(table: Path) -> Mapping[str, Reader] | None:
    """Return the keys of the table at *table*.

    The result is None if the table is unknown or contains the options of a provider.
    """
    if table[:1] == ("profiles",):
        table = table[2:]
    match table:
        case ("prices", _):
            return PRICE_KEYS
        case ("limits", "shared"):
            return None
        case ("limits", _):
            return LIMIT_KEYS
        case ("budgets", index) if parse_index(index) is not None:
            return BUDGETS_KEYS
        case (section,):
            return SECTIONS.get(section)
    return None


def get_reader(path: Path) -> Reader | None:
    """Return the reader of the value at *path*; None if the path is unknown or names an option of a provider."""
    if path[:1] == ("profiles",):
        path = path[2:]
    if len(path) == 2 and path[0] == "models":  # noqa: PLR2004 - a path of two parts: [models] and a name
        return _MODELS
    if len(path) == 3 and path[0] in INSTANCE_KINDS:  # noqa: PLR2004 - a path of three parts: kind, provider, key
        return HOST_KEYS.get(path[2])
    if path[:-1] == SHARED_LIMITS:
        return SHARED_KEYS.get(path[2])
    known = get_keys(path[:-1])
    return known.get(path[-1]) if known else None


def is_text_wanted(path: Path) -> bool:
    """Return whether the value at *path* is text, even if it looks like a number."""
    reader = get_reader(path)
    return reader is not None and reader.text
