"""The values that a ledger receives and returns. Money is in nano-dollars, so that sums are exact."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

import msgspec

from llmcore.support.money import CHARACTERS, USD
from llmcore.types import CostSource, Usage

__all__ = [
    "Amount",
    "ApiKey",
    "Charge",
    "Counter",
    "Limit",
    "Outcome",
    "Refusal",
    "ReserveRequest",
    "Reserved",
    "Scope",
    "Settlement",
    "find_refusal",
    "parse_scope",
]


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a backend before it is sent."""

    kind: str
    """llm, voice, ..."""
    provider: str
    """The name of the provider."""
    model: str
    """The requested model."""
    call: str
    """The id of the call, shared by all its attempts and fallbacks."""
    attempt: int = 1
    """The number of the attempt, from 1."""
    user: str | None = None
    """The `user` of the call; None if it has none."""
    tags: tuple[str, ...] = ()
    """The `tags` of the call."""
    tier: str | None = None
    """The requested service tier."""
    characters: int = 0
    """The length of the text to synthesize."""
    owner: str | None = None
    """The owner of the row; None if it is this process. See `llmcore.support.ledger_owners`."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a request and its cost."""

    cost: Decimal | None = None
    """USD; None if unknown. The ledger rounds it with `llmcore.support.money.to_nano`."""
    cost_source: CostSource | None = None
    """The source of the cost; see `Reply.cost_source`."""
    uncertain: bool = False
    """True if the outcome is unknown. Then `cost` is the maximum cost."""
    requested: bool = True
    """False if the call was cancelled or rejected before any request. The row is then deleted."""
    usage: Usage = Usage()
    """The tokens of the answer."""
    characters: int = 0
    """The characters that the vendor bills."""
    model: str = ""
    """The model that answered, as the backend names it."""
    tier: str | None = None
    """The service tier that served the request, as the backend names it; None if it did not report it."""
    request_id: str | None = None
    """The backend's id of the request; None if it did not report one."""
    latency_s: float = 0.0
    """Seconds from the request to the end of its answer."""
    first_token_s: float | None = None
    """Seconds until the first content of a streamed answer; None if the answer was not streamed."""
    error: str | None = None
    """Code and class name of the error; None if the request was answered."""


class Amount(NamedTuple):
    """The amounts of one request that budgets count."""

    nanos: int = 0
    """Nano-dollars."""
    characters: int = 0
    """Characters of synthesized text."""

    def get_amount(self, unit: str) -> int:
        """Return the amount in *unit*."""
        return self.characters if unit == CHARACTERS else self.nanos


class Scope(msgspec.Struct, frozen=True, array_like=True):
    """The requests that a budget counts. Processes that share the ledger share the budget."""

    per: str
    """day, month or total, in UTC."""
    model: str | None = None
    """`provider:model`, or `provider:` for all models of the provider."""
    tag: str | None = None
    """A tag of the requests; None for all requests."""
    user: str | None = None
    """The user of the requests; None for all users."""
    unit: str = USD
    """USD, or characters of synthesized text."""

    def covers(self, charge: Charge) -> bool:
        """Return whether the budget counts *charge*."""
        if self.model is not None:
            provider, _, model = self.model.partition(":")
            if provider != charge.provider or (model and model != charge.model):
                return False
        if self.user is not None and self.user != charge.user:
            return False
        return self.tag is None or self.tag in charge.tags

    @property
    def name(self) -> str:
        """The name to display: "day", "month openai:gpt-6-sol", "total tag=nightly"."""
        unit = self.unit if self.unit != USD else None
        parts = [
            self.per,
            unit,
            self.model,
            self.tag and f"tag={self.tag}",
            self.user and f"user={self.user}",
        ]
        return " ".join(part for part in parts if part)

    def format_text(self) -> str:
        """Return the scope as text, to store it: a JSON list. `parse_scope` reads it."""
        return _encoder.encode(self).decode()


_encoder: Final = msgspec.json.Encoder()


@functools.lru_cache(maxsize=1024)
def parse_scope(text: str) -> Scope:
    """Return the scope that `Scope.text` encoded."""
    return msgspec.json.decode(text, type=Scope)


class Counter(NamedTuple):
    """The state of one budget in one period, in nano-dollars or characters."""

    period: str
    """`2026-11-25`, `2026-11` or `total`."""
    scope: Scope
    """The budget."""
    text: str
    """`scope.text()`."""
    spent: int
    """The settled amount."""
    reserved: int
    """The amount that is reserved for requests in progress."""
    alerted: int
    """The highest amount for which an alert was sent."""


class Limit(NamedTuple):
    """One budget that counts a request, with its amount."""

    scope: Scope
    """The requests that the budget counts."""
    amount: int
    """The limit in nano-dollars or characters."""
    refuses: bool
    """False if the budget only warns."""


class Refusal(NamedTuple):
    """A budget that has less left than the maximum cost of a request."""

    limit: Limit
    """The budget."""
    counter: Counter
    """The state of the budget."""
    maximum: int
    """The maximum cost of the request, in the unit of the budget."""

    @property
    def is_permanent(self) -> bool:
        """True if the request would be rejected even if all other reservations were released."""
        return self.counter.spent + self.maximum > self.limit.amount


def find_refusal(counters: Sequence[Counter], amount: Amount, limits: Sequence[Limit]) -> Refusal | None:
    """Return the first of *limits* that has less left than *amount*."""
    by_scope = {counter.scope: counter for counter in counters}
    for limit in limits:
        counter = by_scope.get(limit.scope)
        if counter is not None and limit.refuses:
            maximum = amount.get_amount(limit.scope.unit)
            if counter.spent + counter.reserved + maximum > limit.amount:
                return Refusal(limit, counter, maximum)
    return None


class ReserveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request before it is sent, with its maximum cost."""

    key: str
    """The identity of the row, unique among all requests of all processes."""
    charge: Charge
    """The request."""
    at: float
    """Seconds since 1970, on this machine's clock. A ledger on a shared server uses the server's clock."""
    maximum: int
    """The amount to reserve, in nano-dollars; the characters to reserve are in `charge`."""
    limits: Sequence[Limit] = ()
    """The budgets of this process that cover the request."""

    @property
    def amount(self) -> Amount:
        """The amounts to reserve."""
        return Amount(self.maximum, self.charge.characters)


class Reserved(NamedTuple):
    """An open row."""

    row: Any
    """A reference to the row, for the ledger. The host passes it back in `Settlement.row`."""
    at: float
    """The time of the row in seconds since 1970. This time determines the periods in which budgets count the
    request."""
    counters: Sequence[Counter]
    """All updated counters of budgets that cover the request."""


class Settlement(NamedTuple):
    """The result of a request with an open row."""

    request: ReserveRequest
    """The request, as it was reserved."""
    row: Any
    """`Reserved.row`; None if the caller was cancelled before it received the row.

    The ledger then finds the row by `request.key`.

    If `Charge.owner` was set, a later process may settle the row: it finds the row with `iterate_rows` and passes
    `LedgerRow.id` as *row*.
    """
    at: float
    """`Reserved.at`."""
    outcome: Outcome
    """The result and its cost."""

    @property
    def state(self) -> str:
        """The state of the closed row: done or failed."""
        return "done" if self.outcome.error is None else "failed"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, without its secret part."""

    name: str
    """The name of the key. The ledger and the budgets use it as the `user` of calls with this key."""
    id: str
    """The part of the key that the ledger stores in clear text."""
    digest: bytes
    """SHA-256 of the whole key."""
    budget: Decimal | None = None
    """In USD."""
    per: Literal["day", "month", "total"] = "total"
    """The period of `budget`: day, month (both in UTC) or total."""
    models: tuple[str, ...] = ()
    """The names of models that the key may request; empty for all."""
    requests_per_minute: int | None = None
    """The rate limit of the key; None for no limit."""
    created_at: float = 0.0
    """The time of creation, in seconds since 1970."""
    expires_at: float | None = None
    """The end of the key, in seconds since 1970; None for no end."""
    revoked_at: float | None = None
    """The time of the revocation, in seconds since 1970; None for a key that was not revoked."""

    def is_valid(self, at: float) -> bool:
        """Return whether the key is neither revoked nor expired at the time *at*."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)
