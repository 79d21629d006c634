"""`llmcore embed`: print the vectors of a text, or of the lines of a file."""

from __future__ import annotations

import argparse
import os
import struct
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import (
    decode_utf8,
    open_core,
    parse_seconds,
    read_file,
    read_prompt,
    read_stdin,
)
from llmcore.cli.question import use_shell_syntax
from llmcore.cli.show import Paint, note, print_json, put, render_footer
from llmcore.cli.streams import get_stdout
from llmcore.errors import LLMCoreError
from llmcore.support.errors import raise_unchained

if TYPE_CHECKING:
    from llmcore.types import Embeddings

__all__ = ["configure", "run"]

_HEADER_ALIGNMENT = 64
"""In a NumPy file, the vectors begin at a multiple of this number of bytes."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `embed`."""
    parser.epilog = (
        "Prints one vector a line, as a JSON array.\n\n"
        "examples:\n  llmcore embed It rains -m openai:text-embedding-3-small\n"
        "  llmcore embed sentences.txt --npy > vectors.npy\n"
        "  llmcore embed - --json < sentences.txt"
    )
    parser.add_argument(
        "content",
        nargs="*",
        metavar="FILE|TEXT",
        help="a file with one text a line, - for the lines of stdin, or a text",
    )
    parser.add_argument(
        "-m",
        "--model",
        help="a model, provider:model, or a name of [models]; default: `embedding` of [models]",
    )
    parser.add_argument("-d", "--dimensions", type=int, metavar="N", help="the length of a vector")
    parser.add_argument("--npy", action="store_true", help="write a NumPy file of float32 to stdout")
    parser.add_argument("--no-cache", action="store_true", help="do not read or write the cache")
    parser.add_argument("--refresh", action="store_true", help="skip cached vectors, and cache the new ones")
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=parse_seconds,
        help='the time for all attempts together, such as "30s"',
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Embed the texts and print the vectors."""
    _check(args)
    texts = _read_texts(args.content)
    given: dict[str, Any] = {} if args.timeout is None else {"timeout": args.timeout}
    if args.no_cache or args.refresh:
        given["cache"] = "refresh" if args.refresh else False
    began = time.perf_counter()
    with open_core(args) as core:
        try:
            result = core.llm.embed(texts, args.model, args.dimensions, **given)
        except LLMCoreError as error:
            from llmcore.cli.model_hint import add_model_hint

            add_model_hint(error, core, args.model)
            raise_unchained(use_shell_syntax(error))
    _print(result, args)
    if sys.stderr.isatty() and not args.json:
        _print_footer(result, args, time.perf_counter() - began)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.refresh and args.no_cache:
        raise UsageError("--refresh and --no-cache exclude each other", expected="one of them")
    if args.npy and args.json:
        raise UsageError("--npy and --json exclude each other", expected="one of them")
    if args.npy and get_stdout().isatty():
        raise UsageError(
            "--npy writes binary data, and stdout is a terminal",
            expected="a file or a pipe",
            fix="llmcore embed texts.txt --npy > vectors.npy",
        )


def _read_texts(words: Sequence[str]) -> list[str]:
    """Return the lines of a file or of stdin, without blank lines. If *words* name neither, return them as one text."""
    if len(words) == 1 and words[0] != "-" and os.path.isfile(words[0]):  # noqa: PTH113 - `Path.is_file` may raise for a long text
        return _split_lines(decode_utf8(read_file(words[0]), words[0]), words[0])
    if list(words) == ["-"] or (not words and not sys.stdin.isatty()):
        return _split_lines(read_stdin(), "stdin")
    return [read_prompt(words, "llmcore embed")]


def _split_lines(content: str, name: str) -> list[str]:
    lines = [line for line in content.splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"{name} contains no text", expected="one text a line")
    return lines


def _print(result: Embeddings, args: argparse.Namespace) -> None:
    if args.npy:
        get_stdout().buffer.write(_encode_npy(result.vectors))
        get_stdout().buffer.flush()
    elif args.json:
        import msgspec

        fields = msgspec.structs.asdict(result)
        del fields["limits"]
        usage = msgspec.structs.asdict(result.usage)
        print_json(dimensions=len(result.vectors[0]), **{**fields, "usage": usage})
    else:
        import json

        for vector in result.vectors:
            put(json.dumps(vector))


def _print_footer(result: Embeddings, args: argparse.Namespace, took_s: float) -> None:
    note(
        render_footer(
            provider=result.provider,
            model=result.model,
            usage=result.usage,
            cost=result.cost,
            cached=all(result.cached),
            took_s=took_s,
            paint=Paint.for_stream(sys.stderr, no_color=args.no_color),
        )
    )


def _encode_npy(vectors: Sequence[Sequence[float]]) -> bytes:
    """Return a NumPy file, version 1.0, of float32.

    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    shape = (len(vectors), len(vectors[0]))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    start = len(b"\x93NUMPY\x01\x00") + 2
    header += b" " * (-(start + len(header) + 1) % _HEADER_ALIGNMENT) + b"\n"
    data = b"".join(struct.pack(f"<{len(vector)}f", *vector) for vector in vectors)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data
