"""`llmcore ask`: one question, its answer on stdout and nothing else there."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from llmcore.cli.answering import Asked, add_options, for_a_shell, given_of, print_tool_calls
from llmcore.cli.misuse import UsageError
from llmcore.cli.opening import file_bytes, opened, prompt_text, utf8
from llmcore.cli.show import note, print_json, safe
from llmcore.errors import LLMCoreError

if TYPE_CHECKING:
    from llmcore.types import Reply

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `ask` takes."""
    parser.epilog = (
        "examples:\n"
        '  llmcore ask "Write a haiku about rain"\n'
        "  cat notes.txt | llmcore ask Sum this up: -\n"
        "  llmcore ask -m openai:gpt-5.6-luna -p temperature=0.2 Hello"
    )
    parser.add_argument(
        "prompt", nargs="*", metavar="PROMPT", help="the question; - is stdin, as is no prompt at all"
    )
    add_options(parser)
    parser.add_argument(
        "--refresh", action="store_true", help="answer afresh, and keep that answer in the cache"
    )
    parser.add_argument("--schema", metavar="FILE", help="a JSON schema that the answer is to fit")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask, and print the answer."""
    if args.refresh and args.no_cache:
        raise UsageError(
            "--refresh keeps the answer in the cache, and --no-cache does not", expected="one of them"
        )
    prompt = prompt_text(args.prompt, "llmcore ask")
    given = given_of(args)
    if args.refresh:
        given["cache"] = "refresh"
    if args.schema:
        given["response_format"] = _schema(args.schema)
    with opened(args) as core:
        asked = Asked(core, given, no_color=args.no_color)
        try:
            if _streams(args):
                asked.streamed(prompt)
            else:
                _print(asked.whole(prompt), json=args.json)
        except LLMCoreError as error:
            raise for_a_shell(error) from None
        asked.print_footer()
    if args.prompt and "-" not in args.prompt and _something_waits():
        note("note: what was piped in was not read; put - where it belongs: llmcore ask Sum this up: -")
    return 0


def _streams(args: argparse.Namespace) -> bool:
    if args.json or args.schema:
        return False
    return sys.stdout.isatty() if args.stream is None else bool(args.stream)


def _print(reply: Reply, *, json: bool) -> None:
    if not json:
        if reply.text or not reply.tool_calls:
            print(safe(reply.text, sys.stdout))
        print_tool_calls(reply.tool_calls)
        return
    import msgspec

    plain: dict[str, Any] = msgspec.structs.asdict(reply)
    del plain["body"], plain["parsed"]
    plain["usage"] = msgspec.structs.asdict(reply.usage) | {"total_tokens": reply.usage.total_tokens}
    plain["limits"] = None if reply.limits is None else msgspec.structs.asdict(reply.limits)
    plain["tool_calls"] = [msgspec.structs.asdict(call) for call in reply.tool_calls]
    print_json(**plain)


def _schema(name: str) -> dict[str, Any]:
    import json

    try:
        schema = json.loads(utf8(file_bytes(name), name))
    except ValueError as error:
        raise UsageError(f"{name} is not JSON: {error}", where="--schema", expected="a JSON schema") from None
    if not isinstance(schema, dict):
        raise UsageError(
            f"{name} holds no JSON schema", where="--schema", expected='an object: {"type": ...}'
        )
    return schema


def _something_waits() -> bool:
    """Return whether stdin holds something, without waiting for it: it may be a pipe that nobody ever closes."""
    if sys.platform == "win32" or sys.stdin is None or sys.stdin.isatty():
        return False
    import select

    try:
        ready, _, _ = select.select([sys.stdin.fileno()], [], [], 0)
        return bool(ready) and bool(os.read(sys.stdin.fileno(), 1))
    except (OSError, ValueError):
        return False
