"""Asks a question and shows the answer: whole, or as it arrives, with the footer beneath it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcore.cli.opening import named_values, seconds_of
from llmcore.cli.show import Paint, footer, note, safe
from llmcore.errors import LLMCoreError

if TYPE_CHECKING:
    from llmcore.core import Core
    from llmcore.types import Reply, ToolCall, Usage

__all__ = ["Asked", "add_options", "for_a_shell", "given_of"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a question."""
    parser.add_argument(
        "-m", "--model", help="a model, provider:model, or a name of [models]; else the configured one"
    )
    parser.add_argument("-s", "--system", metavar="TEXT", help="the system message")
    parser.add_argument(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="such as temperature=0.2; repeat it",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="neither read the cache nor keep the answer there"
    )
    parser.add_argument("--timeout", metavar="TIME", type=seconds_of, help='such as "30s"; over all attempts')
    parser.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="as it arrives, or whole; as it arrives on a terminal",
    )


def given_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say, as `chat` takes it."""
    given = named_values(args.parameter, "-p")
    given |= {"model": args.model, "system": args.system, "timeout": args.timeout}
    if args.no_cache:
        given["cache"] = False
    return {name: value for name, value in given.items() if value is not None}


class Asked:
    """One question put to *core*, and what is known when it is answered."""

    def __init__(self, core: Core, given: Mapping[str, Any], *, no_color: bool) -> None:
        self.text = ""
        """What has arrived."""
        self._core = core
        self._given = given
        self._no_color = no_color
        self._model = ""
        self._usage: Usage | None = None
        self._before = core.usage.totals()
        self._began = time.perf_counter()

    def whole(self, prompt: str | Sequence[Mapping[str, Any]]) -> Reply:
        """Wait for the answer and return it."""
        reply = self._core.llm.chat(prompt, **self._given)
        self.text, self._model, self._usage = reply.text, reply.model, reply.usage
        return reply

    def streamed(self, prompt: str | Sequence[Mapping[str, Any]]) -> None:
        """Print the answer as it arrives."""
        out = sys.stdout
        calls: list[ToolCall] = []
        try:
            for delta in self._core.llm.stream(prompt, **self._given):
                self.text += delta.text
                out.write(safe(delta.text, out))
                out.flush()
                calls += delta.tool_calls
                self._model, self._usage = delta.model or self._model, delta.usage or self._usage
        finally:
            if self.text and not self.text.endswith("\n"):
                print()
        print_tool_calls(joined(calls))

    def print_footer(self) -> None:
        """Tell on stderr, where that is a terminal, what the answer took."""
        if not sys.stderr.isatty():
            return
        now, before = self._core.usage.totals(), self._before
        unknown = now.unpriced > before.unpriced
        note(
            footer(
                model=self._model,
                usage=self._usage,
                cost=None if unknown else now.cost - before.cost,
                cached=now.cached > before.cached,
                took_s=time.perf_counter() - self._began,
                paint=Paint.of(sys.stderr, no_color=self._no_color),
            )
        )


def print_tool_calls(calls: Sequence[ToolCall]) -> None:
    """Print each call that the model wants made as a line of JSON."""
    if not calls:
        return
    import json

    for call in calls:
        print(json.dumps({"name": call.name, "arguments": call.arguments, "id": call.id}, ensure_ascii=False))


def joined(pieces: Sequence[ToolCall]) -> list[ToolCall]:
    """Put together the pieces of streamed calls."""
    from llmcore.types import ToolCall

    whole: dict[int, ToolCall] = {}
    for piece in pieces:
        known = whole.get(piece.index, ToolCall(name="", arguments="", index=piece.index))
        whole[piece.index] = ToolCall(
            name=known.name or piece.name,
            arguments=known.arguments + piece.arguments,
            id=known.id or piece.id,
            index=piece.index,
        )
    return list(whole.values())


def for_a_shell(error: LLMCoreError) -> LLMCoreError:
    """Put what the error advises an application to write as a person at a shell writes it."""
    if error.code == "LC302":
        error.fix = f"-p {error.suggestion}=VALUE" if error.suggestion else None
    elif error.fix and error.fix.startswith("chat(..., timeout"):
        error.fix = "--timeout 2m"
    elif error.code == "LC303" or (error.fix and error.fix.startswith("chat(")):
        error.fix = 'llmcore ask "Write a haiku about rain"'
    return error
