"""`llmcore models`: list the models of a provider."""

from __future__ import annotations

import argparse

from llmcore.cli.command_helpers import open_core
from llmcore.cli.model_shutdowns import find_shutdowns
from llmcore.cli.show import note, print_json, put
from llmcore.core import Core
from llmcore.errors import PluginNotFound

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `models`."""
    parser.add_argument("--provider", help="an llm provider or instance; default: the configured one")
    parser.add_argument(
        "--context",
        metavar="MODEL",
        help="print the context length of a model in tokens, as reported by its server",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one model per line, and warn about configured models that are shut down soon."""
    with open_core(args) as core:
        if args.context is not None:
            return _print_context(core, args)
        models = _list_models(core, args.provider)
        providers = [*core.catalogue.list_names("llm"), *core.settings.list_instances("llm")]
        warnings = find_shutdowns(core.settings, providers, lambda name: core.backend("llm", name))
        if args.json:
            provider = args.provider or core.settings.llm.provider
            print_json(provider=provider, models=models, warnings=warnings)
        else:
            for model in models:
                put(model)
            for warning in warnings:
                note(f"warning: {warning}")
    return 0


def _print_context(core: Core, args: argparse.Namespace) -> int:
    model = args.context if args.provider is None else f"{args.provider}:{args.context}"
    length = core.llm.context_length(model)
    if args.json:
        print_json(model=model, context_length=length)
    elif length is None:
        note(f"the server of `{model}` does not report its context length")
    else:
        put(str(length))
    return 0


def _list_models(core: Core, provider: str | None) -> list[str]:
    try:
        return core.llm.models(provider)
    except PluginNotFound as error:
        error.where = "--provider"
        if error.suggestion:
            error.fix = f"llmcore models --provider {error.suggestion}"
        raise
