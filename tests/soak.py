"""The soak: random calls, cancelled at random moments, against an upstream and a Redis that fail at random.

`make soak` runs it for five minutes, `tests/core/test_soak.py` for 10 seconds. A run is several rounds. In each round, tasks in
two event loops and some threads make random calls (chats, streams, speech, `cached()` functions, early refreshes) and
leave them at random: cancelled once or twice, timed out, closed early, or dropped for the garbage collector. At the end
of a round everything has to be at rest, and at the end of all rounds `Soak.run` returns what was wrong:

- a foreign error, or the error of another caller that left;
- an answer that is not the one to its own prompt;
- a reservation, a row of the ledger, a flight, a lease or a place under a limit that stays open;
- memory, file descriptors or threads that grow from round to round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import llmcore
from llmcore.errors import LLMCoreError
from llmcore.support.ledger_rows import RowQuery
from llmcore.types import Delta
from llmcore_testing.redis_server import RedisServer
from llmcore_testing.simulator import Fault, Simulator
from tests.kits.soak_calls import OwnError, answer_to, cached_functions, reply

TASKS: Final = 24
"""In each of two event loops."""
THREADS: Final = 6
PATIENCE_S: Final = 20.0
"""Seconds for calls in progress to end after a round."""
CACHE: Final[tuple[Any, ...]] = (True, True, "refresh", False)
WORDS: Final = ("rain", "umbrella", "city", "harbour", "winter", "train")
TEXTS: Final = tuple(f"The {word} waits." for word in WORDS)
FAULTS: Final[tuple[Callable[[], Fault], ...]] = (
    lambda: Fault.status(500),
    lambda: Fault.status(429, retry_after=0),
    Fault.reset,
    lambda: Fault.reset(after=40),
    Fault.cut_stream,
    lambda: Fault.slow(0.1),
    Fault.stall,
    Fault.error_chunk,
    Fault.bad_json,
)


class Soak:
    """One run, with servers, a Core and a folder of its own."""

    def __init__(self, folder: Path, *, seconds: float, seed: int, rounds: int = 5) -> None:
        self.seen: Counter[str] = Counter()
        """What the calls came to."""
        self.wrong: Counter[str] = Counter()
        """What must not happen."""
        self._random = random.Random(seed)  # noqa: S311 - chance, no secret
        self._round_s, self._rounds = seconds / rounds, rounds
        self._upstream = Simulator(reply=reply, latency_s=0.003, keep_requests=50)
        self._redis = RedisServer(folder)
        self._folder = folder
        self._until = 0.0
        self._sizes: list[dict[str, int]] = []
        self._speech: dict[str, bytes] = {}

    def run(self) -> Counter[str]:
        """Run the soak; return the faults."""
        with self._upstream, self._redis, llmcore.load(self._config()) as self._core, self._watch():
            self._functions = cached_functions(self._core.cache, self._random)
            self._speech = {text: self._core.voice.synthesize(text, cache=False).audio for text in TEXTS}
            for number in range(self._rounds):
                self._play(number)
        self._check_growth()
        return self.wrong

    def _config(self) -> dict[str, Any]:
        return {
            "llm": {
                "provider": "openai",
                "model": "gpt-4o-mini",
                "openai": {"base_url": self._upstream.base_url, "api_key": "sk-soak"},
            },
            "voice": {
                "provider": "elevenlabs",
                "elevenlabs": {"base_url": self._upstream.url, "api_key": "soak"},
            },
            "cache": {"provider": "redis", "redis": {"url": self._redis.url}, "memory": "1 MB"},
            "budget": {"limit": "1000000 USD", "per": "day"},
            "limits": {"concurrency": 12},
            "ledger": {"path": str(self._folder / "ledger.sqlite3")},
            "retry": {"attempts": 2, "deadline": "3s", "idle": "1s"},
        }

    # -- a round

    def _play(self, number: int) -> None:
        self._until = time.monotonic() + self._round_s
        actors = [threading.Thread(target=self._meddle, name="soak-faults")]
        actors += [threading.Thread(target=self._loop, name="soak-loop") for _ in range(2)]
        actors += [threading.Thread(target=self._thread, name="soak-thread") for _ in range(THREADS)]
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join()
        self._check_rest(number)
        self._sizes.append(self._size())

    def _meddle(self) -> None:
        """Let the upstream and Redis fail, in turn with times in which they work."""
        while time.monotonic() < self._until:
            self._upstream.fail(self._random.choice(FAULTS)())
            time.sleep(self._random.random() * 0.1)
            chance = self._random.random()
            if chance < 0.02:
                self._redis.kill()
                time.sleep(self._random.random() * 0.2)
                self._redis.start()
            elif chance < 0.06:
                self._redis.pause()
                time.sleep(self._random.random() * 0.2)
                self._redis.resume()
        self._upstream.reset()

    def _loop(self) -> None:
        asyncio.run(self._tasks())

    async def _tasks(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._hear_loop)
        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(self._task())

    def _hear_loop(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "asynchronous generator is already running" in str(error):
            return  # httpx leaves its nested generators to the garbage collector, which may close two of them at once
        if "was destroyed but it is pending" in context["message"] and loop.is_closed():
            return  # another thread sent it to the loop in its last iteration; it has been told that the loop ended
        self._blame(error, f"in the loop, {context['message']:.80}")

    async def _task(self) -> None:
        actions = (self._achat, self._astream, self._aspeak, self._acall_cached, self._apieces)
        while time.monotonic() < self._until:
            task = asyncio.ensure_future(self._random.choice(actions)())
            if self._random.random() < 0.5:
                await asyncio.wait([task], timeout=self._random.random() ** 2 * 0.1)
                for _ in range(self._random.choice((1, 1, 1, 2))):
                    task.cancel()
                    await asyncio.sleep(0)
            await asyncio.wait([task])
            if task.cancelled():
                self.seen["cancelled"] += 1
            else:
                self._judge(task.exception())

    def _thread(self) -> None:
        actions = (self._chat, self._stream, self._speak, self._call_cached, self._pieces)
        while time.monotonic() < self._until:
            try:
                self._random.choice(actions)()
            except BaseException as error:  # noqa: BLE001 - all are judged
                self._judge(error)

    # -- what a call can be

    def _prompt(self) -> str:
        """Return a prompt that other calls use too, or a new one."""
        return self._random.choice(WORDS) if self._random.random() < 0.7 else f"x{self._random.random()}"

    def _make_arguments(self) -> dict[str, Any]:
        given: dict[str, Any] = {"cache": self._random.choice(CACHE), "max_tokens": 100}
        if self._random.random() < 0.3:
            given |= {"cache_ttl": 1.0, "cache_refresh": 0.3}
        if self._random.random() < 0.2:
            given |= {"timeout": 0.01 + self._random.random() * 0.1}
        return given

    async def _achat(self) -> None:
        prompt = self._prompt()
        self._compare(
            "chat", (await self._core.llm.achat(prompt, **self._make_arguments())).text, answer_to(prompt)
        )

    def _chat(self) -> None:
        prompt = self._prompt()
        self._compare("chat", self._core.llm.chat(prompt, **self._make_arguments()).text, answer_to(prompt))

    async def _astream(self) -> None:
        prompt = self._prompt()
        deltas = self._core.llm.astream(prompt, **self._make_arguments())
        await self._areceive("stream", deltas, answer_to(prompt), "")

    def _stream(self) -> None:
        prompt = self._prompt()
        deltas = self._core.llm.stream(prompt, **self._make_arguments())
        self._receive("stream", deltas, answer_to(prompt), "")
        if self._random.random() < 0.5:
            deltas.close()

    async def _aspeak(self) -> None:
        text, cache = self._random.choice(TEXTS), self._random.choice(CACHE)
        if self._random.random() < 0.5:
            audio = (await self._core.voice.asynthesize(text, cache=cache)).audio
            self._compare("speech", audio, self._speech[text])
        else:
            pieces = self._core.voice.astream(text, cache=cache)
            await self._areceive("spoken stream", pieces, self._speech[text], b"")

    def _speak(self) -> None:
        text, cache = self._random.choice(TEXTS), self._random.choice(CACHE)
        if self._random.random() < 0.5:
            self._compare("speech", self._core.voice.synthesize(text, cache=cache).audio, self._speech[text])
        else:
            pieces = self._core.voice.stream(text, cache=cache)
            self._receive("spoken stream", pieces, self._speech[text], b"")

    async def _acall_cached(self) -> None:
        prompt = self._prompt()
        self._compare("cached", await self._functions.coroutine(prompt), answer_to(prompt))

    def _call_cached(self) -> None:
        prompt = self._prompt()
        self._compare("cached", self._functions.plain(prompt), answer_to(prompt))

    async def _apieces(self) -> None:
        prompt = self._prompt()
        await self._areceive("cached pieces", self._functions.apieces(prompt), answer_to(prompt) + " ", "")

    def _pieces(self) -> None:
        prompt = self._prompt()
        self._receive("cached pieces", self._functions.pieces(prompt), answer_to(prompt) + " ", "")

    async def _areceive(self, kind: str, pieces: Any, right: Any, whole: Any) -> None:
        most = self._random.choice((1, 3, 10**6, 10**6))
        async for piece in pieces:
            whole += piece.text or "" if isinstance(piece, Delta) else piece
            most -= 1
            if not most:
                break
        self._compare(kind, whole, right if most else right[: len(whole)])
        if not most and self._random.random() < 0.5:
            await pieces.aclose()

    def _receive(self, kind: str, pieces: Any, right: Any, whole: Any) -> None:
        most = self._random.choice((1, 3, 10**6, 10**6))
        for piece in pieces:
            whole += piece.text or "" if isinstance(piece, Delta) else piece
            most -= 1
            if not most:
                break
        self._compare(kind, whole, right if most else right[: len(whole)])

    # -- judging

    def _compare(self, kind: str, given: object, right: object) -> None:
        self.seen[f"{kind}: answered"] += 1
        if given != right:
            self.wrong[f"wrong {kind}: {given!r:.100} in place of {right!r:.100}"] += 1

    def _judge(self, error: BaseException | None) -> None:
        if isinstance(error, LLMCoreError) and "shared broke off" not in error.message:
            self.seen[type(error).__name__] += 1
        elif isinstance(error, OwnError):
            self.seen["OwnError"] += 1
        elif error is not None:
            self._blame(error, "raised")

    def _blame(self, error: object, where: str) -> None:
        self.wrong[f"{where}: {error!r:.200}"] += 1

    @contextlib.contextmanager
    def _watch(self) -> Iterator[None]:
        """Record exceptions that are not caught anywhere."""
        before = threading.excepthook, sys.unraisablehook
        threading.excepthook = lambda hook: self._blame(hook.exc_value, "in a thread")
        sys.unraisablehook = self._hear
        try:
            yield
        finally:
            threading.excepthook, sys.unraisablehook = before

    def _hear(self, unraisable: Any) -> None:
        if not asyncio.iscoroutine(unraisable.object):  # an SDK's, whose loop has ended in the middle of it
            self._blame(unraisable.exc_value, f"in {unraisable.object!r:.80}")

    def _check_rest(self, number: int) -> None:
        """See that nothing is under way when all callers have gone."""
        gc.collect()
        core, rests = self._core, dict[str, Callable[[], object]]()
        rests["reserved"] = lambda: any(budget.reserved for budget in core.usage.budgets())
        rests["open rows"] = self._open_rows
        rests["flights"] = lambda: [
            *core.llm._services.flights._flights,
            *core.voice._services.flights._flights,
            *core.cache._values.flights._flights,
        ]
        rests["leases"] = lambda: {**core.llm._services.leases._held, **core.cache._values.leases._held}
        limits: Any = core.llm._services.limits
        rests["places"] = lambda: [
            (place.name, place.shared.busy)
            for place in limits._providers.values()
            if place.shared.busy or place.busy
        ]
        rests["refreshes"] = lambda: [
            each.name for each in threading.enumerate() if each.name == "llmcore-refresh"
        ]
        rests["requests"] = lambda: self._upstream.in_flight
        for name, left in rests.items():
            give_up = time.monotonic() + PATIENCE_S
            while (found := left()) and time.monotonic() < give_up:
                time.sleep(0.05)
            if found:
                self.wrong[f"{name} left after round {number}: {found!r:.200}"] += 1

    def _open_rows(self) -> Any:
        return self._core._spending.read("iterate_rows", RowQuery(states=("open",)))

    def _size(self) -> dict[str, int]:
        gc.collect()
        return {
            "threads": sum(not each.name.startswith("llmcore-step") for each in threading.enumerate()),
            "descriptors": len([*Path("/proc/self/fd").iterdir()]) if Path("/proc/self/fd").is_dir() else 0,
            "objects": len(gc.get_objects()),
        }

    def _check_growth(self) -> None:
        """Compare the last round with the second one: the first one fills what is filled once.

        The pools of connections of 6 threads to 3 servers may be fuller or emptier: a leak is much larger than that.
        """
        before, after = self._sizes[1], self._sizes[-1]
        for name, most in {"threads": 6, "descriptors": 24, "objects": before["objects"] // 20}.items():
            if after[name] > before[name] + most:
                self.wrong[f"{name} grow: {[size[name] for size in self._sizes]}"] += 1


def main() -> int:
    """Run the soak and print what it saw."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder), seconds=options.seconds, seed=options.seed, rounds=options.rounds)
        wrong = soak.run()
    print(f"seed {options.seed}, {sum(soak.seen.values())} calls")
    for name, count in sorted(soak.seen.items()):
        print(f"  {count:7} {name}")
    print("sizes after each round:", *soak._sizes, sep="\n  ")
    for name, count in wrong.items():
        print(f"WRONG {count:5} {name}")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
