"""`llmcore templates`: list, show and remove the prompts that `ask --save` stored."""

from __future__ import annotations

import argparse

import msgspec

from llmcore.cli.command_errors import UsageError
from llmcore.cli.parser import make_action_adder
from llmcore.cli.prompt_templates import delete_template, list_templates, load_template
from llmcore.cli.show import note, print_json, put
from llmcore.cli.text_table import print_table

__all__ = ["configure"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `templates`."""
    parser.epilog = (
        "examples:\n"
        "  llmcore ask --save summary 'Sum up in {language}: {text}'\n"
        "  cat notes.txt | llmcore ask -t summary --var language=German"
    )
    parser.set_defaults(run=_list)
    add = make_action_adder(parser)
    add("list", "list the templates with their variables", _list)
    add("show", "show one template", _show).add_argument("name")
    add("rm", "remove templates", _remove).add_argument("names", nargs="+", metavar="name")


def _list(args: argparse.Namespace) -> int:
    rows = []
    for name in list_templates():
        try:
            rows.append((name, load_template(name)))
        except UsageError as error:
            note(f"warning: {error.message}")
    if args.json:
        print_json(templates=[_to_plain(name) for name, _ in rows])
    elif rows:
        cells = [
            (name, " ".join(each.variables), " ".join((each.prompt or each.system or "").split()))
            for name, each in rows
        ]
        print_table(args, ("NAME", "VARIABLES", "TEXT"), cells, whole=("NAME",), optional=("VARIABLES",))
    else:
        note("no template is saved; llmcore ask --save NAME 'Sum up: {text}' saves one")
    return 0


def _show(args: argparse.Namespace) -> int:
    if args.json:
        print_json(**_to_plain(args.name))
        return 0
    template = load_template(args.name)
    for key, value in msgspec.to_builtins(template).items():
        if value:
            text = (
                ", ".join(f"{name}={each}" for name, each in value.items()) if key == "parameters" else value
            )
            put(f"{key}: {text}")
    return 0


def _remove(args: argparse.Namespace) -> int:
    for name in args.names:
        delete_template(name)
        note(f"removed {name}")
    return 0


def _to_plain(name: str) -> dict[str, object]:
    template = load_template(name)
    return {"name": name, "variables": template.variables, **msgspec.to_builtins(template)}
