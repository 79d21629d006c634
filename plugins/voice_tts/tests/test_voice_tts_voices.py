"""Voices: list all pages, search, describe, clone with consent, delete; and the models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmcore.contracts import (
    AsyncVoiceCloningProvider,
    AsyncVoiceModels,
    AsyncVoiceProvider,
    AsyncVoiceSearch,
    AsyncVoiceStreaming,
    AsyncVoiceTimestamps,
    VoiceCloningProvider,
    VoiceModels,
    VoiceOffline,
    VoiceProvider,
    VoiceSearch,
    VoiceStreaming,
    VoiceTimestamps,
)
from llmcore.errors import (
    BadRequest,
    MalformedReply,
    ProviderError,
    Timeout,
    Unavailable,
    VoiceError,
    VoiceNotFound,
)
from llmcore.types import Secret, VoicePage
from llmcore_testing.simulator import Fault, Simulator
from llmcore_voice_tts.options import ElevenLabsOptions
from llmcore_voice_tts.provider import ElevenLabsVoice


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def voice(upstream: Simulator) -> Iterator[ElevenLabsVoice]:
    made = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("k"), base_url=upstream.url))
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, voice: ElevenLabsVoice) -> Callable[..., Any]:
    """Give a way to call a method, in either variant."""

    def call_method(name: str, *args: Any, **options: Any) -> Any:
        if request.param == "sync":
            return getattr(voice, name)(*args, **options)
        return asyncio.run(getattr(voice, f"a{name}")(*args, **options))

    return call_method


def test_every_ability_of_a_voice_is_there_sync_and_async(voice: ElevenLabsVoice) -> None:
    abilities = (
        VoiceProvider, VoiceStreaming, VoiceTimestamps, VoiceSearch, VoiceModels, VoiceCloningProvider, VoiceOffline,
        AsyncVoiceProvider, AsyncVoiceStreaming, AsyncVoiceTimestamps, AsyncVoiceSearch, AsyncVoiceModels,
        AsyncVoiceCloningProvider,
    )  # fmt: skip
    assert [ability.__name__ for ability in abilities if not isinstance(voice, ability)] == []


@pytest.mark.slow
def test_a_list_goes_over_all_pages_and_names_each_voice_once(
    upstream: Simulator, voice: ElevenLabsVoice, call: Callable[..., Any]
) -> None:
    recording = voice.synthesize("Hello").audio
    for number in range(110):
        voice.clone_voice(f"Clone {number:03}", [recording], consent="yes")
    before = upstream.counts["voices"]
    get_list = call("list_voices")
    assert upstream.counts["voices"] - before == 2
    assert len({each.voice_id for each in get_list}) == len(get_list) == 123
    assert [each.name for each in get_list] == sorted(each.name for each in get_list)


def test_pages_follow_one_another_to_the_end(call: Callable[..., Any]) -> None:
    names: list[str] = []
    after = None
    while True:
        page: VoicePage = call("search_voices", limit=5, after=after)
        names += [each.name for each in page.voices]
        after = page.next
        if after is None:
            break
    assert names == [each.name for each in call("list_voices")]


def test_a_search_fits_words_and_filters(upstream: Simulator, call: Callable[..., Any]) -> None:
    assert [each.name for each in call("search_voices", "british", gender="female").voices] == ["Alice"]
    found = call("search_voices", language="de").voices
    assert {each.language for each in found} == {"de"}
    assert {each.labels["category"] for each in found} == {"premade"}
    backwards = call("search_voices", sort="name", sort_direction="desc").voices
    assert backwards[0].name > backwards[-1].name
    asked = len(upstream.requests)
    with pytest.raises(BadRequest, match="did you mean `gender`"):
        call("search_voices", gendre="female")
    with pytest.raises(BadRequest, match="limit"):
        call("search_voices", limit=0)
    assert len(upstream.requests) == asked


def test_a_list_without_an_end_is_an_error(upstream: Simulator, call: Callable[..., Any]) -> None:
    page = {"voices": [], "has_more": True, "next_page_token": "again", "total_count": 0}
    upstream.fail(Fault.status(200, body=page), times=None)
    with pytest.raises(MalformedReply, match="has no end"):
        call("list_voices")
    assert upstream.counts["requests"] == 2


def test_a_list_ends_at_the_deadline_over_all_its_pages(
    upstream: Simulator, call: Callable[..., Any]
) -> None:
    upstream.fail(Fault.slow(bytes_per_second=300), times=None)
    for name in ("list_voices", "list_voice_models", "search_voices"):
        with pytest.raises(Timeout):
            call(name, timeout_s=0.2)


@pytest.mark.parametrize(
    "fault", [Fault.html(), Fault.bad_json(), Fault.status(200, body={}), Fault.empty_body()]
)
def test_an_invalid_list_of_voices_is_an_error(
    upstream: Simulator, call: Callable[..., Any], fault: Fault
) -> None:
    for name in ("list_voices", "list_voice_models"):
        upstream.fail(fault)
        with pytest.raises(MalformedReply):
            call(name)
    upstream.fail(fault)
    with pytest.raises(MalformedReply):
        call("get_voice_info", "Voice000000000000001")


def test_one_voice_is_described_with_its_labels(call: Callable[..., Any]) -> None:
    info = call("get_voice_info", "Voice000000000000003")
    assert (info.name, info.language, info.labels["accent"]) == ("Bruno", "de", "standard")
    with pytest.raises(VoiceNotFound, match="Voice00000000000000f"):
        call("get_voice_info", "Voice00000000000000f")


def test_models_that_speak_are_listed_with_their_limits(call: Callable[..., Any]) -> None:
    models = {model.model_id: model for model in call("list_voice_models")}
    assert models["eleven_flash_v2_5"].max_characters == 40_000
    assert models["eleven_v4"].languages == ("en", "de")
    assert "eleven_english_sts_v2" not in models


def test_a_voice_is_cloned_with_consent_speaks_and_goes(
    upstream: Simulator, voice: ElevenLabsVoice, call: Callable[..., Any]
) -> None:
    recordings = [voice.synthesize("Hello", format=form).audio for form in ("mp3", "wav", "opus")]
    made = call(
        "clone_voice",
        "Ann",
        recordings,
        consent="Ann, in writing, 2026-11-02",
        description="calm",
        labels={"language": "de"},
    )
    assert b'filename="sample-3"' in upstream.requests[-1].raw
    info = call("get_voice_info", made.voice_id)
    assert (info.name, info.language, info.labels["category"]) == ("Ann", "de", "cloned")
    assert info.description == made.description == "calm\n\nConsent: Ann, in writing, 2026-11-02"
    assert call("synthesize", "Hello", made.voice_id).voice == made.voice_id
    assert call("delete_voice", made.voice_id) is True
    assert call("delete_voice", made.voice_id) is False


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("Ann", [b"RIFF"], ""), "consent"),
        (("Ann", [b"RIFF"], "  "), "consent"),
        ((" ", [b"RIFF"], "yes"), "name"),
        (("Ann", [], "yes"), "at least one recording"),
        (("Ann", [b"RIFF", b"words"], "yes"), "recording 2 is not an audio file"),
        (("Ann", [b""], "yes"), "recording 1 is not an audio file"),
    ],
)
def test_no_voice_is_made_without_consent_a_name_and_recordings(
    upstream: Simulator, call: Callable[..., Any], given: tuple[str, list[bytes], str], said: str
) -> None:
    name, samples, consent = given
    with pytest.raises(VoiceError, match=said):
        call("clone_voice", name, samples, consent=consent)
    assert upstream.requests == []


def test_a_voice_that_may_not_be_deleted_is_an_error(call: Callable[..., Any]) -> None:
    with pytest.raises(ProviderError, match="premade"):
        call("delete_voice", "Voice000000000000001")


def test_an_ordinary_call_is_not_tried_again_either(upstream: Simulator, call: Callable[..., Any]) -> None:
    upstream.fail(Fault.status(500), times=None)
    for name, args in (("list_voices", ()), ("list_voice_models", ()), ("get_voice_info", ("V1",))):
        with pytest.raises(Unavailable):
            call(name, *args)
    assert upstream.counts["requests"] == 3
