"""The conformance kit of voices passes what keeps the contract and finds what does not."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, ended, run_kit

FOUND_BY = {
    "AnnouncesAReportThatNeverComes": "track_sending was called, and mark_sent was not",
    "CallsAWavMp3": "expected mp3, got wav",
    "ClaimsAnotherRate": "Speech.sample_rate_hz differs from the audio's rate",
    "CountsBytesAsCharacters": "Speech.characters must count the spoken characters",
    "Crashes": "the text ended the process with SIGSEGV",
    "CutsTheFile": "the wav file is truncated",
    "EndsTheProcess": "the text ended the process with exit code 3",
    "EndsWithinAFrame": "the wav ends inside a frame of 2 bytes",
    "EndsWithinASample": "the pcm audio ends inside a sample",
    "HangsOnLongWords": "neither spoken nor rejected within 5 s",
    "IgnoresItsSettings": "unexpected settings",
    "IsSilent": "the wav file has no samples",
    "ListsInAnyOrder": "the order changed between two calls",
    "ListsTwice": "list_voices returned a voice twice",
    "ListsWhatItDoesNotKnow": "VoiceNotFound: there is no such voice",
    "MixesUpTexts": "concurrent calls got each other's audio",
    "NoVoice": "define synthesize, list_voices, get_voice_info",
    "PlaysFiles": "the text made the backend open a file of this machine",
    "RaisesKeyError": "must raise VoiceNotFound, raised KeyError",
    "RefusesControlCharactersInItsOwnWords": "must speak the text or raise one of llmcore.errors, raised ValueError",
    "ReturnsBytes": "synthesize must return a Speech, got bytes",
    "SaysAlwaysTheSame": "two different texts have the same audio",
    "SendsAnErrorPage": ", got an HTML page",
    "SendsJsonAsSamples": ", got JSON",
    "SendsNothing": "Speech.audio must not be empty",
    "SendsPcmOfNoRate": "Speech.sample_rate_hz must be set for pcm",
    "SpeaksTheEmptyText": "must raise VoiceError or BadRequest, returned Speech",
    "SpeaksTheFirstHundred": "a part of the long text is missing",
    "TakesAnyVoice": "must raise VoiceNotFound, returned Speech",
    "TellsMilliseconds": "Speech.duration_s differs",
    "TellsOfAnother": "get_voice_info returned another voice",
    "WritesTheLengthOfItsFirstPiece": "the header of the wav gives 100 bytes of samples",
}

ABILITIES_FOUND_BY = {
    "AlignsOtherText": "Speech.alignment is of",
    "AlignsInMilliseconds": "are those seconds?",
    "AlignsBackwards": "begins before the one before it",
    "ClonesWithoutConsent": "must raise VoiceError or BadRequest, returned VoiceInfo",
    "DeletesTwice": "delete_voice must return False for a missing voice",
    "FindsAnything": "a search for an unknown name must find nothing",
    "ForgetsTheHost": "unexpected keyword argument",
    "ListsModelsTwice": "list_voice_models returned a model twice",
    "ModelOfNoCharacters": "a limit must be above 0 or None",
    "PagesForever": "the pages do not end",
    "PagesOverlap": "a voice is on two pages",
    "PagesTooLong": "a page must have at most 2 voices, got",
    "PricesUnknownModels": "the price of an unknown model must be None",
    "PricesInFloats": "speech_price must return a Decimal, got float",
    "StreamsCut": "Speech.audio cannot be played: the wav file is truncated",
    "StreamsHalf": "speak the text at different lengths",
    "StreamsNothingToSay": "must raise VoiceError or BadRequest",
    "StreamsText": "stream_speech must yield bytes, got str",
    "TraitsOfAnotherFormat": "the traits have another format than the speech",
    "TraitsOfAnotherRate": "the traits have another sample rate than the speech",
    "TraitsThatChange": "two calls of voice_traits returned different traits",
    "IdentityOfNumbers": "identity holds texts, `version` is a int",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("voice.py", tmp_path_factory, found_by=FOUND_BY)


@pytest.fixture(scope="module")
def abilities(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("voice_abilities.py", tmp_path_factory, found_by=ABILITIES_FOUND_BY)


def test_a_correct_voice_passes_sync_and_async(outcomes: Outcomes) -> None:
    both = outcomes["Both"]
    assert {how for how, _ in both.values()} == {"passed"}, complaints(both)
    assert sum("[sync" in name for name in both) == sum("[async" in name for name in both) > 20


@pytest.mark.parametrize(
    ("backend", "lacking"), [("Tone", "async"), ("AsyncTone", "sync"), ("Unfinished", "async")]
)
def test_one_variant_is_enough_and_the_other_is_skipped(
    outcomes: Outcomes, backend: str, lacking: str
) -> None:
    assert complaints(outcomes[backend]) == []
    for name, (how, said) in outcomes[backend].items():
        assert (how == "skipped") == (f"[{lacking}" in name), name
        assert how == "passed" or f"has no {lacking} variant" in said
    assert ended(outcomes[backend], "passed") > 20


@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_broken_voice_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str, reason: str) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_broken_voice_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Both", "Tone", "AsyncTone", "Unfinished"} == set(FOUND_BY)


def test_a_voice_with_every_ability_passes_and_nothing_is_skipped(abilities: Outcomes) -> None:
    assert {how for how, _ in abilities["Able"].values()} == {"passed"}, complaints(abilities["Able"])
    assert ended(abilities["Able"], "passed") > 70


@pytest.mark.parametrize(("backend", "reason"), ABILITIES_FOUND_BY.items(), ids=ABILITIES_FOUND_BY)
def test_a_broken_ability_is_found(abilities: Outcomes, backend: str, reason: str) -> None:
    said = complaints(abilities[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_a_part_of_an_ability_fails(abilities: Outcomes) -> None:
    assert any("define also: delete_voice" in said for said in complaints(abilities["ClonesOnly"]))
