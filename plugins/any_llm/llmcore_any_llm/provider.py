"""The language model `any_llm`: chats, streams, embeddings and lists of models through the clients of any-llm.

any-llm's blocking functions call its asynchronous functions. This provider therefore has asynchronous methods only, and
the host bridges blocking calls to them.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when a provider is created
import copy
import inspect
import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
from any_llm import AnyLLM  # noqa: TID253 - loaded only when a provider is created
from any_llm.providers.openai.base import BaseOpenAIProvider  # noqa: TID253 - loaded only when a provider is created

from llmcore.errors import ConfigError, LLMCoreError, MalformedReply
from llmcore.support import forks
from llmcore.support.errors import raise_unchained
from llmcore.support.http import LoopClients
from llmcore.support.threads import run_in_thread
from llmcore.types import ChatRequest, Delta, EmbeddingRequest, Embeddings, Reply, Usage
from llmcore_any_llm.errors import Facts, translate_error
from llmcore_any_llm.offline import Offline
from llmcore_any_llm.options import AnyLLMOptions
from llmcore_any_llm.vendors import split_model
from llmcore_openai_optimized.documents import DocumentReader

__all__ = ["AnyLLMProvider"]

_KNOWN: Final = frozenset(inspect.signature(AnyLLM.acompletion).parameters) - {
    "self",
    "kwargs",
    "model",
    "messages",
}
_LISTING_S: Final = 10.0


class _Vendor:
    """One vendor's clients, one for each event loop."""

    def __init__(self, name: str, kind: type[AnyLLM], options: AnyLLMOptions) -> None:
        self._name = name
        self._kind = kind
        self._options = options
        # For a vendor without keys, any-llm has the text "None" in place of the name of a variable.
        variable = str(kind.ENV_API_KEY_NAME or "").replace("None", "")
        key = options.api_key.reveal() if options.api_key else os.environ.get(variable)
        self.facts = Facts(name, (options.api_base or name).partition("?")[0], key, variable)
        self.is_openai = issubclass(kind, BaseOpenAIProvider)
        self.streams = bool(kind.SUPPORTS_COMPLETION_STREAMING)
        self.has_timeout = kind.TIMEOUT_SUPPORT != "unsupported"
        self.clients: LoopClients[AnyLLM] = LoopClients(self._create, _close)

    def _create(self) -> AnyLLM:
        arguments = dict(self._options.client_args)
        if self._kind.MAX_RETRIES_SUPPORT != "unsupported":
            arguments.setdefault("max_retries", 0)  # the host retries
        key = self._options.api_key
        return AnyLLM.create(
            self._name,
            api_key=key.reveal() if key else None,
            api_base=self._options.api_base,
            unified_exceptions=True,
            **arguments,
        )

    def make_arguments(self, request: ChatRequest, model: str, *, stream: bool) -> dict[str, Any]:
        """Return the arguments of `acompletion`. Values that any-llm may change are copied."""
        body = copy.deepcopy(dict(request.body()))
        given = {name: value for name, value in body.items() if name not in {"model", "messages", "stream"}}
        known = {name: value for name, value in given.items() if name in _KNOWN}
        other = {name: value for name, value in given.items() if name not in _KNOWN}
        if stream:
            known["stream"] = True
            if self.is_openai:
                known["stream_options"] = {"include_usage": True, **(known.get("stream_options") or {})}
        if self.has_timeout and request.timeout_s is not None:
            known["timeout"] = request.timeout_s
        more = {"extra_body": other} if other and self.is_openai else other
        return {"model": model, "messages": list(body.get("messages") or ()), **known, **more}


class AnyLLMProvider(Offline):
    """Implement three asynchronous contracts: language model, embeddings, and list of models."""

    keeps_timeouts = True

    def __init__(self, options: AnyLLMOptions) -> None:
        super().__init__(options)
        self._vendors: dict[str, _Vendor] = {}
        self._lock = forks.lock()

    async def acomplete(self, request: ChatRequest) -> Reply:
        """See `LLMProvider.complete`."""
        target = split_model(request.model, self._options.vendor)
        vendor = await self._find_vendor(target.vendor)
        failure: LLMCoreError | None = None
        try:
            async with asyncio.timeout(request.timeout_s):
                client = await vendor.clients.get()
                arguments = vendor.make_arguments(request, target.model, stream=False)
                document = _encode(await client.acompletion(**arguments))
            reader = DocumentReader(request, "any_llm", vendor.facts.address)
            reader.feed_document(document)
            reply = reader.make_reply()
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            failure = translate_error(error, vendor.facts)
        if failure is not None:
            raise failure
        return _name_vendor(reply, request.model, target.vendor)

    async def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """See `StreamingLLMProvider.stream`.

        Each chunk from any-llm restarts the idle timeout. Events that any-llm drops do not restart it.
        """
        target = split_model(request.model, self._options.vendor)
        vendor = await self._find_vendor(target.vendor)
        reader = DocumentReader(request, "any_llm", vendor.facts.address)
        failure: LLMCoreError | None = None
        ends = None if request.timeout_s is None else time.monotonic() + request.timeout_s
        stream: Any = None
        begun = False
        try:
            arguments = vendor.make_arguments(request, target.model, stream=vendor.streams)
            async with asyncio.timeout(request.timeout_s):
                client = await vendor.clients.get()
                result: Any = await client.acompletion(**arguments)
            if not hasattr(result, "__aiter__"):
                for delta in reader.feed_document(_encode(result)):
                    yield delta
                return
            stream = aiter(result)
            while True:
                async with asyncio.timeout(_find_wait(ends, request.idle_s)):
                    chunk = await anext(stream, None)
                if chunk is None:
                    break
                begun = True
                for delta in reader.feed_chunk(_encode(chunk)):
                    yield delta
            for delta in reader.end():
                yield delta
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            failure = translate_error(error, vendor.facts, begun=begun)
        finally:
            if stream is not None and hasattr(stream, "aclose"):
                await stream.aclose()
        if failure is not None and not reader.is_done:
            _add_partial(failure, reader.text)
            raise failure

    async def aembed(self, request: EmbeddingRequest) -> Embeddings:
        """See `EmbeddingProvider.embed`."""
        target = split_model(request.model, self._options.vendor)
        vendor = await self._find_vendor(target.vendor)
        failure: LLMCoreError | None = None
        more = {name: value for name, value in request.body().items() if name not in {"model", "input"}}
        try:
            async with asyncio.timeout(request.timeout_s):
                client = await vendor.clients.get()
                found = await client.aembedding(target.model, list(request.texts), **more)
            items = sorted(found.data, key=lambda item: item.index)
            vectors = [[float(number) for number in item.embedding] for item in items]
            usage = Usage(input_tokens=found.usage.prompt_tokens if found.usage else 0)
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            failure = translate_error(error, vendor.facts)
        if failure is not None:
            raise failure
        if len(vectors) != len(request.texts):
            raise MalformedReply(
                f"{vendor.facts.address} answered with {len(vectors)} embeddings for {len(request.texts)} texts",
                provider="any_llm",
            )
        return Embeddings(vectors=vectors, model=request.model, usage=usage)

    async def alist_models(self) -> Sequence[str]:
        """See `ModelListing.list_models`: the models of the option `vendor`."""
        if self._options.vendor is None:
            raise ConfigError(
                "any-llm lists the models of one vendor, and none is configured",
                code="LC203",
                where="[llm.any_llm] vendor",
                expected="the name of a vendor",
                fix="llmcore config set llm.any_llm.vendor mistral",
            )
        vendor = await self._find_vendor(self._options.vendor)
        failure: LLMCoreError | None = None
        try:
            async with asyncio.timeout(_LISTING_S):
                client = await vendor.clients.get()
                names = sorted(str(model.id) for model in await client.alist_models())
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            failure = translate_error(error, vendor.facts)
        if failure is not None:
            raise failure
        return names

    async def aclose(self) -> None:
        """Close the clients of this event loop; the clients of other loops are closed when their loops end."""
        with self._lock:
            vendors, self._vendors = list(self._vendors.values()), {}
        for vendor in vendors:
            await vendor.clients.aclose()

    async def _find_vendor(self, name: str) -> _Vendor:
        found = self._vendors.get(name)
        if found is not None:
            return found
        try:  # in a thread, because the import of a vendor's SDK can take seconds
            kind = await run_in_thread(AnyLLM.get_provider_class, name)
            made = _Vendor(name, kind, self._options)
        except Exception as error:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            raise_unchained(translate_error(error, Facts(name, name, None, "")))
        with self._lock:
            return self._vendors.setdefault(name, made)


async def _close(client: AnyLLM) -> None:
    """Close the client of the vendor's SDK inside *client*. any-llm has no method that closes this client."""
    inner = getattr(client, "client", None)
    for name in ("aclose", "close"):
        method = getattr(inner, name, None)
        if callable(method):
            result = method()
            if inspect.isawaitable(result):
                await result
            return


def _encode(document: Any) -> bytes:
    """Return an answer or a chunk of any-llm as JSON."""
    return str(document.model_dump_json(exclude_none=True, warnings=False)).encode()


def _find_wait(ends: float | None, idle_s: float | None) -> float | None:
    """Return the seconds until the deadline, or until the idle timeout, whichever is earlier."""
    left = None if ends is None else max(ends - time.monotonic(), 0.001)
    return min((each for each in (left, idle_s) if each is not None), default=None)


def _name_vendor(reply: Reply, asked: str, vendor: str) -> Reply:
    """Return *reply* with the vendor in front of the model's name if the request named the vendor.

    The price of the reply is looked up by this name.
    """
    if not asked.startswith(f"{vendor}:"):
        return reply
    return msgspec.structs.replace(reply, model=f"{vendor}:{reply.model or asked.partition(':')[2]}")


def _add_partial(failure: LLMCoreError, text: str | None) -> None:
    if text and getattr(failure, "partial", None) is None:
        failure.partial = text  # type: ignore[attr-defined]
