"""`llmcore config`: the configuration as it stands, where each value comes from, and how to change it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from llmcore.cli.parser import actions
from llmcore.cli.show import Paint, note, print_json, table
from llmcore.errors import ConfigError

__all__ = ["configure"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `config` takes."""
    parser.epilog = (
        "examples:\n"
        "  llmcore config set llm.provider openai\n"
        "  llmcore config explain cache.ttl\n"
        "  LLMCORE__CACHE__PROVIDER=memory llmcore config show"
    )
    parser.set_defaults(run=_show)
    add = actions(parser)
    add("show", "show every setting and where it comes from", _show)
    add("explain", "show what each layer says of a key", _explain).add_argument(
        "key", help="such as cache.ttl"
    )
    setting = add("set", "set a key in the file, whose comments stay", _set)
    setting.add_argument("key")
    setting.add_argument("value")
    unsetting = add("unset", "take a key out of the file", _unset)
    unsetting.add_argument("key")
    add("check", "find every fault: keys, values, options of providers, secrets", _check)
    beginning = add("init", "write a commented file to begin with", _init)
    add("path", "show where files are looked for", _path)
    for action in (setting, unsetting, beginning):
        action.add_argument("--user", action="store_true", help="your own file, for all projects")


def _show(args: argparse.Namespace) -> int:
    from llmcore.cli.checking import hide_secrets
    from llmcore.config import load_settings

    settings = load_settings(args.config, profile=args.profile)
    hide_secrets(settings)
    items = settings.items()
    if args.json:
        print_json(settings=[item._asdict() | {"value": _value(item.value)} for item in items])
        return 0
    paint = Paint.of(sys.stdout, no_color=args.no_color)
    width = max(len(f"{item.key} = {item.value}") for item in items)
    for item in items:
        text = f"{item.key} = {item.value}"
        print(text.ljust(min(width, 60)) + "  " + paint("dim", f"# {_origin(item.layer, item.source)}"))
    return 0


def _explain(args: argparse.Namespace) -> int:
    from llmcore.cli.checking import hide_secrets
    from llmcore.config import load_settings

    settings = load_settings(args.config, profile=args.profile)
    hide_secrets(settings)
    try:
        rows = settings.explain(args.key)
    except ConfigError as error:
        if error.suggestion:
            error.fix = f"llmcore config explain {shlex.quote(error.suggestion)}"
        raise
    if args.json:
        print_json(key=args.key, layers=[row._asdict() | {"value": _value(row.value)} for row in rows])
    elif rows:
        cells = [(row.layer, row.source or "", row.value, "wins" if row.wins else "") for row in rows]
        print(table(("LAYER", "SOURCE", "VALUE", ""), cells, Paint.of(sys.stdout, no_color=args.no_color)))
    else:
        print(f"{args.key} is set nowhere")
    return 0


def _set(args: argparse.Namespace) -> int:
    from llmcore.config import set_value

    file = _file(args)
    try:
        set_value(file, args.key, args.value)
    except ConfigError as error:
        section, dot, rest = args.key.partition(".")
        if dot and error.suggestion and error.fix == f"[{error.suggestion}]" and section != "profiles":
            error.fix = (
                f"llmcore config set {shlex.quote(f'{error.suggestion}.{rest}')} {shlex.quote(args.value)}"
            )
        raise
    note(f"set {args.key} in {_label(file)}")
    return 0


def _unset(args: argparse.Namespace) -> int:
    from llmcore.config import unset

    file = _file(args)
    if unset(file, args.key):
        note(f"took {args.key} out of {_label(file)}")
    else:
        note(f"{args.key} does not stand in {_label(file)}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from llmcore.cli.checking import faults_of, files_read, warnings_of
    from llmcore.cli.report import parts_of, shown_error

    faults = faults_of(args.config, args.profile)
    warnings = [] if faults else warnings_of(args.config, args.profile)
    if args.json:
        print_json(ok=not faults, faults=[parts_of(fault) for fault in faults], warnings=warnings)
    elif faults:
        paint = Paint.of(sys.stderr, no_color=args.no_color)
        note("\n\n".join(shown_error(fault, paint) for fault in faults))
    else:
        read = files_read(args.config)
        print(
            f"no fault in {', '.join(map(_label, read))}"
            if read
            else "no fault; there is no file, the defaults serve"
        )
        for warning in warnings:
            note(f"warning: {warning}")
    return 3 if faults else 0


def _init(args: argparse.Namespace) -> int:
    from llmcore.config import user_file, write_example

    file = Path(args.config or "llmcore.toml")
    if args.user:
        file = user_file(os.environ) or file
    write_example(file)
    note(f"wrote {_label(file)}")
    which = " --user" if args.user else ""
    command = f"llmcore{f' --config {shlex.quote(args.config)}' if args.config else ''} config set{which}"
    note(f"next: {command} llm.provider openai && {command} llm.model gpt-5.6-luna")
    note("      export OPENAI_API_KEY=sk-...")
    return 0


def _path(args: argparse.Namespace) -> int:
    from llmcore.cli.checking import places

    found: list[dict[str, Any]] = places(args.config)
    if args.json:
        print_json(places=found)
        return 0
    rows = [(place["name"], place["path"] or "", "" if place["exists"] else "not there") for place in found]
    print(table(("WHAT", "WHERE", ""), rows, Paint.of(sys.stdout, no_color=args.no_color)))
    return 0


def _file(args: argparse.Namespace) -> Path:
    """Return the file to change: the one that is named, the person's own, or the project's, new where there is none."""
    from llmcore.config import project_file, user_file

    if args.user:
        return user_file(os.environ) or Path("llmcore.toml")
    named = args.config or os.environ.get("LLMCORE_CONFIG")
    return Path(named) if named else project_file(Path.cwd()) or Path.cwd() / "llmcore.toml"


def _value(text: str) -> Any:
    """Return what *text*, a value as people see it, is; a hidden or shortened one stays text."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _origin(layer: str, source: str | None) -> str:
    return layer if source is None or source == layer else f"{layer}, {source}"


def _label(file: Path) -> str:
    return (
        str(file.relative_to(Path.cwd()))
        if file.is_absolute() and file.is_relative_to(Path.cwd())
        else str(file)
    )
