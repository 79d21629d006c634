"""The conformance kit of voices finds audio that does not say the text, and abilities that accept too much."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, list_failures, run_kit

FOUND_BY = {
    "IsSilent": ("test_every_fifth_of_the_audio_has_sound", "Speech.audio is silent"),
    "IsNearlySilent": ("test_every_fifth_of_the_audio_has_sound", "Speech.audio is silent"),
    "IsOneLevel": ("test_every_fifth_of_the_audio_has_sound", "Speech.audio is silent"),
    "IsSilentAtTheEnd": (
        "test_every_fifth_of_the_audio_has_sound",
        "Speech.audio must have sound in every fifth of its duration, silent fifths: 4, 5",
    ),
    "IsSilentAtTheBeginning": (
        "test_every_fifth_of_the_audio_has_sound",
        "Speech.audio must have sound in every fifth of its duration, silent fifths: 1, 2",
    ),
    "IsSilentInTheMiddle": (
        "test_every_fifth_of_the_audio_has_sound",
        "Speech.audio must have sound in every fifth of its duration, silent fifths: 3",
    ),
    "BeepsForEachText": ("test_different_texts_have_different_sound", "different texts must sound different"),
    "HasOneVoice": (
        "test_different_voices_have_different_sound",
        "the voices 'low' and 'deep' must sound different",
    ),
    "DropsTheLastSentence": ("test_the_last_sentence_is_spoken", "the last sentence must be spoken:"),
    "DropsWhatHasNoFullStop": ("test_the_last_sentence_is_spoken", "the last sentence must be spoken:"),
    "DropsQuestions": ("test_the_last_sentence_is_spoken", "the last sentence must be spoken:"),
    "ReadsOneLine": ("test_the_last_sentence_is_spoken", "the last sentence must be spoken:"),
    "StopsAtTheFirstUmlaut": ("test_the_last_sentence_is_spoken", "the last sentence must be spoken:"),
    "IgnoresTheSpeed": ("test_a_speed_changes_the_duration", "speed=1.25 must change"),
    "InvertsTheSpeed": ("test_a_speed_changes_the_duration", "speed=1.25 must change"),
    "TakesTheSpeedAsPercent": ("test_a_speed_changes_the_duration", "speed=1.25 must change"),
    "IgnoresTheFormat": ("test_the_requested_format_is_made", "format='pcm' made wav"),
    "CallsAWavPcm": ("test_the_requested_format_is_made", "expected pcm, got wav"),
    "SendsBigEndianSamples": (
        "test_the_requested_format_is_made",
        "the audio in pcm must have little-endian samples",
    ),
    "SendsPcmOfTwoChannels": ("test_the_requested_format_is_made", "s in wav, but"),
    "FormatOfTraitsIsFixed": (
        "test_the_requested_format_is_made",
        "voice_traits must return the requested format",
    ),
    "StreamsSilence": ("test_a_stream_has_sound_to_its_end", "the stream is silent"),
    "StreamsSilenceAtTheEnd": (
        "test_a_stream_has_sound_to_its_end",
        "the stream must have sound in every fifth of its duration",
    ),
    "StreamsUntilTheFirstSentence": ("test_a_stream_has_sound_to_its_end", "the stream must be complete"),
    "StreamsAHeaderInEachPiece": ("test_a_stream_has_sound_to_its_end", "the stream must be complete"),
    "BeginsBeforeTheAudio": (
        "test_the_times_are_ordered_and_inside_the_audio",
        "must not begin before 0.0 s",
    ),
    "EndsAfterTheAudio": (
        "test_the_times_are_ordered_and_inside_the_audio",
        "must not end after the audio, which has",
    ),
    "EndsBeforeItBegins": ("test_every_character_has_its_time", "must not end before it begins"),
    "GivesTimesThatAreNotNumbers": ("test_the_times_are_ordered_and_inside_the_audio", "must be finite"),
    "GivesDurations": ("test_every_character_has_its_time", "are the times in seconds?"),
    "StopsAtHalf": ("test_the_times_are_ordered_and_inside_the_audio", "are the times in seconds?"),
    "CutsAtTheLimit": (
        "test_a_text_of_the_maximum_length_is_spoken_and_a_longer_one_is_not",
        "must raise TextTooLong, returned Speech",
    ),
    "RefusesTheLimitItself": (
        "test_a_text_of_the_maximum_length_is_spoken_and_a_longer_one_is_not",
        "TextTooLong: the text is too long",
    ),
    "CountsBytesForTheLimit": (
        "test_a_text_of_the_maximum_length_is_spoken_and_a_longer_one_is_not",
        "TextTooLong: the text is too long",
    ),
    "CountsWithoutSpaces": (
        "test_a_text_of_the_maximum_length_is_spoken_and_a_longer_one_is_not",
        "must raise TextTooLong, returned Speech",
    ),
    "StreamsBeyondTheLimit": (
        "test_a_text_of_the_maximum_length_is_spoken_and_a_longer_one_is_not",
        "must raise TextTooLong, returned [",
    ),
    "RaisesBadRequestAtTheLimit": (
        "test_a_text_of_the_maximum_length_is_spoken_and_a_longer_one_is_not",
        "must raise TextTooLong, raised VoiceError",
    ),
    "TakesBlanksAsConsent": (
        "test_a_blank_consent_is_refused",
        "must raise VoiceError or BadRequest, returned VoiceInfo",
    ),
    "ClonesText": (
        "test_samples_that_are_not_audio_are_refused",
        "must raise VoiceError or BadRequest, returned VoiceInfo",
    ),
    "LooksAtTheFirstSample": (
        "test_samples_that_are_not_audio_are_refused",
        "must raise VoiceError or BadRequest, returned VoiceInfo",
    ),
    "SkipsEmptySamples": (
        "test_samples_that_are_not_audio_are_refused",
        "must raise VoiceError or BadRequest, returned VoiceInfo",
    ),
    "ClonesFromNothing": (
        "test_a_clone_needs_a_sample",
        "must raise VoiceError or BadRequest, returned VoiceInfo",
    ),
    "RefusesAndClones": ("test_a_blank_consent_is_refused", "clone_voice raised but created a voice"),
    "PagesMissTheLast": (
        "test_the_pages_of_a_search_equal_the_list",
        "search_voices and list_voices must return the same voices",
    ),
    "PagesHaveMore": ("test_the_pages_of_a_search_equal_the_list", "only in the pages ['ghost']"),
    "PagesRename": (
        "test_the_pages_of_a_search_equal_the_list",
        "search_voices and list_voices must return the same voices",
    ),
    "SkipsAPageOfOne": (
        "test_the_pages_of_a_search_equal_the_list",
        "search_voices and list_voices must return the same voices, limit=1",
    ),
    "ListsTheFirstPage": ("test_the_pages_of_a_search_equal_the_list", "only in the pages ['deep', 'top']"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("voice_content.py", tmp_path_factory, found_by=FOUND_BY)


def test_a_correct_voice_passes_and_nothing_is_skipped(outcomes: Outcomes) -> None:
    assert {how for how, _ in outcomes["Able"].values()} == {"passed"}, list_failures(outcomes["Able"])


@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_broken_voice_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_voice_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Able"} == set(FOUND_BY)
