"""The checked configuration (provider, model, namespace, TTL, ...): the values and their layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import msgspec

from llmcore.config.dict_layer import copy_tree, find_named_layer
from llmcore.config.keys import Path, format_key, parse_key
from llmcore.config.layers import MISSING, BuiltIn, Layer, get_tables, iterate_leaves, lookup
from llmcore.config.mask import format_value, is_secret_name
from llmcore.config.money import (
    Budget,
    LedgerSettings,
    LimitRule,
    SharedLimitsSettings,
    read_budgets,
    read_ledger,
    read_limits,
    read_shared_limits,
)
from llmcore.config.schema import INSTANCE_KINDS, OPTION_KINDS, SECTIONS, TIER
from llmcore.config.sections import Cache, Llm, Price, Retry, Selected, Voice, read_price
from llmcore.errors import ConfigError
from llmcore.hookspecs import Provider, Table
from llmcore.process_bound import ProcessBound

__all__ = ["Explained", "Item", "Settings"]


_MEMORY_TIER: Final = 64 * 10**6
_ON_OUTAGE: Final = "memory"


class Explained(NamedTuple):
    """The value of a key in one layer."""

    layer: str
    source: str | None
    value: str
    """The value as text; secrets are hidden."""
    wins: bool


class Item(NamedTuple):
    """One effective setting."""

    key: str
    value: str
    """The value as text; secrets are hidden."""
    layer: str
    source: str | None


class Settings(ProcessBound):
    """A checked configuration. Immutable."""

    __slots__ = (
        "_budgets", "_env", "_layers", "_secret", "_tree", "cache", "engines", "ledger", "limits", "llm", "models", "observers",
        "prices", "retry", "shared_limits", "storage", "voice", "warnings",
    )  # fmt: skip

    _budgets: tuple[Budget, ...] | None
    _env: Mapping[str, str]
    _layers: tuple[Layer, ...]
    _secret: set[Path]
    _tree: Mapping[str, Any]
    llm: Llm
    models: Mapping[str, tuple[str, ...]]
    """Name -> models as "provider:model", tried in order."""
    cache: Cache
    storage: Selected
    voice: Voice
    engines: Selected
    retry: Retry
    prices: Mapping[str, Price]
    """The prices by "provider:model", or by "provider" for all models of a provider."""
    limits: Mapping[str, LimitRule]
    """The rate limits by "provider" or "provider:model". The key "" has the default for every provider."""
    shared_limits: SharedLimitsSettings | None
    """The store that shares the rate limits among processes; None if each process counts for itself."""
    ledger: LedgerSettings
    observers: tuple[str, ...]
    warnings: tuple[ConfigError, ...]
    """Variables that look like settings but are not read; `llmcore config check` reports these as errors."""

    def __init__(
        self,
        layers: tuple[Layer, ...],
        tree: Mapping[str, Any],
        models: Mapping[str, tuple[str, ...]],
        env: Mapping[str, str],
        *,
        warnings: Sequence[ConfigError] = (),
    ) -> None:
        def read(section: str, key: str) -> Any:
            value = lookup(tree, (section, key))
            if (section, key) == TIER and (value is MISSING or isinstance(value, Mapping)):
                return _MEMORY_TIER
            if (section, key) == ("cache", "on_outage") and value is MISSING:
                return _ON_OUTAGE
            return None if value is MISSING else SECTIONS[section][key].read(value)

        def keep(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        keep("_layers", layers)
        keep("_tree", tree)
        keep("_env", env)
        keep("warnings", tuple(warnings))
        keep("_secret", set())
        keep("_budgets", None)
        keep("llm", Llm(read("llm", "provider"), read("llm", "model")))
        keep("models", MappingProxyType(dict(models)))
        keep("cache", Cache(*(read("cache", key) for key in Cache.__struct_fields__)))
        keep("storage", Selected(read("storage", "provider")))
        keep("voice", Voice(read("voice", "provider"), read("voice", "fallback")))
        keep("engines", Selected(read("batch", "engine")))
        keep("retry", Retry(read("retry", "attempts"), read("retry", "deadline"), read("retry", "idle")))
        prices = {name: read_price(table) for name, table in tree.get("prices", {}).items()}
        keep("prices", MappingProxyType(prices))
        keep("limits", MappingProxyType(read_limits(tree)))
        keep("shared_limits", read_shared_limits(tree))
        ledger = read_ledger(tree, self.find_owner, env)
        keep("ledger", msgspec.structs.replace(ledger, format_set_line=self.format_set_line))
        keep("observers", read("observers", "use"))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are immutable: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"settings are immutable: {name}")

    def __repr__(self) -> str:
        return f"<Settings llm={self.llm.provider} cache={self.cache.provider}>"

    @property
    def env(self) -> Mapping[str, str]:
        """The environment variables for `env:` references."""
        return self._env

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets, [budget] first. The first access resolves their references.

        Raises:
            ConfigError: An `alert_url` cannot be resolved; the attribute `faults` has all errors.
        """
        if self._budgets is None:
            budgets, faults = read_budgets(self._tree, self.find_owner, self._env)
            if faults:
                raise ConfigError.of(faults)
            object.__setattr__(self, "_budgets", budgets)
            return budgets
        return self._budgets

    def read_options(self, kind: str, provider: Provider) -> object:
        """Return the table [kind.name] as the options of the provider, with secrets resolved.

        Generic keys of [cache] are the defaults of options with the same name.

        Raises:
            ConfigError: Some values are invalid; the attribute `faults` has all errors.
        """
        from llmcore.config.options import check_options

        return check_options(self, kind, provider)

    def read_table(self, table: Table) -> object:
        """Return the options in a plugin's own table, such as [gateway], with secrets resolved.

        See `read_options`.
        """
        from llmcore.config.options import check_table

        return check_table(self, table)

    def get_table(self, kind: str, name: str) -> dict[str, Any]:
        """Return the merged table [kind.name] as written, with unresolved references; empty if there is none."""
        table = self.get((kind, name))
        return copy_tree(table) if isinstance(table, Mapping) else {}

    def list_tables(self, kind: str) -> tuple[str, ...]:
        """Return the names of the providers that have a table [kind.name]."""
        section = self._tree.get(kind, {})
        return tuple(name for name, value in section.items() if isinstance(value, Mapping))

    def list_instances(self, kind: str) -> dict[str, str]:
        """Return the instances of *kind* with the provider that each uses: `[llm.local] use = "openai"`."""
        if kind not in INSTANCE_KINDS:
            return {}
        section = self._tree.get(kind, {})
        return {
            name: table["use"]
            for name, table in section.items()
            if isinstance(table, Mapping) and "use" in table
        }

    def get(self, path: Path) -> Any:
        """Return the effective value as written, or MISSING."""
        return lookup(self._tree, path)

    def find_owner(self, path: Path) -> Layer:
        """Return the layer of the effective value at *path*, or of the innermost table around it."""
        for depth in range(len(path), 0, -1):
            for layer in reversed(self._layers):
                if layer.get(path[:depth]) is not MISSING:
                    return layer
        return self._layers[0]

    def hide(self, path: Path) -> None:
        """Mark the value at *path* as a secret, which is never displayed."""
        self._secret.add(path)

    def find_position(self, key: str | Path) -> str | None:
        """Return the position of the effective value: `file:line:column`, a variable or `load(...)["section"]`; None for a default."""
        path = parse_key(key)
        return None if self.get(path) is MISSING else self.find_owner(path).find_position(path)

    def get_written(self, path: Path) -> Any:
        """Return the effective value at *path* as written; None if it is a default or missing."""
        value = self.get(path)
        return None if value is MISSING or type(self.find_owner(path)) is BuiltIn else value

    def locate(self, paths: Iterable[Path]) -> tuple[str, str | None] | None:
        """Return the position and the line of the first setting in *paths* that is set.

        The result is None if all are unset.
        """
        for path in paths:
            if self.get_written(path) is not None:
                place = self.make_error(path, "")
                if place.where is not None:
                    return place.where, place.excerpt
        return None

    def format_set_line(self, path: Path, value: str) -> str:
        """Return the line to paste that sets *path* to *value*; *path* need not be set yet."""
        for depth in range(len(path), 0, -1):
            for layer in reversed(self._layers[1:]):
                if layer.get(path[:depth]) is not MISSING and (line := layer.format_set_fix(path, value)):
                    return line
        return find_named_layer(self._layers).format_set_fix(path, value) or ""

    def format_command(self, words: str) -> str:
        """Return the command line that runs the command *words* with the same configuration."""
        return find_named_layer(self._layers).format_command(words)

    def make_error(
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
        """Return an error at the position of a key, or of the table around it if the key is not set.

        If *fix* is None and *suggestion* is given, the fix is the line that sets the key to the *suggestion*.
        """
        path = parse_key(key)
        layer = self.find_owner(path)
        if fix is None and suggestion is not None:
            fix = self.format_set_line(path, suggestion)
        secret = path in self._secret
        return layer.make_error(
            path, message, code=code, at=at, expected=expected, suggestion=suggestion, fix=fix, notes=notes,
            secret=secret,
        )  # fmt: skip

    def explain(self, key: str | Path) -> list[Explained]:
        """Return the value of a key in each layer, lowest layer first.

        Raises:
            ConfigError: The key is unknown.
        """
        path = parse_key(key)
        rows = [
            (layer, value)
            for layer in self._layers
            if (value := layer.get(path)) is not MISSING and not _is_empty_table(value, path)
        ]
        if not rows:
            from llmcore.config.tables import check_exists

            check_exists(path)
        # the list of a higher layer may lack the entry: then no layer has the effective value
        last = None if self.get(path) is MISSING else len(rows) - 1
        return [
            Explained(layer.name, layer.find_position(path), self._format(path, value), index == last)
            for index, (layer, value) in enumerate(rows)
        ]

    def list_settings(self) -> list[Item]:
        """Return every effective setting."""
        found = []
        for path, value in iterate_leaves(self._tree):
            layer, text = self.find_owner(path), self._format(path, value)
            found.append(Item(format_key(path), text, layer.name, layer.find_position(path)))
        return found

    def _format(self, path: Path, value: Any) -> str:
        if isinstance(value, Mapping):
            inner = [
                f"{format_key(key)} = {self._format(path + key, item)}" for key, item in iterate_leaves(value)
            ]
            return "{ " + ", ".join(inner) + " }" if inner else "{}"
        if tables := get_tables(value):
            return f"[{', '.join(self._format((*path, index), table) for index, table in tables.items())}]"
        secret = any(path[:depth] in self._secret for depth in range(1, len(path) + 1))
        if path[0] in OPTION_KINDS:
            secret = secret or any(is_secret_name(part) for part in path)
        return format_value(path[-1], value, secret=secret)


def _is_empty_table(value: Any, path: Path) -> bool:
    return isinstance(value, Mapping) and not value and len(path) == 1
