"""The answers of the endpoints: every field of the upstream, in the shape of the API that was called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmcore_testing.simulator import Fault, Simulator
from tests.kits.gateway import MODEL, Served, make_config, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def gateway(upstream: Simulator, tmp_path: Path) -> Iterator[Served]:
    with serving(make_config(upstream, tmp_path)) as served:
        yield served


def read_events(text: str) -> list[str]:
    """Return the payloads of a stream, whose events are one `data:` line each."""
    blocks = text.removesuffix("\n\n").split("\n\n")
    return [block.partition("data: ")[2] for block in blocks]


def test_an_answer_keeps_every_field_of_the_upstream(gateway: Served, upstream: Simulator) -> None:
    message = {
        "role": "assistant",
        "content": "Rain.",
        "reasoning_content": "Think.",
        "x_extra": {"a": [1, 2.5]},
    }
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "x_vendor": "kept",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    upstream.replies(body)
    answer = gateway.chat(top_k=5, reasoning_effort="low")
    assert answer.status_code == 200
    for name, value in body.items():
        assert answer.json()[name] == value
    sent = upstream.requests[-1].body
    assert (sent["top_k"], sent["reasoning_effort"], sent["model"]) == (5, "low", MODEL)
    assert "stream" not in sent


def test_the_headers_say_what_an_answer_cost_and_whether_it_was_cached(
    gateway: Served, upstream: Simulator
) -> None:
    first, second = gateway.chat(), gateway.chat()
    assert first.headers["x-llmcore-cached"] == "false"
    assert Decimal(first.headers["x-llmcore-cost"]) > 0
    assert (second.headers["x-llmcore-cached"], second.headers["x-llmcore-cost"]) == ("true", "0")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.json() == second.json()
    assert upstream.counts["requests"] == 1


@pytest.mark.parametrize("wanted", [None, False, True])
@pytest.mark.parametrize("cached", [False, True])
def test_a_stream_has_the_usage_only_where_it_is_asked_for(
    gateway: Served, *, wanted: bool | None, cached: bool
) -> None:
    if cached:
        gateway.chat(stream=True)
    options: dict[str, Any] = {} if wanted is None else {"stream_options": {"include_usage": wanted}}
    answer = gateway.chat(stream=True, **options)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    events = read_events(answer.text)
    assert events.count("[DONE]") == 1
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    usages = [chunk for chunk in chunks if not chunk["choices"]]
    assert len(usages) == (1 if wanted else 0)
    assert all(chunk["usage"]["total_tokens"] > 0 for chunk in usages)
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == "This is a simulated answer to: Hello"


def test_the_events_of_a_stream_are_those_of_the_upstream(gateway: Served, upstream: Simulator) -> None:
    message = {
        "role": "assistant",
        "content": "A long answer of several words.",
        "reasoning_content": "First think.",
        "refusal": None,
    }
    upstream.replies({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    direct: list[str] = []
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream_options": {"include_usage": True},
    }
    direct = [event.data.decode() for event in gateway.core.llm.send_stream(body, cache=False)]
    upstream.replies({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    served = read_events(gateway.chat(stream=True, stream_options={"include_usage": True}).text)

    def content(events: list[str]) -> list[Any]:
        return [json.loads(event).get("choices") if event != "[DONE]" else event for event in events]

    assert content(served) == content(direct)


def test_responses_are_served_with_their_events(gateway: Served) -> None:
    body = {"model": "fast", "input": "Hello"}
    answer = gateway.http.post("/v1/responses", json=body)
    assert answer.json()["object"] == "response"
    stream = gateway.http.post("/v1/responses", json={**body, "input": "Hello again", "stream": True})
    names = [line.removeprefix("event: ") for line in stream.text.splitlines() if line.startswith("event: ")]
    assert names[0] == "response.created"
    assert names[-1] == "response.completed"
    assert "[DONE]" not in stream.text


def test_models_are_the_configured_names(gateway: Served) -> None:
    listed = [model["id"] for model in gateway.http.get("/v1/models").json()["data"]]
    assert set(listed) == {"fast", MODEL, f"openai:{MODEL}"}
    one = gateway.http.get(f"/v1/models/openai%3A{MODEL}")
    assert (one.status_code, one.json()["id"]) == (200, f"openai:{MODEL}")
    assert gateway.http.get("/v1/models/gpt-5").status_code == 404


def test_a_model_that_is_not_listed_is_not_requested(gateway: Served, upstream: Simulator) -> None:
    answer = gateway.chat(model="openai:gpt-5-pro")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert upstream.counts["requests"] == 0


def test_without_a_model_the_configured_one_answers(gateway: Served, upstream: Simulator) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    assert gateway.http.post("/v1/chat/completions", json=body).status_code == 200
    assert upstream.requests[-1].body["model"] == MODEL


def test_patterns_allow_models(upstream: Simulator, tmp_path: Path) -> None:
    with serving(make_config(upstream, tmp_path), models=("openai:gpt-4*",)) as gateway:
        assert gateway.chat(model="openai:gpt-4o").status_code == 200
        assert gateway.chat(model="fast").status_code == 404
        assert gateway.http.get("/v1/models").json()["data"] == []


def test_unknown_parameters_can_be_refused(upstream: Simulator, tmp_path: Path) -> None:
    with serving(make_config(upstream, tmp_path), unknown_parameters="refuse") as gateway:
        answer = gateway.chat(top_k=5)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "LC302")
        assert "top_k" in answer.json()["error"]["message"]
        assert gateway.chat(temperature=0.5).status_code == 200


def test_speech_is_synthesized_by_the_configured_voice(upstream: Simulator, tmp_path: Path) -> None:
    voice = {"provider": "openai", "openai": {"base_url": upstream.base_url, "api_key": "sk-x"}}
    with serving(make_config(upstream, tmp_path, voice=voice)) as gateway:
        body = {"model": "default", "voice": "alloy", "input": "Hello.", "response_format": "wav"}
        answer = gateway.http.post("/v1/audio/speech", json=body)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.content[:4] == b"RIFF"
        streamed = gateway.http.post("/v1/audio/speech", json={**body, "stream_format": "audio"})
        assert streamed.content[:4] == b"RIFF"
        wrongs: list[dict[str, Any]] = [
            {"input": " "},
            {"response_format": "ogg9"},
            {"stream_format": "sse"},
            {"stream_format": []},
            {"response_format": [1]},
            {"model": {}},
            {"voice": 5},
        ]
        for wrong in wrongs:
            refused = gateway.http.post("/v1/audio/speech", json={**body, **wrong})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(wrong)))


ERRORS: list[tuple[Fault, tuple[int, str, str | None]]] = [
    (Fault.status(500), (503, "overloaded_error", "LC401")),
    (Fault.status(429, retry_after=7), (429, "rate_limit_error", "LC402")),
    (Fault.status(429, code="insufficient_quota"), (429, "insufficient_quota", "LC403")),
    (Fault.status(400, code="context_length_exceeded"), (400, "invalid_request_error", None)),
    (Fault.status(401), (502, "upstream_error", "LC202")),
    (Fault.no_choices(), (502, "upstream_error", "LC406")),
]


@pytest.mark.parametrize(("fault", "expected"), ERRORS)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_failure_of_the_upstream_has_a_status_and_the_shape_of_the_api(
    gateway: Served,
    upstream: Simulator,
    fault: Fault,
    expected: tuple[int, str, str | None],
    *,
    streaming: bool,
) -> None:
    status, kind, code = expected
    upstream.fail(fault, times=None)
    answer = gateway.chat(stream=streaming)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["type"] == kind
    assert code is None or error["code"] == code
    assert "sk-" not in answer.text
    if fault.settings.get("headers", {}).get("retry-after"):
        assert answer.headers["retry-after"] == "7"


def test_an_error_after_the_first_event_is_the_last_event(gateway: Served, upstream: Simulator) -> None:
    upstream.fail(Fault.cut_stream(after=3), times=None)
    answer = gateway.chat(stream=True)
    events = read_events(answer.text)
    assert answer.status_code == 200
    assert "[DONE]" not in events
    assert json.loads(events[-1])["error"]["code"] == "LC405"


def test_a_responses_stream_that_breaks_ends_with_an_error_event(
    gateway: Served, upstream: Simulator
) -> None:
    upstream.fail(Fault.cut_stream(after=8), times=None)
    answer = gateway.http.post("/v1/responses", json={"model": "fast", "input": "Hello", "stream": True})
    last = answer.text.removesuffix("\n\n").split("\n\n")[-1]
    assert last.startswith("event: error\ndata: ")
    assert json.loads(last.partition("data: ")[2])["type"] == "error"


def test_a_refused_budget_is_reported_with_the_end_of_its_period(upstream: Simulator, tmp_path: Path) -> None:
    budget = {"limit": "0.0000001 USD", "per": "day"}
    with serving(make_config(upstream, tmp_path, budget=budget)) as gateway:
        answer = gateway.chat()
        assert answer.status_code == 429
        assert answer.json()["error"]["type"] == "budget_exceeded"
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
        assert answer.headers["x-should-retry"] == "false"
        assert upstream.counts["requests"] == 0


MALFORMED: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"{", 400),
    (b"[1]", 400),
    (b'"text"', 400),
    (b"\xff\xfe", 400),
    (b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    (b'{"model": 5, "messages": []}', 400),
    (b'{"messages": "text"}', 400),
    (b'{"messages": [{"role": "user"}], "model": "fast", "temperature": NaN}', 400),
]


@pytest.mark.parametrize(("body", "status"), MALFORMED)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/audio/speech"])
def test_a_malformed_body_is_refused(
    gateway: Served, upstream: Simulator, path: str, body: bytes, status: int
) -> None:
    answer = gateway.http.post(path, content=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert "Traceback" not in answer.text
    assert upstream.counts["requests"] == 0


def test_messages_have_errors_in_their_own_shape(gateway: Served) -> None:
    answer = gateway.http.post("/v1/messages", content=b"{")
    assert answer.status_code == 400
    assert (answer.json()["type"], answer.json()["error"]["type"]) == ("error", "invalid_request_error")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_tokens_are_counted_without_a_request(gateway: Served, upstream: Simulator) -> None:
    body = {"model": "fast", "system": "Be brief.", "messages": [{"role": "user", "content": "Hello"}]}
    short = gateway.http.post("/v1/messages/count_tokens", json=body).json()["input_tokens"]
    body["messages"][0]["content"] = "Hello " * 100  # type: ignore[index]
    assert gateway.http.post("/v1/messages/count_tokens", json=body).json()["input_tokens"] > short > 0
    assert upstream.counts["requests"] == 0


def test_tokens_are_counted_as_the_request_would_be_sent(upstream: Simulator, tmp_path: Path) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    body = {
        "model": "fast",
        "system": [{"type": "text", "text": "Be brief.", **mark}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello", **mark}]}],
    }
    tool = {"name": "add", "description": "Add two numbers", "input_schema": {"type": "object"}, **mark}
    config = make_config(upstream, tmp_path)
    config["llm"]["anthropic"] = {"base_url": upstream.url, "api_key": "sk-test"}
    config["models"]["claude"] = "anthropic:claude-sonnet-5"
    with serving(config) as gateway:

        def count(**fields: Any) -> Any:
            return gateway.http.post("/v1/messages/count_tokens", json={**body, **fields})

        assert count(tools=[tool]).json()["input_tokens"] > count().json()["input_tokens"]
        refused = count(messages="Hello")
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
        assert count(top_k=5).status_code == 400, "what cannot be sent cannot be counted"
        assert upstream.counts["requests"] == 0
        assert count(model="claude").json()["input_tokens"] > 0
        assert upstream.counts["message_counts"] == 1, "the vendor's server counts"


@pytest.mark.slow
def test_a_thousand_identical_requests_make_one_call(gateway: Served, upstream: Simulator) -> None:
    import asyncio

    import httpx2

    async def ask() -> set[str]:
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(base_url=gateway.url, timeout=120, limits=limits) as http:
            body = {"model": "fast", "messages": [{"role": "user", "content": "The same"}]}
            calls = [http.post("/v1/chat/completions", json=body) for _ in range(1000)]
            return {answer.text for answer in await asyncio.gather(*calls)}

    assert len(asyncio.run(ask())) == 1
    assert upstream.counts["requests"] == 1
