"""A streamed answer, from bytes to deltas; reads no network.

The `finish_reason` is held back until the end, so that exactly one last delta bears it, the usage and the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmcore.types import ChatRequest, Delta, ToolCall, Usage
from llmcore_openai_optimized._document import Choice, document
from llmcore_openai_optimized._errors import Answered, Errors
from llmcore_openai_optimized._rate_limits import rate_limits
from llmcore_openai_optimized._usage import usage_of
from llmcore_openai_optimized._wire import LARGEST_BODY, call_from, decode, text_from

__all__ = ["StreamReader"]


class _ChunkChoice(msgspec.Struct, gc=False):
    delta: dict[str, Any] | None = None
    index: int = 0
    finish_reason: str | None = None
    logprobs: Any = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_ChunkChoice] | None = None
    model: str | None = None
    usage: Any = None
    error: Any = None
    id: Any = None
    created: Any = None
    service_tier: str | None = None
    system_fingerprint: Any = None


_decoder = msgspec.json.Decoder(_Chunk)


class StreamReader:
    """Reads one stream of server-sent events.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(
        self,
        request: ChatRequest,
        headers: Mapping[str, str],
        errors: Errors,
    ) -> None:
        self._request = request
        self._headers = headers
        self._errors = errors
        self._rest = bytearray()
        self._data: bytes | None = None
        self._event = b""
        self._size = 0
        self._choices: dict[int, Choice] = {}
        self._last_chunk: _Chunk | None = None
        self._usage: Any = None
        self._service_tier: str | None = None
        self.done = False
        """True once the last delta was given: whatever comes after it does not matter."""

    @property
    def text(self) -> str:
        """The answer as far as it has come."""
        return "".join(self._choices[0].texts) if 0 in self._choices else ""

    def feed(self, data: bytes) -> list[Delta]:
        """Take the next bytes, cut anywhere; return the deltas that they complete.

        Raises:
            Answered: They are no answer, or say that something went wrong.
        """
        self._size += len(data)
        if self._size > LARGEST_BODY:
            what = f"more than {LARGEST_BODY:,} bytes"
            raise Answered(self._errors.malformed(what, self._headers, partial=self.text))
        if b"\n" not in data:
            self._rest += data
            return []
        if self._rest:
            data = bytes(self._rest) + data
            self._rest.clear()
        lines = data.split(b"\n")
        self._rest += lines.pop()
        deltas: list[Delta] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data = line[5:] if self._data is None else self._data + b"\n" + line[5:]
            elif line in {b"", b"\r"}:
                if self._data is not None:
                    payload, self._data = self._data, None
                    self._take(payload.strip(), deltas)
            elif line.startswith(b"event:"):
                self._event = line[6:].strip()
        return deltas

    def end(self) -> list[Delta]:
        """Say that nothing more comes; return what was still held back.

        Raises:
            Answered: The answer is not whole.
        """
        deltas = self.feed(b"\n\n") if self._rest or self._data is not None else []
        if not self.done:
            self._finish(deltas)
        return deltas

    def _take(self, payload: bytes, deltas: list[Delta]) -> None:
        event, self._event = self._event, b""
        if self.done or not payload:
            return
        if payload == b"[DONE]":
            self._finish(deltas)
            return
        try:
            chunk: _Chunk = _decoder.decode(payload)
        except ValueError:
            chunk = self._mended(payload)
        if chunk.error is not None or event == b"error":
            document = {"error": chunk.error} if chunk.error is not None else msgspec.json.decode(payload)
            raise Answered(
                self._errors.reported(document, self._headers, self._request.model, partial=self.text)
            )
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.service_tier is not None:
            self._service_tier = chunk.service_tier
        if chunk.choices is not None:
            self._last_chunk = chunk
            for choice in chunk.choices:
                self._add(choice, chunk.model or "", deltas)

    def _add(self, piece: _ChunkChoice, model: str, deltas: list[Delta]) -> None:
        choice = self._choices.get(piece.index)
        if choice is None:
            choice = self._choices[piece.index] = Choice()
        if piece.finish_reason is not None:
            choice.finish_reason = piece.finish_reason
        if piece.logprobs is not None:
            choice.note(piece.logprobs)
        delta = piece.delta
        if not delta:
            return
        content = delta.get("content")
        text = content if isinstance(content, str) else text_from(content)
        if content is not None:
            choice.texts.append(text)
        calls: tuple[ToolCall, ...] = ()
        if len(delta) > 1 or content is None:
            choice.add(delta)
            calls = _pieces(delta)
        if piece.index == 0 and (text or calls):
            deltas.append(Delta(text=text, tool_calls=calls, model=model))

    def _finish(self, deltas: list[Delta]) -> None:
        """Give the last delta, or say what is missing."""
        chunk = self._last_chunk
        if chunk is None:
            what = "something that is no stream of chunks" if self._size else "an empty body"
            raise Answered(self._errors.malformed(what, self._headers, partial=""))
        if not self._choices:
            raise Answered(self._errors.malformed("a stream without a choice", self._headers, partial=""))
        if any(choice.finish_reason is None for choice in self._choices.values()):
            what = "the stream ended before the answer did: it bears no finish_reason"
            raise Answered(self._errors.incomplete(what, self._headers, self.text))
        self.done = True
        head = {
            "id": chunk.id,
            "created": chunk.created,
            "model": chunk.model or self._request.model,
            "service_tier": self._service_tier,
            "system_fingerprint": chunk.system_fingerprint,
        }
        first = self._choices[min(self._choices)]
        deltas.append(
            Delta(
                finish_reason=first.finish_reason,
                usage=self._used(head["model"]),
                model=head["model"],
                service_tier=self._service_tier,
                request_id=self._headers.get("x-request-id"),
                body=document(head, self._choices, self._usage),
                limits=rate_limits(self._headers),
            )
        )

    def _used(self, model: str) -> Usage:
        def messages() -> list[Mapping[str, Any]]:
            return [choice.whole(index)["message"] for index, choice in self._choices.items()]

        spoke = any(choice.spoke for choice in self._choices.values())
        return usage_of(self._usage, self._request, model, messages, spoke=spoke)

    def _mended(self, payload: bytes) -> _Chunk:
        try:
            chunk: _Chunk = decode(payload, _decoder)[0]
        except ValueError as error:
            what = f"a chunk that cannot be read ({error})"
            raise Answered(self._errors.malformed(what, self._headers, partial=self.text)) from None
        return chunk


def _pieces(delta: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    calls = delta.get("tool_calls") or ()
    made = [call_from(call, at) for at, call in enumerate(calls) if isinstance(call, Mapping)]
    old = delta.get("function_call")
    if isinstance(old, Mapping):
        made.append(call_from({"function": old}, 0))
    return tuple(made)
