"""`llmcore chat`: hold a conversation. The model receives all earlier messages, and every turn is stored."""

from __future__ import annotations

import argparse
import contextlib
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import open_core
from llmcore.cli.model_hint import add_model_hint
from llmcore.cli.question import Question, add_options, read_options, use_shell_syntax
from llmcore.cli.report import render_error
from llmcore.cli.show import Paint, note, put
from llmcore.cli.streams import give_stdout
from llmcore.errors import LLMCoreError, StorageError

if TYPE_CHECKING:
    from llmcore.cli.conversation_recorder import ConversationRecorder
    from llmcore.core import Core

__all__ = ["configure", "run"]

_COMMANDS = {
    "/exit": "end the conversation, as Ctrl-D does",
    "/model NAME": "switch to another model",
    "/new": "begin a new conversation",
    "/help": "show these commands",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `chat`."""
    parser.epilog = (
        "in the conversation:\n" + _render_help() + "\n  Ctrl-C        interrupt the answer\n\n"
        "Conversations are JSON files, conversations/NAME.json, in the configured\n"
        "storage; without one, in the user's state folder."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="continue this conversation")
    parser.add_argument(
        "-c",
        "--continue",
        dest="again",
        action="store_true",
        help="continue the conversation that was used last",
    )
    parser.add_argument("--name", dest="new_name", metavar="NAME", help="the name of the new conversation")
    parser.add_argument("--list", action="store_true", help="list the kept conversations, newest first")
    parser.add_argument(
        "--search", nargs="+", metavar="WORD", help="list the conversations that contain all of the words"
    )
    parser.add_argument(
        "-n", "--number", type=int, default=0, metavar="N", help="list at most N conversations; default: all"
    )
    parser.add_argument("--no-keep", action="store_true", help="do not keep this conversation")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the conversation until the user ends it."""
    _check(args)
    with open_core(args) as core:
        if args.list or args.search:
            from llmcore.cli.conversation_list import print_conversations
            from llmcore.cli.conversations import open_conversations

            return print_conversations(open_conversations(core), args)
        session = _Session(core, read_options(args), args)
        if session.is_interactive:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 - adds line editing to input(); Windows has a different module
            note("/help shows the commands; Ctrl-D ends.")
        try:
            while session.take_turn():
                pass
        finally:
            session.end()
    return 1 if session.failed and not session.is_interactive else 0


def _check(args: argparse.Namespace) -> None:
    """Raise a `UsageError` for options that exclude each other."""
    given = {
        "NAME": args.name,
        "--continue": args.again,
        "--name": args.new_name,
        "--list": args.list,
        "--search": args.search,
    }
    used = [option for option, value in given.items() if value]
    if len(used) > 1:
        raise UsageError(f"{used[0]} and {used[1]} exclude each other", expected="one of them")
    if args.no_keep and used:
        raise UsageError(f"--no-keep and {used[0]} exclude each other", expected="one of them")
    if args.number < 0:
        raise UsageError(
            f"-n must be at least 0, got {args.number}", where="-n", expected="1 or more, or 0 for all"
        )


class _Session:
    """The conversation, and the arguments of the next call."""

    def __init__(self, core: Core, given: dict[str, Any], args: argparse.Namespace) -> None:
        from llmcore.cli.conversation_recorder import open_conversation

        self.is_interactive = sys.stdin.isatty()
        """True if a user types the questions. Otherwise each line of stdin is one question."""
        self.failed = False
        self._core = core
        self._given = given
        self._whole = args.stream is False
        self._no_color = args.no_color
        self._paint = Paint.for_stream(sys.stderr, no_color=args.no_color)
        self._recorder: ConversationRecorder = open_conversation(
            core, given, name=args.name, again=args.again, new_name=args.new_name, keep=not args.no_keep
        )
        if self.is_interactive:
            self._recorder.introduce(no_color=args.no_color)

    def take_turn(self) -> bool:
        """Read and answer one line; return whether the conversation continues."""
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

    def end(self) -> None:
        """Print the name of the conversation, so that the user can continue it."""
        if self.is_interactive and (name := self._recorder.name):
            note(f"kept as {name}; `llmcore chat --continue` goes on")

    def _run_line_command(self, line: str) -> bool:
        command, _, rest = line.partition(" ")
        if command in {"/exit", "/quit"}:
            return False
        if command == "/new":
            self._recorder.restart()
            note("New conversation.")
        elif command == "/model" and rest.strip():
            self._given["model"] = rest.strip()
            self._recorder.conversation.model = rest.strip()
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
        prompt = self._recorder.record_question(line)
        question = Question(self._core, self._given, no_color=self._no_color)
        interrupted = False
        try:
            if self._whole:
                reply = question.ask(prompt)
                put(reply.text or reply.refusal or "")
            else:
                question.stream(prompt)
        except KeyboardInterrupt:
            interrupted = True
            note("(interrupted)")
        except StorageError:
            raise
        except LLMCoreError as error:
            self.failed = True
            add_model_hint(error, self._core, self._given.get("model"))
            note(render_error(use_shell_syntax(error), self._paint))
        else:
            question.print_footer()
        self._recorder.record_answer(
            question.text, question.model
        )  # an interrupted answer is part of the conversation
        if interrupted and not self.is_interactive:
            raise KeyboardInterrupt


def _render_help() -> str:
    return "\n".join(f"  {name:<13} {help_text}" for name, help_text in _COMMANDS.items())
