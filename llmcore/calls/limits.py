"""The rate limit of a provider or model: requests and tokens per minute, and concurrent calls.

Each rule has a token bucket (GCRA) for requests, and another token bucket for the model's tokens. A call takes its
units from the buckets of all matching rules in one step, or waits. Tokens that the reply does not use are refunded.
In any window of w seconds, calls take at most `rate * w` units plus a burst. The burst is the number of units that
the rate allows in one second, but at least one unit. The clock is monotonic. `Limits` counts only the calls of this
process; `shared_limits` counts the calls of all processes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from llmcore import forks
from llmcore.calls.permits import NEVER, ModelQueue, Permit, ProviderQueue
from llmcore.calls.steps import Act
from llmcore.config import LimitRule
from llmcore.errors import RateLimited
from llmcore.types import RateLimits

__all__ = ["Limits", "Permit", "RateLimiter", "compute_duration", "find_rules", "make_refusal"]

_FREE: Final = Permit(None, 0, granted=True, released=True)


class RateLimiter(Protocol):
    """The rate limits of one Core: `Limits` of one process, or `SharedLimits` of many."""

    def acquire(self, provider: str, model: str, tokens: int, left: Callable[[], float]) -> Act[Any]:
        """See `Limits.acquire`."""
        ...

    def release(self, permit: Any, tokens: int | None) -> None:
        """See `Limits.release`."""
        ...

    def learn(self, provider: str, model: str, seen: RateLimits) -> None:
        """See `Limits.learn`."""
        ...

    def compute_duration(self, loads: Mapping[tuple[str, str], tuple[int, int]]) -> float | None:
        """See `compute_duration`."""
        ...

    def shut_down(self) -> Act[None]:
        """Return the permits for which other processes wait, and stop the threads."""
        ...


class Limits:
    """The rate limits of one Core, shared by threads, tasks and event loops."""

    def __init__(
        self,
        rules: Mapping[str, LimitRule],
        *,
        clock: Callable[[], float] = time.monotonic,
        empty_since: float | None = None,
        adapt: Callable[[str, LimitRule], LimitRule] | None = None,
    ) -> None:
        """Use *rules*.

        The key of a rule is "provider", "provider:model", or "" for a rule that applies to each provider
        separately. With *empty_since*, the buckets start as if they had been empty at that time; otherwise
        they are full. *adapt* gets a
        provider and its rule, and returns the limit to use.
        """
        self._rules = rules
        self._clock = clock
        self._empty_since = empty_since
        self._adapt = adapt
        self._start()
        forks.watch(self)
        concurrency = max((rule.concurrency or 0 for rule in rules.values()), default=0)
        if concurrency:
            from llmcore.calls.worker_threads import allow_workers

            allow_workers(concurrency)

    def acquire(self, provider: str, model: str, tokens: int, left: Callable[[], float]) -> Act[Permit]:
        """Wait until the rate limits allow one request. Return a permit, which the caller must `release`.

        Args:
            provider: The provider's name, as in the rules.
            model: The model's name, as in the rules.
            tokens: The maximum number of tokens that the call can use; 0 if unknown.
            left: Returns the remaining seconds until the caller's deadline.

        Raises:
            RateLimited: The rate limits allow the request only after the deadline. `retry_after` is the wait in seconds.
                The call has taken no units.
        """
        try:
            queue = self._queues[provider, model]
        except KeyError:
            queue = self._find_queue(provider, model)
        if queue is None:
            return _FREE
        permit, at = Permit(queue, tokens), 0.0
        shared = queue.provider
        with shared.lock:
            now = self._clock()
            if not shared.try_grant(permit, queue, now):
                at = shared.enqueue(permit, queue, now)
        if shared.posted:
            shared.drain()
        if not permit.granted:
            yield from self._wait(permit, queue, left, at - now)
        return permit

    def release(self, permit: Permit, tokens: int | None) -> None:
        """Free the slot of *permit* and refund reserved tokens that were not used.

        The method never waits, because a closing generator may call it. A second call has no effect.

        Args:
            permit: The result of `acquire`.
            tokens: The used tokens, input and output, possibly more than reserved. None if unknown.
        """
        queue = permit.queue
        if queue is None or permit.released:
            return
        shared = queue.provider
        if not shared.lock.acquire(blocking=False):
            shared.post(lambda: self._release(permit, queue, tokens))
            return
        try:
            self._release(permit, queue, tokens)
        finally:
            shared.lock.release()
        if shared.posted:
            shared.drain()

    def learn(self, provider: str, model: str, seen: RateLimits) -> None:
        """Slow down the calls to this model if the server reports less capacity than expected."""
        queue = self._queues.get((provider, model))
        if queue is not None:
            queue.provider.post(partial(self._update_limits, queue, seen))

    def compute_duration(self, loads: Mapping[tuple[str, str], tuple[int, int]]) -> float | None:
        """See `compute_duration`."""
        return compute_duration(self._rules, loads)

    def shut_down(self) -> Act[None]:
        """Do nothing, because no other process waits for this one."""
        yield from ()

    def update_slots(self) -> None:
        """Ask `adapt` again for the concurrency of each rule. Rates do not change."""
        with self._lock:
            queues = [queue for queue in self._queues.values() if queue is not None]
        for queue in queues:
            queue.provider.post(partial(self._update_slots, queue))

    def lift(self) -> None:
        """Remove all limits, and grant the waiting calls."""
        with self._lock:
            self._rules = {}
            queues = [queue for queue in self._queues.values() if queue is not None]
        for queue in queues:
            queue.provider.post(partial(self._lift, queue))

    def _update_slots(self, queue: ModelQueue) -> None:
        own, shared = self._find_rules(queue.provider.name, queue.model)
        queue.own.slots = None if own is None else own.concurrency
        queue.provider.shared.slots = None if shared is None else shared.concurrency
        queue.provider.serve(self._clock())

    def _lift(self, queue: ModelQueue) -> None:
        for capacity in (queue.own, queue.provider.shared):
            capacity.buckets.clear()
            capacity.slots = None
        queue.buckets = ()
        queue.provider.serve(self._clock())

    # -- waiting

    def _wait(
        self, permit: Permit, queue: ModelQueue, left: Callable[[], float], predicted_s: float
    ) -> Act[None]:
        shared = queue.provider
        try:
            remaining = left()
            _check(queue, predicted_s, remaining, late=not permit.granted and predicted_s > remaining)
            while not permit.granted:
                yield permit.wait(max(0.0, min(permit.armed - self._clock(), remaining)))
                if permit.granted:
                    break
                with shared.lock:
                    now = self._clock()
                    shared.recheck(permit, now)
                shared.drain()
                remaining = left()
                _check(queue, permit.armed - now, remaining, late=not permit.granted and remaining <= 0)
        except BaseException:
            shared.post(lambda: shared.leave(permit, queue, self._clock()))
            raise

    def _release(self, permit: Permit, queue: ModelQueue, tokens: int | None) -> None:
        if permit.released:
            return
        permit.released = True
        if tokens is not None and tokens != permit.tokens:
            unused = permit.tokens - tokens
            for bucket, ticket in permit.taken:
                if bucket.of_tokens and unused > 0:
                    bucket.give_back(ticket, unused)
                elif bucket.of_tokens:
                    bucket.take(-unused, self._clock())
        queue.own.busy -= 1
        queue.provider.shared.busy -= 1
        if queue.provider.busy:
            queue.provider.serve(self._clock())

    # -- learning

    def _update_limits(self, queue: ModelQueue, seen: RateLimits) -> None:
        now = self._clock()
        for of_tokens, limit, remaining, reset_s in (
            (False, seen.requests_limit, seen.requests_remaining, seen.requests_reset_s),
            (True, seen.tokens_limit, seen.tokens_remaining, seen.tokens_reset_s),
        ):
            if remaining is not None:
                queue.learn(now, of_tokens=of_tokens, limit=limit, remaining=remaining, reset_s=reset_s)
        queue.provider.serve(now)

    # -- queues

    def _find_queue(self, provider: str, model: str) -> ModelQueue | None:
        with self._lock:
            if (provider, model) not in self._queues:
                self._queues[provider, model] = self._make_queue(provider, model)
            return self._queues[provider, model]

    def _make_queue(self, provider: str, model: str) -> ModelQueue | None:
        own, shared = self._find_rules(provider, model)
        if own is None and shared is None:
            return None
        shared_queue = self._providers.get(provider)
        if shared_queue is None:
            shared_queue = ProviderQueue(provider, shared or LimitRule(), self._empty_since)
            self._providers[provider] = shared_queue
        return ModelQueue(shared_queue, model, own or LimitRule(), self._empty_since)

    def _find_rules(self, provider: str, model: str) -> tuple[LimitRule | None, LimitRule | None]:
        own, shared = find_rules(self._rules, provider, model)
        if self._adapt is not None:
            own, shared = own and self._adapt(provider, own), shared and self._adapt(provider, shared)
        return own, shared

    def after_fork(self) -> None:
        """Drop the waiting calls in a forked child, because they belong to the parent; see `forks.ForkAware`."""
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[tuple[str, str], ModelQueue | None] = {}
        self._providers: dict[str, ProviderQueue] = {}


def compute_duration(
    rules: Mapping[str, LimitRule], loads: Mapping[tuple[str, str], tuple[int, int]]
) -> float | None:
    """Return the minimum seconds that *loads* take under the rate limits; None if no limit applies.

    Args:
        rules: The rules, as in `Limits`.
        loads: The numbers of requests and tokens, by provider and model.
    """
    sums: dict[str, list[int]] = {}
    for (provider, model), (requests, tokens) in loads.items():
        for name in (provider, f"{provider}:{model}"):
            before = sums.setdefault(name, [0, 0])
            sums[name] = [before[0] + requests, before[1] + tokens]
    minutes = [
        used / rate
        for name, load in sums.items()
        for rule in ([rules.get(name)] if ":" in name else [rules.get(name), rules.get("")])
        if rule is not None
        for used, rate in zip(load, (rule.requests_per_minute, rule.tokens_per_minute), strict=True)
        if rate
    ]
    return 60.0 * max(minutes) if minutes else None


def find_rules(
    rules: Mapping[str, LimitRule], provider: str, model: str
) -> tuple[LimitRule | None, LimitRule | None]:
    """Return the rule of the model, and the rule that all models of the provider share. A missing rule is None."""
    shared = [rule for name in ("", provider) if (rule := rules.get(name)) is not None]
    return rules.get(f"{provider}:{model}"), _combine(shared) if shared else None


def _combine(rules: list[LimitRule]) -> LimitRule:
    """Combine *rules*: the strictest value of each limit applies."""
    values_by_name = {
        key: [value for rule in rules if (value := getattr(rule, key)) is not None]
        for key in LimitRule.__struct_fields__
    }
    return LimitRule(**{key: min(values) for key, values in values_by_name.items() if values})


def _check(queue: ModelQueue, seconds: float, left: float, *, late: bool) -> None:
    if late:
        raise make_refusal(queue.provider.name, queue.name, seconds, left)


def make_refusal(provider: str, name: str, seconds: float, left: float) -> RateLimited:
    """Return the error: the next slot for *name* is in *seconds*, but the deadline is in *left* seconds."""
    known = seconds < NEVER
    slot = f"is in {max(0.0, seconds):.1f} s" if known else "is not free yet"
    return RateLimited(
        f"rate limit: the next slot for `{name}` {slot}, but the deadline is in {max(0.0, left):.1f} s",
        provider=provider,
        retry_after=max(0.0, seconds) if known else None,
        expected="fewer calls, a higher limit, or a longer deadline",
        fix="llmcore config explain limits",
    )
