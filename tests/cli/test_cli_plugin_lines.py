"""Each line that an error of `llmcore plugins` proposes works when it is pasted into a shell in the same folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

KEY = "sk-canary-0123456789abcdef"
TINY = """
from llmcore.builtin.echo import EchoProvider
from llmcore.hookspecs import Options, Provider, hookimpl
from llmcore.types import Secret

LLMCORE_API = 1

class TinyOptions(Options):
    greeting: str = "Hi"
    api_key: Secret = Secret("")

class Tiny(EchoProvider):
    def list_models(self):
        return ["tiny-1"]

def create(options: TinyOptions) -> Tiny:
    return Tiny()

@hookimpl
def llmcore_llm_providers():
    yield Provider(name="tiny", options=TinyOptions, create=create, default_model=None)
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def read_fix(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line that the error proposes."""
    found = re.search(r"^ *= fix: (.*)$|^fix: (.*)$", done.stderr, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return found[1] or found[2]


def paste(cli: CommandLine, line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run *line* in a shell, in the folder of *cli*."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", line],
        cwd=cli.folder,
        env={**cli.env, "PATH": beside, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_name_of_several_kinds(cli: CommandLine) -> None:
    line = read_fix(cli("plugins", "info", "openai"))
    assert line == "llmcore plugins info openai --kind llm"
    assert paste(cli, line).returncode == 0


def test_a_misspelt_name_is_checked_after_all(cli: CommandLine) -> None:
    line = read_fix(cli("plugins", "check", "ecko"))
    assert line == "llmcore plugins check echo"
    pasted = paste(cli, line)
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    assert "fulfils the contract" in pasted.stdout


def test_the_model_of_a_provider_with_the_options_of_the_call(cli: CommandLine) -> None:
    cli.install("llmcore-tiny", {"llmcore.llm": "tiny = llmcore_tiny"}, {"llmcore_tiny": TINY})
    (cli.folder / "my settings.toml").write_text("")
    command = ["--config", "my settings.toml", "plugins", "check", "tiny", "-o", "greeting=Good morning"]
    line = read_fix(cli(*command, "-o", "api_key=env:MY_KEY", MY_KEY=KEY))
    assert shlex.split(line)[1:] == [
        *command[:4],
        "tiny",
        "-m",
        "tiny-1",
        *command[5:],
        "-o",
        "api_key=env:MY_KEY",
    ]
    pasted = paste(cli, line, MY_KEY=KEY)
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    clear = cli(*command, "-o", f"api_key={KEY}")
    assert KEY not in clear.stdout + clear.stderr, "a line with the key is not proposed"
    assert "-m with the name of a model" in clear.stderr


def test_a_store_that_is_not_empty(cli: CommandLine) -> None:
    (cli.folder / "llmcore.toml").write_text('[storage.fs]\nroot = "kept"\n')
    (cli.folder / "kept").mkdir()
    (cli.folder / "kept" / "file.txt").write_text("mine")
    line = read_fix(cli("plugins", "check", "fs", "-o", "root=kept", "--kind", "storage"))
    assert line == "llmcore plugins check fs --kind storage"
    assert paste(cli, line.replace("check", "info")).returncode == 0


@pytest.mark.slow
def test_a_check_with_an_empty_store_leaves_the_other_one_alone(cli: CommandLine) -> None:
    test_a_store_that_is_not_empty(cli)
    pasted = paste(cli, "llmcore plugins check fs --kind storage")
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    assert (cli.folder / "kept" / "file.txt").read_text() == "mine"


def test_names_and_folders_of_new_plugins(cli: CommandLine) -> None:
    line = read_fix(cli("plugins", "new", "my-plugin", "--kind", "cache"))
    assert paste(cli, line).returncode == 0
    taken = read_fix(cli("plugins", "new", "my_plugin", "--kind", "cache"))
    assert paste(cli, taken).returncode == 0
    assert (cli.folder / "OTHER" / "pyproject.toml").is_file()


def test_a_plugin_that_was_made_and_not_installed(cli: CommandLine) -> None:
    assert cli("plugins", "new", "acme", "--kind", "cache").returncode == 0
    line = read_fix(cli("plugins", "check", "acme"))
    assert line == "pip install -e llmcore-acme"
    assert (cli.folder / "llmcore-acme" / "pyproject.toml").is_file()
    offline = line.replace(" -e ", " ./") + " --no-deps --no-build-isolation --target made"
    pasted = paste(cli, offline)
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    assert (cli.folder / "made" / "llmcore_acme" / "plugin.py").is_file()
