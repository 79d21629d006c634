"""The tables that plugins declare, such as [gateway]: list their names and keys, and find their faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmcore.config.fields import get_fields, has_type
from llmcore.config.keys import Path, find_nearest, format_key
from llmcore.config.schema import SECTIONS, get_keys
from llmcore.errors import ConfigError, LLMCoreError, PluginError
from llmcore.types import Secret

if TYPE_CHECKING:
    from llmcore.config.settings import Settings
    from llmcore.plugins import Catalogue

__all__ = ["check_exists", "find_table_faults", "hide_table_secrets", "list_table_keys", "list_table_names"]

_CHECKED_WHEN_WRITTEN = frozenset({"LC102", "LC104", "LC109"})
"""The faults that are reported when a key is written. Other faults, such as a missing API key or variable, are not
reported then, because the user may add the key or the variable later."""


def list_table_names() -> frozenset[str]:
    """Return the names of the tables that installed plugins declare. Only metadata is read."""
    from llmcore.plugins import Catalogue

    return Catalogue().list_claimed_names("tables") - SECTIONS.keys()


def list_table_keys(name: str) -> list[str]:
    """Return the keys of the table [name] of a plugin; an empty list if the plugin cannot be loaded."""
    from llmcore.plugins import Catalogue

    try:
        return list(get_fields(Catalogue().load_table(name).options))
    except PluginError:
        return []


def find_table_faults(
    settings: Settings, catalogue: Catalogue, *, written: bool = False
) -> list[LLMCoreError]:
    """Return the faults of all tables of plugins that *settings* has.

    Args:
        settings: The configuration.
        catalogue: The installed plugins.
        written: True if the file is being written. Then only unknown keys and invalid values are reported.
    """
    faults: list[LLMCoreError] = []
    for name in sorted(catalogue.list_claimed_names("tables") - SECTIONS.keys()):
        if not isinstance(settings.get((name,)), Mapping):
            continue
        try:
            settings.read_table(catalogue.load_table(name))
        except ConfigError as error:
            faults += error.faults or (error,)
        except LLMCoreError as error:
            faults += () if written else (error,)
    return [fault for fault in faults if not written or fault.code in _CHECKED_WHEN_WRITTEN]


def hide_table_secrets(settings: Settings, catalogue: Catalogue) -> None:
    """Hide in *settings* every value that a plugin declares secret in its table."""
    for name in catalogue.list_claimed_names("tables"):
        if not isinstance(settings.get((name,)), Mapping):
            continue
        try:
            fields = get_fields(catalogue.load_table(name).options)
        except PluginError:
            continue  # values that look like secrets are hidden without the plugin too
        for field in fields.values():
            if has_type(field.type, Secret):
                settings.hide((name, field.key))


def check_exists(path: Path) -> None:
    """Check that the configuration may have a key at *path*.

    Raises:
        ConfigError: The section or the key is unknown.
    """
    section = path[0]
    tables = frozenset[str]() if section in SECTIONS else list_table_names()
    if section not in SECTIONS and section not in tables:
        sections = [*SECTIONS, *sorted(tables)]
        meant = find_nearest(section, sections)
        raise ConfigError(
            f"unknown section [{section}]",
            code="LC102",
            expected=", ".join(sections),
            suggestion=meant and format_key((meant, *path[1:])),
        )
    if len(path) == 1:
        return
    table, name = path[:-1], path[-1]
    known = list_table_keys(section) if table[0] in tables and len(path) == 2 else get_keys(table)  # noqa: PLR2004 - a path of two parts: table and key
    if known and name not in known and table != ("limits",):  # names of providers are keys of [limits]
        meant = find_nearest(name, known)
        raise ConfigError(
            f"unknown key `{name}` in [{format_key(table)}]",
            code="LC102",
            expected=", ".join(sorted(known)),
            suggestion=meant and format_key((*table, meant)),
        )
