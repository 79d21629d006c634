"""`llmcore store`: files in the configured storage, byte for byte."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from llmcore.cli.misuse import UsageError
from llmcore.cli.opening import file_bytes, opened
from llmcore.cli.parser import actions
from llmcore.cli.show import Paint, bytes_text, note, print_json, table
from llmcore.errors import PluginError, StorageNotFound

__all__ = ["configure"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `store` takes."""
    parser.epilog = (
        "examples:\n"
        "  llmcore store put reports/november.txt november.txt\n"
        '  llmcore ask "Write a haiku" | llmcore store put haiku.txt\n'
        "  llmcore store get haiku.txt"
    )
    parser.set_defaults(run=_nothing)
    add = actions(parser)
    put = add("put", "keep a file, or stdin, under a key", _put)
    put.add_argument("key")
    put.add_argument("file", nargs="?", default="-", help="what to keep; else stdin")
    get = add("get", "write what is kept under a key to stdout, or to a file", _get)
    get.add_argument("key")
    get.add_argument("-o", "--output", metavar="FILE", default="-")
    ls = add("ls", "list the keys that begin with a prefix", _ls)
    ls.add_argument("prefix", nargs="?", default="")
    ls.add_argument("-l", "--long", action="store_true", help="with size and time")
    rm = add("rm", "delete what is kept under keys", _rm)
    rm.add_argument("keys", nargs="+", metavar="key")


def _nothing(args: argparse.Namespace) -> int:
    del args
    raise UsageError("`llmcore store` needs an action", expected="put, get, ls, rm", fix="llmcore store ls")


def _put(args: argparse.Namespace) -> int:
    if args.file == "-" and sys.stdin.isatty():
        note("Reading from the terminal; Ctrl-D ends.")
    data = sys.stdin.buffer.read() if args.file == "-" else file_bytes(args.file)
    with opened(args) as core:
        core.storage.save(args.key, data)
    note(f"kept {bytes_text(len(data))} under {args.key}")
    return 0


def _get(args: argparse.Namespace) -> int:
    with opened(args) as core:
        try:
            data = core.storage.load(args.key)
        except StorageNotFound as error:
            error.fix = "llmcore store ls"
            raise
    if args.output != "-":
        Path(args.output).write_bytes(data)
        note(f"wrote {bytes_text(len(data))} to {args.output}")
        return 0
    if sys.stdout.isatty() and b"\0" in data:
        raise UsageError(
            f"{args.key} is no text, and a terminal cannot show it",
            expected="a file, or a pipe",
            fix=f"llmcore store get {args.key} -o FILE",
        )
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return 0


def _ls(args: argparse.Namespace) -> int:
    with opened(args) as core:
        keys = core.storage.list_files(args.prefix)
        if not (args.json or args.long):
            for key in keys:
                print(key)
            return 0
        files = _known(core.storage, keys)
    if args.json:
        print_json(files=files)
    elif files:
        rows = [(_size(file), _time(file), file["key"]) for file in files]
        print(table(("SIZE", "MODIFIED", "KEY"), rows, Paint.of(sys.stdout, no_color=args.no_color)))
    return 0


def _rm(args: argparse.Namespace) -> int:
    with opened(args) as core:
        missing = [key for key in args.keys if not core.storage.delete(key)]
    if missing:
        raise StorageNotFound(
            f"nothing was kept under {', '.join(missing)}",
            expected="a key that `llmcore store ls` shows",
            fix="llmcore store ls",
        )
    return 0


def _known(storage: Any, keys: list[str]) -> list[dict[str, Any]]:
    """Return what the storage can tell of each file; one without sizes and times tells the keys."""
    try:
        return [
            {"key": info.key, "size_bytes": info.size_bytes, "modified": info.modified}
            for info in storage.info(keys)
        ]
    except PluginError:
        return [{"key": key, "size_bytes": None, "modified": None} for key in keys]


def _size(file: dict[str, Any]) -> str:
    return "" if file["size_bytes"] is None else bytes_text(file["size_bytes"])


def _time(file: dict[str, Any]) -> str:
    return (
        "" if file["modified"] is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(file["modified"]))
    )
