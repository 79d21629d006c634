"""One attempt to synthesize a piece of a text: send the request, and return or stream its audio."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from llmcore.calls.backend_call import call_backend, track, with_timeout
from llmcore.pipeline import Answer, Services
from llmcore.pipeline.send import get_time_left, make_contract_error, receive
from llmcore.support.audio_signatures import has_enough_bytes
from llmcore.types import Speech, VoiceTraits
from llmcore.voice.audio.check import check_beginning
from llmcore.voice.call import SpeechCall
from llmcore.voice.result import require_audio

__all__ = ["attempt", "split_bytes"]

_SLICE: Final = 64 * 1024


def attempt(call: SpeechCall, services: Services) -> Generator[Any, Any, Answer]:
    """Send the request once; emit the bytes of a streaming call as they arrive, if the provider streams."""
    left = get_time_left(call, sent=False)
    call.first_at = None
    settings = {**call.settings, **call.context}
    traits = call.traits
    if traits is not None:
        settings |= {"timeout_s": left, "idle_s": services.policy.idle_s}
        if call.is_passed_on:
            return Answer((yield from _stream(call, traits, settings)))
    method = call.backend.require("synthesize_with_timestamps" if call.timed else "synthesize")
    assert call.sending is not None  # noqa: S101 - the stage `budget` sets `sending`
    step = track(method(call.text, call.voice, **settings), call.sending)
    speech = yield from call_backend(call.backend, with_timeout(call.backend, step, left))
    if not isinstance(speech, Speech):
        raise make_contract_error(call, f"answered with a {type(speech).__name__}", "a llmcore.types.Speech")
    return Answer(speech)


def split_bytes(audio: bytes) -> Generator[bytes, Any, None]:
    """Yield *audio* in pieces of 64 KiB, a size that suits pipes and sockets."""
    for at in range(0, len(audio), _SLICE):
        yield audio[at : at + _SLICE]


def _stream(
    call: SpeechCall, traits: VoiceTraits, settings: Mapping[str, Any]
) -> Generator[Any, Any, Speech]:
    """Emit the bytes of the stream as they arrive, after a check that the stream begins with audio."""
    received: list[bytes] = []
    held = b""

    def take(piece: Any) -> Sequence[bytes]:
        nonlocal held
        if type(piece) is not bytes:
            raise make_contract_error(call, f"streamed a {type(piece).__name__}", "bytes")
        received.append(piece)
        held += piece
        if not held or not (call.has_emitted or has_enough_bytes(held, traits.format)):
            return ()
        _check_beginning(call, held, traits)
        emitted, held = held, b""
        return (emitted,)

    yield from receive(
        call, call.backend.open_stream("stream_speech", call.text, call.voice, **settings), take
    )
    if held:
        _check_beginning(call, held, traits)
        yield held
    return Speech(audio=b"".join(received), format=traits.format, sample_rate_hz=traits.sample_rate_hz)


def _check_beginning(call: SpeechCall, held: bytes, traits: VoiceTraits) -> None:
    """If no byte was emitted yet, raise `NotAudio` unless *held*, the beginning of the stream, is audio."""
    if not call.has_emitted:
        call.first_at = time.monotonic()
        require_audio(call, lambda: check_beginning(held, traits.format))
        call.note_piece()
