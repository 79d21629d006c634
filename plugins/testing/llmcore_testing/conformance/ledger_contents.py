"""The part of the kit of ledgers that tests what a row, a report and a budget contain."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from llmcore.support.ledger_owners import make_owner
from llmcore.support.ledger_rows import LedgerRow, ReportQuery, ReportRow
from llmcore.support.ledger_values import Outcome, Scope, Settlement
from llmcore.types import Usage
from llmcore_testing.conformance.ledger_calls import (
    ALL,
    NANO,
    TIMEOUT_S,
    LedgerCalls,
    limit,
    make_request,
    open_again,
)
from llmcore_testing.conformance.optional_tests import requires

__all__ = ["LedgerContents"]

_USAGE: Final = Usage(
    input_tokens=1001, output_tokens=1002, cached_tokens=13, cache_write_tokens=14, cache_write_12h_tokens=5, reasoning_tokens=16,
    audio_input_tokens=17, audio_output_tokens=18, image_input_tokens=19, image_output_tokens=20,
)  # fmt: skip
_OUTCOME: Final = Outcome(
    cost=30 * NANO, cost_source="server", usage=_USAGE, characters=21, model="served", tier="batch", request_id="req-1",
    latency_s=0.25, first_token_s=0.125,
)  # fmt: skip
_ROW: Final = LedgerRow(at=0.0, state="done", kind="llm", provider="p", model="a")
_CLAIMERS: Final = 8


class LedgerContents(LedgerCalls):
    """Tests that a ledger stores, selects and sums every field."""

    def test_an_open_row_has_the_whole_charge(self) -> None:
        owner = make_owner("run", time.time() + 3600)
        request = make_request(70, user="ann", tags=("x", "y"), characters=5, owner=owner)
        charge = msgspec.structs.replace(request.charge, kind="voice", attempt=2, tier="flex")
        self.reserve(msgspec.structs.replace(request, charge=charge))
        (row,) = self.rows()
        found = (row.kind, row.provider, row.model, row.call, row.attempt, row.tier_asked, row.characters)
        assert found == ("voice", "p", "a", charge.call, 2, "flex", 5), (
            "an open row must have the fields of its charge"
        )
        assert row.owner == owner, (
            "LedgerRow.owner must be Charge.owner, or a later process cannot settle the row"
        )

    def test_a_closed_row_has_the_whole_outcome(self) -> None:
        request = make_request(70, characters=40)
        reserved = self.reserve(request)
        self.do("settle", [Settlement(request, reserved.row, reserved.at, _OUTCOME)], TIMEOUT_S)
        (row,) = self.rows()
        wanted = msgspec.structs.asdict(_USAGE)
        found = {name: getattr(row, name) for name in wanted if hasattr(row, name) and name != "cost"}
        assert found == {name: wanted[name] for name in found}, "a row must have the tokens of Outcome.usage"
        texts = (row.cost_source, row.served, row.tier, row.request_id, row.characters, row.reserved)
        assert texts == ("server", "served", "batch", "req-1", 21, 70), (
            "a row must have the fields of its Outcome"
        )
        assert (row.latency_ms, row.first_token_ms) == (250.0, 125.0), (
            "latency_ms and first_token_ms must be in milliseconds"
        )

    def test_a_report_sums_each_number(self) -> None:
        now = time.time()
        first = {"input_tokens": 1, "output_tokens": 20, "cached_tokens": 300, "reasoning_tokens": 4000}
        changes: list[dict[str, Any]] = [
            {**first, "cost": 5, "characters": 7}, {"cost": 6, "input_tokens": 2}, {"cost": None}, {"state": "failed", "cost": None},
            {"state": "lost", "cost": 8, "uncertain": True, "characters": 50}, {"state": "lost", "cost": None, "uncertain": True},
            {"state": "hit", "count": 7, "cost": 0, "saved": 2},
        ]  # fmt: skip
        self.do(
            "record",
            "all",
            [msgspec.structs.replace(_ROW, at=now, **each) for each in changes],
            [],
            TIMEOUT_S,
        )
        self.reserve(make_request(100, characters=900))
        found = self.do("aggregate", ReportQuery(dimensions=("total",)), TIMEOUT_S)
        wanted = ReportRow(
            key=("all",), requests=7, failures=1, cached=7, unsettled=3, input_tokens=3, output_tokens=20, cached_tokens=300,
            reasoning_tokens=4000, characters=7, cost=11, uncertain=8, saved=2, unpriced=2,
        )  # fmt: skip
        differences = {
            name: (getattr(found[0], name), getattr(wanted, name))
            for name in wanted.__struct_fields__
            if getattr(found[0], name) != getattr(wanted, name)
        }
        assert not differences, f"a report must have the sums of its rows, got (found, right): {differences}"

    def test_rows_and_reports_are_selected_by_time_and_each_filter(self) -> None:
        now = float(int(time.time()))
        rows = [
            msgspec.structs.replace(_ROW, at=now - 20, cost=1),
            msgspec.structs.replace(_ROW, at=now - 10, cost=2, kind="voice", provider="q", tags=("x",)),
            msgspec.structs.replace(_ROW, at=now, cost=4, state="failed", error="LC401 Unavailable"),
        ]
        self.do("record", "three", rows, [], TIMEOUT_S)
        selections: list[tuple[dict[str, Any], list[int]]] = [
            ({"since": now - 10}, [2, 4]), ({"until": now - 10}, [1]), ({"since": now - 10, "until": now}, [2]),
            ({"filters": {"kind": "voice"}}, [2]), ({"filters": {"provider": "q"}}, [2]), ({"filters": {"tag": "x"}}, [2]),
            ({"filters": {"tag": ""}}, [1, 4]), ({"filters": {"error": "LC401 Unavailable"}}, [4]),
            ({"filters": {"kind": "voice", "provider": "p"}}, []),
        ]  # fmt: skip
        for selection, costs in selections:
            assert [row.cost for row in self.rows(**selection)] == costs, (
                f"iterate_rows must return only the matching rows with {selection}"
            )
            query = ReportQuery(dimensions=("total",), **selection)
            assert [row.cost for row in self.do("aggregate", query, TIMEOUT_S)] == (
                [sum(costs)] if costs else []
            ), f"aggregate must sum only the matching rows with {selection}"

    def test_a_new_counter_includes_open_rows(self) -> None:
        self.reserve(make_request(7))
        self.reserve(make_request(5, limit(ALL, 100)))
        assert self.read() == {ALL: (0, 12)}, (
            "a new counter must be the sum of its rows, including the open rows"
        )

    def test_recorded_rows_count_in_every_unit(self) -> None:
        scope = Scope("total", unit="characters")
        request = make_request(0, limit(scope, 1000), limit(ALL, 1000))
        self.settle(request, self.reserve(request), requested=False)
        row = msgspec.structs.replace(_ROW, at=time.time(), kind="voice", cost=3, characters=40)
        self.do("record", "a speech", [row], [], TIMEOUT_S)
        assert self.read() == {ALL: (3, 0), scope: (40, 0)}, "record must add the cost and the characters"

    def test_budgets_are_sorted_by_their_text(self) -> None:
        scopes = [Scope("total", user="zoe"), ALL, Scope("total", model="p:a"), Scope("total", tag="x")]
        request = make_request(1, *(limit(scope, 100) for scope in scopes), user="zoe", tags=("x",))
        self.reserve(request)
        texts = [counter.text for counter in self.do("read_budgets", [], time.time(), TIMEOUT_S)]
        assert len(texts) == len(scopes)
        assert texts == sorted(texts), "read_budgets must sort the counters by their text"

    def test_of_several_threads_one_claims_an_alert(self) -> None:
        request = make_request(10, limit(ALL, 100))
        (counter,) = self.settle(request, self.reserve(request), cost=10 * NANO)
        with ThreadPoolExecutor(_CLAIMERS) as pool:
            claims = list(
                pool.map(lambda _: self._ledger.claim_alert(counter, 10, TIMEOUT_S), range(_CLAIMERS))
            )
        assert claims.count(True) == 1, (
            f"exactly one of {_CLAIMERS} threads must claim an alert, got {claims}"
        )

    @requires("opener")
    def test_two_instances_record_a_batch_once(self, opener: Callable[[], Any]) -> None:
        request = make_request(0, limit(ALL, 100))
        self.settle(request, self.reserve(request), requested=False)
        row = msgspec.structs.replace(_ROW, at=time.time(), cost=3)
        self.do("record", "one", [row], [], TIMEOUT_S)
        other = open_again(opener)
        self.do("record", "one", [row], [], TIMEOUT_S, ledger=other)
        other.close()
        assert len(self.rows()) == 1, "a batch that another process has recorded must change nothing"
        assert self.read() == {ALL: (3, 0)}, "a batch that another process has recorded must cost nothing"
