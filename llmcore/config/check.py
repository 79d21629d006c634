"""Check one layer against the schema and return all errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Final

from llmcore.config.keys import Path, find_nearest, format_key, parse_index
from llmcore.config.layers import EnvLayer, FileLayer, Layer, get_tables
from llmcore.config.mask import HIDDEN, format_value, is_reference, is_secret_name, mask_text
from llmcore.config.misplaced_keys import find_key_faults
from llmcore.config.readers import Reader
from llmcore.config.schema import (
    BUDGETS_KEYS,
    HOST_KEYS,
    INSTANCE_KINDS,
    LIMIT_KEYS,
    LISTS,
    OPTION_KINDS,
    PRICE_KEYS,
    SECTIONS,
    SHARED_KEYS,
    SHARED_LIMITS,
    TIER,
    get_keys,
    get_reader,
    is_free,
)
from llmcore.errors import ConfigError

__all__ = ["check_layer", "make_unknown_key_fault"]

_TOP: Final = ("profiles",)
_PRICES_NEEDED: Final = ("input", "output")


def check_layer(layer: Layer) -> list[ConfigError]:
    """Return all errors of one layer and its profiles, in the order of the file."""
    return [*find_key_faults(layer), *_Check(layer).run()]


class _Check:
    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.faults: list[ConfigError] = []

    def run(self) -> list[ConfigError]:
        self._check_sections((), self.layer.tree)
        return self.faults

    @cached_property
    def _tables(self) -> frozenset[str]:
        """The names of the tables that plugins declare. They are read only for a name that is not in `SECTIONS`."""
        from llmcore.config.tables import list_table_names

        return list_table_names()

    def _check_sections(self, base: Path, tree: Mapping[Any, Any]) -> None:
        checks: dict[str, Callable[[Path, Mapping[Any, Any]], None]] = {
            "models": self._check_models,
            "prices": self._check_prices,
            "limits": self._check_limits,
        }
        for name, value in tree.items():
            path = (*base, str(name))
            if name == "profiles" and not base:
                self._check_profiles(value)
            elif name not in SECTIONS and name not in self._tables:
                self._report_unknown_section(path, value, base)
            elif name in LISTS:
                self._check_list(path, value)
            elif not isinstance(value, Mapping):
                self._report_not_a_table(path, value)
            elif name in SECTIONS:  # a table that a plugin declares is checked when the plugin is used
                checks.get(name, self._check_keys)(path, value)

    def _check_profiles(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            self._report(("profiles",), value, "a table of profiles", "[profiles.NAME.SECTION]")
            return
        for name, tree in value.items():
            path = ("profiles", str(name))
            if isinstance(tree, Mapping):
                self._check_sections(path, tree)
            else:
                self._report(path, tree, "a profile", f"sections inside it: [profiles.{name}.cache]")

    def _check_keys(self, path: Path, table: Mapping[Any, Any]) -> None:
        section = path[-1]
        known = SECTIONS[section]
        for name, value in table.items():
            key = (*path, str(name))
            if name in known and not ((section, name) == TIER and isinstance(value, Mapping)):
                self._check_value(key, value)
            elif not isinstance(value, Mapping) or section not in OPTION_KINDS:
                self.faults.append(make_unknown_key_fault(self.layer, key, value, known))
            elif section in INSTANCE_KINDS:
                for inner in HOST_KEYS.keys() & value.keys():
                    self._check_value((*key, inner), value[inner])

    def _check_limits(self, path: Path, table: Mapping[Any, Any]) -> None:
        for name, value in table.items():
            key = (*path, str(name))
            if name in LIMIT_KEYS:
                self._check_value(key, value)
            elif (path[-1], name) == SHARED_LIMITS:
                if not isinstance(value, Mapping):
                    self._check_value(key, value)
                    continue
                for inner in SHARED_KEYS.keys() & value.keys():
                    self._check_value((*key, inner), value[inner])
            elif not isinstance(value, Mapping):
                self.faults.append(make_unknown_key_fault(self.layer, key, value, SECTIONS["limits"]))
            elif not all(part and part == part.strip() for part in str(name).split(":", 1)):
                self.faults.append(
                    self.layer.make_error(
                        key,
                        f"a name in [{format_key(path)}] must be a provider or a model, got `{name}`",
                        code="LC104",
                        at="key",
                        expected=f'[{format_key(path)}.openai] for a provider, [{format_key(path)}."openai:gpt-6"] for a model',
                        fix=self.layer.format_unset_fix(key),
                    )
                )
            else:
                self._check_table(key, value, LIMIT_KEYS)

    def _check_list(self, path: Path, value: Any) -> None:
        """Check a list of tables.

        Environment variables set single entries. From them, *value* is a dict from the index of an entry to its table.
        """
        tables = get_tables(value)
        in_file = isinstance(self.layer, FileLayer)
        one_table = in_file and isinstance(value, Mapping) and any(parse_index(key) is None for key in value)
        if one_table or not (tables or value == []):
            name = format_key(path)
            self.faults.append(
                self.layer.make_error(
                    path,
                    f"`{path[-1]}` must be a list of tables, got {format_value(path[-1], value)}",
                    code="LC104",
                    at="key",
                    expected=f"[[{name}]], in double brackets, above the keys of each entry",
                    fix=f"[[{name}]]" if in_file else None,
                )
            )
            return
        for index, table in tables.items():
            key = (*path, index)
            known = get_keys(key)
            if known is None:
                self.faults.append(
                    self.layer.make_error(
                        key,
                        f"an entry of [[{format_key(path)}]] must be a number, got `{index}`",
                        code="LC102",
                        at="key",
                        expected="0 for the first entry, 1 for the second",
                        fix=self.layer.format_unset_fix(key),
                    )
                )
            elif isinstance(table, Mapping):
                self._check_table(key, table, known)
            else:
                self._report(
                    key, table, "a table", f"the keys: {', '.join(known)}", self.layer.format_unset_fix(key)
                )

    def _check_table(self, path: Path, table: Mapping[Any, Any], known: Mapping[str, Reader]) -> None:
        for name, value in table.items():
            key = (*path, str(name))
            if name in known:
                self._check_value(key, value)
            else:
                self.faults.append(make_unknown_key_fault(self.layer, key, value, known))

    def _check_models(self, path: Path, table: Mapping[Any, Any]) -> None:
        for name, value in table.items():
            self._check_value((*path, str(name)), value)

    def _check_prices(self, path: Path, table: Mapping[Any, Any]) -> None:
        for name, price in table.items():
            key = (*path, str(name))
            provider, _, model = str(name).partition(":")
            if is_free(price) and provider and (model or ":" not in str(name)):
                continue
            if not (provider and model):
                self.faults.append(
                    self.layer.make_error(
                        key,
                        f"a name in [{format_key(path)}] must be a model, got `{name}`",
                        code="LC104",
                        at="key",
                        expected=f'"provider:model", in quotes: [{format_key(path)}."{name}:MODEL"]; or 0 for all models of a provider',
                    )
                )
            elif not isinstance(price, Mapping):
                self._report(
                    key,
                    price,
                    "a table of prices",
                    "{ input = 0.25, output = 2.00 }, in US dollars per million tokens; or 0 for a free model",
                )
            else:
                self._check_price(key, price)

    def _check_price(self, path: Path, price: Mapping[Any, Any]) -> None:
        self._check_table(path, price, PRICE_KEYS)
        for name in _PRICES_NEEDED:
            # A misspelt key is already reported as an unknown key, so it is not reported as missing.
            if name not in price and not any(find_nearest(str(key), [name]) for key in price):
                self.faults.append(
                    self.layer.make_error(
                        path,
                        f"`{name}` is missing in [{format_key(path)}]",
                        code="LC112",
                        at="key",
                        expected=PRICE_KEYS[name].expected,
                        fix=self.layer.format_set_fix((*path, name), PRICE_KEYS[name].example),
                    )
                )

    def _check_value(self, path: Path, value: Any) -> None:
        reader = get_reader(path)
        if reader is None:
            return
        try:
            reader.read(value)
        except (ValueError, TypeError, OverflowError):
            element = _find_element(reader, value)
            at, value = ((*path, str(element)), value[element]) if element is not None else (path, value)
            self.faults.append(
                self.layer.make_error(
                    at,
                    f"`{path[-1]}` must be {reader.noun}, got {format_value(path[-1], value)}",
                    code="LC104",
                    expected=reader.expected,
                    fix=self.layer.format_set_fix(path, reader.example),
                    secret=is_secret_name(path[-1]),
                )
            )

    def _report_unknown_section(self, path: Path, value: Any, base: Path) -> None:
        sections = [*SECTIONS, *self._tables, *(() if base else _TOP)]
        name, note = path[-1], ""
        if isinstance(value, Mapping | list):
            from llmcore.missing_plugin import describe_missing_table

            meant = find_nearest(name, sections)
            message = f"unknown section [{format_key(path)}]"
            fix = (
                self.layer.format_open_fix((*base, meant))
                if meant and not isinstance(self.layer, EnvLayer)
                else None
            )
            if missing := describe_missing_table(name):
                meant, (note, fix) = None, missing
        else:
            owner = next((section for section, keys in SECTIONS.items() if name in keys), None)
            meant = f"{owner}.{name}" if owner else find_nearest(name, sections)
            message = f"unknown key `{name}` outside any section"
            if owner:
                right = (*base, owner, name)
                text = _make_reference(right) if is_secret_name(name) else _format_plain(name, value)
                fix = self.layer.format_rename_fix(path, right, text)
            else:
                fix = None
        self.faults.append(
            self.layer.make_error(
                path,
                message,
                code="LC102",
                at="key",
                expected=", ".join(sorted(sections)),
                suggestion=meant,
                notes=(note,) if note else (),
                fix=fix or (None if meant else self.layer.format_unset_fix(path)),
            )
        )

    def _report_not_a_table(self, path: Path, value: Any) -> None:
        section = path[-1]
        fix = None
        if section in SECTIONS:
            known = sorted(SECTIONS[section])
            if "provider" in known and isinstance(value, str):
                fix = self.layer.format_set_fix((*path, "provider"), value)
        else:
            from llmcore.config.tables import list_table_keys

            known = list_table_keys(section)
        keys = ", ".join(known) or "names of your own"
        self._report(path, value, "a table", f"[{format_key(path)}] with the keys: {keys}", fix)

    def _report(self, path: Path, value: Any, noun: str, expected: str, fix: str | None = None) -> None:
        self.faults.append(
            self.layer.make_error(
                path,
                f"`{path[-1]}` must be {noun}, got {format_value(path[-1], value)}",
                code="LC104",
                expected=expected,
                fix=fix,
            )
        )


def make_unknown_key_fault(
    layer: Layer, path: Path, value: Any, known: Iterable[str], *, secrets: frozenset[str] = frozenset()
) -> ConfigError:
    """Return the error for the key at *path*, which is not one of the *known* keys of its table.

    *secrets* are the known keys whose values are secrets. If the unknown key is a misspelling of one of them, the error
    does not show its value.
    """
    name, table = path[-1], path[:-1]
    meant = find_nearest(name, known)
    secret = is_secret_name(name) or (meant is not None and is_secret_name(meant)) or meant in secrets
    if meant is None:
        fix = layer.format_unset_fix(path)
    else:
        right = (*table, meant)
        is_hidden = secret and not is_reference(value)
        fix = layer.format_rename_fix(
            path, right, _make_reference(right) if is_hidden else _format_plain(name, value)
        )
    notes: tuple[str, ...] = ()
    if table[-1:] == ("budget",) and name in BUDGETS_KEYS:
        meant, fix = None, layer.format_unset_fix(path)
        notes = ("budgets of one model, tag or user are entries of [[budgets]]",)
    elif len(table) == 1 and table[0] in OPTION_KINDS and meant is None and isinstance(layer, FileLayer):
        notes = (f"the options of a provider go into its own table: [{format_key((*table, 'NAME'))}]",)
    return layer.make_error(
        path,
        f"unknown key `{name}` in [{format_key(table)}]",
        code="LC102",
        at="key",
        expected=", ".join(sorted(known)) or "no keys",
        suggestion=meant,
        fix=fix,
        notes=notes,
        secret=secret,
    )


def _make_reference(path: Path) -> str:
    return "env:" + "_".join(path[-2:]).upper()


def _format_plain(name: str, value: Any) -> str:
    """Return the value as an argument of `llmcore config set`, or an ellipsis if it may be secret."""
    if not isinstance(value, str):
        return format_value(name, value)
    return HIDDEN if mask_text(value) != value else value


def _find_element(reader: Reader, value: Any) -> int | None:
    """Return the index of the first invalid element if *value* is a list.

    Return None if *value* is not a list, or if each element is valid by itself.
    """
    if not isinstance(value, list):
        return None
    for index, item in enumerate(value):
        try:
            reader.read([item])
        except (ValueError, TypeError):
            return index
    return None
