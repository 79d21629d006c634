"""What clients and attackers may send on a connection, and what they get."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

import llmcore
from llmcore_gateway import create_app
from llmcore_gateway.options import GatewayOptions
from llmcore_testing.simulator import Fault, Simulator
from tests.kits.gateway import MODEL, Command, Served, make_config, serving, write_config
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def gateway(upstream: Simulator, tmp_path: Path) -> Iterator[Served]:
    with serving(make_config(upstream, tmp_path)) as served:
        yield served


def make_body(**fields: Any) -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], **fields}).encode()


def make_head(body: bytes, *headers: str, version: str = "1.1") -> bytes:
    lines = [
        f"POST /v1/chat/completions HTTP/{version}",
        "Host: localhost",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def connect(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60)


def exchange(url: str, *pieces: bytes) -> bytes:
    """Send *pieces*; return everything that comes until the server closes the connection."""
    with connect(url) as client:
        for piece in pieces:
            client.sendall(piece)
        received = b""
        while piece := client.recv(65_536):
            received += piece
        return received


CLOSE = "Connection: close"


def test_an_answer_to_head_has_no_body(gateway: Served) -> None:
    got = exchange(gateway.url, f"HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\n{CLOSE}\r\n\r\n".encode())
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    assert int(length[1]) == len(gateway.http.get("/v1/models").content)
    assert body == b""


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("PROPFIND /v1/models", 405),
        ("TRACE /v1/models", 405),
        ("OPTIONS /v1/models", 405),
        ("OPTIONS *", 404),
        ("BREW /v1/models", 400),
        ("get /v1/models", 400),
        ("CONNECT evil.example:443", 400),
        ("GET /v1/models/\xff", 400),
        ("GET /v1/models/%ff%00", 404),
        ("GET /v1/models?key=1", 200),
        ("GET http://evil.example/v1/models", 200),
    ],
)
def test_a_request_line_has_one_answer(gateway: Served, line: str, status: int) -> None:
    got = exchange(gateway.url, f"{line} HTTP/1.1\r\nHost: localhost\r\n{CLOSE}\r\n\r\n".encode("latin-1"))
    assert int(got.split()[1]) == status
    assert b"Traceback" not in got


def test_a_head_is_bounded(gateway: Served) -> None:
    with connect(gateway.url) as client:
        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        received = b""
        try:
            for _ in range(1000):
                client.sendall(b"a" * 65_536)
            raise AssertionError("64 MB of a header were taken")
        except ConnectionError:
            pass
        try:
            received = client.recv(1000)
        except ConnectionError:
            received = b""
        assert received == b"" or received.startswith(b"HTTP/1.1 431 ")
    assert gateway.http.get("/v1/models", headers={"x-a": "a" * 20_000}).status_code == 200


def test_requests_that_are_sent_at_once_are_answered_in_order(gateway: Served) -> None:
    bodies = [make_body(messages=[{"role": "user", "content": word}]) for word in ("One", "Two", "Three")]
    pieces = [make_head(body) + body for body in bodies[:2]] + [make_head(bodies[2], CLOSE) + bodies[2]]
    got = exchange(gateway.url, b"".join(pieces))
    assert got.count(b"HTTP/1.1 200 ") == 3
    assert re.findall(rb"answer to: (\w+)", got) == [b"One", b"Two", b"Three"]


def test_a_body_may_come_in_many_pieces(gateway: Served) -> None:
    body = make_body()
    head = make_head(body, CLOSE)
    got = exchange(gateway.url, *(bytes([byte]) for byte in head + body))
    assert got.startswith(b"HTTP/1.1 200 ")
    chunked = head.replace(f"Content-Length: {len(body)}".encode(), b"Transfer-Encoding: chunked")
    pieces = [b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body]
    assert exchange(gateway.url, chunked, *pieces, b"0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_client_may_wait_for_100_continue(gateway: Served) -> None:
    body = make_body()
    with connect(gateway.url) as client:
        client.sendall(make_head(body, CLOSE, "Expect: 100-continue"))
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(body)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_length_that_contradicts_the_chunks_is_refused(gateway: Served, upstream: Simulator) -> None:
    """Two readings of one request would let a second one pass a proxy unseen."""
    head = make_head(b"12345", "Transfer-Encoding: chunked")
    # In one piece: the gateway refuses the head at once, and a body that arrives later would reset the connection.
    assert exchange(gateway.url, head + b"0\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    twice = make_head(b"12345", "Content-Length: 6")
    assert exchange(gateway.url, twice + b"123456").startswith(b"HTTP/1.1 400 ")
    assert upstream.counts["requests"] == 0


def test_a_client_of_http_1_0_gets_no_chunks(gateway: Served) -> None:
    body = make_body(stream=True)
    head, _, events = exchange(gateway.url, make_head(body, version="1.0") + body).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert events.startswith(b"data: {")
    assert events.endswith(b"\n\ndata: [DONE]\n\n")
    body = make_body()
    head, _, answer = exchange(gateway.url, make_head(body, version="1.0") + body).partition(b"\r\n\r\n")
    assert f"content-length: {len(answer)}".encode() in head
    assert json.loads(answer)["choices"]


@pytest.mark.parametrize("offer", ["Upgrade: h2c", "UPGRADE: h2c", "upgrade: websocket"])
def test_an_offer_of_another_protocol_is_ignored(gateway: Served, offer: str) -> None:
    """Java's client offers `h2c` with every request."""
    body = make_body()
    head = make_head(body, "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA", offer, CLOSE)
    head = head.replace(CLOSE.encode(), b"Connection: Upgrade, HTTP2-Settings, close")
    assert exchange(gateway.url, head + body).startswith(b"HTTP/1.1 200 ")


def test_the_rest_of_a_refused_body_is_not_awaited_for_ever(upstream: Simulator, tmp_path: Path) -> None:
    with serving(make_config(upstream, tmp_path), body_timeout=0.2, max_body=100) as gateway:
        got = exchange(gateway.url, make_head(b"a" * 1000), b"a")
        assert got.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("loss", ["rows", "table", "file", "content"])
def test_a_gateway_that_had_keys_stays_closed(
    gateway: Served, upstream: Simulator, tmp_path: Path, loss: str
) -> None:
    import apsw

    _, key = gateway.core.keys.create("ann")
    headers = {"authorization": f"Bearer {key}"}
    assert gateway.chat(headers=headers).status_code == 200
    ledger = tmp_path / "ledger.sqlite3"
    if loss in {"rows", "table"}:
        db = apsw.Connection(str(ledger))
        db.execute("DELETE FROM keys" if loss == "rows" else "DROP TABLE keys")
        db.close()
    else:
        for path in tmp_path.glob("ledger.sqlite3*"):
            if path.is_file() and loss == "file":
                path.unlink()
            elif path.is_file():
                path.write_bytes(b"x" * 10_000)
    wait_until(lambda: gateway.chat(headers=headers).status_code != 200)
    for given, status in (({}, 401), (headers, 401 if loss == "rows" else 503)):
        answer = gateway.chat("Another", headers=given)
        assert answer.status_code == status
        assert str(tmp_path) not in answer.text
        assert "sql" not in answer.text.lower()
    assert upstream.counts["requests"] == 1


def test_an_exposed_gateway_serves_no_client_without_a_key(upstream: Simulator, tmp_path: Path) -> None:
    with serving(make_config(upstream, tmp_path), host="0.0.0.0") as gateway:  # noqa: S104
        assert gateway.chat().status_code == 401
        _, key = gateway.core.keys.create("ann")
        wait_until(lambda: gateway.chat(headers={"x-api-key": key}).status_code == 200)
    without = make_config(upstream, tmp_path, ledger={"enabled": False})
    with serving(without, host="0.0.0.0") as gateway:  # noqa: S104
        assert gateway.chat(headers={"x-api-key": key}).status_code == 401


@pytest.mark.parametrize("key", ["a b", "ключ".encode().decode("latin-1"), "'\"\\", "a" * 60_000, "%00"])
def test_keys_of_odd_characters_are_wrong_keys(gateway: Served, key: str) -> None:
    gateway.core.keys.create("ann")
    for name in ("Authorization: Bearer", "X-Api-Key:"):
        head = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{CLOSE}\r\n{name} {key}\r\n\r\n"
        assert exchange(gateway.url, head.encode("latin-1")).split()[1] == b"401"


def test_no_endpoint_takes_code_or_commands(gateway: Served, upstream: Simulator, tmp_path: Path) -> None:
    """CVE-2026-42271 and -40217: endpoints for tests and guardrails ran what a request said."""
    mark = tmp_path / "mark"
    evil = {"command": "touch", "args": [str(mark)], "code": f"open({str(mark)!r}, 'w')"}
    for path in ("/mcp-rest/test/connection", "/guardrails/test_custom_code", "/v1/chat/completions"):
        gateway.http.post(path, json={**json.loads(make_body()), **evil, "mcp_servers": [evil]})
    upstream.wait_for_requests(1, 60)
    assert not mark.exists()


def test_an_error_of_a_responses_stream_is_numbered(gateway: Served, upstream: Simulator) -> None:
    upstream.fail(Fault.cut_stream(after=8), times=None)
    answer = gateway.http.post("/v1/responses", json={"model": "fast", "input": "Hello", "stream": True})
    events = [
        json.loads(block.partition("data: ")[2]) for block in answer.text.removesuffix("\n\n").split("\n\n")
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (events[-1]["type"], events[-1]["code"]) == ("error", "LC405")


def test_an_error_of_a_messages_stream_has_its_shape(gateway: Served, upstream: Simulator) -> None:
    upstream.fail(Fault.cut_stream(after=3), times=None)
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "fast", "max_tokens": 50, "messages": messages, "stream": True}
    answer = gateway.http.post("/v1/messages", json=body)
    *_, last = answer.text.removesuffix("\n\n").split("\n\n")
    assert last.startswith("event: error\ndata: ")
    document = json.loads(last.partition("data: ")[2])
    assert (document["type"], document["error"]["type"]) == ("error", "api_error")
    assert "message_stop" not in answer.text


def test_a_stream_that_fails_is_in_the_log(
    gateway: Served, upstream: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.fail(Fault.cut_stream(after=3), times=None)
    with caplog.at_level("INFO", logger="llmcore_gateway.access"):
        assert gateway.chat(stream=True).status_code == 200
        wait_until(lambda: "chat/completions" in caplog.text)
    line = json.loads(caplog.messages[-1])
    assert (line["status"], line["error"]) == (200, "LC405")


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("root_path", ["", "/llm"])
def test_the_application_runs_under_another_server(
    upstream: Simulator, tmp_path: Path, http: Any, root_path: str
) -> None:
    with llmcore.load(make_config(upstream, tmp_path)) as core:
        application = create_app(core, GatewayOptions(keepalive=llmcore.units.Duration(0.05)))
        config = uvicorn.Config(
            application, port=0, http=http, lifespan="on", root_path=root_path, log_config=None
        )
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
            thread.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx2.Client(base_url=url, timeout=60) as client:
                assert client.get("/health/ready").status_code == 200
                answer = client.post("/v1/chat/completions", content=make_body())
                assert answer.json()["choices"]
                upstream.hold()
                with client.stream(
                    "POST", "/v1/chat/completions", content=make_body(stream=True, seed=1)
                ) as events:
                    lines = events.iter_lines()
                    assert next(lines) == ": keepalive"
                    upstream.release()
                    assert [line for line in lines if line.startswith("data: ")][-1] == "data: [DONE]"
                core.keys.create("ann")
                wait_until(lambda: client.get("/v1/models").status_code == 401)
            server.should_exit = True
            thread.join(60)
        assert not thread.is_alive()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_client_that_does_not_read_takes_little_memory(upstream: Simulator, tmp_path: Path) -> None:
    command = Command(write_config(tmp_path / "llmcore.toml", upstream))
    try:
        command.wait_until_ready()
        before = read_memory(command.process.pid)
        message = {"role": "assistant", "content": "word " * 100_000}
        upstream.replies({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        body = make_body(stream=True)
        with connect(command.url) as client:
            client.sendall(make_head(body) + body)
            assert client.recv(100, socket.MSG_PEEK).startswith(b"HTTP/1.1 200 ")
            wait_until_idle(command.process.pid)
            assert read_memory(command.process.pid) - before < 20_000_000, "of 28,000,000 bytes"
        wait_until(lambda: "llmcore_disconnects_total" in command.http.get("/metrics").text)
    finally:
        command.close()


def read_memory(pid: int) -> int:
    """Return the resident memory in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def wait_until_idle(pid: int) -> None:
    """Wait until the process has used no CPU in twenty looks."""
    used, looks = "", 0
    ends = time.monotonic() + 60
    while looks < 20:
        assert time.monotonic() < ends
        now = "".join(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        used, looks = now, looks + 1 if now == used else 0
        os.sched_yield()
        time.sleep(0.05)
