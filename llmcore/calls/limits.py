"""Rate limits: how many requests and tokens a minute, and how many calls at once, a provider or a model is sent.

A call books its request and its tokens in every rule that applies, all or nothing, and waits for its turn; what its
reply did not use comes back. A window of w seconds sees at most `rate * w` and a burst: what a second allows, or one
request where that is more. The wall clock has no part in it. Each process counts for itself.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from llmcore.calls.steps import Act
from llmcore.calls.turns import NEVER, Lane, Provider, Turn
from llmcore.config import Limit
from llmcore.errors import RateLimited
from llmcore.types import RateLimits

__all__ = ["Limits", "Turn"]

_FREE: Final = Turn(None, 0, granted=True, over=True)


class Limits:
    """The rates that all calls of one Core keep to. Threads, tasks and event loops share it."""

    def __init__(self, rules: Mapping[str, Limit], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Hold *rules*, by "provider", "provider:model" and "", which holds for every provider by itself."""
        self._rules = rules
        self._clock = clock
        self._forget()
        _all.add(self)

    def turn(self, provider: str, model: str, tokens: int, left: Callable[[], float]) -> Act[Turn]:
        """Wait until one request may be sent. Whoever is given a turn says when it is `done`.

        Args:
            provider: By the name that the rules use.
            model: Likewise.
            tokens: The most that the call can use; 0 where nobody knows.
            left: Seconds that the caller can wait.

        Raises:
            RateLimited: The turn would come too late; `retry_after` says when. Nothing was booked.
        """
        try:
            lane = self._lanes[provider, model]
        except KeyError:
            lane = self._lane(provider, model)
        if lane is None:
            return _FREE
        turn, at = Turn(lane, tokens), 0.0
        place = lane.provider
        with place.lock:
            now = self._clock()
            if not place.enter(turn, lane, now):
                at = place.queue(turn, lane, now)
        if place.posted:
            place.tidy()
        if not turn.granted:
            yield from self._wait(turn, lane, left, at - now)
        return turn

    def done(self, turn: Turn, tokens: int | None) -> None:
        """Give back the place of *turn*, and what it booked beyond the *tokens* that were used.

        Never waits: it may be called while a generator is closed. A second call does nothing.

        Args:
            turn: As `turn` gave it.
            tokens: Input and output together, more than was booked too; None where nobody knows.
        """
        lane = turn.lane
        if lane is None or turn.over:
            return
        place = lane.provider
        if not place.lock.acquire(blocking=False):
            place.post(lambda: self._done(turn, lane, tokens))
            return
        try:
            self._done(turn, lane, tokens)
        finally:
            place.lock.release()
        if place.posted:
            place.tidy()

    def learn(self, provider: str, model: str, seen: RateLimits) -> None:
        """Slow down where a server says that less remains than was believed. It is believed of its own model alone."""
        lane = self._lanes.get((provider, model))
        if lane is not None:
            lane.provider.post(partial(self._learn, lane, seen))

    # -- waiting

    def _wait(self, turn: Turn, lane: Lane, left: Callable[[], float], predicted_s: float) -> Act[None]:
        place = lane.provider
        try:
            remaining = left()
            _check(lane, predicted_s, remaining, late=not turn.granted and predicted_s > remaining)
            while not turn.granted:
                yield turn.wait(max(0.0, min(turn.armed - self._clock(), remaining)))
                if turn.granted:
                    break
                with place.lock:
                    now = self._clock()
                    place.look(turn, now)
                place.tidy()
                remaining = left()
                _check(lane, turn.armed - now, remaining, late=not turn.granted and remaining <= 0)
        except BaseException:
            place.post(lambda: place.leave(turn, lane, self._clock()))
            raise

    def _done(self, turn: Turn, lane: Lane, tokens: int | None) -> None:
        if turn.over:
            return
        turn.over = True
        if tokens is not None and tokens != turn.tokens:
            unused = turn.tokens - tokens
            for bucket, ticket in turn.taken:
                if bucket.of_tokens and unused > 0:
                    bucket.give_back(ticket, unused)
                elif bucket.of_tokens:
                    bucket.take(-unused, self._clock())
        lane.own.busy -= 1
        lane.provider.shared.busy -= 1
        if lane.provider.busy:
            lane.provider.serve(self._clock())

    # -- learning

    def _learn(self, lane: Lane, seen: RateLimits) -> None:
        now = self._clock()
        for of_tokens, limit, remaining, reset_s in (
            (False, seen.requests_limit, seen.requests_remaining, seen.requests_reset_s),
            (True, seen.tokens_limit, seen.tokens_remaining, seen.tokens_reset_s),
        ):
            if remaining is not None:
                lane.learn(now, of_tokens=of_tokens, limit=limit, remaining=remaining, reset_s=reset_s)
        lane.provider.serve(now)

    # -- putting together

    def _lane(self, provider: str, model: str) -> Lane | None:
        with self._lock:
            if (provider, model) not in self._lanes:
                self._lanes[provider, model] = self._made(provider, model)
            return self._lanes[provider, model]

    def _made(self, provider: str, model: str) -> Lane | None:
        shared = [rule for name in ("", provider) if (rule := self._rules.get(name)) is not None]
        own = self._rules.get(f"{provider}:{model}")
        if own is None and not shared:
            return None
        place = self._providers.get(provider)
        if place is None:
            place = self._providers[provider] = Provider(provider, _strictest(shared))
        return Lane(place, model, own or Limit())

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[tuple[str, str], Lane | None] = {}
        self._providers: dict[str, Provider] = {}


def _strictest(rules: list[Limit]) -> Limit:
    """Return one rule for calls that all of *rules* hold for."""
    given = {
        key: [value for rule in rules if (value := getattr(rule, key)) is not None]
        for key in Limit.__struct_fields__
    }
    return Limit(**{key: min(values) for key, values in given.items() if values})


def _check(lane: Lane, seconds: float, left: float, *, late: bool) -> None:
    """Raise RateLimited where it is too *late*: a turn in so many *seconds* is no use with so many *left*."""
    if not late:
        return
    known = seconds < NEVER
    turn = f"its turn comes in {max(0.0, seconds):.1f} s" if known else "all its places are taken"
    raise RateLimited(
        f"[limits] hold the call to `{lane.name}` back for too long: {turn}, and {max(0.0, left):.1f} s are left",
        provider=lane.provider.name,
        retry_after=max(0.0, seconds) if known else None,
        expected="fewer calls, a higher limit, or a longer deadline",
        fix="llmcore config explain limits",
    )


_all: weakref.WeakSet[Limits] = weakref.WeakSet()


def _in_child() -> None:
    for limits in list(_all):
        limits._forget()  # noqa: SLF001 - who waits, waits in the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
