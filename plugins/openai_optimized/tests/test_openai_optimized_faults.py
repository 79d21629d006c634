"""What goes wrong between here and the answer, over real HTTP: typed errors, never a short success."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from llmcore.errors import (
    AuthenticationFailed,
    IncompleteReply,
    MalformedReply,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.types import ChatRequest, Secret
from llmcore_openai_optimized.http import RequestTimeout
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_testing.simulator import Fault, Simulator

MESSAGES: Any = [{"role": "user", "content": "Tell me of rain"}]
START = "This is a simulated answer"


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def provider(upstream: Simulator) -> Iterator[OpenAIProvider]:
    made = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=upstream.base_url))
    yield made
    made.close()


@pytest.fixture(params=["complete", "acomplete", "stream", "astream"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def catch_error(
    provider: OpenAIProvider, way: str, *, timeout_s: float = 30.0, idle_s: float = 30.0
) -> ProviderError:
    """Ask in one of four ways; return the error that must come."""
    request = ChatRequest(model="gpt-6-sol", messages=MESSAGES, timeout_s=timeout_s, idle_s=idle_s)

    async def drain() -> None:
        async for _ in provider.astream(request):
            pass

    def ask() -> None:
        if way == "complete":
            provider.complete(request)
        elif way == "stream":
            list(provider.stream(request))
        else:
            asyncio.run(provider.acomplete(request) if way == "acomplete" else drain())

    with pytest.raises(ProviderError) as caught:
        ask()
    error = caught.value
    assert error.provider == "openai"
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kind", "streams_partial"),
    [
        (Fault.reset(), Unavailable, False),
        (Fault.reset(after=3), IncompleteReply, True),
        (Fault.cut_stream(after=3), IncompleteReply, True),
        (Fault.cut_stream(after=3, clean=False), IncompleteReply, True),
        (Fault.bad_json(), MalformedReply, False),
        (Fault.html(), MalformedReply, False),
        (Fault.empty_body(), MalformedReply, False),
        (Fault.big_body(megabytes=33), MalformedReply, False),
        (Fault.wrong_schema(), MalformedReply, False),
        (Fault.no_choices(), MalformedReply, False),
        (Fault.status(500), Unavailable, False),
        (Fault.status(503), Unavailable, False),
        (Fault.status(529), Unavailable, False),
        (Fault.status(429), RateLimited, False),
        (Fault.status(429, code="insufficient_quota"), QuotaExhausted, False),
        (Fault.status(401), AuthenticationFailed, False),
        (Fault.html(status=502), Unavailable, False),
        (Fault.empty_body(status=500), Unavailable, False),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
def test_every_fault_is_a_typed_error(
    upstream: Simulator,
    provider: OpenAIProvider,
    way: str,
    fault: Fault,
    kind: type[ProviderError],
    *,
    streams_partial: bool,
) -> None:
    upstream.fail(fault)
    error = catch_error(provider, way)
    assert type(error) is kind
    assert error.sent
    if streams_partial and "stream" in way:
        assert error.partial
        assert START.startswith(error.partial)
    assert upstream.counts["requests"] == 1  # retries are the host's


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.error_chunk(after=3), Unavailable),
        (Fault.error_chunk(after=3, code="rate_limit_exceeded"), RateLimited),
        (Fault.bad_json_chunk(after=3), MalformedReply),
        (Fault.no_finish_reason(), IncompleteReply),
    ],
    ids=["error", "limit", "json", "reason"],
)
@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_fault_inside_a_stream_keeps_the_partial_text(
    upstream: Simulator, provider: OpenAIProvider, way: str, fault: Fault, kind: type[ProviderError]
) -> None:
    upstream.fail(fault)
    error = catch_error(provider, way)
    assert type(error) is kind
    assert error.partial
    assert error.partial.startswith("This")


def test_a_redirect_is_refused_and_the_key_stays(
    upstream: Simulator, provider: OpenAIProvider, way: str
) -> None:
    with Simulator() as elsewhere:
        upstream.fail(Fault.redirect(elsewhere.base_url + "/chat/completions"))
        error = catch_error(provider, way)
        assert error.status == 307
        assert not error.retryable
        assert elsewhere.requests == []


@pytest.mark.parametrize("fault", [Fault.hang(), Fault.stall()], ids=["hang", "stall"])
def test_silence_ends_at_the_deadline(
    upstream: Simulator, provider: OpenAIProvider, way: str, fault: Fault
) -> None:
    upstream.fail(fault)
    assert type(catch_error(provider, way, timeout_s=0.3)) is Timeout


def test_silence_inside_an_answer_ends_at_the_idle_limit(
    upstream: Simulator, provider: OpenAIProvider, way: str
) -> None:
    for idle_s in (0.3, 3.0, 30.0):  # on a busy machine the answer may begin later than the first
        upstream.fail(Fault.stall())
        error = catch_error(provider, way, timeout_s=3600, idle_s=idle_s)
        assert type(error) is Timeout
        if "stopped sending" in error.message:
            break
    assert "stopped sending" in error.message


def test_a_trickle_ends_at_the_deadline_too(upstream: Simulator, provider: OpenAIProvider, way: str) -> None:
    upstream.fail(Fault.slow(bytes_per_second=200))
    assert type(catch_error(provider, way, timeout_s=0.4)) is Timeout


def test_a_server_that_is_not_there_is_unavailable(way: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        port = taken.getsockname()[1]
        provider = OpenAIProvider(
            OpenAIOptions(api_key=Secret("sk-test"), base_url=f"http://127.0.0.1:{port}/v1")
        )
        error = catch_error(provider, way)
        provider.close()
    assert type(error) is Unavailable
    assert not error.sent, "nothing can have been billed"
    assert f"127.0.0.1:{port}" in error.message


def test_an_html_page_is_reported_as_one(upstream: Simulator, provider: OpenAIProvider, way: str) -> None:
    upstream.fail(Fault.html())
    assert "base_url" in str(catch_error(provider, way))


def test_the_next_call_after_a_fault_succeeds(
    upstream: Simulator, provider: OpenAIProvider, way: str
) -> None:
    for fault in (Fault.reset(after=3), Fault.cut_stream(), Fault.stall(), Fault.empty_body()):
        upstream.fail(fault)
        catch_error(provider, way, idle_s=1.0 if fault == Fault.stall() else 60.0)
    assert provider.complete(ChatRequest(model="gpt-6-sol", messages=MESSAGES)).text.startswith(START)


def test_patience_shrinks_with_the_deadline_at_every_step() -> None:
    timeout = RequestTimeout(timeout_s=100, silence_s=None)
    assert timeout.get("connect") == 5
    assert 90 < (timeout.get("write") or 0) <= 100
    timeout.set_idle(7)
    assert timeout.get("read") == 7
    over = RequestTimeout(timeout_s=0, silence_s=7)
    assert over.get("read") == 0.001
    with pytest.raises(TimeoutError):
        over.check()
