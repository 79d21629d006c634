"""Refusals that real servers gave, over real HTTP: each is an error of ours, of the kind that fits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore import errors as ours
from llmcore.errors import ProviderError
from llmcore.types import ChatRequest, Secret
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_testing.simulator import Fault, Simulator

RECORDED: list[dict[str, Any]] = [
    msgspec.json.decode(line)
    for line in Path(__file__).with_name("recorded_errors").joinpath("errors.jsonl").read_bytes().splitlines()
]
REQUEST = ChatRequest(
    model="gpt-6-sol", messages=[{"role": "user", "content": "Hello"}], timeout_s=30, idle_s=30
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def provider(upstream: Simulator) -> Iterator[OpenAIProvider]:
    made = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=upstream.base_url))
    yield made
    made.close()


def catch_error(provider: OpenAIProvider, way: str) -> ProviderError:
    async def drain() -> None:
        async for _ in provider.astream(REQUEST):
            pass

    def ask() -> None:
        match way:
            case "complete":
                provider.complete(REQUEST)
            case "acomplete":
                asyncio.run(provider.acomplete(REQUEST))
            case "stream":
                list(provider.stream(REQUEST))
            case _:
                asyncio.run(drain())

    with pytest.raises(ProviderError) as caught:
        ask()
    return caught.value


def read_message(body: dict[str, Any]) -> str:
    """Return the beginning of the server's message, on one line."""
    inner = body.get("error", body)
    said = inner if isinstance(inner, str) else inner.get("message") or inner.get("detail")
    return " ".join(str(said).split())[:20]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["complete", "acomplete", "stream", "astream"])
@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{case['vendor']}-{case['status']}")
def test_a_recorded_refusal_has_its_kind(
    upstream: Simulator, provider: OpenAIProvider, way: str, case: dict[str, Any]
) -> None:
    upstream.fail(Fault.status(case["status"], body=case["body"]))
    error = catch_error(provider, way)
    assert type(error) is getattr(ours, case["kind"])
    assert error.status == case["status"]
    assert error.request_id
    assert read_message(case["body"]) in error.message
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_refusal_in_a_list_is_read_like_any_other(upstream: Simulator, provider: OpenAIProvider) -> None:
    inner = {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}
    upstream.fail(Fault.status(400, body=[{"error": inner}]))
    error = catch_error(provider, "complete")
    assert type(error) is ours.AuthenticationFailed
    assert "api_key was rejected" in error.message
