"""The queue of calls that wait for a rate limit. The oldest call goes first and is woken in time, without polling."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from llmcore.calls.bucket import Bucket
from llmcore.calls.steps import Step
from llmcore.config import LimitRule
from llmcore.support.limit_values import BURST_S

if TYPE_CHECKING:
    import asyncio

__all__ = ["NEVER", "Capacity", "ModelQueue", "Permit", "ProviderQueue"]

NEVER: Final = float("inf")

_LONGEST_RESET_S: Final = 86_400.0
"""Seconds. If a server reports a longer reset time, this time is used instead."""

_SOONER_S: Final = 1e-6
"""Seconds. If a waiting call can start earlier than it expects, it is woken only if it gains more than this.

The wake-up itself takes longer than this.
"""


class Capacity:
    """The token buckets and slots of one set of rules."""

    def __init__(self, limit: LimitRule, empty_since: float | None = None) -> None:
        """Use *limit*. The buckets are full; with *empty_since*, they start as if they had been empty then."""
        self.buckets: list[Bucket] = []
        for rate, of_tokens in ((limit.requests_per_minute, False), (limit.tokens_per_minute, True)):
            if rate is not None:
                interval = 60.0 / rate
                burst_s = max(BURST_S, interval)
                full_at = -NEVER if empty_since is None else empty_since + burst_s * _choose_delay()
                self.buckets.append(Bucket(interval, burst_s, of_tokens=of_tokens, full_at=full_at))
        self.slots = limit.concurrency
        self.busy = 0
        """The number of concurrency slots in use."""

    def is_full(self) -> bool:
        """Return whether all slots are in use."""
        return self.slots is not None and self.busy >= self.slots

    def find_ready_time(self, tokens: int) -> float:
        """Return the time at which the rate limits allow a request of *tokens*. The time may be in the past."""
        at = -NEVER
        for bucket in self.buckets:
            ready = bucket.find_ready_time(tokens if bucket.of_tokens else 1)
            at = max(ready, at)
        return at

    def find_ready_time_behind(self, tokens: int, now: float) -> float:
        """Return the time at which the rates allow a request of *tokens*, if all waiting requests go first."""
        return max(
            (
                bucket.find_ready_time_behind(tokens if bucket.of_tokens else 1, now)
                for bucket in self.buckets
            ),
            default=-NEVER,
        )

    def count_waiting(self, tokens: int, sign: int) -> None:
        """Add a waiting request to the counts (*sign* is 1), or remove one that stopped waiting (*sign* is -1)."""
        for bucket in self.buckets:
            bucket.ahead += sign * (tokens if bucket.of_tokens else 1)


class ModelQueue:
    """The waiting calls of one model."""

    def __init__(
        self, provider: ProviderQueue, model: str, limit: LimitRule, empty_since: float | None = None
    ) -> None:
        self.provider = provider
        self.model = model
        self.name = f"{provider.name}:{model}"
        self.own = Capacity(limit, empty_since)
        self.buckets = (*self.own.buckets, *provider.shared.buckets)
        self.waiting: deque[Permit] = deque()
        self._seen: dict[bool, Bucket] = {}
        """The buckets that the server's headers describe: False -> the bucket of requests, True -> the bucket
        of tokens.
        """

    @property
    def bounded(self) -> bool:
        """True if the number of concurrent calls is limited."""
        return self.own.slots is not None or self.provider.shared.slots is not None

    def is_full(self) -> bool:
        """Return whether all slots are in use."""
        return self.own.is_full() or self.provider.shared.is_full()

    def learn(
        self, now: float, *, of_tokens: bool, limit: int | None, remaining: int, reset_s: float | None
    ) -> None:
        """Record a server's report: *remaining* units are left. In *reset_s* seconds, *limit* units will be left."""
        most = max(limit or 0, remaining, 1)
        missing: float = most - remaining
        bucket = self._seen.get(of_tokens)
        if not missing:
            if bucket is not None and bucket.full_at <= now:
                self.own.buckets.remove(self._seen.pop(of_tokens))
                self.buckets = (*self.own.buckets, *self.provider.shared.buckets)
            return
        interval = min(reset_s, _LONGEST_RESET_S) / missing if reset_s else 60.0 / most
        if bucket is None:
            bucket = self._seen[of_tokens] = Bucket(interval, most * interval, of_tokens=of_tokens)
            bucket.ahead = sum(permit.tokens if of_tokens else 1 for permit in self.waiting)
            self.own.buckets.append(bucket)
            self.buckets = (*self.own.buckets, *self.provider.shared.buckets)
        # The server may not have counted the requests that were sent after the reported one.
        missing = max(missing, (bucket.full_at - now) / bucket.interval)
        bucket.change_rate(interval, most * interval, now + missing * interval)


class Permit(msgspec.Struct, eq=False):
    """A call's permission to send its request, or its place in the queue.

    Change a permit only while you hold the provider's lock.
    """

    queue: ModelQueue | None
    """The queue of the call's model; None if no rule applies."""
    tokens: int
    """The number of reserved tokens."""
    granted: bool = False
    released: bool = False
    taken: Sequence[tuple[Bucket, int]] = ()
    """The buckets from which the permit took units, each with the ticket."""
    number: int = 0
    counted: bool = False
    """True if the permit is counted among those that wait for the capacity that all models share."""
    armed: float = 0.0
    """The time at which the waiting call checks the limits again, even without a wake-up."""
    _news: bool = False
    _wake: Callable[[], object] | None = None

    def wait(self, seconds: float) -> Step:
        """Return the step that waits until `wake` is called or *seconds* have passed."""
        return Step(self._block, self._sleep, seconds)

    def wake(self) -> bool:
        """Wake the waiting call. Return False if its event loop is closed."""
        self._news = True
        wake, self._wake = self._wake, None
        return wake is None or wake() is not False

    def reset(self) -> None:
        """Clear the wake-up after the call has checked the limits again."""
        self._news, self._wake = False, None

    def _block(self, seconds: float) -> None:
        gate = threading.Lock()
        gate.acquire()
        if self._set_wake(gate.release):
            gate.acquire(timeout=seconds if seconds < threading.TIMEOUT_MAX else -1)

    async def _sleep(self, seconds: float) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        if not self._set_wake(lambda: _wake_in(loop, woken)):
            return
        timer = loop.call_later(seconds, _set, woken) if seconds < threading.TIMEOUT_MAX else None
        try:
            await woken
        finally:
            if timer is not None:
                timer.cancel()

    def _set_wake(self, wake: Callable[[], object]) -> bool:
        """Set the function that wakes the call. Return False if the call was already woken."""
        assert self.queue is not None  # noqa: S101 - a waiting permit has a queue
        provider = self.queue.provider
        provider.lock.acquire()
        try:
            self._wake = None if self._news else wake
            return not self._news
        finally:
            provider.unlock()


class ProviderQueue:
    """The capacity of one provider and the queues of its models, for all threads, tasks and event loops.

    Any code may call `post`, even the garbage collector in a thread that holds the lock. If the lock is in use, its holder
    applies the change later: `drain` runs after each release.
    """

    def __init__(self, name: str, limit: LimitRule, empty_since: float | None = None) -> None:
        self.name = name
        self.shared = Capacity(limit, empty_since)
        self.busy: dict[ModelQueue, None] = {}
        """The queues that contain a waiting call."""
        self._number = 0
        self.lock = threading.Lock()
        self.posted: deque[Callable[[], None]] = deque()

    def unlock(self) -> None:
        """Apply the posted changes, then release the lock."""
        while True:
            while self.posted:
                self.posted.popleft()()
            self.lock.release()
            if not self.posted or not self.lock.acquire(blocking=False):
                return

    def drain(self) -> None:
        """Apply the changes that `post` queued while the lock was in use."""
        if self.posted and self.lock.acquire(blocking=False):
            self.unlock()

    def post(self, change: Callable[[], None]) -> None:
        """Apply *change*, or queue it for the holder of the lock. Never waits."""
        self.posted.append(change)
        if self.lock.acquire(blocking=False):
            self.unlock()

    # -- call these only while holding the lock

    def try_grant(self, permit: Permit, queue: ModelQueue, now: float) -> bool:
        """Grant *permit* now, or return False."""
        if self.busy or (queue.bounded and queue.is_full()):
            return False
        tokens = permit.tokens
        for bucket in queue.buckets:
            # Every call runs this code, so `Bucket.find_ready_time` is inlined here.
            cost = bucket.interval * tokens if bucket.of_tokens else bucket.interval
            if bucket.full_at > now and bucket.full_at + min(cost, bucket.burst_s) - bucket.burst_s > now:
                return False
        self._grant(permit, queue, now)
        return True

    def enqueue(self, permit: Permit, queue: ModelQueue, now: float) -> float:
        """Append *permit* to its queue. Return the time at which the rates will allow the request."""
        own, shared = (
            queue.own.find_ready_time_behind(permit.tokens, now),
            self.shared.find_ready_time_behind(permit.tokens, now),
        )
        at = max(own, shared)
        self._number += 1
        permit.number, permit.armed, permit.counted = self._number, at, shared >= own
        queue.waiting.append(permit)
        self.busy[queue] = None
        self._count(permit, queue, 1)
        self.serve(now)
        return at

    def serve(self, now: float) -> None:
        """Grant every permit that the rates allow now. Schedule a wake-up for the next one."""
        while self.busy:
            permit, at = self._find_next(now)
            if permit is None:
                return
            assert permit.queue is not None  # noqa: S101 - a waiting permit has a queue
            if at <= now:
                self._remove(permit, permit.queue)
                self._grant(permit, permit.queue, now)
            elif at < permit.armed - _SOONER_S:
                permit.armed = at
            else:
                return
            if not permit.wake():
                self._forget(permit, permit.queue)
            elif at > now:
                return

    def leave(self, permit: Permit, queue: ModelQueue, now: float) -> None:
        """Remove *permit*, because its caller has stopped waiting."""
        if not permit.released:
            self._forget(permit, queue)
            self.serve(now)

    def _forget(self, permit: Permit, queue: ModelQueue) -> None:
        permit.released = True
        if permit.granted:
            for bucket, ticket in permit.taken:
                bucket.give_back(ticket, permit.tokens if bucket.of_tokens else 1)
            queue.own.busy -= 1
            self.shared.busy -= 1
        else:
            self._remove(permit, queue)

    def _remove(self, permit: Permit, queue: ModelQueue) -> None:
        """Remove *permit* from its queue."""
        queue.waiting.remove(permit)
        if not queue.waiting:
            del self.busy[queue]
        self._count(permit, queue, -1)

    def recheck(self, permit: Permit, now: float) -> None:
        """Serve the queues after the call of *permit* woke up. If *permit* is not granted, its call waits again."""
        permit.armed = NEVER
        self.serve(now)
        permit.reset()

    def _find_next(self, now: float) -> tuple[Permit | None, float]:
        """Return the next permit to grant and its time.

        Younger calls may overtake a call that waits for its own model's rate. No call may overtake a call that waits for
        the shared rate: otherwise, small requests could delay a large request forever.
        """
        first, soonest = None, NEVER
        heads = [queue.waiting[0] for queue in self.busy]
        if len(heads) > 1:
            heads.sort(key=lambda permit: permit.number)
        for permit in heads:
            queue = permit.queue
            if queue is None or queue.own.is_full():
                continue
            own = queue.own.find_ready_time(permit.tokens)
            at = NEVER if self.shared.is_full() else max(own, self.shared.find_ready_time(permit.tokens))
            if at < soonest:
                first, soonest = permit, at
            if own <= now:
                break
        return first, soonest

    def _grant(self, permit: Permit, queue: ModelQueue, now: float) -> None:
        permit.granted = True
        tokens = permit.tokens
        permit.taken = [
            (bucket, bucket.take(tokens if bucket.of_tokens else 1, now)) for bucket in queue.buckets
        ]
        queue.own.busy += 1
        self.shared.busy += 1

    def _count(self, permit: Permit, queue: ModelQueue, sign: int) -> None:
        queue.own.count_waiting(permit.tokens, sign)
        if permit.counted:
            self.shared.count_waiting(permit.tokens, sign)


def _choose_delay() -> float:
    """Return a random factor from 1 to 2.

    Without the factor, processes that begin with empty buckets at the same time would send together.
    """
    import random  # imported only in an outage

    return 1.0 + random.random()  # noqa: S311 - not a secret


def _set(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def _wake_in(loop: asyncio.AbstractEventLoop, woken: asyncio.Future[None]) -> bool:
    try:
        loop.call_soon_threadsafe(_set, woken)
    except RuntimeError:  # the loop is closed, so the call that waited in this loop has ended
        return False
    return True
