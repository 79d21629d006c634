"""Ledger and bill: every difference has its cause, and the causes sum to the difference exactly."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmcore
from llmcore.ledger.reconciliation import Reconciliation
from llmcore_testing.simulator import Charge, Simulator
from tests.kits.bills import PRICES, Books, compute_price, make_books
from tests.kits.usage_rows import add_rows

VENDORS = ("openai", "anthropic")
CALLS = int(os.environ.get("LLMCORE_BILLED_CALLS", "300"))
"""The calls of one bill; 100,000 in the long form."""
_DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bills")


def open_core(
    folder: Path, upstream: Simulator, vendor: str, keys: tuple[str, ...] = ("key_1",)
) -> llmcore.Core:
    is_openai = vendor == "openai"
    ledger = folder / "ledger.sqlite3"
    ledger.unlink(missing_ok=True)
    return llmcore.load(
        {
            "ledger": {"path": str(ledger)},
            f"{vendor}_bill": {
                "admin_key": "sk-admin-1" if is_openai else "sk-ant-admin-1",
                "base_url": upstream.base_url if is_openai else upstream.url,
                "api_key_ids": list(keys),
            },
        }
    )


def compare(
    folder: Path, upstream: Simulator, vendor: str, books: Books, start: datetime, *,
    days: int = 3, keys: tuple[str, ...] = ("key_1",), read_at: float | None = None,
) -> Reconciliation:  # fmt: skip
    """Return the comparison of *books*, through a real ledger and the reports over HTTP."""
    upstream.reset()
    upstream.bill(books.charges)
    since, until = start.date(), (start + days * _DAY).date()
    with open_core(folder, upstream, vendor, keys) as core:
        add_rows(core, books.rows)
        reader = core.bill_reader(vendor)
        pages = [json.loads(page, parse_float=Decimal) for page in reader.fetch(since, until)]
        moment = (start + (days + 2) * _DAY).timestamp() if read_at is None else read_at
        return core.usage.reconcile(reader.parse(pages), [vendor], since=since, until=until, read_at=moment)


def get_amounts(result: Reconciliation) -> dict[str, Decimal]:
    assert sum((cause.amount for cause in result.causes), Decimal(0)) == result.difference
    for row in result.rows:
        assert sum(row.causes.values(), Decimal(0)) == row.billed - row.booked
    assert sum((row.billed for row in result.rows), Decimal(0)) == result.billed
    return {cause.name: cause.amount for cause in result.causes}


START = datetime(2026, 10, 24, tzinfo=UTC)
CENT = Decimal("0.01")
NOTHING = Decimal("1e-5")
"""USD by which the vendor's rounding of lines moves a cause at most."""


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_cent_has_its_cause(vendor: str, folder: Path, upstream: Simulator) -> None:
    books = make_books(CALLS, START.timestamp(), provider=vendor)
    result = compare(folder, upstream, vendor, books, START)
    amounts = get_amounts(result)
    assert result.unexplained == 0
    assert result.booked == sum((Decimal(row["cost"]).scaleb(-9) for row in books.rows), Decimal(0))
    assert amounts.keys() <= {"other_keys", "cancelled", "lost", "rounding"}
    assert abs(amounts["other_keys"] - books.truth["other_keys"]) < NOTHING
    unknown, truth = (
        sum((each[name] for name in ("cancelled", "lost")), Decimal(0)) for each in (amounts, books.truth)
    )
    assert abs(unknown - truth) < NOTHING
    assert abs(amounts.get("rounding", Decimal(0))) < NOTHING
    counts = {cause.name: cause.requests for cause in result.causes}
    assert (counts["cancelled"], counts["lost"]) == (books.counts["cancelled"], books.counts["lost"])
    if vendor == "openai":
        assert counts["other_keys"] == books.counts["other_keys"]


@pytest.mark.slow
@pytest.mark.parametrize("vendor", VENDORS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_causes_always_sum_to_the_difference(
    vendor: str, folder: Path, upstream: Simulator, data: st.DataObject
) -> None:
    share = st.sampled_from([0.0, 0.1, 0.5])
    books = make_books(
        data.draw(st.integers(1, 60)), START.timestamp(), provider=vendor, seed=data.draw(st.integers(0, 10**6)),
        cancelled=data.draw(share), lost=data.draw(share), others=data.draw(share), late=data.draw(share),
        factor=data.draw(st.sampled_from([Decimal(1), Decimal("0.5"), Decimal("1.013")])),
    )  # fmt: skip
    keys = data.draw(st.sampled_from([(), ("key_1",), ("key_1", "key_2"), ("key_9",)]))
    until = data.draw(st.sampled_from([1, 48, 120]))
    result = compare(
        folder, upstream, vendor, books, START, keys=keys, read_at=START.timestamp() + until * 3600
    )
    get_amounts(result)
    assert result.billed >= 0
    if not keys:
        assert "other_keys" not in get_amounts(result)


@pytest.mark.parametrize("vendor", VENDORS)
def test_another_price_is_named_with_its_models(vendor: str, folder: Path, upstream: Simulator) -> None:
    books = make_books(CALLS, START.timestamp(), provider=vendor, factor=Decimal("1.1"), cancelled=0, lost=0)
    result = compare(folder, upstream, vendor, books, START)
    amounts = get_amounts(result)
    assert abs(amounts["price"] - books.truth["price"]) < NOTHING
    (cause,) = [cause for cause in result.causes if cause.name == "price"]
    assert set(cause.parts) == {"model-a-2026-08-01", "model-b"}
    assert result.unexplained == 0
    for each in result.prices:
        assert each.names == (each.model.removesuffix("-2026-08-01"),)
        assert abs(each.factor - Decimal("1.1")) < Decimal("0.0001")
        for (
            kind,
            rate,
        ) in each.rates.items():  # a nano-dollar a token is a thousandth of a dollar for a million
            assert abs(rate - Decimal(PRICES[each.model][kind]) / 1000 * Decimal("1.1")) <= Decimal("0.0001")


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_is_not_billed_is_late_for_a_day_and_unexplained_afterwards(
    vendor: str, folder: Path, upstream: Simulator
) -> None:
    books = make_books(
        60, START.timestamp(), provider=vendor, days=1, late=0.3, cancelled=0, lost=0, others=0
    )
    at_once = compare(
        folder, upstream, vendor, books, START, days=1, read_at=(START + _DAY).timestamp() + 3600
    )
    assert at_once.incomplete == [START.date()]
    assert abs(get_amounts(at_once)["late"] - books.truth["late"]) < NOTHING
    assert at_once.unexplained == 0
    later = compare(folder, upstream, vendor, books, START, days=1)
    assert later.incomplete == []
    assert abs(get_amounts(later)["not_billed"] - books.truth["late"]) < NOTHING
    assert later.unexplained == -get_amounts(later)["not_billed"]


@pytest.mark.parametrize("vendor", VENDORS)
def test_another_client_with_the_same_key_is_not_in_the_ledger(
    vendor: str, folder: Path, upstream: Simulator
) -> None:
    books = make_books(CALLS, START.timestamp(), provider=vendor, others=0.1, cancelled=0, lost=0)
    result = compare(folder, upstream, vendor, books, START, keys=())
    assert abs(get_amounts(result)["unbooked"] - books.truth["other_keys"]) < NOTHING
    assert {total.key for total in result.keys} == {"key_1", "key_2"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_uncertain_request_never_explains_more_than_its_maximum(
    vendor: str, folder: Path, upstream: Simulator
) -> None:
    at = START.timestamp() + 60
    tokens = {"input": 1000, "output": 1000}
    cost = compute_price("model-b", tokens)
    books = Books()
    row = {"at": at, "call": "c", "attempt": 1, "kind": "llm", "provider": vendor, "model": "model-b",
           "state": "failed", "uncertain": 1, "cost": 1_000_000}  # fmt: skip
    books.rows.append(row)
    books.charges += [Charge(at=at, model="model-b", tokens=tokens, costs=cost)] * 2
    amounts = get_amounts(compare(folder, upstream, vendor, books, START))
    assert amounts == {"unbooked": 2 * sum(cost.values()) - Decimal("0.001")}  # billed at the maximum


@pytest.mark.parametrize("vendor", VENDORS)
def test_fees_and_unpriced_models_have_lines_of_their_own(
    vendor: str, folder: Path, upstream: Simulator
) -> None:
    at = START.timestamp() + 60
    tokens = {"input": 1000, "output": 10}
    books = Books()
    books.rows.append(
        {"at": at, "call": "c", "attempt": 1, "kind": "llm", "provider": vendor, "model": "model-b", "state": "done",
         "cost": None, "input_tokens": 1000, "output_tokens": 10}
    )  # fmt: skip
    books.charges += [
        Charge(at=at, model="model-b", tokens=tokens, costs=compute_price("model-b", tokens)),
        Charge(at=at, costs={"Web Search Usage": Decimal("0.25")}),
    ]
    result = compare(folder, upstream, vendor, books, START)
    assert get_amounts(result) == {
        "unpriced": sum(compute_price("model-b", tokens).values()),
        "fees": Decimal("0.25"),
    }
    assert [dict(cause.parts) for cause in result.causes if cause.name == "fees"] == [
        {"Web Search Usage": Decimal("0.25")}
    ]


def test_a_request_belongs_to_the_day_on_which_it_ended(folder: Path, upstream: Simulator) -> None:
    midnight = (START + _DAY).timestamp()
    tokens = {"input": 1000}
    cost = compute_price("model-b", tokens)
    books = Books()
    books.rows.append(
        {"at": midnight - 5, "latency_ms": 10_000.0, "call": "c", "attempt": 1, "kind": "llm", "provider": "openai",
         "model": "model-b", "state": "done", "cost": int(cost["input"].scaleb(9)), "input_tokens": 1000}
    )  # fmt: skip
    books.charges.append(Charge(at=midnight + 5, model="model-b", tokens=tokens, costs=cost))
    result = compare(folder, upstream, "openai", books, START)
    assert not result.causes
    assert result.difference == 0
    assert [row.day for row in result.rows] == [(START + _DAY).date()]


def make_call(at: float, latency_s: float = 5) -> tuple[dict[str, Any], Decimal]:
    """Return a row of a thousand tokens that ended at *at*, and its cost."""
    cost = sum(compute_price("model-b", {"input": 1000}).values(), Decimal(0))
    row = {"at": at - latency_s, "latency_ms": latency_s * 1000, "call": f"c{at}", "attempt": 1, "kind": "llm",
           "provider": "openai", "model": "model-b", "state": "done", "cost": int(cost.scaleb(9)), "input_tokens": 1000}  # fmt: skip
    return row, cost


@pytest.mark.parametrize(("counted", "requests"), [(1200, 1), (800, 1), (1200, 2)])
def test_other_counts_for_the_same_requests_are_no_other_client(
    counted: int, requests: int, folder: Path, upstream: Simulator
) -> None:
    at = START.timestamp() + 3600
    row, cost = make_call(at)
    amount = cost * counted / 1000
    books = Books(rows=[row])
    books.charges.append(
        Charge(at=at, model="model-b", tokens={"input": counted}, costs={"input": amount}, requests=requests)
    )
    result = compare(folder, upstream, "openai", books, START)
    assert get_amounts(result) == {"counts" if requests == 1 else "unbooked": amount - cost}
    assert result.unexplained == 0


def test_what_is_not_billed_is_first_what_has_no_price(folder: Path, upstream: Simulator) -> None:
    at = START.timestamp() + 3600
    row, cost = make_call(at)
    books = Books(rows=[row, row | {"at": at - 60, "call": "unpriced", "cost": None}])
    books.charges.append(
        Charge(at=at, model="model-b", tokens={"input": 1500}, costs={"input": cost * 3 / 2}, requests=2)
    )
    assert get_amounts(compare(folder, upstream, "openai", books, START)) == {"unpriced": cost / 2}


@pytest.mark.parametrize("delay_s", [-20, 20])
def test_a_request_near_midnight_may_be_billed_on_the_other_day(
    delay_s: int, folder: Path, upstream: Simulator
) -> None:
    midnight = (START + _DAY).timestamp()
    row, cost = make_call(midnight + delay_s)
    books = Books(rows=[row])
    books.charges.append(
        Charge(at=midnight - delay_s, model="model-b", tokens={"input": 1000}, costs={"input": cost})
    )
    result = compare(folder, upstream, "openai", books, START)
    assert get_amounts(result) == {}
    assert [dict(each.causes) for each in result.rows] == [
        {"shifted": -cost if delay_s < 0 else cost},
        {"shifted": cost if delay_s < 0 else -cost},
    ]
    one_day = compare(
        folder, upstream, "openai", books, START, days=1
    )  # the other side is outside of the period
    assert get_amounts(one_day) == {"shifted": -cost} if delay_s < 0 else {"unbooked": cost}


def test_only_requests_near_midnight_are_shifted(folder: Path, upstream: Simulator) -> None:
    midnight = (START + _DAY).timestamp()
    row, cost = make_call(midnight - 3600)
    books = Books(rows=[row])
    books.charges.append(
        Charge(at=midnight + 60, model="model-b", tokens={"input": 1000}, costs={"input": cost})
    )
    result = compare(folder, upstream, "openai", books, START)
    assert get_amounts(result) == {"unbooked": cost, "not_billed": -cost}
    assert result.unexplained == cost


def test_a_request_of_the_queue_may_be_billed_on_the_next_day(folder: Path, upstream: Simulator) -> None:
    """It is booked when it is sent, and no answer says when the vendor executed it."""
    rows = [make_call(START.timestamp() + hour * 3600, latency_s=0) for hour in (9, 18)]
    books = Books(rows=[row | {"tier": "batch", "latency_ms": None} for row, _ in rows])
    cost = rows[0][1]
    for day in range(2):  # the first one is billed on its day
        at = START.timestamp() + 12 * 3600 + day * _DAY.total_seconds()
        books.charges.append(
            Charge(at=at, model="model-b", tokens={"input": 1000}, costs={"input": cost}, tier="batch")
        )
    result = compare(folder, upstream, "openai", books, START)
    assert get_amounts(result) == {}
    assert [dict(each.causes) for each in result.rows] == [{"shifted": -cost}, {"shifted": cost}]
    assert get_amounts(compare(folder, upstream, "openai", books, START, days=1)) == {"shifted": -cost}
    assert get_amounts(compare(folder, upstream, "openai", books, START + _DAY, days=1)) == {"shifted": cost}


@pytest.mark.parametrize("vendor", VENDORS)
def test_tiers_are_compared_apart(vendor: str, folder: Path, upstream: Simulator) -> None:
    at = START.timestamp() + 60
    tokens = {"input": 1000, "output": 10}
    books = Books()
    for tier, factor in (("standard", Decimal(1)), ("batch", Decimal("0.5"))):
        cost = compute_price("model-b", tokens, factor)
        books.charges.append(Charge(at=at, model="model-b", tokens=tokens, costs=cost, tier=tier))
        books.rows.append(
            {"at": at, "call": tier, "attempt": 1, "kind": "llm", "provider": vendor, "model": "model-b", "state": "done",
             "cost": int(sum(cost.values(), Decimal(0)).scaleb(9)), "input_tokens": 1000, "output_tokens": 10, "tier": tier}
        )  # fmt: skip
    result = compare(folder, upstream, vendor, books, START)
    assert abs(sum(get_amounts(result).values(), Decimal(0))) < NOTHING
    assert {row.tier for row in result.rows} == {"standard", "batch"}


def test_pages_of_a_long_period_are_all_read(folder: Path, upstream: Simulator) -> None:
    for vendor in VENDORS:
        books = make_books(CALLS, START.timestamp(), provider=vendor, days=70)
        result = compare(folder, upstream, vendor, books, START, days=70)
        assert result.unexplained == 0
        assert get_amounts(result).keys() <= {"other_keys", "cancelled", "lost", "rounding"}
        assert upstream.counts["reports"] > len(("costs", "usage"))
