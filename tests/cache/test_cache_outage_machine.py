"""Outages compared with a model: random operations and outages in any order never give a wrong answer."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, ClassVar, Literal, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from llmcore.cache.outage import MAX_STALE_S
from llmcore.errors import CacheError
from tests.kits.cache_outage import Server, make_cache

KEYS = ("a:1", "a:2", "b:1")
MISS = "nothing"
AWAITS = st.booleans()


class Kept(NamedTuple):
    """The entry of a key."""

    value: int
    ends: float
    tagged: bool


class Model(dict[str, Kept]):
    """Entries, and how they are forgotten."""

    def forget(self, what: str) -> None:
        """Remove a key, the values of a tag, the keys that match a pattern, or everything."""
        for key, kept in list(self.items()):
            if (
                what in {key, "everything"}
                or (what == "tag" and kept.tagged)
                or (what == "a:*" and key[0] == "a")
            ):
                del self[key]

    def find(self, key: str, now: float) -> int | str:
        """Return the value, or `MISS`."""
        kept = self.get(key)
        return MISS if kept is None or now >= kept.ends else kept.value


class Outages(RuleBasedStateMachine):
    """One process that is cut off now and then, and another one that never is, on one server.

    Both clocks are the machine's. No thread can be started, so that the circuit breaker counts by the clock as well.
    """

    tells: ClassVar[Literal["reports", "versions"]]

    def __init__(self) -> None:
        super().__init__()
        self.started, self.time = threading.Thread.start, time.time
        threading.Thread.start = _refuse  # type: ignore[method-assign, assignment]
        self.loop = asyncio.new_event_loop()
        self.server = Server(self.tells)
        time.time = lambda: 1e9 + self.server.now
        self.link = self.server.connect()
        self.here = make_cache(self.link, clock=self.server.clock)
        self.there = make_cache(self.server.connect(), memory=0, clock=self.server.clock)
        self.truth = Model()
        """What the server has."""
        self.made = Model()
        """Values that this cache set during the outage: it must serve them."""
        self.older: Model | None = None
        """Values that this cache knew when the outage began, or when reports were lost: it may serve them for a while."""
        self.since = 0.0
        self.seen = Model()
        self.seen_at = 0.0
        """The values at the latest call, and its time: a version reports changes at the next call only."""
        self.has_called = False
        self.held_up: list[str] = []

    def teardown(self) -> None:
        self.link.repair()
        self.here.close()
        self.there.close()
        self.loop.close()
        time.time = self.time
        threading.Thread.start = self.started  # type: ignore[method-assign]

    def call(self, awaits: bool, name: str, *args: Any, **named: Any) -> Any:  # noqa: FBT001 - drawn
        try:
            if awaits:
                return self.loop.run_until_complete(getattr(self.here, "a" + name)(*args, **named))
            return getattr(self.here, name)(*args, **named)
        finally:
            self.has_called = True

    @invariant()
    def see(self) -> None:
        if self.has_called and not self.link.is_cut:
            self.seen, self.seen_at = Model(self.truth), self.server.now
        self.has_called = False

    # -- the other process

    @rule(key=st.sampled_from(KEYS), value=st.integers(0, 99), ttl=st.sampled_from([None, 30, 100]))
    def set_there(self, key: str, value: int, ttl: float | None) -> None:
        assert self.there.set(key, value, ttl)
        self.truth[key] = Kept(value, self.server.now + (ttl or 1e9), tagged=False)

    @rule(what=st.sampled_from([*KEYS, "tag", "a:*"]))
    def forget_there(self, what: str) -> None:
        if what in KEYS:
            self.there.delete(what)
        elif what == "tag":
            self.there.invalidate(tags="tag")
        else:
            self.there.invalidate(what)
        self.truth.forget(what)

    @rule(key=st.sampled_from(KEYS))
    def get_there(self, key: str) -> None:
        assert self.there.get(key, MISS) == self.truth.find(key, self.server.now)

    # -- the process that is cut off

    @rule(
        key=st.sampled_from(KEYS),
        value=st.integers(100, 199),
        ttl=st.sampled_from([None, 30, 100]),
        tagged=st.booleans(),
        awaits=AWAITS,
    )
    def set_here(self, key: str, value: int, ttl: float | None, tagged: bool, awaits: bool) -> None:  # noqa: FBT001
        done = self.call(awaits, "set", key, value, ttl, tags="tag" if tagged else None)
        kept = Kept(value, self.server.now + (ttl or 1e9), tagged)
        assert done is not self.link.is_cut
        if self.link.is_cut:
            self.made[key] = kept
            self.held_up.append(key)
        else:
            self.truth[key] = kept
        if self.older is not None:
            self.older.forget(key)

    @rule(key=st.sampled_from(KEYS), awaits=AWAITS)
    def get_here(self, key: str, awaits: bool) -> None:  # noqa: FBT001
        self.check(key, self.call(awaits, "get", key, MISS))

    @rule(awaits=AWAITS)
    def get_many_here(self, awaits: bool) -> None:  # noqa: FBT001
        found = self.call(awaits, "get_many", KEYS)
        for key in KEYS:
            self.check(key, found.get(key, MISS))

    def check(self, key: str, found: object) -> None:
        now = self.server.now
        if not self.link.is_cut:
            assert found == self.truth.find(key, now)
            if self.older is not None:  # it has seen a newer one
                self.older.forget(key)
        elif key in self.made:
            assert found == self.made.find(key, now)
        elif self.older is not None and now < self.since + MAX_STALE_S:
            assert found in {MISS, self.older.find(key, now)}
        else:
            assert found == MISS

    @rule(what=st.sampled_from([*KEYS, "tag", "a:*", "everything"]), awaits=AWAITS)
    def forget_here(self, what: str, awaits: bool) -> None:  # noqa: FBT001
        failed = False
        try:
            if what in KEYS:
                self.call(awaits, "delete", what)
            elif what == "tag":
                self.call(awaits, "invalidate", tags="tag")
            else:
                self.call(awaits, "invalidate", *([] if what == "everything" else [what]))
        except CacheError:
            failed = True
        assert failed is (self.link.is_cut and what not in KEYS)
        if self.link.is_cut:
            self.held_up.append(what)
            self.made.forget("everything" if what == "a:*" else what)
        else:
            self.truth.forget(what)
        self.has_called = what not in KEYS  # `delete` asks for no version
        self.seen.forget(what)
        if self.older is not None:
            self.older.forget(what)

    # -- what happens to them

    @rule(seconds=st.sampled_from([1, 29, 30, 59, 60, 100]))
    def wait(self, seconds: int) -> None:
        self.server.now += seconds

    @precondition(lambda self: not self.link.is_cut)
    @rule()
    def cut(self) -> None:
        self.link.cut()
        self.note_older()

    @precondition(lambda self: self.tells == "reports" and not self.link.is_cut)
    @rule()
    def lose_reports(self) -> None:
        self.link.lose_reports()
        self.note_older()

    def note_older(self) -> None:
        if self.older is None and self.tells == "versions":
            self.older, self.since = Model(self.seen), self.seen_at
        elif self.older is None:
            self.older, self.since = Model(self.truth), self.server.now

    @precondition(lambda self: not self.link.is_cut)
    @rule()
    def regain_reports(self) -> None:
        self.link.regain_reports()
        if self.tells == "reports":
            self.older = None

    @precondition(lambda self: self.link.is_cut)
    @rule(awaits=AWAITS)
    def repair(self, awaits: bool) -> None:  # noqa: FBT001
        self.link.repair()
        self.server.now += 1  # more than the pause between two probes
        for what in self.held_up:
            self.truth.forget(what)
        self.held_up.clear()
        self.made.clear()
        self.older = None
        self.get_many_here(awaits)


def _refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class WithReports(Outages):
    tells = "reports"


class WithVersions(Outages):
    tells = "versions"


@pytest.mark.slow
@pytest.mark.parametrize("machine", [WithReports, WithVersions], ids=["reports", "versions"])
def test_no_answer_is_wrong_in_any_order_of_events(machine: type[Outages]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=100, stateful_step_count=40, deadline=None)
    )
