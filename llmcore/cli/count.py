"""`llmcore count`: how many tokens a text has, without asking anybody."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.cli.misuse import UsageError
from llmcore.cli.opening import file_bytes, opened, prompt_text, utf8
from llmcore.cli.show import note, print_json

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `count` takes."""
    parser.epilog = (
        "The number stands alone, with ~ in front where it is an estimate; what it is at most goes to stderr.\n\n"
        "examples:\n  llmcore count Hello world\n  llmcore count notes.txt -m openai:gpt-4o-mini\n"
        "  llmcore count --request body.json -m openai:gpt-4o-mini"
    )
    parser.add_argument(
        "content", nargs="*", metavar="TEXT|FILE", help="a text, the name of a file, or - for stdin"
    )
    parser.add_argument("-m", "--model", help="as in `llmcore ask`")
    parser.add_argument(
        "--request",
        action="store_true",
        help="the content is JSON: a recorded request body, or a list of messages",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Count, and print the number."""
    content: Any = _content(args.content)
    if args.request:
        content = _request(content)
    with opened(args) as core:
        count = core.llm.count_tokens(content, model=args.model)
        if args.json:
            print_json(
                tokens=int(count),
                exact=count.exact,
                bound=count.bound,
                model=args.model or core.settings.llm.model,
            )
        else:
            print(f"{'' if count.exact else '~'}{int(count)}")
            if not count.exact:
                note(f"note: an estimate; {_at_most(count.bound)}")
    return 0


def _at_most(bound: int | None) -> str:
    return "nothing bounds it" if bound is None else f"the server counts at most {bound}"


def _content(words: Sequence[str]) -> str:
    if len(words) == 1 and words[0] != "-" and os.path.isfile(words[0]):  # noqa: PTH113 - any text may be no path
        return utf8(file_bytes(words[0]), words[0])
    if len(words) == 1 and os.path.splitext(words[0])[1][1:].isalnum() and not words[0].split()[1:]:  # noqa: PTH122 - see above
        note(f"note: there is no file {words[0]}; its name is what was counted")
    return prompt_text(words, "llmcore count")


def _request(text: str) -> Mapping[str, Any] | list[Any]:
    import json

    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the request is not JSON: {error}", where="--request") from None
    if not isinstance(found, dict | list):
        raise UsageError(
            "the request is no object and no list", where="--request", expected='{"messages": [...]}'
        )
    return found
