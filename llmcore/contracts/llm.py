"""The contract of a language model. Implement the sync or the async protocol. The host provides the missing variant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from llmcore.types import ChatRequest, Delta, Message, Reply, TokenCount, Usage

__all__ = [
    "AsyncContextLengths",
    "AsyncLLMProvider",
    "AsyncModelListing",
    "AsyncServerTokenCounter",
    "AsyncStreamingLLMProvider",
    "BodyCounter",
    "ContextLengths",
    "LLMProvider",
    "ModelLifetimes",
    "ModelListing",
    "PricingProvider",
    "ServerTokenCounter",
    "StreamingLLMProvider",
    "TokenCounter",
    "UsageBounds",
]


@runtime_checkable
class LLMProvider(Protocol):
    """Answer a conversation, blocking."""

    def complete(self, request: ChatRequest) -> Reply:
        """Send one request and return the complete answer. The host handles retries, cache and cost.

        `Reply.text` may be empty if there are tool calls. The host sets `provider`, `cost` and `latency_s` if the
        backend does not. `usage.cost` is the amount that the server billed. This amount takes precedence over every
        price. An answer that was cut short must have a `finish_reason` that says so ("length"). Several threads may
        call at the same time.

        Args:
            request: `timeout_s` is the remaining time until the deadline. Stop waiting for the backend when this time
                has passed. `idle_s` is the longest silence: raise `Timeout` if no byte arrives for that long after
                the answer began. The provider must measure this silence, because only the provider sees the bytes.
                The host enforces the deadline even if the provider does not: it abandons the thread of a blocking
                method. A class with `keeps_timeouts = True` promises to keep the deadline, and its threads are not
                abandoned.

        Raises:
            ProviderError: Raise the most specific subclass (`RateLimited` with `retry_after`, `AuthenticationFailed`,
                ...). Raise it with `llmcore.support.errors.raise_unchained`, which removes the reference to the SDK's
                error. The host makes another attempt after an error whose class is `retryable`, unless `answered` is
                set. Set `answered` if the backend sent a complete answer, because the backend may bill that answer.
        """
        ...


@runtime_checkable
class AsyncLLMProvider(Protocol):
    """Answer a conversation, asynchronously."""

    async def acomplete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`.

        Several tasks may call concurrently, and several event loops one after another.
        """
        ...


@runtime_checkable
class StreamingLLMProvider(Protocol):
    """Answer piece by piece, blocking."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        """Yield the answer as it arrives.

        The joined texts are the answer. The piece that ends the answer has the `finish_reason`; only pieces without
        content may follow it. If several answers were requested, each piece names its `choice`, and the last piece of
        each choice has the `finish_reason` of that choice. A provider that receives events puts each event into the
        `raw` of one piece, even an event without content. Further pieces of the same event have an empty `raw`. The
        host raises an error for an answer that ends without a `finish_reason`. Closing the iterator ends the request.

        Args:
            request: As in `LLMProvider.complete`. Every byte that arrives resets `idle_s`, even if it yields no
                piece: comments, keep-alive lines, reasoning, empty deltas.

        Raises:
            ProviderError: As in `LLMProvider.complete`, at the first or any later piece.
        """
        ...


@runtime_checkable
class AsyncStreamingLLMProvider(Protocol):
    """Answer piece by piece, asynchronously."""

    def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `StreamingLLMProvider.stream`. Write it as `async def` with `yield`."""
        ...


@runtime_checkable
class TokenCounter(Protocol):
    """Count tokens without a request."""

    def count_tokens(
        self, content: str | Sequence[Message] | ChatRequest, model: str | None = None
    ) -> TokenCount:
        """Count the tokens of a text, or the tokens that the server would count for messages or a request.

        Do not use the network. `exact` is True only if the server is known to count the same. If possible, set the
        `bound` of an estimate to a number that the server's count never exceeds.

        Args:
            content: The text, messages or request.
            model: The model whose tokens are counted. A `ChatRequest` includes its model.
        """
        ...


@runtime_checkable
class BodyCounter(Protocol):
    """Count the tokens of recorded request bodies, for every API of the vendor."""

    def count_body(self, body: Mapping[str, Any]) -> TokenCount:
        """Return the tokens that the server would count for *body*, the request body as it was sent, with `model`.

        See `TokenCounter.count_tokens`. The count for the body of a chat equals the count for its `ChatRequest`.
        """
        ...


@runtime_checkable
class ServerTokenCounter(Protocol):
    """Ask the server to count tokens, blocking. Vendors that publish no tokenizer need this ability."""

    def count_on_server(self, request: ChatRequest) -> TokenCount:
        """Return the tokens that the server counts for *request*. The request must cost nothing.

        Raises:
            ProviderError: The server refused or failed; see `LLMProvider.complete`.
        """
        ...


@runtime_checkable
class AsyncServerTokenCounter(Protocol):
    """Ask the server to count tokens, asynchronously."""

    async def acount_on_server(self, request: ChatRequest) -> TokenCount:
        """See `ServerTokenCounter.count_on_server`."""
        ...


@runtime_checkable
class PricingProvider(Protocol):
    """Know the prices of models."""

    def price(
        self, model: str, usage: Usage, service_tier: str | None = None, *, at: datetime | None = None
    ) -> Decimal | None:
        """Return the cost of *usage* in USD; None if the price is not known, never 0.

        Args:
            model: The backend's name of the model.
            usage: The usage to be paid.
            service_tier: The backend's name of the tier that served the call; None if the backend did not report a
                tier.
            at: The time of the call, since prices change; None for now. The argument is optional: a provider
                without this parameter is called only for current prices.
        """
        ...


@runtime_checkable
class UsageBounds(Protocol):
    """Compute the maximum usage of a request. A budget reserves the cost of this usage before the request is sent."""

    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:
        """Return a usage that costs at least as much as any answer to *request*; None if no bound is known.

        Never use the network, and never raise for an invalid request: the backend will refuse it. `input_tokens` and
        `output_tokens` are upper bounds over all choices. If tokens may have different prices, assume the highest:
        for example, count all input as `cache_write_tokens` if writing to the vendor's cache costs most.

        Args:
            request: The request that is about to be sent.
            exact: If False, be fast; the bound may be loose, such as the number of bytes of the prompt. If True, run
                the tokenizer, but use its count only if the server is known to count the same.
        """
        ...


@runtime_checkable
class ModelLifetimes(Protocol):
    """Know when models are shut down."""

    def shutdown_date(self, model: str) -> date | None:
        """Return the first day on which *model* no longer answers; None if no shutdown was announced.

        Do not use the network.
        """
        ...


@runtime_checkable
class ContextLengths(Protocol):
    """Know how many tokens fit into a model's context."""

    def context_length(self, model: str) -> int | None:
        """Return the maximum number of tokens of prompt and answer together, as the server reports it.

        Return None if the server does not report this number.

        Raises:
            ProviderError: The backend refused or failed.
        """
        ...


@runtime_checkable
class AsyncContextLengths(Protocol):
    """Know how many tokens fit into a model's context, asynchronously."""

    async def acontext_length(self, model: str) -> int | None:
        """See `ContextLengths.context_length`."""
        ...


@runtime_checkable
class ModelListing(Protocol):
    """List the available models."""

    def list_models(self) -> Sequence[str]:
        """Return the names of the available models, in the backend's order.

        Raises:
            ProviderError: The backend refused or failed.
        """
        ...


@runtime_checkable
class AsyncModelListing(Protocol):
    """List the available models, asynchronously."""

    async def alist_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        ...
