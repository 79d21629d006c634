"""The simulator speaks HTTP/1.1, and survives invalid requests."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore_testing import Fault, Simulator
from llmcore_testing.simulator.chunks import split_text
from llmcore_testing.simulator.wire import RequestParser

CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def exchange(upstream: Simulator, *parts: bytes) -> bytes:
    port = int(upstream.url.rpartition(":")[2])
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        for part in parts:
            connection.sendall(part)
        heard = b""
        while data := connection.recv(65536):
            heard += data
        return heard


def make_request(body: bytes, *, close: bool = False) -> bytes:
    last = b"Connection: close\r\n" if close else b""
    return HEAD + last + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_requests_on_one_connection_are_answered_in_their_order(upstream: Simulator) -> None:
    first = CHAT.replace(b"Hi", b"first")
    heard = exchange(upstream, make_request(first) + make_request(CHAT, close=True))
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert 0 < heard.find(b"to: first") < heard.find(b"to: Hi")


def test_a_pipelined_request_waits_for_a_slow_one_before_it(upstream: Simulator) -> None:
    upstream.fail(Fault.slow(0.01))
    heard = exchange(upstream, make_request(CHAT.replace(b"Hi", b"first")) + make_request(CHAT, close=True))
    assert 0 < heard.find(b"to: first") < heard.find(b"to: Hi")


def test_a_chunked_body_is_read(upstream: Simulator) -> None:
    chunks = b"".join(
        b"%x;ext=1\r\n%b\r\n" % (len(CHAT[i : i + 7]), CHAT[i : i + 7]) for i in range(0, len(CHAT), 7)
    )
    head = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"answer to: Hi" in exchange(upstream, head, chunks, b"0\r\n\r\n")
    assert upstream.requests[-1].raw == CHAT


def test_a_client_that_asks_for_leave_gets_it(upstream: Simulator) -> None:
    head = HEAD + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(CHAT)
    port = int(upstream.url.rpartition(":")[2])
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(CHAT)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_http_1_0_gets_a_stream_without_chunks(upstream: Simulator) -> None:
    body = CHAT.replace(b'"m"', b'"m", "stream": true')
    heard = exchange(upstream, make_request(body).replace(b"HTTP/1.1", b"HTTP/1.0"))
    head, _, events = heard.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert events.startswith(b"data: ")
    assert events.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_an_invalid_request_is_rejected_and_the_connection_closed(
    upstream: Simulator, raw: bytes, status: int
) -> None:
    assert exchange(upstream, raw).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.slow
@given(st.lists(st.integers(0, len(make_request(CHAT)) * 2), max_size=8).map(sorted))
def test_a_request_is_the_same_however_it_was_cut_on_its_way(cuts: list[int]) -> None:
    raw = make_request(CHAT) * 2
    parser, taken = RequestParser(), []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        parser.feed(raw[start:end])
        while (request := parser.take()) is not None:
            taken.append(request.raw)
    assert taken == [CHAT, CHAT]


@pytest.mark.slow
@given(st.text())
def test_the_pieces_of_a_text_joined_are_the_text(text: str) -> None:
    pieces = split_text(text)
    assert "".join(pieces) == text
    assert len(pieces) >= min(3, len(text))
    assert all(pieces)
