"""What one provider allows, and who waits for it: the oldest goes first, is woken when it can, and polls for nothing."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from llmcore.calls.bucket import Bucket
from llmcore.calls.steps import Step
from llmcore.config import Limit

if TYPE_CHECKING:
    import asyncio

__all__ = ["NEVER", "Lane", "Provider", "Room", "Turn"]

NEVER: Final = float("inf")

_BURST_S: Final = 1.0
"""Room for what flows back in so long, and for one request at least."""

_LONGEST_RESET_S: Final = 86_400.0
"""A server that names a later moment is not believed."""

_SOONER_S: Final = 1e-6
"""To be woken earlier by less is not worth it."""


class Room:
    """What rules allow: rates, and places for calls at the same time."""

    def __init__(self, limit: Limit) -> None:
        self.buckets: list[Bucket] = []
        for rate, of_tokens in ((limit.requests_per_minute, False), (limit.tokens_per_minute, True)):
            if rate is not None:
                interval = 60.0 / rate
                self.buckets.append(Bucket(interval, max(_BURST_S, interval), of_tokens=of_tokens))
        self.places = limit.concurrency
        self.busy = 0
        """Places that are taken."""

    def full(self) -> bool:
        """Return whether there is no place."""
        return self.places is not None and self.busy >= self.places

    def ready(self, tokens: int) -> float:
        """Return when the rates allow a request of *tokens*; it may have passed."""
        at = -NEVER
        for bucket in self.buckets:
            ready = bucket.ready(tokens if bucket.of_tokens else 1)
            at = max(ready, at)
        return at

    def ready_behind(self, tokens: int, now: float) -> float:
        """Return when the rates allow a request of *tokens* after those that wait for them."""
        return max(
            (bucket.ready_behind(tokens if bucket.of_tokens else 1, now) for bucket in self.buckets),
            default=-NEVER,
        )

    def queue(self, tokens: int, sign: int) -> None:
        """Count a request among those that wait for the rates (*sign* 1), or no more (-1)."""
        for bucket in self.buckets:
            bucket.ahead += sign * (tokens if bucket.of_tokens else 1)


class Lane:
    """The calls of one model."""

    def __init__(self, provider: Provider, model: str, limit: Limit) -> None:
        self.provider = provider
        self.name = f"{provider.name}:{model}"
        self.own = Room(limit)
        self.buckets = (*self.own.buckets, *provider.shared.buckets)
        self.waiting: deque[Turn] = deque()
        self.bounded = self.own.places is not None or provider.shared.places is not None
        """Whether so many calls at once are allowed, and no more."""
        self._seen: dict[bool, Bucket] = {}
        """What the server said of its requests, and of its tokens."""

    def full(self) -> bool:
        """Return whether there is no place for another call."""
        return self.own.full() or self.provider.shared.full()

    def learn(
        self, now: float, *, of_tokens: bool, limit: int | None, remaining: int, reset_s: float | None
    ) -> None:
        """Believe that no more than *remaining* is there, and that all of *limit* is in *reset_s*."""
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
            bucket.ahead = sum(turn.tokens if of_tokens else 1 for turn in self.waiting)
            self.own.buckets.append(bucket)
            self.buckets = (*self.own.buckets, *self.provider.shared.buckets)
        # What was sent since may not be counted yet.
        missing = max(missing, (bucket.full_at - now) / bucket.interval)
        bucket.restate(interval, most * interval, now + missing * interval)


class Turn(msgspec.Struct, eq=False):
    """One call's right to be sent, or its wait for it. Whoever changes one holds its provider."""

    lane: Lane | None
    """None where no rule applies."""
    tokens: int
    """What is booked."""
    granted: bool = False
    over: bool = False
    taken: Sequence[tuple[Bucket, int]] = ()
    """What was booked, and the tickets for it."""
    number: int = 0
    counted: bool = False
    """Whether it is counted among those that wait for what all models share."""
    armed: float = 0.0
    """When it looks by itself."""
    _news: bool = False
    _wake: Callable[[], object] | None = None

    def wait(self, seconds: float) -> Step:
        """Return the step that waits until it is roused, or *seconds* have passed."""
        return Step(self._block, self._sleep, seconds)

    def rouse(self) -> bool:
        """Let whoever waits look again; return False where nobody will, for its event loop is gone."""
        self._news = True
        wake, self._wake = self._wake, None
        return wake is None or wake() is not False

    def calm(self) -> None:
        """Note that it has looked."""
        self._news, self._wake = False, None

    def _block(self, seconds: float) -> None:
        gate = threading.Lock()
        gate.acquire()
        if self._asleep(gate.release):
            gate.acquire(timeout=seconds if seconds < threading.TIMEOUT_MAX else -1)

    async def _sleep(self, seconds: float) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        if not self._asleep(lambda: _call_in(loop, woken)):
            return
        timer = loop.call_later(seconds, _set, woken) if seconds < threading.TIMEOUT_MAX else None
        try:
            await woken
        finally:
            if timer is not None:
                timer.cancel()

    def _asleep(self, wake: Callable[[], object]) -> bool:
        """Ask to be woken; return False where there is news already."""
        assert self.lane is not None  # noqa: S101 - who waits has a lane
        provider = self.lane.provider
        provider.lock.acquire()
        try:
            self._wake = None if self._news else wake
            return not self._news
        finally:
            provider.let_go()


class Provider:
    """What one provider allows. Threads, tasks and event loops share it.

    `post` may be called from anywhere, by the garbage collector too while this very thread holds the lock: what cannot be
    done at once is done by whoever holds it, and who has held it says `tidy`.
    """

    def __init__(self, name: str, limit: Limit) -> None:
        self.name = name
        self.shared = Room(limit)
        self.busy: dict[Lane, None] = {}
        """Lanes in which somebody waits."""
        self._number = 0
        self.lock = threading.Lock()
        self.posted: deque[Callable[[], None]] = deque()

    def let_go(self) -> None:
        """Let others in; do first what they left to be done."""
        while True:
            while self.posted:
                self.posted.popleft()()
            self.lock.release()
            if not self.posted or not self.lock.acquire(blocking=False):
                return

    def tidy(self) -> None:
        """Do what others left to be done while the lock was held."""
        if self.posted and self.lock.acquire(blocking=False):
            self.let_go()

    def post(self, change: Callable[[], None]) -> None:
        """Make *change* soon, without waiting for anybody."""
        self.posted.append(change)
        if self.lock.acquire(blocking=False):
            self.let_go()

    # -- to be called by who holds the lock

    def enter(self, turn: Turn, lane: Lane, now: float) -> bool:
        """Grant *turn* now, or return False."""
        if self.busy or (lane.bounded and lane.full()):
            return False
        tokens = turn.tokens
        for bucket in lane.buckets:
            # `bucket.ready` written out: this is what every call passes.
            cost = bucket.interval * tokens if bucket.of_tokens else bucket.interval
            if bucket.full_at > now and bucket.full_at + min(cost, bucket.burst_s) - bucket.burst_s > now:
                return False
        self._grant(turn, lane, now)
        return True

    def queue(self, turn: Turn, lane: Lane, now: float) -> float:
        """Let *turn* wait behind those of its lane; return when the rates will allow it, as far as can be told."""
        own, shared = lane.own.ready_behind(turn.tokens, now), self.shared.ready_behind(turn.tokens, now)
        at = max(own, shared)
        self._number += 1
        turn.number, turn.armed, turn.counted = self._number, at, shared >= own
        lane.waiting.append(turn)
        self.busy[lane] = None
        self._count(turn, lane, 1)
        self.serve(now)
        return at

    def serve(self, now: float) -> None:
        """Grant what can be granted, and see that somebody looks again when the next one can go."""
        while self.busy:
            turn, at = self._next(now)
            if turn is None:
                return
            assert turn.lane is not None  # noqa: S101 - who waits has a lane
            if at <= now:
                self._remove(turn, turn.lane)
                self._grant(turn, turn.lane, now)
            elif at < turn.armed - _SOONER_S:
                turn.armed = at
            else:
                return
            if not turn.rouse():
                self._forget(turn, turn.lane)
            elif at > now:
                return

    def leave(self, turn: Turn, lane: Lane, now: float) -> None:
        """Take back all of a turn that its caller does not want any more."""
        if not turn.over:
            self._forget(turn, lane)
            self.serve(now)

    def _forget(self, turn: Turn, lane: Lane) -> None:
        turn.over = True
        if turn.granted:
            for bucket, ticket in turn.taken:
                bucket.give_back(ticket, turn.tokens if bucket.of_tokens else 1)
            lane.own.busy -= 1
            self.shared.busy -= 1
        else:
            self._remove(turn, lane)

    def _remove(self, turn: Turn, lane: Lane) -> None:
        """Let *turn* wait no more."""
        lane.waiting.remove(turn)
        if not lane.waiting:
            del self.busy[lane]
        self._count(turn, lane, -1)

    def look(self, turn: Turn, now: float) -> None:
        """Serve, and let *turn*, which is up, wait on if it has to: until it is the next one, for as long as it is told."""
        turn.armed = NEVER
        self.serve(now)
        turn.calm()

    def _next(self, now: float) -> tuple[Turn | None, float]:
        """Return who goes next, and when.

        Who waits for its own model's rate lets younger calls to other models pass. Who waits for what all share lets
        nobody pass: else a large request would starve behind small ones.
        """
        found, soonest = None, NEVER
        heads = [lane.waiting[0] for lane in self.busy]
        if len(heads) > 1:
            heads.sort(key=lambda turn: turn.number)
        for turn in heads:
            lane = turn.lane
            if lane is None or lane.own.full():
                continue
            own = lane.own.ready(turn.tokens)
            at = NEVER if self.shared.full() else max(own, self.shared.ready(turn.tokens))
            if at < soonest:
                found, soonest = turn, at
            if own <= now:
                break
        return found, soonest

    def _grant(self, turn: Turn, lane: Lane, now: float) -> None:
        turn.granted = True
        tokens = turn.tokens
        turn.taken = [
            (bucket, bucket.take(tokens if bucket.of_tokens else 1, now)) for bucket in lane.buckets
        ]
        lane.own.busy += 1
        self.shared.busy += 1

    def _count(self, turn: Turn, lane: Lane, sign: int) -> None:
        lane.own.queue(turn.tokens, sign)
        if turn.counted:
            self.shared.queue(turn.tokens, sign)


def _set(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def _call_in(loop: asyncio.AbstractEventLoop, woken: asyncio.Future[None]) -> bool:
    try:
        loop.call_soon_threadsafe(_set, woken)
    except RuntimeError:  # the loop is closed, and with it whoever waited in it
        return False
    return True
