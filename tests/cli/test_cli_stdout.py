"""stdout contains only the answer, unchanged. Streams that are closed or full do not change what a command does."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

LOUD = """
import atexit, ctypes, os, subprocess, sys, threading
print("loaded 42 models")
from llmcore.hookspecs import Provider, hookimpl
LLMCORE_API = 1
libc = ctypes.CDLL(None)
def shout(what):
    print(what, "by print")
    print(what, "by the first stdout", file=sys.__stdout__)
    os.write(1, f"{what} by write\\n".encode())
    libc.puts(f"{what} by C".encode())
    libc.fflush(None)
    subprocess.run([sys.executable, "-c", f"print('{what} by a child')"])
atexit.register(shout, "the end")
class Cache:
    def get(self, key): shout("get"); return None
    def set(self, key, value, ttl=None): threading.Thread(target=shout, args=("set",)).start()
    def delete(self, key): return False
    def clear(self): pass
@hookimpl
def llmcore_cache_providers():
    yield Provider(name="loud", create=lambda options: Cache())
"""
COMMAND = """
import os, sys
print("loading")
LLMCORE_API = 1
def greet(arguments):
    print("hello", *arguments)
    sys.stdout.flush()
    os.write(1, b"and goodbye\\n")
    return 3
"""
USES_LOUD = {"LLMCORE__CACHE__PROVIDER": "loud", "LLMCORE__CACHE__MEMORY": "0"}
TEXT = "na\u00efve \u65e5\u672c \U0001f986"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path)
    line.install("llmcore-loud", {"llmcore.cache": "loud = llmcore_loud"}, {"llmcore_loud": LOUD})
    return line


def run_in_shell(cli: CommandLine, rest: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run `llmcore` with *rest* of a line, which a shell reads."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "{sys.executable}" -m llmcore {rest}'],
        cwd=cli.folder, env=cli.env | env, capture_output=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "how", [("ask", "hi"), ("ask", "--stream", "hi"), ("chat",), ("ask", "--json", "hi")], ids=" ".join
)
def test_output_of_plugins_and_c_libraries_goes_to_stderr(cli: CommandLine, how: tuple[str, ...]) -> None:
    done = cli(*how, stdin="hi\n" if how == ("chat",) else "", **USES_LOUD)
    assert done.returncode == 0
    answer = json.loads(done.stdout)["text"] + "\n" if "--json" in how else done.stdout
    assert answer == "You said: hi\n"
    for what in ("get", "set", "the end"):
        for way in ("print", "the first stdout", "write", "C", "a child"):
            assert f"{what} by {way}" in done.stderr
    assert "loaded 42 models" in done.stderr


def test_unbuffered_python_keeps_the_answer_apart_too(cli: CommandLine) -> None:
    done = cli("ask", "--stream", "hi", PYTHONUNBUFFERED="1", **USES_LOUD)
    assert (done.returncode, done.stdout) == (0, "You said: hi\n")


def test_output_of_a_plugin_command_goes_to_stdout(cli: CommandLine) -> None:
    cli.install(
        "llmcore-greet", {"llmcore.commands": "greet = llmcore_greet:greet"}, {"llmcore_greet": COMMAND}
    )
    done = cli("greet", "you")
    assert (done.returncode, done.stdout) == (3, "hello you\nand goodbye\n")
    assert "loading" in done.stderr
    full = run_in_shell(cli, "greet you > /dev/full")
    assert (full.returncode, full.stdout) == (2, b"")
    assert b"stdout cannot be written: No space left on device" in full.stderr


def test_an_output_named_after_stdout_is_stdout(cli: CommandLine) -> None:
    cli("store", "put", "k", "-", stdin="kept")
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        done = cli("store", "get", "k", "-o", name)
        assert (done.returncode, done.stdout) == (0, "kept"), done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8", "utf-16"])
def test_json_arrives_whole_in_every_encoding(cli: CommandLine, encoding: str) -> None:
    done = run_in_shell(
        cli, f"ask --json '{TEXT}'", PYTHONIOENCODING=encoding, PYTHONUTF8="0", LC_ALL="C.UTF-8"
    )
    text = done.stdout.decode(encoding)
    assert json.loads(text)["text"] == f"You said: {TEXT}"
    assert text.isascii() == (encoding != "utf-8")
    assert done.stderr == b""


@pytest.mark.parametrize(("encoding", "lost"), [("ascii", 4), ("cp1252", 3), ("utf-8", 0)])
@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_replaced_characters_are_reported(cli: CommandLine, encoding: str, lost: int, stream: str) -> None:
    done = run_in_shell(
        cli, f"ask {stream} '{TEXT}'", PYTHONIOENCODING=encoding, PYTHONUTF8="0", LC_ALL="C.UTF-8"
    )
    assert done.returncode == 0
    said = done.stdout.decode(encoding)
    assert said.count("?") == lost
    assert (said == f"You said: {TEXT}\n") == (not lost)
    warning = f"warning: stdout is {encoding}, which cannot encode {lost} of the characters" if lost else ""
    assert done.stderr.decode()[: len(warning)] == warning
    assert bool(done.stderr) == bool(lost)


CLOSED = [">&-", "2>&-", "<&-", ">&- 2>&-", ">&- 2>&- <&-", "<&- >&-", "2>/dev/full"]


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize(
    ("command", "code", "out"),
    [
        ("ask hi", 0, b"You said: hi\n"),
        ("--version", 0, b"llmcore "),
        ("--help", 0, b"usage: llmcore"),
        ("plugins", 0, b"NAME"),
        ("ask hi -p zzz=1", 2, b""),
        ("--config none.toml ask hi", 3, b""),
        ("usage none", 2, b""),
    ],
)
def test_closed_streams_leave_the_exit_code_and_the_other_streams_as_they_are(
    cli: CommandLine, closed: str, command: str, code: int, out: bytes
) -> None:
    done = run_in_shell(cli, f"{command} {closed}", **USES_LOUD)
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(b"" if ">&-" in closed.replace("2>&-", "") else out)
    assert (b"error[" in done.stderr) == (code != 0 and "2>" not in closed)
    if not out or ">&-" in closed.replace("2>&-", ""):
        assert done.stdout == b""


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_full_stdout_is_reported_by_every_command(cli: CommandLine, unbuffered: str) -> None:
    for command in ("ask hi", "ask --json hi", "--version", "--help", "plugins", "completion bash"):
        done = run_in_shell(cli, f"{command} > /dev/full", PYTHONUNBUFFERED=unbuffered)
        assert done.returncode == 2, command
        assert b"stdout cannot be written: No space left on device" in done.stderr


def test_the_editing_of_lines_in_a_chat_has_the_terminal(cli: CommandLine) -> None:
    parent, child = pty.openpty()
    with subprocess.Popen(
        [*cli.command, "chat"], cwd=cli.folder, env=cli.env | {"TERM": "xterm"} | USES_LOUD, stdin=child, stdout=child,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        os.close(child)
        seen = read_until(parent, b"> ")
        os.write(parent, b"hi\n")
        answered = read_until(parent, b"> ")  # the next prompt: what is typed before it may be lost
        os.write(parent, b"\x04")
        assert process.wait(60) == 0
    os.close(parent)
    assert b"You said: hi\r\n" in answered
    assert b"loaded 42 models" not in seen + answered


def read_until(terminal: int, end: bytes) -> bytes:
    """Return the output of a program on its terminal, up to *end*."""
    seen = b""
    while not seen.endswith(end):
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, seen
        seen += os.read(terminal, 4096)
    return seen
