"""The scripts of the rate limits on a real Redis, by a clock that the test moves, against a model of the law."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from hashlib import sha1
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore.support.limit_values import (
    BURST_S,
    LimitScope,
    PermitAnswer,
    PermitRequest,
    PermitReturn,
    ProcessReport,
    ScopeReport,
)
from llmcore.types import Duration
from llmcore_cache_redis import rate_limits
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing.redis_server import RedisServer, find_redis_server
from tests.kits.limits import check_windows

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")

CLOCK = b"return tonumber(redis.call('GET', 'clock'))"
REAL = b"return (time[1] - EPOCH) * 1000000 + time[2]"


class Fleet:
    """Processes that share one limit, and the clock of the server."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.cache = RedisCache(RedisOptions(url=server.url, limit_timeout=Duration(60)))
        self.now = 0.0
        self.calls = 0
        self.set_clock(1000.0)

    def set_clock(self, now: float) -> None:
        self.now = now
        self.server.ask("SET", "clock", str(round(now * 1e6)))

    def advance(self, seconds: float) -> None:
        self.set_clock(self.now + seconds)

    def reset(self) -> None:
        self.server.ask("FLUSHALL")
        self.set_clock(1000.0)

    def ask(
        self,
        *scopes: LimitScope,
        tokens: int = 0,
        patience: float = 1e6,
        lease: float = 20.0,
        again: tuple[str, PermitAnswer] | None = None,
        debts: tuple[float, float] | None = None,
        process: str = "p",
        known: int = 0,
    ) -> tuple[str, PermitAnswer]:
        self.calls += 1
        name, arrived = (f"{process}:{self.calls}", 0) if again is None else (again[0], again[1].arrived)
        request = PermitRequest(
            name, "openai", scopes, tokens, patience, lease, arrived, (debts,) * len(scopes), known
        )
        return name, self.cache.request_permit(request, 60)

    def read_debt(self) -> float:
        """Return the debt of tokens in seconds, which the script keeps."""
        full_at = float(self.server.ask("HGET", "llmcore:default:rate:{openai}:state", "t"))
        return max(0.0, full_at / 1e6 - self.now)

    def end(self, name: str, scope: LimitScope, tokens: int, ticket: int, unused: int) -> None:
        self.cache.return_permits([PermitReturn(name, "openai", (scope,), tokens, ticket, unused)])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
def fleet(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    load = rate_limits.load_script

    def load_with_clock(name: str) -> Any:
        text = load(name).text
        assert REAL in text
        text = text.replace(REAL, CLOCK)
        return type(load(name))(text, sha1(text, usedforsecurity=False).hexdigest().encode())

    monkeypatch.setattr(rate_limits, "load_script", load_with_clock)
    made = Fleet(server)
    made.reset()
    yield made
    made.cache.close()


@st.composite
def histories(draw: st.DrawFn) -> tuple[float, list[tuple[bool, float, int, int, int]]]:
    """Return a rate in tokens a second, and steps: begin or end a call, after a pause, with tokens, index and percent."""
    per_s = draw(st.sampled_from([10, 1000]))
    step = st.tuples(
        st.booleans(),
        st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.9, 3.0]),
        st.one_of(st.integers(0, per_s), st.integers(0, per_s * 3)),
        st.integers(0, 20),
        st.integers(1, 100),
    )
    return per_s, draw(st.lists(step, min_size=4, max_size=25))


def compute_debt(taken: list[tuple[float, float]], per_s: float, now: float) -> float:
    """Return the debt in seconds if each call had taken only these units."""
    full_at = float("-inf")
    for at, units in taken:
        full_at = max(full_at, at) + units / per_s
    return max(0.0, full_at - now)


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(history=histories())
def test_no_window_exceeds_the_rate_and_refunds_are_those_of_the_model(
    fleet: Fleet, history: tuple[float, list[tuple[bool, float, int, int, int]]]
) -> None:
    per_s, steps = history
    scope = LimitScope("openai", None, per_s * 60.0)
    fleet.reset()
    taken: list[list[Any]] = []  # time, units, name, ticket or 0
    reserved: list[tuple[float, float]] = []
    for begins, pause, units, index, percent in steps:
        fleet.advance(pause)
        if begins:
            asked = fleet.ask(scope, tokens=units)
            while not asked[1].granted:  # the only one that waits: it is granted when its wait is over
                assert asked[1].wait_s is not None
                fleet.advance(asked[1].wait_s)
                asked = fleet.ask(scope, tokens=units, again=asked)
            taken.append([fleet.now, units, asked[0], asked[1].ticket])
            reserved.append((fleet.now, units))
        elif open_calls := [call for call in taken if call[3]]:
            call = open_calls[index % len(open_calls)]
            unused = call[1] * percent // 100
            fleet.end(call[2], scope, call[1], call[3], unused)
            call[1], call[3] = call[1] - unused, 0
        if taken:
            exact = compute_debt([(at, used) for at, used, *_ in taken], per_s, fleet.now)
            assert exact - 1e-4 <= fleet.read_debt() <= compute_debt(reserved, per_s, fleet.now) + 1e-4
    burst = max(BURST_S * per_s, max((units for _, units in reserved), default=0), 1)
    check_windows([(at, units) for at, units, *_ in taken], per_s, burst + 1e-3 * per_s)


def test_a_refund_is_at_most_what_a_younger_call_found(fleet: Fleet) -> None:
    scope = LimitScope("openai", None, 600.0)
    first, answer = fleet.ask(scope, tokens=9)
    assert fleet.ask(scope, tokens=0)[1].granted  # finds a debt of 0.9 s
    fleet.advance(0.8)
    assert fleet.ask(scope, tokens=5)[1].granted  # finds 0.1 s, and none if the first call had not been
    fleet.end(first, scope, 9, answer.ticket, 9)
    assert fleet.read_debt() == pytest.approx(0.5)


def test_two_refunds_are_together_at_most_what_a_younger_call_found(fleet: Fleet) -> None:
    scope = LimitScope("openai", None, 600.0)
    calls = [fleet.ask(scope, tokens=4) for _ in range(2)]
    fleet.advance(0.7)
    assert fleet.ask(scope, tokens=2)[1].granted  # finds a debt of 0.1 s
    for name, answer in calls:
        fleet.end(name, scope, 4, answer.ticket, 4)
    assert fleet.read_debt() == pytest.approx(0.2)


def test_an_unused_reservation_is_given_back(fleet: Fleet) -> None:
    scope = LimitScope("openai", None, 600.0)
    name, answer = fleet.ask(scope, tokens=10)
    assert answer.granted
    assert answer.debts_s == ((0.0, 1.0),)
    waiting = fleet.ask(scope, tokens=10)
    assert waiting[1].wait_s == pytest.approx(1.0)
    fleet.end(name, scope, 10, answer.ticket, 10)
    assert fleet.ask(scope, tokens=10, again=waiting)[1].granted
    fleet.end(name, scope, 10, answer.ticket, 10)  # the same refund again would exceed the rate
    assert not fleet.ask(scope, tokens=10)[1].granted


def test_a_call_that_used_more_than_it_reserved_delays_the_next(fleet: Fleet) -> None:
    scope = LimitScope("openai", None, 600.0)
    name, answer = fleet.ask(scope, tokens=1)
    fleet.end(name, scope, 1, answer.ticket, -50)
    assert fleet.ask(scope, tokens=1)[1].wait_s == pytest.approx(4.2, abs=0.01)


def test_calls_are_served_in_the_order_in_which_they_arrived(fleet: Fleet) -> None:
    scope = LimitScope("openai", None, 600.0)
    assert fleet.ask(scope, tokens=10)[1].granted
    large = fleet.ask(scope, tokens=10)
    fleet.advance(0.5)
    small = fleet.ask(scope, tokens=1)
    assert not small[1].granted  # there is room for it, but the large one came first
    assert not fleet.ask(scope, tokens=1, patience=0.1)[1].granted
    assert (
        fleet.server.ask("ZCARD", "llmcore:default:rate:{openai}:queue") == 2
    )  # the last one did not join it
    fleet.advance(0.5)
    assert not fleet.ask(scope, tokens=1, again=small)[1].granted
    assert fleet.ask(scope, tokens=10, again=large)[1].granted
    fleet.advance(0.1)
    assert fleet.ask(scope, tokens=1, again=small)[1].granted


@pytest.mark.parametrize("rates", [(6000.0,), (None, 60_000.0)], ids=["requests", "tokens"])
def test_callers_that_all_wait_use_up_the_rate_again_after_a_pause(fleet: Fleet, rates: Any) -> None:
    scope = LimitScope("openai", *rates)
    while fleet.ask(scope, tokens=10, patience=0.0)[1].granted:
        pass
    waiting = [fleet.ask(scope, tokens=10) for _ in range(8)]
    fleet.advance(1.0)  # the bucket is full again, and the queue is not empty
    callers = [(fleet.now, number, again) for number, again in enumerate(waiting)]
    ends, calls, granted = fleet.now + 5, fleet.calls, 0
    while callers[0][0] < ends:
        now, number, again = heapq.heappop(callers)
        fleet.set_clock(now)
        while (again := fleet.ask(scope, tokens=10, again=None if again[1].granted else again))[1].granted:
            granted += 1
        heapq.heappush(callers, (now + again[1].pause_s, number, again))
    assert 550 < granted <= 600, "a burst of 100, and 100 calls a second"
    assert fleet.calls - calls < 5 * granted, "they do not ask all the time"


def test_a_waiting_call_that_does_not_return_delays_no_other_call(fleet: Fleet) -> None:
    scope = LimitScope("openai", 60.0)
    assert fleet.ask(scope)[1].granted
    gone = fleet.ask(scope)
    fleet.advance(1.0)
    late = fleet.ask(scope)
    assert not late[1].granted
    fleet.advance(gone[1].pause_s + 2.0)
    assert fleet.ask(scope, again=late)[1].granted


def test_a_call_that_waits_for_its_model_holds_only_this_model_up(fleet: Fleet) -> None:
    provider, model = LimitScope("openai", 6000.0), LimitScope("openai:slow", 1.0)
    assert fleet.ask(model, provider)[1].granted
    refused = fleet.ask(model, provider)[1]
    assert not refused.granted
    assert refused.wait_s == pytest.approx(60.0)
    assert fleet.ask(provider)[1].granted
    assert fleet.ask(LimitScope("openai:other", 1.0), provider)[1].granted


def test_slots_end_with_their_lease_unless_they_are_renewed(fleet: Fleet) -> None:
    scope = LimitScope("openai", concurrency=2)
    first, second = fleet.ask(scope)[0], fleet.ask(scope)[0]
    waiting = fleet.ask(scope)
    assert (waiting[1].granted, waiting[1].wait_s) == (False, None)
    fleet.advance(15)
    report = ProcessReport("p", "openai", (ScopeReport(scope, (second,)),), 20.0)
    assert fleet.cache.report_process(report) == 1
    assert not fleet.ask(scope, again=waiting)[1].granted
    fleet.advance(6)  # the lease of the first call has ended
    assert fleet.ask(scope, again=waiting)[1].granted
    assert not fleet.ask(scope)[1].granted
    fleet.end(first, scope, 0, 1, 0)  # it returns too late, and frees the slot of no other call
    assert not fleet.ask(scope)[1].granted
    fleet.end(second, scope, 0, 1, 0)
    fleet.advance(3)  # the two that asked once do not come back
    assert fleet.ask(scope)[1].granted


def test_a_server_that_lost_its_data_grants_slots_after_all_processes_have_reported(fleet: Fleet) -> None:
    scope = LimitScope("openai", concurrency=2)

    def report(process: str, known: int, *held: str) -> int:
        scopes = (ScopeReport(scope, held),)
        return fleet.cache.report_process(ProcessReport(process, "openai", scopes, 20.0, known))

    assert (report("p", 0), report("q", 0)) == (1, 2)
    held = [fleet.ask(scope, known=2) for _ in range(2)]
    fleet.server.ask("FLUSHALL")
    fleet.set_clock(fleet.now)
    waiting = fleet.ask(scope, process="q", known=2)
    assert (waiting[1].granted, waiting[1].wants_report) == (False, True)
    assert not fleet.ask(scope, process="new", patience=0.0)[1].granted
    assert fleet.ask(LimitScope("openai:other", 60.0), process="q", known=2)[1].granted, "it needs no slot"
    assert report("q", 2) == 1
    waiting = fleet.ask(scope, process="q", known=1, again=waiting)
    assert (waiting[1].granted, waiting[1].wants_report) == (False, False)
    assert report("p", 2, *(name for name, _ in held)) == 2
    assert not fleet.ask(scope, process="q", known=2, again=waiting)[1].granted
    fleet.end(held[0][0], scope, 0, held[0][1].ticket, 0)
    assert fleet.ask(scope, process="q", known=2, again=waiting)[1].granted


def test_a_process_that_ended_with_the_server_delays_slots_for_one_lease(fleet: Fleet) -> None:
    scope = LimitScope("openai", concurrency=2)
    assert fleet.cache.report_process(ProcessReport("p", "openai", (), 20.0, 2)) == 1
    assert not fleet.ask(scope, known=1)[1].granted
    fleet.advance(19.0)
    assert not fleet.ask(scope, known=1)[1].granted
    fleet.advance(1.1)
    assert fleet.ask(scope, known=1, patience=0.0)[1].wait_s is None, "behind those that do not come back"
    fleet.advance(3.0)
    assert fleet.ask(scope, known=1)[1].granted


def test_a_process_counts_until_its_report_is_old(fleet: Fleet) -> None:
    def report(name: str, lease: float = 20.0) -> int:
        return fleet.cache.report_process(ProcessReport(name, "openai", (), lease))

    assert [report("a"), report("b"), report("a"), report("c")] == [1, 2, 2, 3]
    assert report("b", 0.0) == 2
    fleet.advance(30)
    assert report("d") == 1


def test_a_server_that_lost_its_data_learns_from_the_next_call(fleet: Fleet) -> None:
    scope = LimitScope("openai", 60.0, 600.0)
    assert fleet.ask(scope, tokens=100)[1].granted
    assert fleet.ask(scope, tokens=0, debts=(0.0, 99.0))[1].wait_s == pytest.approx(9.0)  # not lost
    fleet.reset()
    assert fleet.ask(scope, tokens=0, debts=(0.5, 8.0))[1].wait_s == pytest.approx(7.0)
    fleet.reset()
    empty = fleet.ask(scope, tokens=1, debts=(0.0, 0.0))[1]
    assert empty.wait_s == pytest.approx(1.0)  # others may have used what this process does not know
    fleet.reset()
    tokens = LimitScope("openai", None, 600.0)
    assert fleet.ask(tokens, tokens=5, debts=(0.0, 0.0))[1].wait_s == pytest.approx(0.5)
    fleet.reset()
    assert fleet.ask(scope, tokens=1)[1].granted  # a process that has not used the scope lately


def test_a_refund_of_a_time_before_the_data_were_lost_has_no_effect(fleet: Fleet) -> None:
    scope = LimitScope("openai", None, 600.0)
    name, answer = fleet.ask(scope, tokens=10)
    fleet.server.ask("FLUSHALL")
    fleet.set_clock(fleet.now + 0.1)
    for unused in (5, -5):
        fleet.end("p:other", scope, 10, answer.ticket, unused)
    assert fleet.server.ask("EXISTS", "llmcore:default:rate:{openai}:state") == 0
    assert fleet.ask(scope, tokens=0, debts=(0.0, 0.0))[1].granted
    assert fleet.read_debt() == pytest.approx(1.0)
    fleet.end(name, scope, 10, answer.ticket, 10)
    assert fleet.read_debt() == pytest.approx(1.0)


def test_a_server_that_lost_its_data_learns_what_a_process_knows(fleet: Fleet) -> None:
    scope = LimitScope("openai", 60.0, 600.0)
    assert fleet.ask(scope, tokens=100)[1].granted
    fleet.server.ask("FLUSHALL")
    fleet.set_clock(fleet.now)
    fleet.cache.report_process(
        ProcessReport("p", "openai", (ScopeReport(scope, (), (1.0, 10.0), (2.0, 0.5)),), 20.0)
    )
    assert fleet.ask(scope, tokens=0)[1].wait_s == pytest.approx(9.5)
    assert fleet.ask(LimitScope("openai", 60.0))[1].wait_s == pytest.approx(3.0 + 1.0)  # behind the one above


def test_a_clock_that_is_set_back_lets_no_call_wait_for_hours(fleet: Fleet) -> None:
    scope = LimitScope("openai", 60.0, None, 1)
    first = fleet.ask(scope)
    fleet.set_clock(fleet.now - 500)
    refused = fleet.ask(scope)
    assert not refused[1].granted
    assert refused[1].wait_s == pytest.approx(1.0)
    fleet.end(first[0], scope, 0, first[1].ticket, 0)
    fleet.advance(1.0)
    assert fleet.ask(scope, again=refused)[1].granted


def test_the_server_may_forget_the_scripts(fleet: Fleet) -> None:
    scope = LimitScope("openai", 6000.0, None, 1)
    for _ in range(2):
        fleet.server.ask("SCRIPT", "FLUSH")
        name, answer = fleet.ask(scope)
        assert answer.granted
        fleet.server.ask("SCRIPT", "FLUSH")
        fleet.end(name, scope, 0, answer.ticket, 0)


def test_the_keys_end_by_themselves(fleet: Fleet) -> None:
    scope = LimitScope("openai", 60.0, 600.0, 1)
    fleet.ask(scope)
    fleet.ask(scope)
    fleet.cache.report_process(ProcessReport("p", "openai", (), 20.0))
    keys = [key for key in fleet.server.ask("KEYS", "*") if key != "clock"]
    assert len(keys) == 5
    assert all(0 < fleet.server.ask("PTTL", key) <= 90_000 for key in keys)
