"""Chat Completions, Responses, Messages and embeddings: pass the body unchanged to `core.llm.send`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from llmcore.errors import BadRequest
from llmcore.types import Reply, WireEvent
from llmcore_gateway.error_answers import Refused
from llmcore_gateway.http_messages import Answer, Caller, encode

if TYPE_CHECKING:
    from llmcore import Core, LLMClient
    from llmcore_gateway.gateway import Gateway

__all__ = ["LLMCall", "read_body"]

Api = Literal["chat", "responses", "messages", "embeddings"]

_DONE: Final = b"[DONE]"
_NOT_PARAMETERS: Final = frozenset({"messages", "input", "model", "stream", "stream_options", "user"})


def read_body(body: bytes) -> dict[str, Any]:
    """Return a request body as a dict.

    Raises:
        Refused: The body is not JSON, is nested too deeply, or is not an object.
    """
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "invalid_request_error", f"the body is not JSON: {error}") from None
    except RecursionError:
        raise Refused(400, "invalid_request_error", "the body is nested too deeply") from None
    if not isinstance(decoded, dict):
        raise Refused(400, "invalid_request_error", "the body must be a JSON object")
    return decoded


class LLMCall:
    """One request to a language model, read and checked."""

    content_type = "text/event-stream; charset=utf-8"
    """The content type of the stream."""

    def __init__(self, gateway: Gateway, api: Api, body: dict[str, Any], caller: Caller) -> None:
        self.api: str = api
        """The API that determines the format of errors."""
        self._api: Any = api
        self.model = gateway.models.check(body.get("model"), caller)
        """The requested model, for the log; None for the configured model."""
        self.streaming = api != "embeddings" and body.get("stream") is True
        self._gateway = gateway
        self._body = body
        options = body.get("stream_options")
        self._wants_usage = api != "chat" or (
            isinstance(options, dict) and options.get("include_usage") is True
        )
        self._options: dict[str, Any] = {"model": self.model, "user": caller.user}
        if caller.user is not None and gateway.options.cache == "per-key":
            self._options["cache_namespace"] = (
                f"{gateway.core.settings.cache.namespace or ''}key:{caller.user}"
            )
        if gateway.options.unknown_parameters == "refuse":
            _check_parameters(gateway.core, self.model, body)

    def run(self) -> Answer:
        """Return the answer."""
        return self._make_answer(self._llm.send(self._body, api=self._api, **self._options))

    async def arun(self) -> Answer:
        """See `run`."""
        return self._make_answer(await self._llm.asend(self._body, api=self._api, **self._options))

    def stream(self) -> Generator[bytes, None, None]:
        """Yield the answer's events in the client's format."""
        done = False
        for event in self._llm.send_stream(self._body, api=self._api, **self._options):
            done = done or event.data == _DONE
            if self._wants_usage or not _is_usage(event):
                yield _format_event(event)
        if not done and self.api == "chat":
            yield b"data: [DONE]\n\n"

    async def astream(self) -> AsyncGenerator[bytes, None]:
        """See `stream`."""
        done = False
        events = self._llm.asend_stream(self._body, api=self._api, **self._options)
        try:
            async for event in events:
                done = done or event.data == _DONE
                if self._wants_usage or not _is_usage(event):
                    yield _format_event(event)
        finally:
            await events.aclose()
        if not done and self.api == "chat":
            yield b"data: [DONE]\n\n"

    @property
    def _llm(self) -> LLMClient:
        return self._gateway.core.llm

    def _make_answer(self, reply: Reply[Any]) -> Answer:
        headers = {"x-llmcore-cached": "true" if reply.cached else "false"}
        if reply.cost is not None:
            headers["x-llmcore-cost"] = f"{reply.cost:f}"
        return Answer(200, reply.body or encode(reply.raw), headers)


def _format_event(event: WireEvent) -> bytes:
    if event.name is None:
        return b"data: " + event.data + b"\n\n"
    return b"event: " + event.name.encode() + b"\ndata: " + event.data + b"\n\n"


def _is_usage(event: WireEvent) -> bool:
    """Return whether *event* has only the usage. The ledger needs it; a client gets it only with `include_usage`."""
    if b'"usage"' not in event.data:
        return False
    try:
        chunk = msgspec.json.decode(event.data)
    except msgspec.DecodeError:
        return False
    return isinstance(chunk, dict) and chunk.get("choices") == [] and chunk.get("usage") is not None


def _check_parameters(core: Core, model: str | None, body: dict[str, Any]) -> None:
    """Raise `BadRequest` for a parameter that a provider of *model* does not declare."""
    for resolved in core.llm.resolve(model):
        provider = resolved.partition(":")[0]
        unknown = body.keys() - core.backend("llm", provider).entry.parameters - _NOT_PARAMETERS
        if unknown:
            name = min(unknown)
            raise BadRequest(
                f"unknown parameter `{name[:100]}` for the llm provider `{provider}`",
                code="LC302",
                where=name,
            )
