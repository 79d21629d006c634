"""`llmcore completion`: scripts that the shells understand, for everything that the parser knows."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import shtab

from llmcore.cli.parser import COMMANDS
from tests.kits.cli import CommandLine

BASH = shutil.which("bash")


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("co", ["count", "config", "completion"]),
        ("config s", ["show", "set"]),
        (
            "--profile prod store ",
            ["put", "get", "ls", "rm", "cp", "mv", "--help", "--json", "--no-color", "--profile", "--config"],
        ),
        ("ask --no", ["--no-cache", "--no-stream", "--no-color"]),
        ("completion ", ["bash", "zsh", "fish", "--help", "--json", "--no-color", "--profile", "--config"]),
    ],
)
def test_bash_completes_commands_actions_and_options(cli: CommandLine, line: str, words: list[str]) -> None:
    script = cli("completion", "bash").stdout
    given = ["llmcore", *line.split(), *([""] if line.endswith(" ") else [])]
    array = " ".join(f"'{word}'" for word in given)
    ask = f'COMP_WORDS=({array}); COMP_CWORD={len(given) - 1}; _llmcore; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run([str(BASH), "-c", script + ask], capture_output=True, encoding="utf-8", check=True)
    assert (done.stdout.split(), done.stderr) == (words, "")


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ask", "-m", "safe"], ["safe"]),
        (["ask", "-m", "echo", ":"], ["tiny", ""]),
        (["ask", "-m", "echo", ":", "ti"], ["tiny"]),
        (["ask", "-m", "echo", ":", "x"], []),
    ],
)
def test_bash_completes_a_model_behind_its_colon(
    cli: CommandLine, tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    """bash splits at a colon, and replaces only what is behind it."""
    (tmp_path / "llmcore.toml").write_text('[models]\nsafe = ["echo:tiny"]\n')
    script = cli("completion", "bash").stdout
    values = cli("completion", "values", "models").stdout
    given = ["llmcore", *words]
    array = " ".join(f"'{word}'" for word in given)
    ask = (
        f"llmcore() {{ printf '%s' '{values}'; }}; COMP_WORDS=({array}); COMP_CWORD={len(given) - 1}; _llmcore; "
        'printf "<%s>" "${COMPREPLY[@]}"'
    )
    done = subprocess.run([str(BASH), "-c", script + ask], capture_output=True, encoding="utf-8", check=True)
    assert sorted(re.findall("<(.*?)>", done.stdout)) == sorted(expected or [""]), done.stderr


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"), [(["ask", "-m", "ec"], ["echo:tiny"]), (["ask", "-m", "echo", ":", "ti"], [])]
)
def test_shtab_completes_nothing_behind_a_colon(words: list[str], expected: list[str]) -> None:
    """docs/decisions/0016-our-own-shell-completion.md: if this fails, shtab can be considered again."""
    parser = argparse.ArgumentParser(prog="acme")
    ask = parser.add_subparsers().add_parser("ask", help="ask a model")
    ask.add_argument("-m", choices=["echo:tiny", "safe"])
    array = " ".join(f"'{word}'" for word in ["acme", *words])
    call = f"COMP_WORDS=({array}); COMP_CWORD={len(words)}; _shtab_acme; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    script = f"{shtab.complete(parser, 'bash')}\n{call}"
    done = subprocess.run([str(BASH), "-c", script], capture_output=True, encoding="utf-8", check=True)
    assert (done.stdout.split(), done.stderr) == (expected, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_completes_every_command(cli: CommandLine, shell: str) -> None:
    script = cli("completion", shell).stdout
    assert all(name in script for name in COMMANDS)
    tool = shutil.which(shell)
    if tool is not None:
        subprocess.run([tool, "-n"], input=script, encoding="utf-8", check=True, timeout=60)


def test_an_unknown_shell_is_2(cli: CommandLine) -> None:
    done = cli("completion", "csh")
    assert done.returncode == 2
    assert "expected: bash, zsh, fish" in done.stderr
