"""`llmcore plugins`: what is installed, what one offers, whether it keeps its promises, and how to begin one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from llmcore.cli.misuse import UsageError
from llmcore.cli.parser import COMMANDS, actions
from llmcore.cli.show import Paint, note, print_json, table
from llmcore.errors import PluginNotFound
from llmcore.hookspecs import KINDS
from llmcore.plugins import Catalogue

__all__ = ["configure"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `plugins` takes."""
    parser.epilog = (
        "examples:\n"
        "  llmcore plugins info echo\n"
        "  llmcore plugins new acme --kind llm && pip install -e llmcore-acme && llmcore plugins check acme"
    )
    parser.set_defaults(run=_list)
    add = actions(parser)
    add("list", "list every provider, observer and command, from metadata alone", _list)
    info = add("info", "load one provider and show its options, parameters and abilities", _info)
    check = add("check", "run the conformance tests of its kind on one provider", _check)
    for action in (info, check):
        action.add_argument("name", help="a provider's name, or distribution:name")
        action.add_argument("--kind", choices=KINDS, help="where the name alone is not enough")
    check.add_argument(
        "-o",
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="in place of the configured one",
    )
    check.add_argument("-m", "--model", help="llm: the model to ask; else the configured one")
    check.add_argument("-v", "--verbose", action="store_true", help="name every test")
    new = add("new", "write a whole plugin to begin with", _new)
    new.add_argument("name", help="the provider's name: lower case, digits, underscores")
    new.add_argument("--kind", choices=KINDS, required=True)
    new.add_argument("--folder", help="where to; else ./llmcore-NAME")


def _list(args: argparse.Namespace) -> int:
    catalogue = Catalogue(commands=COMMANDS)
    rows, notes = catalogue.listing(), catalogue.notes()
    if args.json:
        print_json(plugins=[row._asdict() for row in rows], notes=[each._asdict() for each in notes])
        return 0
    paint = Paint.of(sys.stdout, no_color=args.no_color)
    print(
        table(
            ("NAME", "KIND", "DISTRIBUTION", "VERSION", "STATE", "WHY"),
            [(row.name, row.kind, row.distribution, row.version, row.state, row.why) for row in rows],
            paint,
        )
    )
    for each in notes:
        note(f"note: {each.distribution}: {each.text}" if each.distribution else f"note: {each.text}")
    return 0


def _info(args: argparse.Namespace) -> int:
    from llmcore.cli.plugin_info import show

    return show(_one(args.name, args.kind), args)


def _check(args: argparse.Namespace) -> int:
    from llmcore.cli.plugin_check import check

    return check(_one(args.name, args.kind), args)


def _new(args: argparse.Namespace) -> int:
    from llmcore.cli.plugin_new import write

    return write(args)


def _one(name: str, kind: str | None) -> tuple[str, str]:
    """Return kind and name of the one provider that is meant.

    Raises:
        UsageError: A provider of that name exists in several kinds.
        PluginNotFound: There is none.
    """
    catalogue = Catalogue(commands=COMMANDS)
    if kind is None:
        short = name.rpartition(":")[2]
        kinds = sorted({row.kind for row in catalogue.listing() if row.name == short and row.kind in KINDS})
        if len(kinds) > 1:
            raise UsageError(
                f"`{name}` is a name of several kinds",
                expected=" or ".join(f"--kind {each}" for each in kinds),
                fix=f"llmcore plugins info {name} --kind {kinds[0]}",
            )
        kind = kinds[0] if kinds else _likely_kind(name, catalogue)
    try:
        catalogue.provider(kind, name)
    except PluginNotFound as error:
        made = Path(f"llmcore-{name.replace('_', '-')}")
        if error.suggestion in catalogue.names(kind):
            error.fix = f"llmcore plugins info {error.suggestion}"
        elif (made / "pyproject.toml").is_file():  # as `llmcore plugins new` left it
            error.fix = f"pip install -e {made}"
        raise
    return kind, name


def _likely_kind(name: str, catalogue: Catalogue) -> str:
    """Return the kind whose names come nearest to one that nobody offers, so that the error can name it."""
    from difflib import get_close_matches

    from llmcore.absence import KNOWN

    for kind in KINDS:
        if (kind, name) in KNOWN or get_close_matches(name, catalogue.names(kind), n=1, cutoff=0.6):
            return kind
    return "llm"
