"""`VoiceConformance`, the tests for every voice backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import pytest

from llmcore.errors import BadRequest, LLMCoreError, TextTooLong, VoiceError, VoiceNotFound
from llmcore.types import Speech, VoiceInfo
from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.broken_upstream import BrokenUpstream
from llmcore_testing.conformance.caller import Call, Caller
from llmcore_testing.conformance.optional_tests import requires
from llmcore_testing.conformance.voice_check import check, check_joined
from llmcore_testing.conformance.voice_content import VoiceContent
from llmcore_testing.conformance.voice_hostile_texts import HostileTexts
from llmcore_testing.simulator import Fault

__all__ = ["VoiceConformance"]

_TEXTS = {
    "one_word": "Hello",
    "sentences": "It rains. Take an umbrella, please!",
    "umlauts": "Gr\u00fc\u00dfe aus K\u00f6ln",
    "chinese": "\u4f60\u597d\uff0c\u4e16\u754c",
    "markup": "a < b & c > d </speak>",
    "like_an_option": "--help -v",
    "lines": "one\r\ntwo\n\nthree",
}

_CUT_AUDIO: Final = frozenset({"reset", "closed_within", "login_page", "empty"})


class VoiceConformance(VoiceContent, HostileTexts, BrokenUpstream):
    """Tests the contract `llmcore.contracts.voice`."""

    kind: ClassVar[str] = "voice"
    stream_method: ClassVar[str] = "stream_speech"
    must: ClassVar[tuple[str, ...]] = ("synthesize", "list_voices", "get_voice_info")
    example: ClassVar[str] = "MyVoice()"
    long_text: ClassVar[str] = "It rains, and it does not stop to rain. " * 50
    """A text that the backend must speak completely or reject with `TextTooLong`."""

    def make_call(self) -> Call:
        """Return a call that succeeds."""
        return "synthesize", "Hello"

    def make_timed_call(
        self, caller: Caller, timeout_s: float, idle_s: float
    ) -> tuple[Call, dict[str, Any]] | None:
        """Return a call with both timeouts; None if the provider has no `voice_traits` and thus accepts none."""
        if not hasattr(caller.provider, "voice_traits"):
            return None
        return self.make_call(), {"timeout_s": timeout_s, "idle_s": min(timeout_s, idle_s)}

    def make_trickle(self, method: str) -> Fault:
        """Return a fault whose answer never ends; see `BrokenUpstream.make_trickle`.

        The server sends a part of the audio before the white space, because no audio file begins with white space.
        """
        del method
        return Fault.trickle(64)

    @for_ability("synthesize_with_timestamps")
    @requires("broken")
    def test_the_deadline_ends_timestamps_that_trickle(
        self,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.check_deadline("synthesize_with_timestamps", broken, canary, request, caplog)

    def find_cut_streams(self) -> Mapping[str, Fault]:
        """Return the faults of a stream that a voice can detect.

        Audio often has neither an end marker nor error events, so a voice cannot detect other faults.
        """
        return {name: fault for name, fault in super().find_cut_streams().items() if name in _CUT_AUDIO}

    def make_odd_call(self) -> Call:
        """Return a call that raises or finds nothing."""
        return "synthesize", ""

    @pytest.mark.parametrize("text", _TEXTS.values(), ids=_TEXTS)
    def test_the_audio_of_a_text_can_be_played(self, text: str) -> None:
        self._speak(text)

    @pytest.mark.usefixtures("no_threads")
    def test_it_works_or_raises_if_no_thread_can_be_started(self) -> None:
        self.works_or_refuses("synthesize", "Hello")
        if self.caller.has("stream_speech"):
            self.works_or_refuses("stream_speech", "Hello")
        self.works_or_refuses("list_voices")

    def test_a_tracked_request_is_reported_as_sent(self) -> None:
        self.reports_sending("synthesize", "Say something.")

    def test_different_texts_sound_different(self) -> None:
        first, second = self._speak("One, two, three."), self._speak("It rains in the mountains today.")
        assert first.audio != second.audio, "different texts must have different audio"

    def test_a_longer_text_has_longer_audio(self) -> None:
        short, long = self._speak("Yes."), self._speak("Yes, and then once more: yes. " * 4)
        assert len(long.audio) > len(short.audio), "a longer text must have longer audio"
        if short.duration_s is not None and long.duration_s is not None:
            assert long.duration_s > short.duration_s > 0

    def test_a_long_text_is_spoken_to_its_end_or_rejected(self) -> None:
        try:
            long = self._speak(self.long_text)
        except TextTooLong as error:
            self._check_error(error)
            return
        half = self._speak(self.long_text[: len(self.long_text) // 2])
        assert len(long.audio) > 1.5 * len(half.audio), "the audio of the long text must be complete"

    def test_joined_pieces_have_the_sum_of_their_durations(self) -> None:
        check_joined([self._speak("It rains."), self._speak("Take an umbrella, please!")])

    @pytest.mark.parametrize("text", ["", " ", "\n\t "], ids=["nothing", "space", "blank"])
    def test_an_empty_text_is_rejected(self, text: str) -> None:
        self.fails((VoiceError, BadRequest), "synthesize", text)

    def test_characters_counts_the_text(self) -> None:
        text = "Twelve chars"
        speech = self._speak(text)
        assert speech.characters in (0, len(text)), "Speech.characters must count the spoken characters"

    def test_get_voice_info_returns_every_listed_voice(self) -> None:
        for listed in self._list_voices():
            info = self.call("get_voice_info", listed.voice_id)
            assert isinstance(info, VoiceInfo), (
                f"get_voice_info must return a VoiceInfo, got {type(info).__name__}"
            )
            assert info.voice_id == listed.voice_id, "get_voice_info must return the requested voice"
            assert info.name == listed.name, "list_voices and get_voice_info must return the same name"

    def test_list_voices_is_stable_and_without_duplicates(self) -> None:
        ids = [voice.voice_id for voice in self._list_voices()]
        assert len(set(ids)) == len(ids), "list_voices must not return duplicates"
        assert [voice.voice_id for voice in self._list_voices()] == ids, (
            "list_voices must always use the same order"
        )

    def test_the_first_and_the_last_voice_speak(self) -> None:
        voices = self._list_voices()
        for voice in {voices[0].voice_id, voices[-1].voice_id}:
            speech = self._speak("Hello", voice)
            assert speech.voice in ("", voice), (
                f"Speech.voice must be {voice!r} or empty, got {speech.voice!r}"
            )

    @pytest.mark.parametrize("voice", ["no-such-voice", "", "../etc", "-h"], ids=ascii)
    def test_an_unknown_voice_is_not_found(self, voice: str) -> None:
        self.fails(VoiceNotFound, "get_voice_info", voice)
        error = self.fails(VoiceNotFound, "synthesize", "Hello", voice)
        self._check_error(error)

    def test_settings_of_the_backend_are_accepted(self) -> None:
        if not self.settings:
            pytest.skip("the test class does not set `settings`")
        check(self.call("synthesize", "Hello there.", None, **self.settings))

    def test_an_unknown_setting_is_rejected_or_ignored(self) -> None:
        try:
            speech = self.call("synthesize", "Hello", None, no_such_setting=1)
        except LLMCoreError as error:
            self._check_error(error)
        else:
            check(speech)

    def test_concurrent_texts_get_their_own_audio(self) -> None:
        texts = [
            "One.",
            "One, two, three, four.",
            "One, two, three, four, five, six, seven, eight, nine.",
        ] * 2
        spoken = self.together([("synthesize", text) for text in texts])
        for speech in spoken:
            check(speech)
        sizes = [len(speech.audio) for speech in spoken]
        assert sizes[0] < sizes[1] < sizes[2], "concurrent calls got each other's audio"
        assert sizes[3] < sizes[4] < sizes[5], "concurrent calls got each other's audio"

    def _check_error(self, error: LLMCoreError) -> None:
        __tracebackhide__ = True
        assert error.message.strip(), "the message of the error must not be empty"
        assert self.foreign(error) == [], "the error must not chain an SDK's exception: use raise_unchained"

    def _list_voices(self) -> list[VoiceInfo]:
        __tracebackhide__ = True
        voices = self.call("list_voices")
        assert isinstance(voices, Sequence), (
            f"list_voices must return a sequence, got {type(voices).__name__}"
        )
        assert voices, "there must be at least one voice"
        for voice in voices:
            assert isinstance(voice, VoiceInfo), (
                f"list_voices must return VoiceInfo, got {type(voice).__name__}"
            )
            assert voice.voice_id, "a voice must have an id"
            assert voice.name, "a voice must have a name"
        return list(voices)

    def _speak(self, text: str, voice: str | None = None) -> Speech:
        __tracebackhide__ = True
        speech = self.call("synthesize", text, *([] if voice is None else [voice]))
        return check(speech)
