"""Routes of a test: another protocol on the simulator, with its keys, faults, counts and gate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llmcore.errors import ConfigError
from llmcore_testing import Fault, Simulator
from llmcore_testing.simulator import RecordedRequest


def chat(request: RecordedRequest) -> Any:
    words = ["It ", "rains ", "in ", request.body["city"], "."]
    if not request.body.get("stream"):
        return {"text": "".join(words), "done": True}
    return iter([*({"text": word, "done": False} for word in words), {"text": "", "done": True}])


ROUTES = {
    "/api/chat": chat,
    "GET /api/tags": lambda _: {"models": ["parrot"]},
    "/api/models/{name}": lambda request: (404, {"error": f"no {request.path}"}),
    "/text": lambda _: "hello",
    "/bytes": lambda _: b"\0\1",
    "/events": lambda _: iter([b"data: 1\n\n", b"data: 2\n\n"]),
    "/v1/models": lambda _: ["ours"],
}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator(routes=ROUTES) as upstream:
        yield upstream


@pytest.fixture
def client(upstream: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=upstream.url, timeout=30) as client:
        yield client


def ask(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/api/chat", json={"city": "Oslo", **body})


def test_a_handler_returns_what_json_can_hold_text_bytes_or_a_status(client: httpx.Client) -> None:
    assert ask(client).json() == {"text": "It rains in Oslo.", "done": True}
    assert client.get("/api/tags").json() == {"models": ["parrot"]}
    assert client.get("/v1/models").json() == ["ours"], (
        "it takes precedence over the simulator's own endpoint"
    )
    missing = client.get("/api/models/owl:1")
    assert (missing.status_code, missing.json()) == (404, {"error": "no /api/models/owl:1"})
    assert client.get("/text").text == "hello"
    assert client.get("/bytes").content == b"\0\1"
    assert client.post("/api/tags").status_code == 405
    assert client.get("/v1/nothing").status_code == 404


def test_an_iterator_is_streamed_as_lines_or_events(client: httpx.Client) -> None:
    answer = ask(client, stream=True)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["text"] for line in answer.text.splitlines()] == [
        "It ",
        "rains ",
        "in ",
        "Oslo",
        ".",
        "",
    ]
    events = client.get("/events")
    assert events.headers["content-type"].startswith("text/event-stream")
    assert events.text == "data: 1\n\ndata: 2\n\n"


def test_requests_are_recorded_and_counted(upstream: Simulator, client: httpx.Client) -> None:
    ask(client)
    client.get("/api/tags")
    assert [request.path for request in upstream.requests] == ["/api/chat", "/api/tags"]
    assert upstream.counts["requests"] == upstream.counts["status_200"] == 2


def test_keys_are_checked_where_the_simulator_has_keys() -> None:
    with Simulator(routes=ROUTES, api_keys={"right"}) as upstream:
        url = upstream.url + "/api/tags"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": "Bearer wrong"}).status_code == 401
        assert httpx.get(url, headers={"authorization": "Bearer right"}).status_code == 200
        assert httpx.get(url, headers={"x-api-key": "right"}).status_code == 200


def test_every_fault_of_an_answer_applies(upstream: Simulator, client: httpx.Client) -> None:
    upstream.fail(Fault.status(429, retry_after=7, message="slower"))
    slower = ask(client)
    assert (slower.status_code, slower.headers["retry-after"], slower.json()) == (
        429,
        "7",
        {"error": "slower"},
    )
    for fault, begins in (
        (Fault.bad_json(), '{"id"'),
        (Fault.html(), "<!doctype"),
        (Fault.empty_body(), ""),
        (Fault.wrong_schema(), '{"unexpected"'),
        (Fault.big_body(0.001), '{"text": "xxx'),
    ):
        upstream.fail(fault)
        assert ask(client).text.startswith(begins)
    upstream.fail(Fault.redirect("/elsewhere"))
    assert ask(client).headers["location"] == "/elsewhere"
    for fault in (Fault.reset(), Fault.reset(after=3), Fault.cut_stream(after=3)):
        upstream.fail(fault)
        with pytest.raises(httpx.TransportError):
            ask(client)
    for fault in (Fault.hang(), Fault.stall(after=3)):
        upstream.fail(fault)
        with pytest.raises(httpx.ReadTimeout):
            client.post("/api/chat", json={"city": "Oslo"}, timeout=0.05)
    upstream.fail(Fault.slow(0.01, bytes_per_second=100_000))
    assert ask(client).json()["done"] is True
    assert upstream.counts["faults"] == 13


def test_every_fault_of_a_stream_applies(upstream: Simulator, client: httpx.Client) -> None:
    upstream.fail(Fault.error_chunk(after=2, message="broken"))
    assert ask(client).json()["done"] is True, "it waits for a stream"
    *lines, last = ask(client, stream=True).text.splitlines()
    assert (len(lines), json.loads(last)) == (2, {"error": "broken"})
    upstream.fail(Fault.bad_json_chunk(after=1))
    lines = ask(client, stream=True).text.splitlines()
    assert len(lines) == 7
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(lines[1])
    upstream.fail(Fault.cut_stream(after=3))
    assert len(ask(client, stream=True).text.splitlines()) == 3
    upstream.fail(Fault.cut_stream(after=3, clean=False))
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, stream=True)
    assert upstream.counts["faults"] == 4


def test_faults_of_openais_content_wait_for_a_chat_of_openais(
    upstream: Simulator, client: httpx.Client
) -> None:
    upstream.fail(Fault.missing_usage())
    assert ask(client).json()["done"] is True
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    answer = client.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer k"}).json()
    assert "usage" not in answer


@pytest.mark.parametrize("name", ["api/chat", "FETCH /api/chat", "", "POST"])
def test_a_name_that_is_not_a_route_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a route must be"):
        Simulator(routes={name: chat})
