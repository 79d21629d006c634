"""Find the providers that the configuration uses."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from llmcore.errors import LLMCoreError
from llmcore.hookspecs import KINDS

if TYPE_CHECKING:
    from llmcore.config import Settings

__all__ = ["find_in_use", "list_chosen"]


def find_in_use(args: argparse.Namespace) -> frozenset[tuple[str, str]]:
    """Return kind and name of each provider and instance in use; empty if the configuration has faults."""
    from llmcore.config import load_settings

    try:
        settings = load_settings(args.config, profile=args.profile)
    except LLMCoreError:
        return frozenset()
    chosen = list_chosen(settings)
    chosen += [(kind, settings.list_instances(kind).get(name, name)) for kind, name in chosen]
    return frozenset((kind, name.rpartition(":")[2]) for kind, name in chosen)


def list_chosen(settings: Settings) -> list[tuple[str, str]]:
    """Return kind and name of each provider or instance that *settings* select, also as a fallback."""
    chosen = [(kind, getattr(settings, kind).provider) for kind in KINDS]
    chosen += [("llm", name.partition(":")[0]) for names in settings.models.values() for name in names]
    chosen += [("voice", name) for name in settings.voice.fallback]
    chosen += [("observers", name) for name in settings.observers]
    if settings.shared_limits is not None:
        chosen.append(("cache", settings.shared_limits.name))
    return [(kind, name) for kind, name in dict.fromkeys(chosen) if name]
