"""`RateLimitConformance`, the tests for a cache that shares rate limits among processes."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, ClassVar, Final

import pytest

from llmcore.support.limit_values import (
    LimitScope,
    PermitAnswer,
    PermitRequest,
    PermitReturn,
    ProcessReport,
    ScopeReport,
)
from llmcore_testing.conformance.base import Conformance
from llmcore_testing.conformance.caller import Caller
from llmcore_testing.conformance.optional_tests import for_ability, requires
from llmcore_testing.conformance.races import needs_fork, race_instances, race_processes

__all__ = ["RateLimitConformance"]

_TIMEOUT_S: Final = 60.0
_LONG_S: Final = 3600.0
_LEASES_S: Final = (0.5, 2.0, 30.0)
"""The lengths of short leases in seconds. If the machine stops for longer than one lease, the test tries the
next one."""
_ROUNDS: Final = 20
"""The maximum number of attempts. On a slow machine, waiting calls may lose their places in the queue, and the
test tries again."""
_SLOW: Final = 0.01
"""A rate in units per minute. The second unit comes after 100 minutes, so it cannot arrive during a test, even on a
slow machine."""
_QUICK: Final = 600.0
_numbers: Final = itertools.count(1)


class RateLimitConformance(Conformance):
    """Tests the contract `llmcore.contracts.CacheRateLimits`.

    Each test uses new scopes, so the store does not have to be empty.

    Override the fixture `twin` too. It returns a second instance on the same server, as another process would open it.
    """

    kind: ClassVar[str] = "store of rate limits"
    must: ClassVar[tuple[str, ...]] = ("request_permit",)
    example: ClassVar[str] = "MyCache(tmp_path)"
    expiry_timeout_s: ClassVar[float] = 60.0
    """The maximum time in seconds until a short lease has ended."""

    @pytest.fixture
    def twin(self, provider: Any) -> Any:  # noqa: ARG002 - overrides use `provider`
        """Return a second instance on the same server, as in another process."""
        return None

    @pytest.fixture(autouse=True)
    def _choose_provider(self) -> None:
        self.name = f"kit{secrets.token_hex(6)}"

    def test_a_rate_of_requests_is_kept(self) -> None:
        scope = self.scope(requests_per_minute=_SLOW)
        assert self.ask(scope).granted, "the first request of a new scope must be granted"
        refused = self.ask(scope)
        assert not refused.granted, "a second request must wait for the rate"
        assert refused.wait_s is not None, "a wait for a rate must be predicted in wait_s"
        assert 0 < refused.wait_s <= 60 / _SLOW + 1, (
            f"wait_s must be at most {60 / _SLOW} s, got {refused.wait_s}"
        )
        assert refused.pause_s > 0, "a refused call must be told in pause_s when to ask again"

    def test_a_burst_and_its_refill_are_all_that_is_granted(self) -> None:
        scope, began = self.scope(requests_per_minute=_QUICK), time.monotonic()
        calls = [("request_permit", self.make(scope, patience_s=0.0), _TIMEOUT_S) for _ in range(60)]
        granted = sum(answer.granted for answer in self.together(calls))
        most = (time.monotonic() - began + 1) * _QUICK / 60
        assert 1 <= granted <= most + 1, f"at most {most:.1f} requests may be granted, got {granted}"

    def test_a_rate_of_tokens_is_kept(self) -> None:
        scope = self.scope(tokens_per_minute=_SLOW)
        assert self.ask(scope, tokens=1).granted, "the first tokens of a new scope must be granted"
        assert not self.ask(scope, tokens=1).granted, "more tokens must wait for the rate"

    def test_unused_tokens_are_refunded(self) -> None:
        scope = self.scope(tokens_per_minute=_SLOW)
        request = self.make(scope, tokens=1)
        self.give_back(request, self.send(request), unused=1)
        assert self.ask(scope, tokens=1).granted, "refunded tokens must be available at once"

    def test_all_scopes_are_taken_or_none(self) -> None:
        whole, model = self.scope("", requests_per_minute=_SLOW), self.scope("a", requests_per_minute=_SLOW)
        assert self.ask(whole).granted
        assert not self.ask(model, whole, patience_s=0.0).granted, "the limit of the provider must refuse"
        assert self.ask(model).granted, "a refused request must take nothing from its other scopes"

    def test_providers_and_models_have_limits_of_their_own(self) -> None:
        first, second = (self.scope(model, requests_per_minute=_SLOW) for model in ("a", "b"))
        assert self.ask(first).granted
        assert self.ask(second).granted, "another model has its own limit"
        self.name += "x"
        assert self.ask(self.scope("a", requests_per_minute=_SLOW)).granted, (
            "another provider has its own limit"
        )

    def test_concurrency_is_limited_until_a_call_ends(self) -> None:
        scope = self.scope(concurrency=2)
        requests = [self.make(scope) for _ in range(3)]
        answers = [self.send(request) for request in requests]
        assert [answer.granted for answer in answers] == [True, True, False]
        assert answers[2].wait_s is None, "wait_s must be None for a call that waits for another one to end"
        self.give_back(requests[0], answers[0])
        self.give_back(requests[0], answers[0])
        again = self.send(self.again(requests[2], answers[2]))
        assert again.granted, "a returned permit must free its slot"
        assert not self.ask(scope).granted, "a permit that is returned twice must free one slot only"

    def test_waiting_calls_are_served_in_the_order_of_their_arrival(self) -> None:
        for turn in range(_ROUNDS):
            scope = self.scope(str(turn), concurrency=1)
            holder, first, second = (self.make(scope) for _ in range(3))
            held = self.send(holder)
            places = [self.send(request) for request in (first, second)]
            assert 0 < places[0].arrived < places[1].arrived, (
                "a later call must have a later place in the queue"
            )
            asked = time.monotonic()
            keeps_s = self.send(self.again(first, places[0])).pause_s
            self.give_back(holder, held)
            late, early = (self.send(self.again(*each)) for each in ((second, places[1]), (first, places[0])))
            if early.granted and not late.granted:
                return
            # On a slow machine, the first call may ask again too late and lose its place.
            has_place = time.monotonic() - asked < keeps_s
            assert not (has_place and late.granted), "the call that arrived first must be served first"
            assert not has_place, "the call that arrived first must be served next"
        pytest.fail(
            f"the call that arrived first must be served first, but was not in any of {_ROUNDS} rounds"
        )

    def test_a_call_that_stops_waiting_leaves_the_queue(self) -> None:
        scope = self.scope(concurrency=1)
        holder, leaver, last = (self.make(scope) for _ in range(3))
        held, left, place = (self.send(request) for request in (holder, leaver, last))
        self.give_back(leaver, left)
        self.give_back(holder, held)
        assert self.send(self.again(last, place)).granted, "a call that has left must not hold back the next"

    def test_a_slot_that_is_not_renewed_becomes_free(self) -> None:
        for lease_s in _LEASES_S:
            kept = self.scope(f"kept{lease_s:g}", concurrency=1)
            request, asked = self.make(kept, lease_s=lease_s), time.monotonic()
            assert self.send(request).granted
            self.report("p", ScopeReport(kept, (request.id,)))
            was_renewed = time.monotonic() - asked < lease_s  # otherwise the renewal may have come too late
            self._wait_for_the_end_of_a_lease(self.scope(f"lost{lease_s:g}", concurrency=1), lease_s)
            if not self.ask(kept).granted:
                return
            assert not was_renewed, "report_process must renew the slots that it names"
        pytest.fail(
            f"report_process must renew the slots that it names, but renewed no lease of {_LEASES_S} s"
        )

    def _wait_for_the_end_of_a_lease(self, scope: LimitScope, lease_s: float) -> None:
        """Take the only slot of *scope*, and wait until it is free. Older leases of *lease_s* have then ended, too."""
        __tracebackhide__ = True
        assert self.ask(scope, lease_s=lease_s).granted
        waiting = self.make(scope)
        answers = [self.send(waiting)]

        def ask_again() -> bool:
            if answers[-1].granted:
                return True
            answers.append(self.send(self.again(waiting, answers[-1])))
            return answers[-1].granted

        assert self._wait_until(ask_again, lease_s), (
            "a slot must become free after its lease, or a process that died blocks it for ever"
        )

    def test_living_processes_are_counted(self) -> None:
        scope = ScopeReport(self.scope(concurrency=1))
        assert self.report("one", scope) == 1
        assert self.report("two", scope) == 2
        assert self.report("one", scope) == 2, "a process that reports again counts once"
        self.report("one", scope, lease_s=0.0)
        assert self.report("two", scope) == 1, "a process that leaves must not count"

    def test_concurrent_calls_never_exceed_a_limit(self) -> None:
        scope = self.scope(concurrency=5)
        calls = [("request_permit", self.make(scope), _TIMEOUT_S) for _ in range(24)]
        granted = sum(answer.granted for answer in self.together(calls))
        assert granted == 5, f"5 of 24 concurrent calls must be granted, got {granted}"

    @requires("twin")
    def test_two_instances_share_a_limit(self, twin: Any) -> None:
        scope = self.scope(concurrency=5)
        calls = [("request_permit", self.make(scope), _TIMEOUT_S) for _ in range(24)]
        with closing(self.another(twin)) as other:
            answers = race_instances(self.caller, other, calls[:12], calls[12:])
        granted = sum(answer.granted for answer in answers)
        assert granted == 5, f"5 of 24 calls of two instances must be granted, got {granted}"

    @requires("twin")
    @for_ability("fork")
    @needs_fork
    def test_two_processes_share_a_limit(self, twin: Any) -> None:
        scope = self.scope(concurrency=5)
        calls = [("request_permit", self.make(scope), _TIMEOUT_S) for _ in range(24)]
        probe = ("request_permit", self.make(self.scope("probe", concurrency=1)), _TIMEOUT_S)
        mine, theirs = race_processes(self.caller, twin, probe, calls[:12], calls[12:])
        granted = sum(answer.granted for answer in mine) + sum("granted=True" in text for text in theirs)
        assert granted == 5, f"5 of 24 calls of two processes must be granted, got {granted}"

    # -- calls

    def scope(self, model: str = "m", **limits: Any) -> LimitScope:
        """Return the scope of *model* of this test's provider, or of the whole provider if *model* is empty."""
        return LimitScope(f"{self.name}:{model}" if model else self.name, **limits)

    def make(
        self, *scopes: LimitScope, tokens: int = 0, patience_s: float = _LONG_S * 10, lease_s: float = _LONG_S
    ) -> PermitRequest:
        """Return a request that no other test makes."""
        name = f"{self.name}:{next(_numbers)}"
        return PermitRequest(name, self.name, scopes, tokens, patience_s, lease_s)

    @staticmethod
    def again(request: PermitRequest, answer: PermitAnswer) -> PermitRequest:
        """Return the request of a call that has waited, with its place in the queue."""
        return PermitRequest(
            request.id, request.provider, request.scopes, request.tokens, request.patience_s, request.lease_s, answer.arrived
        )  # fmt: skip

    def send(self, request: PermitRequest) -> PermitAnswer:
        """Call `request_permit`, and check the type of the answer."""
        __tracebackhide__ = True
        answer = self.call("request_permit", request, _TIMEOUT_S)
        assert isinstance(answer, PermitAnswer), (
            f"request_permit must return a PermitAnswer, got {type(answer).__name__}"
        )
        return answer

    def ask(self, *scopes: LimitScope, **settings: Any) -> PermitAnswer:
        """Ask for a permit with a new request."""
        __tracebackhide__ = True
        return self.send(self.make(*scopes, **settings))

    def give_back(self, request: PermitRequest, answer: PermitAnswer, unused: int = 0) -> None:
        """Return the permit of *request*. If *answer* did not grant one, remove the request from the queue."""
        ended = PermitReturn(
            request.id, request.provider, request.scopes, request.tokens, answer.ticket, unused
        )
        self._call_plain("return_permits", [ended])

    def report(self, process: str, *scopes: ScopeReport, lease_s: float = _LONG_S) -> int:
        """Report the slots of a process, and return the number of living processes."""
        report = ProcessReport(f"{self.name}-{process}", self.name, scopes, lease_s)
        return int(self._call_plain("report_process", report))

    def _call_plain(self, name: str, *args: Any) -> Any:
        caller: Caller = self.caller
        method = getattr(caller.provider, name, None)
        assert callable(method), f"{type(caller.provider).__name__} has no method {name!r}"
        return caller.run_bounded(lambda: method(*args), name)

    def _wait_until(self, condition: Callable[[], bool], longer_s: float) -> bool:
        """Wait until *condition* holds, for at most `expiry_timeout_s` plus *longer_s* seconds.

        Return whether it holds.
        """
        deadline = time.monotonic() + self.expiry_timeout_s + longer_s
        while True:
            is_last = (
                time.monotonic() >= deadline
            )  # read the clock first, so that the condition is checked once more after the deadline
            if condition():
                return True
            if is_last:
                return False
            time.sleep(0.02)
