"""A file of the user's that hides an SDK is named, with a line that renames it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmcore.hidden_modules import find_hidden_module
from tests.kits.cli import CommandLine

PROGRAM = """
import llmcore
from llmcore.errors import LLMCoreError
try:
    with llmcore.load({settings!r}) as core:
        {call}
except LLMCoreError as error:
    assert error.__cause__ is error.__context__ is None
    print(error.fix, error, sep="\\n")
"""
LLM = {
    "llm": {
        "provider": "openai",
        "model": "gpt-4o",
        "openai": {"api_key": "sk-x", "base_url": "http://127.0.0.1:9"},
    }
}
REDIS = {"cache": {"provider": "redis", "redis": {"url": "redis://127.0.0.1:9/0"}}}
VOICE = {"voice": {"provider": "elevenlabs", "elevenlabs": {"api_key": "x"}}}
STORAGE = {"storage": {"provider": "object_memory"}}
CHAT = "core.llm.chat('Hello')"
CASES: list[tuple[str, object, str]] = [
    ("httpx2", LLM, CHAT),
    ("redis", REDIS, CHAT),
    ("elevenlabs", VOICE, "core.voice.synthesize('Hello')"),
    ("obstore", STORAGE, "core.storage.save('a', b'')"),
]


PLUGINS = {"httpx2": "openai", "redis": "redis", "elevenlabs": "elevenlabs", "obstore": "s3"}
"""Package -> a plugin that needs it."""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    line = CommandLine(tmp_path)
    line.fork = False  # a fork has imported the modules that are to be hidden
    return line


@pytest.mark.parametrize("package", [False, True], ids=["module", "package"])
@pytest.mark.parametrize(("name", "settings", "call"), CASES, ids=[case[0] for case in CASES])
def test_the_error_names_the_file_and_its_fix_works(
    name: str, settings: object, call: str, cli: CommandLine, tmp_path: Path, *, package: bool
) -> None:
    hiding = tmp_path / (f"{name}/__init__.py" if package else f"{name}.py")
    hiding.parent.mkdir(exist_ok=True)
    hiding.write_text("answer = 42\n")
    (tmp_path / "app.py").write_text(PROGRAM.format(settings=settings, call=call))
    cli.command = (sys.executable, "app.py")
    fix, said = cli().stdout.split("\n", 1)
    assert f"{hiding} hides the package `{name}`" in said
    subprocess.run(fix, shell=True, check=True, cwd=tmp_path)  # noqa: S602 - a line to paste into a shell
    assert "hides the package" not in cli().stdout


@pytest.mark.parametrize("name", PLUGINS)
def test_doctor_finds_it_without_a_key(name: str, cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("answer = 42\n")
    done = cli("doctor", LLMCORE_PLUGINS=PLUGINS[name])
    assert done.returncode == 6
    assert f"{name}.py hides the package `{name}`" in done.stdout


def test_no_installed_plugin_of_ours_is_hidden() -> None:
    for module in (
        "llmcore_anthropic.plugin",
        "llmcore_openai_optimized.plugin",
        "llmcore_cache_memcached",
        "llmcore_cache_redis",
        "llmcore_voice_tts",
        "no_such_module",
    ):
        assert find_hidden_module(module) is None
