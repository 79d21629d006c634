"""A client for every server with OpenAI's protocol: chats, streams, embeddings and the list of models, sync and async.

The provider `openai` is this client with the prices and token counts of OpenAI. Plugins for other servers also use
this class.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeAlias

from llmcore.errors import ProviderError
from llmcore.support.sending import track_sending
from llmcore.types import ChatRequest, Delta, EmbeddingRequest, Embeddings, Reply
from llmcore_openai_optimized.account import Account
from llmcore_openai_optimized.answers import Answer, Body, read_json, read_model_names
from llmcore_openai_optimized.body_end import adrain, drain
from llmcore_openai_optimized.chat_reader import ChatReader
from llmcore_openai_optimized.chat_translation import (
    TranslatedReader,
    TranslatedRequest,
    translate_chat,
)
from llmcore_openai_optimized.embeddings import encode_embeddings, read_embeddings
from llmcore_openai_optimized.errors import Errors
from llmcore_openai_optimized.http import (
    RequestTemplate,
    RequestTemplates,
    RequestTimeout,
    hold_async_clients,
    hold_client,
)
from llmcore_openai_optimized.read_timeout import ReadTimeout
from llmcore_openai_optimized.request import AsyncResponse, Request, SyncResponse
from llmcore_openai_optimized.responses_reader import ResponsesReader
from llmcore_openai_optimized.transport import Route
from llmcore_openai_optimized.wire import encode

__all__ = ["OpenAIClient"]

Reader: TypeAlias = ChatReader | ResponsesReader

_LISTING_S: Final = 10.0
"""Timeout in seconds for the list of models. A user waits for the list in `llmcore doctor`, and before an error
that suggests the name of a model.
"""


class OpenAIClient:
    """Implement the contracts of `llmcore.contracts.llm` and `embeddings` for one server.

    The client sends each request once, because the host does the retries. Threads, tasks and event loops may share a
    client. A subclass for another server overrides `adapt`.
    """

    keeps_timeouts = True

    def __init__(self, account: Account, headers: Mapping[str, str]) -> None:
        """Prepare requests to the server of *account*, with *headers*; send nothing.

        Raises:
            ConfigError: The key is missing, an option cannot be sent, or a proxy or certificate from the environment
                is invalid.
        """
        self.account = account.validate()
        route = Route(account.base_url)
        self._errors = Errors(account, route.shown_proxy)
        self._templates = RequestTemplates(account, headers)
        self._client = hold_client(route)
        self._clients = hold_async_clients(route)

    def adapt(self, request: ChatRequest) -> ChatRequest:
        """Return *request* in the form that this server accepts.

        Raises:
            BadRequest: The server does not support something that the request needs.
        """
        return translate_chat(request)

    # -- blocking

    def complete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        request = self.adapt(request)
        reply = self._complete(request, self._encode(request, stream=False))
        if isinstance(reply, ProviderError):
            raise reply
        return reply

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        request = self.adapt(request)
        failure = yield from self._stream(request, self._encode(request, stream=True))
        if failure is not None:
            raise failure

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        """See `EmbeddingProvider.embed`."""
        result = read_embeddings(self._fetch(*self._prepare_embeddings(request)), request, self._errors)
        if isinstance(result, ProviderError):
            raise result
        return result

    def list_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        names = read_model_names(self._fetch(self._templates.get_models, b"", _LISTING_S), self._errors)
        if isinstance(names, ProviderError):
            raise names
        return names

    def fetch(self, method: str, url: str, body: bytes = b"") -> Any:
        """Return the JSON document at *url*, which is an address or a path below the server's address.

        Raises:
            ProviderError: The server refused or failed, or its answer is not JSON.
        """
        find_template = partial(self._templates.get_document, method, url)
        document = read_json(self._fetch(find_template, body, _LISTING_S), self._errors)
        if isinstance(document, ProviderError):
            raise document
        return document

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._clients.close()

    def _complete(self, request: ChatRequest, content: bytes) -> Reply | ProviderError:
        """Return the answer to a chat, or the error; the module `answers` explains why errors are returned."""
        reader: Reader | None = None
        timeout = _make_timeout(request)
        try:
            response = self._client.get().send(self._make_message(request, content, timeout))
            reader = self._make_reader(request, response)
            timeout.set_idle(request.idle_s)
            try:
                pieces = response.iter_bytes()
                for piece in pieces:
                    timeout.check()
                    reader.feed(piece)
                    if reader.is_done:
                        drain(response, pieces)
                        break
                reader.end()
                return reader.make_reply()
            finally:
                response.close()
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            if reader is not None and reader.is_done:
                return reader.make_reply()
            return self._make_failure(error, reader, begun=reader is not None)

    def _stream(self, request: ChatRequest, content: bytes) -> Generator[Delta, None, ProviderError | None]:
        """Yield the deltas; return the error, if any."""
        reader: Reader | None = None
        response: SyncResponse | None = None
        timeout = RequestTimeout(request.timeout_s, request.idle_s)
        try:
            response = self._client.get().send(self._make_message(request, content, timeout))
            reader = self._make_reader(request, response)
            pieces = response.iter_bytes()
            for piece in pieces:
                timeout.check()
                yield from reader.feed(piece)
                if reader.is_done:
                    drain(response, pieces)
                    return None
            yield from reader.end()
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            return self._make_stream_failure(error, reader, begun=response is not None)
        finally:
            if response is not None:
                response.close()
        return None

    def _fetch(
        self, find_template: Callable[[], RequestTemplate], content: bytes, timeout_s: float | None
    ) -> Answer | ProviderError:
        """Return the complete answer to a request that is not a chat, or the error."""
        body: Body | None = None
        timeout = RequestTimeout(timeout_s, None)
        try:
            response = self._client.get().send(find_template().request(content, timeout))
            body = Body(response, timeout, self._errors)
            try:
                for piece in response.iter_bytes():
                    body.add(piece)
                return body.finish()
            finally:
                response.close()
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            return self._errors.translate_error(error, begun=body is not None)

    # -- asynchronous: the same steps

    async def acomplete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        request = self.adapt(request)
        reply = await self._acomplete(request, self._encode(request, stream=False))
        if isinstance(reply, ProviderError):
            raise reply
        return reply

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        request = self.adapt(request)
        failures: list[ProviderError] = []
        async with aclosing(self._astream(request, self._encode(request, stream=True), failures)) as deltas:
            async for delta in deltas:
                yield delta
        if failures:
            raise failures[0]

    async def aembed(self, request: EmbeddingRequest) -> Embeddings:
        """See `EmbeddingProvider.embed`."""
        answer = await self._afetch(*self._prepare_embeddings(request))
        result = read_embeddings(answer, request, self._errors)
        if isinstance(result, ProviderError):
            raise result
        return result

    async def alist_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        names = read_model_names(
            await self._afetch(self._templates.get_models, b"", _LISTING_S), self._errors
        )
        if isinstance(names, ProviderError):
            raise names
        return names

    async def afetch(self, method: str, url: str, body: bytes = b"") -> Any:
        """See `fetch`."""
        find_template = partial(self._templates.get_document, method, url)
        document = read_json(await self._afetch(find_template, body, _LISTING_S), self._errors)
        if isinstance(document, ProviderError):
            raise document
        return document

    async def aclose(self) -> None:
        """Close all connections, including those of other event loops."""
        self._client.close()
        await self._clients.aclose()

    async def _acomplete(self, request: ChatRequest, content: bytes) -> Reply | ProviderError:
        """See `_complete`."""
        reader: Reader | None = None
        timeout = _make_timeout(request)
        try:
            client = await self._clients.get()
            response = await client.send(self._make_message(request, content, timeout))
            reader = self._make_reader(request, response)
            timeout.set_idle(request.idle_s)
            try:
                async with ReadTimeout(timeout) as read_timeout:
                    pieces = response.aiter_bytes()
                    async for piece in pieces:
                        timeout.check()
                        read_timeout.reset()
                        reader.feed(piece)
                        if reader.is_done:
                            await adrain(response, pieces)
                            break
                reader.end()
                return reader.make_reply()
            finally:
                await response.aclose()
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            if reader is not None and reader.is_done:
                return reader.make_reply()
            return self._make_failure(error, reader, begun=reader is not None)

    async def _astream(
        self, request: ChatRequest, content: bytes, failures: list[ProviderError]
    ) -> AsyncGenerator[Delta]:
        """See `_stream`. Append the error to *failures*, because an asynchronous generator cannot return it."""
        reader: Reader | None = None
        response: AsyncResponse | None = None
        timeout = RequestTimeout(request.timeout_s, request.idle_s)
        try:
            client = await self._clients.get()
            response = await client.send(self._make_message(request, content, timeout))
            reader = self._make_reader(request, response)
            pieces = response.aiter_bytes()
            async for piece in pieces:
                timeout.check()
                for delta in reader.feed(piece):
                    yield delta
                if reader.is_done:
                    await adrain(response, pieces)
                    return
            for delta in reader.end():
                yield delta
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            failure = self._make_stream_failure(error, reader, begun=response is not None)
            failures.extend([failure] if failure else [])
        finally:
            if response is not None:
                await response.aclose()

    async def _afetch(
        self, find_template: Callable[[], RequestTemplate], content: bytes, timeout_s: float | None
    ) -> Answer | ProviderError:
        """See `_fetch`."""
        body: Body | None = None
        timeout = RequestTimeout(timeout_s, None)
        try:
            client = await self._clients.get()
            response = await client.send(find_template().request(content, timeout))
            body = Body(response, timeout, self._errors)
            try:
                async with ReadTimeout(timeout):
                    async for piece in response.aiter_bytes():
                        body.add(piece)
                return body.finish()
            finally:
                await response.aclose()
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            return self._errors.translate_error(error, begun=body is not None)

    # -- shared by sync and async

    def _prepare_embeddings(
        self, request: EmbeddingRequest
    ) -> tuple[Callable[[], RequestTemplate], bytes, float | None]:
        """Return template, body and timeout of *request*.

        Tell the host that the transport will call `mark_sent` when it sends the request.
        """
        track_sending()
        find_template = partial(self._templates.get_embeddings, request.model)
        return find_template, encode_embeddings(request), request.timeout_s

    def _encode(self, request: ChatRequest, *, stream: bool) -> bytes:
        """Return the body. Tell the host that the transport will call `mark_sent` when it sends the request."""
        track_sending()
        return encode(request, stream=stream, ask_usage=not self.account.vendor.reports_usage_unasked)

    def _make_message(self, request: ChatRequest, content: bytes, timeout: RequestTimeout) -> Request:
        if request.api == "responses":
            template = self._templates.get_responses()
        else:
            template = self._templates.get_chat(request.model)
        return template.request(content, timeout)

    def _make_reader(self, request: ChatRequest, response: SyncResponse | AsyncResponse) -> Reader:
        reader: type[Reader] = ChatReader
        if request.api == "responses":
            reader = TranslatedReader if isinstance(request, TranslatedRequest) else ResponsesReader
        return reader(request, response.headers, self._errors, response.status_code)

    def _make_stream_failure(
        self, error: Exception, reader: Reader | None, *, begun: bool
    ) -> ProviderError | None:
        """Return the error for *error* in a stream; None if the answer was already complete."""
        done = reader is not None and reader.is_done
        return None if done else self._make_failure(error, reader, begun=begun)

    def _make_failure(self, error: Exception, reader: Reader | None, *, begun: bool) -> ProviderError:
        """Return the error for *error*, with the text received so far."""
        failure = self._errors.translate_error(error, begun=begun)
        if failure.partial is None and reader is not None:
            failure.partial = reader.text
        return failure


def _make_timeout(request: ChatRequest) -> RequestTimeout:
    """Return the timeout of a complete answer.

    The server usually sends no byte until the answer is complete, so the idle timeout applies only after the head of
    the response has arrived (`set_idle`).
    """
    return RequestTimeout(request.timeout_s, None)
