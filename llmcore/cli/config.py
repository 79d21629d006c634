"""`llmcore config`: show, explain, change and check the configuration."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcore.cli.parser import make_action_adder
from llmcore.cli.show import Paint, note, print_json, put
from llmcore.cli.streams import get_stdout
from llmcore.cli.text_table import print_table
from llmcore.errors import ConfigError
from llmcore.support.errors import raise_unchained

__all__ = ["configure"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `config`."""
    parser.epilog = (
        "examples:\n"
        "  llmcore config set llm.provider openai\n"
        "  llmcore config explain cache.ttl\n"
        "  LLMCORE__CACHE__PROVIDER=memory llmcore config show"
    )
    parser.set_defaults(run=_show)
    add = make_action_adder(parser)
    add("show", "show every setting and where it comes from", _show)
    add("explain", "show the value of a key in each layer", _explain).add_argument(
        "key", help="a key, such as cache.ttl"
    )
    setting = add("set", "set a key in the file; comments stay", _set)
    setting.add_argument("key")
    setting.add_argument("value")
    unsetting = add("unset", "remove a key from the file", _run_unset)
    unsetting.add_argument("key")
    add("check", "find every fault: keys, values, options of providers, secrets", _check)
    beginning = add(
        "init",
        "write a first configuration, with the API key or the local model server that was found",
        _init,
    )
    beginning.add_argument("--server", metavar="URL", help="use the model server at this address")
    beginning.add_argument("--example", action="store_true", help="write every setting as a comment instead")
    add("path", "show the paths of files and folders", _show_paths)
    for action in (setting, unsetting, beginning):
        action.add_argument("--user", action="store_true", help="the user file, for all projects")


def _show(args: argparse.Namespace) -> int:
    from llmcore.cli.config_faults import hide_secrets
    from llmcore.config import load_settings

    settings = load_settings(args.config, profile=args.profile)
    hide_secrets(settings)
    items = settings.list_settings()
    if args.json:
        print_json(settings=[item._asdict() | {"value": _parse_value(item.value)} for item in items])
        return 0
    paint = Paint.for_stream(get_stdout(), no_color=args.no_color)
    width = max(len(f"{item.key} = {item.value}") for item in items)
    for item in items:
        text = f"{item.key} = {item.value}"
        put(text.ljust(min(width, 60)) + "  " + paint("dim", f"# {_render_origin(item.layer, item.source)}"))
    return 0


def _explain(args: argparse.Namespace) -> int:
    from llmcore.cli.config_faults import hide_secrets
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
        print_json(key=args.key, layers=[row._asdict() | {"value": _parse_value(row.value)} for row in rows])
    elif rows:
        cells = [(row.layer, row.source or "", row.value, "wins" if row.wins else "") for row in rows]
        print_table(
            args, ("LAYER", "SOURCE", "VALUE", ""), cells, whole=("LAYER", ""), wrapped=("SOURCE", "VALUE")
        )
    else:
        put(f"{args.key} is not set")
    return 0


def _set(args: argparse.Namespace) -> int:
    from llmcore.config import set_value

    file = _find_file(args)
    try:
        set_value(file, args.key, args.value)
    except ConfigError as error:
        section, dot, rest = args.key.partition(".")
        if dot and error.suggestion and error.fix == f"[{error.suggestion}]" and section != "profiles":
            error.fix = (
                f"llmcore config set {shlex.quote(f'{error.suggestion}.{rest}')} {shlex.quote(args.value)}"
            )
        raise
    note(f"set {args.key} in {_render_path(file)}")
    return 0


def _run_unset(args: argparse.Namespace) -> int:
    from llmcore.config import unset

    file = _find_file(args)
    if unset(file, args.key):
        note(f"removed {args.key} from {_render_path(file)}")
    else:
        note(f"{args.key} is not in {_render_path(file)}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from llmcore.cli.config_faults import find_faults, find_warnings, list_files
    from llmcore.cli.report import get_parts, render_error

    faults = find_faults(args.config, args.profile)
    warnings = [] if faults else find_warnings(args.config, args.profile)
    if args.json:
        print_json(ok=not faults, faults=[get_parts(fault) for fault in faults], warnings=warnings)
    elif faults:
        paint = Paint.for_stream(sys.stderr, no_color=args.no_color)
        note("\n\n".join(render_error(fault, paint) for fault in faults))
    else:
        read = list_files(args.config)
        put(
            f"no fault in {', '.join(map(_render_path, read))}"
            if read
            else "no fault; there is no file, so the defaults apply"
        )
        for warning in warnings:
            note(f"warning: {warning}")
    return 3 if faults else 0


def _init(args: argparse.Namespace) -> int:
    from llmcore.cli.config_init import init

    file = _find_user_file() if args.user else Path(args.config or "llmcore.toml")
    return init(args, file, _render_path(file))


def _show_paths(args: argparse.Namespace) -> int:
    from llmcore.cli.config_faults import list_places

    found: list[dict[str, Any]] = list_places(args.config)
    if args.json:
        print_json(places=found)
        return 0
    rows = [(place["name"], place["path"] or "", "" if place["exists"] else "not there") for place in found]
    print_table(args, ("WHAT", "WHERE", ""), rows, whole=("WHAT", "WHERE", ""))
    return 0


def _find_file(args: argparse.Namespace) -> Path:
    """Return the file to change: with --user, the user file; otherwise the named file or the project file."""
    if args.user:
        return _find_user_file()
    named = args.config or os.environ.get("LLMCORE_CONFIG")
    return Path(named) if named else _find_project_file()


def _find_project_file() -> Path:
    from llmcore.config import find_project_file
    from llmcore.support.user_folders import get_working_folder

    try:
        here = get_working_folder()
        if (found := find_project_file(here)) is not None:
            return found
        return Path.cwd() / "llmcore.toml"  # raises if the working directory was deleted
    except OSError as error:
        raise_unchained(
            ConfigError(
                f"the working directory cannot be used: {error.strerror}",
                expected="a working directory that exists",
                fix="cd to another folder",
            )
        )


def _find_user_file() -> Path:
    """Return the user file.

    Raises:
        ConfigError: The user has no home directory.
    """
    from llmcore.config import get_user_file

    file = get_user_file(os.environ)
    if file is not None:
        return file
    raise ConfigError(
        "the user file has no path: the user has no home directory",
        where="--user",
        expected="HOME or XDG_CONFIG_HOME as an absolute path",
        fix="export XDG_CONFIG_HOME=/path/to/a/folder",
    )


def _parse_value(text: str) -> Any:
    """Parse the displayed *text* into a value. A hidden or shortened value stays text."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _render_origin(layer: str, source: str | None) -> str:
    return layer if source is None or source == layer else f"{layer}, {source}"


def _render_path(file: Path) -> str:
    from llmcore.support.user_folders import get_working_folder

    with suppress(OSError, ValueError):  # no working directory exists, or *file* is outside of it
        return str(file.relative_to(get_working_folder()))
    return str(file)
