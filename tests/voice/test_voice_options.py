"""The table of a voice is checked before a request: each fault is reported with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

FAULTS = {
    "elevenlabs": [
        ("stability = 5", "at most 1"),
        ("speed = 2.0", "at most 1.2"),
        ("seed = -1", "at least 0"),
        ("concurrency = 0", "at least 1"),
        ('format = "mp4"', "mp3, opus"),
        ('voice = "a b"', "the id of a voice"),
        ('language = "German!"', 'such as "de"'),
        ('pronunciation_dictionaries = ["a", "b", "c", "d"]', "at most three"),
        ('pronunciation_dictionaries = [":a"]', "at most three"),
    ],
    "openai": [
        ("speed = 5", "at most 4"),
        ("concurrency = 0", "at least 1"),
        ('format = "mp4"', '"mp3", "wav"'),
        ('voice = ""', "the id of a voice"),
        ('model = ""', "text in quotes"),
    ],
}


@pytest.mark.parametrize(
    ("provider", "line", "said"),
    [(provider, *fault) for provider, faults in FAULTS.items() for fault in faults],
)
def test_an_invalid_option_is_reported_with_its_line(
    tmp_path: Path, provider: str, line: str, said: str
) -> None:
    cli = CommandLine(tmp_path)
    table = f'[voice]\nprovider = "{provider}"\n[voice.{provider}]\napi_key = "env:KEY_OF_MINE"\n'
    (tmp_path / "llmcore.toml").write_text(table + line + "\n")
    done = cli("config", "check", KEY_OF_MINE="k")
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "llmcore.toml:5:" in output
    assert said in output


@pytest.mark.parametrize(
    "lines",
    [
        'format = "mp3_44100_192"\nstability = 1\nspeed = 0.7\nlanguage = "en-GB"\nseed = 0\nconcurrency = 15',
        'format = "wav"\npronunciation_dictionaries = ["D1", "D2:V9"]\nvoice = "Voice_1-a"',
    ],
)
def test_options_that_fit_are_taken(tmp_path: Path, lines: str) -> None:
    cli = CommandLine(tmp_path)
    table = '[voice]\nprovider = "elevenlabs"\n[voice.elevenlabs]\napi_key = "env:KEY_OF_MINE"\n'
    (tmp_path / "llmcore.toml").write_text(table + lines + "\n")
    assert cli("config", "check", KEY_OF_MINE="k").returncode == 0


def test_the_types_of_options_are_shown_without_their_bounds(tmp_path: Path) -> None:
    output = CommandLine(tmp_path)("plugins", "info", "elevenlabs").stdout
    assert "  stability: float | None" in output
    assert "  pronunciation_dictionaries: list[str]" in output
