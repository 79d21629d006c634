"""Models and voices behind HTTP, and what does not end at the deadline of a call; test_conformance_deadlines.py runs this file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, ClassVar

import httpx
import pytest

from llmcore.errors import MalformedReply
from llmcore.support.errors import raise_unchained
from llmcore.support.http import RequestDeadline, translate_http_error
from llmcore.types import (
    ChatRequest,
    Delta,
    EmbeddingRequest,
    Embeddings,
    Reply,
    Speech,
    Usage,
    VoiceInfo,
    VoiceTraits,
)
from llmcore_testing import LLMConformance, Simulator, VoiceConformance
from llmcore_testing.simulator import RecordedRequest
from tests.broken_backends.voice_base import RATE, Tone

USAGE = Usage(input_tokens=1, output_tokens=1)


def chat(request: RecordedRequest) -> Any:
    """Answer as the server of an invented vendor."""
    if not request.body["stream"]:
        return {"text": "It rains."}
    return iter([{"text": "It "}, {"text": "rains."}, {"text": "", "done": "stop"}])


def embed(request: RecordedRequest) -> Any:
    return {"vectors": [[1.0, 0.5] for _ in request.body["texts"]]}


def speak(request: RecordedRequest) -> Any:
    return Tone().synthesize(request.body["text"]).audio


class Remote:
    """Sends requests; each has its deadline, unless *late* names the method."""

    late: ClassVar[str] = ""

    def __init__(self, address: str) -> None:
        self.address = address

    def read(
        self, method: str, path: str, body: Any, timeout_s: float | None, idle_s: float | None
    ) -> Iterator[bytes]:
        """Yield the body of the answer as it arrives."""
        deadline = RequestDeadline(timeout_s, idle_s)
        try:
            with httpx.Client(base_url=self.address, trust_env=False) as client:
                request = client.build_request("POST", path, json=body)
                request.extensions["timeout"] = self.limit(method, deadline, idle_s)
                response = client.send(request, stream=True)
                deadline.begun = True
                for piece in response.iter_bytes():
                    if method != self.late:
                        deadline.check()
                    yield piece
        except (httpx.HTTPError, OSError) as error:
            self.translate(error, deadline)

    async def aread(
        self, method: str, path: str, body: Any, timeout_s: float | None, idle_s: float | None
    ) -> AsyncIterator[bytes]:
        """Yield the body of the answer as it arrives."""
        deadline = RequestDeadline(timeout_s, idle_s)
        try:
            async with httpx.AsyncClient(base_url=self.address, trust_env=False) as client:
                request = client.build_request("POST", path, json=body)
                request.extensions["timeout"] = self.limit(method, deadline, idle_s)
                response = await client.send(request, stream=True)
                deadline.begun = True
                async for piece in response.aiter_bytes():
                    if method != self.late:
                        deadline.check()
                    yield piece
        except (httpx.HTTPError, OSError) as error:
            self.translate(error, deadline)

    def limit(self, method: str, deadline: RequestDeadline, idle_s: float | None) -> Any:
        return {"read": idle_s} if method == self.late else deadline

    def translate(self, error: Exception, deadline: RequestDeadline) -> None:
        raise_unchained(
            translate_http_error(
                error,
                provider="test",
                address=self.address,
                text=type(error).__name__,
                begun=deadline.begun,
            )
        )

    @staticmethod
    def decode(pieces: Sequence[bytes]) -> Any:
        try:
            return json.loads(b"".join(pieces))
        except ValueError:
            raise_unchained(MalformedReply("the answer is not JSON"))


class Model(Remote):
    """Correct."""

    def chat(self, method: str, request: ChatRequest) -> tuple[Any, ...]:
        body = {"stream": method.endswith("stream")}
        return method, "/api/chat", body, request.timeout_s, request.idle_s

    def complete(self, request: ChatRequest) -> Reply:
        return self.reply(list(self.read(*self.chat("complete", request))))

    async def acomplete(self, request: ChatRequest) -> Reply:
        return self.reply([piece async for piece in self.aread(*self.chat("acomplete", request))])

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        for piece in self.read(*self.chat("stream", request)):
            yield from self.deltas(piece)

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        async for piece in self.aread(*self.chat("astream", request)):
            for delta in self.deltas(piece):
                yield delta

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        return self.embeddings(list(self.read(*self.embedding("embed", request))))

    async def aembed(self, request: EmbeddingRequest) -> Embeddings:
        return self.embeddings([piece async for piece in self.aread(*self.embedding("aembed", request))])

    def embedding(self, method: str, request: EmbeddingRequest) -> tuple[Any, ...]:
        return method, "/api/embed", {"texts": list(request.texts)}, request.timeout_s, request.idle_s

    def reply(self, pieces: Sequence[bytes]) -> Reply:
        return Reply(text=self.decode(pieces)["text"], model="m", finish_reason="stop", usage=USAGE)

    def embeddings(self, pieces: Sequence[bytes]) -> Embeddings:
        return Embeddings(vectors=self.decode(pieces)["vectors"], model="m", usage=USAGE)

    @staticmethod
    def deltas(piece: bytes) -> Iterator[Delta]:
        for line in piece.decode().split("\n"):  # no line is in two pieces here
            if line.strip():
                answer = json.loads(line)
                yield Delta(text=answer["text"], finish_reason=answer.get("done"))


class CompletesLate(Model):
    """encode/httpx#1450: each byte of an answer begins the timeout again."""

    late = "complete"


class CompletesLateInATask(Model):
    late = "acomplete"


class StreamsLate(Model):
    late = "stream"


class StreamsLateInATask(Model):
    late = "astream"


class EmbedsLate(Model):
    late = "embed"


class EmbedsLateInATask(Model):
    late = "aembed"


class Voice(Remote):
    """Correct."""

    def order(self, method: str, text: str, settings: Any) -> tuple[Any, ...]:
        return method, "/api/speech", {"text": text}, settings.get("timeout_s"), settings.get("idle_s")

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:  # noqa: ARG002 - there is one voice
        return self.speech(list(self.read(*self.order("synthesize", text, settings))))

    async def asynthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:  # noqa: ARG002 - as above
        pieces = self.aread(*self.order("asynthesize", text, settings))
        return self.speech([piece async for piece in pieces])

    def stream_speech(self, text: str, voice: str | None = None, **settings: Any) -> Iterator[bytes]:  # noqa: ARG002 - as above
        yield from self.read(*self.order("stream_speech", text, settings))

    async def astream_speech(
        self, text: str, voice: str | None = None, **settings: Any
    ) -> AsyncIterator[bytes]:
        del voice
        async for piece in self.aread(*self.order("astream_speech", text, settings)):
            yield piece

    def synthesize_with_timestamps(self, text: str, voice: str | None = None, **settings: Any) -> Speech:  # noqa: ARG002 - as above
        return self.speech(list(self.read(*self.order("synthesize_with_timestamps", text, settings))))

    @staticmethod
    def speech(pieces: Sequence[bytes]) -> Speech:
        return Speech(audio=b"".join(pieces), format="wav", sample_rate_hz=RATE)

    def list_voices(self) -> list[VoiceInfo]:
        return [self.get_voice_info("low")]

    async def alist_voices(self) -> list[VoiceInfo]:
        return self.list_voices()

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        return VoiceInfo(voice_id=voice_id, name="Low")

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        return self.get_voice_info(voice_id)

    def voice_traits(self, voice: str | None, settings: Any) -> VoiceTraits:
        del settings
        return VoiceTraits(voice=voice or "low", format="wav", sample_rate_hz=RATE)


class SpeaksLate(Voice):
    late = "synthesize"


class SpeaksLateInATask(Voice):
    late = "asynthesize"


class StreamsSpeechLate(Voice):
    late = "stream_speech"


class StreamsSpeechLateInATask(Voice):
    late = "astream_speech"


class TimesCharactersLate(Voice):
    late = "synthesize_with_timestamps"


class ModelKit(LLMConformance):
    lacks = ("canary", "submit", "count_on_server")
    routes: ClassVar[Any] = {"POST /api/chat": chat, "POST /api/embed": embed}
    backend: type = Model

    @pytest.fixture
    def provider(self, upstream: Simulator) -> Any:
        return self.backend(upstream.url)

    @pytest.fixture
    def broken(self, upstream: Simulator) -> Any:
        return self.backend(upstream.url)


class VoiceKit(VoiceConformance):
    lacks = ("canary",)
    routes: ClassVar[Any] = {"POST /api/speech": speak}
    backend: type = Voice

    @pytest.fixture
    def provider(self, upstream: Simulator) -> Any:
        return self.backend(upstream.url)

    @pytest.fixture
    def broken(self, upstream: Simulator) -> Any:
        return self.backend(upstream.url)


class TestModel(ModelKit):
    """Correct."""


class TestVoice(VoiceKit):
    """Correct."""


for _kit, _correct in ((ModelKit, Model), (VoiceKit, Voice)):
    for _backend in _correct.__subclasses__():
        # The calls of the broken ones never end, so a short deadline is enough on a slow machine, too.
        globals()[f"Test{_backend.__name__}"] = type(
            f"Test{_backend.__name__}", (_kit,), {"backend": _backend, "deadline_s": 1.0}
        )
