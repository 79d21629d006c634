"""Ask a question and print the answer, whole or as it arrives, and a footer."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcore.cli.command_helpers import parse_seconds, parse_values
from llmcore.cli.show import Paint, note, put, render_footer, strip_controls, to_json
from llmcore.cli.streams import get_stdout
from llmcore.errors import LLMCoreError

if TYPE_CHECKING:
    from llmcore.cli.wait_indicator import WaitIndicator
    from llmcore.core import Core
    from llmcore.types import Delta, Message, Reply, ToolCall, Usage

_ARGUMENT = r"^(?:chat\(\.\.\., |replace .* by )?(timeout|model|max_tokens)=([^()]+)\)?$"
"""Matches a fix that is Python code and sets an argument of `chat` for which the command line has an option."""

__all__ = ["Question", "add_options", "print_tool_calls", "read_options", "use_shell_syntax"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ask` and `chat`."""
    parser.add_argument(
        "-m",
        "--model",
        help="a model, provider:model, or an alias of [models]; default: the configured model",
    )
    parser.add_argument("-s", "--system", metavar="TEXT", help="the system message")
    parser.add_argument(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the model: temperature=0.2, or extra_body.top_k=5 if only some servers have it; repeatable",
    )
    parser.add_argument("--no-cache", action="store_true", help="do not read or write the cache")
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=parse_seconds,
        help='the time for all attempts together, such as "30s"',
    )
    parser.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="print the answer as it arrives, or whole; default: as it arrives on a terminal",
    )


def read_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `chat` that correspond to the options."""
    given = _unfold_extra_body(parse_values(args.parameter, "-p"))
    given |= {"model": args.model, "system": args.system, "timeout": args.timeout}
    if args.no_cache:
        given["cache"] = False
    return {name: value for name, value in given.items() if value is not None}


def _unfold_extra_body(given: dict[str, Any]) -> dict[str, Any]:
    """Return *given* with names such as `extra_body.top_k` moved into a dict: `extra_body={"top_k": 5}`."""
    prefix = "extra_body."
    extra = {name[len(prefix) :]: value for name, value in given.items() if name.startswith(prefix)}
    if not extra:
        return given
    rest = {name: value for name, value in given.items() if not name.startswith(prefix)}
    whole = rest.get("extra_body", {})
    rest["extra_body"] = {**whole, **extra} if isinstance(whole, dict) else whole
    return rest


class Question:
    """One question to *core*, and the model, usage and cost of the answer."""

    def __init__(self, core: Core, given: Mapping[str, Any], *, no_color: bool) -> None:
        self.text = ""
        """The text that has arrived so far."""
        self._core = core
        self._given = given
        self._no_color = no_color
        self._model = ""
        self._names: list[str] = []
        self._usage: Usage | None = None
        self._before = core.usage.totals()
        self._began = time.perf_counter()

    @property
    def model(self) -> str:
        """The model that answered; empty before the answer."""
        return self._model

    def ask(self, prompt: str | Sequence[Message]) -> Reply:
        """Wait for the answer and return it."""
        with self._make_waiting_line() or contextlib.nullcontext():
            reply = self._core.llm.chat(prompt, **self._given)
        self.text, self._model, self._usage = reply.text or reply.refusal or "", reply.model, reply.usage
        return reply

    def stream(self, prompt: str | Sequence[Message]) -> None:
        """Print the answer as it arrives."""
        out = get_stdout()
        calls: list[ToolCall] = []
        waiting = self._make_waiting_line()
        deltas: Iterable[Delta] = self._core.llm.stream(prompt, **self._given)
        try:
            for delta in deltas if waiting is None else waiting.stop_at_first(deltas):
                text = delta.text or delta.refusal or ""
                self.text += text
                out.write(strip_controls(text, out))
                out.flush()
                calls += delta.tool_calls
                self._model, self._usage = delta.model or self._model, delta.usage or self._usage
        finally:
            if self.text and not self.text.endswith("\n"):
                put()
        print_tool_calls(_join_pieces(calls))

    def _make_waiting_line(self) -> WaitIndicator | None:
        """Return the line that is shown while the call waits; None if stderr is not a terminal."""
        if not sys.stderr.isatty():
            return None
        from llmcore.cli.wait_indicator import WaitIndicator

        self._names = self._core.llm.resolve(self._given.get("model"))
        return WaitIndicator(self._names[0], no_color=self._no_color)

    @property
    def _provider(self) -> str:
        """The provider that answered.

        The answer names its model without the provider. For an alias, the result is the provider of the first model that
        has this name. If no model of the alias has the name, the result is the provider of the first model.
        """
        names = [name.partition(":")[::2] for name in self._names]
        return next((provider for provider, model in names if model == self._model), names[0][0])

    def print_footer(self) -> None:
        """Print model, tokens, cost and time to stderr if it is a terminal."""
        if not sys.stderr.isatty():
            return
        now, before = self._core.usage.totals(), self._before
        unknown = now.unpriced > before.unpriced
        note(
            render_footer(
                provider=self._provider,
                model=self._model,
                usage=self._usage,
                cost=None if unknown else now.cost - before.cost,
                cached=now.cached > before.cached,
                took_s=time.perf_counter() - self._began,
                paint=Paint.for_stream(sys.stderr, no_color=self._no_color),
            )
        )
        if self._provider == "echo" and not before.calls + before.cached:
            from llmcore.cli.echo_note import explain_echo
            from llmcore.install_lines import make_install_line

            note(
                explain_echo(
                    self._core.catalogue.list_names("llm"),
                    make_install_line("llmcore-openai-optimized"),
                    self._core.settings.format_set_line,
                )
            )


def print_tool_calls(calls: Sequence[ToolCall]) -> None:
    """Print each tool call as a line of JSON."""
    for call in calls:
        put(to_json({"name": call.name, "arguments": call.arguments, "id": call.id}, get_stdout()))


def _join_pieces(pieces: Sequence[ToolCall]) -> list[ToolCall]:
    """Join the pieces of streamed tool calls."""
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


def use_shell_syntax(error: LLMCoreError) -> LLMCoreError:
    """Rewrite the fix of *error* from Python code to command-line options."""
    if error.code == "LC302":
        error.fix = f"-p {error.suggestion}=VALUE" if error.suggestion else _format_parameter(error.fix)
    elif error.fix and (given := re.search(_ARGUMENT, error.fix)):
        name, value = given[1], given[2].strip("\"'")
        option = {"timeout": "--timeout", "model": "-m"}.get(name)
        error.fix = f"{option} {value}" if option else f"-p {name}={value}"
    elif error.fix == "core.llm.chat(...)":
        error.fix = "--no-stream"
    elif error.fix and error.fix.startswith("chat(messages=messages"):
        error.fix = "llmcore models"
    elif error.code == "LC303" or (error.fix and error.fix.startswith("chat(")):
        error.fix = 'llmcore ask "Write a haiku about rain"'
    if error.where == "model":
        error.where = "-m"
    elif error.where and error.where.startswith("timeout="):
        error.where = f"--timeout {error.where.removeprefix('timeout=')}"
    return error


def _format_parameter(fix: str | None) -> str | None:
    """Return *fix*, which is Python code with `extra_body=`, as a `-p` option."""
    name = (fix or "").partition("extra_body={'")[2].partition("'")[0]
    return f"-p extra_body.{name}=VALUE" if name else None
