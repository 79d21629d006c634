"""`llmcore chat`: a conversation that remembers itself until it ends."""

from __future__ import annotations

import argparse
import contextlib
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from llmcore.cli.answering import Asked, add_options, for_a_shell, given_of
from llmcore.cli.opening import opened
from llmcore.cli.report import shown_error
from llmcore.cli.show import Paint, note
from llmcore.errors import LLMCoreError

if TYPE_CHECKING:
    from llmcore.core import Core

__all__ = ["configure", "run"]

_COMMANDS = {
    "/exit": "end (so does Ctrl-D)",
    "/model NAME": "go on with another model",
    "/new": "forget what was said",
    "/help": "show this",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `chat` takes."""
    parser.epilog = "in the conversation:\n" + _help() + "\n  Ctrl-C        interrupt the answer"
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Talk until the person ends it."""
    with opened(args) as core:
        talk = _Talk(core, given_of(args), args)
        if talk.personal:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 - gives input() its line editing; Windows has its own
            note("/help shows the commands; Ctrl-D ends.")
        while talk.turn():
            pass
    return 1 if talk.failed and not talk.personal else 0


class _Talk:
    """What was said, and with whom."""

    def __init__(self, core: Core, given: dict[str, Any], args: argparse.Namespace) -> None:
        self.personal = sys.stdin.isatty()
        """Whether a person types; a piped text is a conversation, too, one turn a line."""
        self.failed = False
        self._core = core
        self._given = given
        self._whole = args.stream is False
        self._no_color = args.no_color
        self._paint = Paint.of(sys.stderr, no_color=args.no_color)
        self._said: list[dict[str, str]] = []

    def turn(self) -> bool:
        """Take one line; return whether the conversation goes on."""
        try:
            line = input("> " if self.personal else "").strip()
        except EOFError:
            if self.personal:
                note("")
            return False
        except KeyboardInterrupt:
            note("\n/exit or Ctrl-D ends.")
            return True
        if line.startswith("/"):
            return self._commanded(line)
        if line:
            self._answer(line)
        return True

    def _commanded(self, line: str) -> bool:
        command, _, rest = line.partition(" ")
        if command in {"/exit", "/quit"}:
            return False
        if command == "/new":
            self._said.clear()
            note("A new conversation.")
        elif command == "/model" and rest.strip():
            self._given["model"] = rest.strip()
            note(f"The next answer is from {rest.strip()}.")
        elif command == "/help":
            note(_help())
        else:
            names = [name.partition(" ")[0] for name in _COMMANDS]
            near = get_close_matches(command, names, n=1)
            note(f"There is no {command}" + (f"; did you mean {near[0]}?" if near else ".") + f"\n{_help()}")
        return True

    def _answer(self, line: str) -> None:
        question = {"role": "user", "content": line}
        asked = Asked(self._core, self._given, no_color=self._no_color)
        try:
            if self._whole:
                print(asked.whole([*self._said, question]).text)
            else:
                asked.streamed([*self._said, question])
        except KeyboardInterrupt:
            if not self.personal:
                raise
            note("(interrupted)")
        except LLMCoreError as error:
            self.failed = True
            note(shown_error(for_a_shell(error), self._paint))
        else:
            asked.print_footer()
        if asked.text.strip():  # half an answer is a part of the conversation, none is not
            self._said += [question, {"role": "assistant", "content": asked.text}]


def _help() -> str:
    return "\n".join(f"  {name:<13} {told}" for name, told in _COMMANDS.items())
