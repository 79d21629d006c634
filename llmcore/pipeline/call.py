"""The types of the pipeline: a call, a kind of request, and the services of a Core."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import msgspec

from llmcore.cache.store import CacheStore
from llmcore.calls.attempts import RetryPolicy
from llmcore.calls.backend import Backend
from llmcore.calls.deadline import Deadline
from llmcore.errors import ProviderError
from llmcore.ledger.events import Events, Starts
from llmcore.ledger.prices import PriceLike
from llmcore.ledger.quote import Quote
from llmcore.support.ledger_values import Charge, Outcome

if TYPE_CHECKING:
    from llmcore.cache.lease import Leases
    from llmcore.cache.refresh import Refresher
    from llmcore.calls.limits import RateLimiter
    from llmcore.calls.single_flight import Flights
    from llmcore.ledger.spending import Spending
    from llmcore.support.sending import Sending

__all__ = ["Answer", "CachedAnswer", "Call", "Proceed", "RequestKind", "Services", "Stage"]


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The services that all requests of one Core share.

    Services that a cached answer does not need are functions, which create the service at the first call.
    """

    cache: CacheStore
    policy: RetryPolicy
    prices: Mapping[str, PriceLike]
    events: Events
    get_flights: Callable[[], Flights]
    get_leases: Callable[[], Leases]
    get_refresher: Callable[[], Refresher]
    get_limits: Callable[[], RateLimiter]
    spending: Callable[[], Spending]
    """Opens the ledger database. Called before the first request is sent."""

    @property
    def flights(self) -> Flights:
        """The identical calls in progress."""
        return self.get_flights()

    @property
    def leases(self) -> Leases:
        """The leases of this process."""
        return self.get_leases()

    @property
    def refresher(self) -> Refresher:
        """The refreshes in the background."""
        return self.get_refresher()

    @property
    def limits(self) -> RateLimiter:
        """The rate limits."""
        return self.get_limits()


class Answer(NamedTuple):
    """The answer of a backend."""

    result: Any
    """A `Reply`, a `Speech`, ..."""
    held: Sequence[Any] = ()
    """Pieces to emit only after the answer is booked and cached, because a reader may stop at the last piece.
    """
    outcome: Outcome = Outcome()
    """The outcome of the request, for the ledger."""


class CachedAnswer(NamedTuple):
    """A cache entry with an answer or a part of an answer."""

    key: str
    data: bytes
    ttl: float | None = None
    """The TTL in seconds; None means the TTL of the call."""


class RequestKind(Protocol):
    """The differences between chat, speech and other kinds of request. All state is in the `Call`."""

    name: str
    """The name of the kind in the ledger: llm, voice, ..."""
    late_expected: str
    """The text `expected` of the error that is raised when the deadline passes. `late_fix` is the `fix` of that error."""
    late_fix: str

    def run(self, call: Any, services: Services) -> Generator[Any, Any, Any]:
        """Run *call* and return the result for the application."""

    def decode(self, call: Any, data: bytes) -> Any | None:
        """Decode the cache entry *data*. Return None if the entry is damaged or belongs to another call."""

    def make_entries(self, call: Any, result: Any, due: float) -> Iterable[CachedAnswer]:
        """Return the cache entries of *result*.

        *due* is the time to refresh the answer, in seconds since 1970; 0 for never.
        """

    def get_refresh_time(self, call: Any, data: bytes) -> float:
        """Return when to refresh the entry *data*, in seconds since 1970; 0 for never."""

    def is_cacheable(self, call: Any, result: Any) -> bool:
        """Return whether *result* is complete and matches the request."""

    def mark_cached(self, call: Any, services: Services, result: Any) -> Any:
        """Return *result* marked as cached, at no cost for this call."""

    def make_pieces(self, call: Any, result: Any) -> Iterable[Any]:
        """Return *result* as the pieces of a stream, for a call that has not emitted any piece."""

    def charge(self, call: Any) -> Charge:
        """Return the provider, model, user and tags of the call, for the ledger."""

    def quote(self, call: Any, services: Services) -> Quote:
        """Return the quote that computes the maximum cost of the request."""

    def estimate_tokens(self, call: Any) -> int:
        """Return an estimate of the tokens that the backend will count against a rate limit."""

    def make_attempt(self, call: Any, services: Services) -> Generator[Any, Any, Answer]:
        """Send the request once and return the answer; a streaming call yields pieces."""

    def settle(self, call: Any, services: Services, result: Any) -> tuple[Any, Outcome]:
        """Return *result* with usage and cost, and the outcome for the ledger."""

    def begin(self, call: Any, services: Services) -> None:
        """Report to the observers that the call begins. Called after a cache miss."""

    def finish(self, call: Any, services: Services, result: Any) -> Any:
        """Report *result* to the observers.

        Return *result* with the fields that are known only after the last attempt.
        """

    def fail(self, call: Any, services: Services, error: BaseException) -> None:
        """Report to the observers that *error* ended the call."""

    def explain(self, call: Any, error: ProviderError) -> None:
        """Add the facts of *call* to the error that ended the last attempt."""


class Call(msgspec.Struct, kw_only=True):
    """One request to one backend, and its state."""

    kind: RequestKind
    backend: Backend
    deadline: Deadline
    key: str | None = None
    """The cache key; None if the answer is neither cached nor shared with identical calls."""
    ttl: float | None = None
    """The TTL of the answer in the cache, in seconds; None means the cache's TTL."""
    refresh: float | None = None
    """The fraction of the TTL after which a cached answer is refreshed in the background. If None, it is not refreshed."""
    reads: bool = True
    """True reads the cache. False requests a new answer and caches it."""
    streaming: bool = False
    user: str | None = None
    tags: tuple[str, ...] = ()
    group: str = ""
    """The id of the call in the ledger. Attempts, fallbacks and parts of one text share this id."""
    attempts: int = 0
    started: float = 0.0
    """The start of the call, by the monotonic clock."""
    started_at: float = 0.0
    """The start of the call, in seconds since 1970."""
    first_at: float | None = None
    """The time at which the first content of the current attempt's stream arrived, by the monotonic clock."""
    starts: Starts = ()
    """The values that the observers returned at the start."""
    has_emitted: bool = False
    """True if the consumer has seen a piece. After the first piece, the call has no retry and no fallback."""
    on_failure: Callable[[ProviderError], None] | None = None
    """A function that is called with each failure that is retried."""
    charge: Charge | None = None
    """The charge of the current attempt. `quote` and `sending` belong to the current attempt too."""
    quote: Any = None
    sending: Sending | None = None

    def note_piece(self) -> None:
        """Record that a piece is emitted."""
        self.has_emitted = True


Proceed: TypeAlias = Callable[[], Generator[Any, Any, Any]]
"""A function that runs the next stage."""
Stage: TypeAlias = Callable[[Any, Services, Proceed], Generator[Any, Any, Any]]
