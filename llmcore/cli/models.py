"""`llmcore models`: the models that a provider offers."""

from __future__ import annotations

import argparse

from llmcore.cli.lifetimes import endings
from llmcore.cli.opening import opened
from llmcore.cli.show import note, print_json

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `models` takes."""
    parser.add_argument("--provider", help="an installed llm provider; else the configured one")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the models, one a line, and warn of configured ones that are about to go."""
    with opened(args) as core:
        models = core.llm.models(args.provider)
        warnings = endings(core.settings, core.catalogue.names("llm"), lambda name: core.backend("llm", name))
        if args.json:
            provider = args.provider or core.settings.llm.provider
            print_json(provider=provider, models=models, warnings=warnings)
        else:
            for model in models:
                print(model)
            for warning in warnings:
                note(f"warning: {warning}")
    return 0
