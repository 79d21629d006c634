"""The language model `openai`: chats, streams and lists of models, in both colours."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from contextlib import aclosing

import httpx2

from llmcore.errors import ProviderError
from llmcore.types import ChatRequest, Delta, Reply
from llmcore_openai_optimized._answers import (
    Answer,
    Body,
    as_deltas,
    ends_by_itself,
    is_stream,
    names_in,
    reply_in,
)
from llmcore_openai_optimized._errors import Errors
from llmcore_openai_optimized._http import Moulds, Patience, SyncClient
from llmcore_openai_optimized._loops import AsyncClients, Listening
from llmcore_openai_optimized._stream import StreamReader
from llmcore_openai_optimized._wire import encode
from llmcore_openai_optimized.account import Account, OpenAIOptions
from llmcore_openai_optimized.offline import Offline

__all__ = ["OpenAIProvider"]


class OpenAIProvider(Offline):
    """Keeps the contracts of `llmcore.contracts.llm` against OpenAI, Azure, or any server of that protocol.

    Requests go out once: the host owns retries. Threads, tasks and event loops may share it.
    """

    def __init__(self, options: OpenAIOptions) -> None:
        """Prepare to ask the server of *options*; nothing is sent.

        Raises:
            ConfigError: There is no key, or the options contradict one another.
        """
        account = Account.of(options).signed()
        super().__init__(options.pricing_tier, azure=account.azure_endpoint is not None)
        self._errors = Errors(account)
        self._moulds = Moulds(account, options.headers)
        self._client = SyncClient()
        self._clients = AsyncClients()

    # -- blocking

    def complete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        content = encode(request, stream=False)
        reply = reply_in(self._fetched(request, content), request, self._errors)
        if isinstance(reply, ProviderError):
            raise reply
        return reply

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        failure = yield from self._streamed(request, encode(request, stream=True))
        if failure is not None:
            raise failure

    def list_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        names = names_in(self._fetched(None, b""), self._errors)
        if isinstance(names, ProviderError):
            raise names
        return names

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._clients.close()

    def _fetched(self, request: ChatRequest | None, content: bytes) -> Answer | ProviderError:
        """Return the answer to a chat, or to the question for models; failures are returned, see `_answers`."""
        body: Body | None = None
        patience = _patience(request)
        try:
            response = self._client.get().send(self._message(request, content, patience), stream=True)
            body = Body(response, patience, self._errors)
            patience.listen(request.idle_s if request else None)
            try:
                for piece in response.iter_bytes():
                    body.add(piece)
                return body.answer()
            finally:
                response.close()
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            failure = self._errors.failed(error, begun=body is not None)
            return failure if body is None else body.broken(failure)

    def _streamed(self, request: ChatRequest, content: bytes) -> Generator[Delta, None, ProviderError | None]:
        """Yield the deltas; return what went wrong."""
        reader: StreamReader | None = None
        response: httpx2.Response | None = None
        patience = Patience(request.timeout_s, request.idle_s)
        try:
            response = self._client.get().send(self._message(request, content, patience), stream=True)
            if not is_stream(response):
                body = Body(response, patience, self._errors)
                for piece in response.iter_bytes():
                    body.add(piece)
                yield from as_deltas(reply_in(body.answer(), request, self._errors))
                return None
            reader = self._reader(request, response)
            for piece in response.iter_bytes():
                patience.check()
                yield from reader.feed(piece)
                if reader.done and not ends_by_itself(response):
                    return None
            yield from reader.end()
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            return self._broken(error, reader, begun=response is not None)
        finally:
            if response is not None:
                response.close()
        return None

    # -- asynchronous, the same line for line

    async def acomplete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        content = encode(request, stream=False)
        reply = reply_in(await self._afetched(request, content), request, self._errors)
        if isinstance(reply, ProviderError):
            raise reply
        return reply

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        failures: list[ProviderError] = []
        async with aclosing(self._astreamed(request, encode(request, stream=True), failures)) as deltas:
            async for delta in deltas:
                yield delta
        if failures:
            raise failures[0]

    async def alist_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        names = names_in(await self._afetched(None, b""), self._errors)
        if isinstance(names, ProviderError):
            raise names
        return names

    async def aclose(self) -> None:
        """Close the connections, those of other event loops too."""
        self._client.close()
        await self._clients.aclose()

    async def _afetched(self, request: ChatRequest | None, content: bytes) -> Answer | ProviderError:
        """See `_fetched`."""
        body: Body | None = None
        patience = _patience(request)
        try:
            client = await self._clients.get()
            response = await client.send(self._message(request, content, patience), stream=True)
            body = Body(response, patience, self._errors)
            patience.listen(request.idle_s if request else None)
            try:
                async with Listening(patience) as listening:
                    async for piece in response.aiter_bytes():
                        body.add(piece)
                        listening.heard()
                return body.answer()
            finally:
                await response.aclose()
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            failure = self._errors.failed(error, begun=body is not None)
            return failure if body is None else body.broken(failure)

    async def _astreamed(
        self, request: ChatRequest, content: bytes, failures: list[ProviderError]
    ) -> AsyncGenerator[Delta]:
        """See `_streamed`; what went wrong is put into *failures*, since this generator can return nothing."""
        reader: StreamReader | None = None
        response: httpx2.Response | None = None
        patience = Patience(request.timeout_s, request.idle_s)
        try:
            client = await self._clients.get()
            response = await client.send(self._message(request, content, patience), stream=True)
            if not is_stream(response):
                body = Body(response, patience, self._errors)
                async for piece in response.aiter_bytes():
                    body.add(piece)
                for delta in as_deltas(reply_in(body.answer(), request, self._errors)):
                    yield delta
                return
            reader = self._reader(request, response)
            async for piece in response.aiter_bytes():
                patience.check()
                for delta in reader.feed(piece):
                    yield delta
                if reader.done and not ends_by_itself(response):
                    return
            for delta in reader.end():
                yield delta
        except Exception as error:  # noqa: BLE001 - nothing foreign leaves a call
            failure = self._broken(error, reader, begun=response is not None)
            failures.extend([failure] if failure else [])
        finally:
            if response is not None:
                await response.aclose()

    # -- what both colours share

    def _message(self, request: ChatRequest | None, content: bytes, patience: Patience) -> httpx2.Request:
        mould = self._moulds.models() if request is None else self._moulds.chat(request.model)
        return mould.request(content, patience)

    def _reader(self, request: ChatRequest, response: httpx2.Response) -> StreamReader:
        return StreamReader(request, response.headers, self._errors)

    def _broken(self, error: Exception, reader: StreamReader | None, *, begun: bool) -> ProviderError | None:
        """Describe what ended a stream; None where the answer was whole before it happened."""
        if reader is not None and reader.done:
            return None
        failure = self._errors.failed(error, begun=begun)
        if failure.partial is None and reader is not None:
            failure.partial = reader.text
        return failure


def _patience(request: ChatRequest | None) -> Patience:
    """Return the patience with one whole answer, which says nothing until it is ready."""
    return Patience(None if request is None else request.timeout_s, None)
