"""The correct models of llm.py."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from llmcore.errors import BadRequest
from llmcore.types import (
    ChatRequest,
    Delta,
    EmbeddingLimits,
    EmbeddingRequest,
    Embeddings,
    Reply,
    TokenCount,
    Usage,
)


class Plain:
    """Correct, blocking, without abilities; the least that keeps the contract."""

    def make_answer(self, request: ChatRequest) -> str:
        if not request.messages:
            raise BadRequest("there are no messages")
        content = request.messages[-1].get("content")
        text = content if isinstance(content, str) else msgspec.json.encode(content).decode()
        return text.encode("utf-8", "replace").decode() or "nothing"

    def complete(self, request: ChatRequest) -> Reply:
        text = self.make_answer(request)
        usage = Usage(input_tokens=1 + len(text.split()), output_tokens=1 + len(text.split()))
        return Reply(text=text, model="parrot", usage=usage)


class AsyncPlain:
    """Correct, asynchronous, without abilities."""

    async def acomplete(self, request: ChatRequest) -> Reply:
        return Plain().complete(request)


class Full(Plain, AsyncPlain):
    """Correct, sync and async, with every ability and a key that it hides."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        reply = self.complete(request)
        half = len(reply.text) // 2
        yield Delta(text=reply.text[:half])
        yield Delta(text=reply.text[half:])
        yield Delta(finish_reason=reply.finish_reason, usage=reply.usage)

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        for delta in self.stream(request):
            yield delta

    def count_tokens(self, content: Any) -> TokenCount:
        if isinstance(content, str):
            return TokenCount(len(content.split()), exact=True)
        messages = content.messages if isinstance(content, ChatRequest) else content
        return TokenCount(sum(1 + len(str(one["content"]).split()) for one in messages), exact=True)

    def count_on_server(self, request: ChatRequest) -> TokenCount:
        tools = str(request.parameters.get("tools", "")).split()
        return TokenCount(self.count_tokens(request) + len(tools), exact=True)

    async def acount_on_server(self, request: ChatRequest) -> TokenCount:
        return self.count_on_server(request)

    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:  # noqa: ARG002
        words = sum(len(str(one.get("content")).split()) for one in request.messages)
        return Usage(input_tokens=1 + words, output_tokens=1 + words)

    def price(self, model: str, usage: Usage, service_tier: str | None = None) -> Decimal | None:  # noqa: ARG002
        return usage.input_tokens + 4 * usage.output_tokens + 2 * Decimal(usage.cache_write_tokens)

    def count_body(self, body: dict[str, Any]) -> TokenCount:
        messages = body.get("messages")
        return self.count_tokens(messages if isinstance(messages, list) else str(body.get("input") or ""))

    def list_models(self) -> list[str]:
        return ["parrot"]

    async def alist_models(self) -> list[str]:
        return ["parrot"]

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        length = request.parameters.get("dimensions", 16)
        digests = [hashlib.shake_128(text.encode()).digest(length) for text in request.texts]
        usage = Usage(input_tokens=sum(len(text.split()) for text in request.texts))
        return Embeddings(
            vectors=[[byte / 255 for byte in each] for each in digests], model="parrot", usage=usage
        )

    async def aembed(self, request: EmbeddingRequest) -> Embeddings:
        return self.embed(request)

    def embedding_limits(self, model: str) -> EmbeddingLimits:  # noqa: ARG002 - one limit
        return EmbeddingLimits(max_texts=64)
