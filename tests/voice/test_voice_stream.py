"""Speech as it comes: first bytes at once, pieces of one file, and never a short end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import llmcore
from llmcore.errors import NotAudio, ProviderError, RateLimited, Unavailable

TEXT = "It rains. Take an umbrella! Bye."
SAID = ["It rains.", "Take an umbrella!", "Bye."]


def load_core(options: dict[str, Any] | None = None, **more: Any) -> llmcore.Core:
    voice = {"provider": "speaker", "speaker": options or {}, **more}
    return llmcore.load({"voice": voice, "cache": {"provider": "memory"}})


def read_stream(core: llmcore.Core, variant: str, text: str = TEXT, **given: Any) -> list[bytes]:
    if variant == "sync":
        return list(core.voice.stream(text, **given))

    async def main() -> list[bytes]:
        return [piece async for piece in core.voice.astream(text, **given)]

    return asyncio.run(main())


@pytest.fixture(params=["sync", "async"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_pieces_joined_are_one_file_whose_length_is_not_known_yet(speaker: Any, variant: str) -> None:
    pieces = read_stream(load_core(), variant)
    audio = b"".join(pieces)
    assert len(pieces) > 10
    assert (audio[:4], audio[4:8], audio[40:44]) == (b"RIFF", b"\xff" * 4, b"\xff" * 4)
    assert audio[44:] == b"".join(speaker.make_samples(each) for each in SAID)
    assert audio.count(b"RIFF") == 1


def test_raw_samples_are_passed_on_as_they_come(speaker: Any, variant: str) -> None:
    audio = b"".join(read_stream(load_core({"format": "pcm"}), variant))
    assert audio == b"".join(speaker.make_samples(each) for each in SAID)


@pytest.mark.parametrize("kind", ["pcm", "wav"])
def test_half_a_sample_at_the_end_of_a_piece_does_not_shift_the_next(
    speaker: Any, variant: str, kind: str
) -> None:
    wanted = b"".join(speaker.make_samples(each) for each in SAID)
    for way in ("streamed", "at once"):
        speaker.script[:] = [
            odd if kind == "pcm" else speaker.make_wav(odd)
            for odd in (speaker.make_samples(each) + b"\x7f" for each in SAID)
        ]
        core = load_core({"format": kind})
        streams = way == "streamed"
        audio = b"".join(read_stream(core, variant)) if streams else core.voice.synthesize(TEXT).audio
        assert audio[0 if kind == "pcm" else 44 :] == wanted, way


def test_a_text_of_one_piece_is_passed_on_byte_for_byte(speaker: Any, variant: str) -> None:
    audio = b"".join(read_stream(load_core(), variant, "Hello."))
    assert audio == speaker.make_wav(speaker.make_samples("Hello."))


def test_the_first_bytes_are_given_before_the_rest_is_asked_for(speaker: Any) -> None:
    stream = load_core().voice.stream(TEXT)
    assert next(stream)
    assert [request.text for request in speaker.requests] == ["It rains."]
    stream.close()
    assert speaker.closed == ["It rains."]


def test_streamed_audio_is_cached_and_cached_audio_is_streamed(speaker: Any, variant: str) -> None:
    core = load_core()
    first = b"".join(read_stream(core, variant))
    assert core.voice.synthesize(TEXT).cached
    assert b"".join(read_stream(core, variant)) == first
    assert len(speaker.requests) == 3


def test_a_stream_closed_early_is_not_cached(speaker: Any) -> None:
    core = load_core()
    stream = core.voice.stream("Hello.")
    next(stream)
    stream.close()
    assert not core.voice.synthesize("Hello.").cached
    assert core.usage.totals().failures == 1
    assert speaker.closed == ["Hello."]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>no</html>", b'{"error": "quota"}', b"Bad gateway. " * 100],
    ids=["empty", "html", "json", "text"],
)
def test_no_byte_of_invalid_audio_is_yielded(speaker: Any, body: bytes) -> None:
    async def read() -> None:
        async for piece in load_core().voice.astream("Hello."):
            given.append(piece)  # noqa: PERF401 - what came before the error counts

    given: list[bytes] = []
    speaker.script.extend([body, body])
    with pytest.raises(NotAudio):
        given.extend(load_core().voice.stream("Hello."))
    with pytest.raises(NotAudio):
        asyncio.run(read())
    assert given == []


def test_truncated_audio_is_an_error_at_its_end_and_not_cached(speaker: Any) -> None:
    core = load_core()
    speaker.script.append(speaker.make_wav(bytes(1600))[:-2])
    stream = core.voice.stream("Hello.")
    with pytest.raises(NotAudio, match="truncated"):
        b"".join(stream)
    assert not core.voice.synthesize("Hello.").cached


def test_an_error_before_the_first_byte_is_tried_again_and_one_after_it_is_not(
    speaker: Any, variant: str
) -> None:
    core = load_core()
    speaker.script.append(RateLimited("later", retry_after=0.0))
    assert read_stream(core, variant, "Hello.")
    assert len(speaker.requests) == 2
    speaker.script.append([speaker.make_wav(bytes(1600))[:200], Unavailable("reset")])
    with pytest.raises(Unavailable, match="reset"):
        read_stream(core, variant, "Other.")
    assert len(speaker.requests) == 3


def test_a_fallback_takes_over_before_the_first_byte_only(speaker: Any) -> None:
    core = load_core(fallback=["second"])
    speaker.script.append(ProviderError("broken"))
    assert b"".join(core.voice.stream("Hello."))
    assert [request.provider for request in speaker.requests] == ["speaker", "second"]
    speaker.script.append([speaker.make_wav(bytes(1600))[:200], Unavailable("reset")])
    with pytest.raises(Unavailable, match="reset"):
        b"".join(core.voice.stream("Other."))
    assert [request.provider for request in speaker.requests][2:] == ["speaker"]


def test_a_provider_that_does_not_stream_is_streamed_whole(speaker: Any, variant: str) -> None:
    core = llmcore.load({"voice": {"provider": "mute"}, "cache": {"provider": "memory"}})
    assert b"".join(read_stream(core, variant)) == speaker.make_wav(speaker.make_samples(TEXT))


def test_readers_of_one_text_at_once_share_one_request(speaker: Any) -> None:
    voice = load_core().voice
    first, second = voice.stream("Hello."), voice.stream("Hello.")
    begun = [next(first), next(second)]
    assert begun[0] == begun[1]
    assert begun[0] + b"".join(first) == begun[1] + b"".join(second)
    assert len(speaker.requests) == 1


def test_a_piece_that_is_not_bytes_is_reported(speaker: Any) -> None:
    speaker.script.append(["text"])
    with pytest.raises(ProviderError, match="`speaker` streamed a str"):
        list(load_core().voice.stream("Hello."))
