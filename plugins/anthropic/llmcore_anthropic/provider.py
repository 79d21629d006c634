"""The language model `anthropic`: messages, streams, lists of models and counts, sync and async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import httpx2
import msgspec

from llmcore.errors import MalformedReply
from llmcore.support.errors import raise_unchained
from llmcore.support.http import RequestDeadline
from llmcore.types import ChatRequest, Delta, Reply, TokenCount
from llmcore_anthropic.batch_client import Batches
from llmcore_anthropic.client import check_sdk
from llmcore_anthropic.offline import Offline
from llmcore_anthropic.options import Account, AnthropicOptions
from llmcore_anthropic.reply import read_reply
from llmcore_anthropic.request import COUNTED, encode, make_body
from llmcore_anthropic.stream import StreamReader
from llmcore_anthropic.transport import MESSAGES, Transport

__all__ = ["AnthropicProvider"]

_COUNT: Final = "/v1/messages/count_tokens"
_MODELS: Final = "/v1/models?limit=1000"


class AnthropicProvider(Offline, Batches):
    """Implements the contracts of `llmcore.contracts.llm` and `batches` for Anthropic's Messages API.

    The provider sends each request once, because the host does the retries. Threads, tasks and event loops may share a
    provider.
    """

    keeps_timeouts = True

    def __init__(self, options: AnthropicOptions) -> None:
        """Create the provider. Nothing is sent.

        Raises:
            ConfigError: The key is missing, or an option, or a proxy or certificate of the environment, is invalid.
            PluginBroken: The vendor's SDK is too old.
        """
        check_sdk()
        Offline.__init__(self, options)
        Transport.__init__(self, Account.from_options(options).check())

    # -- sync

    def complete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        content = self._encode(request, stream=False)
        headers, body = self._post(MESSAGES, content, request)
        return _get_result(read_reply(body, headers, len(content), self._errors))

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        content = self._encode(request, stream=True)
        deadline = RequestDeadline(request.timeout_s, request.idle_s)
        reader: StreamReader | None = None
        response: httpx2.Response | None = None
        try:
            response = self._send(MESSAGES, content, deadline)
            reader = self._make_reader(response, content, request)
            for piece in response.iter_bytes():
                deadline.check()
                yield from reader.feed(piece)
                if reader.done:
                    return
            yield from reader.end()
        except Exception as error:  # noqa: BLE001 - every exception becomes an error of llmcore
            raise_unchained(self._translate_error(error, reader, deadline, request.model))
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

    # -- asynchronous: the same steps

    async def acomplete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        content = self._encode(request, stream=False)
        headers, body = await self._apost(MESSAGES, content, request)
        return _get_result(read_reply(body, headers, len(content), self._errors))

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        content = self._encode(request, stream=True)
        deadline = RequestDeadline(request.timeout_s, request.idle_s)
        reader: StreamReader | None = None
        response: httpx2.Response | None = None
        try:
            response = await self._asend(MESSAGES, content, deadline)
            reader = self._make_reader(response, content, request)
            async for piece in response.aiter_bytes():
                deadline.check()
                for delta in reader.feed(piece):
                    yield delta
                if reader.done:
                    return
            for delta in reader.end():
                yield delta
        except Exception as error:  # noqa: BLE001 - every exception becomes an error of llmcore
            raise_unchained(self._translate_error(error, reader, deadline, request.model))
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

    # -- shared

    def _encode(self, request: ChatRequest, *, stream: bool) -> bytes:
        return encode(make_body(request, default_max_tokens=self._max_tokens, stream=stream))

    def _encode_count(self, request: ChatRequest) -> bytes:
        body = make_body(request, default_max_tokens=self._max_tokens)
        return encode({name: value for name, value in body.items() if name in COUNTED})

    def _make_reader(self, response: httpx2.Response, content: bytes, request: ChatRequest) -> StreamReader:
        return StreamReader(response.headers, len(content), self._errors, request.model)

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


def _get_result(reply: Reply | MalformedReply) -> Reply:
    if isinstance(reply, MalformedReply):
        raise reply
    return reply
