"""What goes wrong between here and the audio, over real HTTP: typed errors, and never sound that is none."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llmcore.errors import (
    IncompleteReply,
    LLMCoreError,
    MalformedReply,
    NotAudio,
    ProviderError,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.support.http import RequestDeadline
from llmcore.types import Secret
from llmcore_testing.simulator import Fault, Simulator
from llmcore_voice_tts.options import ElevenLabsOptions
from llmcore_voice_tts.provider import ElevenLabsVoice

TEXT = "It rains. Take an umbrella, please! " * 20
WAYS = ("whole", "awhole", "stream", "astream", "timed", "atimed")
Kinds = type[LLMCoreError] | tuple[type[LLMCoreError], ...]


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def voice(upstream: Simulator) -> Iterator[ElevenLabsVoice]:
    made = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("k"), base_url=upstream.url))
    yield made
    made.close()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(voice: ElevenLabsVoice, way: str, **settings: Any) -> None:
    async def drain() -> None:
        async for _ in voice.astream_speech(TEXT, **settings):
            pass

    calls: dict[str, Any] = {
        "whole": lambda: voice.synthesize(TEXT, **settings),
        "awhole": lambda: asyncio.run(voice.asynthesize(TEXT, **settings)),
        "stream": lambda: list(voice.stream_speech(TEXT, **settings)),
        "astream": lambda: asyncio.run(drain()),
        "timed": lambda: voice.synthesize_with_timestamps(TEXT, **settings),
        "atimed": lambda: asyncio.run(voice.asynthesize_with_timestamps(TEXT, **settings)),
    }
    calls[way]()


def catch_error(voice: ElevenLabsVoice, way: str, **settings: Any) -> LLMCoreError:
    with pytest.raises(LLMCoreError) as caught:
        ask(voice, way, **settings)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (Fault.html(), (NotAudio, MalformedReply)),
        (Fault.status(200, body={"audio": "none"}), (NotAudio, MalformedReply)),
        (Fault.empty_body(), (NotAudio, MalformedReply)),
        (Fault.bad_json(), (NotAudio, MalformedReply)),
        (Fault.reset(), Unavailable),
        (Fault.reset(after=2), IncompleteReply),
        (Fault.cut_stream(after=2, clean=False), IncompleteReply),
        (Fault.status(429, retry_after=3), RateLimited),
        (Fault.status(500), Unavailable),
        (Fault.status(503), RateLimited),
        (Fault.html(status=502), Unavailable),
        (Fault.empty_body(status=500), Unavailable),
    ],
    ids=["html", "json", "empty", "cut_json", "rst", "rst_within", "cut", "429", "500", "503", "page_502", "empty_500"],
)  # fmt: skip
def test_every_fault_is_a_typed_error_after_one_request(
    upstream: Simulator, voice: ElevenLabsVoice, way: str, fault: Fault, kinds: Kinds
) -> None:
    upstream.fail(fault)
    error = catch_error(voice, way)
    assert isinstance(error, kinds), repr(error)
    assert upstream.counts["requests"] == 1  # retries are the host's
    if isinstance(error, RateLimited) and error.status == 429:
        assert error.retry_after == 3
    ask(voice, way)  # and the next call is served


def test_an_error_arrives_once_and_the_next_call_succeeds(
    upstream: Simulator, voice: ElevenLabsVoice, way: str
) -> None:
    for fault in (Fault.status(429), Fault.status(500), Fault.reset(after=1)):
        upstream.fail(fault)
        catch_error(voice, way)
        ask(voice, way)


@pytest.mark.parametrize("fault", [Fault.hang(), Fault.stall(after=1)], ids=["hang", "stall"])
def test_silence_ends_at_the_deadline(
    upstream: Simulator, voice: ElevenLabsVoice, way: str, fault: Fault
) -> None:
    upstream.fail(fault)
    assert type(catch_error(voice, way, timeout_s=0.3, idle_s=60.0)) is Timeout


def test_silence_within_the_audio_ends_at_the_idle_limit(
    upstream: Simulator, voice: ElevenLabsVoice, way: str
) -> None:
    upstream.fail(Fault.stall(after=1))
    error = catch_error(voice, way, timeout_s=3600.0, idle_s=0.2)
    assert type(error) is Timeout
    assert "stopped sending in the middle" in error.message


def test_a_trickle_ends_at_the_deadline_too(upstream: Simulator, voice: ElevenLabsVoice, way: str) -> None:
    upstream.fail(Fault.slow(bytes_per_second=200))
    assert type(catch_error(voice, way, timeout_s=0.4, idle_s=60.0)) is Timeout


def test_a_list_that_hangs_has_an_end() -> None:
    listing = RequestDeadline(60.0, None)
    assert (listing.get("read") or 0) <= 60
    assert (listing.get("connect") or 0) <= 5


def test_a_redirect_is_refused_and_the_key_stays(
    upstream: Simulator, voice: ElevenLabsVoice, way: str
) -> None:
    with Simulator() as elsewhere:
        upstream.fail(Fault.redirect(f"{elsewhere.url}/v1/text-to-speech/x"))
        error = catch_error(voice, way)
        assert isinstance(error, ProviderError)
        assert error.status == 307
        assert elsewhere.requests == []


def test_a_server_that_is_not_there_is_unavailable(way: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        voice = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("k"), base_url=address))
        error = catch_error(voice, way)
        voice.close()
    assert type(error) is Unavailable
    assert address in error.message


def test_a_stream_yields_the_audio_before_a_break(upstream: Simulator, voice: ElevenLabsVoice) -> None:
    whole = voice.synthesize(TEXT).audio
    upstream.fail(Fault.reset(after=3))
    heard: list[bytes] = []
    with pytest.raises(IncompleteReply):
        heard.extend(voice.stream_speech(TEXT))
    assert heard
    assert whole.startswith(b"".join(heard))


def test_a_stream_of_something_else_than_audio_yields_nothing(
    upstream: Simulator, voice: ElevenLabsVoice
) -> None:
    for fault in (Fault.html(), Fault.status(200, body={}), Fault.empty_body()):
        upstream.fail(fault)
        with pytest.raises(NotAudio):
            next(iter(voice.stream_speech(TEXT)))


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


@pytest.mark.parametrize("way", ["whole", "awhole", "stream", "astream"])
@pytest.mark.parametrize(
    ("head", "audio", "kind"),
    [
        ("content-type: audio/mpeg", MP3 * 3, IncompleteReply),  # the format does not give its end
        (f"content-type: audio/mpeg\r\ncontent-length: {len(MP3) * 3}", MP3 * 2, IncompleteReply),
        ("content-type: audio/mpeg\r\ntransfer-encoding: chunked", b"1a1\r\n" + MP3, IncompleteReply),
        ("content-type: application/octet-stream\r\ncontent-length: 12", b"not an audio", NotAudio),
        ("content-type: application/octet-stream\r\ncontent-length: 12", b'{"json":true', NotAudio),
        ("content-length: 0", b"", NotAudio),
    ],
    ids=["unframed", "short", "chunk_missing", "text", "json", "nothing"],
)
def test_audio_that_ends_early_is_an_error(way: str, head: str, audio: bytes, kind: Any) -> None:
    with answering(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + audio) as address:
        voice = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("k"), base_url=address))
        assert type(catch_error(voice, way)) is kind
        voice.close()


@pytest.mark.parametrize(
    "body",
    [
        b'{"json": 1}\n',
        b"<!doctype html>\n<p>",
        b"RIFFxxxxWAVE",
        b"ID3",
        b"\0\0\0",
        MP3 * 3,
        '{"detail": "\u00fc"}'.encode(),
    ],
)
def test_raw_samples_are_distinguished_from_text_and_other_formats(body: bytes) -> None:
    head = f"content-length: {len(body)}\r\ncontent-type: audio/pcm"
    with answering(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body) as address:
        voice = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("k"), base_url=address, format="pcm"))
        assert isinstance(catch_error(voice, "whole"), NotAudio | IncompleteReply)
        voice.close()


def test_a_wav_that_is_shorter_than_it_says_is_incomplete(voice: ElevenLabsVoice) -> None:
    audio = voice.synthesize(TEXT, format="wav").audio
    with answering(
        b"HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ncontent-length: 4000\r\n\r\n" + audio[:4000]
    ) as address:
        other = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("k"), base_url=address, format="wav"))
        assert type(catch_error(other, "whole")) is IncompleteReply
        other.close()
