"""A fork finds our locks free and our imports done; a child that is forked at any moment works."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from llmcore.support import forks
from llmcore_testing import Simulator
from llmcore_testing.redis_server import RedisServer, find_redis_server
from tests.kits.forks import KEY, fork

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


def is_done_in_child(work: Callable[[], object]) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1]) == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmcore.forks.PATIENCE_S", 0.1)


class Holder:
    """A thread that holds a lock until the test continues it, and then changes a value under the lock."""

    def __init__(self, lock: forks.Lock) -> None:
        self.changes: list[str] = []
        self._lock = lock
        self._held, self.go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        with self._lock:
            self.changes.append("begun")
            self._held.set()
            self.go_on.wait()
            self.changes.append("done")

    def __enter__(self) -> Self:
        self._thread.start()
        self._held.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._thread.join()


def test_a_fork_waits_for_the_work_under_a_lock() -> None:
    with Holder(forks.lock()) as holder:
        threading.Timer(0.05, holder.go_on.set).start()
        assert is_done_in_child(lambda: holder.changes.index("done"))


def test_a_fork_waits_for_work_that_delays_it() -> None:
    context = forks.delay()
    with Holder(context) as holder:  # type: ignore[arg-type] # a lock is a context
        threading.Timer(0.05, holder.go_on.set).start()
        assert is_done_in_child(lambda: holder.changes.index("done"))


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_is_not_released_in_time_is_free_in_the_child_and_held_in_the_parent() -> None:
    lock = forks.lock()
    with Holder(lock) as holder:
        assert is_done_in_child(lambda: _check(lock.acquire(blocking=False), holder.changes == ["begun"]))
        assert not lock.acquire(blocking=False)
    assert holder.changes == ["begun", "done"]


def test_a_thread_that_forks_while_it_holds_a_lock_does_not_wait_for_itself_and_holds_it_in_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = forks.lock()
    taken: list[bool] = []

    def take_in_another_thread() -> None:
        other = threading.Thread(target=lambda: taken.append(lock.acquire(blocking=False)))
        other.start()
        other.join()

    def child() -> None:
        take_in_another_thread()
        lock.release()
        take_in_another_thread()
        _check(taken == [False, True])

    monkeypatch.setattr("llmcore.forks.PATIENCE_S", 3600.0)  # to wait would be to hang
    with lock:
        assert is_done_in_child(child)
    with Holder(lock):
        assert not lock.acquire(blocking=False)


def test_two_threads_that_hold_each_others_locks_can_fork() -> None:
    one, two = forks.lock(), forks.lock()
    both = threading.Barrier(2)
    codes: list[bool] = []

    def work(lock: forks.Lock) -> None:
        with lock:
            both.wait()
            codes.append(is_done_in_child(lambda: None))

    threads = [threading.Thread(target=work, args=(lock,)) for lock in (one, two)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmcore.forks.PATIENCE_S", 0.5)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert codes == [True, True]
    assert is_done_in_child(lambda: _check(one.acquire(blocking=False), two.acquire(blocking=False)))


class Counting:
    """Records whether it was renewed, and the state of its lock."""

    def __init__(self, *, fails: bool = False) -> None:
        self.lock = forks.lock()
        self.seen: list[bool] = []
        self._fails = fails
        forks.watch(self)

    def after_fork(self) -> None:
        self.seen.append(forks.was_free(self.lock))
        if self._fails:
            raise OSError("no more threads")


@pytest.mark.usefixtures("impatient")
def test_watched_objects_are_renewed_after_a_fork() -> None:
    idle, busy = Counting(), Counting()
    with Holder(busy.lock):
        assert is_done_in_child(lambda: _check(idle.seen == [True], busy.seen == [False]))
    with idle.lock:  # by the thread that forks: it is in the middle of its work, in the child too
        assert is_done_in_child(lambda: _check(idle.seen == [False], busy.seen == [True]))
    assert idle.seen == busy.seen == []


def test_one_that_cannot_be_renewed_is_logged_and_does_not_keep_the_others_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing, fine = Counting(fails=True), Counting()

    def child() -> None:
        _check(fine.seen == [True], failing.seen == [True])
        _check(
            [record.getMessage() for record in caplog.records]
            == ["Counting.after_fork failed in a fork: OSError"]
        )

    with caplog.at_level(logging.WARNING):
        assert is_done_in_child(child)


MODULES = """
import threading
assert threading.current_thread().name == "llmcore-test"
begun.set()
go_on.wait()
import {name}_inner
done = True
"""


@pytest.fixture
def slow_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A plugin's module whose import takes as long as the test says."""
    name = f"llmcore_slow_{os.getpid()}_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULES.format(name=name))
    (tmp_path / f"{name}_inner.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_a_fork_waits_for_an_import_and_the_child_has_the_whole_module(
    slow_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(builtins, "begun", begun, raising=False)
    monkeypatch.setattr(builtins, "go_on", go_on, raising=False)
    spec: dict[str, object] = {"__name__": "llmcore_of_a_test"}
    exec(f"def load():\n    import {slow_module}\n", spec)  # noqa: S102 - code of a module whose name is ours
    load = spec["load"]
    assert callable(load)
    importing = threading.Thread(target=load, name="llmcore-test")
    importing.start()
    begun.wait()
    threading.Timer(0.6, go_on.set).start()  # longer than others' imports are waited for
    assert is_done_in_child(lambda: _check(load() is None, sys.modules[slow_module].done))
    importing.join()


def _check(*facts: object) -> None:
    assert all(facts), facts


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], None]:
    def run(program: str) -> None:
        with ExitStack() as servers:
            upstream = servers.enter_context(Simulator(api_keys={KEY}))
            redis = servers.enter_context(RedisServer(tmp_path)).url if find_redis_server() else ""
            done = subprocess.run(
                [sys.executable, "-m", "tests.kits.forks", program, upstream.url, redis],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
                capture_output=True,
                text=True,
                check=False,
                timeout=200,
            )
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), done.stderr

    return run


@pytest.mark.timeout(240)
def test_a_child_finds_every_lock_of_ours_free_although_threads_of_the_parent_held_them_all(
    run: Callable[[str], None],
) -> None:
    run("locks")


@pytest.mark.timeout(240)
def test_children_that_are_forked_during_the_first_calls_of_threads_make_all_of_them(
    run: Callable[[str], None],
) -> None:
    run("threads")


@pytest.mark.timeout(240)
def test_children_forked_in_an_event_loop_use_their_own_loops(
    run: Callable[[str], None],
) -> None:
    run("tasks")
