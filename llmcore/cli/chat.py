"""`llmcore chat`: a conversation; the model gets all earlier messages."""

from __future__ import annotations

import argparse
import contextlib
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from llmcore.cli.answering import Question, add_options, read_options, use_shell_syntax
from llmcore.cli.model_hint import add_model_hint
from llmcore.cli.opening import open_core
from llmcore.cli.report import render_error
from llmcore.cli.show import Paint, note, put
from llmcore.cli.streams import give_stdout
from llmcore.errors import LLMCoreError

if TYPE_CHECKING:
    from llmcore.core import Core
    from llmcore.types import Message

__all__ = ["configure", "run"]

_COMMANDS = {
    "/exit": "end the conversation (as Ctrl-D)",
    "/model NAME": "switch to another model",
    "/new": "forget the conversation so far",
    "/help": "show these commands",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `chat`."""
    parser.epilog = "in the conversation:\n" + _render_help() + "\n  Ctrl-C        interrupt the answer"
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the conversation until the user ends it."""
    with open_core(args) as core:
        conversation = _Conversation(core, read_options(args), args)
        if conversation.is_interactive:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 - adds line editing to input(); Windows has its own
            note("/help shows the commands; Ctrl-D ends.")
        while conversation.take_turn():
            pass
    return 1 if conversation.failed and not conversation.is_interactive else 0


class _Conversation:
    """The messages so far, and the arguments of the next call."""

    def __init__(self, core: Core, given: dict[str, Any], args: argparse.Namespace) -> None:
        self.is_interactive = sys.stdin.isatty()
        """Whether a user types; piped text is a conversation with one question per line."""
        self.failed = False
        self._core = core
        self._given = given
        self._whole = args.stream is False
        self._no_color = args.no_color
        self._paint = Paint.of(sys.stderr, no_color=args.no_color)
        self._messages: list[Message] = []

    def take_turn(self) -> bool:
        """Read and answer one line; return whether the conversation goes on."""
        try:
            with give_stdout():  # line editing needs the terminal as stdout
                line = input("> " if self.is_interactive else "").strip()
        except EOFError:
            if self.is_interactive:
                note("")
            return False
        except KeyboardInterrupt:
            note("\n/exit or Ctrl-D ends the conversation.")
            return True
        if line.startswith("/"):
            return self._run_line_command(line)
        if line:
            self._answer(line)
        return True

    def _run_line_command(self, line: str) -> bool:
        command, _, rest = line.partition(" ")
        if command in {"/exit", "/quit"}:
            return False
        if command == "/new":
            self._messages.clear()
            note("New conversation.")
        elif command == "/model" and rest.strip():
            self._given["model"] = rest.strip()
            note(f"The next answer is from {rest.strip()}.")
        elif command == "/help":
            note(_render_help())
        else:
            names = [name.partition(" ")[0] for name in _COMMANDS]
            near = get_close_matches(command, names, n=1)
            note(
                f"unknown command {command}"
                + (f"; did you mean {near[0]}?" if near else ".")
                + f"\n{_render_help()}"
            )
        return True

    def _answer(self, line: str) -> None:
        message: Message = {"role": "user", "content": line}
        question = Question(self._core, self._given, no_color=self._no_color)
        try:
            if self._whole:
                reply = question.ask([*self._messages, message])
                put(reply.text or reply.refusal or "")
            else:
                question.stream([*self._messages, message])
        except KeyboardInterrupt:
            if not self.is_interactive:
                raise
            note("(interrupted)")
        except LLMCoreError as error:
            self.failed = True
            add_model_hint(error, self._core, self._given.get("model"))
            note(render_error(use_shell_syntax(error), self._paint))
        else:
            question.print_footer()
        if question.text.strip():  # an interrupted answer is part of the conversation, an empty one is not
            self._messages += [message, {"role": "assistant", "content": question.text}]


def _render_help() -> str:
    return "\n".join(f"  {name:<13} {help_text}" for name, help_text in _COMMANDS.items())
