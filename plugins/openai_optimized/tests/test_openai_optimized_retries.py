"""Retries and silence: the host over real HTTP, sync and async, plain and streaming."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import IncompleteReply, LLMCoreError, MalformedReply, RateLimited, Timeout, Unavailable
from llmcore_testing.simulator import Fault, Simulator

pytestmark = pytest.mark.slow

WAYS = ("chat", "achat", "stream", "astream")
STREAMS = ("stream", "astream")
IDLE_S = 0.4


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEY_OF_THE_TEST", "sk-test")
    for name in ("CACHE", "CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path))


def ask(base_url: str, way: str, **retry: Any) -> str:
    """Ask with a new Core; return the answer's text."""

    async def drain(llm: Any) -> str:
        return "".join([delta.text async for delta in llm.astream("Tell me of rain")])

    settings = {
        "llm": {
            "provider": "openai",
            "model": "gpt-6-sol",
            "openai": {"base_url": base_url, "api_key": "env:KEY_OF_THE_TEST"},
        },
        "cache": {"provider": "memory"},
        "retry": {"attempts": 3, "deadline": 30, **retry},
    }
    with llmcore.load(settings) as core:
        match way:
            case "chat":
                return core.llm.chat("Tell me of rain").text
            case "achat":
                return asyncio.run(core.llm.achat("Tell me of rain")).text
            case "stream":
                return "".join(delta.text for delta in core.llm.stream("Tell me of rain"))
            case _:
                return asyncio.run(drain(core.llm))


def catch_error(base_url: str, way: str, **retry: Any) -> LLMCoreError:
    with pytest.raises(LLMCoreError) as caught:
        ask(base_url, way, **retry)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    return caught.value


# -- a server that writes given bytes, with pauses

Part = bytes | float
"""Bytes to send, or seconds to wait."""


class Server:
    """Sends the same parts to each request, then closes the connection."""

    def __init__(self, listener: socket.socket, parts: Callable[[], Iterable[Part]]) -> None:
        self.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        self.requests = 0
        self._listener = listener
        self._parts = parts
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._over.is_set():
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            file = connection.makefile("rb")
            length = 0
            while (line := file.readline()).strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            if not line:
                return
            file.read(length)
            self.requests += 1
            try:
                for part in self._parts():
                    if isinstance(part, bytes):
                        connection.sendall(part)
                    elif self._over.wait(part):
                        return
            except OSError:
                return

    def close(self) -> None:
        self._over.set()
        with socket.create_connection(self._listener.getsockname()):
            pass
        for thread in self._threads:
            thread.join(60)


@contextmanager
def serve(*parts: Part) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, lambda: parts)
        try:
            yield server
        finally:
            server.close()


def make_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def make_event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    document = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-6-sol",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(document).encode() + b"\n\n"


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OPEN_ENDED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"
LAST = b"0\r\n\r\n"
ANSWER = (
    make_chunk(make_event({"content": "Rain"})) + make_chunk(make_event({}, "stop")) + make_chunk(DONE) + LAST
)
WHOLE = json.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-6-sol",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Rain"}, "finish_reason": "stop"}
        ],
    }
).encode()


# -- silence

SIGNS_OF_LIFE = {
    "comments": b": keep-alive\n\n",
    "reasoning": make_event({"content": None, "reasoning_content": "hm "}),
    "role": make_event({"role": "assistant", "content": ""}),
    "ping": b"event: ping\ndata: {}\n\n",
    "half of a line": b":",
}


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("sign", SIGNS_OF_LIFE.values(), ids=SIGNS_OF_LIFE)
def test_a_stream_that_sends_anything_is_not_silent(way: str, sign: bytes) -> None:
    thinking: list[Part] = [make_chunk(sign), IDLE_S / 2] * 5
    with serve(HEAD, *thinking, make_chunk(b"\n\n"), ANSWER) as server:
        assert ask(server.base_url, way, idle=IDLE_S) == "Rain"
        assert server.requests == 1


@pytest.mark.parametrize("way", ["chat", "achat"])
def test_a_whole_answer_that_sends_blanks_beforehand_is_not_silent(way: str) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    blanks: list[Part] = [make_chunk(b"\n"), IDLE_S / 2] * 5
    with serve(head, *blanks, make_chunk(WHOLE), LAST) as server:
        assert ask(server.base_url, way, idle=IDLE_S) == "Rain"
        assert server.requests == 1


@pytest.mark.parametrize("way", ["chat", "achat"])
def test_a_whole_answer_may_take_longer_than_the_silence_until_it_begins(way: str) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE)
    with serve(IDLE_S * 2, head, WHOLE) as server:
        assert ask(server.base_url, way, idle=IDLE_S) == "Rain"
        assert server.requests == 1


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize(
    "begun",
    [b"", make_chunk(b": hello\n\n"), make_chunk(make_event({"content": "Rain"}))],
    ids=["head", "comment", "word"],
)
def test_a_stream_that_sends_nothing_for_too_long_is_a_timeout(way: str, begun: bytes) -> None:
    with serve(HEAD, begun, 30.0) as server:
        error = catch_error(server.base_url, way, idle="150ms", attempts=1)
    assert type(error) is Timeout
    assert "stopped sending" in error.message


def test_the_deadline_holds_against_a_server_that_is_never_silent() -> None:
    thinking: list[Part] = [make_chunk(b": keep-alive\n\n"), 0.02] * 1500
    for way in STREAMS:
        with serve(HEAD, *thinking) as server:
            assert type(catch_error(server.base_url, way, deadline="1s", idle="30s")) is Timeout
            assert server.requests == 1


# -- retries

COMPLETE = {
    "html": Fault.html(),
    "bad_json": Fault.bad_json(),
    "empty": Fault.empty_body(),
    "schema": Fault.wrong_schema(),
    "no_choices": Fault.no_choices(),
}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", COMPLETE.values(), ids=COMPLETE)
def test_a_complete_200_is_never_retried(upstream: Simulator, way: str, fault: Fault) -> None:
    upstream.fail(fault, times=None)
    error = catch_error(upstream.base_url, way)
    assert type(error) is MalformedReply
    assert error.answered
    assert upstream.counts["requests"] == 1


def make_json_answer(document: dict[str, Any]) -> bytes:
    body = json.dumps(document).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


@pytest.mark.parametrize("way", WAYS)
def test_an_error_inside_a_choice_is_requested_once_and_one_in_its_place_again(way: str) -> None:
    error = {"code": 502, "message": "the model broke off"}
    message = {"role": "assistant", "content": "Ra"}
    choice = {"index": 0, "message": message, "finish_reason": "error", "error": error}
    with serve(make_json_answer({"id": "c1", "model": "gpt-6-sol", "choices": [choice]})) as server:
        failed = catch_error(server.base_url, way, attempts=2)
        assert (type(failed), failed.answered, server.requests) == (Unavailable, True, 1)
    with serve(make_json_answer({"error": error, "choices": []})) as server:
        failed = catch_error(server.base_url, way, attempts=2)
        assert (type(failed), failed.answered, server.requests) == (Unavailable, False, 2)


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize(
    "parts",
    [
        (HEAD, make_chunk(make_event({"role": "assistant", "content": ""})), LAST),
        (HEAD, make_chunk(make_event({"reasoning_content": "hm"})), make_chunk(DONE), LAST),
        (OPEN_ENDED, make_event({"reasoning_content": "hm"}), DONE),
        (
            HEAD,
            make_chunk(make_event({"role": "assistant"})),
            make_chunk(b"data: {broken\n\n"),
            make_chunk(DONE),
            LAST,
        ),
    ],
    ids=["no_done", "no_finish_reason", "open_ended", "broken_chunk"],
)
def test_a_stream_that_ends_in_order_without_an_answer_is_requested_once(
    way: str, parts: tuple[bytes, ...]
) -> None:
    with serve(*parts) as server:
        error = catch_error(server.base_url, way)
        assert isinstance(error, IncompleteReply | MalformedReply)
        assert error.answered
        assert server.requests == 1


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("head", [HEAD, OPEN_ENDED], ids=["chunked", "open_ended"])
def test_a_stream_that_is_cut_before_its_first_word_is_requested_again(way: str, head: bytes) -> None:
    begun = make_event({"role": "assistant", "content": ""})
    with serve(head, make_chunk(begun) if head is HEAD else begun) as server:
        error = catch_error(server.base_url, way, attempts=2)
        assert type(error) is IncompleteReply
        assert not error.answered
        assert server.requests == 2


@pytest.mark.parametrize("way", ["chat", "achat"])
def test_a_whole_answer_that_is_cut_is_requested_again(way: str) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE)
    with serve(head, WHOLE[:-9]) as server:
        error = catch_error(server.base_url, way, attempts=2)
        assert type(error) is IncompleteReply
        assert server.requests == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "0"},
        {"retry-after-ms": "0"},
        {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"},
    ],
    ids=str,
)
def test_a_retry_after_of_0_does_not_change_the_backoff(
    upstream: Simulator, way: str, headers: dict[str, str]
) -> None:
    """The first two pauses of the backoff do not both fit into the deadline; pauses of 0 would."""
    upstream.fail(Fault.status(429, headers=headers), times=None)
    error = catch_error(upstream.base_url, way, attempts=6, deadline="1s")
    assert isinstance(error, RateLimited | Timeout)  # a busy machine may pass the deadline earlier
    assert isinstance(error, Timeout) or "would pass the deadline of the call" in str(error)
    assert upstream.counts["requests"] <= 2
