"""What a checked configuration says, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import msgspec

from llmcore.config.keys import Path, dotted, nearest, split
from llmcore.config.layers import MISSING, Layer, leaves, lookup, tables_in
from llmcore.config.mask import is_secret_name, shown
from llmcore.config.money import Budget, LedgerSettings, Limit, read_budgets, read_ledger, read_limits
from llmcore.config.schema import OPTION_KINDS, PRICE_KEYS, SECTIONS, TIER, keys_of
from llmcore.errors import ConfigError
from llmcore.hookspecs import Provider

__all__ = ["Cache", "Explained", "Item", "Llm", "Price", "Retry", "Selected", "Settings", "Voice"]


MEMORY_TIER: Final = 64 * 10**6


class Llm(msgspec.Struct, frozen=True):
    """[llm]."""

    provider: str
    model: str | None


class Cache(msgspec.Struct, frozen=True):
    """[cache]."""

    provider: str
    ttl: float | None
    """Seconds; None keeps entries until they are evicted."""
    namespace: str
    max_size: int | None
    """Bytes; None leaves it to the provider."""
    memory: int
    """Bytes of the memory tier; 0 turns it off."""
    refresh: float | None
    """After which part of its ttl a reply is asked for anew, in the background; None for never."""


class Selected(msgspec.Struct, frozen=True):
    """[storage]."""

    provider: str | None
    """None where nothing is configured."""


class Voice(msgspec.Struct, frozen=True):
    """[voice]."""

    provider: str | None
    """None where nothing is configured."""
    fallback: tuple[str, ...]
    """Providers that are tried in order where that one fails."""


class Retry(msgspec.Struct, frozen=True):
    """[retry]."""

    attempts: int
    """In all, the first one counted."""
    deadline_s: float
    """Seconds for all attempts and bodies."""
    idle_s: float
    """Longest silence inside one answer, in seconds."""


class Price(msgspec.Struct, frozen=True):
    """[prices."provider:model"], in USD per million tokens; `ledger.prices` says what stands in for None."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_12h: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    characters: Decimal | None = None
    """USD per million characters that are spoken."""


class Explained(NamedTuple):
    """What one layer says of a key."""

    layer: str
    source: str | None
    value: str
    """As text, secrets hidden."""
    wins: bool


class Item(NamedTuple):
    """One effective setting."""

    key: str
    value: str
    """As text, secrets hidden."""
    layer: str
    source: str | None


class Settings:
    """A checked configuration. It does not change."""

    __slots__ = (
        "_budgets", "_env", "_layers", "_secret", "_tree", "cache", "ledger", "limits", "llm", "models", "observers",
        "prices", "retry", "storage", "voice",
    )  # fmt: skip

    _budgets: tuple[Budget, ...] | None
    _env: Mapping[str, str]
    _layers: tuple[Layer, ...]
    _secret: set[Path]
    _tree: Mapping[str, Any]
    llm: Llm
    models: Mapping[str, tuple[str, ...]]
    """Name -> "provider:model", in the order in which to try them."""
    cache: Cache
    storage: Selected
    voice: Voice
    retry: Retry
    prices: Mapping[str, Price]
    """By "provider:model"."""
    limits: Mapping[str, Limit]
    """By "provider" or "provider:model"; what holds for every provider, each by itself, is ""."""
    ledger: LedgerSettings
    observers: tuple[str, ...]

    def __init__(
        self,
        layers: tuple[Layer, ...],
        tree: Mapping[str, Any],
        models: Mapping[str, tuple[str, ...]],
        env: Mapping[str, str],
    ) -> None:
        def read(section: str, key: str) -> Any:
            value = lookup(tree, (section, key))
            if (section, key) == TIER and (value is MISSING or isinstance(value, Mapping)):
                return MEMORY_TIER
            return None if value is MISSING else SECTIONS[section][key].read(value)

        def keep(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        keep("_layers", layers)
        keep("_tree", tree)
        keep("_env", env)
        keep("_secret", set())
        keep("_budgets", None)
        keep("llm", Llm(read("llm", "provider"), read("llm", "model")))
        keep("models", MappingProxyType(dict(models)))
        keep("cache", Cache(*(read("cache", key) for key in Cache.__struct_fields__)))
        keep("storage", Selected(read("storage", "provider")))
        keep("voice", Voice(read("voice", "provider"), read("voice", "fallback")))
        keep("retry", Retry(read("retry", "attempts"), read("retry", "deadline"), read("retry", "idle")))
        keep(
            "prices",
            MappingProxyType({name: _price(table) for name, table in tree.get("prices", {}).items()}),
        )
        keep("limits", MappingProxyType(read_limits(tree)))
        keep("ledger", read_ledger(tree, self.owner, env))
        keep("observers", read("observers", "use"))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings do not change: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"settings do not change: {name}")

    def __repr__(self) -> str:
        return f"<Settings llm={self.llm.provider} cache={self.cache.provider}>"

    @property
    def env(self) -> Mapping[str, str]:
        """The variables that `env:` references see."""
        return self._env

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets, [budget] first. The references in them are followed when they are first asked for.

        Raises:
            ConfigError: An `alert_url` leads nowhere; `faults` tells all of it.
        """
        if self._budgets is None:
            budgets, faults = read_budgets(self._tree, self.owner, self._env)
            if faults:
                raise ConfigError.of(faults)
            object.__setattr__(self, "_budgets", budgets)
            return budgets
        return self._budgets

    def options(self, kind: str, provider: Provider) -> object:
        """Return the table [kind.name] as the provider's own options, its secrets resolved.

        Generic keys of [cache] serve where the provider has an option of that name and its table says nothing.

        Raises:
            ConfigError: Something does not fit; `faults` tells all of it.
        """
        from llmcore.config.options import check_options

        return check_options(self, kind, provider)

    def table(self, kind: str, name: str) -> dict[str, Any]:
        """Return the merged table [kind.name] as it was written, references unresolved; empty where there is none."""
        table = self.get((kind, name))
        return deepcopy(dict(table)) if isinstance(table, Mapping) else {}

    def tables(self, kind: str) -> tuple[str, ...]:
        """Return the names of the providers that have a table [kind.name]."""
        section = self._tree.get(kind, {})
        return tuple(name for name, value in section.items() if isinstance(value, Mapping))

    def get(self, path: Path) -> Any:
        """Return the effective value as it was written, or MISSING."""
        return lookup(self._tree, path)

    def owner(self, path: Path) -> Layer:
        """Return the layer that decides *path*, or the nearest table around it."""
        for depth in range(len(path), 0, -1):
            for layer in reversed(self._layers):
                if layer.get(path[:depth]) is not MISSING:
                    return layer
        return self._layers[0]

    def hide(self, path: Path) -> None:
        """Never show what stands at *path*."""
        self._secret.add(path)

    def where(self, key: str | Path) -> str | None:
        """Return where the effective value stands: `file:line:column`, a variable, or "argument"; else None."""
        path = split(key)
        return None if self.get(path) is MISSING else self.owner(path).where(path)

    def fault(
        self,
        key: str | Path,
        message: str,
        *,
        code: str | None = None,
        at: Literal["key", "value"] = "value",
        expected: str | None = None,
        suggestion: str | None = None,
        fix: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> ConfigError:
        """Return an error that points at a key, or at the table around it where the key is not set.

        A *fix* of None becomes the line that sets the key to the *suggestion*, where there is one.
        """
        path = split(key)
        layer = self.owner(path)
        if fix is None and suggestion is not None:
            fix = layer.to_set(path, suggestion)
        secret = path in self._secret
        return layer.fault(
            path, message, code=code, at=at, expected=expected, suggestion=suggestion, fix=fix, notes=notes,
            secret=secret,
        )  # fmt: skip

    def explain(self, key: str | Path) -> list[Explained]:
        """Return what every layer says of a key, lowest first.

        Raises:
            ConfigError: There is no such key.
        """
        path = split(key)
        rows = [
            (layer, value)
            for layer in self._layers
            if (value := layer.get(path)) is not MISSING and not _empty_table(value, path)
        ]
        if not rows:
            _must_exist(path)
        effective = self.get(path) is not MISSING  # a layer above may have another list, of fewer entries
        return [
            Explained(
                layer.name, layer.where(path), self._shown(path, value), index == len(rows) - 1 and effective
            )
            for index, (layer, value) in enumerate(rows)
        ]

    def items(self) -> list[Item]:
        """Return every effective setting."""
        found = []
        for path, value in leaves(self._tree):
            layer = self.owner(path)
            found.append(Item(dotted(path), self._shown(path, value), layer.name, layer.where(path)))
        return found

    def _shown(self, path: Path, value: Any) -> str:
        if isinstance(value, Mapping):
            inner = [f"{dotted(key)} = {self._shown(path + key, item)}" for key, item in leaves(value)]
            return "{ " + ", ".join(inner) + " }" if inner else "{}"
        if tables := tables_in(value):
            return (
                "[" + ", ".join(self._shown((*path, index), table) for index, table in tables.items()) + "]"
            )
        secret = any(path[:depth] in self._secret for depth in range(1, len(path) + 1))
        if path[0] in OPTION_KINDS:
            secret = secret or any(is_secret_name(part) for part in path)
        return shown(path[-1], value, secret=secret)


def _price(table: Mapping[str, Any]) -> Price:
    return Price(**{key: PRICE_KEYS[key].read(value) for key, value in table.items()})


def _empty_table(value: Any, path: Path) -> bool:
    return isinstance(value, Mapping) and not value and len(path) == 1


def _must_exist(path: Path) -> None:
    section = path[0]
    if section not in SECTIONS:
        meant = nearest(section, SECTIONS)
        raise ConfigError(
            f"there is no section [{section}]",
            code="LC102",
            expected=", ".join(SECTIONS),
            suggestion=meant and dotted((meant, *path[1:])),
        )
    table, name = path[:-1], path[-1]
    known = keys_of(table)
    if known and name not in known and table != ("limits",):  # there, names of providers are keys, too
        meant = nearest(name, known)
        raise ConfigError(
            f"there is no key `{name}` in [{dotted(table)}]",
            code="LC102",
            expected=", ".join(sorted(known)),
            suggestion=meant and dotted((*table, meant)),
        )
