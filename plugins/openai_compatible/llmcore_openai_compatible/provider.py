"""The provider of this plugin: the client of llmcore-openai-optimized, adapted to one of the servers in `servers`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec

from llmcore.errors import NotFound
from llmcore.types import ChatRequest, Delta, Reply
from llmcore_openai_compatible.address import make_account
from llmcore_openai_compatible.context import find_default_model, make_query, read_context
from llmcore_openai_compatible.offline import Offline, is_free
from llmcore_openai_compatible.options import CompatibleOptions
from llmcore_openai_compatible.request import adapt_request
from llmcore_openai_compatible.servers import Server
from llmcore_openai_optimized.client import OpenAIClient

__all__ = ["CompatibleProvider"]

_DEFAULT_MODEL: Final = "default"
"""The placeholder for the server's first model."""


class CompatibleProvider(Offline, OpenAIClient):
    """Implement the contracts of a language model, of embeddings and `ContextLengths` for one server."""

    def __init__(self, server: Server, options: CompatibleOptions) -> None:
        """Prepare requests to *server*; send nothing.

        Raises:
            ConfigError: See `OpenAIClient`.
        """
        account = make_account(server, options)
        Offline.__init__(self, server, is_free=is_free(server, account.base_url))
        OpenAIClient.__init__(self, account, options.headers)
        self._default_model: str | None = None

    def adapt(self, request: ChatRequest) -> ChatRequest:
        """See `OpenAIClient.adapt`."""
        return adapt_request(request, self._server)

    # -- blocking

    def complete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        if self._needs_model(request):
            start = time.monotonic()
            self._default_model = self._choose_model(self.fetch("GET", "/models"))
            request = _shorten(request, time.monotonic() - start)
        return super().complete(self._name_model(request))

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        if self._needs_model(request):
            start = time.monotonic()
            self._default_model = self._choose_model(self.fetch("GET", "/models"))
            request = _shorten(request, time.monotonic() - start)
        yield from super().stream(self._name_model(request))

    def list_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        return [name.removeprefix(self._server.list_prefix) for name in super().list_models()]

    def context_length(self, model: str) -> int | None:
        """See `ContextLengths.context_length`."""
        if model == _DEFAULT_MODEL and self._server.local:
            model = self._choose_model(self.fetch("GET", "/models"))
        query = make_query(self._server, self.account.base_url, model)
        return None if query is None else read_context(self._server, self.fetch(*query), model)

    # -- asynchronous: the same steps

    async def acomplete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        if self._needs_model(request):
            start = time.monotonic()
            self._default_model = self._choose_model(await self.afetch("GET", "/models"))
            request = _shorten(request, time.monotonic() - start)
        return await super().acomplete(self._name_model(request))

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `StreamingLLMProvider.stream`."""
        if self._needs_model(request):
            start = time.monotonic()
            self._default_model = self._choose_model(await self.afetch("GET", "/models"))
            request = _shorten(request, time.monotonic() - start)
        async with aclosing(super().astream(self._name_model(request))) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                yield delta

    async def alist_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`."""
        return [name.removeprefix(self._server.list_prefix) for name in await super().alist_models()]

    async def acontext_length(self, model: str) -> int | None:
        """See `ContextLengths.context_length`."""
        if model == _DEFAULT_MODEL and self._server.local:
            model = self._choose_model(await self.afetch("GET", "/models"))
        query = make_query(self._server, self.account.base_url, model)
        return None if query is None else read_context(self._server, await self.afetch(*query), model)

    # -- shared by both

    def _needs_model(self, request: ChatRequest) -> bool:
        return self._server.local and request.model == _DEFAULT_MODEL and self._default_model is None

    def _name_model(self, request: ChatRequest) -> ChatRequest:
        if request.model != _DEFAULT_MODEL or self._default_model is None:
            return request
        return msgspec.structs.replace(request, model=self._default_model)

    def _choose_model(self, document: Any) -> str:
        """Return the first model for chats in the server's list.

        Raises:
            NotFound: The server has no such model.
        """
        found = find_default_model(document)
        if found is not None:
            return found
        raise NotFound(
            f"{self.account.shown_url} has no model for chats",
            provider=self._server.name,
            expected="a model on the server",
            fix=self._server.get_model and self._server.get_model.format(model="MODEL"),
        )


def _shorten(request: ChatRequest, seconds: float) -> ChatRequest:
    """Return *request* with a timeout that is shorter by *seconds*."""
    if request.timeout_s is None:
        return request
    return msgspec.structs.replace(request, timeout_s=max(request.timeout_s - seconds, 0.001))
