"""Send requests to Anthropic and read whole answers, blocking and asynchronous."""

from __future__ import annotations

from typing import Any, Final

import anthropic  # noqa: TID253 - loaded only when a provider is created
import httpx2

from llmcore.errors import LLMCoreError
from llmcore.support.errors import raise_unchained
from llmcore.support.http import LoopClients, RequestDeadline, ThreadClient
from llmcore.support.sending import track_sending
from llmcore.types import ChatRequest
from llmcore_anthropic.client import Route, make_async_client, make_client
from llmcore_anthropic.errors import Errors
from llmcore_anthropic.options import Account
from llmcore_anthropic.stream import StreamError, StreamReader

__all__ = ["MESSAGES", "Transport"]

MESSAGES: Final = "/v1/messages"
_SHORT_S: Final = 10.0
"""The timeout in seconds for a list of models or a count."""
_LARGEST: Final = 256_000_000
"""The maximum size of one answer in bytes."""


class Transport:
    """The connections to the server of one account."""

    def __init__(self, account: Account) -> None:
        route = Route(account.base_url)
        self._errors = Errors(account, route.shown_proxy)
        self._client: ThreadClient[anthropic.Anthropic] = ThreadClient(
            lambda: make_client(account, route), lambda client: client.close()
        )
        self._clients: LoopClients[anthropic.AsyncAnthropic] = LoopClients(
            lambda: make_async_client(account, route), lambda client: client.close()
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._clients.close()

    # -- sync

    def _send(self, path: str, content: bytes | None, deadline: RequestDeadline) -> httpx2.Response:
        """Send a request. Return the response before its body is read."""
        track_sending()
        client = self._client.get()
        with deadline.apply():
            stream: Any
            if content is None:
                stream = client.get(path, cast_to=object, stream=True, stream_cls=anthropic.Stream[object])
            else:
                stream = client.post(
                    path, cast_to=object, content=content, stream=True, stream_cls=anthropic.Stream[object]
                )
        deadline.begun = True
        response: httpx2.Response = stream.response
        return response

    def _post(
        self, path: str, content: bytes | None, request: ChatRequest | None, timeout_s: float | None = None
    ) -> tuple[httpx2.Headers, bytes]:
        """Return the headers and the body of an answer with status 200.

        Args:
            path: The path of the request.
            content: The body; None for a GET.
            request: The chat request, whose deadline and model are used; None if the request is not a chat.
            timeout_s: The timeout in seconds if *request* is None.
        """
        deadline = _make_deadline(path, request, timeout_s)
        response: httpx2.Response | None = None
        try:
            response = self._send(path, content, deadline)
            body = bytearray()
            for piece in response.iter_bytes():
                deadline.check()
                self._extend(body, piece, response)
            return response.headers, bytes(body)
        except Exception as error:  # noqa: BLE001 - every exception becomes an error of llmcore
            raise_unchained(self._translate_error(error, None, deadline, request.model if request else ""))
        finally:
            if response is not None:
                response.close()

    async def aclose(self) -> None:
        """Close all connections, including those of other event loops."""
        self._client.close()
        await self._clients.aclose()

    # -- asynchronous: the same steps

    async def _asend(self, path: str, content: bytes | None, deadline: RequestDeadline) -> httpx2.Response:
        """See `_send`."""
        track_sending()
        client = await self._clients.get()
        with deadline.apply():
            stream: Any
            kind = anthropic.AsyncStream[object]
            if content is None:
                stream = await client.get(path, cast_to=object, stream=True, stream_cls=kind)
            else:
                stream = await client.post(
                    path, cast_to=object, content=content, stream=True, stream_cls=kind
                )
        deadline.begun = True
        response: httpx2.Response = stream.response
        return response

    async def _apost(
        self, path: str, content: bytes | None, request: ChatRequest | None, timeout_s: float | None = None
    ) -> tuple[httpx2.Headers, bytes]:
        """See `_post`."""
        deadline = _make_deadline(path, request, timeout_s)
        response: httpx2.Response | None = None
        try:
            response = await self._asend(path, content, deadline)
            body = bytearray()
            async for piece in response.aiter_bytes():
                deadline.check()
                self._extend(body, piece, response)
            return response.headers, bytes(body)
        except Exception as error:  # noqa: BLE001 - every exception becomes an error of llmcore
            raise_unchained(self._translate_error(error, None, deadline, request.model if request else ""))
        finally:
            if response is not None:
                await response.aclose()

    # -- shared

    def _extend(self, body: bytearray, piece: bytes, response: httpx2.Response) -> None:
        body += piece
        if len(body) > _LARGEST:
            what = f"more than {_LARGEST:,} bytes"
            raise StreamError(self._errors.make_malformed(what, response.headers))

    def _translate_error(
        self, error: Exception, reader: StreamReader | None, deadline: RequestDeadline, model: str
    ) -> LLMCoreError:
        """Return the error for an exception of a request, with the text that had arrived."""
        if isinstance(error, StreamError):
            return error.error
        failure = self._errors.translate_error(error, begun=deadline.begun, model=model)
        if reader is not None and hasattr(failure, "partial") and failure.partial is None:
            failure.partial = reader.text
        return failure.with_traceback(None)


def _make_deadline(path: str, request: ChatRequest | None, timeout_s: float | None) -> RequestDeadline:
    if timeout_s is not None:
        return RequestDeadline(timeout_s, None)
    if path == MESSAGES and request is not None:
        return RequestDeadline(request.timeout_s, request.idle_s)
    return RequestDeadline(None if request is None else request.timeout_s, None, default_s=_SHORT_S)
