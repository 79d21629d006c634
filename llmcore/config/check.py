"""Checks one layer against the schema, and finds every fault of it in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from llmcore.config.keys import Path, dotted, index_of, nearest
from llmcore.config.layers import FileLayer, Layer, tables_in
from llmcore.config.mask import HIDDEN, is_secret_name, mask_text, shown
from llmcore.config.readers import Reader
from llmcore.config.schema import (
    BUDGETS_KEYS,
    LIMIT_KEYS,
    LISTS,
    OPTION_KINDS,
    PRICE_KEYS,
    SECTIONS,
    TIER,
    keys_of,
    reader_of,
)
from llmcore.errors import ConfigError

__all__ = ["check_layer", "unknown_key"]

_TOP: Final = ("profiles",)
_PRICES_NEEDED: Final = ("input", "output")


def check_layer(layer: Layer) -> list[ConfigError]:
    """Return every fault of one layer, its profiles included, in the order of the file."""
    return _Check(layer).run()


class _Check:
    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.faults: list[ConfigError] = []

    def run(self) -> list[ConfigError]:
        self._sections((), self.layer.tree)
        return self.faults

    def _sections(self, base: Path, tree: Mapping[Any, Any]) -> None:
        checks: dict[str, Callable[[Path, Mapping[Any, Any]], None]] = {
            "models": self._models,
            "prices": self._prices,
            "limits": self._limits,
        }
        for name, value in tree.items():
            path = (*base, str(name))
            if name == "profiles" and not base:
                self._profiles(value)
            elif name not in SECTIONS:
                self._unknown_section(path, value, base)
            elif name in LISTS:
                self._list(path, value)
            elif not isinstance(value, Mapping):
                self._not_a_table(path, value)
            else:
                checks.get(name, self._keys)(path, value)

    def _profiles(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            self._wrong(("profiles",), value, "a table of profiles", "[profiles.NAME.SECTION]")
            return
        for name, tree in value.items():
            path = ("profiles", str(name))
            if isinstance(tree, Mapping):
                self._sections(path, tree)
            else:
                self._wrong(path, tree, "a profile", f"sections inside it: [profiles.{name}.cache]")

    def _keys(self, path: Path, table: Mapping[Any, Any]) -> None:
        section = path[-1]
        known = SECTIONS[section]
        for name, value in table.items():
            key = (*path, str(name))
            if name in known and not ((section, name) == TIER and isinstance(value, Mapping)):
                self._value(key, value)
            elif not isinstance(value, Mapping) or section not in OPTION_KINDS:
                self.faults.append(unknown_key(self.layer, key, value, known))

    def _limits(self, path: Path, table: Mapping[Any, Any]) -> None:
        for name, value in table.items():
            key = (*path, str(name))
            if name in LIMIT_KEYS:
                self._value(key, value)
            elif not isinstance(value, Mapping):
                self.faults.append(unknown_key(self.layer, key, value, LIMIT_KEYS))
            elif not all(part and part == part.strip() for part in str(name).split(":", 1)):
                self.faults.append(
                    self.layer.fault(
                        key,
                        f"`{name}` in [{dotted(path)}] is not the name of a provider or model",
                        code="LC104",
                        at="key",
                        expected=f'[{dotted(path)}.openai] for a provider, [{dotted(path)}."openai:gpt-6"] for a model',
                        fix=self.layer.to_unset(key),
                    )
                )
            else:
                self._table(key, value, LIMIT_KEYS)

    def _list(self, path: Path, value: Any) -> None:
        """Check a list of tables, or single entries of it by their index, as variables name them."""
        tables = tables_in(value)
        in_file = isinstance(self.layer, FileLayer)
        one_table = in_file and isinstance(value, Mapping) and any(index_of(key) is None for key in value)
        if one_table or not (tables or value == []):
            name = dotted(path)
            self.faults.append(
                self.layer.fault(
                    path,
                    f"`{path[-1]}` is not a list of tables: {shown(path[-1], value)}",
                    code="LC104",
                    at="key",
                    expected=f"[[{name}]], in two brackets, above the keys of each",
                    fix=f"[[{name}]]" if in_file else None,
                )
            )
            return
        for index, table in tables.items():
            key = (*path, index)
            known = keys_of(key)
            if known is None:
                self.faults.append(
                    self.layer.fault(
                        key,
                        f"`{index}` is not the number of an entry of [[{dotted(path)}]]",
                        code="LC102",
                        at="key",
                        expected="0 for the first one, 1 for the second",
                        fix=self.layer.to_unset(key),
                    )
                )
            elif isinstance(table, Mapping):
                self._table(key, table, known)
            else:
                self._wrong(key, table, "a table", f"the keys: {', '.join(known)}", self.layer.to_unset(key))

    def _table(self, path: Path, table: Mapping[Any, Any], known: Mapping[str, Reader]) -> None:
        for name, value in table.items():
            key = (*path, str(name))
            if name in known:
                self._value(key, value)
            else:
                self.faults.append(unknown_key(self.layer, key, value, known))

    def _models(self, path: Path, table: Mapping[Any, Any]) -> None:
        for name, value in table.items():
            self._value((*path, str(name)), value)

    def _prices(self, path: Path, table: Mapping[Any, Any]) -> None:
        for name, price in table.items():
            key = (*path, str(name))
            provider, _, model = str(name).partition(":")
            if not (provider and model):
                self.faults.append(
                    self.layer.fault(
                        key,
                        f"`{name}` in [{dotted(path)}] is not the name of a model",
                        code="LC104",
                        at="key",
                        expected=f'"provider:model", in quotes: [{dotted(path)}."openai:{name}"]',
                    )
                )
            elif not isinstance(price, Mapping):
                self._wrong(
                    key, price, "a table of prices", "input and output, in US dollars per million tokens"
                )
            else:
                self._price(key, price)

    def _price(self, path: Path, price: Mapping[Any, Any]) -> None:
        self._table(path, price, PRICE_KEYS)
        for name in _PRICES_NEEDED:
            # A typing mistake is one fault, not two.
            if name not in price and not any(nearest(str(key), [name]) for key in price):
                self.faults.append(
                    self.layer.fault(
                        path,
                        f"`{name}` is missing in [{dotted(path)}]",
                        code="LC112",
                        at="key",
                        expected=PRICE_KEYS[name].expected,
                        fix=self.layer.to_set((*path, name), PRICE_KEYS[name].example),
                    )
                )

    def _value(self, path: Path, value: Any) -> None:
        reader = reader_of(path)
        if reader is None:
            return
        try:
            reader.read(value)
        except (ValueError, TypeError, OverflowError):
            element = _element(reader, value)
            at, value = ((*path, str(element)), value[element]) if element is not None else (path, value)
            self.faults.append(
                self.layer.fault(
                    at,
                    f"`{path[-1]}` is not {reader.noun}: {shown(path[-1], value)}",
                    code="LC104",
                    expected=reader.expected,
                    fix=self.layer.to_set(path, reader.example),
                    secret=is_secret_name(path[-1]),
                )
            )

    def _unknown_section(self, path: Path, value: Any, base: Path) -> None:
        sections = [*SECTIONS, *(() if base else _TOP)]
        name = path[-1]
        if isinstance(value, Mapping | list):
            meant = nearest(name, sections)
            message = f"unknown section [{dotted(path)}]"
            fix = f"[{dotted((*base, meant))}]" if meant and isinstance(self.layer, FileLayer) else None
        else:
            owner = next((section for section, keys in SECTIONS.items() if name in keys), None)
            meant = f"{owner}.{name}" if owner else nearest(name, sections)
            message = f"unknown key `{name}` outside any section"
            if owner:
                right = (*base, owner, name)
                text = _reference(right) if is_secret_name(name) else _plain(name, value)
                fix = self.layer.to_rename(path, right, text)
            else:
                fix = None
        self.faults.append(
            self.layer.fault(
                path,
                message,
                code="LC102",
                at="key",
                expected=", ".join(sorted(sections)),
                suggestion=meant,
                fix=fix or (None if meant else self.layer.to_unset(path)),
            )
        )

    def _not_a_table(self, path: Path, value: Any) -> None:
        section = path[-1]
        fix = None
        if "provider" in SECTIONS[section] and isinstance(value, str):
            fix = self.layer.to_set((*path, "provider"), value)
        keys = ", ".join(sorted(SECTIONS[section])) or "names of your own"
        self._wrong(path, value, "a table", f"[{dotted(path)}] with the keys: {keys}", fix)

    def _wrong(self, path: Path, value: Any, noun: str, expected: str, fix: str | None = None) -> None:
        self.faults.append(
            self.layer.fault(
                path,
                f"`{path[-1]}` is not {noun}: {shown(path[-1], value)}",
                code="LC104",
                expected=expected,
                fix=fix,
            )
        )


def unknown_key(
    layer: Layer, path: Path, value: Any, known: Iterable[str], *, secrets: frozenset[str] = frozenset()
) -> ConfigError:
    """Return the fault of a key that its table does not have.

    *secrets* are those of the known keys that hold one: a value that was meant for such a key is not shown.
    """
    name, table = path[-1], path[:-1]
    meant = nearest(name, known)
    secret = is_secret_name(name) or (meant is not None and is_secret_name(meant)) or meant in secrets
    if meant is None:
        fix = layer.to_unset(path)
    else:
        right = (*table, meant)
        fix = layer.to_rename(path, right, _reference(right) if secret else _plain(name, value))
    notes: tuple[str, ...] = ()
    if table[-1:] == ("budget",) and name in BUDGETS_KEYS:
        meant, fix = None, layer.to_unset(path)
        notes = ("a budget of one model, tag or user is one of the [[budgets]]",)
    elif len(table) == 1 and table[0] in OPTION_KINDS and meant is None and isinstance(layer, FileLayer):
        notes = (f"a provider's own options stand in a table of their own: [{dotted((*table, 'NAME'))}]",)
    return layer.fault(
        path,
        f"unknown key `{name}` in [{dotted(table)}]",
        code="LC102",
        at="key",
        expected=", ".join(sorted(known)) or "no key at all",
        suggestion=meant,
        fix=fix,
        notes=notes,
        secret=secret,
    )


def _reference(path: Path) -> str:
    return "env:" + "_".join(path[-2:]).upper()


def _plain(name: str, value: Any) -> str:
    """Return the value as `llmcore config set` takes it, or a dot where it must not be shown."""
    if not isinstance(value, str):
        return shown(name, value)
    return HIDDEN if mask_text(value) != value else value


def _element(reader: Reader, value: Any) -> int | None:
    """Return which element of a list is at fault, where it is one alone."""
    if not isinstance(value, list):
        return None
    for index, item in enumerate(value):
        try:
            reader.read([item])
        except (ValueError, TypeError):
            return index
    return None
