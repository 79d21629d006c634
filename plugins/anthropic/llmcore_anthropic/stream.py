"""Read the events of a streamed message into deltas, and assemble the whole message. This module does no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from llmcore.errors import LLMCoreError
from llmcore.support.finish_reasons import normalise_finish_reason
from llmcore.support.http import EventParser
from llmcore.types import Delta, ToolCall
from llmcore_anthropic.errors import Errors, Headers, get_request_id
from llmcore_anthropic.reply import read_refusal, read_reply
from llmcore_anthropic.usage import estimate_usage, read_limits, read_usage

__all__ = ["StreamError", "StreamReader"]

_APPENDED: Final = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
"""Type of a delta -> the name of a field. The delta's text in this field is appended to the same field of the block."""


class StreamError(Exception):
    """Raised inside the reader; the caller gets `error` instead."""

    def __init__(self, error: LLMCoreError) -> None:
        super().__init__(error.message)
        self.error = error


class StreamReader:
    """Reads one stream.

    Args:
        headers: The headers of the answer.
        sent: The number of bytes of the request, for the estimate of a missing usage.
        errors: Makes the errors.
        model: The requested model.
    """

    def __init__(self, headers: Headers, sent: int, errors: Errors, model: str) -> None:
        self._headers = headers
        self._sent = sent
        self._errors = errors
        self._model = model
        self._parser = EventParser()
        self._message: dict[str, Any] = {}
        self._blocks: list[dict[str, Any]] = []
        self._inputs: dict[int, list[str]] = {}
        """Index of a tool block -> the received pieces of the tool's input, which is JSON."""
        self._calls: dict[int, int] = {}
        """Index of a tool block -> index of the call."""
        self._received = 0
        self.done = False
        """True if the last event has arrived."""

    def feed(self, piece: bytes) -> Iterator[Delta]:
        """Add *piece*, the next bytes of the body; yield the complete deltas.

        Raises:
            StreamError: An event is an error, or cannot be read.
        """
        self._received += len(piece)
        for name, data in self._parser.feed(piece):
            if not self.done:
                yield from self._read_event(name.decode("latin-1"), data)

    def end(self) -> Iterator[Delta]:
        """Yield the deltas that the end of the body adds.

        Raises:
            StreamError: The answer is not complete.
        """
        for name, data in self._parser.end():
            if not self.done:
                yield from self._read_event(name.decode("latin-1"), data)
        if not self.done:
            if not self._message and self._received == 0:
                raise StreamError(self._errors.make_malformed("an empty body", self._headers))
            if not self._message:
                raise StreamError(self._errors.make_malformed("a body without events", self._headers))
            raise StreamError(self._errors.make_incomplete(self._headers, self.text))

    @property
    def text(self) -> str:
        """The text that has been received."""
        return "".join(block.get("text", "") for block in self._blocks if block.get("type") == "text")

    def _read_event(self, name: str, data: bytes) -> Iterator[Delta]:
        reason = ""
        try:
            document = msgspec.json.decode(data)
        except (ValueError, RecursionError) as fault:
            document, reason = None, f" ({fault})"
        if not isinstance(document, dict):
            what = f"an event that is not a JSON object{reason}"
            raise StreamError(self._errors.make_malformed(what, self._headers, partial=self.text))
        kind = document.get("type")
        if kind == "error" or "error" in document:
            raise StreamError(self._errors.from_event(document, self._headers, self.text, self._model))
        if kind == "message":
            yield from self._read_whole(data)
            return
        try:
            delta = self._read_known(kind, document)
        except (LookupError, TypeError, AttributeError):
            what = f"an event `{self._errors.scrub(str(kind))}` with missing or wrong fields"
            error = self._errors.make_malformed(what, self._headers, partial=self.text)
        else:
            yield msgspec.structs.replace(delta, raw=data, event_name=name or None)
            return
        raise StreamError(error)

    def _read_known(self, kind: Any, document: dict[str, Any]) -> Delta:
        if kind == "message_start":
            self._message = dict(document["message"])
            return Delta(model=str(self._message.get("model") or ""))
        if kind == "content_block_start":
            return self._start_block(document["index"], document["content_block"])
        if kind == "content_block_delta":
            return self._extend_block(document["index"], document["delta"])
        if kind == "content_block_stop":
            self._stop_block(document["index"])
        elif kind == "message_delta":
            self._message |= document["delta"]
            usage = {
                name: value for name, value in (document.get("usage") or {}).items() if value is not None
            }
            self._message["usage"] = {**(self._message.get("usage") or {}), **usage}
        elif kind == "message_stop":
            return self._finish()
        return Delta()  # a ping, or a kind of event that this plugin does not know

    def _start_block(self, index: int, block: dict[str, Any]) -> Delta:
        while len(self._blocks) <= index:
            self._blocks.append({})
        self._blocks[index] = dict(block)
        if block.get("type") == "tool_use":
            number = self._calls[index] = len(self._calls)
            call = ToolCall(name=str(block["name"]), arguments="", id=str(block["id"]), index=number)
            return Delta(tool_calls=(call,))
        return Delta(
            text=block.get("text") or "" if block.get("type") == "text" else "",
            reasoning=block.get("thinking") or "" if block.get("type") == "thinking" else "",
        )

    def _extend_block(self, index: int, delta: dict[str, Any]) -> Delta:
        block, kind = self._blocks[index], delta["type"]
        if kind in _APPENDED:
            name = _APPENDED[kind]
            block[name] = (block.get(name) or "") + delta[name]
            if kind == "text_delta":
                return Delta(text=delta["text"])
            return Delta(reasoning=delta["thinking"]) if kind == "thinking_delta" else Delta()
        if kind == "input_json_delta":
            piece = delta["partial_json"]
            self._inputs.setdefault(index, []).append(piece)
            if index in self._calls and piece:
                return Delta(tool_calls=(ToolCall(name="", arguments=piece, index=self._calls[index]),))
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        return Delta()

    def _stop_block(self, index: int) -> None:
        pieces = self._inputs.pop(index, None)
        if pieces is not None:
            text = "".join(pieces)
            try:
                self._blocks[index]["input"] = msgspec.json.decode(text) if text else {}
            except (ValueError, RecursionError):
                self._blocks[index]["input"] = text  # the model was stopped before its JSON was complete

    def _finish(self) -> Delta:
        self.done = True
        message = {**self._message, "content": self._blocks}
        usage = read_usage(message.get("usage")) or estimate_usage(self._sent, self._received)
        reason = message.get("stop_reason")
        tier = (message.get("usage") or {}).get("service_tier")
        return Delta(
            finish_reason=normalise_finish_reason(reason),
            usage=usage,
            model=str(message.get("model") or ""),
            service_tier=tier if isinstance(tier, str) else None,
            request_id=get_request_id(self._headers),
            body=msgspec.json.encode(message),
            limits=read_limits(self._headers),
            refusal=read_refusal(message),
        )

    def _read_whole(self, data: bytes) -> Iterator[Delta]:
        """Read the message of a server that does not stream."""
        reply = read_reply(data, self._headers, self._sent, self._errors)
        if isinstance(reply, LLMCoreError):
            raise StreamError(reply)
        self.done = True
        yield Delta(
            text=reply.text,
            reasoning=reply.reasoning,
            tool_calls=reply.tool_calls,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            model=reply.model,
            service_tier=reply.service_tier,
            request_id=reply.request_id,
            body=data,
            limits=reply.limits,
            refusal=reply.refusal,
        )
