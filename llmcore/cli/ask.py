"""`llmcore ask`: ask one question; stdout contains only the answer."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import open_core, read_prompt
from llmcore.cli.question import Question, add_options, print_tool_calls, read_options, use_shell_syntax
from llmcore.cli.show import note, print_json, put, strip_controls
from llmcore.cli.streams import get_stdout
from llmcore.errors import BadRequest, LLMCoreError
from llmcore.support.errors import raise_unchained

if TYPE_CHECKING:
    from llmcore.cli.conversation_recorder import ConversationRecorder
    from llmcore.types import Message, Reply

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ask`."""
    parser.epilog = (
        "examples:\n"
        '  llmcore ask "Write a haiku about rain"\n'
        "  cat notes.txt | llmcore ask Sum this up: -\n"
        "  llmcore ask -a photo.jpg What is in this picture?\n"
        "  llmcore ask --schema 'name, age int' Invent a pirate\n"
        "  llmcore ask -c And in winter?\n"
        "  llmcore ask --save summary 'Sum up: {text}' && llmcore ask -t summary < notes.txt\n"
        "  llmcore ask -m openai:gpt-5.6-luna -p temperature=0.2 Hello"
    )
    parser.add_argument(
        "prompt", nargs="*", metavar="PROMPT", help="the question; if it is - or missing, stdin is read"
    )
    add_options(parser)
    parser.add_argument(
        "-a",
        "--attach",
        metavar="FILE",
        action="append",
        default=[],
        help="an image, audio or another file, or its address; repeatable",
    )
    parser.add_argument(
        "-c",
        "--continue",
        dest="again",
        action="store_true",
        help="continue the conversation that was used last, or begin the first one",
    )
    parser.add_argument("--refresh", action="store_true", help="skip cached answers, and cache the new one")
    parser.add_argument(
        "--schema", metavar="SCHEMA", help="JSON schema of the answer: a file, JSON, or 'name, age int'"
    )
    parser.add_argument("-t", "--template", metavar="NAME", help="use the prompt that --save NAME stored")
    parser.add_argument(
        "--var",
        metavar="NAME=TEXT",
        action="append",
        default=[],
        help="the value of the variable {NAME} of the template; repeatable",
    )
    parser.add_argument(
        "--save",
        metavar="NAME",
        help="store prompt, -s, -m, -p and --schema as a template, and do not ask; {text} in the prompt is a variable",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask the question and print the answer."""
    if args.refresh and args.no_cache:
        raise UsageError("--refresh and --no-cache exclude each other", expected="one of them")
    if args.save:
        from llmcore.cli.template_options import save

        return save(args)
    prompt, given = _read_question(args)
    message = _attach(prompt, args.attach)
    if args.refresh:
        given["cache"] = "refresh"
    with open_core(args) as core:
        recorder: ConversationRecorder | None = None
        if args.again:
            from llmcore.cli.conversation_recorder import open_conversation

            recorder = open_conversation(core, given, again=True)
            recorder.introduce(no_color=args.no_color)
            message = recorder.record_question(message if isinstance(message, str) else message[0]["content"])
        question = Question(core, given, no_color=args.no_color)
        try:
            _ask(question, message, args)
        except LLMCoreError as error:
            from llmcore.cli.model_hint import add_model_hint

            add_model_hint(error, core, args.model)
            raise_unchained(use_shell_syntax(error))
        finally:
            if recorder is not None:
                recorder.record_answer(question.text, question.model)
        question.print_footer()
    if args.prompt and "-" not in args.prompt and _has_unread_stdin():
        note("note: stdin was not read; write - in the prompt to insert it: llmcore ask Sum this up: -")
    return 0


def _read_question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return the prompt and the arguments of `chat`, from the template if the user named a template."""
    if args.template:
        from llmcore.cli.template_options import apply

        prompt, given = apply(args)
    elif args.var:
        raise UsageError("--var needs a template", expected="-t NAME", fix="llmcore templates")
    else:
        prompt, given = read_prompt(args.prompt, "llmcore ask"), read_options(args)
    if args.schema:
        from llmcore.cli.schema_file import read_schema

        given["response_format"] = read_schema(args.schema)
    return prompt, given


def _ask(question: Question, message: str | list[Message], args: argparse.Namespace) -> None:
    """Print the answer. With `--schema`, check that the answer fits the schema."""
    if _is_stream_wanted(args):
        question.stream(message)
        return
    reply = question.ask(message)
    _print(reply, json=args.json)
    if args.schema:
        from llmcore.cli.schema_file import check_answer, get_schema_name, read_schema

        fix = None if args.refresh else "--refresh"
        check_answer(reply, read_schema(args.schema), get_schema_name(args.schema), fix=fix)


def _attach(prompt: str, files: Sequence[str]) -> str | list[Message]:
    """Return *prompt*, or, with *files*, a message that contains the prompt and the files.

    Raises:
        BadRequest: A file cannot be attached.
    """
    if not files:
        return prompt
    from llmcore.llm.attachments import attach

    parts = []
    for each in files:
        try:
            parts.append(attach(each))
        except BadRequest as error:
            error.where = f"-a {each}"
            if error.fix and error.fix.startswith("llmcore."):  # the fix is Python code, not an option
                error.fix = f"-a {error.suggestion}" if error.suggestion else None
            raise
    return [{"role": "user", "content": [{"type": "text", "text": prompt}, *parts]}]


def _is_stream_wanted(args: argparse.Namespace) -> bool:
    if args.json or args.schema:
        return False
    return get_stdout().isatty() if args.stream is None else bool(args.stream)


def _print(reply: Reply, *, json: bool) -> None:
    if not json:
        text = reply.text or reply.refusal or ""
        if text or not reply.tool_calls:
            put(strip_controls(text, get_stdout()))
        print_tool_calls(reply.tool_calls)
        return
    import msgspec

    plain: dict[str, Any] = msgspec.structs.asdict(reply)
    del plain["body"], plain["parsed"]
    plain["usage"] = msgspec.structs.asdict(reply.usage) | {"total_tokens": reply.usage.total_tokens}
    plain["limits"] = None if reply.limits is None else msgspec.structs.asdict(reply.limits)
    plain["tool_calls"] = [msgspec.structs.asdict(call) for call in reply.tool_calls]
    print_json(**plain)


def _has_unread_stdin() -> bool:
    """Return whether stdin has data. Does not wait: the pipe may stay open forever."""
    if sys.platform == "win32" or sys.stdin is None or sys.stdin.isatty():
        return False
    try:
        if stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode):  # /dev/null, for example in a cron job
            return False
        import select

        ready, _, _ = select.select([sys.stdin.fileno()], [], [], 0)
        return bool(ready) and bool(os.read(sys.stdin.fileno(), 1))
    except (OSError, ValueError):
        return False
