"""Random ledgers and bills that do not belong together: the causes still sum to the difference, to the last digit."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from llmcore.ledger.reconciliation import reconcile
from llmcore.support import bills
from llmcore.support.bills import Bill, BillLine, BillUsage
from llmcore.support.ledger_rows import LedgerRow

_DAY: Final = date(2026, 10, 24)
_START: Final = datetime(2026, 10, 24, tzinfo=UTC).timestamp()
_KINDS: Final = (
    bills.INPUT,
    bills.CACHED_INPUT,
    bills.CACHE_WRITE,
    bills.OUTPUT,
    bills.AUDIO_INPUT,
    bills.CHARACTERS,
)
_MODELS: Final = ("a", "a-2026-01-01", "b")
_TIERS: Final = ("standard", "standard", "batch")
_ROUNDS: Final = 400


def make_line(pick: random.Random) -> BillLine:
    model = pick.choice((*_MODELS, None))
    kind = None if model is None else pick.choice((*_KINDS, None))
    amount = Decimal(pick.randrange(-(10**6), 10**9)).scaleb(-pick.randrange(15))  # a credit is negative
    return BillLine(
        day=_DAY + timedelta(pick.randrange(-1, 3)), label="line", amount=amount, resolution=bills.find_resolution(amount),
        model=model if kind else None, kind=kind, tier=pick.choice(_TIERS), own=pick.random() < 0.7,
        key=pick.choice(("a", "b", None)),
    )  # fmt: skip


def make_usage(pick: random.Random) -> BillUsage:
    return BillUsage(
        day=_DAY + timedelta(pick.randrange(-1, 4)), model=pick.choice(_MODELS), tier=pick.choice(_TIERS),
        own=pick.random() < 0.7, requests=pick.choice((None, pick.randrange(5))),
        amounts={kind: pick.randrange(1, 2000) for kind in pick.sample(_KINDS, 2)},
    )  # fmt: skip


def make_row(pick: random.Random) -> LedgerRow:
    return LedgerRow(
        at=_START + pick.uniform(-90_000, 300_000), latency_ms=pick.choice((None, 5000.0, 9e6)), provider="p", kind="llm",
        state=pick.choice(("done", "done", "failed", "lost", "open", "hit")), model=pick.choice(("a", "b", "c")),
        served=pick.choice((None, "a-2026-01-01", "b")), count=pick.choice((1, 1, 5)),
        cost=pick.choice((None, 0, pick.randrange(10**9))), reserved=pick.randrange(10**8), uncertain=pick.random() < 0.2,
        estimated=pick.random() < 0.2, input_tokens=pick.randrange(3000), output_tokens=pick.randrange(900),
        cached_tokens=pick.randrange(5000), cache_write_tokens=pick.randrange(3000),
        cache_write_12h_tokens=pick.randrange(3000), audio_input_tokens=pick.randrange(100),
        image_output_tokens=pick.randrange(100), characters=pick.choice((0, 50)),
        tier=pick.choice((None, "default", "batch", "priority")),
    )  # fmt: skip


def test_the_causes_of_any_ledger_and_any_bill_sum_to_the_difference() -> None:
    seen: set[str] = set()
    for seed in range(_ROUNDS):
        pick = random.Random(seed)  # noqa: S311 - no secret
        bill = Bill(
            lines=[make_line(pick) for _ in range(pick.randrange(12))],
            usage=[make_usage(pick) for _ in range(pick.randrange(8))],
        )
        rows = [make_row(pick) for _ in range(pick.randrange(20))]
        read_at = _START + pick.uniform(0, 10 * 86_400)
        result = reconcile(rows, bill, since=_DAY, until=_DAY + timedelta(3), read_at=read_at)
        billed = [line.amount for line in bill.lines if _DAY <= line.day < result.until]
        assert result.billed == sum(billed), seed
        assert sum(cause.amount for cause in result.causes) == result.difference, seed
        for row in result.rows:
            assert sum(row.causes.values()) == row.billed - row.booked, (seed, row)
        seen |= {cause.name for cause in result.causes}
    assert seen >= {"other_keys", "cancelled", "lost", "fees", "no_usage", "not_billed", "late", "unbooked"}


def test_a_request_in_progress_may_be_billed_up_to_its_reservation() -> None:
    row = LedgerRow(at=_START + 3600, state="open", kind="llm", provider="p", model="b", reserved=2_000_000)
    line = BillLine(day=_DAY, label="b, input", amount=Decimal("0.003"), model="b", kind=bills.INPUT)
    usage = BillUsage(day=_DAY, model="b", amounts={bills.INPUT: 100})
    result = reconcile(
        [row],
        Bill(lines=[line], usage=[usage]),
        since=_DAY,
        until=_DAY + timedelta(1),
        read_at=_START + 10**6,
    )
    assert result.booked == 0
    amounts = {cause.name: (cause.amount, cause.requests) for cause in result.causes}
    assert amounts == {"open": (Decimal("0.002"), 1), "unbooked": (Decimal("0.001"), None)}
