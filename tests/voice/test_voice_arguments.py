"""The arguments of a speech are checked before anything is sent: only errors of llmcore are raised."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import llmcore
from llmcore.errors import BadRequest, VoiceError

HALF = "a\ud83d"


def call_method(client: Any, method: str, given: dict[str, Any]) -> None:
    made = getattr(client, method)("Hello.", **given)
    if method.startswith("a"):
        asyncio.run(made)
    elif method == "stream":
        list(made)


@pytest.fixture
def voice(speaker: Any) -> Any:
    del speaker
    return llmcore.load({"voice": {"provider": "speaker"}, "cache": {"provider": "memory"}}).voice


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {"voice": HALF}, {"voice": 7}, {"voice": []}, {"model": HALF}, {"model": []}, {"user": HALF}, {"user": 7},
        {"user": []}, {"tags": HALF}, {"tags": [HALF]}, {"tags": 7}, {"tags": [7]}, {"tags": {"a": 1}},
        {"tags": b"a"}, {"progress": 7}, {"cache": []}, {"timeout": []}, {"format": HALF}, {"style": [HALF]},
        {"style": {"a": [HALF]}}, {"style": {HALF: 1}},
    ],
    ids=ascii,
)  # fmt: skip
@pytest.mark.parametrize("method", ["synthesize", "synthesize_with_timestamps", "stream", "asynthesize"])
def test_impossible_texts_and_settings_are_rejected(
    speaker: Any, voice: Any, method: str, given: dict[str, Any]
) -> None:
    with pytest.raises(BadRequest) as caught:
        call_method(voice, method, given)
    assert min(given) in caught.value.message
    assert speaker.requests == []


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("get_voice_info", {"voice_id": HALF}),
        ("get_voice_info", {"voice_id": None}),
        ("get_voice_info", {"voice_id": []}),
        ("delete_voice", {"voice_id": HALF}),
        ("search_voices", {"query": HALF}),
        ("search_voices", {"query": 7}),
        ("search_voices", {"after": 7}),
        ("search_voices", {"limit": "5"}),
        ("search_voices", {"language": object()}),
        ("search_voices", {"language": HALF}),
        ("search_voices", {"language": ["en", HALF]}),
        ("traits", {"voice": HALF}),
        ("traits", {"format": [HALF]}),
    ],
)
def test_invalid_search_arguments_are_rejected(voice: Any, method: str, given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        getattr(voice, method)(**given)
    assert min(given) in caught.value.message


@pytest.mark.parametrize(
    "change",
    [
        {"name": HALF}, {"consent": HALF}, {"description": HALF}, {"description": 7}, {"labels": ["a"]},
        {"labels": {"a": HALF}}, {"labels": {HALF: "a"}}, {"labels": {"a": 7}}, {"labels": {7: "a"}},
    ],
    ids=ascii,
)  # fmt: skip
def test_the_description_of_a_clone_must_be_text(speaker: Any, voice: Any, change: dict[str, Any]) -> None:
    with pytest.raises(VoiceError, match=r"of the voice"):
        voice.clone_voice(**{"name": "Ada", "audio_files": [b"RIFF"], "consent": "signed", **change})
    assert speaker.clones == []


def test_a_clone_without_a_description_has_none(speaker: Any, voice: Any) -> None:
    voice.clone_voice("Ada", [b"RIFF"], consent="signed", description=None)
    assert speaker.clones[0][3] == ""


def test_tags_are_one_text_or_several(voice: Any) -> None:
    for tags in ("a", ["a", "b"], ("a",), {"a"}, (), None):
        assert voice.synthesize("Hello.", tags=tags).audio


@pytest.mark.parametrize(
    "given",
    [{"user": HALF}, {"user": 7}, {"user": []}, {"tags": HALF}, {"tags": [HALF]}, {"tags": 7}, {"tags": [7]}],
    ids=ascii,
)
@pytest.mark.parametrize("method", ["chat", "stream", "achat"])
def test_a_chat_takes_no_odd_user_or_tags_either(method: str, given: dict[str, Any]) -> None:
    llm = llmcore.load({"llm": {"provider": "echo"}}).llm
    with pytest.raises(BadRequest, match=f"^{min(given)} (must|contains)"):
        call_method(llm, method, given)
