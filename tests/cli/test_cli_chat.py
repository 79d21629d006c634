"""`llmcore chat`: a conversation that remembers, over a pipe and on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore_testing import Fault, Simulator
from tests.kits.cli import CommandLine, press_ctrl_c, restore_ctrl_c


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Give the server that `llmcore.toml` in the test's folder names."""
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    with Simulator() as simulator:
        (tmp_path / "llmcore.toml").write_text(
            '[llm]\nprovider = "openai"\nmodel = "first"\n'
            f'[llm.openai]\nbase_url = "{simulator.base_url}"\n[retry]\nattempts = 1\n'
        )
        yield simulator


def test_each_line_is_a_turn_of_one_conversation(cli: CommandLine, upstream: Simulator) -> None:
    upstream.replies("One.", "Two.", "Three.")
    done = cli("chat", "-s", "Be brief", stdin="first\n\nsecond\n/new\nthird\n")
    assert (done.stdout, done.returncode) == ("One.\nTwo.\nThree.\n", 0)
    said = [[message["content"] for message in request.body["messages"]] for request in upstream.requests]
    assert said == [["Be brief", "first"], ["Be brief", "first", "One.", "second"], ["Be brief", "third"]]


def test_the_model_can_be_changed_on_the_way(cli: CommandLine, upstream: Simulator) -> None:
    done = cli("chat", stdin="a\n/model second\nb\n/model echo:echo\nc\n/exit\nnever asked\n")
    assert done.returncode == 0
    assert [request.body["model"] for request in upstream.requests] == ["first", "second"]
    assert done.stdout.endswith("You said: c\n")


def test_a_failed_turn_is_reported_and_dropped(cli: CommandLine, upstream: Simulator) -> None:
    upstream.fail(Fault.status(500))
    done = cli("chat", stdin="lost\nkept\n")
    assert done.stderr.startswith("error[LC401]")
    assert done.returncode == 1
    assert [message["content"] for message in upstream.requests[-1].body["messages"]] == ["kept"]


def test_an_unknown_command_is_not_sent(cli: CommandLine, upstream: Simulator) -> None:
    done = cli("chat", stdin="/modle x\n")
    assert "unknown command /modle; did you mean /model?" in done.stderr
    assert upstream.counts["requests"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_ctrl_c_interrupts_the_answer_and_ctrl_d_ends(cli: CommandLine, upstream: Simulator) -> None:
    import pty

    upstream.fail(Fault.stall(after=5))
    parent, child = pty.openpty()
    with subprocess.Popen(
        [*cli.command, "chat"],
        cwd=cli.folder, env=cli.env | {"TERM": "dumb"}, stdin=child, stdout=child, stderr=child, start_new_session=True,
        preexec_fn=restore_ctrl_c,  # noqa: PLW1509 - nothing is locked here
    ) as process, os.fdopen(parent, "r+b", buffering=0) as terminal:  # fmt: skip
        os.close(child)
        try:
            _until(terminal.fileno(), "> ")
            terminal.write(b"Tell me a story\n")
            _until(terminal.fileno(), "This is")
            press_ctrl_c(process)
            _until(terminal.fileno(), "(interrupted)", "> ")
            terminal.write(b"Go on\n")
            _until(terminal.fileno(), "to: Go on", "> ")
            terminal.write(b"\x04")
            assert process.wait(60) == 0
        finally:
            process.kill()
    roles = [message["role"] for message in upstream.requests[-1].body["messages"]]
    assert roles == ["user", "assistant", "user"], "half an answer is a part of the conversation"


def _until(terminal: int, *texts: str) -> None:
    """Read until each of *texts* was seen, one after the other."""
    seen = ""
    for text in texts:
        while text not in seen:
            seen += os.read(terminal, 4096).decode()
        seen = seen.partition(text)[2]
