"""Find the providers that the configuration uses."""

from __future__ import annotations

import argparse

from llmcore.errors import LLMCoreError

__all__ = ["find_in_use"]


def find_in_use(args: argparse.Namespace) -> frozenset[tuple[str, str]]:
    """Return kind and name of each provider in use; empty if the configuration has faults."""
    from llmcore.config import load_settings

    try:
        settings = load_settings(args.config, profile=args.profile)
    except LLMCoreError:
        return frozenset()
    chosen = [(kind, getattr(settings, kind).provider) for kind in ("llm", "cache", "storage", "voice")]
    chosen += [("llm", name.partition(":")[0]) for names in settings.models.values() for name in names]
    chosen += [("voice", name) for name in settings.voice.fallback]
    chosen += [("observers", name) for name in settings.observers]
    return frozenset((kind, name.rpartition(":")[2]) for kind, name in chosen if name)
