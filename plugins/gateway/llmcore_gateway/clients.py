"""HTTP clients whose requests go through a Core in this process: for the vendors' SDKs, without a server."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import httpx2

from llmcore.errors import LLMCoreError
from llmcore_gateway.error_answers import Refused, describe_error, make_answer, make_event
from llmcore_gateway.gateway import Gateway
from llmcore_gateway.http_messages import Answer, Caller, Request
from llmcore_gateway.options import GatewayOptions
from llmcore_gateway.routes import Call, answer_directly, find_route, make_call

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["async_http_client", "http_client"]

_OPTIONS: Final = GatewayOptions(models=("*",))
"""The options for in-process clients. All models are allowed, because the program could call any model itself."""
_ERRORS: Final = (Refused, LLMCoreError)


def http_client(core: Core) -> httpx2.Client:
    """Return a client for `OpenAI(http_client=...)` or `Anthropic(http_client=...)` that goes through *core*.

    The SDK's address and key are not used.
    """
    return httpx2.Client(transport=_Transport(Gateway(core, _OPTIONS)))


def async_http_client(core: Core) -> httpx2.AsyncClient:
    """Return a client for `AsyncOpenAI(http_client=...)` or `AsyncAnthropic(http_client=...)`; see `http_client`."""
    return httpx2.AsyncClient(transport=_AsyncTransport(Gateway(core, _OPTIONS)))


class _Transport(httpx2.BaseTransport):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        exchange = _Exchange(self._gateway, request)
        try:
            call = exchange.read()
            if isinstance(call, Answer):
                return exchange.respond(call)
            if not call.streaming:
                return exchange.respond(call.run())
            pieces = call.stream()
            first = list(_take_first(pieces))
        except _ERRORS as error:
            return exchange.respond(exchange.make_error_answer(error))
        return exchange.respond_with(call, _Stream(exchange, first, pieces))


class _AsyncTransport(httpx2.AsyncBaseTransport):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        exchange = _Exchange(self._gateway, request)
        try:
            call = exchange.read()
            if isinstance(call, Answer):
                return exchange.respond(call)
            if not call.streaming:
                return exchange.respond(await call.arun())
            pieces = call.astream()
            first = [piece async for piece in _atake_first(pieces)]
        except _ERRORS as error:
            return exchange.respond(exchange.make_error_answer(error))
        return exchange.respond_with(call, _AsyncStream(exchange, first, pieces))


class _Exchange:
    """Turns one request of an SDK into a call, and the result of the call into the response to the SDK."""

    def __init__(self, gateway: Gateway, request: httpx2.Request) -> None:
        self._gateway = gateway
        self._request = request
        self.id = f"req_{os.urandom(12).hex()}"
        self.api = "chat"

    def read(self) -> Call | Answer:
        """Return the call to make, or the answer if no backend is needed.

        Raises:
            Refused: The gateway does not have the path, or the body is malformed.
        """
        request = self._request
        path = request.url.raw_path.partition(b"?")[0].decode("latin-1")
        route = find_route(request.method, path)
        self.api = route.api
        caller, body = Caller(), request.content
        if route.method == "GET":
            given = Request(request.method, path, {}, body, caller, self.id)
            return answer_directly(self._gateway, route, given)
        return make_call(self._gateway, route, body, caller)

    def make_error_answer(self, error: BaseException) -> Answer:
        return make_answer(describe_error(error), self.api, self.id)

    def make_event(self, error: BaseException, number: int) -> bytes:
        return make_event(describe_error(error), self.api, self.id, number)

    def respond(self, answer: Answer) -> httpx2.Response:
        headers = {**answer.headers, "content-type": answer.content_type, "x-request-id": self.id}
        return httpx2.Response(answer.status, headers=headers, content=answer.body, request=self._request)

    def respond_with(self, call: Call, stream: Any) -> httpx2.Response:
        headers = {"content-type": call.content_type, "x-request-id": self.id}
        return httpx2.Response(200, headers=headers, stream=stream, request=self._request)


class _Stream(httpx2.SyncByteStream):
    def __init__(self, exchange: _Exchange, first: list[bytes], pieces: Generator[bytes, None, None]) -> None:
        self._exchange = exchange
        self._first = first
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        try:
            for piece in chain(self._first, self._pieces):
                count += 1
                yield piece
        except LLMCoreError as error:
            yield self._exchange.make_event(error, count)

    def close(self) -> None:
        self._pieces.close()


class _AsyncStream(httpx2.AsyncByteStream):
    def __init__(self, exchange: _Exchange, first: list[bytes], pieces: AsyncGenerator[bytes, None]) -> None:
        self._exchange = exchange
        self._first = first
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = len(self._first)
        try:
            for piece in self._first:
                yield piece
            async for piece in self._pieces:
                count += 1
                yield piece
        except LLMCoreError as error:
            yield self._exchange.make_event(error, count)

    async def aclose(self) -> None:
        await self._pieces.aclose()


def _take_first(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield only the first of *pieces*. It is read before the answer begins, so an error then can still decide the status."""
    for piece in pieces:
        yield piece
        return


async def _atake_first(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield piece
        return
