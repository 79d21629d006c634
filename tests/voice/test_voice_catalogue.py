"""Listing and searching voices through the public interface: the requests to the provider, and their deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import llmcore
import llmcore.types
from llmcore.errors import BadRequest, Timeout
from llmcore_testing import Fault, Simulator

ASKED: dict[str, tuple[Any, ...]] = {
    "list_voices": (),
    "search_voices": ("warm",),
    "get_voice_info": ("Voice000000000000001",),
    "models": (),
    "clone_voice": ("Ada", [b"RIFF" + bytes(40)]),
    "delete_voice": ("Voice000000000000001",),
}
LONG_S = 30.0


def run_to_end(call: Callable[[], Any]) -> BaseException | None:
    """Return the exception of *call*; fail if it does not end."""
    raised: list[BaseException | None] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is what the test is about
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(LONG_S)
    assert raised, "the call did not end"
    return raised[0]


@pytest.mark.parametrize("variant", ["sync", "async"])
@pytest.mark.parametrize("method", ASKED)
def test_the_deadline_holds_for_all_that_is_asked_of_voices(method: str, variant: str) -> None:
    given = {"consent": "signed"} if method == "clone_voice" else {}
    with Simulator() as upstream:
        upstream.fail(Fault.hang(), times=None)
        settings = {"api_key": "k", "base_url": upstream.url}
        core = llmcore.load(
            {
                "voice": {"provider": "elevenlabs", "elevenlabs": settings},
                "retry": {"deadline": "0.3s", "attempts": 1},
            }
        )

        def call() -> Any:
            if variant == "sync":
                return getattr(core.voice, method)(*ASKED[method], **given)
            return asyncio.run(getattr(core.voice, "a" + method)(*ASKED[method], **given))

        assert type(run_to_end(call)) is Timeout


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_the_remaining_time_is_passed_to_methods_that_accept_it(speaker: Any, variant: str) -> None:
    timeouts: list[float] = []

    def names_it(self: Any, *, timeout_s: float = 60.0) -> Any:
        del self
        timeouts.append(timeout_s)
        return [llmcore.types.VoiceInfo(voice_id="anna", name="Anna")]

    def does_not(
        self: Any, query: str | None = None, *, limit: int, after: str | None, **filters: Any
    ) -> Any:
        del self, query, limit, after
        assert filters == {}
        return llmcore.types.VoicePage(voices=())

    speaker.Speaker.list_voices = names_it
    speaker.Speaker.search_voices = does_not
    voice = llmcore.load({"voice": {"provider": "speaker"}, "retry": {"deadline": "7s"}}).voice
    if variant == "sync":
        assert [each.name for each in voice.list_voices()] == ["Anna"]
        assert voice.search_voices().voices == ()
    else:
        assert [each.name for each in asyncio.run(voice.alist_voices())] == ["Anna"]
        assert asyncio.run(voice.asearch_voices()).voices == ()
    assert len(timeouts) == 1
    assert 0 < timeouts[0] <= 7


@pytest.mark.parametrize("provider", ["elevenlabs", "openai", "espeak"])
def test_a_misspelt_filter_is_an_error_and_no_empty_page(provider: str) -> None:
    with Simulator() as upstream:
        voices = {
            "elevenlabs": {"api_key": "k", "base_url": upstream.url},
            "openai": {"api_key": "k", "base_url": upstream.base_url},
        }
        voice = llmcore.load({"voice": {"provider": provider, **voices}}).voice
        with pytest.raises(BadRequest) as caught:
            voice.search_voices(langage="en")
        assert caught.value.suggestion == "language"
        assert upstream.requests == []


def test_a_language_with_a_country_finds_voices_of_the_language() -> None:
    with Simulator() as upstream:
        settings = {"api_key": "k", "base_url": upstream.url}
        voice = llmcore.load({"voice": {"provider": "elevenlabs", "elevenlabs": settings}}).voice
        plain = voice.search_voices(language="en").voices
        assert plain
        assert voice.search_voices(language="en-GB").voices == plain
        with pytest.raises(BadRequest):
            voice.search_voices(language="English, please")
