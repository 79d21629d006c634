"""The worker processes: a crash, a deadline or a fork does not affect other speeches, and leaves no process behind."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import pytest

import llmcore
from llmcore.errors import Timeout, VoiceError
from llmcore_voice_espeak.deadline import Deadline
from llmcore_voice_espeak.pool import LIMIT, WorkerPool, get_shared_pool
from llmcore_voice_espeak.provider import EspeakVoice
from tests.kits.espeak import (
    count_descriptors,
    find_workers,
    linux,
    list_children,
    no_workers,  # noqa: F401 - a fixture
    posix,
)
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_workers")

ENDLESS = "It rains, and it does not stop to rain. " * 2_500
CRASH = ("1234567890" * 4, "kl")
"""A text and a voice with which the library accesses memory that it does not have."""


# -- a crash


def test_a_crash_is_a_voice_error_and_the_next_text_is_spoken() -> None:
    voice = EspeakVoice()
    expected = voice.synthesize("Hello.").audio
    for _ in range(3):
        with pytest.raises(VoiceError, match=r"was ended by SIG(SEGV|ABRT|BUS)") as caught:
            voice.synthesize(*CRASH)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        assert voice.synthesize("Hello.").audio == expected


def test_a_crash_ends_a_stream_and_an_async_call() -> None:
    voice = EspeakVoice()

    async def streamed() -> None:
        async for _ in voice.astream_speech(*CRASH):
            pass

    with pytest.raises(VoiceError, match="was ended by SIG"):
        list(voice.stream_speech(*CRASH))
    with pytest.raises(VoiceError, match="was ended by SIG"):
        asyncio.run(streamed())
    with pytest.raises(VoiceError, match="was ended by SIG"):
        asyncio.run(voice.asynthesize(*CRASH))


@posix
def test_a_worker_that_is_killed_while_it_speaks_is_reported() -> None:
    stream = EspeakVoice().stream_speech(ENDLESS * 5, format="pcm")
    next(stream)
    for worker in find_workers():
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(VoiceError, match="was ended by SIGKILL"):
        list(stream)
    assert not find_workers()


@posix
def test_a_worker_that_was_killed_while_it_was_idle_is_replaced() -> None:
    voice = EspeakVoice()
    voice.synthesize("Hello.")
    before = find_workers()
    assert len(before) == 1
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    assert voice.synthesize("Hello.").audio
    assert len(find_workers() - before) == 1


def test_a_worker_is_used_again() -> None:
    voice = EspeakVoice()
    voice.synthesize("Hello.")
    before = find_workers()
    for number in range(5):
        voice.synthesize(f"Number {number}.")
    assert find_workers() == before


# -- refused before anything is sent


@pytest.mark.parametrize(
    "inside",
    [
        "<audio src='/etc/passwd'>a</audio>",
        "<audio/>",
        "<AUDIO SRC='a.wav'/>",
        "<a:audio xmlns:a='b'/>",
        "<\u0161udio src='/etc/passwd'/>",
        "<!-- > <audio src='/etc/passwd'/> -->",
        "<![CDATA[<audio src='/etc/passwd'/>]]>",
        "<?a <audio src='/etc/passwd'?>",
        "<audio\n\tsrc = '/etc/passwd'/>",
        "<img src='/etc/passwd'/>",
        "<s><speak><p Src='a'>b</p></speak></s>",
        "<voice name='en+../../../../etc/passwd'>a</voice>",
        "<!-- <voice < name='en+../../x'> -->",
    ],
)
def test_ssml_that_names_a_file_is_not_sent(inside: str) -> None:
    voice = EspeakVoice()
    text = f"<speak>Hello {inside} you</speak>"
    with pytest.raises(VoiceError, match="does not support SSML with") as caught:
        voice.synthesize(text)
    assert caught.value.code == "LC905"
    with pytest.raises(VoiceError, match="does not support SSML with"):
        list(voice.stream_speech(text))
    assert not find_workers()


@pytest.mark.parametrize(
    "text",
    ["<speak>&#1;20P</speak>", "<speak>&a;</speak>", "<speak>a", "<speak><p></speak>", "\ud800", "a\udfffb"],
)
def test_a_text_that_cannot_be_spoken_is_not_sent(text: str) -> None:
    with pytest.raises(VoiceError) as caught:
        EspeakVoice().synthesize(text)
    assert (caught.value.code, caught.value.__context__) == ("LC905", None)
    assert not find_workers()


@pytest.mark.parametrize(
    "text",
    [
        "<speak>a src='b' audio &lt;audio src='c'&gt; </speak>",
        "<speak><mark name='../m'/>a</speak>",
        "<speak><voice name='en+f3'>a</voice></speak>",
        "audio <audio src='/etc/passwd'> is read out",
    ],
)
def test_text_about_files_is_spoken(text: str) -> None:
    assert EspeakVoice().synthesize(text).audio


# -- the end of a call


def time_out_in_the_worker(voice: EspeakVoice, text: str, **options: Any) -> None:
    """Let calls time out until no worker is left. On a busy machine the time can be over before a call has one."""
    for _ in range(50):
        with pytest.raises(Timeout):
            voice.synthesize(text, **options)
        if not find_workers():
            return
    pytest.fail("the deadline does not end the worker")


@linux
@pytest.mark.parametrize("kind", ["wav", "mp3"])
def test_a_deadline_ends_the_worker(kind: str) -> None:
    voice = EspeakVoice()
    voice.list_voices()
    time_out_in_the_worker(voice, ENDLESS, format=kind, timeout_s=0.05)
    assert "Z" not in list_children(os.getpid()).values()


@posix
def test_a_deadline_ends_a_worker_that_does_not_answer() -> None:
    voice = EspeakVoice()
    voice.synthesize("Hello.")
    for worker in find_workers():
        os.kill(worker, signal.SIGSTOP)
    time_out_in_the_worker(voice, ENDLESS * 5, timeout_s=0.2)
    assert voice.synthesize("Hello.", timeout_s=60).audio


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_task_ends_the_worker(*, streamed: bool) -> None:
    async def cancel() -> None:
        with llmcore.load({"voice": {"provider": "espeak"}}) as core:
            await core.voice.asynthesize("The voices are known from here on.", cache=False)

            async def consume() -> None:
                if streamed:
                    async for _ in core.voice.astream(
                        f"<speak>{ENDLESS * 5}</speak>", cache=False, timeout=600
                    ):
                        pass
                else:
                    await core.voice.asynthesize(f"<speak>{ENDLESS * 5}</speak>", cache=False, timeout=600)

            task = asyncio.create_task(consume())
            while not get_shared_pool()._workers or get_shared_pool()._idle:  # noqa: ASYNC110 - other threads change them
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            ends = time.monotonic() + 60
            while get_shared_pool()._workers and time.monotonic() < ends:  # noqa: ASYNC110 - a thread ends it
                await asyncio.sleep(0.01)
            assert not get_shared_pool()._workers

    asyncio.run(cancel())


@linux
def test_nothing_is_left_open() -> None:
    voice = EspeakVoice()

    def once() -> None:
        voice.synthesize("Hello.")
        for call in (
            lambda: voice.synthesize(*CRASH),
            lambda: voice.synthesize(ENDLESS, timeout_s=0.02),
            lambda: list(voice.stream_speech(*CRASH)),
        ):
            with pytest.raises((VoiceError, Timeout)):
                call()
        stream = voice.stream_speech(ENDLESS)
        next(stream), next(stream)
        stream.close()  # type: ignore[attr-defined] # it is a generator
        voice.close()

    once()
    before = count_descriptors()
    for _ in range(5):
        once()
    assert count_descriptors() == before
    assert not find_workers()
    assert "Z" not in list_children(os.getpid()).values()


@linux
def test_idle_workers_end_and_so_does_the_thread_that_ends_them() -> None:
    pool = WorkerPool(limit=2, idle_s=0.05)
    with pool.take_worker(Deadline({})), pool.take_worker(Deadline({})):
        assert len(pool._workers) == 2
    wait_until(lambda: not pool._workers and pool._reaper is None)
    assert "Z" not in list_children(os.getpid()).values()


def test_a_closed_core_leaves_no_worker() -> None:
    with llmcore.load({"voice": {"provider": "espeak"}}) as one:
        with llmcore.load({"voice": {"provider": "espeak"}}) as other:
            one.voice.synthesize("Hello.", cache=False)
            other.voice.synthesize("Hello.", cache=False)
        assert find_workers()
    assert not find_workers()


# -- several callers


def test_streams_that_are_read_in_turns_do_not_wait_for_each_other() -> None:
    voice = EspeakVoice()
    whole = voice.synthesize("It rains in the mountains.", format="pcm").audio
    streams = [voice.stream_speech("It rains in the mountains.", format="pcm") for _ in range(LIMIT * 2)]
    read = [next(stream) for stream in streams]
    assert [first + b"".join(stream) for first, stream in zip(read, streams, strict=True)] == [whole] * len(
        streams
    )


def test_many_threads_share_a_few_workers() -> None:
    voice = EspeakVoice()
    expected = voice.synthesize("It rains.").audio
    got: list[bytes] = []
    most: list[int] = []

    def speak() -> None:
        for _ in range(3):
            got.append(voice.synthesize("It rains.").audio)
            most.append(len(get_shared_pool()._workers))

    threads = [threading.Thread(target=speak) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [expected] * 36
    assert 1 <= max(most) <= LIMIT
    assert get_shared_pool()._slots == len(get_shared_pool()._idle) == len(get_shared_pool()._workers)


def test_several_event_loops_share_the_workers() -> None:
    voice = EspeakVoice()

    async def speak() -> list[bytes]:
        return [
            each.audio for each in await asyncio.gather(*(voice.asynthesize("It rains.") for _ in range(5)))
        ]

    assert len(set(asyncio.run(speak()) + asyncio.run(speak()))) == 1
