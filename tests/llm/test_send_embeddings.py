"""Bodies of embeddings through `send`, and token counts of the bodies of every API, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import BadRequest, RateLimited
from llmcore_testing.simulator import Simulator

BODIES: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "Tell me of rain"},
        ]
    },
    "responses": {"instructions": "Be brief", "input": "Tell me of rain"},
    "messages": {"system": "Be brief", "messages": [{"role": "user", "content": "Tell me of rain"}]},
}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def core(upstream: Simulator, tmp_path: Path) -> Iterator[llmcore.Core]:
    settings = {
        "llm": {
            "provider": "openai",
            "model": "gpt-5.6-luna",
            "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
            "anthropic": {"api_key": "sk-ant-test", "base_url": upstream.url},
        },
        "cache": {"provider": "memory"},
        "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
        "retry": {"attempts": 1},
    }
    with llmcore.load(settings) as made:
        yield made


def test_a_body_of_embeddings_goes_through_the_pipeline(core: llmcore.Core, upstream: Simulator) -> None:
    body = {
        "model": "openai:text-embedding-3-small",
        "input": ["rain", "sun"],
        "dimensions": 8,
        "user": "ann",
    }
    first = core.llm.send(body, api="embeddings", user="ben")
    second = asyncio.run(
        core.llm.asend({**body, "input": "rain", "encoding_format": "base64"}, api="embeddings")
    )
    assert (first.cached, second.cached) == (False, True)
    assert upstream.requests[0].path == "/v1/embeddings"
    assert isinstance(upstream.requests[0].body, dict)
    assert upstream.requests[0].body["user"] == "ann"
    assert [each["index"] for each in first.raw["data"]] == [0, 1]
    assert first.raw["usage"]["prompt_tokens"] == first.usage.input_tokens > 0
    packed = base64.b64decode(second.raw["data"][0]["embedding"])
    assert struct.unpack("<8f", packed) == pytest.approx(first.raw["data"][0]["embedding"])
    vectors = core.llm.embed(
        ["rain", "sun"], model=str(body["model"]), dimensions=8, extra_body={"user": "ann"}
    )
    assert list(vectors.cached) == [True, True]
    (row,) = [row for row in core.usage.by("user") if row.name == "ben"]
    assert row.requests == 1


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"input": []}, "input"),
        ({"input": [""]}, "input[0]"),
        ({"input": [[1, 2]]}, "input[0]"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({}, "body"),
    ],
)
def test_a_wrong_body_of_embeddings_is_refused(core: llmcore.Core, body: Any, where: str) -> None:
    with pytest.raises(BadRequest) as caught:
        core.llm.send(body, api="embeddings", model="openai:text-embedding-3-small")
    assert caught.value.where == where
    with pytest.raises(BadRequest, match="embeddings are not streamed"):
        core.llm.send_stream(body, api="embeddings")


def test_tokens_are_counted_by_the_server_when_asked(core: llmcore.Core, upstream: Simulator) -> None:
    model = "anthropic:claude-sonnet-5"
    here = core.llm.count_tokens(BODIES["messages"], model=model, api="messages")
    assert (here.exact, upstream.requests) == (False, [])
    there = core.llm.count_tokens(BODIES["messages"], model=model, api="messages", on_server=True)
    again = asyncio.run(core.llm.acount_tokens(BODIES["chat"]["messages"], model=model, on_server=True))
    assert there.exact
    assert there == again
    assert [request.path for request in upstream.requests] == ["/v1/messages/count_tokens"] * 2
    assert isinstance(upstream.requests[0].body, dict)
    assert upstream.requests[0].body == {
        "model": "claude-sonnet-5",
        "system": "Be brief",
        "messages": BODIES["messages"]["messages"],
    }


def test_a_count_on_the_server_obeys_the_rate_limits_and_costs_nothing(upstream: Simulator) -> None:
    config = {
        "llm": {"provider": "anthropic", "anthropic": {"base_url": upstream.url, "api_key": "sk-ant-test"}},
        "limits": {"requests_per_minute": 1},
        "retry": {"deadline": "10s"},
    }
    with llmcore.load(config) as core:
        assert core.llm.count_tokens("Hello", model="claude-sonnet-5", on_server=True).exact
        assert not core.llm.count_tokens("Hello", model="claude-sonnet-5").exact
        with pytest.raises(RateLimited, match="the next slot for `anthropic:claude-sonnet-5`"):
            core.llm.count_tokens("Hello", model="claude-sonnet-5", on_server=True)
        assert list(core.usage.by("model")) == []
    assert upstream.counts["requests"] == 1


def test_a_body_of_another_api_is_counted_as_the_request_that_is_sent(
    core: llmcore.Core, upstream: Simulator
) -> None:
    counts = {
        core.llm.count_tokens(BODIES[api], api=api, on_server=True)
        for api in ("chat", "messages", "responses")
    }
    assert len(counts) == 1
    assert upstream.requests == [], "openai is counted on this machine"
    assert core.llm.count_tokens("Hello", model="anthropic:claude-sonnet-5", on_server=True).exact
    with pytest.raises(BadRequest):
        core.llm.count_tokens({**BODIES["messages"], "top_k": 3}, api="messages")
    with pytest.raises(BadRequest):
        core.llm.count_tokens("Hello", api="messages")
