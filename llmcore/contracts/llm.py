"""What a language model promises. Write one colour; the host bridges to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from llmcore.types import ChatRequest, Delta, Message, Reply, TokenCount, Usage


@runtime_checkable
class LLMProvider(Protocol):
    """Answers a conversation, blocking."""

    def complete(self, request: ChatRequest) -> Reply:
        """Return the whole answer, from one request: the host owns retries, cache and cost.

        `Reply.text` may be empty beside tool calls. `provider`, `cost` and `latency_s` are filled in by the
        host where they are left out. Anything cut short must say so in `finish_reason` ("length"). Several
        threads may call at once.

        Args:
            request: `timeout_s` is what is left of the deadline: the backend must not be waited for longer.

        Raises:
            ProviderError: The kind that fits (`RateLimited` with `retry_after`, `AuthenticationFailed`, ...),
                raised outside the `except` block of the SDK's error, so that no request object hangs on it.
        """
        ...


@runtime_checkable
class AsyncLLMProvider(Protocol):
    """Answers a conversation, asynchronously."""

    async def acomplete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`. Several tasks, and several event loops in turn, may call."""
        ...


@runtime_checkable
class StreamingLLMProvider(Protocol):
    """Answers piece by piece, blocking."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        """Yield the answer as it arrives.

        The texts joined are the answer. The last piece bears the `finish_reason`; an answer that ends without
        one is an error of the host's. Closing the iterator ends the request.

        Args:
            request: `idle_s` is the longest wait for one piece.

        Raises:
            ProviderError: As `LLMProvider.complete`, at the first or any later piece.
        """
        ...


@runtime_checkable
class AsyncStreamingLLMProvider(Protocol):
    """Answers piece by piece, asynchronously."""

    def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `StreamingLLMProvider.stream`. Written as `async def` with `yield`."""
        ...


@runtime_checkable
class TokenCounter(Protocol):
    """Counts tokens without asking the backend."""

    def count_tokens(
        self, content: str | Sequence[Message] | ChatRequest, model: str | None = None
    ) -> TokenCount:
        """Count a text alone, or what the server would count for messages or a whole request.

        Never touches the network. `exact` is True only where the server is known to count the same. An estimate has
        a `bound`, which the server's count is never above, where anything bounds it.

        Args:
            content: What to count.
            model: Whose tokens are counted; of a `ChatRequest` it is its own.
        """
        ...


@runtime_checkable
class BodyCounter(Protocol):
    """Counts recorded request bodies, of whichever of the vendor's APIs."""

    def count_body(self, body: Mapping[str, Any]) -> TokenCount:
        """Count what the server would count for *body*, which is as it went over the wire, `model` in it.

        See `TokenCounter.count_tokens`. What a chat's body comes to is what its `ChatRequest` comes to.
        """
        ...


@runtime_checkable
class PricingProvider(Protocol):
    """Knows what its models cost."""

    def price(
        self, model: str, usage: Usage, service_tier: str | None = None, *, at: datetime | None = None
    ) -> Decimal | None:
        """Return what *usage* costs in USD, or None where the price is not known; never 0 for unknown.

        Args:
            model: As the backend names it.
            usage: What is to be paid.
            service_tier: The tier that served, as the backend names it; None where it did not say.
            at: When the call was made: prices change. None is now, and a provider without this argument is asked
                about now alone.
        """
        ...


@runtime_checkable
class UsageBounds(Protocol):
    """Knows the most that a request can use, so that a budget can reserve it before a byte is sent."""

    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:
        """Return a usage that costs no less than any answer to *request* can; None where nothing bounds it.

        Never touches the network, and never raises over a request that is odd: the backend will refuse it.
        `input_tokens` and `output_tokens` are upper bounds over all choices; their parts stand where they
        cost most, such as all input as `cache_write_tokens` where writing is billed above reading.

        Args:
            request: What is about to be sent.
            exact: Whether it may take a tokenizer. Without, it must be cheap and may be loose, such as the
                bytes of the prompt; with, the prompt is counted where a count is known to be the server's.
        """
        ...


@runtime_checkable
class ModelLifetimes(Protocol):
    """Knows when its models go."""

    def shutdown_date(self, model: str) -> date | None:
        """Return the day from which on *model* answers no more; None where none was announced.

        Never touches the network.
        """
        ...


@runtime_checkable
class ModelListing(Protocol):
    """Lists its models."""

    def list_models(self) -> Sequence[str]:
        """Return the names of the models on offer, as the backend lists them.

        Raises:
            ProviderError: The backend refused or failed.
        """
        ...


@runtime_checkable
class AsyncModelListing(Protocol):
    """Lists its models, asynchronously."""

    async def alist_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        ...
