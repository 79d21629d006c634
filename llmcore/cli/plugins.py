"""`llmcore plugins`: list, inspect, check and create plugins."""

from __future__ import annotations

import argparse
from pathlib import Path

from llmcore.cli.command_errors import UsageError
from llmcore.cli.instances import find_instances, list_instances, load_entry
from llmcore.cli.parser import COMMANDS, make_action_adder
from llmcore.cli.plugin_lines import make_plugins_line
from llmcore.cli.show import note, print_json
from llmcore.cli.text_table import print_table
from llmcore.cli.used_providers import find_in_use
from llmcore.errors import PluginNotFound
from llmcore.hookspecs import KINDS
from llmcore.plugins import Catalogue
from llmcore.support.path_kinds import PathKind, classify_path

__all__ = ["configure"]


_INACTIVE = ("blocked", "conflict", "shadowed")
"""The states in which a plugin offers a name but is not used."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `plugins`."""
    parser.epilog = (
        "examples:\n"
        "  llmcore plugins info echo\n"
        "  llmcore plugins new acme --kind llm && pip install -e llmcore-acme && llmcore plugins check acme"
    )
    parser.set_defaults(run=_list)
    add = make_action_adder(parser)
    add("list", "list every provider, observer, command and table, without importing them", _list)
    info = add(
        "info",
        "load one provider and show its options, parameters and abilities; or the keys of a table",
        _run_info,
    )
    check = add("check", "run the conformance tests on one provider", _check)
    for action in (info, check):
        action.add_argument("name", help="the name of a provider or table, or distribution:name")
        action.add_argument("--kind", choices=KINDS, help="the kind, if several kinds have the name")
    check.add_argument(
        "-o",
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option in place of the configured one; repeatable",
    )
    check.add_argument("-m", "--model", help="llm: the model to ask; default: the configured model")
    check.add_argument("-v", "--verbose", action="store_true", help="print every test")
    new = add("new", "write a complete plugin to start from", _run_new)
    new.add_argument("name", help="the provider's name: lower case, digits, underscores")
    new.add_argument("--kind", choices=KINDS, required=True)
    new.add_argument("--folder", help="the folder to write; default: ./llmcore-NAME")


def _list(args: argparse.Namespace) -> int:
    catalogue = Catalogue(commands=COMMANDS)
    rows, notes = catalogue.list_plugins(), catalogue.get_notes()
    rows += list_instances(args, rows)
    names = find_in_use(args)
    used = {row for row in rows if (row.kind, row.name) in names and row.state not in _INACTIVE}
    if args.json:
        plugins = [row._asdict() | {"in_use": row in used} for row in rows]
        print_json(plugins=plugins, notes=[each._asdict() for each in notes])
        return 0
    headers = ("NAME", "KIND", "DISTRIBUTION", "VERSION", "STATE", "USE", "WHY")
    cells = [
        (
            row.name,
            row.kind,
            row.distribution,
            row.version,
            row.state,
            "in use" if row in used else "",
            row.why,
        )
        for row in rows
    ]
    print_table(
        args,
        headers,
        cells,
        whole=("NAME", "KIND", "DISTRIBUTION", "STATE", "USE"),
        optional=("VERSION", "DISTRIBUTION", "WHY"),
        wrapped=("WHY",),
    )
    for each in notes:
        note(f"note: {each.distribution}: {each.text}" if each.distribution else f"note: {each.text}")
    return 0


def _run_info(args: argparse.Namespace) -> int:
    from llmcore.cli.plugin_info import show, show_table

    catalogue = Catalogue(commands=COMMANDS)
    short = args.name.rpartition(":")[2]
    named = {row.kind for row in catalogue.list_plugins() if row.name == short}
    if args.kind is None and "tables" in named and named.isdisjoint(KINDS):
        return show_table(args.name, args, catalogue)
    return show(_find_one(args), args)


def _check(args: argparse.Namespace) -> int:
    from llmcore.cli.plugin_audit import Audit
    from llmcore.cli.plugin_check import check

    audit = Audit()
    with audit.watch("import"):
        which = _find_one(args)
    return check(which, args, audit)


def _run_new(args: argparse.Namespace) -> int:
    from llmcore.cli.plugin_new import write

    return write(args)


def _find_one(args: argparse.Namespace) -> tuple[str, str]:
    """Return kind and name of the provider or instance that the arguments name.

    Raises:
        UsageError: A provider of that name exists in several kinds.
        PluginNotFound: No provider has that name.
    """
    name, kind = args.name, args.kind
    catalogue = Catalogue(commands=COMMANDS)
    if kind is None:
        short = name.rpartition(":")[2]
        named = {row.kind for row in catalogue.list_plugins() if row.name == short and row.kind in KINDS}
        own = {each.kind for each in find_instances(args) if each.name == name}
        # an instance of the configuration takes precedence over a provider of the same name
        kinds = sorted(own or named)
        if len(kinds) > 1:
            raise UsageError(
                f"`{name}` exists in several kinds",
                expected=" or ".join(f"--kind {each}" for each in kinds),
                fix=make_plugins_line(name, args, kind=kinds[0]),
            )
        kind = kinds[0] if kinds else _guess_kind(name, catalogue)
    try:
        load_entry(kind or "llm", name, args, catalogue)
    except PluginNotFound as error:
        if kind is None:
            error.message = f"unknown provider `{name}`"
            error.expected = ", ".join(
                sorted({each for kind in KINDS for each in catalogue.list_names(kind)})
            )
            error.fix = "llmcore plugins"
        made = Path(f"llmcore-{name.replace('_', '-')}")
        if kind is not None and error.suggestion in catalogue.list_names(kind):
            error.fix = make_plugins_line(error.suggestion, args)
        elif classify_path(made / "pyproject.toml") is PathKind.FILE:
            # `llmcore plugins new` wrote this folder
            error.fix = f"pip install -e {made}"
        raise
    return kind, name


def _guess_kind(name: str, catalogue: Catalogue) -> str | None:
    """Return the kind with a provider of a similar name, for the suggestion in an error; None if there is none."""
    from difflib import get_close_matches

    from llmcore.missing_plugin import KNOWN

    for kind in KINDS:
        if (kind, name) in KNOWN or get_close_matches(name, catalogue.list_names(kind), n=1, cutoff=0.6):
            return kind
    return None
