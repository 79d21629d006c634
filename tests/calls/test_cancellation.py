"""A call that is cancelled at any moment: each step's result reaches the work that asked for it, and nothing stays open.

The moments are the iterations of the event loop: a call is cancelled before its first one, its second one, and so on to
its end. So every race between a result and a cancellation in the same iteration is among them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import llmcore
from llmcore.cache.lease import Leases
from llmcore.cache.store import CacheStore
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import aiterate, arun
from llmcore.calls.single_flight import Flights
from llmcore.calls.steps import CHECKPOINT, Interrupted, Step
from llmcore.errors import Timeout
from llmcore.hookspecs import Options, Provider
from llmcore.support.ledger_rows import RowQuery
from llmcore.types import ChatRequest, Delta, Reply, Usage

MOST = 600
"""More iterations of the event loop than any call needs."""
WAYS = ("chat", "stream", "speech", "spoken stream", "cached", "cached pieces")
Way = Callable[[str], Awaitable[Any]]


def answer(prompt: str) -> str:
    return f"about {prompt} and nothing else"


async def acomplete(_: Any, request: ChatRequest) -> Reply:
    for _ in range(2):
        await asyncio.sleep(0)
    text = answer(str(request.messages[-1]["content"]))
    return Reply(text=text, model=request.model, usage=Usage(input_tokens=10, output_tokens=4))


async def astream(_: Any, request: ChatRequest) -> AsyncIterator[Delta]:
    for word in answer(str(request.messages[-1]["content"])).split(" "):
        await asyncio.sleep(0)
        yield Delta(text=word + " ")
    yield Delta(finish_reason="stop", usage=Usage(input_tokens=10, output_tokens=4), model=request.model)


@pytest.fixture
def core(scripted: Any, speaker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    del speaker
    monkeypatch.setattr(scripted.Scripted, "acomplete", acomplete)
    monkeypatch.setattr(scripted.Scripted, "astream", astream)
    config = {
        "llm": {"provider": "scripted"},
        "voice": {"provider": "speaker"},
        "cache": {"provider": "file", "file": {"cache_dir": str(tmp_path)}},
        "prices": {"scripted:default": {"input": 0, "output": "3125"}},
        "budget": {"limit": "100000 USD"},
        "limits": {"concurrency": 2},
        "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
    }
    with llmcore.load(config) as made:
        yield made


def find_way(core: llmcore.Core, name: str) -> tuple[Way, Callable[[str], Any]]:
    """Return a call of the given kind, and a function that returns the correct answer to a prompt."""
    cached = core.cache.cached

    async def chat(prompt: str) -> str:
        return (await core.llm.achat(prompt, max_tokens=4)).text

    async def stream(prompt: str) -> str:
        return "".join([delta.text or "" async for delta in core.llm.astream(prompt, max_tokens=4)])

    async def speech(prompt: str) -> bytes:
        return (await core.voice.asynthesize(prompt)).audio

    async def speak(prompt: str) -> bytes:
        return b"".join([piece async for piece in core.voice.astream(prompt)])

    @cached()
    async def coroutine(prompt: str) -> str:
        await asyncio.sleep(0)
        return answer(prompt)

    @cached()
    async def words(prompt: str) -> AsyncIterator[str]:
        for word in answer(prompt).split(" "):
            await asyncio.sleep(0)
            yield word + " "

    async def pieces(prompt: str) -> str:
        return "".join([piece async for piece in words(prompt)])

    def audio(prompt: str) -> bytes:
        return core.voice.synthesize(prompt, cache=False).audio

    ways: dict[str, tuple[Way, Callable[[str], Any]]] = {
        "chat": (chat, answer),
        "stream": (stream, lambda prompt: answer(prompt) + " "),
        "speech": (speech, audio),
        "spoken stream": (speak, audio),
        "cached": (coroutine, answer),
        "cached pieces": (pieces, lambda prompt: answer(prompt) + " "),
    }
    return ways[name]


def check_at_rest(core: llmcore.Core) -> None:
    """See that nothing is reserved, open, held or under way."""
    core.llm.chat("a last call", cache=False, max_tokens=4)  # opens the ledger, where nothing has
    services, values = core.llm._services, core.cache._values
    assert [budget.reserved for budget in core.usage.budgets()] == [0]
    assert core._spending.read("iterate_rows", RowQuery(states=("open",))) == []
    for flights in (services.flights, core.voice._services.flights, values.flights):
        assert flights._flights == {}
    assert (services.leases._held, values.leases._held) == ({}, {})
    limits: Any = services.limits
    assert all(queue.shared.busy == 0 for queue in limits._providers.values())


@pytest.mark.parametrize("name", WAYS)
def test_a_call_that_is_cancelled_at_any_moment_is_cancelled_or_right(core: llmcore.Core, name: str) -> None:
    way, right = find_way(core, name)

    async def cancel_after(iterations: int) -> bool:
        prompt = f"{iterations} tigers"
        task = asyncio.ensure_future(way(prompt))
        for _ in range(iterations):
            await asyncio.sleep(0)
        over = task.done()
        task.cancel()
        result: Any = (await asyncio.gather(task, return_exceptions=True))[0]
        if not isinstance(result, asyncio.CancelledError):
            assert result == right(prompt)
        return over

    async def main() -> None:
        loop_errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_errors.append(context))
        assert not await cancel_after(1)
        for iterations in range(MOST):
            if await cancel_after(iterations):
                break
        else:
            raise AssertionError(f"the call took more than {MOST} iterations")
        assert loop_errors == []

    asyncio.run(main())
    check_at_rest(core)


@pytest.mark.slow
@pytest.mark.parametrize("name", WAYS)
def test_callers_that_leave_take_nothing_from_those_that_stay(core: llmcore.Core, name: str) -> None:
    way, right = find_way(core, name)
    chance = random.Random(name)  # noqa: S311 - chance, no secret

    async def round_of(number: int) -> None:
        prompt = f"{number} tigers"
        callers: list[asyncio.Future[Any]] = []
        leavers: list[asyncio.Future[Any]] = []
        for _ in range(60):
            if chance.random() < 0.3:
                callers.append(asyncio.ensure_future(way(prompt)))
            if callers and chance.random() < 0.2:
                leavers.append(leaver := chance.choice(callers))
                leaver.cancel()
            await asyncio.sleep(0)
        results: list[Any] = await asyncio.gather(*callers, return_exceptions=True)
        for caller, result in zip(callers, results, strict=True):
            if not (caller in leavers and isinstance(result, asyncio.CancelledError)):
                assert result == right(prompt)

    async def main() -> None:
        for number in range(40):
            await round_of(number)

    asyncio.run(main())
    check_at_rest(core)


@pytest.mark.slow
@pytest.mark.parametrize("iterations", range(0, 60, 3))
def test_a_refresh_whose_loop_ends_at_any_moment_leaves_nothing(core: llmcore.Core, iterations: int) -> None:
    async def main() -> None:
        given: dict[str, Any] = {"max_tokens": 4, "cache_ttl": 3600, "cache_refresh": 1e-9}
        await core.llm.achat("Hello", **given)
        await core.llm.achat("Hello", **given)  # begins the refresh
        for _ in range(iterations):
            await asyncio.sleep(0)

    asyncio.run(main())
    check_at_rest(core)


def test_threads_that_close_a_stream_early_leave_the_rest_their_answer(core: llmcore.Core) -> None:
    for most in range(1, 6):
        prompt = f"{most} tigers"

        async def read(prompt: str = prompt) -> str:
            return "".join([delta.text or "" async for delta in core.llm.astream(prompt, max_tokens=4)])

        def leave(prompt: str = prompt, most: int = most) -> None:
            stream = core.llm.stream(prompt, max_tokens=4)
            for _ in range(most):
                next(stream, None)
            stream.close()

        async def main(
            read: Callable[[], Awaitable[str]] = read, leave: Callable[[], None] = leave
        ) -> list[Any]:
            leaving = [asyncio.to_thread(leave) for _ in range(6)]
            return await asyncio.gather(read(), *leaving, read(), return_exceptions=True)

        first, *left, last = asyncio.run(main())
        assert left == [None] * 6
        assert first.split() == last.split()
        assert first
    check_at_rest(core)


# -- the parts


def make_completing(value: Any) -> Step:
    """Return a step that completes although its task is cancelled."""

    async def awaiting() -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            cancellation = error
        raise Interrupted(value, None, cancellation)

    return Step(lambda: value, awaiting)


async def cancel_task(awaitable: Any) -> Any:
    task = asyncio.ensure_future(awaitable)
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    return (await asyncio.gather(task, return_exceptions=True))[0]


@pytest.mark.parametrize("way", ["chat", "stream", "shared chat", "shared stream"])
def test_the_result_reaches_the_work_before_the_cancellation(way: str) -> None:
    seen: list[Any] = []

    def work() -> Generator[Any, Any, str]:
        seen.append((yield make_completing("a reservation")))
        try:
            yield CHECKPOINT
            seen.append("not cancelled")
        finally:
            seen.append((yield Step(lambda: "settled", None)))
        return "unreached"

    async def collect(call: Any) -> list[Any]:
        return [piece async for piece in aiterate(call)]

    async def main() -> Any:
        call: Any = Flights().join("k", work, emit=bool) if "shared" in way else work()
        return await cancel_task(collect(call) if "stream" in way else arun(call))

    assert isinstance(asyncio.run(main()), asyncio.CancelledError)
    assert seen == ["a reservation", "settled"]


@pytest.mark.parametrize("way", ["chat", "shared chat"])
def test_work_that_ends_with_the_result_does_not_swallow_the_cancellation(way: str) -> None:
    def work() -> Generator[Any, Any, str]:
        yield make_completing("a reservation")
        return "the end"

    async def main() -> Any:
        call: Any = Flights().join("k", work) if "shared" in way else work()
        return await cancel_task(arun(call))

    assert isinstance(asyncio.run(main()), asyncio.CancelledError)


def test_a_lease_that_was_granted_to_a_cancelled_caller_is_released() -> None:
    leases: dict[str, str] = {}

    class Slow:
        async def aget(self, key: str) -> bytes | None:
            del key
            await asyncio.sleep(0)
            return None

        async def aacquire(self, key: str, holder: str, ttl: float) -> bool:
            del ttl
            await asyncio.sleep(0)
            leases[key] = holder
            await asyncio.sleep(0)
            return True

        async def arelease(self, key: str, holder: str) -> None:
            await asyncio.sleep(0)
            if leases.get(key) == holder:
                del leases[key]

    entry = Provider(name="slow", options=Options, create=lambda _: Slow())
    settings = SimpleNamespace(options=lambda *_: Options())
    made = Leases(CacheStore(Backend("cache", entry, settings)))

    def call() -> Generator[Any, Any, str]:
        _, held = yield from made.acquire_or_wait("k", lambda: 5.0)
        return (yield from made.hold("k" if held else None, work()))

    def work() -> Generator[Any, Any, str]:
        yield Step(lambda: None, lambda: asyncio.sleep(0))
        return "done"

    async def main() -> None:
        for iterations in range(30):
            task = asyncio.ensure_future(arun(call()))
            for _ in range(iterations):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert (leases, made._held) == ({}, {}), iterations

    asyncio.run(main())
    made.close()


def test_a_timeout_of_a_caller_is_not_a_failure_of_cache_or_ledger(core: llmcore.Core) -> None:
    """The time runs out during a step of the cache, of the ledger, of the upstream, or not at all."""

    async def main() -> None:
        for number in range(100):
            late = core.llm.achat(f"{number} tigers", max_tokens=4, timeout=1e-6 + number * 1e-4)
            result = (await asyncio.gather(late, return_exceptions=True))[0]
            assert isinstance(result, Reply | Timeout), result

    asyncio.run(main())
    assert core.llm._services.cache.stats.errors == 0
    check_at_rest(core)
