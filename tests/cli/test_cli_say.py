"""`llmcore say` and `llmcore voices`, as a person runs them: with nothing configured, in pipes, and on a terminal."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

FIXTURE = Path(__file__).parents[1] / "fixtures" / "speaker"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def measure_length(path: Path) -> float:
    with wave.open(str(path)) as file:
        return int(file.getnframes()) / int(file.getframerate())


def test_say_writes_a_file_without_configuration(cli: CommandLine) -> None:
    done = cli("say", "hello", "-o", "hello.wav")
    assert (done.returncode, done.stdout) == (0, "")
    assert measure_length(cli.folder / "hello.wav") > 0.3
    assert done.stderr.startswith("wrote ")
    assert done.stderr.endswith(" to hello.wav\n")


@pytest.mark.parametrize(
    ("name", "head"), [("a.mp3", b"\xff"), ("a.flac", b"fLaC"), ("a.OGG", b"OggS"), ("a.wave", b"RIFF")]
)
def test_the_ending_of_the_file_says_the_format(cli: CommandLine, name: str, head: bytes) -> None:
    assert cli("say", "hello", "-o", name).returncode == 0
    assert (cli.folder / name).read_bytes().startswith(head)


def test_words_and_stdin_make_one_text_and_audio_goes_into_a_pipe(cli: CommandLine) -> None:
    done = subprocess.run(
        [*cli.command, "say", "One.", "-", "-o", "-"],
        cwd=cli.folder,
        env=cli.env,
        input=b"Two. Three.",
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"RIFF")
    assert done.stderr == b""
    alone = cli("say", "One.", "-o", "one.wav")
    assert alone.returncode == 0
    assert len(done.stdout) > 2 * (cli.folder / "one.wav").stat().st_size


def test_json_describes_the_speech_and_says_if_it_was_cached(cli: CommandLine) -> None:
    first = json.loads(cli("say", "hello", "-o", "a.wav", "--json").stdout)
    assert (first["file"], first["provider"], first["cost"], first["cached"]) == ("a.wav", "espeak", 0, False)
    assert first["size_bytes"] == (cli.folder / "a.wav").stat().st_size
    assert json.loads(cli("say", "hello", "-o", "a.wav", "--json").stdout)["cached"] is True
    assert json.loads(cli("say", "hello", "-o", "a.wav", "--json", "--no-cache").stdout)["cached"] is False
    assert json.loads(cli("say", "hello", "-o", "a.wav", "--json", "--refresh").stdout)["cached"] is False


def test_voice_and_settings_are_heard(cli: CommandLine) -> None:
    assert cli("say", "hello there", "-o", "plain.wav").returncode == 0
    assert cli("say", "hello there", "-o", "slow.wav", "-v", "de", "-p", "speed=0.5").returncode == 0
    assert measure_length(cli.folder / "slow.wav") > 1.5 * measure_length(cli.folder / "plain.wav")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("hi",), 2, "the output is missing"),
        ((" ", "-o", "a.wav"), 2, "there is nothing to say"),
        (("<speak>", "-o", "a.wav"), 2, "not well-formed"),
        (("hi", "-o", "none/a.wav"), 2, "the folder none does not exist"),
        (("hi", "-o", ".", "--play"), 2, ". is a folder"),
        (("hi", "-o", "a.m4a"), 2, "-o a.mp3"),
        (("hi", "-o", "a.WEBM"), 2, "the format .WEBM is not supported"),
        (("hi", "-o", "a.wav", "-p", "speed"), 2, "fix: llmcore say hi -o a.wav -p speed=1.2"),
        (("hi", "-o", "a.wav", "-p", "sped=2"), 2, "did you mean `speed`?"),
        (("hi", "-o", "a.wav", "-v", "anneliese"), 1, "espeak has no voice 'anneliese'"),
        (("hi", "-o", "a.wav", "--refresh", "--no-cache"), 2, "one of them"),
        (("hi", "-o", "-", "--json"), 2, "both write to stdout"),
        (("hi", "--play"), 2, "no audio player is installed"),
    ],
)
def test_a_failed_command_leaves_no_file(
    cli: CommandLine, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = cli("say", *arguments, PATH="")
    assert done.returncode == code
    assert said in done.stderr
    assert [path.name for path in cli.folder.iterdir() if path.suffix == ".wav"] == []


def test_a_format_among_the_settings_is_one(cli: CommandLine) -> None:
    assert cli("say", "Hello", "-o", "x.unknown", "-p", "format=mp3").returncode == 0
    assert (cli.folder / "x.unknown").read_bytes()[:2] in (b"\xff\xf3", b"\xff\xfb", b"ID")


def test_the_summary_names_an_unknown_ending(cli: CommandLine) -> None:
    done = cli("say", "hello", "-o", "hello.xyz")
    assert done.stderr.startswith("wrote ")
    assert " of wav, " in done.stderr
    assert done.stderr.endswith(" to hello.xyz, whose ending is not a known format\n")
    assert cli("say", "hello", "-o", "hello.m4a", "-f", "mp3").returncode == 0  # an explicit format wins


def test_an_unwritable_file_is_reported(cli: CommandLine) -> None:
    (cli.folder / "round.wav").symlink_to("round.wav")
    done = cli("say", "hi", "-o", "round.wav")
    assert done.returncode == 2
    assert "the file round.wav cannot be written: Too many levels of symbolic links" in done.stderr


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system names no streams so")
def test_a_stream_of_the_process_is_written_directly(cli: CommandLine) -> None:
    done = subprocess.run(
        [*cli.command, "say", "hi", "-o", "/proc/self/fd/1"],
        cwd=cli.folder,
        env=cli.env,
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"RIFF")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system names no streams so")
def test_a_reader_that_closes_a_stream_early_is_not_an_error(cli: CommandLine) -> None:
    with subprocess.Popen(
        [*cli.command, "say", "A sentence of words. " * 100, "-o", "/proc/self/fd/1"],
        cwd=cli.folder, env=cli.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as saying:  # fmt: skip
        assert saying.stdout
        assert saying.stderr
        assert saying.stdout.read(4) == b"RIFF"
        saying.stdout.close()
        assert (saying.wait(60), saying.stderr.read()) == (0, b"")


def test_invalid_audio_never_becomes_a_file(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text(
        '[voice]\nprovider = "speaker"\n[voice.speaker]\nformat = "mp3"\n'
    )
    (cli.folder / "hello.mp3").write_bytes(b"old")
    done = cli("say", "hello", "-o", "hello.mp3", PYTHONPATH=str(FIXTURE))  # it sends raw samples
    assert done.returncode == 1
    assert "sent audio that is not playable" in done.stderr
    assert (cli.folder / "hello.mp3").read_bytes() == b"old"
    assert sorted(path.name for path in cli.folder.iterdir()) == ["hello.mp3", "llmcore.toml"]


def test_a_player_is_given_the_whole_file(cli: CommandLine) -> None:
    programs = cli.folder / "bin"
    programs.mkdir()
    player = programs / "aplay"
    player.write_text(f"#!{sys.executable}\nimport shutil, sys\nshutil.copy(sys.argv[-1], 'played.wav')\n")
    player.chmod(player.stat().st_mode | stat.S_IXUSR)
    done = cli("say", "hello", "--play", PATH=str(programs))
    assert (done.returncode, done.stdout) == (0, "")
    assert measure_length(cli.folder / "played.wav") > 0.3
    refused = cli("say", "hello", "--play", "--format", "mp3", PATH=str(programs))
    assert refused.returncode == 2
    assert "none of aplay plays mp3" in refused.stderr
    player.write_text("#!/bin/sh\nexit 3\n")
    assert "aplay failed with exit code 3" in cli("say", "hello", "--play", PATH=str(programs)).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a system without pseudo-terminals")
def test_progress_is_shown_only_on_a_terminal(cli: CommandLine) -> None:
    import pty

    text = "It rains. It pours. The old man is snoring."
    assert "characters" not in cli("say", text, "-o", "a.wav", "--no-cache").stderr
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*cli.command, "say", text, "-o", "a.wav"],
        cwd=cli.folder,
        env=cli.env,
        stderr=theirs,
        check=True,
        stdout=subprocess.PIPE,
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:  # everything is read, and the last writer has closed
        pass
    os.close(ours)
    output = shown.decode()
    assert done.stdout == b""
    assert "9 of 41 characters" in output
    assert "18 of 41 characters" in output
    assert "espeak-ng · 41 characters · $0" in output


def test_voices_are_listed_and_searched(cli: CommandLine) -> None:
    done = cli("voices", "english", "--language", "en")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["VOICE", "NAME", "LANGUAGE", "LABELS"]
    assert any(row.startswith("en-us ") and "English (America)" in row for row in rows)
    assert not any("Afrikaans" in row for row in rows)
    found = json.loads(cli("voices", "--json", "--limit", "2").stdout)
    assert [voice["voice_id"] for voice in found["voices"]] == ["af", "am"]
    assert found["more"] is True
    assert "more than 2 voices match" in cli("voices", "--limit", "2").stderr
    assert cli("voices", "xyzzy").stderr == "no voice matches\n"
    assert cli("voices", "--limit", "0").returncode == 2


def test_an_unknown_filter_is_reported_with_the_nearest_name(cli: CommandLine) -> None:
    done = cli("voices", "-p", "gendre=female")
    assert done.returncode == 2
    assert "did you mean `gender`?" in done.stderr
    assert "fix: llmcore voices -p gender=female" in cli("voices", "-p", "gender").stderr


def test_all_pages_are_listed(cli: CommandLine) -> None:
    found = json.loads(cli("voices", "--json").stdout)
    assert len(found["voices"]) > 130
    assert found["more"] is False


def test_models_that_speak_are_listed(cli: CommandLine) -> None:
    assert "espeak-ng" in cli("voices", "--models").stdout
    assert json.loads(cli("voices", "--models", "--json").stdout)["models"][0]["model_id"] == "espeak-ng"
