"""`llmcore doctor` contacts the configured backends: real servers on loopback, a real folder, a real ledger."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.cli import main
from llmcore.cli.connection_checks import ConnectionCheck, check_all
from llmcore_testing.simulator import Simulator
from tests.kits.mistakes import KEY, find_closed_port

pytestmark = pytest.mark.process  # doctor loads each plugin in one

CONFIG = """[llm]
provider = "openai"
model = "{model}"
[llm.openai]
base_url = "{url}"
api_key = "env:MY_KEY"
[storage]
provider = "fs"
[storage.fs]
root = "{root}"
[ledger]
path = "./ledger.sqlite3"
"""


@pytest.fixture(autouse=True)
def few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load only the plugins that CONFIG uses: doctor starts a process for each."""
    monkeypatch.setenv("LLMCORE_PLUGINS", "openai,fs")


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator(models=["tiny", "small"], api_keys=[KEY]) as simulator:
        yield simulator


def examine(
    capsys: pytest.CaptureFixture[str], url: str, *options: str, model: str = "tiny", root: str = "./data"
) -> dict[str, Any]:
    """Return doctor's findings about backends in use, by the name of the check."""
    Path("llmcore.toml").write_text(CONFIG.format(url=url, model=model, root=root))
    main(["doctor", "--json", *options])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return {each["what"]: each for each in findings if each["what"].startswith("in use: ")}


def test_working_parts_are_reported_as_ok(
    server: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    found = examine(capsys, server.base_url)
    assert {what: each["ok"] for what, each in found.items()} == {
        "in use: llm openai": True,
        "in use: storage fs": True,
        "in use: ledger": True,
    }
    assert "tiny; answers with 2 models" in found["in use: llm openai"]["text"]
    assert not list(Path("data").iterdir())
    with llmcore.load() as core:
        core.llm.chat("Hi")
    assert "is intact, 1 rows" in examine(capsys, server.base_url)["in use: ledger"]["text"]


def test_a_server_of_ones_own_answers_for_the_model_that_is_not_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMCORE_PLUGINS", "ollama")
    with Simulator(models=["tiny"], needs_key=False) as server:
        Path("llmcore.toml").write_text(
            f'[llm]\nprovider = "ollama"\n[llm.ollama]\nbase_url = "{server.url}"\n'
        )
        main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    (found,) = [each for each in findings if each["what"] == "in use: llm ollama"]
    assert (found["ok"], found["text"]) == (True, "default; answers with 1 models")


def test_a_key_that_is_refused_is_found(
    server: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-not-accepted-0123456789")
    found = examine(capsys, server.base_url)["in use: llm openai"]
    assert not found["ok"]
    assert "status 401" in found["text"]
    assert "not-accepted" not in found["text"]


def test_a_server_that_is_away_and_a_model_that_is_not_there_are_found(
    server: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    away = examine(capsys, f"http://127.0.0.1:{find_closed_port()}/v1")["in use: llm openai"]
    assert not away["ok"]
    assert "cannot be reached" in away["text"]
    missing = examine(capsys, server.base_url, model="tinny")["in use: llm openai"]
    assert "no model `tinny`; did you mean `tiny`?" in missing["text"]
    assert main(shlex.split(missing["fix"])[1:]) == 0
    with llmcore.load() as core:
        assert core.llm.chat("Hi").text


def test_a_damaged_ledger_and_a_storage_that_is_a_file_are_found(
    server: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    Path("ledger.sqlite3").write_bytes(b"this is no database" * 100)
    Path("taken").write_text("a file")
    found = examine(capsys, server.base_url, root="./taken")
    assert "is damaged" in found["in use: ledger"]["text"]
    assert found["in use: ledger"]["fix"].startswith("mv ")
    assert not found["in use: storage fs"]["ok"]


def test_a_ledger_of_another_provider_is_read(tmp_path: Path) -> None:
    """The check does not look for the file of `sqlite`, which such a configuration does not use."""
    file = tmp_path / "second.sqlite3"
    ledger = {"provider": "second", "second": {"use": "sqlite", "path": str(file)}}

    def check() -> ConnectionCheck:
        with llmcore.load({"ledger": ledger}) as core:
            return next(each for each in check_all(core) if each.what == "in use: ledger second")

    assert check().text == "answers"
    file.write_bytes(b"this is no database" * 100)
    damaged = check()
    assert not damaged.ok
    assert damaged.fix == '{"ledger": {"provider": "sqlite"}}'


def test_offline_contacts_no_server(
    server: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    assert examine(capsys, server.base_url, "--offline") == {}
    assert not server.requests
    assert not Path("data").exists()
