"""Stores of rate limits, correct and broken on purpose; test_conformance_rate_limits.py runs this file."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from llmcore.support.limit_values import (
    LimitScope,
    PermitAnswer,
    PermitRequest,
    PermitReturn,
    ProcessReport,
    ScopeReport,
)
from llmcore_testing import RateLimitConformance

PAUSE_S = 600.0
PATIENCE_S = 30.0


class Place:
    """What the instances on one server share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.full_at: dict[tuple[str, str], float] = {}
        self.slots: dict[str, dict[str, float]] = {}
        self.queues: dict[str, dict[str, tuple[int, float]]] = {}
        self.processes: dict[tuple[str, str], float] = {}
        self.numbers = itertools.count(1)
        self.readers: set[int] = set()
        self.read = threading.Condition()


class Limits:
    """Correct: buckets, slots and queues in memory."""

    pause_s: ClassVar[float] = PAUSE_S

    def __init__(self, place: Place | None = None) -> None:
        self.place = Place() if place is None else place

    def open_again(self) -> Limits:
        return type(self)(self.place)

    def close(self) -> None:
        """Do nothing."""

    def request_permit(self, request: PermitRequest, timeout: float) -> PermitAnswer:
        del timeout
        with self.place.lock:
            return self.decide(request, time.monotonic())

    def decide(self, request: PermitRequest, now: float) -> PermitAnswer:
        arrived = request.arrived or next(self.place.numbers)
        waits = [self.find_wait(scope, request, arrived, now) for scope in request.scopes]
        if any(wait is None or wait > 0 for wait in waits):
            known = [wait for wait in waits if wait is not None]
            wait_s = max(known) if len(known) == len(waits) else None
            if wait_s is None or wait_s <= request.patience_s:
                for scope in request.scopes:
                    self.place.queues.setdefault(scope.name, {})[request.id] = arrived, now + 2 * self.pause_s
            return PermitAnswer(granted=False, wait_s=wait_s, pause_s=self.pause_s, arrived=arrived)
        for scope in request.scopes:
            self.take(scope, request, now)
        return PermitAnswer(granted=True, ticket=next(self.place.numbers), arrived=arrived)

    def find_wait(self, scope: LimitScope, request: PermitRequest, arrived: int, now: float) -> float | None:
        """Return the seconds until this scope allows the request; None if another call must end first."""
        ahead = [
            place
            for name, (place, until) in self.place.queues.get(scope.name, {}).items()
            if until > now and name != request.id and self.is_before(place, arrived)
        ]
        if scope.concurrency is not None:
            slots = self.place.slots.setdefault(scope.name, {})
            held = [name for name, until in slots.items() if until > now and name != request.id]
            if len(held) + len(ahead) >= scope.concurrency:
                return None
        waits = [0.0]
        for what, rate, units in self.list_rates(scope, request):
            interval = 60 / rate
            burst = max(1.0, interval)
            ready = self.place.full_at.get((scope.name, what), now)
            waits.append(ready - now if units * interval >= burst else ready + units * interval - burst - now)
        return max(waits)

    def is_before(self, place: int, arrived: int) -> bool:
        return place < arrived

    def list_rates(self, scope: LimitScope, request: PermitRequest) -> list[tuple[str, float, int]]:
        rates = (
            ("requests", scope.requests_per_minute, 1),
            ("tokens", scope.tokens_per_minute, request.tokens),
        )
        return [(what, rate, units) for what, rate, units in rates if rate is not None and units]

    def take(self, scope: LimitScope, request: PermitRequest, now: float) -> None:
        self.place.queues.get(scope.name, {}).pop(request.id, None)
        for what, rate, units in self.list_rates(scope, request):
            key = scope.name, what
            self.place.full_at[key] = max(self.place.full_at.get(key, now), now) + units * 60 / rate
        if scope.concurrency is not None:
            self.place.slots.setdefault(scope.name, {})[request.id] = now + request.lease_s

    def return_permits(self, returns: Sequence[PermitReturn]) -> None:
        with self.place.lock:
            for ended in returns:
                for scope in ended.scopes:
                    self.free(scope, ended)

    def free(self, scope: LimitScope, ended: PermitReturn) -> None:
        self.place.queues.get(scope.name, {}).pop(ended.id, None)
        self.place.slots.get(scope.name, {}).pop(ended.id, None)
        if scope.tokens_per_minute and ended.unused:
            key = scope.name, "tokens"
            self.place.full_at[key] = (
                self.place.full_at.get(key, 0.0) - ended.unused * 60 / scope.tokens_per_minute
            )

    def report_process(self, report: ProcessReport) -> int:
        with self.place.lock:
            now = time.monotonic()
            for each in report.scopes:
                for held in each.held:
                    self.place.slots.setdefault(each.scope.name, {})[held] = now + report.lease_s
            self.place.processes[report.provider, report.process] = now + report.lease_s
            return max(
                1,
                sum(
                    until > now and name == report.provider
                    for (name, _), until in self.place.processes.items()
                ),
            )


class OnASlowMachine(Limits):
    """Correct. The machine stops once before a report, until the leases have ended, and once before a queue moves on."""

    pause_s = 0.2

    def __init__(self, place: Place | None = None) -> None:
        super().__init__(place)
        self.stops = {"report_process", "return_permits"}

    def stop(self, what: str, seconds: float) -> None:
        if what in self.stops:
            self.stops.remove(what)
            time.sleep(seconds)

    def report_process(self, report: ProcessReport) -> int:
        if report.scopes and report.scopes[0].held:
            self.stop("report_process", 0.6)
        with self.place.lock:  # a slot whose lease has ended is not renewed
            now = time.monotonic()
            scopes = tuple(
                ScopeReport(
                    each.scope,
                    tuple(name for name in each.held if self.place.slots[each.scope.name][name] > now),
                )
                for each in report.scopes
            )
            return super().report_process(
                ProcessReport(report.process, report.provider, scopes, report.lease_s)
            )

    def return_permits(self, returns: Sequence[PermitReturn]) -> None:
        self.stop("return_permits", 0.5)
        super().return_permits(returns)


class GrantsEverything(Limits):
    """stefanprodan/AspNetCoreRateLimit#83: the counter is written back late, so each caller finds room."""

    def find_wait(self, scope: LimitScope, request: PermitRequest, arrived: int, now: float) -> float | None:
        return 0.0 if scope.requests_per_minute else super().find_wait(scope, request, arrived, now)


class TokensAreFree(Limits):
    """Counts requests alone."""

    def list_rates(self, scope: LimitScope, request: PermitRequest) -> list[tuple[str, float, int]]:
        return super().list_rates(scope, request)[: 1 if scope.requests_per_minute else 0]


class KeepsUnusedTokens(Limits):
    """Ignores what a call did not use."""

    def free(self, scope: LimitScope, ended: PermitReturn) -> None:
        super().free(
            scope,
            PermitReturn(ended.id, ended.provider, ended.scopes, ended.tokens, ended.ticket),
        )


class TakesBeforeItRefuses(Limits):
    """ulule/limiter#2: looks and takes in several steps, so a refused request has taken a part."""

    def decide(self, request: PermitRequest, now: float) -> PermitAnswer:
        for scope in request.scopes:
            wait = self.find_wait(scope, request, request.arrived or 1 << 60, now)
            if wait is None or wait > 0:
                return super().decide(request, now)
            if len(request.scopes) > 1:
                self.take(scope, request, now)
        return (
            super().decide(request, now) if len(request.scopes) == 1 else PermitAnswer(granted=True, ticket=1)
        )


class ModelsShareALimit(Limits):
    """Counts each provider as one, also for limits of a model."""

    def find_wait(self, scope: LimitScope, request: PermitRequest, arrived: int, now: float) -> float | None:
        return super().find_wait(self.widen(scope, request), request, arrived, now)

    def take(self, scope: LimitScope, request: PermitRequest, now: float) -> None:
        super().take(self.widen(scope, request), request, now)

    @staticmethod
    def widen(scope: LimitScope, request: PermitRequest) -> LimitScope:
        return LimitScope(
            request.provider, scope.requests_per_minute, scope.tokens_per_minute, scope.concurrency
        )


class FreesASlotForEachReturn(Limits):
    """Counts slots, so a repeated return frees another call's."""

    def free(self, scope: LimitScope, ended: PermitReturn) -> None:
        slots = self.place.slots.get(scope.name, {})
        if slots and ended.id not in slots:
            slots.popitem()
        super().free(scope, ended)


class ServesTheLast(Limits):
    """The newest caller goes first."""

    def is_before(self, place: int, arrived: int) -> bool:
        return place > arrived


class ServesTheLastSlowly(ServesTheLast):
    """The newest caller goes first, on a machine that always asks again too late."""

    pause_s = 0.01

    def request_permit(self, request: PermitRequest, timeout: float) -> PermitAnswer:
        try:
            return super().request_permit(request, timeout)
        finally:
            time.sleep(2 * self.pause_s)


class KeepsWhoLeft(Limits):
    """A call that has stopped waiting holds back the others until its place ends."""

    def free(self, scope: LimitScope, ended: PermitReturn) -> None:
        place = self.place.queues.get(scope.name, {}).get(ended.id)
        super().free(scope, ended)
        if place is not None:
            self.place.queues[scope.name][ended.id] = place


class SlotsNeverEnd(Limits):
    """mbg/wai-rate-limit#7: the expiry is not set, so the slot of a process that died stays taken."""

    def take(self, scope: LimitScope, request: PermitRequest, now: float) -> None:
        super().take(scope, request, now)
        if scope.concurrency is not None:
            self.place.slots[scope.name][request.id] = float("inf")


class IgnoresRenewals(Limits):
    """A call that takes longer than its lease loses its slot, although its process is alive."""

    def report_process(self, report: ProcessReport) -> int:
        bare = ProcessReport(report.process, report.provider, (), report.lease_s)
        return super().report_process(bare)


class CountsWhoLeft(Limits):
    """A process that leaves counts until its last lease ends, so the others use less than their share."""

    def report_process(self, report: ProcessReport) -> int:
        kept = ProcessReport(report.process, report.provider, report.scopes, report.lease_s or 3600.0)
        return super().report_process(kept)


class CountsReports(Limits):
    """Counts each report as another process."""

    def report_process(self, report: ProcessReport) -> int:
        name = f"{report.process} {next(self.place.numbers)}" if report.lease_s else report.process
        return super().report_process(ProcessReport(name, report.provider, report.scopes, report.lease_s))


class LooksThenTakes(Limits):
    """seanxiesx/redis_rate_limiter#8: all callers look before the first one takes."""

    def request_permit(self, request: PermitRequest, timeout: float) -> PermitAnswer:
        del timeout
        now = time.monotonic()
        with self.place.lock:
            waits = [self.find_wait(scope, request, 0, now) for scope in request.scopes]
        with self.place.read:
            self.place.readers.add(threading.get_ident())
            self.place.read.notify_all()
            self.place.read.wait_for(lambda: len(self.place.readers) > 5, PATIENCE_S)
        with self.place.lock:
            if any(wait is None or wait > 0 for wait in waits):
                return self.decide(request, now)
            for scope in request.scopes:
                self.take(scope, request, now)
            return PermitAnswer(granted=True, ticket=1)


class LimitsEachInstance(Limits):
    """nccapo/rate-limiter#18: the counters are in the memory of one process."""

    def open_again(self) -> Limits:
        return type(self)()


class Kit(RateLimitConformance):
    backend: type[Limits] = Limits
    lacks = ("fork",)  # they are in memory

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def provider(self) -> Limits:
        return self.backend()

    @pytest.fixture
    def twin(self, provider: Limits) -> Limits:
        return provider.open_again()


class TestLimits(Kit):
    """Correct."""


class TestOnASlowMachine(Kit):
    backend = OnASlowMachine


_BROKEN: list[type[Limits]] = [ServesTheLastSlowly, *Limits.__subclasses__()]
_BROKEN.remove(OnASlowMachine)
for _backend in _BROKEN:
    globals()[f"Test{_backend.__name__}"] = type(
        f"Test{_backend.__name__}", (Kit,), {"backend": _backend, "expiry_timeout_s": 2.0}
    )
