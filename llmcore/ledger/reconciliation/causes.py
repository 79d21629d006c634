"""Name the causes of the difference between ledger and bill, for one model on one UTC day.

The causes sum to the difference exactly: each amount of the bill is divided among the tokens that it pays for, and each
part has one cause. Amounts are `billed - booked` in USD: negative if the ledger has booked more than was billed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from llmcore.ledger.reconciliation.booked_requests import BookedRequests, Unsettled
from llmcore.support.bills import BillLine, BillUsage, divide

__all__ = ["CAUSES", "EXPLAINED", "Causes", "explain"]

CAUSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "other_keys": "other API keys or projects",
        "unbooked": "your keys, but not in this ledger",
        "cancelled": "cancelled: billed below the maximum",
        "lost": "process killed: billed below maximum",
        "open": "still in progress here",
        "unpriced": "no price in the ledger",
        "price": "another price than in the ledger",
        "counts": "other counts for the same requests",
        "fees": "fees that the ledger does not book",
        "late": "not billed yet",
        "shifted": "billed on the day before or after",
        "rounding": "rounding",
        "not_billed": "booked, but not billed",
        "no_usage": "billed, without usage in the report",
    }
)
"""Name of a cause -> description. An amount with one of the last two causes counts as unexplained."""
EXPLAINED: Final = frozenset(CAUSES) - {"not_billed", "no_usage"}

Causes = defaultdict[str, Decimal]
"""Name of a cause -> USD."""
_NANO: Final = Decimal("1e-9")
_DUST: Final = Decimal("1e-12")
"""A rounding error in USD: dividing an amount may move this much from one cause to another."""


class _Excess:
    """The part of the bill that exceeds the answered requests, and the requests that may have caused it."""

    def __init__(self, amount: Decimal, requests: int | None) -> None:
        self.amount = amount
        self.requests = requests
        """The number of requests that the vendor has counted, minus the number of answered requests in the ledger.

        None if the vendor does not count requests.
        """


def explain(
    booked: BookedRequests, lines: Sequence[BillLine], usage: Sequence[BillUsage], *, is_complete: bool
) -> Causes:
    """Return the causes of the difference.

    Args:
        booked: The requests of the ledger.
        lines: The lines of the bill for the same model, tier and day.
        usage: The vendor's counts of tokens and requests for the same model, tier and day.
        is_complete: True if the vendor's report of the day no longer changes.
    """
    causes: Causes = defaultdict(Decimal)
    billed: Causes = defaultdict(Decimal)
    for line in lines:
        if not line.own:
            causes["other_keys"] += line.amount
        elif line.kind is None:
            causes["fees"] += line.amount
        else:
            billed[line.kind] += line.amount
    own = [row for row in usage if row.own]
    counted: Counter[str] = Counter()
    for row in own:
        counted.update(row.amounts)
    parts = _divide_bill(booked, billed, counted)
    causes["no_usage"] += parts["no_usage"]
    causes["unpriced"] += parts["unpriced"]
    missing = parts["missing"]
    difference = parts["settled"] + missing - booked.cost
    if difference < 0 and (booked.bare or any(not counted[kind] for kind in booked.amounts)):
        # The vendor did not bill some of the tokens, so the difference comes from them, not from another price.
        missing, difference = missing - difference, Decimal(0)
    rounding = sum((line.resolution for line in lines if line.own and line.kind), _DUST)
    allowed = rounding + booked.requests * _NANO
    unposted = difference < 0 and not is_complete
    causes["rounding" if abs(difference) <= allowed else "late" if unposted else "price"] += difference
    requests = None if any(row.requests is None for row in own) else sum(row.requests or 0 for row in own)
    more = None if requests is None else requests - booked.answered
    causes[_classify_missing(booked, more, is_complete=is_complete)] -= missing
    _explain_excess(causes, booked, _Excess(parts["excess"], more))
    return causes


def _divide_bill(booked: BookedRequests, billed: Mapping[str, Decimal], counted: Mapping[str, int]) -> Causes:
    """Divide the amounts on the bill among the tokens that the vendor counted, for each kind of token.

    Each part is in USD. `settled` pays for tokens that the ledger has booked at a known price, `unpriced` for booked tokens
    without a price, and `excess` for tokens that the ledger has not booked. `no_usage` is billed without any tokens.
    `missing` is not billed: it is the value of booked tokens that the vendor has not counted.
    """
    parts: Causes = defaultdict(Decimal)
    for kind in dict.fromkeys((*billed, *counted)):
        amount, count = billed.get(kind, Decimal(0)), counted.get(kind, 0)
        if not count:
            parts["no_usage"] += amount
            continue
        settled, unpriced = booked.amounts[kind], booked.unpriced[kind]
        lacking = max(settled + unpriced - count, 0)
        missing = max(lacking - unpriced, 0)
        shares = (settled - missing, max(unpriced - lacking, 0), max(count - settled - unpriced, 0))
        for name, part in zip(("settled", "unpriced", "excess"), divide(amount, shares), strict=True):
            parts[name] += part
        if missing:
            parts["missing"] += (amount * missing / count).quantize(_DUST)
    return parts


def _classify_missing(booked: BookedRequests, more: int | None, *, is_complete: bool) -> str:
    """Return the name of the cause for tokens that the ledger has booked and the vendor has not counted."""
    if not is_complete:
        return "late"
    if (more is not None and more >= 0) or (booked.estimated and booked.estimated == booked.answered):
        return "counts"
    return "not_billed"


def _explain_excess(causes: Causes, booked: BookedRequests, excess: _Excess) -> None:
    """Assign *excess* to the requests with an unknown outcome, up to their maximum cost, and the remainder to other clients."""
    unsettled = {"cancelled": booked.cancelled, "lost": booked.lost, "open": booked.open}
    causes["cancelled"] -= booked.cancelled.maximum
    causes["lost"] -= booked.lost.maximum
    if not excess.amount:
        return
    if excess.requests is not None and excess.requests <= 0:
        causes["counts"] += excess.amount
        return
    amount = _bound_unsettled(excess, list(unsettled.values()))
    causes["unbooked"] += excess.amount - amount
    for name, part in zip(unsettled, _share_out(amount, list(unsettled.values())), strict=True):
        causes[name] += part


def _bound_unsettled(excess: _Excess, unsettled: Sequence[Unsettled]) -> Decimal:
    """Return how much of *excess* the requests with an unknown outcome can have cost, in USD."""
    requests = sum(each.requests for each in unsettled)
    if not requests:
        return Decimal(0)
    amount = excess.amount
    # If the excess has more requests than *unsettled*, other clients have sent the rest with the same key.
    if excess.requests is not None and excess.requests > requests:
        amount = divide(amount, (requests, excess.requests - requests))[0]
    if any(each.unbounded for each in unsettled):
        return amount
    return min(amount, sum((each.maximum for each in unsettled), Decimal(0)))


def _share_out(amount: Decimal, unsettled: Sequence[Unsettled]) -> list[Decimal]:
    """Divide *amount* in proportion to the maximum costs of *unsettled*.

    If a maximum is unknown, divide in proportion to the numbers of requests.
    """
    if any(each.unbounded for each in unsettled):
        return divide(amount, [each.requests for each in unsettled])
    return divide(amount, [int(each.maximum / _NANO) for each in unsettled])
