"""`llmcore ask`, `count` and `models`: the answer on stdout, everything else on stderr, and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore_testing import Fault, Simulator
from tests.kits.cli import CommandLine


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Simulator]:
    """Give the server that `llmcore.toml` in the test's folder names."""
    with Simulator(api_keys=["right"], models=["gpt-5.6-luna"]) as simulator:
        (tmp_path / "llmcore.toml").write_text(
            f'[llm]\nprovider = "openai"\nmodel = "gpt-5.6-luna"\n'
            f'[llm.openai]\nbase_url = "{simulator.base_url}"\napi_key = "env:KEY"\n[retry]\nattempts = 1\n'
        )
        yield simulator


def test_the_answer_alone_is_on_stdout(cli: CommandLine) -> None:
    done = cli("ask", "Hello there")
    assert (done.stdout, done.stderr, done.returncode) == ("You said: Hello there\n", "", 0)


@pytest.mark.parametrize(
    ("arguments", "stdin", "answer"),
    [
        (["Hello", "there"], "", "You said: Hello there\n"),
        (["-"], "from a pipe", "You said: from a pipe\n"),
        ([], "from a pipe", "You said: from a pipe\n"),
        (["Sum", "up:", "-"], "a\nb", "You said: Sum up:\n\na\nb\n"),
        (["--", "-x", "is", "text"], "", "You said: -x is text\n"),
        (["-s", "Be brief", "Hi"], "", "You said: Hi\n"),
        (["-p", "max_tokens=2", "one two three"], "", "You said\n"),
        (["--stream", "Hi"], "", "You said: Hi\n"),
        (["-m", "echo:other", "Hi"], "", "You said: Hi\n"),
    ],
)
def test_a_question_may_come_in_many_ways(
    cli: CommandLine, arguments: list[str], stdin: str, answer: str
) -> None:
    done = cli("ask", *arguments, stdin=stdin)
    assert (done.stdout, done.stderr, done.returncode) == (answer, "", 0)


@pytest.mark.parametrize("arguments", [["ask"], ["ask", "--stream"]])
def test_the_words_of_a_refusal_are_the_answer(
    cli: CommandLine, upstream: Simulator, arguments: list[str]
) -> None:
    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    upstream.replies({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    done = cli(*arguments, "Hi", KEY="right")
    assert (done.stdout, done.returncode) == ("I cannot.\n", 0)


def test_unread_stdin_is_reported(cli: CommandLine) -> None:
    done = cli("ask", "Sum up", stdin="a long text")
    assert done.stdout == "You said: Sum up\n"
    assert done.stderr.startswith("note: stdin was not read; write -")


def test_json_is_the_whole_reply(cli: CommandLine) -> None:
    first, second = (json.loads(cli("ask", "--json", "Hello").stdout) for _ in range(2))
    assert sorted(first) == [
        "cached", "cost", "cost_source", "finish_reason", "latency_s", "limits", "logprobs", "model", "other_choices", "provider",
        "reasoning", "refusal", "request_id", "saved", "schema", "service_tier", "text", "tool_calls", "usage",
    ]  # fmt: skip
    assert (first["schema"], first["text"], first["provider"]) == (1, "You said: Hello", "echo")
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["usage"]["total_tokens"] == first["usage"]["input_tokens"] + first["usage"]["output_tokens"]
    assert json.loads(cli("ask", "--json", "--no-cache", "Hello").stdout)["cached"] is False
    assert json.loads(cli("ask", "--json", "--refresh", "Hello").stdout)["cached"] is False


def test_a_schema_makes_the_answer_fit(cli: CommandLine, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    done = cli("ask", "--schema", "schema.json", "Who?")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout)["name"], str)


def test_a_tool_call_is_a_line_of_json(cli: CommandLine) -> None:
    tool = '[{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]'
    for way in ("--stream", "--no-stream"):
        done = cli("ask", way, "-p", f"tools={tool}", "-p", "tool_choice=required", "What time is it?")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["name"] == "clock"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "error[LC303]: the prompt is empty"),
        (["-p", "temprature=1", "Hi"], "  = fix: llmcore ask -p temperature=1 Hi\n"),
        (["-p", "temperature", "Hi"], "error[LC001]: `temperature` is not NAME=VALUE"),
        (["--schema", "missing.json", "Hi"], "error[LC001]: the file missing.json cannot be read"),
        (["--timeout", "soon", "Hi"], "`soon` is not a duration greater than 0"),
        (["--refresh", "--no-cache", "Hi"], "error[LC001]: --refresh and --no-cache exclude each other"),
    ],
)
def test_invalid_arguments_exit_with_2_and_a_fix(cli: CommandLine, arguments: list[str], said: str) -> None:
    done = cli("ask", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_real_call_is_answered_with_its_cost(cli: CommandLine, upstream: Simulator) -> None:
    shown = json.loads(cli("ask", "--json", "Hi", KEY="right").stdout)
    assert shown["cost"] > 0
    assert shown["model"] == "gpt-5.6-luna"
    assert upstream.counts["chat"] == 1


@pytest.mark.parametrize(
    ("fault", "asked", "code"),
    [
        (None, ("wrong", ""), 4),
        (None, ("", ""), 4),
        (None, ("right", "gpt-9"), 1),
        (Fault.status(500), ("right", ""), 7),
        (Fault.status(429), ("right", ""), 1),
        (Fault.bad_json(), ("right", ""), 1),
    ],
)
def test_the_exit_code_says_what_failed(
    cli: CommandLine, upstream: Simulator, fault: Fault | None, asked: tuple[str, str], code: int
) -> None:
    key, model = asked
    if fault is not None:
        upstream.fail(fault)
    done = cli("ask", *(["-m", model] if model else []), "Hi", KEY=key)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("error[LC")
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_7(cli: CommandLine, upstream: Simulator) -> None:
    upstream.close()
    assert cli("ask", "Hi", KEY="right").returncode == 7


def test_a_silent_server_ends_with_the_timeout(cli: CommandLine, upstream: Simulator) -> None:
    upstream.fail(Fault.hang())
    done = cli("ask", "--timeout", "0.5s", "Hi", KEY="right")
    assert done.returncode == 7, done.stderr


@pytest.mark.usefixtures("upstream")
def test_the_key_is_never_shown(cli: CommandLine) -> None:
    for arguments in (["ask", "Hi"], ["ask", "--json", "Hi"], ["config", "check"]):
        done = cli(*arguments, KEY="sk-not-accepted-0123456789", LLMCORE_TRACEBACK="1")
        assert "sk-not-accepted" not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_on_a_terminal_there_is_a_footer_and_no_control_character(cli: CommandLine) -> None:
    import pty

    parent, child = pty.openpty()
    command = [sys.executable, "-m", "llmcore", "ask", "Hi \x1b[31mred\x07"]
    with subprocess.Popen(
        command, env=cli.env | {"TERM": "xterm"}, stdin=child, stdout=child, stderr=child
    ) as process:
        os.close(child)
        seen = b""
        while chunk := _read(parent):
            seen += chunk
        assert process.wait(60) == 0
    os.close(parent)
    answer, footer = seen.decode().split("\r\n")[:2]
    answer = answer.rpartition("\r")[2]  # without the line of a call that takes a second, which it overwrites
    assert answer == "You said: Hi [31mred"
    assert footer.startswith("\x1b[2mdefault · ")
    assert " tokens in, " in footer
    assert " · $0 · " in footer


def _read(parent: int) -> bytes:
    try:
        return os.read(parent, 4096)
    except OSError:  # Linux's way of saying that the other side is closed
        return b""


def test_count_prints_only_the_number(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Hello world")
    (tmp_path / "body.json").write_text('{"messages": [{"role": "user", "content": "Hello world"}]}')
    of_text = cli("count", "Hello", "world")
    assert of_text.stdout.strip("~\n").isdecimal()
    assert cli("count", "notes.txt").stdout == of_text.stdout
    assert cli("count", "-", stdin="Hello world").stdout == of_text.stdout
    shown = json.loads(cli("count", "--json", "Hello world").stdout)
    assert sorted(shown) == ["bound", "exact", "model", "schema", "tokens"]
    assert of_text.stdout == f"{'' if shown['exact'] else '~'}{shown['tokens']}\n"
    request = cli("count", "--request", "body.json")
    assert int(request.stdout.strip("~\n")) >= shown["tokens"]
    assert cli("count", "--request", "notes.txt").returncode == 2


def test_count_marks_an_estimate_and_prints_its_bound(cli: CommandLine, tmp_path: Path) -> None:
    asked = {"input": [{"role": "user", "content": "Hello world"}], "model": "gpt-4o-mini"}
    (tmp_path / "body.json").write_text(json.dumps(asked))
    (tmp_path / "new.json").write_text(json.dumps({**asked, "model": "gpt-6-sol"}))
    (tmp_path / "rest.json").write_text(json.dumps({**asked, "previous_response_id": "resp_1"}))
    exact = cli("count", "--request", "body.json", "-m", "openai:gpt-4o-mini")
    assert (exact.stdout, exact.stderr) == ("9\n", "")
    shown = json.loads(cli("count", "--json", "--request", "new.json", "-m", "openai:gpt-6-sol").stdout)
    estimate = cli("count", "--request", "new.json", "-m", "openai:gpt-6-sol")
    assert estimate.stdout == f"~{shown['tokens']}\n"
    assert estimate.stderr == f"note: an estimate; the server counts at most {shown['bound']}\n"
    rest = cli("count", "--request", "rest.json", "-m", "openai:gpt-4o")
    assert rest.stderr == "note: an estimate; without an upper bound\n"


@pytest.mark.usefixtures("upstream")
def test_models_are_listed_one_a_line(cli: CommandLine) -> None:
    assert cli("models", KEY="right").stdout == "gpt-5.6-luna\n"
    shown = json.loads(cli("models", "--provider", "echo", "--json").stdout)
    assert shown == {"schema": 1, "provider": "echo", "models": ["echo"], "warnings": []}
    assert cli("models", "--provider", "nobody").returncode == 6


@pytest.mark.usefixtures("upstream")
def test_a_parameter_that_only_some_servers_know_goes_into_extra_body(cli: CommandLine) -> None:
    refused = cli("ask", "-p", "top_k=5", "Hello", KEY="right")
    assert refused.returncode == 2
    assert refused.stderr.endswith("fix: llmcore ask -p extra_body.top_k=5 Hello\n")
    asked = cli("ask", "-p", "extra_body.top_k=5", "-p", 'extra_body={"min_p": 0.1}', "Hello", KEY="right")
    assert (asked.returncode, asked.stderr) == (0, "")
    bad = cli("ask", "-p", "extra_body.model=5", "Hello", KEY="right")
    assert (bad.returncode, "must not set `model`" in bad.stderr) == (2, True)
