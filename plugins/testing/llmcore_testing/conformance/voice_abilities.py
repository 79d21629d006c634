"""Tests of the optional abilities of a voice: streams, timestamps, searches, models, traits, clones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from llmcore.errors import BadRequest, LLMCoreError, VoiceError, VoiceNotFound
from llmcore.types import Speech, VoiceInfo, VoiceModel, VoicePage, VoiceTraits
from llmcore_testing.conformance.abilities import Abilities, for_ability
from llmcore_testing.conformance.optional_tests import requires
from llmcore_testing.conformance.voice_check import check

__all__ = ["VoiceAbilities"]

_TEXT = "It rains in the mountains. Take an umbrella, please!"
_REFUSED = (VoiceError, BadRequest)


class VoiceAbilities(Abilities):
    """Tests the optional protocols of `llmcore.contracts.voice` that the backend implements.

    A subclass sets `lacks` to the abilities that its backend does not have. The names of the abilities are
    "stream_speech", "synthesize_with_timestamps", "search_voices", "list_voice_models", "voice_traits" and "clone_voice".
    """

    settings: ClassVar[Mapping[str, Any]] = {}
    """Options that `synthesize` of this backend accepts, such as `{"speed": 1.2}`."""
    samples: ClassVar[Sequence[bytes]] = ()
    """Recordings from which the test of cloning makes a voice. The test deletes the voice at its end. Without recordings, the
    test is skipped."""

    @pytest.fixture
    def variation(self) -> Any:
        """Return a second provider, whose options make different audio from the same text and settings."""
        return None

    # -- streams

    @for_ability("stream_speech")
    def test_a_stream_is_the_bytes_of_one_file(self) -> None:
        self.needs("stream_speech")
        traits = self._get_traits()
        pieces = self.collect("stream_speech", _TEXT)
        assert pieces, "the stream must not be empty"
        for piece in pieces:
            assert type(piece) is bytes, f"stream_speech must yield bytes, got {type(piece).__name__}"
        spoken = check(self.call("synthesize", _TEXT))
        audio = b"".join(pieces)
        kind = spoken.format if traits is None else traits.format
        rate = spoken.sample_rate_hz if traits is None else traits.sample_rate_hz
        check(Speech(audio=audio, format=kind, sample_rate_hz=rate))
        assert len(audio) == pytest.approx(len(spoken.audio), rel=0.3), (
            "the audio of the stream and of `synthesize` must have the same size, within 30 %"
        )

    @for_ability("stream_speech")
    def test_a_stream_can_be_closed_early(self) -> None:
        self.needs("stream_speech")
        assert len(self.collect("stream_speech", _TEXT, limit=1)) == 1
        assert self.collect("stream_speech", "And again."), (
            "stream_speech must work after closing a stream early"
        )

    @for_ability("stream_speech")
    def test_stream_speech_rejects_the_same_arguments_as_synthesize(self) -> None:
        self.needs("stream_speech")
        self.stream_fails(_REFUSED, "stream_speech", "  ")
        self.stream_fails(VoiceNotFound, "stream_speech", "Hello", "no-such-voice")

    # -- timestamps

    @for_ability("synthesize_with_timestamps")
    @pytest.mark.parametrize("text", [_TEXT, "Gr\u00fc\u00dfe,\n  K\u00f6ln"], ids=["plain", "umlauts"])
    def test_every_character_has_its_time(self, text: str) -> None:
        self.needs("synthesize_with_timestamps")
        speech = check(self.call("synthesize_with_timestamps", text))
        spoken = "".join(character for character, _, _ in speech.alignment)
        assert spoken == text, f"Speech.alignment must cover the text, got {spoken!r}"
        latest = 0.0
        for character, begins, ends in speech.alignment:
            assert latest <= begins + 1e-6, f"{character!r} must not begin before the preceding character"
            assert begins <= ends, f"{character!r} must not end before it begins"
            latest = begins
        if speech.duration_s is not None:
            assert latest <= speech.duration_s + 0.2, (
                "the last character must begin before the end of the audio plus 0.2 s: are the times in seconds?"
            )
            assert latest >= speech.duration_s * 0.3, (
                "the last character begins too early: are the times in seconds?"
            )

    # -- searches

    @for_ability("search_voices")
    def test_the_pages_together_list_every_voice_once(self) -> None:
        self.needs("search_voices")
        found: list[str] = []
        after: str | None = None
        for _ in range(1000):
            page = self.call("search_voices", None, limit=2, after=after)
            assert isinstance(page, VoicePage), (
                f"search_voices must return a VoicePage, got {type(page).__name__}"
            )
            assert len(page.voices) <= 2, f"a page must have at most 2 voices, got {len(page.voices)}"
            found += [voice.voice_id for voice in page.voices]
            after = page.next
            if after is None:
                break
        assert after is None, "the pages must end"
        assert found, "there must be at least one voice"
        assert len(found) == len(set(found)), "a voice must not be on two pages"

    @for_ability("search_voices")
    def test_a_search_finds_matching_names_only(self) -> None:
        self.needs("search_voices")
        page = self.call("search_voices", None, limit=1)
        name = page.voices[0].name
        named = self.call("search_voices", name, limit=100)
        assert page.voices[0].voice_id in [voice.voice_id for voice in named.voices], (
            f"search_voices must find the name {name!r}"
        )
        nothing = self.call("search_voices", "no such voice name", limit=5)
        assert nothing.voices == (), "a search for an unknown name must be empty"

    # -- models

    @for_ability("list_voice_models")
    def test_list_voice_models_returns_distinct_models_with_limits(self) -> None:
        self.needs("list_voice_models")
        models = self.call("list_voice_models")
        assert models, "there must be at least one model"
        for model in models:
            assert isinstance(model, VoiceModel), (
                f"list_voice_models must return VoiceModel, got {type(model).__name__}"
            )
            assert model.max_characters is None or model.max_characters > 0, (
                "max_characters must be greater than 0 or None"
            )
        ids = [model.model_id for model in models]
        assert len(ids) == len(set(ids)), "list_voice_models must not return duplicates"

    # -- traits

    @for_ability("voice_traits")
    def test_traits_match_the_speech(self) -> None:
        for settings in ({}, self.settings):
            traits = self._get_traits(settings)
            if traits is None:
                pytest.skip("the backend has no method voice_traits")
            speech = check(self.call("synthesize", _TEXT, None, **settings))
            assert traits.format == speech.format, "voice_traits and the speech must have the same format"
            assert traits.sample_rate_hz in (None, speech.sample_rate_hz), (
                "voice_traits and the speech must have the same sample rate"
            )
            assert traits.voice in ("", speech.voice or traits.voice), (
                "voice_traits and the speech must have the same voice"
            )
            assert traits == self._get_traits(settings), (
                "voice_traits must return equal traits for equal arguments"
            )
            assert traits.concurrency >= 1, "concurrency must be at least 1"
            assert traits.max_characters is None or traits.max_characters > 0, (
                "max_characters must be greater than 0 or None"
            )
            for name, value in traits.identity.items():
                assert isinstance(name, str), "the names of identity must be text"
                assert isinstance(value, str), (
                    f"the values of identity must be text, got {type(value).__name__} for `{name}`"
                )

    @requires("variation")
    @for_ability("voice_traits")
    def test_options_that_change_the_audio_change_the_traits(self, variation: Any) -> None:
        """The cache key contains the traits, not the options. With equal traits, the host would play the wrong audio."""
        mine = self._get_traits()
        if mine is None:  # without traits, the cache key contains all options
            return
        theirs = variation.voice_traits(None, {})
        names = ("voice", "model", "format", "sample_rate_hz", "identity")
        assert any(getattr(mine, name) != getattr(theirs, name) for name in names), (
            "the provider and `variation` make different audio, so their voice_traits must differ: add every option that "
            f"changes the audio to `identity`, got {dict(mine.identity)} for both"
        )

    @for_ability("voice_traits")
    def test_a_backend_with_traits_accepts_context_arguments(self) -> None:
        traits = self._get_traits()
        if traits is None:
            pytest.skip("the backend has no method voice_traits")
        spoken: dict[str, Any] = {"timeout_s": 30.0, "idle_s": 10.0}
        if traits.stitches:
            spoken |= {"previous_text": "Before.", "next_text": "After.", "previous_request_ids": ["unknown"]}
        check(self.call("synthesize", _TEXT, None, **spoken))

    @for_ability("voice_traits")
    def test_a_price_grows_with_the_text_and_is_none_if_unknown(self) -> None:
        traits = self._get_traits()
        price = getattr(self.caller.provider, "speech_price", None)
        if traits is None or price is None:
            pytest.skip("the backend has no method voice_traits, or no method speech_price")
        one, two = price(traits.model, 1000), price(traits.model, 2000)
        for cost in (one, two):
            assert cost is None or isinstance(cost, Decimal), (
                f"speech_price must return a Decimal or None, got {type(cost).__name__}"
            )
        if one is not None and two is not None:
            assert 0 <= one <= two, "a longer text must not cost less"
            if one:
                assert price("no-such-model", 1000) is None, "the price of an unknown model must be None"

    # -- clones

    @for_ability("clone_voice")
    def test_a_clone_is_made_and_deleted(self) -> None:
        self.needs("clone_voice", "delete_voice")
        if not self.samples:
            pytest.skip("the test class does not set `samples`")
        made = self.call(
            "clone_voice", "Conformance", list(self.samples), consent="ours", description="short"
        )
        assert isinstance(made, VoiceInfo), f"clone_voice must return a VoiceInfo, got {type(made).__name__}"
        assert self.call("get_voice_info", made.voice_id).voice_id == made.voice_id
        assert self.call("delete_voice", made.voice_id) is True, (
            "delete_voice must return True for an existing voice"
        )
        assert self.call("delete_voice", made.voice_id) is False, (
            "delete_voice must return False for a missing voice"
        )

    def _get_traits(self, settings: Mapping[str, Any] | None = None) -> VoiceTraits | None:
        __tracebackhide__ = True
        tell = getattr(self.caller.provider, "voice_traits", None)
        if tell is None:
            return None
        try:
            traits = tell(None, dict(settings or {}))
        except LLMCoreError as error:
            pytest.fail(f"voice_traits must accept the settings of synthesize: {error.message}")
        assert isinstance(traits, VoiceTraits), (
            f"voice_traits must return VoiceTraits, got {type(traits).__name__}"
        )
        return traits
