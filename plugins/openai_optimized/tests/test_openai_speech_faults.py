"""What goes wrong between here and OpenAI's audio: typed errors, never sound that is none, and the key in none of it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llmcore.errors import (
    AuthenticationFailed,
    IncompleteReply,
    LLMCoreError,
    NotAudio,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.types import Secret
from llmcore_openai_optimized.options import SpeechOptions
from llmcore_openai_optimized.speech import OpenAIVoice
from llmcore_testing.simulator import Fault, Simulator

TEXT = "It rains. Take an umbrella, please! " * 20
CANARY = "sk-canary-4f1d9c"


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def voice(upstream: Simulator) -> Iterator[OpenAIVoice]:
    made = OpenAIVoice(SpeechOptions(api_key=Secret(CANARY), base_url=upstream.base_url))
    yield made
    made.close()


@pytest.fixture(params=["whole", "awhole", "stream", "astream"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(voice: OpenAIVoice, way: str, **settings: Any) -> None:
    async def drain() -> None:
        async for _ in voice.astream_speech(TEXT, **settings):
            pass

    calls: dict[str, Any] = {
        "whole": lambda: voice.synthesize(TEXT, **settings),
        "awhole": lambda: asyncio.run(voice.asynthesize(TEXT, **settings)),
        "stream": lambda: list(voice.stream_speech(TEXT, **settings)),
        "astream": lambda: asyncio.run(drain()),
    }
    calls[way]()


def catch_error(voice: OpenAIVoice, way: str, **settings: Any) -> LLMCoreError:
    with pytest.raises(LLMCoreError) as caught:
        ask(voice, way, **settings)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.html(), NotAudio),
        (Fault.status(200, body={"audio": "none"}), NotAudio),
        (Fault.status(200, body={"error": {"code": 429, "message": "slow"}}), RateLimited),
        (Fault.status(200, body={"detail": "Too many", "status": 429}), RateLimited),
        (Fault.empty_body(), NotAudio),
        (Fault.bad_json(), NotAudio),
        (Fault.reset(), Unavailable),
        (Fault.reset(after=2), IncompleteReply),
        (Fault.cut_stream(after=2, clean=False), IncompleteReply),
        (Fault.status(401), AuthenticationFailed),
        (Fault.status(429, retry_after=3), RateLimited),
        (Fault.status(429, code="insufficient_quota"), QuotaExhausted),
        (Fault.status(500), Unavailable),
        (Fault.html(status=502), Unavailable),
    ],
    ids=[
        "html",
        "json",
        "error",
        "detail",
        "empty",
        "cut_json",
        "rst",
        "rst_within",
        "cut",
        "401",
        "429",
        "quota",
        "500",
        "page",
    ],
)
def test_every_fault_is_a_typed_error_after_one_request(
    upstream: Simulator, voice: OpenAIVoice, way: str, fault: Fault, kind: type[LLMCoreError]
) -> None:
    upstream.fail(fault)
    assert type(catch_error(voice, way)) is kind
    assert upstream.counts["requests"] == 1  # retries are the host's
    ask(voice, way)  # and the next call is served


@pytest.mark.parametrize("fault", [Fault.hang(), Fault.stall(after=1)], ids=["hang", "stall"])
def test_silence_ends_at_the_deadline(
    upstream: Simulator, voice: OpenAIVoice, way: str, fault: Fault
) -> None:
    upstream.fail(fault)
    assert type(catch_error(voice, way, timeout_s=0.3, idle_s=60.0)) is Timeout


def test_silence_within_the_audio_ends_at_the_idle_limit(
    upstream: Simulator, voice: OpenAIVoice, way: str
) -> None:
    upstream.fail(Fault.stall(after=1))
    assert type(catch_error(voice, way, timeout_s=3600.0, idle_s=0.2)) is Timeout


def test_a_trickle_ends_at_the_deadline_too(upstream: Simulator, voice: OpenAIVoice, way: str) -> None:
    upstream.fail(Fault.slow(bytes_per_second=200))
    assert type(catch_error(voice, way, timeout_s=0.4, idle_s=60.0)) is Timeout


def test_a_redirect_is_refused_and_the_key_stays(upstream: Simulator, voice: OpenAIVoice, way: str) -> None:
    with Simulator() as elsewhere:
        upstream.fail(Fault.redirect(f"{elsewhere.base_url}/audio/speech"))
        error = catch_error(voice, way)
        assert isinstance(error, ProviderError)
        assert error.status == 307
        assert elsewhere.requests == []


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Send *answer* unchanged to one request, and close the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(60)


MP3 = b"\xff\xfb\x90\xc0" + bytes(413)


@pytest.mark.parametrize(
    ("head", "audio", "kind"),
    [
        ("content-type: audio/mpeg", MP3 * 3, IncompleteReply),  # the format does not give its end
        (f"content-type: audio/mpeg\r\ncontent-length: {len(MP3) * 3}", MP3 * 2, IncompleteReply),
        ("content-type: audio/mpeg\r\ntransfer-encoding: chunked", b"1a1\r\n" + MP3, IncompleteReply),
        ("content-type: application/octet-stream\r\ncontent-length: 12", b"not an audio", NotAudio),
        ("content-length: 0", b"", NotAudio),
    ],
    ids=["unframed", "short", "chunk_missing", "text", "nothing"],
)
def test_audio_that_ends_early_is_an_error(way: str, head: str, audio: bytes, kind: Any) -> None:
    with answering(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + audio) as address:
        voice = OpenAIVoice(SpeechOptions(api_key=Secret("k"), base_url=address))
        assert type(catch_error(voice, way)) is kind
        voice.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(401, message=f"Incorrect API key provided: {CANARY}"),
        Fault.status(500, body=f"<p>{CANARY}</p>"),
        Fault.html(),
        Fault.reset(),
        Fault.reset(after=2),
        Fault.hang(),
    ],
    ids=["echoed", "page", "html", "reset", "broken", "hang"],
)
def test_no_error_holds_the_key_anywhere(
    upstream: Simulator, voice: OpenAIVoice, way: str, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.fail(fault)
    with caplog.at_level(logging.DEBUG):
        for timeout_s in (
            0.5,
            5.0,
            50.0,
        ):  # on a busy machine the first may be over before the request is sent
            error = catch_error(voice, way, timeout_s=timeout_s)
            if upstream.requests:
                break
    frames = [dict(frame.f_locals) for frame, _ in traceback.walk_tb(error.__traceback__)
              if "llmcore_openai_optimized" in frame.f_code.co_filename]  # fmt: skip
    assert frames, "the error passed our frames"
    responses = [value for seen in frames for value in seen.values() if hasattr(value, "request")]
    assert responses == [], "a frame of the error holds the answer, and with it the request and the key"
    said = [caplog.text, repr(frames), repr(vars(error)), *traceback.format_exception(error), repr(voice)]
    assert not any(CANARY in words for words in said)
    assert upstream.requests[0].headers["authorization"] == f"Bearer {CANARY}"
