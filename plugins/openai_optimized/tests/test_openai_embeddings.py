"""Embeddings of OpenAI, Azure and compatible servers, over real HTTP, in sync and async."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llmcore.errors import BadRequest, IncompleteReply, LLMCoreError, MalformedReply, Timeout, Unavailable
from llmcore.types import EmbeddingRequest, Embeddings, Secret
from llmcore_openai_optimized.offline import Offline
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_testing.simulator import Fault, Simulator

MODEL = "text-embedding-3-small"


def request(*texts: str, model: str = MODEL, **parameters: Any) -> EmbeddingRequest:
    return EmbeddingRequest(
        model=model, texts=texts or ("a", "b"), parameters=parameters, timeout_s=20.0, idle_s=20.0
    )


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(params=["sync", "async"])
def embed(request: pytest.FixtureRequest) -> Callable[..., Embeddings]:
    def call(url: str, asked: EmbeddingRequest, **options: Any) -> Embeddings:
        options = {"base_url": url, **options}
        provider = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-canary-1b7e"), **options))
        if request.param == "sync":
            try:
                return provider.embed(asked)
            finally:
                provider.close()

        async def run() -> Embeddings:
            try:
                return await provider.aembed(asked)
            finally:
                await provider.aclose()

        return asyncio.run(run())

    return call


Embed = Callable[..., Embeddings]


def test_the_answer_has_vectors_usage_and_limits(embed: Embed, upstream: Simulator) -> None:
    result = embed(upstream.base_url, request("It rains", "Mars", dimensions=16))
    assert [len(vector) for vector in result.vectors] == [16, 16]
    assert (result.model, result.usage.input_tokens > 0) == (MODEL, True)
    assert result.request_id
    assert result.limits is not None
    sent = upstream.requests[-1]
    assert sent.headers["authorization"] == "Bearer sk-canary-1b7e"
    assert sent.body == {
        "encoding_format": "base64", "model": MODEL, "input": ["It rains", "Mars"], "dimensions": 16,
    }  # fmt: skip


def test_a_deployment_of_azure_is_addressed(embed: Embed, upstream: Simulator) -> None:
    root = upstream.base_url.removesuffix("/v1")
    result = embed(None, request(model="my-embeddings"), azure_endpoint=root, api_version="2024-10-21")
    assert len(result.vectors) == 2
    assert "/openai/deployments/my-embeddings/embeddings" in upstream.requests[-1].path


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.status(400, code="context_length_exceeded"), BadRequest),
        (Fault.status(503), Unavailable),
        (Fault.bad_json(), MalformedReply),
        (Fault.reset(after=10), IncompleteReply),
        (Fault.cut_stream(after=10), IncompleteReply),
        (Fault.empty_body(), MalformedReply),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_failure_has_its_class(
    embed: Embed, upstream: Simulator, fault: Fault, kind: type[LLMCoreError]
) -> None:
    upstream.fail(fault)
    with pytest.raises(kind) as caught:
        embed(upstream.base_url, request())
    assert type(caught.value) is kind
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert not caught.value.answered
    assert "sk-canary" not in str(caught.value)


def test_the_timeout_ends_a_request(embed: Embed, upstream: Simulator) -> None:
    upstream.fail(Fault.hang())
    asked = EmbeddingRequest(model=MODEL, texts=["a"], timeout_s=0.3)
    with pytest.raises(Timeout):
        embed(upstream.base_url, asked)


class Upstream(ThreadingHTTPServer):
    """Answers every request with `document`."""

    daemon_threads = True
    document: Any = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(self.server.document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture
def compatible() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.shutdown()
    server.server_close()


def make_item(*numbers: float, **fields: Any) -> dict[str, Any]:
    return {"object": "embedding", "embedding": list(numbers), **fields}


@pytest.mark.parametrize(
    "data",
    [
        [make_item(1, 0, index=0), make_item(0, 1, index=1)],
        [make_item(0, 1, index=1), make_item(1, 0, index=0)],
        [make_item(1, 0), make_item(0, 1)],
        [make_item(1, 0, index=None), make_item(0, 1, index=None)],
    ],
    ids=["in order", "reversed", "without index", "null index"],
)
def test_plain_numbers_are_read_in_the_order_of_the_texts(
    embed: Embed, compatible: Upstream, data: list[Any]
) -> None:
    compatible.document = {"data": data, "model": "tiny", "usage": None}
    result = embed(f"http://127.0.0.1:{compatible.server_port}/v1", request())
    assert list(result.vectors) == [[1.0, 0.0], [0.0, 1.0]]
    assert (result.model, result.usage.total_tokens) == ("tiny", 0)


@pytest.mark.parametrize(
    ("document", "kind", "text"),
    [
        ({"data": [make_item(1)]}, MalformedReply, "1 embeddings for 2 texts"),
        ({"data": [make_item(1), {"embedding": "?"}]}, MalformedReply, "an embedding that cannot be read"),
        ({"data": [make_item(1), {"embedding": ["a"]}]}, MalformedReply, "an embedding that cannot be read"),
        ({"data": [make_item(1), {}]}, MalformedReply, "an embedding that cannot be read"),
        ({"data": [make_item(1), 7]}, MalformedReply, "an embedding"),
        ({"data": None}, MalformedReply, "not a list of embeddings"),
        ([], MalformedReply, "not a list of embeddings"),
        ({"error": {"message": "no such model", "code": "model_not_found"}}, LLMCoreError, "no such model"),
    ],
    ids=["too few", "no base64", "a text", "nothing", "a number", "no list", "empty list", "an error"],
)
def test_an_unreadable_answer_is_an_error(
    embed: Embed, compatible: Upstream, document: Any, kind: type[LLMCoreError], text: str
) -> None:
    compatible.document = document
    with pytest.raises(kind, match=text):
        embed(f"http://127.0.0.1:{compatible.server_port}/v1", request())


def test_a_reported_cost_is_read(embed: Embed, compatible: Upstream) -> None:
    usage = {"prompt_tokens": 8, "total_tokens": 8, "cost": 0.0000002}
    compatible.document = {"data": [make_item(1), make_item(0)], "model": "tiny", "usage": usage}
    result = embed(f"http://127.0.0.1:{compatible.server_port}/v1", request())
    assert (result.usage.input_tokens, result.usage.cost) == (8, Decimal("2e-7"))


@pytest.mark.parametrize(
    ("model", "price"),
    [(MODEL, "0.02"), ("text-embedding-3-large", "0.13"), ("text-embedding-ada-002", "0.1")],
)
def test_the_models_have_prices_limits_and_exact_counts(model: str, price: str) -> None:
    from llmcore.types import Usage

    offline = Offline()
    assert offline.price(model, Usage(input_tokens=1_000_000)) == Decimal(price)
    limits = offline.embedding_limits(model)
    assert (limits.max_texts, limits.max_tokens, limits.max_text_tokens) == (2048, 300_000, 8192)
    count = offline.count_tokens("Hello world", model)
    assert (int(count), count.exact) == (2, True)


def test_other_models_have_a_moderate_limit() -> None:
    assert Offline().embedding_limits("nomic-embed-text").max_texts == 256
