"""Answers that are not chats, and chats that cannot be read: any 2xx status and content type; errors show the received text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest

from llmcore.errors import MalformedReply, NotAudio
from llmcore.types import ChatRequest, Delta, Secret
from llmcore_openai_optimized.account import OpenAIOptions
from llmcore_openai_optimized.options import SpeechOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_openai_optimized.speech import OpenAIVoice
from llmcore_testing.simulator.sounds import Codec, speak
from tests.kits.body_server import BodyServer

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
REQUEST: Final = ChatRequest(model="m", messages=MESSAGES, timeout_s=30, idle_s=10)
MODELS: Final = {
    "OpenAI": b'{"object": "list", "data": [{"id": "b"}, {"id": "a"}]}',
    "Together": b'[{"id": "a"}, {"id": "b"}]',
    "Ollama": b'{"models": [{"name": "b"}, {"name": "a"}]}',
    "odd entries": b'\xef\xbb\xbf{"data": [{"id": "b"}, null, {}, {"id": 7}, "a"]}',
}


@contextmanager
def provider_of(sent: Sequence[bytes], status: int = 200) -> Iterator[OpenAIProvider]:
    server = BodyServer(sent, "application/json", status)
    made = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=server.url))
    try:
        yield made
    finally:
        made.close()
        server.close()


@pytest.mark.parametrize("body", MODELS.values(), ids=list(MODELS))
def test_lists_of_models_differ(body: bytes) -> None:
    with provider_of([body], status=203) as provider:
        assert provider.list_models() == ["a", "b"]
        assert asyncio.run(provider.alist_models()) == ["a", "b"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data": 7}', b"7", b"<html>"])
def test_an_invalid_list_of_models_is_malformed(body: bytes) -> None:
    with provider_of([body] if body else []) as provider:
        with pytest.raises(MalformedReply, match="not a list of models"):
            provider.list_models()
        with pytest.raises(MalformedReply, match="not a list of models"):
            asyncio.run(provider.alist_models())


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream", ""])
def test_speech_may_have_any_label_and_any_success(kind: str) -> None:
    audio = speak("It rains.", Codec("mp3", 24000, 128))
    server = BodyServer([audio[:1000], audio[1000:]], kind, 201)
    voice = OpenAIVoice(SpeechOptions(api_key=Secret("sk-test"), base_url=server.url))
    try:
        assert voice.synthesize("It rains.").audio == audio
        assert asyncio.run(voice.asynthesize("It rains.")).audio == audio
        assert b"".join(voice.stream_speech("It rains.")) == audio
    finally:
        voice.close()
        server.close()


@pytest.mark.parametrize("kind", ["mp3", "pcm"])
def test_json_without_an_error_is_not_audio(kind: str) -> None:
    server = BodyServer([b'{"status": "queued"}'], "application/json")
    voice = OpenAIVoice(SpeechOptions(api_key=Secret("sk-test"), base_url=server.url))
    try:
        with pytest.raises(NotAudio, match="got application/json"):
            voice.synthesize("It rains.", format=kind)
        with pytest.raises(NotAudio, match="got application/json"):
            asyncio.run(voice.asynthesize("It rains.", format=kind))
    finally:
        voice.close()
        server.close()


async def collect(provider: OpenAIProvider) -> list[Delta]:
    return [delta async for delta in provider.astream(REQUEST)]


WAYS: Final[dict[str, Callable[[OpenAIProvider], object]]] = {
    "complete": lambda provider: provider.complete(REQUEST),
    "acomplete": lambda provider: asyncio.run(provider.acomplete(REQUEST)),
    "stream": lambda provider: list(provider.stream(REQUEST)),
    "astream": lambda provider: asyncio.run(collect(provider)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"content": 7}, "`content` of an unknown shape: 7"),
        ({"content": [{"kind": "text"}]}, '`content` of an unknown shape: [{"kind":"text"}]'),
        ({"content": {"parts": ["sk-abcdefgh12345678"]}}, '`content` of an unknown shape: {"parts":["…"]}'),
        ({"content": "", "tool_calls": "w()"}, '`tool_calls` of an unknown shape: "w()"'),
        ("Rain", '`message` of an unknown shape: "Rain"'),
        ({"content": {"x": "y " * 900}}, "y y y"),
    ],
)
def test_content_of_an_unknown_shape_is_shown(
    message: Any, shown: str, way: Callable[[OpenAIProvider], object]
) -> None:
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    with provider_of([body]) as provider, pytest.raises(MalformedReply) as caught:
        way(provider)
    assert shown in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
