"""The provider `cassette` records calls of other providers, and replays them without a server, a key or a secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import BadRequest, ConfigError, RateLimited
from llmcore.types import Delta
from llmcore_testing import Fault, Simulator
from llmcore_testing.cassette.cleaning import Cleaner
from llmcore_testing.simulator.sounds import Codec, speak

KEY = "sk-canary-0123456789abcdef"
MODEL = "gpt-4o-mini"


def load(path: Path, mode: str, upstream: Simulator | None = None, **more: Any) -> llmcore.Core:
    options = {} if upstream is None else {"api_key": KEY, "base_url": upstream.base_url}
    cassette = {"provider": "openai", "path": str(path), "mode": mode, "options": options}
    return llmcore.load(
        {
            "llm": {"provider": "cassette", "model": MODEL, "cassette": cassette},
            "voice": {"provider": "cassette", "cassette": cassette},
            "retry": {"attempts": 1},
            "cache": {"provider": "memory"},
            **more,
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassettes" / "calls.json"


def test_recorded_calls_are_replayed_without_the_server(path: Path) -> None:
    with Simulator() as upstream, load(path, "record", upstream) as core:
        answer = core.llm.chat("What is the capital of France?", temperature=0.5)
        pieces = [delta.text for delta in core.llm.stream("And of Spain?")]
        vectors = core.llm.embed(["Rome"], model="text-embedding-3-small").vectors
        models = core.llm.models()
    with load(path, "replay") as core:
        replayed = core.llm.chat("What is the capital of France?", temperature=0.5)
        assert (replayed.text, replayed.usage) == (answer.text, answer.usage)
        assert [delta.text for delta in core.llm.stream("And of Spain?")] == pieces
        assert core.llm.embed(["Rome"], model="text-embedding-3-small").vectors == vectors
        assert core.llm.models() == models


def test_a_call_is_replayed_in_the_other_variant(path: Path) -> None:
    async def ask(core: llmcore.Core) -> tuple[str, str]:
        streamed = [delta.text async for delta in core.llm.astream("Three?", cache=False)]
        return (await core.llm.achat("Two?")).text, "".join(streamed)

    with Simulator() as upstream, load(path, "record", upstream) as core:
        recorded = (
            core.llm.chat("Two?").text,
            "".join(delta.text for delta in core.llm.stream("Three?", cache=False)),
        )
    with load(path, "replay") as core:
        assert asyncio.run(ask(core)) == recorded


def test_speech_is_replayed(path: Path) -> None:
    with Simulator() as upstream, load(path, "record", upstream) as core:
        audio = core.voice.synthesize("Good morning.", format="wav").audio
    with load(path, "replay") as core:
        assert core.voice.synthesize("Good morning.", format="wav").audio == audio


def test_requests_of_every_api_are_replayed_in_their_own_format(path: Path) -> None:
    def send(core: llmcore.Core) -> list[Any]:
        messages = [{"role": "user", "content": "Hello"}]
        return [
            core.llm.send({"messages": messages}, api="chat").raw,
            core.llm.send({"input": "Hello", "tools": [{"type": "web_search"}]}, api="responses").raw,
            [event.data for event in core.llm.send_stream({"input": "Hello"}, api="responses")],
            core.llm.send({"messages": messages, "max_tokens": 9}, api="messages").text,
            core.llm.send({"input": ["Rome"], "model": "text-embedding-3-small"}, api="embeddings").raw,
        ]

    with Simulator() as upstream, load(path, "record", upstream) as core:
        recorded = send(core)
    calls = json.loads(path.read_text())["calls"]
    assert [call["request"].get("api") for call in calls] == ["chat", "responses", "responses", "chat", None]
    with load(path, "replay") as core:
        assert send(core) == recorded


def test_counts_and_costs_are_replayed(path: Path) -> None:
    def ask(core: llmcore.Core) -> list[Any]:
        counts = [
            core.llm.count_tokens("Hello, world"),
            core.llm.count_tokens([{"role": "user", "content": "Hi"}]),
        ]
        return [
            *counts,
            *(count.exact for count in counts),
            *(core.llm.chat(text).cost for text in ("Hello", "Hello, world " * 9)),
        ]

    with Simulator() as upstream, load(path, "record", upstream) as core:
        recorded = ask(core)
        assert recorded[-1] > recorded[-2], "the model has a price"
    with load(path, "replay") as core:
        assert ask(core) == recorded
        with pytest.raises(BadRequest, match="no recorded call of `count_tokens` has this request"):
            core.llm.count_tokens("Hello, moon")


def test_counts_of_a_server_are_replayed_sync_and_async(path: Path) -> None:
    def load_claude(mode: str, options: dict[str, Any]) -> llmcore.Core:
        cassette = {"provider": "anthropic", "path": str(path), "mode": mode, "options": options}
        return llmcore.load(
            {"llm": {"provider": "cassette", "model": "claude-sonnet-5", "cassette": cassette}}
        )

    with Simulator() as upstream, load_claude("record", {"api_key": KEY, "base_url": upstream.url}) as core:
        count = core.llm.count_tokens("Hello, world", exact=True)
    with load_claude("replay", {}) as core:
        assert core.llm.count_tokens("Hello, world", exact=True) == count
        assert asyncio.run(core.llm.acount_tokens("Hello, world", exact=True)) == count


def test_many_texts_are_divided_as_they_were_recorded(path: Path) -> None:
    texts = [f"Text {number}" for number in range(300)]
    with Simulator() as upstream, load(path, "record", upstream) as core:
        vectors = core.llm.embed(texts, model="text-embedding-3-small").vectors
    with load(path, "replay") as core:
        assert core.llm.embed(texts, model="text-embedding-3-small").vectors == vectors


def test_a_long_speech_is_divided_as_it_was_recorded(path: Path) -> None:
    text = " ".join(f"It rains for {hours} hours, and it does not stop." for hours in range(120))
    with Simulator() as upstream, load(path, "record", upstream) as core:
        speech = core.voice.synthesize(text, format="wav")
        assert upstream.counts["speech"] > 1
    with load(path, "replay") as core:
        replayed = core.voice.synthesize(text, format="wav")
    assert (replayed.audio, replayed.cost) == (speech.audio, speech.cost)


def test_recordings_of_a_person_are_not_stored(path: Path) -> None:
    sample = speak("A recording of a person.", Codec("mp3", 44100, 128))

    def load_eleven(mode: str, options: dict[str, Any]) -> llmcore.Core:
        cassette = {"provider": "elevenlabs", "path": str(path), "mode": mode, "options": options}
        return llmcore.load({"voice": {"provider": "cassette", "cassette": cassette}})

    with Simulator() as upstream, load_eleven("record", {"api_key": KEY, "base_url": upstream.url}) as core:
        cloned = core.voice.clone_voice("Ann", [sample], consent="by letter")
    assert base64.b64encode(sample).decode()[:40] not in path.read_text()
    with load_eleven("replay", {}) as core:
        assert core.voice.clone_voice("Ann", [sample], consent="by letter") == cloned
        with pytest.raises(BadRequest, match="hash:"):
            core.voice.clone_voice("Ann", [sample + b"more"], consent="by letter")


def test_no_secret_is_recorded(path: Path) -> None:
    with Simulator() as upstream, load(path, "record", upstream) as core:
        upstream.replies(f"Your key is {KEY}.")
        core.llm.chat(f"My key is {KEY}, keep it. Another is sk-proj-abcdefghijklmnopqrstuvwxyz012345.")
        upstream.fail(Fault.status(401, message=f"{KEY} is not valid"))
        with pytest.raises(llmcore.errors.AuthenticationFailed):
            core.llm.chat("Refused?")
        upstream.replies(f"Your key is {KEY}.", "Nothing to hide.")
        for question in ("Streamed?", "Streamed again?"):
            list(core.llm.stream(question))
    recorded = path.read_text()
    assert "Refused?" in recorded
    assert KEY not in recorded
    assert "sk-proj-abc" not in recorded
    assert "keep it" in recorded, "the rest of the text is kept"
    for call in json.loads(recorded)["calls"]:
        assert "authorization" not in str(call).lower()
        texts = list(decode_texts(call))
        assert KEY not in "".join(texts), "neither whole nor in pieces"
        assert all(part not in text for text in texts for part in ("canary", "0123456789abcdef"))
    with load(path, "replay") as core:
        assert "".join(piece.text for piece in core.llm.stream("Streamed?")).startswith("Your key is ")
        assert "".join(piece.text for piece in core.llm.stream("Streamed again?")) == "Nothing to hide."


def decode_texts(value: Any) -> Iterator[str]:
    """Yield the texts in a JSON value; what is valid base64 is decoded too."""
    if isinstance(value, str):
        yield value
        with contextlib.suppress(ValueError):
            yield base64.b64decode(value, validate=True).decode()
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from decode_texts(item)


def test_a_secret_that_two_pieces_share_is_not_recorded() -> None:
    start, end = KEY[:10], KEY[10:]
    pieces = [
        Delta(text=f"It is {start}", raw=f'{{"text": "It is {start}"}}'.encode()),
        Delta(text=f"{end}, and ", raw=f'{{"text": "{end}, and "}}'.encode()),
        Delta(text="no more.", finish_reason="stop", body=f"It is {KEY}, and no more.".encode()),
    ]
    cleaned = Cleaner([KEY]).clean_pieces(pieces)
    assert "".join(piece["text"] for piece in cleaned) == "It is [redacted], and no more."
    assert all(part not in str(cleaned) for part in (start, end))
    assert cleaned[-1]["finish_reason"] == "stop"


def test_fields_with_the_names_of_secrets_are_not_recorded(path: Path) -> None:
    def ask(core: llmcore.Core, password: str, city: str = "Rome") -> str:
        fields = {"login": {"password": password, "authorization": [f"Basic {password}"]}, "city": city}
        return core.llm.chat("Hello", extra_body={"metadata": fields}, cache=False).text

    with Simulator() as upstream, load(path, "record", upstream) as core:
        answer = ask(core, "plain words")
    assert "plain words" not in path.read_text()
    with load(path, "replay") as core:
        assert ask(core, "other words") == answer
        with pytest.raises(BadRequest) as caught:
            ask(core, "other words", "Oslo")
        assert "Oslo" in str(caught.value)
        assert "other words" not in str(caught.value)


def test_a_changed_request_fails_with_a_readable_difference(path: Path) -> None:
    with Simulator() as upstream, load(path, "record", upstream) as core:
        core.llm.chat("What is the capital of France?", temperature=0.5)
        core.llm.chat("Tell me something about the sea.")
    with load(path, "replay") as core, pytest.raises(BadRequest) as caught:
        core.llm.chat("What is the capital of Spain?", temperature=0.5)
    text = str(caught.value)
    assert "no recorded call of `complete` has this request" in text
    assert '-   "content": "What is the capital of France?",' in text
    assert '+   "content": "What is the capital of Spain?",' in text
    assert "the sea" not in text
    assert "fix: pytest --llmcore-record" in text


def test_a_replay_shows_no_configured_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMCORE__LLM__OPENAI__API_KEY", "correct horse battery")
    with Simulator() as upstream, load(path, "record", upstream) as core:
        core.llm.chat("Hello")
    with load(path, "replay") as core, pytest.raises(BadRequest) as caught:
        core.llm.chat("My key is correct horse battery.")
    assert "My key is" in str(caught.value)
    assert "horse" not in str(caught.value)


def test_errors_are_replayed(path: Path) -> None:
    with Simulator() as upstream, load(path, "record", upstream) as core:
        upstream.fail(Fault.status(429, retry_after=7))
        with pytest.raises(RateLimited):
            core.llm.chat("Now?")
    with load(path, "replay") as core, pytest.raises(RateLimited) as caught:
        core.llm.chat("Now?")
    assert (caught.value.retry_after, caught.value.status) == (7, 429)


def test_equal_requests_get_their_answers_in_turn(path: Path) -> None:
    with Simulator() as upstream, load(path, "record", upstream) as core:
        upstream.replies("One.", "Two.")
        for _ in range(2):
            core.llm.chat("Next?", cache=False)
    with load(path, "replay") as core:
        assert [core.llm.chat("Next?", cache=False).text for _ in range(3)] == ["One.", "Two.", "Two."]


def test_the_mode_auto_adds_what_is_missing(path: Path) -> None:
    with Simulator() as upstream:
        for question in ("One?", "One?", "Two?"):
            with load(path, "auto", upstream) as core:
                core.llm.chat(question)
        assert upstream.counts["chat"] == 2
    assert len(json.loads(path.read_text())["calls"]) == 2


@pytest.mark.parametrize("mode", ["record", "auto"])
def test_cassettes_with_one_file_add_to_it(path: Path, mode: str) -> None:
    with Simulator() as upstream, load(path, mode, upstream) as one, load(path, mode, upstream) as other:
        texts = [core.llm.chat(question).text for core, question in ((one, "A?"), (other, "B?"), (one, "C?"))]
        audio = one.voice.synthesize("Good morning.", format="wav").audio
        texts.append(other.llm.chat("D?").text)
    with load(path, "replay") as core:
        assert [core.llm.chat(f"{question}?").text for question in "ABCD"] == texts
        assert core.voice.synthesize("Good morning.", format="wav").audio == audio
    assert [call["kind"] for call in json.loads(path.read_text())["calls"]].count("voice") == 1


def test_a_file_that_is_missing_or_damaged_is_named(path: Path) -> None:
    with load(path, "replay") as core, pytest.raises(ConfigError, match="does not exist"):
        core.llm.chat("Hello")
    path.parent.mkdir()
    for text, said in (
        ("no json", "is not a cassette"),
        ('{"cassette": 9, "calls": []}', "has the format 9"),
    ):
        path.write_text(text)
        with load(path, "replay") as core, pytest.raises(ConfigError, match=said):
            core.llm.chat("Hello")


TEST = """
import llmcore


def test_the_answer_is_an_echo(llmcore_cassette):
    with llmcore.load(llmcore_cassette("echo")) as core:
        assert "Hello" in core.llm.chat("Hello").text
"""


def test_the_fixture_records_and_replays(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TEST)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "llmcore_testing.pytest_plugin",
            *arguments,
        ]
        # The import for_ability the other plugins takes longer than the run.
        env = {**os.environ, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=100
        )

    first = run()
    assert first.returncode == 1
    assert "fix: pytest --llmcore-record" in first.stdout
    assert run("--llmcore-record").returncode == 0
    recorded = tmp_path / "cassettes" / "test_mine" / "test_the_answer_is_an_echo.json"
    assert "Hello" in recorded.read_text()
    old = {"method": "complete", "request": "of an older test", "answer": None}
    recorded.write_text(
        json.dumps({"cassette": 1, "calls": [old, *json.loads(recorded.read_text())["calls"]]})
    )
    assert run().returncode == 0
    assert run("--llmcore-record").returncode == 0
    assert "of an older test" not in recorded.read_text(), "a new file"
