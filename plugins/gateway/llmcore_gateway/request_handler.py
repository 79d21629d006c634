"""Process one HTTP request from its head to the end of its answer."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from logging import getLogger
from typing import TYPE_CHECKING, Any, Final, TypeVar

from llmcore.errors import LLMCoreError
from llmcore_gateway.access import check_host, check_origin, find_caller, make_cors_headers
from llmcore_gateway.access_log import log_access
from llmcore_gateway.delivery import Delivery, encode_headers
from llmcore_gateway.disconnect import ClientLeft, Watch, wait_for_disconnect
from llmcore_gateway.error_answers import Refused, describe_error, is_internal, make_answer
from llmcore_gateway.http_messages import Answer, Caller, Request, make_json
from llmcore_gateway.routes import Call, Route, answer_directly, find_route, make_call

if TYPE_CHECKING:
    from llmcore_gateway.gateway import Gateway
    from llmcore_gateway.state import ServerState

__all__ = ["RequestHandler"]

T = TypeVar("T")

_CLIENT_LEFT: Final = 499
"""The status in log and metrics if the client disconnected before its answer began."""
_ONCE: Final = frozenset({"authorization", "content-length", "host", "origin", "x-api-key"})
_log: Final = getLogger("llmcore_gateway")


class RequestHandler:
    """Reads, authorises and answers one request.

    Every request passes through this class, and every error becomes an answer here.
    """

    def __init__(
        self,
        state: ServerState,
        gateway: Gateway,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self._state = state
        self._gateway = gateway
        self._scope = scope
        self._receive = receive
        self._send = send
        self._method: str = scope["method"]
        self._id = f"req_{os.urandom(12).hex()}"
        self._headers: dict[str, str] = {"x-request-id": self._id}
        """The headers of every answer to this request."""
        self._route: Route | None = None
        self._status = _CLIENT_LEFT
        self._is_answered = False
        """True if an answer has begun. Afterwards, no other answer can be sent."""
        self._record: dict[str, Any] = {"id": self._id}
        """The record for the access log, without content and keys."""

    async def run(self) -> None:
        """Answer the request."""
        metrics, started = self._state.metrics, time.perf_counter()
        metrics.in_progress += 1
        try:
            with self._gateway.in_use:
                await self._run()
        except ClientLeft:
            metrics.count_disconnect(self._path)
        except Exception as error:
            if self._is_answered:
                self._log_failure(error)
                raise  # the server closes the connection, so that the client detects the incomplete answer
            await self._send_error(error)
        finally:
            metrics.in_progress -= 1
            seconds = time.perf_counter() - started
            metrics.count(self._method if self._route else "other", self._path, self._status, seconds)
            self._record["status"] = self._status
            self._record["ms"] = round(seconds * 1000, 1)
            log_access(self._record)

    @property
    def _path(self) -> str:
        return "other" if self._route is None else self._route.path

    async def _run(self) -> None:
        options = self._gateway.options
        self._record["method"] = self._method[:20]
        headers = _read_headers(self._scope["headers"])
        check_host(headers, self._gateway.hosts)
        check_origin(headers, options)
        self._headers.update(make_cors_headers(headers, options))
        path = _read_path(self._scope)
        if self._method == "OPTIONS" and "access-control-request-method" in headers:
            return await self._send_answer(_answer_preflight(headers))
        route = self._route = find_route(self._method, path)
        self._record["path"] = route.path
        is_page = route.path == "/dashboard"
        caller = Caller() if route.is_public else await self._authorise(headers, is_page=is_page)
        if is_page:
            query = self._scope["query_string"].decode("latin-1")
            return await self._send_answer(await self._gateway.make_page(query, headers, caller))
        if (own := self._answer_of_server(route)) is not None:
            return await self._send_answer(own)
        if route.method == "GET":
            request = Request(self._method, path, headers, b"", caller, self._id)
            return await self._send_answer(answer_directly(self._gateway, route, request))
        call = make_call(self._gateway, route, await self._read_body(headers), caller)
        self._record["model"] = call.model and call.model[:200]
        if call.streaming:
            return await self._stream(call)
        return await self._send_answer(await self._finish(call.arun()))

    # -- reading

    async def _authorise(self, headers: Mapping[str, str], *, is_page: bool) -> Caller:
        """Return the caller. Take one request from the rate limit of the key."""
        core, is_exposed = self._gateway.core, self._gateway.is_exposed
        caller, key = find_caller(core, self._state, headers, is_exposed=is_exposed, is_page=is_page)
        self._record["user"] = caller.user
        if key is None or key.requests_per_minute is None:
            return caller
        wait = await core.keys.atake_request(key)
        if wait:
            raise Refused(
                429,
                "rate_limit_error",
                f"the key `{caller.user}` allows {key.requests_per_minute} requests a minute",
                code="rate_limit_exceeded",
                headers={"retry-after": str(max(1, math.ceil(wait)))},
            )
        return caller

    async def _read_body(self, headers: Mapping[str, str]) -> bytes:
        options = self._gateway.options
        if headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "invalid_request_error", "a compressed body is not supported")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > options.max_body:
            raise _make_too_large(options.max_body)
        pieces, size = [], 0
        try:
            async with asyncio.timeout(options.body_timeout):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeft
                    piece = message.get("body", b"")
                    size += len(piece)
                    if size > options.max_body:
                        raise _make_too_large(options.max_body)
                    pieces.append(piece)
                    if not message.get("more_body"):
                        return b"".join(pieces)
        except TimeoutError:
            raise Refused(
                408, "invalid_request_error", f"the body did not arrive within {options.body_timeout:g} s"
            ) from None

    # -- answering

    def _answer_of_server(self, route: Route) -> Answer | None:
        """Return the answer of a route that needs only the state of the server; None for any other route."""
        if route.path == "/metrics":
            return Answer(200, self._state.metrics.render().encode(), {}, "text/plain; version=0.0.4")
        if route.path == "/health/live":
            return make_json({"status": "alive"})
        if route.path != "/health/ready":
            return None
        phase = self._state.phase
        return make_json({"status": phase}, 200 if phase == "ready" else 503)

    async def _stream(self, call: Call) -> None:
        keepalive_s = self._gateway.options.keepalive
        delivery = Delivery(self._send, self._headers, call.content_type, keepalive_s=keepalive_s)
        try:
            await self._finish(delivery.run(call.astream(), call.api, self._id), delivery)
        finally:
            if delivery.is_begun:
                self._status, self._is_answered = 200, True
        if delivery.error is not None:
            self._log_failure(delivery.error)

    async def _finish(self, work: Coroutine[Any, Any, T], delivery: Delivery | None = None) -> T:
        """Return the result of *work*.

        If the client disconnects, cancel *work* or let *work* finish, as the option `on_disconnect` says.

        Raises:
            ClientLeft: The client has disconnected.
        """
        if self._gateway.options.on_disconnect == "finish":
            return await self._finish_anyway(work, delivery)
        watch = Watch(self._receive)
        try:
            return await work
        except BaseException:
            if not watch.has_left:
                raise
            watch.forgive()
            raise ClientLeft from None
        finally:
            watch.stop()

    async def _finish_anyway(self, work: Coroutine[Any, Any, T], delivery: Delivery | None) -> T:
        call = asyncio.ensure_future(self._hold_core(work))
        watch = asyncio.ensure_future(wait_for_disconnect(self._receive))
        try:
            await asyncio.wait({call, watch}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server is stopping
            call.cancel()
            await asyncio.wait({call})
            raise
        finally:
            watch.cancel()
        if call.done():
            return call.result()
        if delivery is not None:
            delivery.has_left = True
        self._state.finishing.add(call)
        call.add_done_callback(self._forget)
        raise ClientLeft

    async def _hold_core(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of *work*.

        No reload closes the Core before *work* has ended, even if the client has disconnected.
        """
        with self._gateway.in_use:
            return await work

    def _forget(self, call: asyncio.Future[Any]) -> None:
        self._state.finishing.discard(call)
        if not call.cancelled():
            call.exception()  # marks the exception as retrieved, so that asyncio does not log it

    async def _send_error(self, error: Exception) -> None:
        self._log_failure(error)
        details = describe_error(error)
        answer = make_answer(details, "chat" if self._route is None else self._route.api, self._id)
        await self._send_answer(answer)

    def _log_failure(self, error: Exception) -> None:
        self._record["error"] = describe_error(error).code
        if isinstance(error, LLMCoreError):
            if is_internal(error):
                _log.error("request %s failed: %s", self._id, error)
        elif not isinstance(error, Refused):
            _log.error("request %s failed", self._id, exc_info=error)

    async def _send_answer(self, answer: Answer) -> None:
        self._status, self._is_answered = answer.status, True
        headers = {
            **self._headers,
            **answer.headers,
            "content-type": answer.content_type,
            "content-length": str(len(answer.body)),
        }
        if self._state.phase == "draining":
            headers["connection"] = "close"  # the client then sends its next request to another worker
        await self._send(
            {"type": "http.response.start", "status": answer.status, "headers": encode_headers(headers)}
        )
        body = b"" if self._method == "HEAD" else answer.body
        await self._send({"type": "http.response.body", "body": body})


def _make_too_large(max_body: int) -> Refused:
    return Refused(
        413, "invalid_request_error", f"the body is larger than {max_body} bytes", code="body_too_large"
    )


def _read_path(scope: Mapping[str, Any]) -> str:
    """Return the path as it was sent, without the query and without the mount path of an outer application."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw_path.partition(b"?")[0].decode("latin-1")
    return path.removeprefix(scope.get("root_path", ""))


def _read_headers(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by name.

    Raises:
        Refused: A header that must be unique, such as `authorization` or `host`, occurs twice.
    """
    headers: dict[str, str] = {}
    for raw_name, value in pairs:
        name = raw_name.decode("latin-1")
        if name in headers and name in _ONCE:
            raise Refused(400, "invalid_request_error", f"the header `{name}` must not occur twice")
        headers[name] = value.decode("latin-1")
    return headers


def _answer_preflight(headers: Mapping[str, str]) -> Answer:
    """Return the answer to a browser's preflight request. The origin is already checked."""
    allowed = {
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": headers.get(
            "access-control-request-headers", "authorization, content-type"
        ),
        "access-control-max-age": "600",
    }
    return Answer(204, b"", allowed)
