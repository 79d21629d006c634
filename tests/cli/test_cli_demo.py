"""`llmcore demo`: the main job on one screen, with figures that were measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_the_demo_shows_the_main_job_on_one_screen(
    cli: CommandLine, tmp_path: Path, empty_home: Path
) -> None:
    own = empty_home / "config" / "llmcore" / "config.toml"
    own.parent.mkdir(parents=True)
    for file in (own, tmp_path / "llmcore.toml"):
        file.write_text("[llm]\nthis is not even TOML")
    theirs = {  # none of which is the demo's business
        "OPENAI_API_KEY": "sk-their-own-0123456789",
        "OPENAI_ORG_ID": "their-organisation",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "LLMCORE_CONFIG": str(own),
        "LLMCORE__LLM__MODEL": "their-model",
        "LLMCORE_PROFILE": "theirs",
    }
    done = cli("demo", **theirs)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert [line[0] for line in lines if re.match(r"\d ", line)] == list("123456")
    for pattern in (
        r"gpt-5\.6-luna · \d+ tokens in, \d+ out · \$0\.0\d+ · [\d.]+ m?s, import included",
        r"cached, \$0, in [\d.]+ (µs|ms|s), then [\d.]+ (µs|ms|s) \(median of 200\); requests sent: 1",
        r"answered at attempt 2, after [1-9]\d*\.\d\d s",
        r"[1-9]\.\d s of speech; \d+ bytes read back, the same as in the file",
        r"> You said: Why is the sky blue\?",
        r"answered by echo, \$0, with 0 requests to the server",
        r"export OPENAI_API_KEY=sk-\.\.\.",
    ):
        assert re.search(pattern, done.stdout), pattern
    assert "sk-their-own" not in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["llmcore.toml"]


def test_without_a_voice_the_demo_stores_a_text(cli: CommandLine) -> None:
    done = cli("demo", LLMCORE_PLUGINS="openai,fs")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Store an answer as a file" in done.stdout
    assert "of speech" not in done.stdout


@pytest.mark.parametrize(
    ("allowed", "missing"), [("none", "openai"), ("openai", "fs")], ids=["no-plugin", "no-storage"]
)
def test_the_demo_says_which_plugin_it_lacks(cli: CommandLine, allowed: str, missing: str) -> None:
    done = cli("demo", LLMCORE_PLUGINS=allowed)
    assert (done.returncode, done.stdout) == (6, "")
    assert f"`{missing}`" in done.stderr
