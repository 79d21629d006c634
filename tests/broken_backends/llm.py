"""Language models, good and broken on purpose, under `LLMConformance`; test_conformance_llm.py runs this file."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from llmcore.errors import BadRequest
from llmcore.support.sending import track_sending
from llmcore.types import (
    ChatRequest,
    Delta,
    Reply,
    TokenCount,
    ToolCall,
    Usage,
)
from llmcore_testing.conformance import LLMConformance
from tests.broken_backends.llm_base import AsyncPlain, Full, Plain

KEY = "sk-canary-4711"


class SaysAlwaysTheSame(Full):
    def make_answer(self, request: ChatRequest) -> str:
        super().make_answer(request)
        return "As a language model, I cannot."


class SaysItsCallsNumber(Full):
    calls = 0

    def make_answer(self, request: ChatRequest) -> str:
        self.calls += 1
        return f"{super().make_answer(request)} ({self.calls})"


class MixesUpCalls(Full):
    """run-llama/create-llama#724: stores the question in an attribute, which the next call overwrites."""

    question: str

    def complete(self, request: ChatRequest) -> Reply:
        self.question = super().make_answer(request)
        time.sleep(0.01)
        return msgspec.structs.replace(super().complete(request), text=self.question)


class ReturnsADict(Full):
    def complete(self, request: ChatRequest) -> Any:
        return {"text": super().complete(request).text}


class ReturnsNoText(Full):
    def complete(self, request: ChatRequest) -> Any:
        return msgspec.structs.replace(super().complete(request), text=None)


class NamesNoModel(Full):
    def complete(self, request: ChatRequest) -> Reply:
        return msgspec.structs.replace(super().complete(request), model="")


class AnnouncesAReportThatNeverComes(Full):
    def complete(self, request: ChatRequest) -> Reply:
        track_sending()
        return super().complete(request)


class KnowsNoEnd(Full):
    def complete(self, request: ChatRequest) -> Reply:
        return msgspec.structs.replace(super().complete(request), finish_reason=None)


class KnowsNoUsage(Full):
    """NorthlandPositronics/Cogtrix#2376: the answer has no usage, so nothing is counted."""

    def complete(self, request: ChatRequest) -> Reply:
        return msgspec.structs.replace(super().complete(request), usage=Usage())


class CountsBackwards(Full):
    def complete(self, request: ChatRequest) -> Reply:
        return msgspec.structs.replace(
            super().complete(request), usage=Usage(input_tokens=-3, output_tokens=1)
        )


class LeavesCachedTokensOut(Full):
    """Portkey-AI/gateway#1210: the input tokens lack those that came from the prompt cache."""

    def complete(self, request: ChatRequest) -> Reply:
        usage = Usage(input_tokens=2, output_tokens=2, cached_tokens=50)
        return msgspec.structs.replace(super().complete(request), usage=usage)


class CutsSilently(Full):
    def complete(self, request: ChatRequest) -> Reply:
        reply = super().complete(request)
        return msgspec.structs.replace(reply, text=reply.text[: request.parameters.get("max_tokens", 10**6)])


class RaisesKeyError(Full):
    """microsoft/JARVIS#90: an answer without the expected field ends in a KeyError."""

    def make_answer(self, request: ChatRequest) -> str:
        if not request.messages:
            raise KeyError("messages")
        return super().make_answer(request)


class ChainsTheSdksError(Full):
    def make_answer(self, request: ChatRequest) -> str:
        try:
            return str(request.messages[-1]) + super().make_answer(request)
        except IndexError as error:
            raise BadRequest("there are no messages") from error


class ChangesTheRequest(Full):
    """567-labs/instructor#2437: what the caller passed is changed."""

    def complete(self, request: ChatRequest) -> Reply:
        for message in request.messages:
            message.setdefault("name", "user")
        return super().complete(request)


class DecodesToolArguments(Full):
    """agno-agi/agno#3077: the arguments of a tool call are an object, not JSON text."""

    def complete(self, request: ChatRequest) -> Reply:
        reply = super().complete(request)
        if "tool_choice" not in request.parameters:
            return reply
        call: Any = ToolCall(name="get_weather", arguments={"city": "Oslo"})  # type: ignore[arg-type]
        return msgspec.structs.replace(reply, tool_calls=(call,), finish_reason="tool_calls")


class SendsPiecesForABody(Full):
    def complete(self, request: ChatRequest) -> Reply:
        return msgspec.structs.replace(super().complete(request), body=b"data: {}\n\ndata: [DONE]\n\n")


class StreamsInOnePiece(Full):
    """yagil/tokmon#4: a stream comes as a whole at its end."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        reply = self.complete(request)
        yield Delta(text=reply.text, finish_reason="stop", usage=reply.usage)


class StreamsNoEnd(Full):
    """abetlen/llama-cpp-python#735: the last piece has no reason for the end."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        yield from [delta for delta in super().stream(request) if not delta.finish_reason]


class StreamsTheTextSoFar(Full):
    """QwenLM/qwen-code#3896: each piece repeats the text before it."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        text = ""
        for delta in super().stream(request):
            text += delta.text
            yield msgspec.structs.replace(delta, text=text)


class StreamsUsageInEveryPiece(Full):
    """neuron-core/neuron-ai#511: each piece has the usage so far, and who adds them up counts several times."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        for delta in super().stream(request):
            yield msgspec.structs.replace(delta, usage=Usage(input_tokens=1, output_tokens=1))


class CutsCharacters(Full):
    """ollama/ollama-js#255: a character of several bytes is cut where a piece ends."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        reply = self.complete(request)
        data = reply.text.encode()
        for at in range(0, len(data), 2):
            yield Delta(text=data[at : at + 2].decode("utf-8", "replace"))
        yield Delta(finish_reason="stop", usage=reply.usage)


class StreamsStrings(Full):
    def stream(self, request: ChatRequest) -> Iterator[Any]:
        yield from self.complete(request).text.split()


class HoldsOnToAbandonedStreams(Full):
    """BerriAI/litellm#26273: a stream that the caller left goes on and keeps its connection."""

    def __init__(self) -> None:
        self.busy = threading.Lock()

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        if not self.busy.acquire(blocking=False):
            raise RuntimeError("the connection is busy")
        yield from super().stream(request)
        self.busy.release()


class CountsPlainInts(Full):
    def count_tokens(self, content: Any) -> Any:
        return int(super().count_tokens(content))


class ClaimsToBeExact(Full):
    def count_tokens(self, content: Any) -> TokenCount:
        return TokenCount(super().count_tokens(content) * 2, exact=True)


class GuessesTooLittle(Full):
    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:  # noqa: ARG002
        return Usage(input_tokens=1, output_tokens=1000)


class CountsMoreThanItGuessed(Full):
    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:
        most = super().most_usage(request)
        return msgspec.structs.replace(most, input_tokens=10**6) if exact and most else most


class ForgetsWhatCostsMore(Full):
    """All that it reads is written to its cache at three times the price, and it does not say so beforehand."""

    def complete(self, request: ChatRequest) -> Reply:
        reply = super().complete(request)
        usage = msgspec.structs.replace(reply.usage, cache_write_tokens=reply.usage.input_tokens)
        return msgspec.structs.replace(reply, usage=usage)


class TellsANumber(Full):
    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Any:  # noqa: ARG002
        return 1000


class CountsBodiesOtherwise(Full):
    def count_body(self, body: dict[str, Any]) -> TokenCount:
        return TokenCount(super().count_body(body) + 1, exact=True)


class BoundsBelowItsCount(Full):
    def count_tokens(self, content: Any) -> TokenCount:
        return TokenCount(super().count_tokens(content), exact=False, bound=0)


class ListsOneText(Full):
    def list_models(self) -> Any:
        return "parrot"


class ShowsItsKey(Full):
    """BerriAI/litellm#7603: the key is shown for debugging."""

    def __repr__(self) -> str:
        return f"ShowsItsKey(api_key={KEY!r})"


class KeepsItsKeyInTheOpen(Full):
    """langchain-ai/langchain-community#478: the key is an ordinary text in an attribute."""

    def __init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {KEY}"}


class TellsItsKeyInErrors(Full):
    """BerriAI/litellm#6963: the key is a part of the address that an error shows."""

    def make_answer(self, request: ChatRequest) -> str:
        if not request.messages:
            raise BadRequest(f"the server refused Bearer {KEY}")
        return super().make_answer(request)


class HalfAVariant(Plain):
    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        yield Delta(text=self.make_answer(request))

    async def complete(self, request: ChatRequest) -> Reply:  # type: ignore[override]
        return super().complete(request)


class NoModel:
    def chat(self, text: str) -> str:
        return text


class Good(LLMConformance):
    backend: type = Full

    @pytest.fixture
    def provider(self) -> Any:
        return self.backend()

    @pytest.fixture
    def canary(self) -> str:
        return KEY


class Broken(Good):
    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestFull(Good):
    """Every test applies."""


class TestPlain(Good):
    backend = Plain


class TestAsyncPlain(Good):
    backend = AsyncPlain


for _backend in (
    AnnouncesAReportThatNeverComes, SaysAlwaysTheSame, SaysItsCallsNumber, MixesUpCalls, ReturnsADict, ReturnsNoText, NamesNoModel, KnowsNoEnd,
    KnowsNoUsage, CountsBackwards, LeavesCachedTokensOut, CutsSilently, RaisesKeyError, ChainsTheSdksError,
    ChangesTheRequest, DecodesToolArguments, SendsPiecesForABody, StreamsInOnePiece, StreamsNoEnd,
    StreamsTheTextSoFar, StreamsUsageInEveryPiece, CutsCharacters, StreamsStrings, HoldsOnToAbandonedStreams,
    CountsPlainInts, ClaimsToBeExact, BoundsBelowItsCount, CountsBodiesOtherwise, GuessesTooLittle, CountsMoreThanItGuessed, ForgetsWhatCostsMore, TellsANumber,
    ListsOneText, ShowsItsKey, KeepsItsKeyInTheOpen, TellsItsKeyInErrors,
    HalfAVariant, NoModel,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Broken,), {"backend": _backend})
