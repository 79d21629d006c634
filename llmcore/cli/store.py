"""`llmcore store`: files in the configured storage, byte for byte and piece by piece."""

from __future__ import annotations

import argparse
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from llmcore.cli.misuse import UsageError
from llmcore.cli.opening import opened
from llmcore.cli.parser import actions
from llmcore.cli.progress import watched
from llmcore.cli.show import Paint, bytes_text, note, print_json, table
from llmcore.errors import PluginError, StorageNotFound
from llmcore.storage.listing import page_sizes
from llmcore.writing import written

if TYPE_CHECKING:
    from llmcore.types import FileInfo

__all__ = ["configure"]

_PIECE = 1 << 20
_FACTS = ("key", "size_bytes", "modified", "content_type", "etag")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `store` takes."""
    parser.epilog = (
        "examples:\n"
        "  llmcore store put reports/november.txt november.txt\n"
        '  llmcore ask "Write a haiku" | llmcore store put haiku.txt\n'
        "  llmcore store get haiku.txt\n"
        '  llmcore store ls "reports/**/*.txt"'
    )
    parser.set_defaults(run=_nothing)
    add = actions(parser)
    put = add("put", "keep a file, or stdin, under a key", _put)
    put.add_argument("key")
    put.add_argument("file", nargs="?", default="-", help="what to keep; else stdin")
    get = add("get", "write what is kept under a key to stdout, or to a file", _get)
    get.add_argument("key")
    get.add_argument("-o", "--output", metavar="FILE", default="-")
    ls = add("ls", "list the keys that begin with a prefix, or match a pattern with * or ?", _ls)
    ls.add_argument(
        "prefix", nargs="?", default="", help="or a pattern: * and ? within a part, ** across parts"
    )
    ls.add_argument("-l", "--long", action="store_true", help="with size and time")
    rm = add("rm", "delete what is kept under keys", _rm)
    rm.add_argument("keys", nargs="+", metavar="key")
    for name, told, run in (
        ("cp", "keep what is under one key under another too", _cp),
        ("mv", "keep what is under one key under another instead", _mv),
    ):
        transfer = add(name, told, run)
        transfer.add_argument("source")
        transfer.add_argument("target")


def _nothing(args: argparse.Namespace) -> int:
    del args
    raise UsageError(
        "`llmcore store` needs an action", expected="put, get, ls, rm, cp, mv", fix="llmcore store ls"
    )


def _put(args: argparse.Namespace) -> int:
    if args.file == "-" and sys.stdin.isatty():
        note("Reading from the terminal; Ctrl-D ends.")
    with sys.stdin.buffer if args.file == "-" else _open(args.file) as file, opened(args) as core:
        counted = _Counted(_read(file, args.file))
        core.storage.save_stream(args.key, watched(counted, _size_of(file)))
    if args.json:
        print_json(key=args.key, size_bytes=counted.size)
    note(f"kept {bytes_text(counted.size)} under {args.key}")
    return 0


def _get(args: argparse.Namespace) -> int:
    with opened(args) as core:
        try:
            pieces = _Counted(core.storage.load_stream(args.key))
            first = next(iter(pieces), b"")
            whole = watched(_joined(first, pieces), _told_size(core.storage, args.key))
            if args.output != "-":
                _written(Path(args.output), whole)
                note(f"wrote {bytes_text(pieces.size)} to {args.output}")
                return 0
        except StorageNotFound as error:
            error.fix = "llmcore store ls"
            raise
        if sys.stdout.isatty() and b"\0" in first:
            raise UsageError(
                f"{args.key} is no text, and a terminal cannot show it",
                expected="a file, or a pipe",
                fix=f"llmcore store get {args.key} -o FILE",
            )
        for piece in _joined(first, pieces) if sys.stdout.isatty() else whole:
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return 0


def _ls(args: argparse.Namespace) -> int:
    pattern = "*" in args.prefix or "?" in args.prefix
    with opened(args) as core:
        storage = core.storage
        if not (args.json or args.long):
            keys = storage.glob(args.prefix) if pattern else storage.list_files(args.prefix)
            for key in keys:
                print(key)
            if not keys:
                _told_nothing(args.prefix)
            return 0
        files = _known(storage, storage.glob(args.prefix)) if pattern else _paged(storage, args.prefix)
    if args.json:
        print_json(files=files)
    elif files:
        rows = [(_size(file), _time(file), file["key"]) for file in files]
        print(table(("SIZE", "MODIFIED", "KEY"), rows, Paint.of(sys.stdout, no_color=args.no_color)))
    else:
        _told_nothing(args.prefix)
    return 0


def _told_nothing(prefix: str) -> None:
    if sys.stderr.isatty():
        note(f"nothing is kept whose key fits {prefix}" if prefix else "nothing is kept")


def _rm(args: argparse.Namespace) -> int:
    with opened(args) as core:
        deleted = [key for key in args.keys if core.storage.delete(key)]
    if args.json:
        print_json(deleted=deleted)
    missing = [key for key in args.keys if key not in deleted]
    if missing:
        rest = f"; deleted {', '.join(deleted)}" if deleted else ""
        raise StorageNotFound(
            f"nothing was kept under {', '.join(missing)}{rest}",
            expected="a key that `llmcore store ls` shows",
            fix="llmcore store ls",
        )
    return 0


def _cp(args: argparse.Namespace) -> int:
    return _transferred(args, "copy", "copied")


def _mv(args: argparse.Namespace) -> int:
    return _transferred(args, "move", "moved")


def _transferred(args: argparse.Namespace, method: str, done: str) -> int:
    with opened(args) as core:
        try:
            getattr(core.storage, method)(args.source, args.target)
        except StorageNotFound as error:
            error.fix = "llmcore store ls"
            raise
    if args.json:
        print_json(source=args.source, target=args.target)
    note(f"{done} {args.source} to {args.target}")
    return 0


class _Counted:
    """Pieces whose bytes are counted on their way."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece


def _joined(first: bytes, rest: _Counted) -> Iterator[bytes]:
    yield first
    yield from rest


def _open(name: str) -> BinaryIO:
    try:
        return open(name, "rb")  # noqa: PTH123 - a name as the shell gave it; the caller closes it
    except OSError as error:
        fault = f"the file {name} cannot be read: {error.strerror or type(error).__name__}"
    raise UsageError(fault, expected="a file that can be read")


def _read(file: BinaryIO, name: str) -> Iterator[bytes]:
    fault = ""
    try:
        yield from iter(lambda: file.read(_PIECE), b"")
    except OSError as error:
        fault = f"the file {name} cannot be read: {error.strerror or type(error).__name__}"
    if fault:
        raise UsageError(fault, expected="a file that can be read")


def _size_of(file: BinaryIO) -> int | None:
    try:
        described = os.fstat(file.fileno())
    except OSError:
        return None
    return described.st_size if stat.S_ISREG(described.st_mode) else None


def _told_size(storage: Any, key: str) -> int | None:
    """Return the size for the progress alone, which nobody sees where stderr is no terminal."""
    if not sys.stderr.isatty():
        return None
    try:
        return int(storage.get_file_info(key).size_bytes)
    except PluginError:
        return None


def _written(path: Path, pieces: Iterator[bytes]) -> None:
    try:
        written(path, pieces)
    except OSError as error:
        fault = f"the file {path} cannot be written: {error.strerror or error}"
    else:
        return
    raise UsageError(fault, expected="a file that can be written")


def _paged(storage: Any, prefix: str) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = []
    try:
        for size in page_sizes():
            page = storage.list_page(prefix, size, files[-1]["key"] if files else "")
            files += map(_facts, page)
            if len(page) < size:
                break
    except PluginError:
        return _known(storage, storage.list_files(prefix))
    return files


def _known(storage: Any, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the storage can tell of each file that is still there; one without sizes and times tells the keys."""
    files: list[dict[str, Any]] = []
    for key in keys:
        try:
            files.append(_facts(storage.get_file_info(key)))
        except StorageNotFound:  # deleted since it was listed
            continue
        except PluginError:
            return [dict.fromkeys(_FACTS) | {"key": key} for key in keys]
    return files


def _facts(info: FileInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in _FACTS}


def _size(file: dict[str, Any]) -> str:
    return "" if file["size_bytes"] is None else bytes_text(file["size_bytes"])


def _time(file: dict[str, Any]) -> str:
    return (
        "" if file["modified"] is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(file["modified"]))
    )
