"""Find the provider instances of the configuration, for commands about plugins."""

from __future__ import annotations

import argparse
from typing import NamedTuple

import msgspec

from llmcore.config import load_settings
from llmcore.errors import ConfigError
from llmcore.hookspecs import KINDS, Provider
from llmcore.plugins import Catalogue, Listed

__all__ = ["Instance", "find_instances", "find_used", "list_instances", "load_entry"]


class Instance(NamedTuple):
    """A table with `use`: `[llm.local] use = "openai"`."""

    kind: str
    name: str
    used: str
    """The provider behind the instance."""
    where: str


def find_instances(args: argparse.Namespace) -> list[Instance]:
    """Return the instances of the configuration.

    The list is empty if the configuration has errors, which `config check` reports.
    """
    try:
        settings = load_settings(args.config, profile=args.profile)
    except ConfigError:
        return []
    return [
        Instance(kind, name, used, settings.find_position((kind, name)) or f"[{kind}.{name}]")
        for kind in KINDS
        for name, used in settings.list_instances(kind).items()
    ]


def list_instances(args: argparse.Namespace, rows: list[Listed]) -> list[Listed]:
    """Return one row for each instance. *rows* are the rows of the providers."""
    owners = {(row.kind, row.name): row for row in rows}
    found = []
    for instance in find_instances(args):
        owner = owners.get((instance.kind, instance.used))
        distribution, version, module = owner[2:5] if owner else ("", "", "")
        why = f"uses `{instance.used}`, {instance.where}"
        found.append(
            Listed(
                instance.kind,
                instance.name,
                distribution,
                version,
                module,
                "instance" if owner else "broken",
                why,
            )
        )
    return found


def find_used(kind: str, name: str, args: argparse.Namespace) -> str:
    """Return the provider that the instance *name* uses. A name that is not an instance is returned unchanged."""
    return next((each.used for each in find_instances(args) if (each.kind, each.name) == (kind, name)), name)


def load_entry(kind: str, name: str, args: argparse.Namespace, catalogue: Catalogue) -> Provider:
    """Return the entry of a provider. For an instance, return the entry of its provider with the name of the instance.

    Raises:
        PluginError: No plugin provides the entry, or the plugin is broken.
    """
    used = find_used(kind, name, args)
    entry = catalogue.load_provider(kind, used)
    return entry if used == name else msgspec.structs.replace(entry, name=name)
