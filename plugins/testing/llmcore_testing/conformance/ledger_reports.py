"""The part of the ledger kit that tests reports, rows of batches, pruning and API keys."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest

from llmcore.support.ledger_rows import LedgerRow, ReportQuery, RowQuery
from llmcore.support.ledger_sums import SUM_ATTEMPT, parse_period
from llmcore.support.ledger_values import ApiKey
from llmcore_testing.conformance.ledger_calls import ALL, NANO, TIMEOUT_S, LedgerCalls, limit, make_request

__all__ = ["ReportTests"]

_MIDNIGHT: Final = 1_799_971_200.0
"""2027-01-15T00:00:00Z."""
_EDGE: Final = _MIDNIGHT + 18 * 3600
"""18:00 UTC of the same day, which is midnight in a time zone 6 hours east of UTC."""


class ReportTests(LedgerCalls):
    """Tests the methods that no call of a model uses: reports, rows of batches, pruning and API keys."""

    def test_a_batch_is_recorded_once_and_counted(self) -> None:
        request = make_request(0, limit(ALL, 100))
        self.settle(request, self.reserve(request), requested=False)
        rows = [
            LedgerRow(
                at=time.time(), state="hit", count=3, kind="llm", provider="p", model="a", cost=0, saved=6
            ),
            LedgerRow(at=time.time(), state="done", kind="llm", provider="p", model="a", cost=4, tags=("x",)),
        ]
        for _ in range(2):
            self.do("record", "batch one", rows, [], TIMEOUT_S)
        assert [(row.state, row.count, row.cost, row.tags) for row in self.rows()] == [
            ("hit", 3, 0, ()),
            ("done", 1, 4, ("x",)),
        ]
        assert self.read() == {ALL: (4, 0)}
        self.do("record", "batch two", rows[1:], ["batch one"], TIMEOUT_S)
        assert self.read() == {ALL: (8, 0)}

    def test_rows_are_filtered_and_ordered(self) -> None:
        for number, (model, user) in enumerate((("a", "ann"), ("b", None), ("a", None))):
            request = make_request(0, model=model, user=user)
            self.settle(request, self.reserve(request), cost=number * NANO)
        costs = [row.cost for row in self.rows()]
        assert costs == [0, 1, 2]
        assert [row.cost for row in self.rows(newest_first=True, limit=2)] == [2, 1]
        assert [row.cost for row in self.rows(filters={"model": "a", "user": ""})] == [2]
        assert [row.cost for row in self.rows(filters={"model": "p:a"})] == [0, 2]
        found = [row.cost for row in self.rows(filters={"model": "b"}, limit=1)]
        assert found == [1], "limit must count only the rows that match the filters"
        assert self.rows(states=("open",)) == []
        assert self.rows(until=self.rows()[0].at) == []

    def test_rows_that_are_added_meanwhile_do_not_block_a_reader(self) -> None:
        for _ in range(2):
            self.reserve(make_request(0))
        reader = self._ledger.iterate_rows(RowQuery(), TIMEOUT_S)
        next(reader)
        self.reserve(make_request(0))
        assert len(list(reader)) >= 1
        assert len(self.rows()) == 3

    def test_sums_by_several_dimensions(self) -> None:
        for model, cost, uncertain, tags in (
            ("a", 5, False, ("x", "y")),
            ("a", 7, True, ()),
            ("b", 2, False, ("x",)),
        ):
            request = make_request(9, model=model, tags=tags)
            self.settle(request, self.reserve(request), cost=cost * NANO, uncertain=uncertain)
        self.do(
            "record",
            "hits",
            [LedgerRow(at=time.time(), state="hit", count=4, kind="llm", provider="p", model="a", saved=8)],
            [],
            TIMEOUT_S,
        )
        found = self.do("aggregate", ReportQuery(dimensions=("model",)), TIMEOUT_S)
        sums = [(row.key, row.requests, row.cached, row.cost, row.uncertain, row.saved) for row in found]
        assert sums == [(("p:a",), 2, 4, 5, 7, 8), (("p:b",), 1, 0, 2, 0, 0)]
        found = self.do("aggregate", ReportQuery(dimensions=("tag", "total")), TIMEOUT_S)
        assert [(row.key, row.cost) for row in found] == [
            (("", "all"), 0),
            (("x", "all"), 7),
            (("y", "all"), 5),
        ]

    def test_failures_are_requests_too(self) -> None:
        for error in (None, "unavailable ServerUnavailable"):
            request = make_request(9)
            self.settle(request, self.reserve(request), cost=0 * NANO, error=error)
        (found,) = self.do("aggregate", ReportQuery(dimensions=("total",)), TIMEOUT_S)
        assert (found.requests, found.failures) == (2, 1), (
            "requests must include the failed ones, and failures must count them"
        )

    def test_weeks_begin_on_monday(self) -> None:
        sunday = 1_800_000_000.0 + 2 * 86400  # 2027-01-17
        rows = [
            LedgerRow(at=at, state="done", kind="llm", provider="p", model="a", cost=1)
            for at in (sunday, sunday + 86400)
        ]
        self.do("record", "two weeks", rows, [], TIMEOUT_S)
        found = self.do("aggregate", ReportQuery(dimensions=("week",)), TIMEOUT_S)
        assert [row.key for row in found] == [(2976,), (2977,)], "a week must end on Sunday"

    def test_days_and_hours_are_those_of_the_offset(self) -> None:
        at = 1_800_000_000.0  # 2027-01-15T08:00:00Z
        row = LedgerRow(at=at, state="done", kind="llm", provider="p", model="a", cost=1)
        self.do("record", "one", [row], [], TIMEOUT_S)
        dimensions = ("month", "week", "day", "hour")
        for hours in (0, -9, 16):
            query = ReportQuery(dimensions=dimensions, offsets=((0, hours * 3600),))
            (found,) = self.do("aggregate", query, TIMEOUT_S)
            day = 20_833 + (-1 if hours == -9 else 1 if hours == 16 else 0)
            assert found.key == ("2027-01", (day + 3) // 7, day, at), f"{hours} hours ahead of UTC"

    def test_pruned_rows_stay_counted(self) -> None:
        request, pending = make_request(9, limit(ALL, 100)), make_request(5, limit(ALL, 100))
        self.settle(request, self.reserve(request), cost=9 * NANO)
        self.reserve(pending)
        assert self.do("prune", time.time() + 3600, TIMEOUT_S) == 1
        assert sorted(row.state for row in self.rows()) == ["done", "open"]
        assert self.read() == {ALL: (9, 5)}

    def test_the_sums_of_pruned_rows_stay(self) -> None:
        base = LedgerRow(
            at=0.0, state="done", kind="llm", provider="p", model="a", cost=3, input_tokens=2, latency_ms=9.0
        )
        changes: list[dict[str, Any]] = [
            {}, {"cost": 4}, {"cost": None}, {"state": "failed", "cost": 0, "error": "LC401 Unavailable"},
            {"user": "ann", "tags": ("x", "y")}, {"cost": 5, "uncertain": True, "state": "lost"},
            {"state": "hit", "count": 7, "cost": 0, "saved": 2}, {"at": _EDGE}, {"at": _EDGE + 3600.0},
            {"at": _EDGE + 7200.0},
        ]  # fmt: skip
        rows = [msgspec.structs.replace(base, **{"at": _EDGE - 3600.0, **change}) for change in changes]
        self.do("record", "one", rows, [], TIMEOUT_S)
        queries = [
            ReportQuery(dimensions=dimensions, filters=filters)
            for dimensions in (("total",), ("day", "model"), ("user",), ("tag",), ("error",))
            for filters in ({}, {"user": "ann"}, {"tag": "x"})
        ]
        queries.append(ReportQuery(dimensions=("total",), since=_EDGE, until=_EDGE + 7200.0))
        before = [self.do("aggregate", query, TIMEOUT_S) for query in queries]
        assert self.do("read_pruned", TIMEOUT_S) == []
        assert self.do("prune", _EDGE + 7200.5, TIMEOUT_S, (_EDGE,)) == 9
        assert [self.do("aggregate", query, TIMEOUT_S) for query in queries] == before
        assert self.do("prune", _EDGE + 7200.5, TIMEOUT_S, (_EDGE,)) == 0
        assert [self.do("aggregate", query, TIMEOUT_S) for query in queries] == before
        assert list(self.do("read_pruned", TIMEOUT_S)) == [
            (_MIDNIGHT, _EDGE), (_EDGE, _EDGE + 7200.0)
        ]  # fmt: skip
        found = [row for row in self.rows() if row.attempt == SUM_ATTEMPT]
        assert len(found) == 7
        assert [(row.at, row.count, row.cost, row.input_tokens) for row in found if row.at == _EDGE] == [
            (_EDGE, 2, 6, 4)
        ]
        assert {parse_period(row.call) for row in found} == {(_MIDNIGHT, _EDGE), (_EDGE, _EDGE + 7200.0)}

    def test_keys_are_stored_and_revoked(self) -> None:
        self._skip_without_keys()
        key = ApiKey(
            name="ann", id="1f", digest=b"\0\xff", budget=Decimal("0.5"), models=("a", "b"), created_at=1.0
        )
        assert self.do("insert_key", key, TIMEOUT_S) is True
        assert list(self.do("read_keys", TIMEOUT_S)) == [key]
        assert self.do("insert_key", key, TIMEOUT_S) is False, (
            "insert_key must return False if the name has a valid key"
        )
        self.do("revoke_key", "ann", 5.0, TIMEOUT_S)
        self.do("revoke_key", "ann", 9.0, TIMEOUT_S)
        assert [each.revoked_at for each in self.do("read_keys", TIMEOUT_S)] == [5.0]

    def test_a_revoked_key_stays_revoked_and_frees_its_name(self) -> None:
        self._skip_without_keys()
        self.do("insert_key", ApiKey(name="ann", id="1f", digest=b"x", created_at=1.0), TIMEOUT_S)
        self.do("revoke_key", "ann", 5.0, TIMEOUT_S)
        self._ledger.close()
        (key,) = self.do("read_keys", TIMEOUT_S)
        assert key.revoked_at == 5.0, "a restart must not make a revoked key valid"
        again = ApiKey(name="ann", id="2f", digest=b"y", created_at=9.0)
        assert self.do("insert_key", again, TIMEOUT_S) is True, (
            "insert_key must accept the name of a revoked key"
        )

    def test_the_requests_of_a_key_are_limited(self) -> None:
        self._skip_without_keys()
        self.do("insert_key", ApiKey(name="ann", id="1f", digest=b"x", created_at=1.0), TIMEOUT_S)
        waits = [self.do("take_request", "1f", 3600.0, 7200.0, TIMEOUT_S) for _ in range(3)]
        assert waits[:2] == [0.0, 0.0]
        assert 0 < waits[2] <= 3600

    def _skip_without_keys(self) -> None:
        if not callable(getattr(self._ledger, "read_keys", None)):
            pytest.skip(f"{type(self._ledger).__name__} keeps no API keys")
