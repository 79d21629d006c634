"""The language model `anthropic`: messages, streams, lists of models and counts, sync and async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import anthropic  # noqa: TID253 - loaded only when a provider is created
import httpx2
import msgspec

from llmcore.errors import LLMCoreError, MalformedReply
from llmcore.support.errors import raise_unchained
from llmcore.support.http import LoopClients, RequestDeadline, ThreadClient
from llmcore.support.sending import track_sending
from llmcore.types import ChatRequest, Delta, Reply, TokenCount
from llmcore_anthropic.client import Route, check_sdk, make_async_client, make_client
from llmcore_anthropic.errors import Errors
from llmcore_anthropic.offline import Offline
from llmcore_anthropic.options import Account, AnthropicOptions
from llmcore_anthropic.reply import read_reply
from llmcore_anthropic.request import COUNTED, encode, make_body
from llmcore_anthropic.stream import StreamError, StreamReader

__all__ = ["AnthropicProvider"]

_MESSAGES: Final = "/v1/messages"
_COUNT: Final = "/v1/messages/count_tokens"
_MODELS: Final = "/v1/models?limit=1000"
_SHORT_S: Final = 10.0
"""The timeout in seconds for a list of models or a count."""
_LARGEST: Final = 256_000_000
"""The maximum size of one answer in bytes."""


class AnthropicProvider(Offline):
    """Implements the contracts of `llmcore.contracts.llm` for Anthropic's Messages API.

    Each request is sent once: the host retries. Threads, tasks and event loops may share a provider.
    """

    def __init__(self, options: AnthropicOptions) -> None:
        """Prepare; nothing is sent.

        Raises:
            ConfigError: The key is missing, or an option, or a proxy or certificate of the environment, is invalid.
            PluginBroken: The vendor's SDK is too old.
        """
        check_sdk()
        super().__init__(options)
        account = Account.of(options).check()
        route = Route(account.base_url)
        self._errors = Errors(account, route.shown_proxy)
        self._client: ThreadClient[anthropic.Anthropic] = ThreadClient(
            lambda: make_client(account, route), lambda client: client.close()
        )
        self._clients: LoopClients[anthropic.AsyncAnthropic] = LoopClients(
            lambda: make_async_client(account, route), lambda client: client.close()
        )

    # -- sync

    def complete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        content = self._encode(request, stream=False)
        headers, body = self._post(_MESSAGES, content, request)
        return _get_result(read_reply(body, headers, len(content), self._errors))

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        content = self._encode(request, stream=True)
        deadline = RequestDeadline(request.timeout_s, request.idle_s)
        reader: StreamReader | None = None
        response: httpx2.Response | None = None
        try:
            response = self._send(_MESSAGES, content, deadline)
            reader = self._make_reader(response, content, request)
            for piece in response.iter_bytes():
                deadline.check()
                yield from reader.feed(piece)
                if reader.done:
                    return
            yield from reader.end()
        except Exception as error:  # noqa: BLE001 - every exception becomes one of llmcore
            raise_unchained(self._explain(error, reader, deadline, request.model))
        finally:
            if response is not None:
                response.close()

    def list_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        headers, body = self._post(_MODELS, None, None)
        return self._read_names(headers, body)

    def count_on_server(self, request: ChatRequest) -> TokenCount:
        """See `ServerTokenCounter.count_on_server`."""
        headers, body = self._post(_COUNT, self._encode_count(request), request)
        return self._read_count(headers, body)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._clients.close()

    def _send(self, path: str, content: bytes | None, deadline: RequestDeadline) -> httpx2.Response:
        """Return the response, whose body is not read."""
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
        self, path: str, content: bytes | None, request: ChatRequest | None
    ) -> tuple[httpx2.Headers, bytes]:
        """Return the headers and the body of an answer with status 200."""
        deadline = _make_deadline(path, request)
        response: httpx2.Response | None = None
        try:
            response = self._send(path, content, deadline)
            body = bytearray()
            for piece in response.iter_bytes():
                deadline.check()
                self._extend(body, piece, response)
            return response.headers, bytes(body)
        except Exception as error:  # noqa: BLE001 - every exception becomes one of llmcore
            raise_unchained(self._explain(error, None, deadline, request.model if request else ""))
        finally:
            if response is not None:
                response.close()

    # -- async, the same line by line

    async def acomplete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        content = self._encode(request, stream=False)
        headers, body = await self._apost(_MESSAGES, content, request)
        return _get_result(read_reply(body, headers, len(content), self._errors))

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        content = self._encode(request, stream=True)
        deadline = RequestDeadline(request.timeout_s, request.idle_s)
        reader: StreamReader | None = None
        response: httpx2.Response | None = None
        try:
            response = await self._asend(_MESSAGES, content, deadline)
            reader = self._make_reader(response, content, request)
            async for piece in response.aiter_bytes():
                deadline.check()
                for delta in reader.feed(piece):
                    yield delta
                if reader.done:
                    return
            for delta in reader.end():
                yield delta
        except Exception as error:  # noqa: BLE001 - every exception becomes one of llmcore
            raise_unchained(self._explain(error, reader, deadline, request.model))
        finally:
            if response is not None:
                await response.aclose()

    async def alist_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        headers, body = await self._apost(_MODELS, None, None)
        return self._read_names(headers, body)

    async def acount_on_server(self, request: ChatRequest) -> TokenCount:
        """See `count_on_server`."""
        headers, body = await self._apost(_COUNT, self._encode_count(request), request)
        return self._read_count(headers, body)

    async def aclose(self) -> None:
        """Close all connections, including those of other event loops."""
        self._client.close()
        await self._clients.aclose()

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
        self, path: str, content: bytes | None, request: ChatRequest | None
    ) -> tuple[httpx2.Headers, bytes]:
        """See `_post`."""
        deadline = _make_deadline(path, request)
        response: httpx2.Response | None = None
        try:
            response = await self._asend(path, content, deadline)
            body = bytearray()
            async for piece in response.aiter_bytes():
                deadline.check()
                self._extend(body, piece, response)
            return response.headers, bytes(body)
        except Exception as error:  # noqa: BLE001 - every exception becomes one of llmcore
            raise_unchained(self._explain(error, None, deadline, request.model if request else ""))
        finally:
            if response is not None:
                await response.aclose()

    # -- shared

    def _encode(self, request: ChatRequest, *, stream: bool) -> bytes:
        return encode(make_body(request, default_max_tokens=self._max_tokens, stream=stream))

    def _encode_count(self, request: ChatRequest) -> bytes:
        body = make_body(request, default_max_tokens=self._max_tokens)
        return encode({name: value for name, value in body.items() if name in COUNTED})

    def _make_reader(self, response: httpx2.Response, content: bytes, request: ChatRequest) -> StreamReader:
        return StreamReader(response.headers, len(content), self._errors, request.model)

    def _extend(self, body: bytearray, piece: bytes, response: httpx2.Response) -> None:
        body += piece
        if len(body) > _LARGEST:
            what = f"more than {_LARGEST:,} bytes"
            raise StreamError(self._errors.make_malformed(what, response.headers))

    def _explain(
        self, error: Exception, reader: StreamReader | None, deadline: RequestDeadline, model: str
    ) -> LLMCoreError:
        """Return the error for an exception of a request, with the text that had arrived."""
        if isinstance(error, StreamError):
            return error.error
        failure = self._errors.from_exception(error, begun=deadline.begun, model=model)
        if reader is not None and hasattr(failure, "partial") and failure.partial is None:
            failure.partial = reader.text
        return failure.with_traceback(None)

    def _read_names(self, headers: httpx2.Headers, body: bytes) -> list[str]:
        try:
            listed = msgspec.json.decode(body)["data"]
            return [str(model["id"]) for model in listed]
        except (ValueError, LookupError, TypeError):
            raise_unchained(self._errors.make_malformed("a document that is not a list of models", headers))

    def _read_count(self, headers: httpx2.Headers, body: bytes) -> TokenCount:
        try:
            count = msgspec.json.decode(body)["input_tokens"]
            if type(count) is int and count >= 0:
                return TokenCount(count, exact=True)
        except (ValueError, LookupError, TypeError):
            pass
        raise self._errors.make_malformed("a document that is not a count", headers)


def _make_deadline(path: str, request: ChatRequest | None) -> RequestDeadline:
    if path == _MESSAGES and request is not None:
        return RequestDeadline(request.timeout_s, request.idle_s)
    return RequestDeadline(None if request is None else request.timeout_s, None, default_s=_SHORT_S)


def _get_result(reply: Reply | MalformedReply) -> Reply:
    if isinstance(reply, MalformedReply):
        raise reply
    return reply
