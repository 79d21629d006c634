"""`llmcore plugins check` reports what a plugin does when it is loaded, and slips of its author."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_cli_author import KINDS, begin
from tests.kits.cli import CommandLine

NOISY = """
import socket, threading
from collections.abc import Callable
from pathlib import Path

from llmcore.hookspecs import Options, Provider, hookimpl
from llmcore.types import Duration, Secret

print("loading")
Path(__file__).with_name("loaded.txt").write_text("x")


class NoisyOptions(Options):
    on_error: Callable[[str], None] | None = None
    key: Secret | None = None
    timeout: Duration = Duration(3)
    names: list[str] = []
    folder: Path = Path(".")


class Noisy:
    def complete(self, request):
        raise ValueError

    def list_model(self):
        return []

    async def stream(self, request):
        yield None

    def my_own_helper(self):
        return 1


def create(options):
    threading.Thread(target=threading.Event().wait, name="noisy-poll", daemon=True).start()
    with socket.socket() as connection:
        connection.connect_ex(("127.0.0.1", 9))
    return Noisy()


@hookimpl
def llmcore_llm_providers():
    yield Provider(name="noisy", options=NoisyOptions, create=create)
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_a_noisy_plugin_is_reported(cli: CommandLine) -> None:
    cli.install("llmcore-noisy", {"llmcore.llm": "noisy = llmcore_noisy"}, {"llmcore_noisy": NOISY})
    warnings = json.loads(cli("plugins", "check", "noisy", "-m", "m", "--json").stdout)["warnings"]
    written = str(cli.site / "loaded.txt")
    assert f"import writes {written}" in warnings
    assert "import prints 'loading'" in warnings
    assert "create starts the thread `noisy-poll`" in warnings
    assert "create uses the network: socket.connect ('127.0.0.1', 9)" in warnings
    assert "llmcore_noisy has no LLMCORE_API: write LLMCORE_API = 1" in warnings
    assert "the method `list_model` is never called: did you mean `list_models`?" in warnings
    assert "the method `stream` is asynchronous: name it `astream`" in warnings
    assert any(each.startswith("the option `on_error` cannot be set in a file") for each in warnings)
    assert len(warnings) == 8, warnings
    assert "warning create starts the thread" in cli("plugins", "check", "noisy", "-m", "m").stdout


def test_info_shows_every_ability_of_a_storage(cli: CommandLine) -> None:
    shown = json.loads(cli("plugins", "info", "fs", "--json").stdout)["abilities"]
    assert {"StorageProvider", "StorageCopying", "StorageStreams", "StorageConditional"} <= set(shown)


def test_mypy_compares_the_provider_of_a_new_plugin_with_its_protocol(cli: CommandLine) -> None:
    folders = [begin(cli, f"acme{kind}", kind) for kind in KINDS]
    packages = [str(folder / f"llmcore_acme{kind}") for folder, kind in zip(folders, KINDS, strict=True)]
    mypy = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cli.folder / 'mypy'}", *packages]

    def run() -> str:
        return subprocess.run(
            mypy, cwd=cli.folder, capture_output=True, encoding="utf-8", check=False, timeout=300
        ).stdout

    assert "Success" in run()
    file = folders[0] / "llmcore_acmellm" / "provider.py"
    file.write_text(file.read_text().replace("def complete(", "def completes("))
    assert 'expected "LLMProvider"' in run()
