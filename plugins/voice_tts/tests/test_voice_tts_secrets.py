"""Neither the key nor a recording is ever shown: in reprs, logs, errors, or the frames of a traceback."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

from llmcore.errors import LLMCoreError
from llmcore.types import Secret
from llmcore_testing.simulator import Fault, Simulator
from llmcore_voice_tts.options import ElevenLabsOptions
from llmcore_voice_tts.provider import ElevenLabsVoice

KEY = "canary4f1d9c0b7e2a"  # as the vendor's older keys, which nothing marks as one
RECORDING = b"RIFFcanary-of-a-voice"
CANARIES = (KEY, RECORDING.decode())
WAYS = ("whole", "awhole", "stream", "astream", "timed", "atimed", "list", "alist", "clone", "aclone")


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def voice(upstream: Simulator) -> Iterator[ElevenLabsVoice]:
    made = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret(KEY), base_url=upstream.url))
    yield made
    made.close()


def find_leaks(root: object) -> list[str]:
    """Return the paths from *root*, through attributes and containers, to a text that holds a canary."""
    found: list[str] = []
    seen: set[int] = set()
    pending: list[tuple[str, object, int]] = [("root", root, 0)]
    while pending:
        path, value, depth = pending.pop()
        if isinstance(value, str | bytes | bytearray):
            text = value if isinstance(value, str) else value.decode("latin-1")
            found += [path] if any(canary in text for canary in CANARIES) else []
        elif id(value) not in seen and depth < 12 and not isinstance(value, ModuleType | FunctionType | type):
            seen.add(id(value))
            found += [f"repr {path}"] if any(canary in repr(value) for canary in CANARIES) else []
            pending += [(f"{path}{step}", each, depth + 1) for step, each in _list_members(value)]
    return found


def _list_members(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, Secret):
        return
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{at}]", each) for at, each in enumerate(value))
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    for name in {*getattr(value, "__dict__", ()), *([slots] if isinstance(slots, str) else slots)}:
        try:
            yield f".{name}", getattr(value, name)
        except Exception:  # noqa: BLE001, S112 - an attribute that cannot be read shows nothing
            continue


def list_contents(error: BaseException) -> list[Any]:
    """Return the error, its words, and the local variables of every frame of ours that it passed."""
    frames = [
        (frame.f_code.co_name, dict(frame.f_locals))
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if "llmcore" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename
    ]
    words = [str(error), repr(error), *traceback.format_exception(error)]
    return [vars(error), error.__cause__, error.__context__, words, frames]


def ask(voice: ElevenLabsVoice, way: str, timeout_s: float = 60.0) -> None:
    limits: Any = {"timeout_s": timeout_s, "idle_s": timeout_s}

    async def drain() -> None:
        async for _ in voice.astream_speech("Hello", **limits):
            pass

    calls: dict[str, Any] = {
        "whole": lambda: voice.synthesize("Hello", **limits),
        "awhole": lambda: asyncio.run(voice.asynthesize("Hello", **limits)),
        "stream": lambda: list(voice.stream_speech("Hello", **limits)),
        "astream": lambda: asyncio.run(drain()),
        "timed": lambda: voice.synthesize_with_timestamps("Hello", **limits),
        "atimed": lambda: asyncio.run(voice.asynthesize_with_timestamps("Hello", **limits)),
        "list": voice.list_voices,
        "alist": lambda: asyncio.run(voice.alist_voices()),
        "clone": lambda: voice.clone_voice("Ann", [RECORDING], consent="yes"),
        "aclone": lambda: asyncio.run(voice.aclone_voice("Ann", [RECORDING], consent="yes")),
    }
    calls[way]()


def test_the_search_for_secrets_finds_an_open_key() -> None:
    class Holder:
        def __init__(self) -> None:
            self.inner = {"deep": [KEY]}

    assert find_leaks([Holder()])
    assert find_leaks([{"samples": [RECORDING]}])


def test_the_key_reaches_the_server_and_nothing_else(
    upstream: Simulator, voice: ElevenLabsVoice, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for way in WAYS:
            ask(voice, way)
    assert all(request.headers["xi-api-key"] == KEY for request in upstream.requests)
    assert not any(canary in caplog.text for canary in CANARIES)
    assert caplog.text  # the HTTP client did log
    shown = {name: value for name, value in vars(voice).items() if name != "_options"}
    assert find_leaks([shown, repr(voice), repr(voice._options), str(voice._account)]) == []


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(401, code="invalid_api_key", message=f"Invalid API key {KEY}"),
        Fault.status(422, body={"detail": [{"loc": ["body"], "msg": f"bad {KEY}", "input": RECORDING.decode()}]}),
        Fault.status(500, body=f"<p>{KEY}</p>"),
        Fault.reset(),
        Fault.reset(after=3),
        Fault.hang(),
        Fault.bad_json(),
        Fault.redirect("http://127.0.0.1:9/"),
    ],
    ids=["echoed", "found", "page", "reset", "broken", "hang", "json", "redirect"],
)  # fmt: skip
def test_no_error_holds_the_key_or_a_recording_anywhere(
    upstream: Simulator, voice: ElevenLabsVoice, way: str, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    if fault.kind == "hang" and ("list" in way or "clone" in way):
        fault = Fault.status(503)  # these have no deadline of the caller's
    upstream.fail(fault)
    with caplog.at_level(logging.DEBUG), pytest.raises(LLMCoreError) as caught:
        ask(voice, way, timeout_s=0.3 if fault.kind == "hang" else 60.0)
    assert not any(canary in caplog.text for canary in CANARIES)
    texts = list_contents(caught.value)
    assert texts[-1], "the error passed our frames"
    assert find_leaks(texts) == []


@pytest.mark.parametrize("consent", ["", "yes"])
def test_recordings_that_are_refused_here_show_nowhere_either(voice: ElevenLabsVoice, consent: str) -> None:
    with pytest.raises(LLMCoreError) as caught:
        voice.clone_voice("Ann", [RECORDING[4:]], consent=consent)
    assert find_leaks(list_contents(caught.value)) == []
