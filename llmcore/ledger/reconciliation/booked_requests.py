"""The requests that the ledger has booked for one model on one UTC day."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Final

from llmcore.support import bills
from llmcore.support.ledger_rows import LedgerRow
from llmcore.support.ledger_sums import SUM_ATTEMPT
from llmcore.support.money import from_nano

__all__ = ["BookedRequests", "Unsettled"]

_DAY_S: Final = 86_400
_BATCH: Final = "batch"
"""The tier of requests in a vendor's queue, which are answered at an unknown time within a day."""
_NEAR_S: Final = 600
"""Seconds before and after midnight in which the vendor and the ledger may count a request on different days.

Their clocks may differ. Also, the vendor may date a request by its start, but this comparison dates it by its end.
"""


class Unsettled:
    """Requests with an unknown outcome, of one kind: cancelled, lost or in progress."""

    def __init__(self) -> None:
        self.requests = 0
        self.maximum = Decimal(0)
        """The maximum that the vendor can bill, in USD."""
        self.unbounded = 0
        """The number of requests without a known maximum."""

    def add(self, nanos: int | None, count: int) -> None:
        """Add *count* requests that together cost at most *nanos* nano-dollars. None means that the maximum is unknown."""
        self.requests += count
        if nanos is None:
            self.unbounded += count
        else:
            self.maximum += from_nano(nanos)


class BookedRequests:
    """The requests that the ledger has for one model, tier and day."""

    def __init__(self) -> None:
        self.requests = 0
        """The number of answered requests with a known cost."""
        self.cost = Decimal(0)
        """USD of these requests."""
        self.amounts: Counter[str] = Counter()
        """The tokens of these requests: kind of token -> number."""
        self.bare = 0
        """The number of these requests that have a cost, but neither tokens nor characters."""
        self.unpriced_requests = 0
        self.unpriced: Counter[str] = Counter()
        """The tokens of answered requests without a known cost: kind of token -> number."""
        self.estimated = 0
        """The number of answered requests whose tokens were counted locally, not by the server."""
        self.cancelled, self.lost, self.open = Unsettled(), Unsettled(), Unsettled()
        self.names: set[str] = set()
        """The names under which the model was requested."""
        self.near_start, self.near_end = Decimal(0), Decimal(0)
        """USD of answered requests around the midnights at which the day begins and ends.

        The vendor may count these requests on the day before or after. `near_end` includes all requests of a vendor's
        queue, because the vendor may count such a request a day later.
        """

    @property
    def uncertain(self) -> Decimal:
        """The maximum cost in USD that is booked for requests with an unknown outcome."""
        return self.cancelled.maximum + self.lost.maximum

    @property
    def answered(self) -> int:
        """The number of answered requests."""
        return self.requests + self.unpriced_requests

    def add(self, row: LedgerRow) -> None:
        """Add a request that ended on this day, or a sum of pruned requests. Hits are not added."""
        self.names.add(row.model)
        if row.state == "open":
            self.open.add(row.reserved or None, row.count)
        elif row.uncertain or row.state == "lost":
            (self.lost if row.state == "lost" else self.cancelled).add(row.cost, row.count)
        else:
            self._add_answered(row)

    def _add_answered(self, row: LedgerRow) -> None:
        amounts = _count_amounts(row)
        if not amounts and not row.cost:
            return  # the server refused the request, so there is nothing to count
        self.estimated += row.count * row.estimated
        if row.cost is None:
            self.unpriced_requests += row.count
            self.unpriced.update(amounts)
            return
        self.requests += row.count
        cost = from_nano(row.cost)
        self.cost += cost
        if row.attempt != SUM_ATTEMPT:  # a sum has no time of day, so it is never near midnight
            self._note_midnight(row, cost)
        self.amounts.update(amounts)
        self.bare += 0 if amounts else row.count

    def _note_midnight(self, row: LedgerRow, cost: Decimal) -> None:
        latency_s = (row.latency_ms or 0) / 1000
        end = (row.at + latency_s) % _DAY_S
        if end - latency_s < _NEAR_S:
            self.near_start += cost
        if end > _DAY_S - _NEAR_S or bills.normalise_tier(row.tier or row.tier_asked) == _BATCH:
            self.near_end += cost

    def merge(self, other: BookedRequests) -> None:
        """Add the requests of *other*."""
        self.names |= other.names
        for name in ("requests", "cost", "bare", "unpriced_requests", "estimated", "near_start", "near_end"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.amounts.update(other.amounts)
        self.unpriced.update(other.unpriced)
        for mine, its in (
            (self.cancelled, other.cancelled),
            (self.lost, other.lost),
            (self.open, other.open),
        ):
            mine.requests += its.requests
            mine.maximum += its.maximum
            mine.unbounded += its.unbounded


def _count_amounts(row: LedgerRow) -> dict[str, int]:
    """Return the tokens and characters of *row* by kind.

    Each token counts for one kind. Kinds with an amount of 0 are left out.
    """
    left = row.input_tokens
    amounts: dict[str, int] = {}
    long = min(row.cache_write_12h_tokens, row.cache_write_tokens)
    for kind, tokens in (
        (bills.AUDIO_INPUT, row.audio_input_tokens),
        (bills.IMAGE_INPUT, row.image_input_tokens),
        (bills.CACHE_WRITE_LONG, long),
        (bills.CACHE_WRITE, row.cache_write_tokens - long),
        (bills.CACHED_INPUT, row.cached_tokens),
    ):
        amounts[kind] = min(tokens, left)
        left -= amounts[kind]
    amounts[bills.INPUT] = left
    audio = min(row.audio_output_tokens, row.output_tokens)
    image = min(row.image_output_tokens, row.output_tokens - audio)
    amounts |= {
        bills.AUDIO_OUTPUT: audio,
        bills.IMAGE_OUTPUT: image,
        bills.OUTPUT: row.output_tokens - audio - image,
        bills.CHARACTERS: row.characters,
    }
    return {kind: amount for kind, amount in amounts.items() if amount}
