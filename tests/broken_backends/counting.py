"""Models whose server counts tokens, good and broken on purpose; test_conformance_counting.py runs this file."""

from __future__ import annotations

import http.client
import json
from typing import Any, ClassVar

import pytest

from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, TokenCount, Usage
from llmcore_testing import LLMConformance, Simulator
from llmcore_testing.simulator import RecordedRequest
from tests.broken_backends.upstream import Model, chat


def count(request: RecordedRequest) -> Any:
    """Answer the endpoint of the invented vendor that counts a character as a token."""
    return {"count": measure(request.body)}


def measure(body: dict[str, Any]) -> int:
    return len(str(body["messages"])) + len(str(body.get("tools") or ""))


class Counter(Model):
    """Correct."""

    path = "/api/count"

    def usage(self, request: ChatRequest) -> Usage:  # type: ignore[override]  # not static: it has the body
        return Usage(input_tokens=measure(self.make_body(request)), output_tokens=1)

    def count_on_server(self, request: ChatRequest) -> Any:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("POST", self.path, json.dumps({**self.make_body(request), "stream": False}))
            return self.read_count(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def read_count(self, answer: dict[str, Any]) -> Any:
        return TokenCount(answer["count"], exact=True)


class ReturnsAnInt(Counter):
    def read_count(self, answer: dict[str, Any]) -> Any:
        return int(super().read_count(answer))


class ReturnsAnEstimate(Counter):
    def read_count(self, answer: dict[str, Any]) -> Any:
        return TokenCount(answer["count"], exact=False)


class ReturnsZero(Counter):
    def read_count(self, answer: dict[str, Any]) -> Any:
        return TokenCount(0 * answer["count"], exact=True)


class CountsTheLastMessage(Counter):
    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        body = super().make_body(request)
        return {**body, "messages": body["messages"][-1:]}


class LeavesToolsOut(Counter):
    """gptscript-ai/gptscript#942: the tools are not counted."""

    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        return {name: value for name, value in super().make_body(request).items() if name != "tools"}


class CountsTwice(Counter):
    def read_count(self, answer: dict[str, Any]) -> Any:
        return TokenCount(2 * answer["count"], exact=True)


class CapsItsCount(Counter):
    def read_count(self, answer: dict[str, Any]) -> Any:
        return TokenCount(min(answer["count"], 150), exact=True)


class ChangesTheRequest(Counter):
    def count_on_server(self, request: ChatRequest) -> Any:
        for message in request.messages:
            message.setdefault("name", "user")
        return super().count_on_server(request)


class ChainsTheCause(Counter):
    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        try:
            _ = request.messages[0]
        except IndexError as error:
            raise BadRequest("there are no messages") from error
        return super().make_body(request)


class GeneratesAnAnswer(Counter):
    """Sends the request and reads the usage of the answer, which costs as much as the answer."""

    path = "/api/chat"

    def count_on_server(self, request: ChatRequest) -> Any:
        return TokenCount(self.complete(request).usage.input_tokens, exact=True)


class Kit(LLMConformance):
    lacks = ("embed", "embedding_limits")
    routes: ClassVar[Any] = {"POST /api/chat": chat, "POST /api/count": count}
    backend: type = Counter

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param  # the models have no other

    @pytest.fixture
    def provider(self, upstream: Simulator) -> Any:
        return self.backend(upstream.url)

    @pytest.fixture
    def broken(self, upstream: Simulator) -> Any:
        return self.backend(upstream.url)


class TestCounter(Kit):
    """Correct."""


for _backend in (
    CapsItsCount, ChainsTheCause, ChangesTheRequest, CountsTheLastMessage, CountsTwice, GeneratesAnAnswer, LeavesToolsOut,
    ReturnsAnEstimate, ReturnsAnInt, ReturnsZero,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})
