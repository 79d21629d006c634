"""The events that observers receive: starts and ends of calls, and alerts of budgets. `llmcore.types` exports them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from llmcore.usage_types import CostSource, Usage

if TYPE_CHECKING:
    from llmcore.types import ChatRequest, Reply

__all__ = ["AlertEvent", "CallEvent", "CallStart"]


class CallStart(msgspec.Struct, frozen=True, kw_only=True):
    """The event that observers receive when a call starts.

    After a cache hit, the event is sent when the cache has answered the call.
    """

    kind: str
    """llm, voice, ..."""
    provider: str
    """The name of the provider that is called first."""
    model: str
    """The requested model."""
    started_at: float
    """Seconds since 1970-01-01 UTC."""
    call: str = ""
    """The id of the call in the ledger; empty if the cache answered."""
    stream: bool = False
    """True if the application asked for a stream."""
    user: str | None = None
    """The `user` that the application passed; None if it passed none."""
    tags: tuple[str, ...] = ()
    """The `tags` that the application passed."""


class CallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The event that observers receive when a call has ended."""

    kind: str
    """llm, voice, ..."""
    provider: str
    """The name of the provider that answered or, after an error, was called last."""
    model: str
    """The backend's name of the model that answered. After an error: the requested model; voice: empty."""
    usage: Usage = Usage()
    """llm, embedding: the tokens of the answer. An answer from the cache has the usage of the original call."""
    characters: int = 0
    """voice: the characters that this call paid for."""
    cost: Decimal | None = None
    """USD; None if the price is unknown or the call failed, 0 for an answer from the cache.

    A failed speech has the cost of its finished pieces.
    """
    cost_source: CostSource | None = None
    """llm: see `Reply.cost_source`."""
    cached: bool = False
    """True if the answer came from the cache."""
    latency_s: float = 0.0
    """Seconds from the start of the call to its end."""
    attempts: int = 0
    """The number of requests that were sent; 0 if the cache answered."""
    call: str = ""
    """The id of the call in the ledger: the same for all attempts and fallbacks.

    If this call shared the request of another call, the ledger has no rows with this id.
    """
    user: str | None = None
    """The `user` that the application passed; None if it passed none."""
    tags: tuple[str, ...] = ()
    """The `tags` that the application passed."""
    error: str | None = None
    """The class name of the exception that ended the call; None if the call succeeded."""
    started_at: float = 0.0
    """Seconds since 1970-01-01 UTC."""
    request_id: str | None = None
    """The backend's id of the last request."""
    finish_reason: str | None = None
    """llm: see `Reply.finish_reason`."""
    tier: str | None = None
    """llm: see `Reply.service_tier`."""
    first_token_s: float | None = None
    """Seconds from the start to the first content of a streamed answer.

    None if the backend did not stream the answer.
    """
    stream: bool = False
    """True if the application asked for a stream."""
    start: Any = None
    """The value that this observer's `on_start` returned for the call."""
    request: ChatRequest | None = None
    """llm: the request, if the observer has `receives_content = True`; otherwise None."""
    reply: Reply | None = None
    """llm: the answer, if the observer has `receives_content = True` and the call succeeded; otherwise None."""


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The event that observers, webhooks and commands receive when a budget is partly or fully used.

    The alert is sent when the spending reaches a fraction in `alert_at`, or when the spending of a day is higher than
    `alert_faster_than` allows.
    """

    budget: str
    """The readable name of the budget: "day", "month openai:gpt-6-sol"."""
    fraction: float
    """The highest fraction of `alert_at` that the spending has reached.

    If `reason` is not "fraction", the value is `spent` divided by `limit`.
    """
    limit: Decimal
    """The limit of the budget. `limit`, `spent` and `reserved` are amounts in `unit`."""
    spent: Decimal
    """The amount that is settled in the period."""
    reserved: Decimal
    """The amount that is reserved for requests in progress."""
    period: str
    """2026-11-25, 2026-11 or total."""
    unit: str = "USD"
    """USD, or characters."""
    reason: Literal["fraction", "faster", "test"] = "fraction"
    """fraction: the spending reached one of `alert_at`. faster: today costs more than usual. test: `llmcore usage alert --test`."""
    today: Decimal | None = None
    """faster: the amount of this day in UTC, in `unit`; otherwise None."""
    usual: Decimal | None = None
    """faster: the average amount of a day in the last two weeks, in `unit`; otherwise None."""
