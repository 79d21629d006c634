"""The server's rate limits: read from its headers, and returned with replies, streams and errors."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

import llmcore
from llmcore.errors import RateLimited
from llmcore.types import ChatRequest, Delta, RateLimits, Reply, Secret
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_openai_optimized.rate_limits import parse_duration, read_rate_limits
from llmcore_testing.simulator import Fault, Simulator

HEADERS = {
    "x-ratelimit-limit-requests": "500",
    "X-RateLimit-Remaining-Requests": "3",
    "x-ratelimit-reset-requests": "59.64s",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-tokens": "15s",
}
SAID = RateLimits(
    requests_limit=500,
    requests_remaining=3,
    requests_reset_s=59.64,
    tokens_limit=200_000,
    tokens_remaining=149_984,
    tokens_reset_s=15.0,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0), ("13ms", 0.013), ("55.492s", 55.492), ("17.399999999s", 17.399999999), ("500", 500.0),
        ("1m0s", 60.0), ("6m0s", 360.0), ("7m12s", 432.0), ("1m0.198s", 60.198), ("19m29.225s", 1169.225),
        ("83h10m39.057s", 299439.057), ("1d2h", 93600.0), ("250us", 0.00025), ("1.5", 1.5),
        ("0s, req_b176c7aa266e48aa8eff647b6b309bb8", 0.0), (" 2s ", 2.0),
        ("", None), ("soon", None), ("-5s", None), ("-5", None), ("nan", None), ("1e999", None), ("5x", None),
        ("s", None), ("1m soon", None), ("X-RATELIMIT-RESET-REQUESTS-XXX", None), ("\u0665s", None),
    ],
)  # fmt: skip
def test_a_duration_is_read_in_every_form_in_which_servers_write_it(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("make", [dict, httpx2.Headers])
def test_valid_headers_are_read_and_malformed_ones_are_ignored(make: Any) -> None:
    assert read_rate_limits(make(HEADERS)) == SAID
    assert read_rate_limits(make({"content-type": "application/json"})) is None
    garbled = dict.fromkeys(HEADERS, "none of your business")
    assert read_rate_limits(make(garbled)) is None
    for wrong in ("-1", "1.5", "9" * 30, "", " "):
        limits = read_rate_limits(make({**HEADERS, "X-RateLimit-Remaining-Requests": wrong}))
        assert limits is not None
        assert (limits.requests_remaining, limits.requests_limit) == (None, 500)


def make_request() -> ChatRequest:
    return ChatRequest(
        model="gpt-5.6-luna", messages=[{"role": "user", "content": "Hi"}], timeout_s=30, idle_s=10
    )


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_replies_and_the_last_delta_have_the_limits_of_the_server(variant: str) -> None:
    async def both(provider: OpenAIProvider) -> tuple[Reply, list[Delta]]:
        return await provider.acomplete(make_request()), [
            delta async for delta in provider.astream(make_request())
        ]

    with Simulator(headers=HEADERS) as upstream:
        provider = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=upstream.base_url))
        if variant == "sync":
            reply, deltas = provider.complete(make_request()), list(provider.stream(make_request()))
        else:
            reply, deltas = asyncio.run(both(provider))
        provider.close()
    assert reply.limits == SAID
    content = [delta for delta in deltas if delta.has_content]
    assert [delta.limits for delta in content] == [*[None] * (len(content) - 1), SAID]


def test_a_rate_limit_error_has_the_limits_of_the_server() -> None:
    with Simulator() as upstream:
        upstream.fail(Fault.status(429, retry_after=1, headers=HEADERS))
        provider = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=upstream.base_url))
        with pytest.raises(RateLimited) as caught:
            provider.complete(make_request())
        provider.close()
    assert caught.value.limits == SAID


@pytest.mark.parametrize("cache", ["memory", "file"])
def test_limits_are_not_cached(cache: str) -> None:
    with Simulator(headers=HEADERS) as upstream:
        options = {"api_key": "sk-test", "base_url": upstream.base_url}
        source = {
            "llm": {"provider": "openai", "model": "m", "openai": options},
            "cache": {"provider": cache},
        }
        with llmcore.load(source) as core:
            first = core.llm.chat("Hi")
            assert (first.cached, first.limits) == (False, SAID)
            again = core.llm.chat("Hi")
            assert (again.cached, again.limits) == (True, None)
            *_, last = core.llm.stream("Ho")
            assert last.limits == SAID
