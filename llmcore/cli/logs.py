"""`llmcore logs`: list and search the log of prompts and answers, and show one entry in full."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from llmcore.cli.command_errors import UsageError
from llmcore.cli.show import (
    Paint,
    format_cost,
    format_seconds,
    note,
    print_json,
    put,
    strip_controls,
)
from llmcore.cli.streams import get_stdout
from llmcore.cli.text_table import print_table
from llmcore.support.errors import raise_unchained

if TYPE_CHECKING:
    from llmcore.content_log.database import LogFile

__all__ = ["configure", "run"]

_ON = "llmcore config set log.content true"
_NEWEST = 20
"""The number of entries that are listed without `-n`."""
_LONGEST = 300
"""Maximum number of characters of a prompt or an answer in the list."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `logs`."""
    parser.epilog = (
        f"The log is off at first; `{_ON}` turns it on.\n\n"
        "examples:\n"
        "  llmcore logs --search rain umbrella\n"
        "  llmcore logs -n 5 --model gpt-5.6-luna --json\n"
        "  llmcore logs 42"
    )
    parser.add_argument("id", nargs="?", type=int, metavar="ID", help="show this entry in full")
    parser.add_argument(
        "--search", nargs="+", metavar="WORD", help="only calls with all of the words in prompt or answer"
    )
    parser.add_argument("--model", help="only calls of this model, or provider:model")
    parser.add_argument(
        "-n",
        "--number",
        type=int,
        default=_NEWEST,
        metavar="N",
        help=f"the number of calls, newest first; 0 for all; default: {_NEWEST}",
    )
    parser.add_argument("--delete", action="store_true", help="delete the entry ID")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the entries."""
    if args.number < 0:
        raise UsageError(f"-n must be at least 0, got {args.number}", where="-n", expected="0 or more")
    if args.id is not None and (args.search or args.model):
        raise UsageError("ID and --search or --model exclude each other", expected="one of them")
    if args.delete and args.id is None:
        raise UsageError("--delete needs the id of an entry", expected="ID", fix="llmcore logs")
    log = _open(args)
    if log is None:
        if args.id is not None:
            raise UsageError(f"there is no entry {args.id}", expected="a log", fix=_ON)
        if args.json:
            print_json(entries=[])
        else:
            note(f"nothing is logged; {_ON} turns the log on")
        return 0
    import apsw

    try:
        return _print(log, args)
    except (apsw.Error, OSError) as error:
        raise_unchained(
            UsageError(
                f"the log cannot be read: {error}",
                where=str(log.path),
                expected="a log that llmcore has written",
            )
        )
    finally:
        log.close()


def _open(args: argparse.Namespace) -> LogFile | None:
    """Return the log; None if no log exists."""
    from llmcore.config import load_settings
    from llmcore.content_log.database import LogFile
    from llmcore.content_log.observer import find_log_path
    from llmcore.plugins import Catalogue

    settings = load_settings(args.config, profile=args.profile)
    options: Any = settings.read_table(Catalogue().load_table("log"))
    path = find_log_path(options.path, settings.env)
    return None if path is None or not path.exists() else LogFile(path)


def _print(log: LogFile, args: argparse.Namespace) -> int:
    if args.id is not None:
        _print_one(log, args)
        return 0
    words = [part for word in args.search or () for part in word.split()]
    found = log.find(words, model=args.model, limit=args.number or None)
    if args.json:
        print_json(entries=[_to_plain(each) for each in found])
    elif found:
        headers = ("ID", "TIME", "MODEL", "COST", "PROMPT", "ANSWER")
        rows = [_make_row(each) for each in found]
        whole = ("TIME", "MODEL", "COST")
        print_table(args, headers, rows, whole=whole, optional=("ANSWER", "COST", "TIME"))
    else:
        note("no call has these words" if words else "the log is empty")
    return 0


def _print_one(log: LogFile, args: argparse.Namespace) -> None:
    entry = log.get(args.id)
    if entry is None:
        raise UsageError(f"there is no entry {args.id}", expected="the id of an entry", fix="llmcore logs")
    if args.delete:
        log.delete(args.id)
        note(f"deleted entry {args.id}")
        return
    plain = _to_plain(entry)
    if args.json:
        print_json(**plain)
        return
    paint = _get_paint(args)
    facts = [
        f"{entry['provider']}:{entry['model']}",
        _format_time(entry["time"], seconds_too=True),
        f"{entry['input_tokens']} tokens in, {entry['output_tokens']} out",
        _format_cost(entry),
        "from the cache" if entry["cached"] else "",
        format_seconds(entry["latency_s"]),
        f"user {entry['user']}" if entry["user"] else "",
        f"tags {entry['tags']}" if entry["tags"] else "",
    ]
    put(paint("dim", f"{entry['id']} · " + " · ".join(fact for fact in facts if fact)))
    for message in plain["messages"]:
        content = message.get("content")
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        put(f"\n{paint('bold', str(message.get('role', 'input')))}\n{strip_controls(text, get_stdout())}")
    if entry["error"]:
        put(f"\n{paint('bold', 'error')}\n{entry['error']}")
    else:
        put(f"\n{paint('bold', 'answer')}\n{strip_controls(entry['answer'], get_stdout())}")
    for call in plain["tool_calls"]:
        put(f"{call['name']}({call['arguments']})")


def _make_row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(entry["id"]),
        _format_time(entry["time"]),
        str(entry["model"]),
        "cached" if entry["cached"] else _format_cost(entry),
        _format_line(entry["prompt"]),
        entry["error"] or _format_line(entry["answer"]),
    )


def _to_plain(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry["time"])),
        "tags": [tag for tag in (entry["tags"] or "").split(",") if tag],
        "cached": bool(entry["cached"]),
        "stream": bool(entry["stream"]),
        "cost": None if entry["cost"] is None else float(entry["cost"]),
        "messages": json.loads(entry["messages"] or "[]"),
        "tool_calls": json.loads(entry["tool_calls"] or "[]"),
    }


def _format_cost(entry: dict[str, Any]) -> str:
    from decimal import Decimal

    return "" if entry["cost"] is None else format_cost(Decimal(entry["cost"]))


def _format_time(seconds: float, *, seconds_too: bool = False) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S" if seconds_too else "%Y-%m-%d %H:%M", time.localtime(seconds))


def _format_line(text: str) -> str:
    return strip_controls(" ".join(text[:_LONGEST].split()), get_stdout())


def _get_paint(args: argparse.Namespace) -> Paint:
    return Paint.for_stream(get_stdout(), no_color=args.no_color)
