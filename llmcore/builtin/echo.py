"""The language model `echo`: repeats the user's message, costs nothing, and needs no network."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from llmcore.builtin import echo_answer, echo_embedding
from llmcore.builtin.options import EchoOptions
from llmcore.errors import BadRequest
from llmcore.types import (
    ChatRequest,
    Delta,
    EmbeddingLimits,
    EmbeddingRequest,
    Embeddings,
    Message,
    Reply,
    TokenCount,
    Usage,
)

__all__ = ["EchoProvider"]

_PIECE: Final = re.compile(r"\s*\S+\s*")


class EchoProvider:
    """Implement every protocol of `llmcore.contracts.llm` and `embeddings`, sync and async.

    The answer is "You said: " and the text of the last user message. `max_tokens` and `stop` cut it. If
    `tool_choice` requires a call, the answer is a tool call; with a JSON `response_format`, the answer is JSON in
    this format. The answer depends only on the request: equal requests have equal answers.
    """

    keeps_timeouts = True

    def __init__(self, options: EchoOptions | None = None) -> None:
        self._options = options or EchoOptions()

    def complete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        return echo_answer.make_reply(request)

    async def acomplete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        return echo_answer.make_reply(request)

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        """See `StreamingLLMProvider.stream`. Each word is a piece."""
        reply = echo_answer.make_reply(request)
        for piece in _PIECE.findall(reply.text) or [reply.text] * bool(reply.text):
            yield Delta(text=piece, model=reply.model)
        if reply.tool_calls:
            yield Delta(tool_calls=reply.tool_calls, model=reply.model)
        yield Delta(
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            model=reply.model,
            request_id=reply.request_id,
            body=reply.body,
        )

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        for delta in self.stream(request):
            yield delta

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        """See `EmbeddingProvider.embed`; texts with common words have similar vectors."""
        return echo_embedding.embed(request)

    async def aembed(self, request: EmbeddingRequest) -> Embeddings:
        """See `EmbeddingProvider.embed`."""
        return echo_embedding.embed(request)

    def embedding_limits(self, model: str) -> EmbeddingLimits:  # noqa: ARG002 - all models have the same limit
        """See `EmbeddingBounds.embedding_limits`."""
        return EmbeddingLimits(max_texts=2048)

    def count_tokens(
        self,
        content: str | Sequence[Message] | ChatRequest,
        model: str | None = None,  # noqa: ARG002 - all models have the same tokenizer
    ) -> TokenCount:
        """See `TokenCounter.count_tokens`; the rule is `echo_answer.count`."""
        return echo_answer.count(content)

    def count_body(self, body: Mapping[str, Any]) -> TokenCount:
        """See `BodyCounter.count_body`; a body that is not a chat is counted as JSON text."""
        return echo_answer.count_body(body)

    def price(  # echo is always free
        self,
        model: str,  # noqa: ARG002
        usage: Usage,  # noqa: ARG002
        service_tier: str | None = None,  # noqa: ARG002
        *,
        at: datetime | None = None,  # noqa: ARG002
    ) -> Decimal | None:
        """See `PricingProvider.price`."""
        return Decimal(0)

    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:  # noqa: ARG002 - the usage is always exact
        """See `UsageBounds.most_usage`. The usage is exact, because the answer is known."""
        try:
            return echo_answer.make_reply(request).usage
        except BadRequest:
            return Usage()

    def list_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        return ["echo"]

    async def alist_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        return ["echo"]
