"""Models that lose a part of a request or an answer on purpose; test_conformance_llm_content.py runs this file."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from llmcore.types import ChatRequest, Delta, Reply, Usage
from tests.broken_backends.upstream import Kit as KitOfUpstream
from tests.broken_backends.upstream import Model as Plain


class Model(Plain):
    """Correct, with a price."""

    def price(self, model: str, usage: Usage, service_tier: str | None = None) -> Decimal | None:  # noqa: ARG002
        return Decimal(usage.output_tokens) if model in {"echo", "parrot"} else None

    @staticmethod
    def usage(request: ChatRequest) -> Usage:
        count = 1 + len(str(request.messages[-1].get("content")).split())
        return Usage(input_tokens=count, output_tokens=count)


class SendsTheLastMessageAlone(Model):
    """datasette/datasette-agent#16, NousResearch/hermes-agent#105892: each question is asked without the conversation."""

    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        body = super().make_body(request)
        return {**body, "messages": body["messages"][-1:]}


class ForgetsTheSystemMessage(Model):
    """RamiAwar/dataline#280: the system message of a longer conversation is lost."""

    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        body = super().make_body(request)
        return {**body, "messages": [one for one in body["messages"] if one["role"] != "system"]}


class SendsTheFirstPartAlone(Model):
    """CopilotKit/CopilotKit#3844: of a message of several parts, only the first one is sent."""

    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        body = super().make_body(request)
        parts = [one.get("content") for one in body["messages"]]
        flat = [part[0].get("text", "") if isinstance(part, list) and part else part for part in parts]
        return {
            **body,
            "messages": [{**one, "content": text} for one, text in zip(body["messages"], flat, strict=True)],
        }


class StripsTexts(Model):
    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        body = super().make_body(request)
        texts = [one.get("content") for one in body["messages"]]
        stripped = [text.strip() if isinstance(text, str) else text for text in texts]
        return {
            **body,
            "messages": [
                {**one, "content": text} for one, text in zip(body["messages"], stripped, strict=True)
            ],
        }


class SendsFourThousandCharacters(Model):
    """openstory-so/openstory#1754: a long text is cut without a word."""

    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        body = super().make_body(request)
        texts = [one.get("content") for one in body["messages"]]
        cut = [text[:4000] if isinstance(text, str) else text for text in texts]
        return {
            **body,
            "messages": [{**one, "content": text} for one, text in zip(body["messages"], cut, strict=True)],
        }


class SendsAsciiAlone(Model):
    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        body = super().make_body(request)
        texts = [one.get("content") for one in body["messages"]]
        ascii_ = [
            text.encode("ascii", "replace").decode() if isinstance(text, str) else text for text in texts
        ]
        return {
            **body,
            "messages": [
                {**one, "content": text} for one, text in zip(body["messages"], ascii_, strict=True)
            ],
        }


class StreamsWithoutParameters(Model):
    """Mintplex-Labs/anything-llm#6330: the path of streams builds a body of its own, without limits and tools."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        return super().stream(msgspec.structs.replace(request, parameters={}))


class LeavesOutTools(Model):
    """ankit373/hydra#953: the tools do not reach the server."""

    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        return {name: value for name, value in super().make_body(request).items() if name != "tools"}


class LeavesOutTheLimit(Model):
    """epam/ai-dial-adapter-bedrock#96: `max_tokens` does not reach the server."""

    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        return {name: value for name, value in super().make_body(request).items() if name != "max_tokens"}


class AsksItsOwnModel(Model):
    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        return {**super().make_body(request), "model": "parrot"}


class StreamsAHundredPieces(Model):
    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        for number, delta in enumerate(super().stream(request)):
            if number < 100 or delta.finish_reason:
                yield delta


class LosesTheFirstPiece(Model):
    """EvolvingPrograms/openai-streams#36: the first piece is taken for the one that names the role."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        for number, delta in enumerate(super().stream(request)):
            if number or delta.finish_reason:
                yield delta


class LosesTheLastPiece(Model):
    """stanfordnlp/dspy#8889: what is held back to look ahead is not given at the end."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        held: Delta | None = None
        for delta in super().stream(request):
            if delta.finish_reason:
                yield delta
                continue
            if held is not None:
                yield held
            held = delta


class StripsPieces(Model):
    """EricLBuehler/mistral.rs#63: pieces of a stream are stripped."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        for delta in super().stream(request):
            yield msgspec.structs.replace(delta, text=delta.text.strip(" "))


class LeavesOutBlankPieces(Model):
    """BerriAI/litellm#14106, crmne/ruby_llm#636: a piece of white space is taken for an empty one."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        for delta in super().stream(request):
            if delta.text.strip() or delta.finish_reason:
                yield delta


class CountsOneTokenForEveryAnswer(Model):
    def complete(self, request: ChatRequest) -> Reply:
        reply = super().complete(request)
        return msgspec.structs.replace(reply, usage=msgspec.structs.replace(reply.usage, output_tokens=1))


class CountsPiecesAsTokens(Model):
    """vertesia/llumiverse#26: a stream without usage is counted by its pieces, a whole answer by the server."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        for number, delta in enumerate(super().stream(request)):
            usage = delta.usage and msgspec.structs.replace(delta.usage, output_tokens=1 + number * 2)
            yield msgspec.structs.replace(delta, usage=usage)


class UnknownModelsCostNothing(Model):
    """sielay/eidan#203: a model that is not in the table of prices costs 0."""

    def price(self, model: str, usage: Usage, service_tier: str | None = None) -> Decimal | None:
        return super().price(model, usage, service_tier) or Decimal(0)


class Kit(KitOfUpstream):
    backend = Model


class TestModel(Kit):
    """Correct."""


class TestWithoutAServer(Kit):
    @pytest.fixture
    def broken(self) -> Any:
        return None


for _backend in (
    SendsTheLastMessageAlone, ForgetsTheSystemMessage, SendsTheFirstPartAlone, StripsTexts, SendsFourThousandCharacters,
    SendsAsciiAlone, StreamsWithoutParameters, LeavesOutTools, LeavesOutTheLimit, AsksItsOwnModel, StreamsAHundredPieces,
    LosesTheFirstPiece, LosesTheLastPiece, StripsPieces, LeavesOutBlankPieces, CountsOneTokenForEveryAnswer,
    CountsPiecesAsTokens, UnknownModelsCostNothing,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})
