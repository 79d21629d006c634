"""`llmcore models`: the models that a provider offers."""

from __future__ import annotations

import argparse

from llmcore.cli.opening import opened
from llmcore.cli.show import print_json

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `models` takes."""
    parser.add_argument("--provider", help="an installed llm provider; else the configured one")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the models, one a line."""
    with opened(args) as core:
        models = core.llm.models(args.provider)
        if args.json:
            print_json(provider=args.provider or core.settings.llm.provider, models=models)
        else:
            for model in models:
                print(model)
    return 0
