"""The conformance kit of voices finds audio that does not say the text, and abilities that accept too much."""

from __future__ import annotations

import pytest

from tests.kits.runner import Outcomes, complaints, run_kit

FOUND_BY = {
    "IsSilent": "Speech.audio is silent",
    "IsNearlySilent": "Speech.audio is silent",
    "IsOneLevel": "Speech.audio is silent",
    "IsSilentAtTheEnd": "Speech.audio is silent in these fifths: 4, 5",
    "IsSilentAtTheBeginning": "Speech.audio is silent in these fifths: 1, 2",
    "IsSilentInTheMiddle": "Speech.audio is silent in these fifths: 3",
    "BeepsForEachText": "two different texts sound the same",
    "HasOneVoice": "the voices 'low' and 'deep' sound the same",
    "DropsTheLastSentence": "the last sentence is missing",
    "DropsWhatHasNoFullStop": "the last sentence is missing",
    "DropsQuestions": "the last sentence is missing",
    "ReadsOneLine": "the last sentence is missing",
    "StopsAtTheFirstUmlaut": "the last sentence is missing",
    "IgnoresTheSpeed": "speed=1.25 must change",
    "InvertsTheSpeed": "speed=1.25 must change",
    "TakesTheSpeedAsPercent": "speed=1.25 must change",
    "IgnoresTheFormat": "format='pcm' made wav",
    "CallsAWavPcm": "expected pcm, got wav",
    "SendsBigEndianSamples": "the audio in pcm has big-endian samples",
    "SendsPcmOfTwoChannels": "s in wav, but",
    "FormatOfTraitsIsFixed": "voice_traits names another format",
    "StreamsSilence": "the stream is silent",
    "StreamsSilenceAtTheEnd": "the stream is silent in these fifths",
    "StreamsUntilTheFirstSentence": "a part of the stream is missing",
    "StreamsAHeaderInEachPiece": "a part of the stream is missing",
    "BeginsBeforeTheAudio": "must not begin before 0.0 s",
    "EndsAfterTheAudio": "but the audio ends at",
    "EndsBeforeItBegins": "ends before it begins",
    "GivesTimesThatAreNotNumbers": "must be finite",
    "GivesDurations": "are those seconds?",
    "StopsAtHalf": "are those seconds?",
    "CutsAtTheLimit": "must raise TextTooLong, returned Speech",
    "RefusesTheLimitItself": "TextTooLong: the text is too long",
    "CountsBytesForTheLimit": "TextTooLong: the text is too long",
    "CountsWithoutSpaces": "must raise TextTooLong, returned Speech",
    "StreamsBeyondTheLimit": "must raise TextTooLong, returned [",
    "RaisesBadRequestAtTheLimit": "must raise TextTooLong, raised VoiceError",
    "TakesBlanksAsConsent": "must raise VoiceError or BadRequest, returned VoiceInfo",
    "ClonesText": "must raise VoiceError or BadRequest, returned VoiceInfo",
    "LooksAtTheFirstSample": "must raise VoiceError or BadRequest, returned VoiceInfo",
    "SkipsEmptySamples": "must raise VoiceError or BadRequest, returned VoiceInfo",
    "ClonesFromNothing": "must raise VoiceError or BadRequest, returned VoiceInfo",
    "RefusesAndClones": "clone_voice refused and created a voice",
    "PagesMissTheLast": "search_voices and list_voices must return the same voices",
    "PagesHaveMore": "only in the pages ['ghost']",
    "PagesRename": "search_voices and list_voices must return the same voices",
    "SkipsAPageOfOne": "search_voices and list_voices must return the same voices, limit=1",
    "ListsTheFirstPage": "only in the pages ['deep', 'top']",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return run_kit("voice_content.py", tmp_path_factory, found_by=FOUND_BY)


def test_a_correct_voice_passes_and_nothing_is_skipped(outcomes: Outcomes) -> None:
    assert {how for how, _ in outcomes["Able"].values()} == {"passed"}, complaints(outcomes["Able"])


@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_broken_voice_fails_and_the_failure_says_why(outcomes: Outcomes, backend: str, reason: str) -> None:
    said = complaints(outcomes[backend])
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_broken_voice_has_an_expected_message(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Able"} == set(FOUND_BY)
