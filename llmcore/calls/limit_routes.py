"""The scopes of a call in a shared store of rate limits, and the last known state of each scope.

A scope is the calls that share one rule of [limits]: the calls of a model, or the calls of a provider.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from llmcore.calls.limits import find_rules
from llmcore.config import LimitRule
from llmcore.support.limit_values import REMEMBERED_S, LimitScope, ScopeReport

__all__ = ["Route", "Routes", "ScopeState", "divide", "keep_concurrency", "make_reports"]


class _Held(Protocol):
    id: str
    route: Route | None


class ScopeState:
    """The last known state of one scope. Each pair is a value for requests and a value for tokens."""

    def __init__(self, scope: LimitScope) -> None:
        self.scope = scope
        self.full_at = (float("-inf"), float("-inf"))
        """The times at which the scope's buckets will be full again. The store reported them at the time `seen_at`."""
        self.seen_at = float("-inf")
        self.spent_until = [0.0, 0.0]
        """The times at which this process's share of each limit is full again.

        Only calls during an outage take from the share.
        """

    def record(self, debts_s: tuple[float, float], now: float) -> None:
        """Record a report of the store: the seconds until each bucket is full."""
        self.full_at = now + debts_s[0], now + debts_s[1]
        self.seen_at = now

    def get_debts(self, now: float) -> tuple[float, float] | None:
        """Return the seconds until each bucket is full, by the last report; None if the store may have forgotten the scope."""
        if now > max(self.seen_at, *self.full_at) + REMEMBERED_S:
            return None
        requests, tokens = self.full_at
        return max(0.0, requests - now), max(0.0, tokens - now)

    def spend(self, tokens: int, processes: int, now: float) -> None:
        """Record a call that was granted without the store."""
        rates = (self.scope.requests_per_minute, self.scope.tokens_per_minute)
        for index, (rate, units) in enumerate(zip(rates, (1, tokens), strict=True)):
            if rate is not None:
                begin = max(now, self.spent_until[index])
                self.spent_until[index] = begin + units * processes * 60.0 / rate


class Route(msgspec.Struct, frozen=True):
    """The scopes that count the calls of one model: a scope of the model, a scope of its provider, or both."""

    provider: str
    model: str
    states: tuple[ScopeState, ...]
    scopes: tuple[LimitScope, ...]
    has_tokens: bool
    has_slots: bool


class Routes:
    """The routes of all models that this process has called."""

    def __init__(self, rules: Mapping[str, LimitRule]) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._scopes: dict[str, ScopeState] = {}
        self._routes: dict[tuple[str, str], Route | None] = {}

    def find(self, provider: str, model: str) -> Route | None:
        """Return the route of the model; None if no rule applies."""
        try:
            return self._routes[provider, model]
        except KeyError:
            pass
        with self._lock:
            own, shared = find_rules(self._rules, provider, model)
            rules = [(f"{provider}:{model}", own), (provider, shared)]
            states = tuple(self._get_scope(name, rule) for name, rule in rules if rule is not None)
            route = self._routes[provider, model] = _make_route(provider, model, states) if states else None
            return route

    def list_scopes(self, provider: str | None = None) -> list[ScopeState]:
        """Return the scopes of *provider*, or all scopes."""
        return [
            state
            for name, state in list(self._scopes.items())
            if provider is None or name.partition(":")[0] == provider
        ]

    def _get_scope(self, name: str, rule: LimitRule) -> ScopeState:
        if name not in self._scopes:
            self._scopes[name] = ScopeState(LimitScope(name, *msgspec.structs.astuple(rule)))
        return self._scopes[name]


def _make_route(provider: str, model: str, states: tuple[ScopeState, ...]) -> Route:
    scopes = tuple(state.scope for state in states)
    return Route(
        provider,
        model,
        states,
        scopes,
        has_tokens=any(scope.tokens_per_minute for scope in scopes),
        has_slots=any(scope.concurrency for scope in scopes),
    )


def keep_concurrency(rule: LimitRule, processes: int) -> LimitRule:
    """Return a rule that limits only concurrent calls: the slots of *rule*, divided by *processes*.

    If *processes* is 0, return a rule without limits.
    """
    if processes and rule.concurrency:
        return LimitRule(concurrency=max(1, rule.concurrency // processes))
    return LimitRule()


def divide(rule: LimitRule, processes: int) -> LimitRule:
    """Return a rule that limits only the rates: those of *rule*, divided by *processes*."""
    return LimitRule(
        requests_per_minute=rule.requests_per_minute and rule.requests_per_minute / processes,
        tokens_per_minute=rule.tokens_per_minute and rule.tokens_per_minute / processes,
    )


def make_reports(
    states: Sequence[ScopeState], held: Sequence[_Held], now: float, processes: int | None
) -> tuple[ScopeReport, ...]:
    """Return the reports on the scopes of a provider: for each scope, the calls of *held* that have slots.

    After an outage, *processes* is the number by which the limits were divided during the outage. The reports then also
    contain the requests and tokens that this process used in the outage. Otherwise, *processes* is None.
    """
    reports = []
    for state in states:
        ids = tuple(
            permit.id for permit in held if permit.route is not None and state in permit.route.states
        ) if state.scope.concurrency else ()  # fmt: skip
        debts = spent = (0.0, 0.0)
        if processes is not None:
            debts = state.get_debts(now) or debts
            requests, tokens = (max(0.0, at - now) / processes for at in state.spent_until)
            spent = requests, tokens
        if ids or processes is not None:
            reports.append(ScopeReport(state.scope, ids, debts, spent))
    return tuple(reports)
