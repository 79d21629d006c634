"""The opt-in log of prompts and answers: its content, what it must never contain, and that it costs nothing while it is off."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import llmcore
from llmcore.content_log.database import LogFile, has_word
from llmcore.errors import ConfigError, LLMCoreError
from llmcore.hookspecs import Observer
from llmcore_testing import Fault, Simulator

KEY = "local-pass-123"
PICTURE = "data:image/png;base64," + "A" * 400


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Simulator() as simulator:
        yield simulator


def configure(tmp_path: Path, upstream: Simulator, **log: Any) -> dict[str, Any]:
    return {
        "llm": {
            "provider": "openai", "model": "tiny",
            "openai": {"base_url": upstream.base_url, "api_key": "env:OPENAI_API_KEY"},
        },
        "cache": {"provider": "memory"},
        "retry": {"attempts": 1},
        "log": {"content": True, "path": str(tmp_path / "log.sqlite3"), **log},
    }  # fmt: skip


def find_entries(tmp_path: Path, *words: str, **given: Any) -> list[dict[str, Any]]:
    return LogFile(tmp_path / "log.sqlite3").find(words, **given)


def test_every_way_to_ask_is_logged(tmp_path: Path, upstream: Simulator) -> None:
    upstream.replies(*["Rain falls."] * 8)

    async def ask_async(core: llmcore.Core) -> None:
        await core.llm.achat("three", user="ann", tags=["nightly"], cache=False)
        async for _ in core.llm.astream("four", cache=False):
            pass

    with llmcore.load(configure(tmp_path, upstream)) as core:
        core.llm.chat("one", system="Be brief")
        list(core.llm.stream("two", cache=False))
        asyncio.run(ask_async(core))
        core.llm.chat("one", system="Be brief")
        core.llm.send({"messages": [{"role": "user", "content": "five"}]}, api="chat", cache=False)
    found = find_entries(tmp_path)[::-1]
    assert [each["prompt"] for each in found] == ["one", "two", "three", "four", "one", "five"]
    assert {each["answer"] for each in found} == {"Rain falls."}
    assert [each["cached"] for each in found] == [0, 0, 0, 0, 1, 0]
    assert [each["stream"] for each in found] == [0, 1, 0, 1, 0, 0]
    assert (found[2]["user"], found[2]["tags"]) == ("ann", "nightly")
    assert found[0]["system"] == "Be brief"
    assert json.loads(found[0]["messages"])[-1] == {"role": "user", "content": "one"}
    assert found[4]["cost"] == "0"
    assert found[0]["output_tokens"] > 0


def test_a_failed_call_is_logged_with_its_error(tmp_path: Path, upstream: Simulator) -> None:
    upstream.fail(Fault.status(500))
    with llmcore.load(configure(tmp_path, upstream)) as core, pytest.raises(LLMCoreError):
        core.llm.chat("lost")
    (found,) = find_entries(tmp_path)
    assert (found["prompt"], found["answer"], found["error"]) == ("lost", "", "Unavailable")


def test_keys_and_patterns_are_never_written(tmp_path: Path, upstream: Simulator) -> None:
    leaked = "sk-proj-1234567890abcdef"
    upstream.replies(f"Your key is {leaked}, your id is AB-1234")
    content: Any = [
        {"type": "text", "text": f"I am ann@example.org, {leaked}, {KEY}"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
    ]
    patterns = [r"[\w.]+@[\w.]+", r"AB-\d{4}"]
    with llmcore.load(configure(tmp_path, upstream, redact=patterns)) as core:
        core.llm.chat([{"role": "user", "content": content}])
    (found,) = find_entries(tmp_path)
    assert found["prompt"] == "I am [redacted], …, [redacted]"
    assert found["answer"] == "Your key is …, your id is [redacted]"
    assert "characters" in found["messages"]
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    for text in (leaked, KEY, "ann@example.org", "AB-1234", "A" * 100):
        assert text.encode() not in data


def test_a_pattern_that_is_not_one_is_an_error_with_its_reason(tmp_path: Path, upstream: Simulator) -> None:
    with (
        pytest.raises(ConfigError, match="redact"),
        llmcore.load(configure(tmp_path, upstream, redact=["("])) as core,
    ):
        core.llm.chat("Hi")
    assert upstream.counts["requests"] == 0


def test_search_finds_parts_of_words_in_every_language(tmp_path: Path, upstream: Simulator) -> None:
    upstream.replies("Überschwemmung im Tal", "雨が降っています", "Nothing here")
    with llmcore.load(configure(tmp_path, upstream)) as core:
        for prompt in ("What is a FLOOD?", "Rain in Japanese", 'A "quoted" OR NEAR(word) 50% of a_b'):
            core.llm.chat(prompt)

    def find(*words: str) -> list[str]:
        return [each["prompt"][:4] for each in find_entries(tmp_path, *words)]

    assert find("flood") == find("überschwemm") == find("flo", "tal") == ["What"]
    assert find("降って") == find("雨") == ["Rain"]
    assert find("flood", "雨") == find("flood", "nothing") == []
    assert (
        find('"quoted"') == find("NEAR(word)") == find("50%") == find("a_b") == find("OR", "near") == ['A "q']
    )


def test_old_entries_are_deleted(tmp_path: Path, upstream: Simulator) -> None:
    file = LogFile(tmp_path / "log.sqlite3")
    for days, prompt in ((31, "old rain"), (29, "young rain")):
        file.add({"time": time.time() - days * 86400, "prompt": prompt, "answer": "", "model": "x"})
    file.close()
    with llmcore.load(configure(tmp_path, upstream, keep="30d")) as core:
        core.llm.chat("new rain")
    assert [each["prompt"] for each in find_entries(tmp_path, "rain")] == ["new rain", "young rain"]


def test_a_log_that_cannot_be_written_fails_no_call(
    tmp_path: Path, upstream: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "log.sqlite3").write_bytes(
        b"this is not a database, but a text that someone wrote here\n" * 20
    )
    with llmcore.load(configure(tmp_path, upstream)) as core:
        core.llm.chat("one")
        core.llm.chat("two")
    messages = [record.getMessage() for record in caplog.records if "log of prompts" in record.getMessage()]
    assert len(messages) == 1
    assert str(tmp_path / "log.sqlite3") in messages[0]


def _write(path: Path, name: str) -> None:
    file = LogFile(path)
    for number in range(50):
        file.add({"time": time.time(), "prompt": f"{name} {number}", "answer": "rain", "model": "x"})


def test_several_processes_share_one_log(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(path, name)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(LogFile(path).find(["rain"])) == 150


def test_the_file_is_readable_by_its_user_alone(tmp_path: Path, upstream: Simulator) -> None:
    with llmcore.load(configure(tmp_path, upstream)) as core:
        core.llm.chat("one")
    assert (tmp_path / "log.sqlite3").stat().st_mode & 0o777 == 0o600


def test_a_search_finds_the_same_without_the_index_that_sqlite_lacks(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    _write(path, "Straße")
    connection = apsw.Connection(str(path))
    for line in ("DROP TRIGGER added", "DROP TRIGGER removed", "DROP TABLE search"):
        connection.execute(line)
    file = LogFile(path)
    file._connection = connection  # an SQLite without FTS5 cannot make the index
    connection.create_scalar_function("has_word", has_word, 3)
    assert len(file.find(["STRASSE", "rain"])) == 50


def test_off_means_that_nothing_is_imported_or_written(tmp_path: Path) -> None:
    code = (
        "import llmcore, sys\n"
        "with llmcore.load({'log': {'content': False, 'keep': '1d'}}) as core:\n"
        "    core.llm.chat('very secret')\n"
        "with llmcore.load({}) as core:\n"
        "    core.llm.chat('very secret too')\n"
        "print([name for name in sys.modules if 'content_log' in name])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout == "[]\n", done.stderr
    assert not list(Path(os.environ["XDG_STATE_HOME"]).rglob("log.sqlite3*"))


class Plain(Observer):
    """An observer as most are."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_call(self, event: Any) -> None:
        self.seen.append((event.request, event.reply))


class Curious(Plain):
    """An observer that asks for content."""

    receives_content = True


def test_content_goes_only_to_observers_that_ask_for_it() -> None:
    from llmcore.ledger.events import Events
    from llmcore.ledger.hits import Hits
    from llmcore.ledger.meter import Meter
    from llmcore.types import CallEvent, ChatRequest, Reply

    plain, curious = Plain(), Curious()
    request = ChatRequest(model="x", messages=[{"role": "user", "content": "Hi"}])
    event = CallEvent(kind="llm", provider="echo", model="x", request=request, reply=Reply("Hello"))
    Events(Meter(), Hits(None), [plain, curious]).record_call(event)
    assert plain.seen == [(None, None)]
    assert curious.seen == [(request, Reply("Hello"))]
