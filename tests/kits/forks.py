"""Programs that fork, which test_forks.py runs in separate processes.

Called with the name of a program, the address of a simulator, and that of a Redis server or "". It works in the current
folder, and writes what is wrong to stderr.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llmcore
from llmcore import forks
from llmcore.cache import CacheManager
from llmcore.threads import submit
from tests.kits.locks import find_fault, find_lock, find_objects

KEY = "sk-fork"
VOICES = ("espeak", "elevenlabs", "openai")
CHILDREN = 12
FEWEST = 60
"""Locks that the walk has to find, or it does not walk any more."""
EACH = 6
"""Pieces of work with one Core."""
CHILD_S = 60
"""After so many seconds the system ends a child that hangs."""


class Everything:
    """Cores that use every plugin of ours, and one piece of work for each thing that they can do."""

    def __init__(self, simulator: str, redis: str) -> None:
        self.cores = [
            llmcore.load(
                {
                    "llm": {"provider": "openai", "model": "gpt-4o", "openai": {"api_key": KEY, "base_url": simulator + "/v1"}},
                    "cache": {"provider": cache, "redis": {"url": redis, "timeout": "15s", "connect_timeout": "15s"}, "file": {"cache_dir": "cache"}},
                    "storage": {"provider": "fs", "fs": {"root": "files"}},
                    "voice": {
                        "provider": voice,
                        "elevenlabs": {"api_key": KEY, "base_url": simulator},
                        "openai": {"api_key": KEY, "base_url": simulator + "/v1"},
                    },
                    "ledger": {"path": "ledger.sqlite3"},
                    "budget": {"limit": "100 USD", "per": "total"},
                    "limits": {"openai": {"requests_per_minute": 100_000}},
                    "retry": {"deadline": "50s"},
                }
            )
            for cache, voice in zip(("file", "memory", "redis" if redis else "memory"), VOICES, strict=True)
        ]  # fmt: skip
        self.cached = [self._function(core.cache) for core in self.cores]
        self.acached = [self._afunction(core.cache) for core in self.cores]

    def work(self, name: str) -> Iterator[Callable[[], object]]:
        """Yield pieces of work that differ by *name*, blocking."""
        for core, cached in zip(self.cores, self.cached, strict=True):
            yield functools.partial(self.chat, core, name)
            yield functools.partial(cached, name)
            yield functools.partial(self.store, core, name)
            yield functools.partial(core.voice.synthesize, f"Hello {name}.", format="wav")
            yield functools.partial(core.llm.count_tokens, f"How many of {name}?")
            yield functools.partial(core.usage.by, "day")

    async def awork(self, name: str) -> None:
        """Do the same in tasks."""
        for core, cached in zip(self.cores, self.acached, strict=True):
            reply = await core.llm.achat(f"aSay {name}", max_tokens=5)
            assert reply.text
            assert await cached(name) == name
            await core.storage.asave(f"a {name}", name)
            assert await core.storage.aload(f"a {name}") == name.encode()
            speech = await core.voice.asynthesize(f"aHello {name}.", format="wav")
            assert speech.audio
            await core.usage.aby("day")

    @staticmethod
    def chat(core: llmcore.Core, name: str) -> None:
        assert core.llm.chat(f"Say {name}", max_tokens=5).text
        assert "".join(delta.text for delta in core.llm.stream(f"Stream {name}", max_tokens=5))

    @staticmethod
    def store(core: llmcore.Core, name: str) -> None:
        core.storage.save(name, name)
        assert core.storage.load(name) == name.encode()

    @staticmethod
    def _function(cache: CacheManager) -> Callable[[str], str]:
        @cache.cached(ttl=60)
        def same(text: str) -> str:
            return text

        return same

    @staticmethod
    def _afunction(cache: CacheManager) -> Callable[[str], Any]:
        @cache.cached(ttl=60, key=lambda text: f"a {text}")
        async def same(text: str) -> str:
            return text

        return same


# -- children of a process that is at work


def fork(work: Callable[[], object]) -> int:
    """Return the id of a child that does *work*; one that hangs says where, and is ended by the system."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        import faulthandler

        faulthandler.dump_traceback_later(CHILD_S - 5)
        signal.alarm(CHILD_S)
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - told, and shown by the exit code
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def count_undone(children: list[int]) -> int:
    """Return how many of *children* did not do their work. Write to stderr how they ended."""
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    failed = [code for code in codes if code != 0]
    if failed:
        sys.stderr.write(f"children ended with {failed}\n")
    return len(failed)


def threads(everything: Everything) -> int:
    """Fork while threads make their first calls, then continue; every child makes each call itself."""
    over = threading.Event()
    faults: list[BaseException] = []

    def busy(number: int) -> None:
        try:
            turn = 0
            while not over.is_set():
                works = list(everything.work(f"{number} {turn}"))
                for at in range(len(works)):
                    works[(at + number) % len(works)]()  # each thread begins elsewhere
                turn += 1
        except BaseException as error:
            faults.append(error)
            raise

    def child(number: int) -> None:
        for work in itertools.islice(
            everything.work(f"child {number}"), number % 3 * EACH, (number % 3 + 1) * EACH
        ):
            work()

    workers = [threading.Thread(target=busy, args=(number,), daemon=True) for number in range(5)]
    for worker in workers:
        worker.start()
    children = []
    for number in range(CHILDREN):
        time.sleep(0.03)  # spreads the forks over imports, creation and calls
        children.append(fork(functools.partial(child, number)))
    failed = count_undone(children)
    over.set()
    for worker in workers:
        worker.join()
    return failed + len(faults)


async def tasks(everything: Everything) -> int:
    """Fork from within a running event loop, while tasks make their first calls; every child uses a loop of its own."""

    async def busy(number: int) -> None:
        turn = 0
        while True:
            await everything.awork(f"{number} {turn}")
            turn += 1

    def child(number: int) -> None:
        asyncio.run(everything.awork(f"child {number}"))

    workers = [asyncio.create_task(busy(number)) for number in range(4)]
    failed = 0
    for number in range(CHILDREN // 2):
        await asyncio.sleep(0.05)
        pid = fork(functools.partial(child, number))
        failed += await asyncio.to_thread(count_undone, [pid])
    broken = [worker.exception() for worker in workers if worker.done()]
    if broken:
        sys.stderr.write(f"tasks of the parent ended with {broken!r}\n")
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return failed + len(broken)


# -- every lock


def locks(everything: Everything) -> int:
    """Fork while another thread holds every lock that can be found; the child finds each of them free."""
    for work in everything.work("first"):
        work()
    background(everything)
    forks.PATIENCE_S = 0.2  # the other thread will not release them
    before = find_objects(everything, __name__)
    wanted = {id(lock): lock for _, thing in before.values() if (lock := find_lock(thing)) is not None}
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in wanted.values():
            lock.acquire(blocking=False)
        held.set()
        over.wait()
        for lock in wanted.values():
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()

    def child() -> None:
        left_to_parent = {id(each) for each in forks._left_to_parent} | {id(forks._left_to_parent)}
        stale = [
            f"{path}: {type(thing).__name__}: {fault}"
            for key, (path, thing) in find_objects(everything, __name__).items()
            if "_left_to_parent" not in path and key not in left_to_parent
            if (fault := find_fault(thing, before)) is not None
        ]
        assert not stale, "\n".join(["not renewed in a child:", *stale])
        for work in everything.work("child"):
            work()
        asyncio.run(everything.awork("child"))

    failed = count_undone([fork(child)])
    over.set()
    holder.join()
    for work in everything.work("parent again"):
        work()
    return failed + (len(wanted) < FEWEST)


def background(everything: Everything) -> None:
    """Have everything made that is made late: loops, executors, clients of event loops that still run."""
    from llmcore.calls.loop import run_in_loop
    from llmcore_storage_object.provider import ObjectStorage  # noqa: F401 - its modules are walked

    submit(int).result()
    run_in_loop(everything.awork("in a loop"))


def main() -> int:
    program, simulator, redis = sys.argv[1:]
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
    everything = Everything(simulator, redis)
    Path("files").mkdir(exist_ok=True)
    if program == "tasks":
        failed = asyncio.run(tasks(everything))
    else:
        failed = {"threads": threads, "locks": locks}[program](everything)
    for core in everything.cores:
        core.close()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
