"""Output on a terminal: the provider that answered, waiting and retrying calls, and tables that fit."""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.cli.show import Paint
from llmcore.cli.text_table import render_table
from llmcore_testing.simulator import Fault, Simulator
from tests.kits.cli import CommandLine

CONFIG = """[llm]
provider = "openai"
model = "tiny"
[llm.openai]
base_url = "{url}"
api_key = "env:MY_KEY"
[models]
safe = ["openai:tiny", "openai:small"]
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def server(cli: CommandLine) -> Iterator[Simulator]:
    with Simulator(models=["tiny", "small"]) as simulator:
        (cli.folder / "llmcore.toml").write_text(CONFIG.format(url=simulator.base_url))
        yield simulator


def see(cli: CommandLine, *arguments: str, columns: int = 80, **env: str) -> str:
    """Return the output of a command on a terminal with *columns*, without colours."""
    import pty

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "llmcore", *arguments],
        env=cli.env | {"TERM": "xterm", "NO_COLOR": "1"} | env,
        cwd=cli.folder,
        stdin=child,
        stdout=child,
        stderr=child,
    ) as process:
        os.close(child)
        seen = b""
        while chunk := _read(parent):
            seen += chunk
        process.wait(60)
    os.close(parent)
    return seen.decode().replace("\r\n", "\n")


def _read(parent: int) -> bytes:
    try:
        return os.read(parent, 4096)
    except OSError:  # Linux's way of saying that the other side is closed
        return b""


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_the_footer_names_the_provider(stream: str, cli: CommandLine, server: Simulator) -> None:
    assert server.url
    assert "tiny · openai · " in see(cli, "ask", stream, "Hi", MY_KEY="x")
    assert "small · openai · " in see(cli, "ask", stream, "-m", "openai:small", "Hi", MY_KEY="x")


def test_the_footer_names_the_model_that_took_over(cli: CommandLine, server: Simulator) -> None:
    server.fail(Fault.status(404))
    assert "small · openai · " in see(cli, "ask", "-m", "safe", "Hi", MY_KEY="x")


def test_echo_explains_itself_and_the_next_steps(cli: CommandLine) -> None:
    shown = see(cli, "ask", "Hi")
    assert " · echo · " in shown
    assert "echo is the built-in substitute" in shown
    for line in re.findall(r"^  (llmcore .*|export .*)$", shown, re.MULTILINE):
        for command in line.split(" && "):
            if command.startswith("llmcore "):
                assert cli(*command.split()[1:]).returncode == 0
    assert "export OPENAI_API_KEY=sk-..." in shown
    assert "llmcore config set llm.provider ollama" in shown


def test_the_next_steps_omit_a_key_that_is_set(cli: CommandLine) -> None:
    assert "export OPENAI_API_KEY=sk" not in see(cli, "ask", "Hi", OPENAI_API_KEY="x")


def test_a_pipe_gets_only_the_answer(cli: CommandLine) -> None:
    done = cli("ask", "Hi")
    assert (done.stdout, done.stderr) == ("You said: Hi\n", "")


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_a_wait_is_shown_and_removed(stream: str, cli: CommandLine, server: Simulator) -> None:
    server.fail(Fault.slow(2.5))
    shown = see(cli, "ask", stream, "Hi", MY_KEY="x")
    assert "\rwaiting for openai:tiny, " in shown
    assert re.search(r"\r +\rThis is a simulated answer", shown)


def test_a_retry_is_shown(cli: CommandLine, server: Simulator) -> None:
    for _ in range(2):
        server.fail(Fault.status(500))
    shown = see(cli, "ask", "Hi", MY_KEY="x")
    assert re.search(r"openai failed \(LC401\), retry \d of 3 in \d\.\d s", shown)
    assert "This is a simulated answer" in shown


PLAIN = Paint(on=False)
ROWS = [("openai", "gpt-5.6-luna-with-a-long-name", "1,234", "$0.25"), ("echo", "echo", "7", "$0")]
HEADERS = ("PROVIDER", "MODEL", "TOKENS", "COST")


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_a_table_fits_its_width_and_keeps_every_number(width: int) -> None:
    lines = render_table(
        HEADERS, ROWS, PLAIN, width=width, total=("total", "", "1,241", "$0.25")
    ).splitlines()
    assert max(map(len, lines)) <= max(width, 34)
    assert all(number in "\n".join(lines) for number in ("1,234", "1,241", "$0.25"))
    ends = {line.index("TOKENS") + 6 for line in lines[:1]}
    assert {line.index("1,234") + 5 for line in lines if "1,234" in line} == ends
    assert {line.index(" 7 ") + 2 for line in lines if " 7 " in line} == ends


def test_a_narrow_table_leaves_out_optional_columns_before_it_shortens_names() -> None:
    headers, row = (
        ("run", "state", "why", "begun"),
        ("p-0123456789", "unfinished", "a lost connection", "2026-11-30"),
    )
    left_out: list[str] = []
    options: Any = {"whole": ("run", "state", "begun"), "optional": ("begun", "why"), "wrapped": ("why",)}
    for width, expected in {
        57: ["run           state       why                begun", "  ".join(row)],
        42: ["run           state       why", "p-0123456789  unfinished  a lost", f"{' ' * 26}connection"],
        30: ["run           state", "p-0123456789  unfinished"],
        10: ["run           state", "p-0123456789  unfinished"],
    }.items():
        left_out.clear()
        assert (
            render_table(headers, [row], PLAIN, width=width, left_out=left_out, **options).splitlines()
            == expected
        )
        assert left_out == [each for each in ("why", "begun") if each not in expected[0]]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_names_and_states_are_whole_in_a_narrow_terminal(width: int, cli: CommandLine) -> None:
    (cli.folder / "p.jsonl").write_text('{"prompt": "a"}\n')
    assert cli("batch", "run", "p.jsonl", "-o", "a.jsonl").returncode == 0
    (run,) = json.loads(cli("batch", "list", "--json").stdout)["runs"]
    shown = cli("batch", "list", COLUMNS=str(width))
    assert shown.stdout.splitlines()[1].split()[:2] == [run["run"], "finished"]
    assert max(map(len, shown.stdout.splitlines())) <= width
    assert ("--json has all columns" in shown.stderr) == (width < 80)
    plugins = json.loads(cli("plugins", "--json").stdout)["plugins"]
    table = cli("plugins", COLUMNS=str(width)).stdout.splitlines()[1:]
    for row, each in zip(table, plugins, strict=True):
        assert row.split()[:2] == [each["name"], each["kind"]]
        assert each["state"] in row


def test_a_table_that_is_piped_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert "gpt-5.6-luna-with-a-long-name" in render_table(HEADERS, ROWS, PLAIN)


def test_plugins_marks_providers_in_use(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text('[cache]\nprovider = "memory"\n')
    used = [line.split()[:2] for line in cli("plugins").stdout.splitlines() if "in use" in line]
    assert ["echo", "llm"] in used
    assert ["memory", "cache"] in used
    assert ["file", "cache"] not in used


def test_usage_sums_its_rows(cli: CommandLine) -> None:
    for model in ("echo:a", "echo:b"):
        assert cli("ask", "-m", model, "Hi").returncode == 0
    lines = cli("usage", "model").stdout.splitlines()
    assert lines[-1].split()[:2] == ["total", "2"]
    assert set(lines[-2]) == {"-"}


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["llmcore", "ask", "-m", "sa"], "safe"),
        (["llmcore", "--profile", "pr"], "prod"),
        (["llmcore", "models", "--provider", "ec"], "echo"),
        (["llmcore", "config", "explain", "cache.tt"], "cache.ttl"),
        (["llmcore", "plugins", "info", "ec"], "echo"),
        (["llmcore", "explain", "LC60"], "LC604"),
        (["llmcore", "say", "-v", "an"], "anna"),
        (["llmcore", "store", "get", "no"], "notes.txt"),
    ],
)
def test_bash_completes_values(words: list[str], completed: str, cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text(
        '[models]\nsafe = "echo:echo"\n[profiles.prod.cache]\nprovider = "memory"\n'
        '[voice.espeak]\nvoice = "anna"\n'
    )
    cli("store", "put", "notes.txt", stdin="x")
    script = cli("completion", "bash").stdout
    quoted = " ".join(f"'{word}'" for word in words)
    lines = (
        f'llmcore() {{ "{sys.executable}" -m llmcore "$@"; }}\n{script}\n'
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _llmcore; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        ["bash", "-c", lines], cwd=cli.folder, env=cli.env, capture_output=True, text=True, check=True
    )
    assert completed in done.stdout.split(), done


def test_completion_is_silent_about_a_broken_configuration(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text("[[[")
    done = cli("completion", "values", "models")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


MODELS = ("echo:a-model-with-a-rather-long-name-for-a-table", "echo:b", "echo:c")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_screen_is_as_it_was_looked_at(width: int, cli: CommandLine) -> None:
    for model in MODELS:
        assert cli("ask", "-m", model, "Hi there").returncode == 0
    shown = cli("usage", "model", COLUMNS=str(width), NO_COLOR="1").stdout
    assert shown == (Path(__file__).parents[1] / "fixtures" / "screens" / f"usage-{width}.txt").read_text(
        "utf-8"
    )
