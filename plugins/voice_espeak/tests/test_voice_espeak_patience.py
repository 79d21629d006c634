"""A speech ends when its time is over or its caller gone, wherever it stands then."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llmcore
from llmcore.errors import Timeout
from llmcore_voice_espeak.deadline import Deadline
from llmcore_voice_espeak.pool import LIMIT, get_shared_pool
from llmcore_voice_espeak.provider import EspeakVoice

ENDLESS = "It rains, and it does not stop to rain. " * 2_500
"""A text that takes longer than 50 ms."""

INTERRUPTED = """
import os, signal, sys, threading
from llmcore.cli import main

under_way = threading.Event()

def watch(frame, event, _):
    if frame.f_code.co_name == %r:
        under_way.set()

def interrupt():
    under_way.wait()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
threading.setprofile(watch)
sys.setprofile(watch)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[1:] = ["say", "-", "-o", "said.%s", "--no-cache"]
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac"])
def test_a_deadline_holds_sync_and_async_and_as_a_stream(kind: str) -> None:
    def read_stream(core: llmcore.Core) -> None:
        for _ in core.voice.stream(ENDLESS, format=kind, timeout=0.05, cache=False):
            pass

    def asynchronous(core: llmcore.Core) -> None:
        asyncio.run(core.voice.asynthesize(ENDLESS, format=kind, timeout=0.05, cache=False))

    def blocking(core: llmcore.Core) -> None:
        core.voice.synthesize(ENDLESS, format=kind, timeout=0.05, cache=False)

    calls: list[Callable[[llmcore.Core], None]] = [blocking, read_stream, asynchronous]
    with llmcore.load({"voice": {"provider": "espeak"}}) as core:
        core.voice.synthesize("The voices are known from here on.")
        for call in calls:
            with pytest.raises(Timeout):
                call(core)


def counting(ticks: Iterator[int]) -> EspeakVoice:
    """Return a voice whose clock stands still but for one second a look."""
    return EspeakVoice(clock=lambda: float(next(ticks)))


@pytest.mark.parametrize("kind", ["pcm", "mp3", "ogg", "flac"])
def test_wherever_the_time_ends_the_speech_does(kind: str) -> None:
    text = "It rains. " * 40
    ticks = itertools.count()
    counting(ticks).synthesize(text, format=kind)
    looks = next(ticks)
    assert looks > 100
    for end in (1, looks // 2, looks - 3, looks - 2, looks - 1):
        with pytest.raises(Timeout, match="did not complete the speech in time"):
            counting(itertools.count()).synthesize(text, format=kind, timeout_s=float(end))
    assert counting(itertools.count()).synthesize(text, format=kind, timeout_s=float(looks)).audio


def test_a_caller_waits_for_a_worker_no_longer_than_its_deadline() -> None:
    voice = EspeakVoice()
    voice.synthesize("The voices are known from here on.")
    with contextlib.ExitStack() as taken:
        for _ in range(LIMIT):
            taken.enter_context(get_shared_pool().take_worker(Deadline({})))
        with pytest.raises(Timeout):
            voice.synthesize("Hello.", timeout_s=0.01)
    assert voice.synthesize("Hello.", timeout_s=60).audio


def test_a_timed_out_speech_frees_the_library() -> None:
    async def both(core: llmcore.Core) -> bytes:
        with pytest.raises(Timeout):
            await core.voice.asynthesize(ENDLESS, timeout=0.05, cache=False)
        return (await core.voice.asynthesize("Short.", cache=False)).audio

    with llmcore.load({"voice": {"provider": "espeak"}}) as core:
        assert asyncio.run(both(core))
    assert not [thread for thread in threading.enumerate() if thread.name == "llmcore-espeak"]


@pytest.mark.skipif(sys.platform == "win32", reason="a Ctrl-C is sent in another way there")
@pytest.mark.parametrize(
    ("kind", "within"), [("wav", "_receive"), ("mp3", "buffer_write")], ids=["speaking", "encoding"]
)
def test_ctrl_c_ends_say_with_130_and_nothing_is_written(kind: str, within: str, tmp_path: Path) -> None:
    code = INTERRUPTED % (within, kind)
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, input=ENDLESS.encode(), capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (130, b"")
    assert not list(tmp_path.glob("said*"))
