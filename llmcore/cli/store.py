"""`llmcore store`: read and write files of the configured storage, as streams."""

from __future__ import annotations

import argparse
import os
import shlex
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from llmcore.atomic_write import write_atomically
from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import make_read_error, open_core
from llmcore.cli.parser import make_action_adder
from llmcore.cli.progress import show_progress
from llmcore.cli.show import format_bytes, note, print_json, put
from llmcore.cli.streams import get_stdout, resolve_output_path
from llmcore.cli.text_table import print_table
from llmcore.errors import LLMCoreError, PluginError, StorageKeyError, StorageNotFound
from llmcore.storage.listing import iterate_page_sizes
from llmcore.support.errors import raise_unchained
from llmcore.support.storage_keys import find_key_fault

if TYPE_CHECKING:
    from llmcore.storage.client import StorageClient
    from llmcore.types import FileInfo

__all__ = ["configure", "make_key_fix"]

_PIECE = 1 << 20
"""The number of bytes that are read from a file at once."""
_FIELDS = ("key", "size_bytes", "modified", "content_type", "etag")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `store`."""
    parser.epilog = (
        "examples:\n"
        "  llmcore store put reports/november.txt november.txt\n"
        '  llmcore ask "Write a haiku" | llmcore store put haiku.txt\n'
        "  llmcore store get haiku.txt\n"
        '  llmcore store ls "reports/**/*.txt"'
    )
    parser.set_defaults(run=_refuse)
    add = make_action_adder(parser)
    put = add("put", "store a file, or stdin, under a key", _put)
    put.add_argument("key")
    put.add_argument("file", nargs="?", default="-", help="the file to store; default: stdin")
    get = add("get", "write the file of a key to stdout, or to a file", _get)
    get.add_argument("key")
    get.add_argument("-o", "--output", metavar="FILE", default="-")
    ls = add("ls", "list the keys with a prefix, or those that match a pattern with * or ?", _run_ls)
    ls.add_argument(
        "prefix",
        nargs="?",
        default="",
        help="the start of the keys, or a pattern in which * and ? match within a part of the key, and ** matches several parts",
    )
    ls.add_argument("-l", "--long", action="store_true", help="show size and time as well")
    rm = add("rm", "delete the files of keys", _run_rm)
    rm.add_argument("keys", nargs="+", metavar="key")
    for name, help_text, run in (
        ("cp", "copy the file of one key to another key", _run_cp),
        ("mv", "move the file of one key to another key", _run_mv),
    ):
        transfer = add(name, help_text, run)
        transfer.add_argument("source")
        transfer.add_argument("target")


def _refuse(args: argparse.Namespace) -> int:
    del args
    raise UsageError(
        "`llmcore store` needs an action", expected="put, get, ls, rm, cp, mv", fix="llmcore store ls"
    )


def _put(args: argparse.Namespace) -> int:
    if args.file == "-" and sys.stdin.isatty():
        note("Reading from the terminal; Ctrl-D ends the input.")
    with sys.stdin.buffer if args.file == "-" else _open(args.file) as file, open_core(args) as core:
        counted = _CountingStream(_read(file, args.file))
        core.storage.save_stream(args.key, show_progress(counted, _get_file_size(file)))
    if args.json:
        print_json(key=args.key, size_bytes=counted.size)
    note(f"kept {format_bytes(counted.size)} under {args.key}")
    return 0


def _get(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        try:
            pieces = _CountingStream(core.storage.load_stream(args.key))
            first = next(iter(pieces), b"")
            whole = show_progress(_chain(first, pieces), _find_size(core.storage, args.key))
            if args.output != "-":
                _write_file(Path(resolve_output_path(args.output)), whole)
                note(f"wrote {format_bytes(pieces.size)} to {args.output}")
                return 0
        except StorageNotFound as error:
            _suggest_key(error, core.storage, args.key, "llmcore store get {}")
            raise
        if get_stdout().isatty() and b"\0" in first:
            raise UsageError(
                f"{args.key} is not text, and a terminal cannot show it",
                expected="a file, or a pipe",
                fix=f"llmcore store get {args.key} -o FILE",
            )
        for piece in _chain(first, pieces) if get_stdout().isatty() else whole:
            get_stdout().buffer.write(piece)
    get_stdout().buffer.flush()
    return 0


def _run_ls(args: argparse.Namespace) -> int:
    pattern = "*" in args.prefix or "?" in args.prefix
    with open_core(args) as core:
        storage = core.storage
        if not (args.json or args.long):
            keys = storage.glob(args.prefix) if pattern else storage.list_files(args.prefix)
            for key in keys:
                put(key)
            if not keys:
                _note_no_files(args.prefix)
            return 0
        files = (
            _list_infos(storage, storage.glob(args.prefix)) if pattern else _list_pages(storage, args.prefix)
        )
    if args.json:
        print_json(files=files)
    elif files:
        rows = [(_render_size(file), _render_time(file), file["key"]) for file in files]
        print_table(
            args, ("SIZE", "MODIFIED", "KEY"), rows, whole=("MODIFIED", "KEY"), optional=("MODIFIED",)
        )
    else:
        _note_no_files(args.prefix)
    return 0


def _suggest_key(error: StorageNotFound, storage: StorageClient, key: str, command: str) -> None:
    """Suggest the most similar key among the first keys in the folder of *key*. The fix is *command* with that key.

    Without a similar key, the fix lists the keys. If the storage is empty, the fix stores *key*.
    """
    from difflib import get_close_matches

    error.fix = "llmcore store ls"
    folder = key.rpartition("/")[0]
    with suppress(LLMCoreError):
        keys = [file.key for file in storage.list_page(f"{folder}/" if folder else "")]
        if not keys and not storage.list_page(limit=1):
            error.expected = "a key that was saved before; the storage is empty"
            error.fix = f"echo Hello | llmcore store put {shlex.quote(key)}"
        near = next(iter(get_close_matches(key, keys, n=1)), None)
        if near is not None:
            error.suggestion, error.fix = near, command.format(shlex.quote(near))


def make_key_fix(error: StorageKeyError, arguments: Sequence[str]) -> str | None:
    """Return the command of *arguments* with an acceptable key in place of the refused key; None if no such key is found."""
    for word in arguments:
        if error.where == f"key {word!a}":
            better = "/".join(
                part for part in word.replace("\\", "/").split("/") if part not in {"", ".", ".."}
            )
            if better and find_key_fault(better) is None:
                return shlex.join(["llmcore", *(better if each == word else each for each in arguments)])
    return None


def _note_no_files(prefix: str) -> None:
    if sys.stderr.isatty():
        note(f"no key matches {prefix}" if prefix else "the storage is empty")


def _run_rm(args: argparse.Namespace) -> int:
    with open_core(args) as core:
        deleted = [key for key in args.keys if core.storage.delete(key)]
    if args.json:
        print_json(deleted=deleted)
    missing = [key for key in args.keys if key not in deleted]
    if missing:
        rest = f"; deleted {', '.join(deleted)}" if deleted else ""
        raise StorageNotFound(
            f"nothing was stored under {', '.join(missing)}{rest}",
            expected="a key that `llmcore store ls` shows",
            fix="llmcore store ls",
        )
    return 0


def _run_cp(args: argparse.Namespace) -> int:
    return _transfer(args, "copy", "copied")


def _run_mv(args: argparse.Namespace) -> int:
    return _transfer(args, "move", "moved")


def _transfer(args: argparse.Namespace, method: str, done: str) -> int:
    with open_core(args) as core:
        try:
            getattr(core.storage, method)(args.source, args.target)
        except StorageNotFound as error:
            _suggest_key(
                error,
                core.storage,
                args.source,
                f"llmcore store {'cp' if method == 'copy' else 'mv'} {{}} {shlex.quote(args.target)}",
            )
            raise
    if args.json:
        print_json(source=args.source, target=args.target)
    note(f"{done} {args.source} to {args.target}")
    return 0


class _CountingStream:
    """An iterator of pieces that counts their bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece


def _chain(first: bytes, rest: _CountingStream) -> Iterator[bytes]:
    yield first
    yield from rest


def _open(name: str) -> BinaryIO:
    try:
        return open(name, "rb")  # noqa: PTH123 - open the name exactly as the shell passed it; the caller closes the file
    except OSError as error:
        raise_unchained(make_read_error(name, error))


def _read(file: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        yield from iter(lambda: file.read(_PIECE), b"")
    except OSError as error:
        raise_unchained(make_read_error(name, error))


def _get_file_size(file: BinaryIO) -> int | None:
    try:
        described = os.fstat(file.fileno())
    except OSError:
        return None
    return described.st_size if stat.S_ISREG(described.st_mode) else None


def _find_size(storage: Any, key: str) -> int | None:
    """Return the size of the file in bytes, which only the progress on a terminal needs.

    The result is None if stderr is not a terminal, or if the storage does not report sizes.
    """
    if not sys.stderr.isatty():
        return None
    try:
        return int(storage.get_file_info(key).size_bytes)
    except PluginError:
        return None


def _write_file(path: Path, pieces: Iterator[bytes]) -> None:
    try:
        write_atomically(path, pieces)
    except LLMCoreError:  # an error of the storage; caught before OSError, because StorageNotFound is both
        raise
    except OSError as error:
        raise_unchained(
            UsageError(
                f"the file {path} cannot be written: {error.strerror or error}",
                expected="a file that can be written",
            )
        )


def _list_pages(storage: Any, prefix: str) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = []
    try:
        for size in iterate_page_sizes():
            page = storage.list_page(prefix, size, files[-1]["key"] if files else "")
            files += map(_make_row, page)
            if len(page) < size:
                break
    except PluginError:
        return _list_infos(storage, storage.list_files(prefix))
    return files


def _list_infos(storage: Any, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the fields of each file that still exists. If the storage has no file infos, only the keys are set."""
    files: list[dict[str, Any]] = []
    for key in keys:
        try:
            files.append(_make_row(storage.get_file_info(key)))
        except StorageNotFound:  # deleted after it was listed
            continue
        except PluginError:
            return [dict.fromkeys(_FIELDS) | {"key": key} for key in keys]
    return files


def _make_row(info: FileInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in _FIELDS}


def _render_size(file: dict[str, Any]) -> str:
    return "" if file["size_bytes"] is None else format_bytes(file["size_bytes"])


def _render_time(file: dict[str, Any]) -> str:
    return (
        "" if file["modified"] is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(file["modified"]))
    )
