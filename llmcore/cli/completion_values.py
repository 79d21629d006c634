"""The values that a shell completes: providers, models, aliases, voices, keys, settings, profiles and templates.

A shell calls `llmcore completion values WHAT`. No server is contacted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from llmcore.hookspecs import KINDS
from llmcore.plugins import Catalogue

__all__ = ["OPTIONS", "POSITIONS", "WHAT", "find_values"]

_MOST_KEYS: Final = 500
"""Maximum number of keys of a storage that a completion offers."""

OPTIONS: Final[Mapping[str, str]] = {
    "--model": "models",
    "-m": "models",
    "--profile": "profiles",
    "--provider": "providers",
    "--template": "templates",
    "-t": "templates",
    "--voice": "voices",
    "-v": "voices",
}
"""Option -> the kind of its value."""

POSITIONS: Final[Mapping[str, str]] = {
    "config explain": "settings",
    "config set": "settings",
    "config unset": "settings",
    "explain": "codes",
    "plugins check": "providers",
    "plugins info": "providers",
    "store get": "keys",
    "store rm": "keys",
    "templates rm": "templates",
    "templates show": "templates",
}
"""Command -> the kind of its first argument."""


def _list_providers(args: argparse.Namespace) -> Iterable[str]:
    del args
    catalogue = Catalogue()
    return {name for kind in KINDS for name in catalogue.list_names(kind)}


def _list_models(args: argparse.Namespace) -> Iterable[str]:
    from llmcore.config import load_settings

    settings = load_settings(args.config, profile=args.profile)
    named = {name for names in settings.models.values() for name in names}
    if settings.llm.model:
        named.add(settings.llm.model)
    return {*settings.models, *named, *(f"{name}:" for name in Catalogue().list_names("llm"))}


def _list_voices(args: argparse.Namespace) -> Iterable[str]:
    """Return the configured voices. Listing the voices of a server would take too long for a completion."""
    from llmcore.config import load_settings

    settings = load_settings(args.config, profile=args.profile)
    tables = [settings.get_table("voice", name) for name in settings.list_tables("voice")]
    return {str(table["voice"]) for table in tables if "voice" in table}


def _list_settings(args: argparse.Namespace) -> Iterable[str]:
    from llmcore.config import load_settings
    from llmcore.config.schema import SECTIONS
    from llmcore.config.tables import list_table_keys, list_table_names

    known = {f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys}
    known |= {f"{table}.{key}" for table in list_table_names() for key in list_table_keys(table)}
    return known | {item.key for item in load_settings(args.config, profile=args.profile).list_settings()}


def _list_profiles(args: argparse.Namespace) -> Iterable[str]:
    import tomllib
    from pathlib import Path

    from llmcore.cli.config_faults import list_files

    found: set[str] = set()
    for file in list_files(args.config):
        tree = tomllib.loads(Path(file).read_text("utf-8"))
        tree = tree.get("tool", {}).get("llmcore", {}) if file.name == "pyproject.toml" else tree
        found |= set(tree.get("profiles", {}))
    return found


def _list_keys(args: argparse.Namespace) -> Iterable[str]:
    """Return the first keys of a local storage.

    The result is an empty list for a remote storage, because listing it would take too long.
    """
    from itertools import islice

    from llmcore.core import load

    with load(args.config, profile=args.profile) as core:
        if core.settings.storage.provider not in {None, "fs"}:
            return []
        return list(islice(core.storage.list_files(), _MOST_KEYS))


def _list_templates(args: argparse.Namespace) -> Iterable[str]:
    from llmcore.cli.prompt_templates import list_templates

    del args
    return list_templates()


def _list_codes(args: argparse.Namespace) -> Iterable[str]:
    from llmcore.error_codes import CODES

    del args
    return CODES


WHAT: Final[Mapping[str, Callable[[argparse.Namespace], Iterable[str]]]] = {
    "codes": _list_codes,
    "keys": _list_keys,
    "models": _list_models,
    "profiles": _list_profiles,
    "providers": _list_providers,
    "settings": _list_settings,
    "templates": _list_templates,
    "voices": _list_voices,
}
"""Kind of values -> the function that lists them."""


def find_values(what: str, args: argparse.Namespace) -> list[str]:
    """Return the sorted values; an empty list if the configuration cannot be read."""
    try:
        return sorted(WHAT[what](args))
    except Exception:  # noqa: BLE001 - an error message would appear in the command line
        return []
