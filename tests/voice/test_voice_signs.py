"""Raw samples have no signature: text in any encoding and other formats are refused, samples are accepted."""

from __future__ import annotations

import array
import io
import math
import random
import struct
from typing import Any

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import NotAudio
from llmcore.support.audio_signatures import HEAD_BYTES, RAW, is_text
from llmcore.support.voice_answers import AudioValidator
from llmcore.types import AudioFormat
from llmcore.voice.audio.check import check_beginning, read_audio

GERMAN = '{"detail": "Schl\u00fcssel ung\u00fcltig!", "status": "invalid_api_key"}'
PAGE = "<!-- Gew\u00f6hnlich f\u00e4llt der Regen -->\n<p>Tor zur H\u00f6lle geschlossen</p>" * 9


def make_mp3() -> bytes:
    held = io.BytesIO()
    with soundfile.SoundFile(
        held, "w", samplerate=24_000, channels=1, format="MP3", subtype="MPEG_LAYER_III"
    ) as file:
        file.buffer_write(array.array("h", make_tone(1.0)).tobytes(), dtype="int16")
    return held.getvalue()


def make_tone(seconds: float, loudness: int = 8000) -> list[int]:
    return [round(loudness * math.sin(at / 9)) for at in range(int(24_000 * seconds))]


def make_samples(levels: list[int]) -> bytes:
    return struct.pack(f"<{len(levels)}h", *levels)


NONE: dict[str, bytes] = {
    "JSON of UTF-8": GERMAN.encode(),
    "JSON of Latin-1": GERMAN.encode("latin-1"),
    "JSON of UTF-16": GERMAN.encode("utf-16"),
    "JSON of UTF-16, the other way round": b"\xfe\xff" + GERMAN.encode("utf-16-be"),
    "JSON with the mark of UTF-8": b"\xef\xbb\xbf" + GERMAN.encode(),
    "HTML": PAGE.encode(),
    "HTML of Latin-1": PAGE.encode("latin-1"),
    "a sentence": "\u00dcber Nacht ist der Dienst nicht zu erreichen.".encode(),
    "a sentence in Japanese": ("\u30b5\u30fc\u30d3\u30b9\u306f\u5229\u7528\u3067\u304d\u307e\u305b\u3093\u3002" * 20).encode(),
    "mp3": make_mp3(),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(RAW))
@pytest.mark.parametrize("name", NONE)
def test_text_and_other_formats_are_refused_as_raw_samples(name: str, kind: AudioFormat) -> None:
    body = NONE[name]
    with pytest.raises(NotAudio):
        read_audio(body, kind, 24_000)
    with pytest.raises(NotAudio):
        check_beginning(body[:HEAD_BYTES] if name != "mp3" else body, kind)
    for size in (1, 64, len(body)):
        validator = AudioValidator({"content-length": str(len(body))}, kind, "someone")
        passed: list[bytes] = []
        with pytest.raises(NotAudio, match="someone sent no audio"):  # noqa: PT012 - at whichever piece
            passed.extend(validator.feed(body[at : at + size]) for at in range(0, len(body), size))
            validator.end()
        assert not b"".join(passed)


@pytest.mark.parametrize("kind", sorted(RAW))
@pytest.mark.parametrize(
    "body",
    [
        bytes(4000),
        b"\xff" * 4000,
        b"\x7f" * 4000,
        b"\x55" * 4000,  # silence in A-law
        b"\xd5" * 4000,
        make_samples(make_tone(0.1)),
        make_samples(make_tone(0.1, 3)),
        make_samples(make_tone(0.1, 30_000)),
        make_samples([-2, 0, 1, 5, -7, 40, 12, -3] * 200),  # begins like the mark of UTF-16
        make_samples([-257, -250, -240, 100, 300, 70] * 200),
        make_samples([-1025, 3000, *make_tone(0.1)]),  # begins like a frame of mp3
    ],
)
def test_samples_are_passed_on_unchanged(body: bytes, kind: AudioFormat) -> None:
    assert read_audio(body, kind, 24_000).audio == body
    validator = AudioValidator({"transfer-encoding": "chunked"}, kind, "someone")
    passed = [validator.feed(body[at : at + 100]) for at in range(0, len(body), 100)]
    assert b"".join([*passed, validator.end()]) == body


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=2, max_size=600), st.data())
def test_the_beginning_of_a_text_is_text(text: str, data: Any) -> None:
    coded = ("xy" + text).encode()  # one letter again and again would be silence
    assert is_text(coded[: data.draw(st.integers(2, len(coded)))])


@given(st.integers(0, 2**32), st.integers(2, 30_000))
def test_noise_is_not_text(seed: int, loudness: int) -> None:
    noise = random.Random(seed)  # noqa: S311 - no secret
    assert not is_text(make_samples([noise.randint(-loudness, loudness) for _ in range(32)]))
