"""A model behind HTTP with a protocol of its own, good and broken on purpose; test_conformance_upstream.py runs this file."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn

import pytest

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    IncompleteReply,
    LLMCoreError,
    MalformedReply,
    NotFound,
    ProviderError,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.support.errors import raise_unchained
from llmcore.types import ChatRequest, Delta, Reply, Usage
from llmcore_testing import LLMConformance, Simulator
from llmcore_testing.simulator import RecordedRequest

KEY = "canary-4c1d-0123456789"
CLASSES: dict[int, type[ProviderError]] = {
    400: BadRequest,
    401: AuthenticationFailed,
    404: NotFound,
    429: RateLimited,
}


def chat(request: RecordedRequest) -> Any:
    """Answer as the server of an invented vendor."""
    text = "You said: " + str(request.body["messages"][-1].get("content"))
    if not request.body["stream"]:
        return {"text": text, "done": "stop"}
    return iter([*({"text": piece} for piece in re.split(r"(?<= )", text)), {"text": "", "done": "stop"}])


class Model:
    """Correct, blocking, with streams."""

    def __init__(self, address: str) -> None:
        self.host, _, port = address.removeprefix("http://").partition(":")
        self.port = int(port)

    def complete(self, request: ChatRequest) -> Reply:
        response, connection = self.send(request, stream=False)
        try:
            answer = self.decode(self.read(response, time.monotonic() + self.total(request)))
        finally:
            connection.close()
        return Reply(
            text=answer["text"], model="parrot", finish_reason=answer["done"], usage=self.usage(request)
        )

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        response, connection = self.send(request, stream=True)
        try:
            for line in self.lines(response, time.monotonic() + self.total(request)):
                answer = self.decode(line)
                if "error" in answer:
                    raise IncompleteReply(str(answer["error"]))
                done = answer.get("done")
                yield Delta(
                    text=answer["text"], finish_reason=done, usage=self.usage(request) if done else None
                )
        finally:
            connection.close()

    def send(
        self, request: ChatRequest, *, stream: bool
    ) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout(request))
        try:
            body = json.dumps({**self.make_body(request), "stream": stream})
            connection.request("POST", "/api/chat", body, {"authorization": f"Bearer {KEY}"})
            response = connection.getresponse()
        except Exception as error:  # noqa: BLE001 - a network failure
            connection.close()
            self.translate(error)
        if response.status != 200:
            said = response.read().decode()
            connection.close()
            self.refuse(response, said)
        return response, connection

    def make_body(self, request: ChatRequest) -> dict[str, Any]:
        if not request.messages:
            raise BadRequest("there are no messages")
        return {"model": request.model, "messages": list(request.messages), **request.parameters}

    def timeout(self, request: ChatRequest) -> float:
        return min(self.deadline(request), request.idle_s or 60.0)

    @staticmethod
    def deadline(request: ChatRequest) -> float:
        return request.timeout_s or 60.0

    @staticmethod
    def total(request: ChatRequest) -> float:
        return request.timeout_s or 60.0

    def read(self, response: http.client.HTTPResponse, ends: float) -> bytes:
        found = b""
        try:
            while response.length != 0 and not response.isclosed():
                found += response.read1()
                if time.monotonic() > ends:
                    break
        except Exception as error:  # noqa: BLE001 - as above
            self.translate(error)
        if time.monotonic() > ends:
            self.translate(TimeoutError())
        if response.length:
            self.translate(http.client.IncompleteRead(found))
        return found

    def lines(self, response: http.client.HTTPResponse, ends: float) -> Iterator[bytes]:
        held = b""
        while True:
            try:
                piece = response.read1()
                if not piece and not response.isclosed():
                    response.read()
            except Exception as error:  # noqa: BLE001 - as above
                self.translate(error)
            if time.monotonic() > ends:
                self.translate(TimeoutError())
            *whole, held = (held + piece).split(b"\n")
            yield from whole
            if not piece:
                return

    def decode(self, data: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(data)
            assert "error" in answer or isinstance(answer["text"], str)
        except Exception:  # noqa: BLE001 - not an answer
            raise_unchained(MalformedReply("the answer is malformed"))
        return dict(answer)

    def translate(self, error: Exception) -> NoReturn:
        if isinstance(error, LLMCoreError):
            raise error
        kind: type[ProviderError] = Timeout if isinstance(error, TimeoutError) else Unavailable
        if isinstance(error, http.client.IncompleteRead):
            kind = IncompleteReply
        raise_unchained(kind(f"the request failed: {type(error).__name__}"))

    def refuse(self, response: http.client.HTTPResponse, said: str) -> NoReturn:
        after = response.headers.get("retry-after")
        raise_unchained(
            self.classify(response.status)(
                self.scrub(said), status=response.status, retry_after=None if after is None else float(after)
            )
        )

    def classify(self, status: int) -> type[ProviderError]:
        return CLASSES.get(status, Unavailable)

    def scrub(self, said: str) -> str:
        return said.replace(KEY, "***")

    @staticmethod
    def usage(request: ChatRequest) -> Usage:
        count = 1 + len(str(request.messages))
        return Usage(input_tokens=count, output_tokens=count)


class RetriesByItself(Model):
    """livekit/agents#5335: the SDK's retries multiply those of the host."""

    tries: ClassVar[int] = 3

    def complete(self, request: ChatRequest) -> Reply:
        for left in range(self.tries - 1, -1, -1):
            try:
                return super().complete(request)
            except ProviderError as error:
                if not left:
                    raise_unchained(error)
        raise AssertionError


class ChainsTheForeignError(Model):
    """BerriAI/litellm#8075: the chained exception has the address of the request, and its key."""

    def translate(self, error: Exception) -> NoReturn:
        raise Unavailable("the request failed") from error


class LetsForeignErrorsOut(Model):
    """BerriAI/litellm#15799: the exception of the HTTP client leaves, with the address and its key."""

    def translate(self, error: Exception) -> NoReturn:
        raise error


class RepeatsTheKey(Model):
    """buildingjoshbetter/TrueMemory#259: the server repeats a refused key, and the error repeats the server."""

    def scrub(self, said: str) -> str:
        return said


class TakesSecondsForMilliseconds(Model):
    """Anionex/banana-slides#83, the other way round: the SDK takes milliseconds."""

    def timeout(self, request: ChatRequest) -> float:
        return super().timeout(request) / 1000


class HasNoTimeout(Model):
    """openonion/connectonion#1116: waits for ever for a server that does not answer."""

    def timeout(self, request: ChatRequest) -> Any:  # noqa: ARG002 - that is the fault
        return None


class KnowsOnlyTheDeadline(Model):
    """Nerovix/kouhai-bot#46: a stream that stops is noticed at the deadline, two hours later."""

    def timeout(self, request: ChatRequest) -> float:
        return self.deadline(request)


class EndsWithSilenceOnly(Model):
    """encode/httpx#1450: each byte of an answer begins the timeout again, so a slow server holds a call for ever."""

    @staticmethod
    def total(request: ChatRequest) -> float:  # noqa: ARG004 - that is the fault
        return float("inf")


class ReportsATimeoutAsUnavailable(Model):
    """vertica/vertica-python#45: a timeout looks like a server that cannot be reached."""

    def translate(self, error: Exception) -> NoReturn:
        raise_unchained(Unavailable(f"the request failed: {type(error).__name__}"))


class ReportsEverythingAsUnavailable(Model):
    """BerriAI/litellm#38318: a refused key looks like an outage, and is tried again."""

    def classify(self, status: int) -> type[ProviderError]:  # noqa: ARG002 - that is the fault
        return Unavailable


class ReportsRefusedKeysAsBadRequests(Model):
    """gfargo/coco#1637: a revoked key is a failure like any other."""

    def classify(self, status: int) -> type[ProviderError]:
        return BadRequest if status == 401 else super().classify(status)


class ReportsOutagesAsBadRequests(Model):
    def classify(self, status: int) -> type[ProviderError]:
        return CLASSES.get(status, BadRequest)


class NeverRetryable(Model):
    def translate(self, error: Exception) -> NoReturn:
        failed = Unavailable(f"the request failed: {type(error).__name__}")
        failed.retryable = False
        raise_unchained(failed)


class PassesOverRetryAfter(Model):
    """MemTensor/MemOS#1620: never reads Retry-After."""

    def refuse(self, response: http.client.HTTPResponse, said: str) -> NoReturn:
        raise_unchained(self.classify(response.status)(self.scrub(said), status=response.status))


class TakesTheBeginningForTheAnswer(Model):
    """wazuh/wazuh-dashboard#1530: a connection that broke off leaves half an answer, which counts as whole."""

    def read(self, response: http.client.HTTPResponse, ends: float) -> bytes:  # noqa: ARG002 - not needed
        try:
            return response.read()
        except http.client.IncompleteRead as error:
            return json.dumps({"text": error.partial.decode(), "done": "stop"}).encode()
        except Exception as error:  # noqa: BLE001 - a network failure
            self.translate(error)


class TakesAPageForTheAnswer(Model):
    """JuiceBoxxGames/utsuwa#67: an HTML page with status 200 is the answer."""

    def decode(self, data: bytes) -> dict[str, Any]:
        if data.startswith(b"<"):
            return {"text": data.decode(), "done": "stop"}
        return super().decode(data)


class TakesNothingForAnAnswer(Model):
    def decode(self, data: bytes) -> dict[str, Any]:
        return super().decode(data) if data else {"text": "", "done": "stop"}


class EndsEveryStreamWell(Model):
    """BerriAI/litellm#40260, dotflow-io/pycodeloop#64: a stream that ends early gets the reason `stop`."""

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        for delta in super().stream(request):
            if delta.finish_reason is None:
                yield delta
        yield Delta(finish_reason="stop", usage=self.usage(request))


class PassesOverErrorsInAStream(Model):
    """farzaa/clicky#132: an error within a stream looks like its end."""

    def decode(self, data: bytes) -> dict[str, Any]:
        answer = super().decode(data)
        return {"text": "", "done": "stop"} if "error" in answer else answer


class PassesOverBrokenLines(Model):
    """fox1245/NeoGraph#143: a line that is not JSON is left out of the answer."""

    def lines(self, response: http.client.HTTPResponse, ends: float) -> Iterator[bytes]:
        for line in super().lines(response, ends):
            try:
                json.loads(line)
            except ValueError:
                continue
            yield line


class LosesTheMessage(Model):
    def refuse(self, response: http.client.HTTPResponse, said: str) -> NoReturn:  # noqa: ARG002 - that is the fault
        raise_unchained(self.classify(response.status)("", status=response.status))


class AsksTwice(Model):
    """Asks whether the server is there before each call."""

    def complete(self, request: ChatRequest) -> Reply:
        super().complete(request)
        return super().complete(request)


class Kit(LLMConformance):
    lacks = ("embed", "embedding_limits", "count_on_server")
    deadline_s = 2.5
    routes: ClassVar[Any] = {"POST /api/chat": chat}
    backend: type = Model

    @pytest.fixture(params=["sync"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param  # the models have no other

    @pytest.fixture
    def provider(self, upstream: Simulator) -> Any:
        return self.backend(upstream.url)

    @pytest.fixture
    def broken(self, upstream: Simulator) -> Any:
        return self.backend(upstream.url)

    @pytest.fixture
    def canary(self) -> str:
        return KEY


class TestModel(Kit):
    """Correct."""

    deadline_s = 60.0


for _backend in (
    RetriesByItself, ChainsTheForeignError, LetsForeignErrorsOut, RepeatsTheKey, TakesSecondsForMilliseconds,
    HasNoTimeout, KnowsOnlyTheDeadline, EndsWithSilenceOnly, ReportsATimeoutAsUnavailable, ReportsEverythingAsUnavailable,
    ReportsRefusedKeysAsBadRequests, ReportsOutagesAsBadRequests, NeverRetryable, PassesOverRetryAfter,
    TakesTheBeginningForTheAnswer, TakesAPageForTheAnswer, TakesNothingForAnAnswer, EndsEveryStreamWell,
    PassesOverErrorsInAStream, PassesOverBrokenLines, LosesTheMessage, AsksTwice,
):  # fmt: skip
    globals()[f"Test{_backend.__name__}"] = type(f"Test{_backend.__name__}", (Kit,), {"backend": _backend})
