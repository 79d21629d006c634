"""Audio as bytes: other data and truncated audio are rejected, and joined pieces are complete."""

from __future__ import annotations

import io
import math
import struct
import wave
from typing import Any

import mutagen
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import NotAudio
from llmcore.support.voice_answers import check_wav
from llmcore.types import AudioFormat
from llmcore.voice.audio.check import read_audio
from llmcore.voice.audio.concatenation import JOINABLE, join_audio, make_body

RATE = 22_050
HTML = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"
JSON = b'{"detail": {"status": "quota_exceeded"}}'
WRITTEN: dict[str, tuple[str, str]] = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
}
FORMATS: tuple[AudioFormat, ...] = ("wav", "mp3", "ogg", "opus", "flac", "pcm", "ulaw", "alaw", "aac")


def make_tone(seconds: float, rate: int = RATE, pitch: int = 7) -> bytes:
    return b"".join(struct.pack("<h", (at * pitch % 200 - 100) * 80) for at in range(int(seconds * rate)))


def make_wav(data: bytes, rate: int = RATE) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(data)
    return held.getvalue()


def adts(frames: int) -> bytes:
    body = bytes(57)
    return frames * (bytes([0xFF, 0xF1, 0x50, 0x40, 64 >> 3, (64 & 7) << 5 | 0x1F, 0xFC]) + body)


def make_file(kind: str, seconds: float = 1.0) -> bytes:
    rate = 48_000 if kind == "opus" else RATE
    data = make_tone(seconds, rate)
    if kind in ("pcm", "ulaw", "alaw"):
        return data
    if kind == "wav":
        return make_wav(data)
    if kind == "aac":
        return adts(round(seconds * 44_100 / 1024))
    container, subtype = WRITTEN[kind]
    held = io.BytesIO()
    with soundfile.SoundFile(
        held, "w", samplerate=rate, channels=1, format=container, subtype=subtype
    ) as file:
        file.buffer_write(data, dtype="int16")
    return held.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_valid_audio_is_accepted_and_its_duration_is_read(kind: AudioFormat) -> None:
    found = read_audio(make_file(kind), kind, RATE)
    expected = 2.0 if kind in ("ulaw", "alaw") else 1.0
    assert found.duration_s == pytest.approx(expected, abs=0.12)
    assert found.sample_rate_hz == {"opus": 48_000, "aac": 44_100}.get(kind, RATE)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("body", [b"", HTML, JSON, b"Internal Server Error", b"<?xml version='1.0'?><a/>"])
def test_data_that_is_not_audio_is_rejected_for_every_format(kind: AudioFormat, body: bytes) -> None:
    with pytest.raises(NotAudio):
        read_audio(body, kind, RATE)


@pytest.mark.parametrize(("body", "said"), [(b"", "is empty"), (HTML, "an HTML page"), (JSON, "JSON")])
def test_the_error_names_the_type_that_was_found(body: bytes, said: str) -> None:
    with pytest.raises(NotAudio, match=said):
        read_audio(body, "mp3")


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg", "opus", "flac", "aac"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_truncated_audio_is_rejected(kind: AudioFormat, share: float) -> None:
    whole = make_file(kind)
    cut = whole[: int(len(whole) * share) | 1]
    with pytest.raises(NotAudio):
        read_audio(cut, kind, RATE)


def find_flac_frames(whole: bytes) -> list[int]:
    """Return where each frame begins, by the numbers that they count up."""
    places: list[int] = []
    at = 4
    while (at := whole.find(b"\xff\xf8", at + 1)) >= 0:
        if whole[at + 4] == len(places):  # below 128 a number is one byte
            places.append(at)
    return places


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
def test_a_flac_that_is_cut_between_two_frames_is_found_by_the_number_of_its_samples(seconds: float) -> None:
    whole = make_file("flac", seconds)
    assert read_audio(whole, "flac").duration_s == pytest.approx(seconds, abs=0.001)
    places = find_flac_frames(whole)
    assert len(places) == math.ceil(int(seconds * RATE) / 4096)
    for at in places[1:]:
        with pytest.raises(NotAudio, match=r"truncated: [\d,]+ of [\d,]+ samples"):
            read_audio(whole[:at], "flac")


def test_a_flac_without_a_length_is_accepted() -> None:
    whole = bytearray(make_file("flac"))
    whole[21] &= 0xF0
    whole[22:26] = bytes(4)
    assert read_audio(bytes(whole), "flac").duration_s is None


@pytest.mark.parametrize("kind", ["wav", "ogg", "opus", "flac", "aac"])
def test_a_cut_of_one_byte_is_refused(kind: AudioFormat) -> None:
    with pytest.raises(NotAudio, match=r"truncated|inside"):
        read_audio(make_file(kind)[:-1], kind)


def test_an_mp3_that_is_cut_between_two_frames_is_found_by_the_number_that_it_announces() -> None:
    whole = make_file("mp3", 3.0)
    count = struct.unpack_from(
        ">I", whole, whole.index(b"Xing") + 8 if b"Xing" in whole else whole.index(b"Info") + 8
    )[0]
    read_audio(whole, "mp3")
    from llmcore.support.audio_signatures import read_mp3_frame

    at, starts = 0, []
    while (frame := read_mp3_frame(whole, at)) is not None:
        starts.append(at)
        at += frame.size
    assert len(starts) == count + 1
    with pytest.raises(NotAudio, match=r"of .* frames"):
        read_audio(whole[: starts[-5]], "mp3")


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_an_ogg_that_is_cut_between_two_pages_is_found(kind: AudioFormat) -> None:
    whole = make_file(kind, 3.0)
    with pytest.raises(NotAudio, match="its last page is missing"):
        read_audio(whole[: whole.rindex(b"OggS")], kind)


@pytest.mark.parametrize("said", ["wav", "mp3", "ogg", "flac"])
@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg", "flac"])
def test_one_format_is_not_taken_for_another(kind: str, said: Any) -> None:
    if kind == said:
        return
    with pytest.raises(NotAudio, match=f"expected {said}, got {kind}|not an? {said} file"):
        read_audio(make_file(kind), said)


def test_vorbis_is_not_opus() -> None:
    with pytest.raises(NotAudio, match="not an opus file"):
        read_audio(make_file("ogg"), "opus")


UNKNOWN_LENGTHS = [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000]
"""ffmpeg and OpenAI write the second, espeak and sox the fourth, arecord the last."""


def test_mutagen_takes_the_placeholder_for_a_length_and_reads_half_a_file() -> None:
    """docs/decisions/0015-our-own-reader-of-durations.md: if this fails, mutagen can be considered again."""
    whole = make_wav(make_tone(1, 16_000), 16_000)
    streamed = whole[:4] + b"\xff" * 4 + whole[8:40] + b"\xff" * 4 + whole[44:]
    assert mutagen.File(io.BytesIO(streamed)).info.length == pytest.approx(134_217.7, abs=1)
    assert read_audio(streamed, "wav").duration_s == pytest.approx(1)
    half = make_file("mp3")[: len(make_file("mp3")) // 2]
    assert mutagen.File(io.BytesIO(half)).info.length > 0
    with pytest.raises(NotAudio, match="truncated"):
        read_audio(half, "mp3")


@pytest.mark.parametrize("riff", [None, *UNKNOWN_LENGTHS, 36, 0xFFFFFFFF - 8, 0x7FFFF024])
@pytest.mark.parametrize("header", [0, 8, 36, 44])
@pytest.mark.parametrize("size", UNKNOWN_LENGTHS)
def test_a_wav_that_did_not_know_its_length_is_mended(size: int, header: int, riff: int | None) -> None:
    whole = make_wav(make_tone(0.1))
    streamed = bytearray(whole)
    if riff is not None:
        streamed[4:8] = struct.pack("<I", riff)
    declared = (size - header) & 0xFFFFFFFF
    streamed[40:44] = struct.pack("<I", declared)
    if riff is None and declared == 0:
        return  # an empty data chunk within a RIFF of known length: the bytes behind it are another chunk
    assert read_audio(bytes(streamed), "wav").audio == whole
    audio, seconds = check_wav(bytes(streamed), "x")
    assert audio == whole
    assert seconds == pytest.approx(0.1, abs=0.001)
    assert join_audio("wav", [bytes(streamed), bytes(streamed)]) == join_audio("wav", [whole, whole])


@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF, 0x7FFFF024])
def test_a_riff_of_unknown_length_around_samples_of_known_length_is_mended(riff: int) -> None:
    whole = make_wav(make_tone(0.1))
    streamed = whole[:4] + struct.pack("<I", riff) + whole[8:]
    assert read_audio(streamed, "wav").audio == whole
    with pytest.raises(NotAudio, match="truncated"):
        read_audio(streamed[:-2], "wav")


def test_a_wav_of_unknown_length_keeps_its_header_and_drops_half_a_sample() -> None:
    whole = make_wav(make_tone(0.1))
    note = b"LIST" + struct.pack("<I", 26) + b"INFOISFT\x0e\0\0\0Lavf61.7.100\0\0"
    noted = b"RIFF" + b"\xff" * 4 + whole[8:36] + note + b"data" + b"\xff" * 4 + whole[44:] + b"\x01"
    found = read_audio(noted, "wav")
    assert found.duration_s == pytest.approx(0.1, abs=0.001)
    with wave.open(io.BytesIO(found.audio)) as file:
        assert file.readframes(-1) == whole[44:]
    assert note in found.audio


@pytest.mark.parametrize("declared", [0, 0xFFFFFFFFFFFFFFFF, None])
def test_the_length_of_an_rf64_is_read_from_its_own_chunk(declared: int | None) -> None:
    whole = make_wav(make_tone(0.1))
    size = len(whole) - 44 if declared is None else declared
    chunk = b"ds64" + struct.pack("<IQQQI", 28, declared or len(whole) + 28, size, 0, 0)
    notes = b"LIST" + struct.pack("<I", 4) + b"INFO" if declared is None else b""
    file = b"RF64" + b"\xff" * 4 + b"WAVE" + chunk + whole[12:36] + b"data" + b"\xff" * 4 + whole[44:] + notes
    assert read_audio(file, "wav").duration_s == pytest.approx(0.1, abs=0.001)
    assert join_audio("wav", [file, whole]) == join_audio("wav", [whole, whole])
    with soundfile.SoundFile(io.BytesIO(read_audio(file, "wav").audio)) as read:
        assert read.frames == (len(whole) - 44) // 2


def test_a_wav_may_have_notes_before_and_behind_its_samples() -> None:
    whole = make_wav(make_tone(0.5))
    note = b"LIST" + struct.pack("<I", 5) + b"INFO!\0"
    noted = whole[:12] + note + whole[12:] + note
    found = read_audio(noted, "wav")
    assert found.duration_s == pytest.approx(0.5)
    assert read_audio(join_audio("wav", [noted, noted]), "wav").duration_s == pytest.approx(1.0)
    assert join_audio("wav", [noted, noted]) == join_audio("wav", [whole, whole])


def test_a_silent_wav_of_no_samples_is_refused() -> None:
    with pytest.raises(NotAudio, match="no samples"):
        read_audio(make_wav(b""), "wav")


@pytest.mark.parametrize("kind", sorted(JOINABLE))
def test_joined_pieces_are_one_file_as_long_as_all_of_them(kind: AudioFormat) -> None:
    pieces = [make_file(kind, seconds) for seconds in (0.5, 1.0, 0.25)]
    lengths = [read_audio(piece, kind, RATE).duration_s or 0 for piece in pieces]
    found = read_audio(join_audio(kind, pieces), kind, RATE)
    assert found.duration_s == pytest.approx(sum(lengths), abs=0.001)


def test_a_joined_mp3_is_decoded_to_its_end_by_a_library_that_is_not_ours() -> None:
    pieces = [
        make_file("mp3", 1.0),
        b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + make_file("mp3", 2.0) + b"TAG" + bytes(125),
    ]
    with soundfile.SoundFile(io.BytesIO(join_audio("mp3", pieces))) as file:
        assert file.frames / file.samplerate == pytest.approx(3.1, abs=0.2)
        assert len(file.buffer_read(dtype="int16")) / 2 == pytest.approx(file.frames, abs=3000)


def make_odd_wav(data: bytes, size: int | None = None) -> bytes:
    """Return a wav with a byte too much behind its samples, which its header counts, or does not know of."""
    declared = len(data) + 1 if size is None else size
    return make_wav(data)[:40] + struct.pack("<I", declared) + data + b"\x7f" + b"\0" * (size is None)


@pytest.mark.parametrize("way", ["at once", "streamed"])
@pytest.mark.parametrize("kind", ["pcm", "wav", "wav of unknown length", "mp3", "aac"])
def test_a_piece_that_ends_within_a_frame_does_not_shift_the_next(kind: str, way: str) -> None:
    sounds = [make_tone(0.2, pitch=7), make_tone(0.1, pitch=11), make_tone(0.3, pitch=5)]
    if kind == "pcm":
        form: AudioFormat = "pcm"
        whole, odd = sounds, [sound + b"\x7f" for sound in sounds]
    elif kind in ("mp3", "aac"):
        form = "mp3" if kind == "mp3" else "aac"
        whole = [make_file(kind, seconds) for seconds in (0.2, 0.1, 0.3)]
        odd = [piece + piece[-30:] if kind == "mp3" else piece + adts(1)[:-3] for piece in whole]
        if kind == "mp3":  # the beginning of one more frame, as a cut leaves it
            odd = [piece + piece[piece.rindex(b"\xff\xf3") :][:20] for piece in whole]
    else:
        form = "wav"
        whole = [make_wav(sound) for sound in sounds]
        odd = [make_odd_wav(sound, None if kind == "wav" else 0xFFFFFFFF) for sound in sounds]

    def one_file(pieces: list[bytes]) -> bytes:
        if way == "at once":
            return join_audio(form, pieces)
        out = b""
        for number, piece in enumerate(pieces):
            body = make_body(form, first=number == 0)
            out += b"".join(body.feed(piece[at : at + 333]) for at in range(0, len(piece), 333)) + body.end()
        return out

    assert one_file(odd) == one_file(whole)


def test_raw_samples_with_half_a_sample_at_their_end_lose_it() -> None:
    sound = make_tone(0.1)
    assert read_audio(sound + b"\x01", "pcm", RATE).audio == sound
    with pytest.raises(NotAudio, match="shorter than one sample"):
        read_audio(b"\x01", "pcm", RATE)
    assert read_audio(sound + b"\x01", "ulaw").audio == sound + b"\x01"


@pytest.mark.parametrize("kind", ["ogg", "opus", "flac"])
def test_a_format_that_cannot_be_joined_raises(kind: AudioFormat) -> None:
    with pytest.raises(NotAudio, match="cannot be joined"):
        join_audio(kind, [make_file(kind), make_file(kind)])
    assert join_audio(kind, [make_file(kind)])


def test_pieces_whose_samples_are_coded_differently_are_not_joined() -> None:
    with pytest.raises(NotAudio, match="different sample formats"):
        join_audio("wav", [make_wav(make_tone(0.1)), make_wav(make_tone(0.1), 8000)])


@given(
    st.lists(st.integers(min_value=1, max_value=600), min_size=1, max_size=30),
    st.sampled_from(["wav", "mp3", "aac", "pcm"]),
)
def test_a_body_is_the_same_however_its_bytes_are_cut(cuts: list[int], kind: AudioFormat) -> None:
    audio = FILES[kind]
    whole = make_body(kind, first=False)
    expected = whole.feed(audio) + whole.end()
    body, given_out, at = make_body(kind, first=False), b"", 0
    for size in cuts:
        given_out += body.feed(audio[at : at + size])
        at += size
    given_out += body.feed(audio[at:]) + body.end()
    assert given_out == expected


FILES: dict[str, bytes] = {
    "wav": make_wav(make_tone(0.1)) + b"LIST" + struct.pack("<I", 4) + b"INFO",
    "aac": adts(9),
    "pcm": make_tone(0.1) + b"\1",
    "mp3": b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + make_file("mp3", 0.3) + b"TAG" + bytes(125),
}


@given(st.binary(max_size=300), st.sampled_from(FORMATS))
def test_any_bytes_are_accepted_or_raise_not_audio(data: bytes, kind: AudioFormat) -> None:
    for start in (
        b"",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"OggS\0\2",
        b"fLaC\0\0\0\x22",
        b"\xff\xfb\x90\x00",
        b"\xff\xf1\x50",
    ):
        try:
            read_audio(start + data, kind, RATE)
        except NotAudio:
            continue
