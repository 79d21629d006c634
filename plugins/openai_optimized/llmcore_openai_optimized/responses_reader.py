"""Parse answers of the Responses API, documents or server-sent events, to deltas and a reply. This module does no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmcore.support.http import EventParser
from llmcore.types import ChatRequest, Delta, Reply, ToolCall
from llmcore_openai_optimized.chat_reader import HEARTBEATS, LARGEST_BODY
from llmcore_openai_optimized.error_report import is_error
from llmcore_openai_optimized.errors import AnswerError, Errors
from llmcore_openai_optimized.fields import read_text, repair_texts
from llmcore_openai_optimized.responses import SEPARATOR, is_call, make_reply, read_call

__all__ = ["ResponsesReader"]

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_EXPECTED: Final = "a response as JSON"
_ENDS: Final = frozenset({"response.completed", "response.incomplete"})
_FAILURES: Final = frozenset({"response.failed", "error"})
_THOUGHTS: Final = {
    "response.reasoning_summary_text.delta": "summary_index",
    "response.reasoning_text.delta": "content_index",
}
_ARGUMENTS: Final = frozenset(
    {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}
)
_NOTHING: Final = frozenset({b"", b"null", b"[DONE]"})
_SHOWN: Final = 160

_encode = msgspec.json.Encoder().encode


class ResponsesReader:
    """Reads one answer, complete or streamed."""

    def __init__(
        self, request: ChatRequest, headers: Mapping[str, str], errors: Errors, status: int = 200
    ) -> None:
        self._request = request
        self._headers = headers
        self._errors = errors
        self._refused = None if 200 <= status < 300 else status  # noqa: PLR2004 - every status 2xx is a success
        self._body = bytearray()
        self._size = 0
        self._events: EventParser | None = None
        self._texts: list[str] = []
        self._calls: dict[Any, int] = {}
        """Position of a call in the output -> the number of the call."""
        self._thought: tuple[Any, Any] | None = None
        """Identifies the part of the reasoning whose text arrived last."""
        self._reply: Reply | None = None

    @property
    def is_done(self) -> bool:
        """True if the last delta was returned; later bytes are ignored."""
        return self._reply is not None

    @property
    def text(self) -> str | None:
        """The text of a stream that has arrived so far; None if the body is not a stream, or has not begun."""
        return "".join(self._texts) if self._events is not None else None

    def feed(self, data: bytes) -> list[Delta]:
        """Add the next bytes, which may end anywhere; return the complete deltas.

        Raises:
            AnswerError: The answer is unreadable, or reports an error.
        """
        self._size += len(data)
        if self._size > LARGEST_BODY:
            raise AnswerError(self._make_malformed(f"more than {LARGEST_BODY:,} bytes"))
        if self._events is None:
            self._body += data
            begun = bytes(self._body[:64]).removeprefix(_BYTE_ORDER_MARK).lstrip()
            if (
                self._refused is not None
                or not begun
                or begun[:1] in b"{[<"
                or len(self._body) < len(_BYTE_ORDER_MARK)
            ):
                return []
            self._events, data = EventParser(), bytes(self._body).removeprefix(_BYTE_ORDER_MARK).lstrip()
        return self._read_events(self._events.feed(data))

    def end(self) -> list[Delta]:
        """Mark the end of the body; return the remaining deltas.

        Raises:
            AnswerError: The answer is not complete.
        """
        if self._refused is not None:
            error = self._errors.from_status(
                self._refused, self._headers, bytes(self._body), self._request.model
            )
            raise AnswerError(error)
        if self._events is None:
            return self._read_document()
        deltas = self._read_events(self._events.end())
        if not self.is_done:
            what = "the stream ended without `response.completed`"
            raise AnswerError(self._errors.make_incomplete(what, self._headers, self.text))
        return deltas

    def make_reply(self) -> Reply:
        """Return the complete reply; call `end` first."""
        return self._reply or Reply(text="")

    def _read_document(self) -> list[Delta]:
        body = bytes(self._body).removeprefix(_BYTE_ORDER_MARK)
        document = _decode(body) or {}
        if is_error(document) or document.get("status") == "failed":
            raise AnswerError(self._make_reported(document))
        if not isinstance(document.get("output"), list):
            raise AnswerError(self._make_malformed("something that is not a response", body))
        return self._finish(document, body.strip())

    def _read_events(self, events: list[tuple[bytes, bytes]]) -> list[Delta]:
        deltas: list[Delta] = []
        for name, payload in events:
            if self.is_done:
                break
            new = self._read_event(name, payload)
            first = Delta() if not new else new[0]
            raw = msgspec.structs.replace(
                first, raw=payload, event_name=name.decode(errors="replace") or None
            )
            deltas += [raw, *(msgspec.structs.replace(each, raw=b"") for each in new[1:])]
        return deltas

    def _read_event(self, name: bytes, payload: bytes) -> list[Delta]:
        event = _decode(payload)
        if event is None:
            if payload in _NOTHING or name in HEARTBEATS:
                return []
            raise AnswerError(self._make_malformed("an event that cannot be read", payload))
        kind = read_text(event.get("type")) or name.decode(errors="replace")
        if kind in _ENDS:
            document = event.get("response")
            if not isinstance(document, Mapping):
                raise AnswerError(self._make_malformed("an end without a response", payload))
            return self._finish(document, _encode(document))
        if kind in _FAILURES or (not kind and is_error(event)):
            raise AnswerError(self._make_reported(event.get("response") or event))
        piece = self._read_piece(kind, event)
        return [] if piece is None else [piece]

    def _read_piece(self, kind: str, event: Mapping[str, Any]) -> Delta | None:
        """Return the content of an event; None if it does not change the answer."""
        text = read_text(event.get("delta"))
        if kind == "response.output_text.delta":
            self._texts.append(text)
            logprobs = event.get("logprobs")
            return Delta(text=text, logprobs={"content": logprobs} if logprobs else None)
        if kind == "response.refusal.delta":
            return Delta(refusal=text)
        if kind in _THOUGHTS:
            part = (event.get("output_index"), event.get(_THOUGHTS[kind]))
            separator = SEPARATOR if self._thought not in (None, part) else ""
            self._thought = part
            return Delta(reasoning=separator + text)
        call = self._read_call(kind, event)
        return None if call is None else Delta(tool_calls=(call,))

    def _read_call(self, kind: str, event: Mapping[str, Any]) -> ToolCall | None:
        """Return a piece of a call; None if the event does not contain one."""
        index, item = event.get("output_index"), event.get("item")
        if kind in _ARGUMENTS and index in self._calls:
            return ToolCall(name="", arguments=read_text(event.get("delta")), index=self._calls[index])
        if kind != "response.output_item.added" or not isinstance(item, Mapping) or not is_call(item):
            return None
        return read_call(item, self._calls.setdefault(index, len(self._calls)))

    def _finish(self, document: Mapping[str, Any], body: bytes) -> list[Delta]:
        """Return the last delta, with all content that earlier events did not contain."""
        reply = self._reply = make_reply(document, body, self._request, self._headers)
        seen = "".join(self._texts)
        missing = reply.text.removeprefix(seen) if reply.text.startswith(seen) else ""
        return [
            Delta(
                text=missing,
                reasoning="" if self._thought is not None else reply.reasoning,
                tool_calls=() if self._calls else reply.tool_calls,
                finish_reason=reply.finish_reason,
                usage=reply.usage,
                model=reply.model,
                service_tier=reply.service_tier,
                request_id=reply.request_id,
                body=reply.body,
                limits=reply.limits,
                refusal=reply.refusal if self._events is None else None,
            )
        ]

    # -- errors

    def _make_reported(self, document: Any) -> Any:
        return self._errors.from_document(
            document, self._headers, self._request.model, partial=self.text or ""
        )

    def _make_malformed(self, what: str, came: bytes = b"") -> Any:
        shown = self._errors.scrub(came[: 8 * _SHOWN].decode(errors="replace"))[:_SHOWN]
        what = f"{what}: {shown}" if shown else what
        return self._errors.make_malformed(what, self._headers, partial=self.text, expected=_EXPECTED)


def _decode(payload: bytes) -> Mapping[str, Any] | None:
    """Return the object in *payload*; None if it is not an object. Lone surrogates are replaced."""
    try:
        value = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        try:
            value = repair_texts(json.loads(payload.decode("utf-8", "surrogatepass")))
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, Mapping) else None
