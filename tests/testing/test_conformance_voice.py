"""The conformance kit of voices passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, check_found, count_ended, list_failures, run_kit

FOUND_BY = {
    "AnnouncesAReportThatNeverComes": (
        "test_a_tracked_request_is_reported_as_sent",
        "the method called track_sending but not mark_sent, so the ledger would record no cost",
    ),
    "CallsAWavMp3": ("test_every_fifth_of_the_audio_has_sound", "expected mp3, got wav"),
    "ClaimsAnotherRate": (
        "test_every_fifth_of_the_audio_has_sound",
        "Speech.sample_rate_hz must equal the audio's rate",
    ),
    "CountsBytesAsCharacters": (
        "test_characters_counts_the_text",
        "Speech.characters must count the spoken characters",
    ),
    "Crashes": (
        "test_a_hostile_text_is_spoken_or_rejected_without_harm",
        "the text ended the process with SIGSEGV",
    ),
    "CutsTheFile": ("test_every_fifth_of_the_audio_has_sound", "the wav file is truncated"),
    "EndsTheProcess": (
        "test_a_hostile_text_is_spoken_or_rejected_without_harm",
        "the text ended the process with exit code 3",
    ),
    "EndsWithinAFrame": (
        "test_every_fifth_of_the_audio_has_sound",
        "the wav must end with a complete frame of 2 bytes",
    ),
    "EndsWithinASample": (
        "test_every_fifth_of_the_audio_has_sound",
        "pcm audio must end with a complete sample",
    ),
    "HangsOnLongWords": (
        "test_a_hostile_text_is_spoken_or_rejected_without_harm",
        "synthesize must return or raise within 5 s",
    ),
    "IgnoresItsSettings": ("test_a_speed_changes_the_duration", "unexpected settings"),
    "IsSilent": ("test_every_fifth_of_the_audio_has_sound", "the wav file has no samples"),
    "ListsInAnyOrder": (
        "test_list_voices_is_stable_and_without_duplicates",
        "list_voices must always use the same order",
    ),
    "ListsTwice": (
        "test_list_voices_is_stable_and_without_duplicates",
        "list_voices must not return duplicates",
    ),
    "ListsWhatItDoesNotKnow": (
        "test_different_voices_have_different_sound",
        "VoiceNotFound: there is no such voice",
    ),
    "MixesUpTexts": ("test_concurrent_texts_get_their_own_audio", "concurrent calls got each other's audio"),
    "NoVoice": (
        "test_a_cancelled_task_ends_soon_and_leaves_the_backend_usable",
        "define synthesize, list_voices, get_voice_info",
    ),
    "PlaysFiles": (
        "test_a_hostile_text_is_spoken_or_rejected_without_harm",
        "the text must not make the backend open a file",
    ),
    "RaisesKeyError": ("test_an_unknown_voice_is_not_found", "must raise VoiceNotFound, raised KeyError"),
    "RefusesControlCharactersInItsOwnWords": (
        "test_a_hostile_text_is_spoken_or_rejected_without_harm",
        "must speak the text or raise an error of llmcore.errors, raised ValueError",
    ),
    "ReturnsBytes": ("test_every_fifth_of_the_audio_has_sound", "synthesize must return a Speech, got bytes"),
    "SaysAlwaysTheSame": (
        "test_different_texts_sound_different",
        "different texts must have different audio",
    ),
    "SendsAnErrorPage": ("test_every_fifth_of_the_audio_has_sound", ", got an HTML page"),
    "SendsJsonAsSamples": ("test_every_fifth_of_the_audio_has_sound", ", got JSON"),
    "SendsNothing": ("test_every_fifth_of_the_audio_has_sound", "Speech.audio must not be empty"),
    "SendsPcmOfNoRate": (
        "test_every_fifth_of_the_audio_has_sound",
        "Speech.sample_rate_hz must be set for pcm",
    ),
    "SpeaksTheEmptyText": (
        "test_an_empty_text_is_rejected",
        "must raise VoiceError or BadRequest, returned Speech",
    ),
    "SpeaksTheFirstHundred": (
        "test_a_long_text_is_spoken_to_its_end_or_rejected",
        "the audio of the long text must be complete",
    ),
    "TakesAnyVoice": ("test_an_unknown_voice_is_not_found", "must raise VoiceNotFound, returned Speech"),
    "TellsMilliseconds": (
        "test_every_fifth_of_the_audio_has_sound",
        "Speech.duration_s must equal the audio's duration",
    ),
    "TellsOfAnother": (
        "test_get_voice_info_returns_every_listed_voice",
        "get_voice_info must return the requested voice",
    ),
    "WritesTheLengthOfItsFirstPiece": (
        "test_every_fifth_of_the_audio_has_sound",
        "the wav header declares 100 bytes of samples",
    ),
}

ABILITIES_FOUND_BY = {
    "AlignsOtherText": ("test_every_character_has_its_time", "Speech.alignment must cover the text, got"),
    "AlignsInMilliseconds": ("test_every_character_has_its_time", "are the times in seconds?"),
    "AlignsBackwards": ("test_every_character_has_its_time", "must not begin before the preceding character"),
    "ClonesWithoutConsent": (
        "test_a_blank_consent_is_refused",
        "must raise VoiceError or BadRequest, returned VoiceInfo",
    ),
    "DeletesTwice": (
        "test_a_clone_is_made_and_deleted",
        "delete_voice must return False for a missing voice",
    ),
    "FindsAnything": (
        "test_a_search_finds_matching_names_only",
        "a search for an unknown name must be empty",
    ),
    "ForgetsTheHost": ("test_traits_match_the_speech", "unexpected keyword argument"),
    "ListsModelsTwice": (
        "test_list_voice_models_returns_distinct_models_with_limits",
        "list_voice_models must not return duplicates",
    ),
    "ModelOfNoCharacters": (
        "test_list_voice_models_returns_distinct_models_with_limits",
        "max_characters must be greater than 0 or None",
    ),
    "PagesForever": ("test_the_pages_together_list_every_voice_once", "the pages must end"),
    "PagesOverlap": ("test_the_pages_together_list_every_voice_once", "a voice must not be on two pages"),
    "PagesTooLong": (
        "test_the_pages_together_list_every_voice_once",
        "a page must have at most 2 voices, got",
    ),
    "PricesUnknownModels": (
        "test_a_price_grows_with_the_text_and_is_none_if_unknown",
        "the price of an unknown model must be None",
    ),
    "PricesInFloats": (
        "test_a_price_grows_with_the_text_and_is_none_if_unknown",
        "speech_price must return a Decimal or None, got float",
    ),
    "StreamsCut": (
        "test_a_stream_is_the_bytes_of_one_file",
        "Speech.audio cannot be played: the wav file is truncated",
    ),
    "StreamsHalf": (
        "test_a_stream_is_the_bytes_of_one_file",
        "the audio of the stream and of `synthesize` must have the same size, within 30 %",
    ),
    "StreamsNothingToSay": (
        "test_stream_speech_rejects_the_same_arguments_as_synthesize",
        "must raise VoiceError or BadRequest",
    ),
    "StreamsText": ("test_a_stream_is_the_bytes_of_one_file", "stream_speech must yield bytes, got str"),
    "TraitsOfAnotherFormat": (
        "test_traits_match_the_speech",
        "voice_traits and the speech must have the same format",
    ),
    "TraitsOfAnotherRate": (
        "test_traits_match_the_speech",
        "voice_traits and the speech must have the same sample rate",
    ),
    "TraitsIgnoreOptions": (
        "test_options_that_change_the_audio_change_the_traits",
        "so their voice_traits must differ: add every option",
    ),
    "TraitsThatChange": (
        "test_traits_match_the_speech",
        "voice_traits must return equal traits for equal arguments",
    ),
    "IdentityOfNumbers": (
        "test_traits_match_the_speech",
        "the values of identity must be text, got int for `version`",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("voice.py", tmp_path_factory, found_by=FOUND_BY)


@pytest.fixture(scope="module")
def abilities(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("voice_abilities.py", tmp_path_factory, found_by=ABILITIES_FOUND_BY)


def test_a_correct_voice_passes_sync_and_async(outcomes: Outcomes) -> None:
    both = outcomes["Both"]
    assert {how for how, _ in both.values()} == {"passed"}, list_failures(both)
    assert sum("[sync" in name for name in both) == sum("[async" in name for name in both) > 20


@pytest.mark.parametrize(
    ("backend", "lacking"), [("Tone", "async"), ("AsyncTone", "sync"), ("Unfinished", "async")]
)
def test_one_variant_is_enough_and_the_other_is_skipped(
    outcomes: Outcomes, backend: str, lacking: str
) -> None:
    assert list_failures(outcomes[backend]) == []
    for name, (how, said) in outcomes[backend].items():
        assert (how == "skipped") == (f"[{lacking}" in name), name
        assert how == "passed" or f"has no {lacking} variant" in said
    assert count_ended(outcomes[backend], "passed") > 20


@pytest.mark.parametrize("backend", FOUND_BY)
def test_a_broken_voice_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str) -> None:
    check_found(outcomes, backend, FOUND_BY)


def test_every_broken_voice_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Both", "Tone", "AsyncTone", "Unfinished"} == set(FOUND_BY)


def test_a_voice_with_every_ability_passes_and_nothing_is_skipped(abilities: Outcomes) -> None:
    assert {how for how, _ in abilities["Able"].values()} == {"passed"}, list_failures(abilities["Able"])
    assert count_ended(abilities["Able"], "passed") > 70


@pytest.mark.parametrize("backend", ABILITIES_FOUND_BY)
def test_a_broken_ability_is_found(abilities: Outcomes, backend: str) -> None:
    check_found(abilities, backend, ABILITIES_FOUND_BY)


def test_a_part_of_an_ability_fails(abilities: Outcomes) -> None:
    assert any("define also: delete_voice" in said for said in list_failures(abilities["ClonesOnly"]))
