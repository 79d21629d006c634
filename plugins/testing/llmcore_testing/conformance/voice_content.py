"""Tests of what a listener can hear in the audio of a voice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import pytest

from llmcore.errors import BadRequest, TextTooLong, VoiceError
from llmcore.types import Speech, VoiceInfo
from llmcore.voice.audio.check import read_audio
from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.sound_levels import Levels, decode
from llmcore_testing.conformance.voice_abilities import VoiceAbilities
from llmcore_testing.conformance.voice_check import check, check_joined
from llmcore_testing.simulator.sounds import Codec, speak

__all__ = ["VoiceContent"]

_TEXT: Final = "The quick brown fox jumps over the lazy dog and runs away"
_FIRST: Final = "It rains in the mountains today."
_LAST: Final = {
    "full_stop": " Seven green bottles are hanging on the wall.",
    "no_punctuation": " Seven green bottles are hanging on the wall",
    "question": " Are seven green bottles hanging on the wall?",
    "new_line": "\nSeven green bottles are hanging on the wall",
    "other_script": " Sieben gr\u00fcne Flaschen h\u00e4ngen dort \u2026 n\u00e4chste Woche \u00fcbrigens auch\u3002",
}
_NOT_AUDIO: Final = {
    "nothing": b"",
    "html": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "json": b'{"error": {"code": 401, "message": "sign in first"}}',
    "text": b"This is the text of a note and not a recording. " * 20,
    "utf_16": "This is the text of a note and not a recording.".encode("utf-16"),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
}
_LONGEST: Final = 10_000
"""The largest `max_characters` that the kit tests. The test is skipped for a voice with a larger maximum."""
_SLACK_S: Final = 0.2


class VoiceContent(VoiceAbilities):
    """Tests that the whole text is audible, in different voices, at the requested speed."""

    formats: ClassVar[Sequence[str]] = ()
    """Formats that `synthesize(text, format=...)` supports, such as `("wav", "mp3")`."""

    def test_every_fifth_of_the_audio_has_sound(self) -> None:
        self._check_sound(check(self.call("synthesize", _TEXT)), "Speech.audio")

    def test_different_texts_have_different_sound(self) -> None:
        first, second = self._hear("One, two, three, four."), self._hear("Blue whales sing to each other.")
        size = min(len(first.samples), len(second.samples))
        is_same = first.samples[:size] == second.samples[:size]
        assert not is_same, "different texts must sound different"

    def test_different_voices_have_different_sound(self) -> None:
        voices = [voice.voice_id for voice in self.call("list_voices")]
        first, last = (self._hear(_TEXT, voices[at]) for at in (0, -1))
        if len(voices) > 1:
            assert first.samples != last.samples, (
                f"the voices {voices[0]!r} and {voices[-1]!r} must sound different"
            )

    @pytest.mark.parametrize("last", _LAST.values(), ids=_LAST)
    def test_the_last_sentence_is_spoken(self, last: str) -> None:
        both, first, alone = (self._hear(text).sounding_s for text in (_FIRST + last, _FIRST, last.strip()))
        assert both > first + max(first, alone) / 2, (
            f"the last sentence must be spoken: {both:.2f} s of sound for {_FIRST + last!r}, {first:.2f} s without it"
        )

    def test_a_speed_changes_the_duration(self) -> None:
        speed = self.settings.get("speed")
        if speed in (None, 1, 1.0):
            pytest.skip("`settings` of the test class has no `speed` other than 1.0")
        plain, changed = (self._hear(_TEXT, None, speed=rate).sounding_s for rate in (1.0, speed))
        assert plain > 0, "the audio must not be silent"
        effect = (changed / plain - 1) / (1 / speed - 1)
        assert effect > 0.3, (
            f"speed={speed} must change {plain:.2f} s to {plain / speed:.2f} s, got {changed:.2f} s"
        )

    def test_the_requested_format_is_made(self) -> None:
        if not self.formats:
            pytest.skip("the test class does not set `formats`")
        heard: dict[str, float] = {}
        for form in self.formats:
            speech = check(self.call("synthesize", _TEXT, None, format=form))
            assert speech.format == form, f"format={form!r} made {speech.format}"
            traits = self._get_traits({"format": form})
            assert traits is None or traits.format == form, "voice_traits must return the requested format"
            heard[form] = self._check_sound(speech, f"the audio in {form}").duration_s
        usual = heard[self.formats[0]]
        for form, seconds in heard.items():
            assert seconds == pytest.approx(usual, rel=0.1, abs=_SLACK_S), (
                f"all formats must have the same duration: {usual:.2f} s in {self.formats[0]}, but {seconds:.2f} s in {form}"
            )

    # -- streams

    @for_ability("stream_speech")
    def test_a_stream_has_sound_to_its_end(self) -> None:
        self.needs("stream_speech")
        streamed = self._check_sound(self._stream(_TEXT), "the stream").sounding_s
        whole = self._hear(_TEXT).sounding_s
        assert streamed > whole * 0.7, (
            f"the stream must be complete: {streamed:.2f} s of sound, but synthesize has {whole:.2f} s"
        )

    @for_ability("stream_speech")
    def test_joined_streams_play_to_the_end(self) -> None:
        self.needs("stream_speech")
        check_joined([self._stream(_FIRST), self._stream(_TEXT)])

    # -- timestamps

    @for_ability("synthesize_with_timestamps")
    def test_the_times_are_ordered_and_inside_the_audio(self) -> None:
        self.needs("synthesize_with_timestamps")
        speech = check(self.call("synthesize_with_timestamps", _TEXT))
        length = read_audio(speech.audio, speech.format, speech.sample_rate_hz).duration_s
        former = 0.0
        for character, begins, ends in speech.alignment:
            where = f"{character!r} from {begins} to {ends} s"
            assert math.isfinite(begins + ends), f"{where} must be finite"
            assert former - 1e-6 <= begins <= ends, (
                f"{where} must not begin before {former} s or end before it begins"
            )
            assert length is None or ends <= length + _SLACK_S, (
                f"{where} must not end after the audio, which has {length:.2f} s"
            )
            former = begins
        assert length is None or former > length / 2, (
            f"the last character begins at {former:.2f} s of {length:.2f} s: are the times in seconds?"
        )

    # -- limits

    @for_ability("voice_traits")
    @pytest.mark.parametrize("space", [" ", "\u00a0"], ids=["ascii", "two_bytes"])
    def test_a_text_of_the_maximum_length_is_spoken_and_a_longer_one_is_not(self, space: str) -> None:
        traits = self._get_traits()
        most = None if traits is None else traits.max_characters
        if most is None:
            return  # the backend has no maximum length
        if most > _LONGEST:
            pytest.skip(f"max_characters is {most:,}; the test supports limits up to {_LONGEST:,}")
        text = "Hello" + space * (most - 10) + "there"
        check(self.call("synthesize", text))
        self.fails(TextTooLong, "synthesize", text + "s")
        if self.caller.has("stream_speech"):
            self.stream_fails(TextTooLong, "stream_speech", text + "s")

    # -- catalogue

    @for_ability("search_voices")
    @pytest.mark.parametrize("size", [1, 3, 100])
    def test_the_pages_of_a_search_equal_the_list(self, size: int) -> None:
        self.needs("search_voices")
        listed = {voice.voice_id: voice.name for voice in self.call("list_voices")}
        found: dict[str, str] = {}
        after: str | None = None
        for _ in range(len(listed) + 2):
            page = self.call("search_voices", None, limit=size, after=after)
            found |= {voice.voice_id: voice.name for voice in page.voices}
            after = page.next
            if after is None:
                break
        assert found == listed, (
            f"search_voices and list_voices must return the same voices, limit={size}: only in the list "
            f"{sorted(listed.keys() - found.keys())[:5]}, only in the pages {sorted(found.keys() - listed.keys())[:5]}"
        )

    # -- clones

    @for_ability("clone_voice")
    @pytest.mark.parametrize("consent", ["", " ", "\n\t"], ids=["nothing", "space", "blank"])
    def test_a_blank_consent_is_refused(self, consent: str) -> None:
        self._check_clone_rejected([self._make_recording()], consent)

    @for_ability("clone_voice")
    @pytest.mark.parametrize("sample", _NOT_AUDIO.values(), ids=_NOT_AUDIO)
    def test_samples_that_are_not_audio_are_refused(self, sample: bytes) -> None:
        self._check_clone_rejected([self._make_recording(), sample], "agreed in writing")

    @for_ability("clone_voice")
    def test_a_clone_needs_a_sample(self) -> None:
        self._check_clone_rejected([], "agreed in writing")

    def _check_clone_rejected(self, samples: Sequence[bytes], consent: str) -> None:
        __tracebackhide__ = True
        self.needs("clone_voice", "delete_voice")
        before = [voice.voice_id for voice in self.call("list_voices")]
        error = self.fails((VoiceError, BadRequest), "clone_voice", "Nobody", samples, consent=consent)
        assert self.foreign(error) == [], "the error must not chain an SDK's exception: use raise_unchained"
        after: list[VoiceInfo] = self.call("list_voices")
        assert [voice.voice_id for voice in after] == before, "clone_voice raised but created a voice"

    def _make_recording(self) -> bytes:
        return next(iter(self.samples), None) or speak("A recording of a person.", Codec("wav", 16_000))

    def _hear(self, text: str, voice: str | None = None, **settings: Any) -> Levels:
        __tracebackhide__ = True
        return decode(check(self.call("synthesize", text, voice, **settings)))

    def _stream(self, text: str) -> Speech:
        """Return the audio of the stream as a Speech."""
        __tracebackhide__ = True
        traits = self._get_traits()
        like = traits if traits is not None else check(self.call("synthesize", text))
        audio = b"".join(self.collect("stream_speech", text))
        return check(Speech(audio=audio, format=like.format, sample_rate_hz=like.sample_rate_hz))

    def _check_sound(self, speech: Speech, what: str) -> Levels:
        __tracebackhide__ = True
        levels = decode(speech)
        assert not levels.has_swapped_bytes(), f"{what} must have little-endian samples, got big-endian"
        silent = levels.find_silent_parts(5)
        assert len(silent) < 5, f"{what} is silent"
        assert not silent, (
            f"{what} must have sound in every fifth of its duration, silent fifths: {', '.join(map(str, silent))}"
        )
        return levels
