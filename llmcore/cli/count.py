"""`llmcore count`: count the tokens of a text, offline."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import decode_utf8, open_core, read_file, read_prompt
from llmcore.cli.question import use_shell_syntax
from llmcore.cli.show import note, print_json, put
from llmcore.errors import LLMCoreError
from llmcore.support.errors import raise_unchained

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `count`."""
    parser.epilog = (
        "Prints one number. ~ marks an estimate, whose upper bound goes to stderr.\n\n"
        "examples:\n  llmcore count Hello world\n  llmcore count notes.txt -m openai:gpt-4o-mini\n"
        "  llmcore count --request body.json -m openai:gpt-4o-mini"
    )
    parser.add_argument("content", nargs="*", metavar="TEXT|FILE", help="a text, a file name, or - for stdin")
    parser.add_argument("-m", "--model", help="as in `llmcore ask`")
    parser.add_argument(
        "--request",
        action="store_true",
        help="read JSON: a recorded request body, or a list of messages",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Count the tokens and print the number."""
    content: Any = _read_content(args.content)
    if args.request:
        content = _parse_request(content)
    with open_core(args) as core:
        try:
            count = core.llm.count_tokens(content, model=args.model)
        except LLMCoreError as error:
            raise_unchained(use_shell_syntax(error))
        if args.json:
            print_json(
                tokens=int(count),
                exact=count.exact,
                bound=count.bound,
                model=args.model or core.settings.llm.model,
            )
        else:
            put(f"{'' if count.exact else '~'}{int(count)}")
            if not count.exact:
                note(f"note: an estimate; {_render_bound(count.bound)}")
    return 0


def _render_bound(bound: int | None) -> str:
    return "without an upper bound" if bound is None else f"the server counts at most {bound}"


def _read_content(words: Sequence[str]) -> str:
    if len(words) == 1 and words[0] != "-" and os.path.isfile(words[0]):  # noqa: PTH113 - `Path.is_file` may raise for a long text
        return decode_utf8(read_file(words[0]), words[0])
    if len(words) == 1 and os.path.splitext(words[0])[1][1:].isalnum() and not words[0].split()[1:]:  # noqa: PTH122 - the word may be a text, not a path
        note(f"note: file {words[0]} does not exist; its name was counted as text")
    return read_prompt(words, "llmcore count")


def _parse_request(text: str) -> Mapping[str, Any] | list[Any]:
    import json

    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise_unchained(UsageError(f"the request is not JSON: {error}", where="--request"))
    if not isinstance(found, dict | list):
        raise UsageError(
            f"the request must be an object or a list, got {type(found).__name__}",
            where="--request",
            expected='{"messages": [...]}',
        )
    return found
