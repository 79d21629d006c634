"""The cost that a server reports, in usage or in LiteLLM's headers, is used if it is plausible."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llmcore.types import ChatRequest, Secret, Usage
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_openai_optimized.usage import merge_usage

COUNTS: dict[str, Any] = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}
HEADER = "x-litellm-response-cost"


class Upstream:
    """A server on loopback that answers every request with the same bytes and headers."""

    def __init__(self) -> None:
        self.body = b""
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                for name, value in (outer.headers | {"content-length": str(len(outer.body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def provider(upstream: Upstream) -> Iterator[OpenAIProvider]:
    made = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=upstream.base_url))
    yield made
    made.close()


@pytest.fixture(params=["complete", "acomplete", "stream", "astream"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask_for_usage(provider: OpenAIProvider, way: str) -> Usage:
    messages: Any = [{"role": "user", "content": "hi"}]
    request = ChatRequest(model="acme/unknown-9", messages=messages, timeout_s=30, idle_s=30)

    async def read_stream() -> list[Usage | None]:
        return [delta.usage async for delta in provider.astream(request)]

    match way:
        case "complete":
            return provider.complete(request).usage
        case "acomplete":
            return asyncio.run(provider.acomplete(request)).usage
        case "stream":
            usages = [delta.usage for delta in provider.stream(request)]
        case _:
            usages = asyncio.run(read_stream())
    (usage,) = [each for each in usages if each is not None]
    return usage


def answer(upstream: Upstream, way: str, *usages: Any, headers: dict[str, str] | None = None) -> None:
    """Have the server answer "hi"; a stream has a chunk with each of *usages*."""
    head = {"id": "c1", "created": 7, "model": "acme/unknown-9"}
    kind = "application/json"
    if "stream" in way:
        kind = "text/event-stream"
        said = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
        chunks = [{**head, **said, "usage": usages[0] if len(usages) > 1 else None}]
        chunks += [{**head, "choices": [], "usage": usage} for usage in usages[len(usages) > 1 :]]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    else:
        message = {"role": "assistant", "content": "hi"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        body = json.dumps({**head, "choices": choices, "usage": usages[-1]})
    upstream.body, upstream.headers = body.encode(), {"content-type": kind, **(headers or {})}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reported", "cost"),
    [
        ({"cost": 0.00042}, "0.00042"),  # OpenRouter
        ({"cost": 0}, "0"),  # one of its free models
        ({"cost": 4.2e-7}, "0.00000042"),
        ({"cost": "0.00042"}, "0.00042"),
        ({"cost": 0.00042, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.1}}, "0.00042"),
        ({"cost": 0.00002, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0004}}, "0.00042"),
        ({"cost": 0.00002, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": 0, "is_byok": True}, None),
        ({"cost_in_usd_ticks": 6881000}, "0.0006881"),  # xAI
        ({"cost": {"input_tokens_cost": 2e-05, "request_cost": 0.005, "total_cost": 0.00508}}, "0.00508"),  # Perplexity
        ({"cost": {"total_cost": 0.3, "currency": "EUR"}}, None),
        ({"cost": 0.3, "currency": "CNY"}, None),
        ({"estimated_cost": 0.0000268}, "0.0000268"),  # DeepInfra
        ({"cost": None}, None),
        ({"cost": -0.1}, None),
        ({"cost": True}, None),
        ({"cost": "free"}, None),
        ({"cost": "$0.10"}, None),
        ({"cost": "NaN"}, None),
        ({"cost": [0.1]}, None),
        ({"cost": {"total_cost": -1}}, None),
        ({"cost": 420_000}, None),  # in nano-dollars, perhaps
        ({"cost": 1e300}, None),
        ({"cost": 10**400}, None),
        ({"cost_in_usd_ticks": 10**30}, None),
    ],
)  # fmt: skip
def test_a_plausible_reported_cost_is_used(
    upstream: Upstream, provider: OpenAIProvider, way: str, reported: Any, cost: str | None
) -> None:
    answer(upstream, way, COUNTS | reported)
    usage = ask_for_usage(provider, way)
    assert usage.cost == (None if cost is None else Decimal(cost))
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (8, 3, False)


@pytest.mark.parametrize(
    ("headers", "cost"),
    [
        ({HEADER: "0.00042"}, "0.00042"),
        ({HEADER: "4.2e-07"}, "0.00000042"),
        ({HEADER.title(): "0.00042"}, "0.00042"),
        ({HEADER: "0.0"}, None),  # of a model that the proxy has no price for
        ({HEADER: "None"}, None),
        ({HEADER: "-1"}, None),
        ({HEADER: "0.00042", HEADER + "-original": "0.0005"}, "0.00042"),
        ({HEADER + "-original": "0.0005", HEADER + "-discount-amount": "0.00008"}, "0.00042"),
        ({HEADER + "-original": "0.0004", HEADER + "-margin-amount": "0.00002"}, "0.00042"),
    ],
)
def test_the_cost_header_of_litellm_is_used_if_usage_has_no_cost(
    upstream: Upstream, provider: OpenAIProvider, way: str, headers: dict[str, str], cost: str | None
) -> None:
    answer(upstream, way, COUNTS, headers=headers)
    assert ask_for_usage(provider, way).cost == (None if cost is None else Decimal(cost))


def test_a_cost_in_usage_is_preferred_to_a_header(
    upstream: Upstream, provider: OpenAIProvider, way: str
) -> None:
    answer(upstream, way, COUNTS | {"cost": 0.0005}, headers={HEADER: "0.00042"})
    assert ask_for_usage(provider, way).cost == Decimal("0.0005")


@pytest.mark.parametrize("way", ["stream", "astream"], indirect=True)
@pytest.mark.parametrize(
    "usages",
    [
        ({"prompt_tokens": 8, "total_tokens": 8}, {"completion_tokens": 3, "total_tokens": 3, "cost": 0.5}),
        ({"prompt_tokens": 8, "completion_tokens": 0}, {"prompt_tokens": 0, "completion_tokens": 3, "cost": 0.5}),
        ({**COUNTS, "cost": 0.5}, {"prompt_tokens": None, "completion_tokens": None, "cost": None}),
        ({**COUNTS, "completion_tokens": 1, "cost": 0.1}, {**COUNTS, "cost": 0.5}),  # it grows
        ({**COUNTS, "cost": 0.5}, {"completion_tokens": "many", "cost": "free"}),
        ({**COUNTS, "cost": 0.5}, {"completion_tokens": -1, "cost": -1}),
    ],
)  # fmt: skip
def test_usage_that_is_split_over_chunks_is_merged(
    upstream: Upstream, provider: OpenAIProvider, way: str, usages: tuple[Any, Any]
) -> None:
    answer(upstream, way, *usages)
    assert ask_for_usage(provider, way) == Usage(input_tokens=8, output_tokens=3, cost=Decimal("0.5"))


def test_details_are_merged_one_by_one() -> None:
    merged: Any = None
    for usage in (
        {"prompt_tokens": 8, "prompt_tokens_details": {"cached_tokens": 4}},
        {"prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 2}, "completion_tokens_details": None},
        {"prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": 1}},
        "of no use",
        None,
    ):
        merged = merge_usage(merged, usage)
    assert merged == {
        "prompt_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }


def test_the_total_of_halves_is_that_of_both() -> None:
    merged = merge_usage({"prompt_tokens": 8, "total_tokens": 8}, {"completion_tokens": 3, "total_tokens": 3})
    assert merged == COUNTS
    apart = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 31}  # reasoning counted apart
    assert merge_usage({"prompt_tokens": 8}, apart) == apart
