"""Rate limits that all processes share, on a store such as Redis: `[limits] shared = "redis"`.

Each call asks the store for a permit. The store counts by its own clock, keeps the queue of waiting calls, and says
when to ask again. A thread returns the permits of calls that have ended, and renews the permits of calls in progress. The
slots of a killed process become free when their lease ends.

If the store does not answer, each process uses its share of the rates. The share is the limit of a provider, divided
by the number of processes that used the provider at the last report. No call fails because the store does not answer.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Final

import msgspec

from llmcore import forks
from llmcore.calls.backend import Backend
from llmcore.calls.backend_call import with_timeout
from llmcore.calls.drivers import run
from llmcore.calls.limit_reporter import Reporter
from llmcore.calls.limit_routes import Route, Routes, divide, keep_concurrency, make_reports
from llmcore.calls.limits import Limits, Permit, compute_duration, make_refusal
from llmcore.calls.permits import NEVER
from llmcore.calls.steps import Act, Step, sleep
from llmcore.config import LimitRule
from llmcore.errors import LLMCoreError, RateLimited
from llmcore.interrupts import must_propagate
from llmcore.log import get_logger
from llmcore.support.limit_values import (
    PermitAnswer,
    PermitRequest,
    PermitReturn,
    ProcessReport,
)
from llmcore.types import RateLimits

__all__ = ["SharedLimits", "SharedPermit"]

_REPORTS: Final = 4
"""The number of reports during a lease."""
_PROBE_S: Final = 0.5
"""Seconds between two attempts to reach a store that does not answer."""
_SHORT_S: Final = 2.0
"""If a call has less time left, a timer ends its request to the store, because connecting may take longer."""
_LEAST_S: Final = 0.001
_IDLE_S: Final = 60.0
"""After this many seconds without a call, a process is not counted among those that share the limits."""


class SharedPermit(msgspec.Struct, eq=False):
    """A call's permission to send its request."""

    near: Permit
    """The permit of the `Limits` of this process, which apply the limits in the server's headers."""
    route: Route | None
    tokens: int
    id: str = ""
    """The name of the call in the store; empty if the call has not used the store."""
    ticket: int = 0
    """The store's ticket for the units that the call took; 0 if it took none."""
    share: tuple[Limits, Permit] | None = None
    """During an outage: the limits that are this process's share, and the permit that they granted."""
    released: bool = False


class SharedLimits:
    """The rate limits of one Core, shared by all processes that use the same store; see `RateLimiter`."""

    def __init__(
        self, rules: Mapping[str, LimitRule], backend: Backend, *, processes: int, lease_s: float
    ) -> None:
        """Use *rules*, as in `Limits`.

        Args:
            rules: See `Limits`.
            backend: A cache with the methods of `CacheRateLimits`.
            processes: The number of processes to assume until the store reports the number.
            lease_s: Seconds after which a slot becomes free if its process does not report.
        """
        self._rules = rules
        self._backend = backend
        self._processes = processes
        self._counts: Mapping[str, int] = {}
        """Provider -> the number of processes that use the provider, as the store last reported.

        The numbers do not change during an outage.
        """
        self._lease_s = lease_s
        self._reporter = Reporter(self._send, self._report)
        self._start()
        forks.watch(self)

    def after_fork(self) -> None:
        """Give the child its own identity and thread; the permits belong to the parent. See `forks.ForkAware`."""
        self._reporter.reset()
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._process = secrets.token_hex(8)
        self._numbers = count(1)
        self._share: Limits | None = None
        self._near = Limits(self._rules, adapt=self._keep_concurrency)
        self._retry_at = 0.0
        self._routes = Routes(self._rules)
        self._used: dict[str, float] = {}
        """Provider -> time of the last call."""
        self._known_until: dict[str, float] = {}
        """Provider -> the time at which the store forgets this process, unless the store loses its data earlier."""
        self._held: dict[str, SharedPermit] = {}
        """The calls that have slots in the store."""
        self._closed = False

    def acquire(self, provider: str, model: str, tokens: int, left: Callable[[], float]) -> Act[SharedPermit]:
        """See `Limits.acquire`."""
        route = self._routes.find(provider, model)
        near = yield from self._near.acquire(provider, model, tokens, left)
        permit = SharedPermit(near, route, tokens)
        if route is not None:
            try:
                yield from self._acquire(permit, route, left)
            except BaseException:
                self._leave(permit, route)
                raise
        return permit

    def release(self, permit: SharedPermit, tokens: int | None) -> None:
        """See `Limits.release`."""
        if permit.released:
            return
        permit.released = True
        self._near.release(permit.near, tokens)
        route = permit.route
        if permit.share is not None:
            permit.share[0].release(permit.share[1], tokens)
        is_held = self._held.pop(permit.id, None) is not None
        if route is None or not (permit.ticket or is_held):
            return
        counts_tokens = permit.ticket and route.has_tokens
        unused = permit.tokens - tokens if tokens is not None and counts_tokens else 0
        if unused or route.has_slots:
            self._post(permit, route, unused)

    def learn(self, provider: str, model: str, seen: RateLimits) -> None:
        """See `Limits.learn`."""
        self._near.learn(provider, model, seen)

    def compute_duration(self, loads: Mapping[tuple[str, str], tuple[int, int]]) -> float | None:
        """See `compute_duration`."""
        return compute_duration(self._rules, loads)

    def probe(self) -> None:
        """Send the store one report, to check that it answers.

        Raises:
            LLMCoreError: The store does not answer, or refuses.
        """
        run(_call(self._backend, "report_process", ProcessReport(self._process, "llmcore", (), 0.0)))

    def shut_down(self) -> Act[None]:
        """Return the remaining permits, tell the store that this process has ended, and close the backend."""
        self._closed = True
        self._reporter.wake()
        used, self._used, self._known_until = self._used, {}, {}
        if used and self._share is None:
            try:
                returns, _ = self._reporter.drain()
                if returns:
                    yield self._backend.require("return_permits")(returns)
                for provider in used:
                    yield self._backend.require("report_process")(
                        ProcessReport(self._process, provider, (), 0.0)
                    )
            except BaseException as error:
                if must_propagate(error):
                    raise
        close = self._backend.detach_close()
        if close is not None:
            yield close()

    # -- permits

    def _acquire(self, permit: SharedPermit, route: Route, left: Callable[[], float]) -> Act[None]:
        while True:
            share = self._share
            if share is not None and not self._reporter.start() and time.monotonic() >= self._retry_at:
                self._end_outage()  # no thread can be started to probe the store, so this call asks it
                continue
            ask = self._ask_store if share is None else partial(self._ask_share, share)
            if (yield from ask(permit, route, left)):
                return

    def _ask_share(
        self, share: Limits, permit: SharedPermit, route: Route, left: Callable[[], float]
    ) -> Act[bool]:
        """Take the permit from *share*. Return False if the outage may have ended."""
        try:
            taken = yield from share.acquire(route.provider, route.model, permit.tokens, left)
        except RateLimited:
            remaining = left()
            if share is self._share:
                if remaining <= 0:
                    raise
                # wait and ask again: the store may answer before the deadline
                yield sleep(min(_PROBE_S, remaining))
            return False
        if share is not self._share:
            share.release(taken, 0)
            return False
        permit.share = share, taken
        if route.has_slots:  # the first report after the outage lists the slot
            permit.id = permit.id or self._make_id()
            self._held[permit.id] = permit
        for state in route.states:
            state.spend(permit.tokens, self._count(route.provider), time.monotonic())
        return True

    def _ask_store(self, permit: SharedPermit, route: Route, left: Callable[[], float]) -> Act[bool]:
        """Ask until the store grants the permit. Return False if the store does not answer."""
        self._backend.limit_creation(left)
        ask = self._backend.require("request_permit")
        self._used[route.provider] = time.monotonic()
        self._reporter.start()
        permit.id = self._make_id()
        arrived = 0
        while True:
            remaining, now = left(), time.monotonic()
            request = PermitRequest(
                permit.id,
                route.provider,
                route.scopes,
                permit.tokens,
                max(0.0, remaining),
                self._lease_s,
                arrived,
                tuple(state.get_debts(now) for state in route.states),
                self._count_known(route.provider, now) if route.has_slots else 0,
            )
            step = ask(request, max(_LEAST_S, remaining))
            if remaining < _SHORT_S:
                step = with_timeout(self._backend, step, max(_LEAST_S, remaining))
            answer: PermitAnswer | None = None
            try:
                answer = yield step
            except BaseException as error:
                if must_propagate(error):
                    raise
                remaining = left()
                if remaining > 0:  # otherwise the deadline passed, which is not a failure of the store
                    self._begin_outage(error)
                    return False
            if answer is None:
                raise make_refusal(route.provider, f"{route.provider}:{route.model}", NEVER, remaining)
            if answer.granted:
                self._record(permit, route, answer)
                return True
            arrived = answer.arrived
            yield self._make_pause(answer, route, left())
            self._used[route.provider] = time.monotonic()
            if self._share is not None:
                return False

    def _make_pause(self, answer: PermitAnswer, route: Route, remaining: float) -> Step:
        """Return the pause of a refused call before it asks again.

        Raises:
            RateLimited: The wait would end after the deadline of the call.
        """
        if answer.wants_report:
            self._reporter.wake()
        wait = NEVER if answer.wait_s is None else answer.wait_s
        if remaining <= 0 or (answer.wait_s is not None and wait > remaining):
            raise make_refusal(route.provider, f"{route.provider}:{route.model}", wait, remaining)
        return sleep(max(0.0, min(answer.pause_s, remaining)))

    def _record(self, permit: SharedPermit, route: Route, answer: PermitAnswer) -> None:
        permit.ticket = answer.ticket
        if route.has_slots:
            self._held[permit.id] = permit
        now = time.monotonic()
        for state, debts in zip(route.states, answer.debts_s, strict=False):
            state.record(debts, now)

    def _leave(self, permit: SharedPermit, route: Route) -> None:
        """Return the permits of a call that fails before its request is sent."""
        if permit.released:
            return
        if permit.ticket or not permit.id:
            self.release(permit, 0)
            return
        permit.released = True
        self._near.release(permit.near, 0)
        self._post(permit, route, 0)  # removes the call if it waits in the store's queue

    def _make_id(self) -> str:
        return f"{self._process}:{next(self._numbers)}"

    def _post(self, permit: SharedPermit, route: Route, unused: int) -> None:
        if not permit.id.startswith(f"{self._process}:"):
            return  # in a forked child, the permit belongs to the parent
        self._reporter.post(
            PermitReturn(permit.id, route.provider, route.scopes, permit.tokens, permit.ticket, unused)
        )

    # -- outage

    def _begin_outage(self, error: BaseException) -> None:
        with self._lock:
            if self._share is not None:
                return
            now = time.monotonic()
            self._retry_at = now + _PROBE_S
            # if the store knows this process now, assume that the store still knows this process after the outage
            self._known_until = {name: math.inf for name, until in self._known_until.items() if now < until}
            self._share = Limits(self._rules, empty_since=now, adapt=self._divide)
        self._near.update_slots()
        text = error.message if isinstance(error, LLMCoreError) else type(error).__name__
        counts = sorted({self._count(provider) for provider in list(self._used)}) or [self._processes]
        part = " or ".join("the whole" if each == 1 else f"1/{each}" for each in counts) + " of each limit"
        get_logger(__name__).warning("rate limits are not shared: %s; this process uses %s", text, part)
        self._reporter.wake()

    def _end_outage(self) -> None:
        with self._lock:
            share, self._share = self._share, None
            if share is None:
                return
            for state in self._routes.list_scopes():
                state.spent_until = [0.0, 0.0]
        self._near.update_slots()
        share.lift()
        get_logger(__name__).info("rate limits are shared again")

    def _count(self, provider: str) -> int:
        """Return the number of processes that use *provider*."""
        return self._counts.get(provider, self._processes)

    def _count_known(self, provider: str, now: float) -> int:
        """Return the number for `PermitRequest.processes`: 0 if the store may have forgotten this process."""
        return self._counts.get(provider, 0) if now < self._known_until.get(provider, 0.0) else 0

    def _divide(self, provider: str, rule: LimitRule) -> LimitRule:
        return divide(rule, self._count(provider))

    def _keep_concurrency(self, provider: str, rule: LimitRule) -> LimitRule:
        return keep_concurrency(rule, 0 if self._share is None else self._count(provider))

    # -- in the reporter's thread

    def _send(self, returns: Sequence[PermitReturn]) -> None:
        if self._share is not None:
            # These permits are lost. That does no harm: a missing refund only makes the limit stricter, and a
            # slot becomes free after its lease.
            return
        try:
            run(_call(self._backend, "return_permits", returns))
        except BaseException as error:  # noqa: BLE001 - the thread must not end
            self._begin_outage(error)

    def _report(self) -> float | None:
        """Report to the store; see `Reporter`."""
        now = time.monotonic()
        held = list(self._held.values())
        busy = {permit.route.provider for permit in held if permit.route is not None}
        recent = {name for name, at in list(self._used.items()) if now - at < _IDLE_S}
        used = sorted(busy | recent)
        was_outage = self._share is not None
        if (self._closed and not held) or not (used or was_outage):
            return None
        counts = dict(self._counts)
        try:
            for provider in used:
                processes = self._count(provider) if was_outage else None
                scopes = make_reports(self._routes.list_scopes(provider), held, now, processes)
                known = self._count_known(provider, now)
                report = ProcessReport(self._process, provider, scopes, self._lease_s, known)
                counts[provider] = max(1, run(_call(self._backend, "report_process", report)))
                self._known_until[provider] = now + self._lease_s
        except BaseException as error:  # noqa: BLE001 - the thread must not end
            self._begin_outage(error)
            return _PROBE_S
        if was_outage:
            self._end_outage()
        # set this last: the reports on the outage need the numbers by which the limits were divided
        self._counts = counts
        return self._lease_s / _REPORTS


def _call(backend: Backend, method: str, *args: object) -> Act[int]:
    result: int = yield backend.require(method)(*args)
    return result
