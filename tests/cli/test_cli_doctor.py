"""`llmcore doctor` finds faults, proposes fixes, and survives the faults."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kits.cli import ONE_OF_EACH, CommandLine

HOOK = "from llmcore.hookspecs import Provider, hookimpl\ndef create(options):\n    {body}\n@hookimpl\ndef llmcore_llm_providers():\n    yield Provider(name={name!r}, create=create)\n"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def read_findings(cli: CommandLine, *arguments: str, **env: str) -> dict[str, dict[str, Any]]:
    return {
        each["what"]: each
        for each in json.loads(cli("doctor", "--json", *arguments, **env).stdout)["findings"]
    }


def install(cli: CommandLine, name: str, text: str) -> None:
    cli.install(f"llmcore-{name}", {"llmcore.llm": f"{name} = llmcore_{name}"}, {f"llmcore_{name}": text})


def test_a_sound_installation_is_well(cli: CommandLine) -> None:
    done = cli("doctor", "--limit", "60s", LLMCORE_PLUGINS=ONE_OF_EACH)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\nAll is well.\n")
    assert "ok      llm openai: llmcore-openai-optimized 0.1.0, loads\n" in done.stdout


def test_each_broken_plugin_is_found_with_its_reason(cli: CommandLine) -> None:
    install(cli, "absent", "import a_module_that_nobody_has\n")
    install(cli, "exits", "import os\nos._exit(7)\n")
    install(cli, "lacks", HOOK.format(name="lacks", body="import an_sdk_that_nobody_has"))
    install(cli, "noisy", "print('noise')\n" + HOOK.format(name="noisy", body="return object()"))
    done = cli("doctor", "--json", "--limit", "60s", LLMCORE_PLUGINS="absent,exits,lacks,noisy")
    found = {each["what"]: each for each in json.loads(done.stdout)["findings"]}
    assert "No module named 'a_module_that_nobody_has'" in found["llm absent"]["text"]
    assert "ended the process that loaded it, with exit code 7" in found["llm exits"]["text"]
    assert "could not be created: ModuleNotFoundError" in found["llm lacks"]["text"]
    assert [found[f"llm {name}"]["ok"] for name in ("absent", "exits", "lacks")] == [False] * 3
    assert found["llm noisy"]["ok"] is True
    assert done.returncode == 6


def test_a_plugin_that_hangs_is_found(cli: CommandLine) -> None:
    install(cli, "hangs", "import threading\nthreading.Event().wait()\n")
    done = cli("doctor", "--json", "--limit", "1s", LLMCORE_PLUGINS="hangs")
    found = {each["what"]: each for each in json.loads(done.stdout)["findings"]}
    assert found["llm hangs"]["ok"] is False
    assert "did not load within 1 s" in found["llm hangs"]["text"]


def test_configuration_errors_are_reported_with_line_and_fix(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "llmcore.toml").write_text('[llm]\nmodle = "x"\n')
    finding = read_findings(cli, LLMCORE_PLUGINS="none")["configuration"]
    assert finding["ok"] is False
    assert finding["text"] == "llmcore.toml:2:1: unknown key `modle` in [llm] (LC102)"
    assert finding["fix"] == "llmcore config set llm.model x"


@pytest.mark.skipif(sys.platform == "win32", reason="the folder is another one there")
def test_a_folder_that_cannot_be_used_is_found(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    found = read_findings(cli, LLMCORE_PLUGINS="none", XDG_CACHE_HOME=str(tmp_path / "taken"))
    assert found["cache folder"]["ok"] is False
    assert found["state folder"]["ok"] is True
