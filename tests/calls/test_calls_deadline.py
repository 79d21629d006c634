"""The host ends a stream at the deadline of the call, and by nothing else: silence is the provider's to measure."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import llmcore
from llmcore.errors import ProviderError, Timeout
from llmcore.types import Delta, Usage

pytestmark = pytest.mark.slow

END = Delta(finish_reason="stop", usage=Usage(input_tokens=3, output_tokens=2))
LONG = 30.0


def load_core(**retry: Any) -> llmcore.Core:
    return llmcore.load(
        {"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}, "retry": {"attempts": 1, **retry}}
    )


@pytest.fixture(params=[True, False], ids=["shared", "alone"])
def cache(request: pytest.FixtureRequest) -> bool:
    """Return whether the call takes part in the cache, and so in single-flight."""
    return bool(request.param)


class Hang:
    """Streams a word and then waits until it is released, in the asynchronous variant."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scripted: Any) -> None:
        self.asked = 0
        self.waits = threading.Event()
        self.ended: list[type[BaseException] | None] = []
        self._released: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        monkeypatch.setattr(scripted.Scripted, "astream", lambda _, request: self._astream(request))

    async def _astream(self, request: Any) -> AsyncIterator[Delta]:
        del request
        self.asked += 1
        self._loop, self._released = asyncio.get_running_loop(), asyncio.Event()
        try:
            yield Delta(text="Rain ")
            self.waits.set()
            await self._released.wait()
            yield END
        except BaseException as error:
            self.ended.append(type(error))
            raise
        self.ended.append(None)

    def release(self) -> None:
        assert self._loop is not None
        assert self._released is not None
        self._loop.call_soon_threadsafe(self._released.set)


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch, scripted: Any) -> Hang:
    return Hang(monkeypatch, scripted)


async def drain(core: llmcore.Core, *args: Any, **given: Any) -> str:
    return "".join([delta.text async for delta in core.llm.astream(*args, **given)])


def list_timers() -> list[Any]:
    """Return the timers that are scheduled in the running loop."""
    scheduled: list[Any] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [handle for handle in scheduled if not handle.cancelled()]


def test_a_provider_that_hangs_is_ended_at_the_deadline(hang: Hang, *, cache: bool) -> None:
    core = load_core(deadline="1s", idle="60s")
    core.llm.chat("All that a first call opens takes time")
    with pytest.raises(Timeout) as caught:
        asyncio.run(drain(core, "Hello", cache=cache))
    assert caught.value.partial == "Rain "
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert (hang.asked, hang.ended) == (1, [asyncio.CancelledError])


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_silence_within_the_deadline_is_not_a_failure(
    scripted: Any, monkeypatch: pytest.MonkeyPatch, variant: str, *, cache: bool
) -> None:
    asked: list[Any] = []

    def stream(_: Any, request: Any) -> Iterator[Delta]:
        asked.append(request)
        time.sleep(0.05)  # the silence itself
        yield from (Delta(text="Rain"), END)

    async def astream(_: Any, request: Any) -> AsyncIterator[Delta]:
        asked.append(request)
        await asyncio.sleep(0.05)
        yield Delta(text="Rain")
        await asyncio.sleep(0.05)
        yield END

    monkeypatch.setattr(scripted.Scripted, "stream", stream)
    monkeypatch.setattr(scripted.Scripted, "astream", astream)
    core = load_core(deadline="30s", idle="1ms", attempts=3)
    if variant == "sync":
        said = "".join(delta.text for delta in core.llm.stream("Hello", cache=cache))
    else:
        said = asyncio.run(drain(core, "Hello", cache=cache))
    assert said == "Rain"
    assert [request.idle_s for request in asked] == [0.001], "the provider gets the deadline, and one request"


def test_a_cancelled_caller_is_cancelled_and_not_late(hang: Hang, *, cache: bool) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(drain(load_core(), "Hello", cache=cache))
        await asyncio.to_thread(hang.waits.wait, LONG)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert hang.asked == 1


def test_a_timeout_of_the_application_is_its_own(hang: Hang, *, cache: bool) -> None:
    async def expire(limit: asyncio.Timeout) -> None:
        await asyncio.to_thread(hang.waits.wait, LONG)
        limit.reschedule(asyncio.get_running_loop().time())

    async def main() -> None:
        async with asyncio.timeout(LONG) as limit:
            expiring = asyncio.ensure_future(expire(limit))
            await drain(load_core(), "Hello", cache=cache)
            await expiring

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(main())
    assert not isinstance(caught.value, ProviderError)
    assert hang.asked == 1


def test_a_caller_with_more_time_prolongs_the_stream_that_it_joins(hang: Hang) -> None:
    core = load_core()

    async def main() -> str:
        hasty = asyncio.ensure_future(drain(core, "Hello", timeout=10))
        await asyncio.to_thread(hang.waits.wait, LONG)
        patient = asyncio.ensure_future(drain(core, "Hello", timeout=LONG))
        with pytest.raises(Timeout):
            await hasty
        hang.release()
        return await patient

    assert asyncio.run(main()) == "Rain "
    assert hang.asked == 1


async def _run_to_its_end(core: llmcore.Core, hang: Hang, *, cache: bool) -> None:
    task = asyncio.ensure_future(drain(core, "Hello", cache=cache))
    await asyncio.to_thread(hang.waits.wait, LONG)
    hang.release()
    assert await task == "Rain "


async def _cancel(core: llmcore.Core, hang: Hang, *, cache: bool) -> None:
    task = asyncio.ensure_future(drain(core, "Hello", cache=cache))
    await asyncio.to_thread(hang.waits.wait, LONG)
    task.cancel()
    await asyncio.wait([task])


async def _leave_early(core: llmcore.Core, hang: Hang, *, cache: bool) -> None:
    del hang
    stream = core.llm.astream("Hello", cache=cache)
    assert (await anext(stream)).text == "Rain "
    await stream.aclose()


async def _collect_garbage(core: llmcore.Core, hang: Hang, *, cache: bool) -> None:
    del hang
    assert (await anext(core.llm.astream("Hello", cache=cache))).text == "Rain "
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("leave", [_run_to_its_end, _cancel, _leave_early, _collect_garbage])
def test_no_timer_outlives_its_stream(hang: Hang, leave: Callable[..., Any], *, cache: bool) -> None:
    core = load_core()

    async def main() -> None:
        await leave(core, hang, cache=cache)
        async with asyncio.timeout(LONG):
            while len(list_timers()) > 1:  # noqa: ASYNC110 - the loop's list has no event; one is of this very wait
                await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize("piece", ["text", None, 7])
@pytest.mark.parametrize("variant", ["sync", "async"])
def test_a_piece_that_is_not_a_delta_is_named(scripted: Any, variant: str, piece: Any) -> None:
    scripted.script.append([Delta(text="Rain "), piece])
    core = load_core()
    with pytest.raises(ProviderError, match=f"`scripted` streamed a {type(piece).__name__}") as caught:
        list(core.llm.stream("Hello")) if variant == "sync" else asyncio.run(drain(core, "Hello"))
    assert caught.value.partial == "Rain "
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert scripted.closed == ["stream"]


def test_speech_that_hangs_is_ended_at_the_deadline(speaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[type[BaseException]] = []

    async def astream_speech(_: Any, text: str, voice: str | None = None, **settings: Any) -> Any:
        del voice, settings
        yield speaker.make_wav(speaker.make_samples(text))[:100]
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            ended.append(type(error))
            raise

    monkeypatch.setattr(speaker.Speaker, "astream_speech", astream_speech)
    core = llmcore.load(
        {"voice": {"provider": "speaker"}, "retry": {"attempts": 1, "deadline": "1s", "idle": "60s"}}
    )

    async def main() -> None:
        async for _ in core.voice.astream("It rains."):
            pass

    with pytest.raises(Timeout):
        asyncio.run(main())
    assert ended == [asyncio.CancelledError]


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_silence_of_a_voice_within_the_deadline_is_not_a_failure(
    speaker: Any, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    timeouts: list[float] = []

    def stream_speech(_: Any, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:
        del voice
        timeouts.append(settings["idle_s"])
        time.sleep(0.05)  # the silence itself
        yield speaker.make_wav(speaker.make_samples(text))

    async def astream_speech(_: Any, text: str, voice: str | None = None, **settings: Any) -> Any:
        del voice
        timeouts.append(settings["idle_s"])
        await asyncio.sleep(0.05)
        yield speaker.make_wav(speaker.make_samples(text))

    monkeypatch.setattr(speaker.Speaker, "stream_speech", stream_speech)
    monkeypatch.setattr(speaker.Speaker, "astream_speech", astream_speech)
    core = llmcore.load({"voice": {"provider": "speaker"}, "retry": {"attempts": 3, "idle": "1ms"}})

    async def main() -> bytes:
        return b"".join([piece async for piece in core.voice.astream("It rains.")])

    audio = b"".join(core.voice.stream("It rains.")) if variant == "sync" else asyncio.run(main())
    assert audio == speaker.make_wav(speaker.make_samples("It rains."))
    assert timeouts == [0.001]
