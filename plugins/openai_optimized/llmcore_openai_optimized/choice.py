"""Assemble one choice of an answer from the deltas of a stream, or from a complete message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmcore.types import Choice as ReplyChoice
from llmcore.types import ToolCall
from llmcore_openai_optimized.fields import SurrogateBuffer, merge
from llmcore_openai_optimized.tool_calls import LEGACY, ToolCalls

__all__ = ["Choice", "Piece", "UnknownShape"]

_REASONING: Final = frozenset({"reasoning_content", "reasoning"})
"""The fields that contain reasoning. vLLM and some gateways send the same text in both fields."""
_THOUGHTS: Final = frozenset({"thinking", "reasoning"})
"""Types of content parts that are reasoning."""


class UnknownShape(Exception):
    """A field of an answer has a type or structure that the reader does not know."""

    def __init__(self, field: str, value: Any) -> None:
        super().__init__(field)
        self.field = field
        self.value = value


class Piece(msgspec.Struct, gc=False):
    """The content that a delta adds to a choice."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: tuple[ToolCall, ...] = ()
    logprobs: Mapping[str, Any] | None = None


class Choice:
    """One choice, as received so far."""

    __slots__ = (
        "_extra",
        "_logprobs",
        "_media",
        "_reasoning",
        "_reasoning_name",
        "_refusals",
        "_surrogates",
        "calls",
        "finish_reason",
        "is_plain",
        "texts",
    )  # fmt: skip

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls = ToolCalls()
        self.finish_reason: str | None = None
        self._reasoning: list[str] = []
        self._reasoning_name = "reasoning_content"
        self._refusals: list[str] = []
        self._media: list[Any] = []
        self._extra: dict[str, Any] = {}
        self._logprobs: dict[str, Any] = {}
        self._surrogates: SurrogateBuffer | None = None
        self.is_plain = True
        """True if the texts contain no lone surrogates."""

    def add(self, delta: Mapping[str, Any], *, complete: bool = False) -> Piece:
        """Add a delta; return the new content.

        Args:
            delta: A delta of a stream, or a message.
            complete: True if *delta* is a complete message.

        Raises:
            UnknownShape: The content cannot be read.
        """
        piece = Piece()
        for name, value in delta.items():
            if name == "content":
                if value is not None:
                    self._read_content(value, piece)
            elif value:
                self._read_field(name, value, piece, complete=complete)
            else:
                self._extra.setdefault(name, value)
        if "function_call" in delta and not delta.get("tool_calls"):
            legacy = {"index": LEGACY, "function": delta["function_call"]}
            self._read_calls(legacy, piece, complete=complete)
        return self._keep(piece)

    def end(self) -> Piece | None:
        """Return the content that was delayed until the end."""
        if self.is_plain and not self.calls:
            return None
        piece = Piece(calls=tuple(self.calls.flush(self._surrogates)))
        surrogates, self._surrogates = self._surrogates, None
        if surrogates is not None:
            piece.text = surrogates.end("text")
            piece.reasoning = surrogates.end("reasoning")
            piece.refusal = surrogates.end("refusal")
        return self._keep(piece)

    def expect_surrogates(self) -> None:
        """From now on, join surrogate pairs that are split between two deltas."""
        self._surrogates = self._surrogates or SurrogateBuffer()
        self.is_plain = False

    def finish(self, reason: str | None) -> None:
        """Set the finish reason. `stop` does not replace an earlier, more specific reason."""
        if reason is not None and (self.finish_reason is None or reason != "stop"):
            self.finish_reason = reason

    def add_logprobs(self, logprobs: Any) -> None:
        """Append the log probabilities of a delta."""
        if isinstance(logprobs, Mapping):
            for name, value in logprobs.items():
                if isinstance(value, list):
                    self._logprobs.setdefault(name, []).extend(value)

    @property
    def text(self) -> str:
        """The text so far."""
        if len(self.texts) > 1:
            self.texts = ["".join(self.texts)]
        return self.texts[0] if self.texts else ""

    @property
    def logprobs(self) -> dict[str, Any] | None:
        """The log probabilities so far."""
        return self._logprobs or None

    @property
    def refusal(self) -> str | None:
        """The refusal so far."""
        return "".join(self._refusals) or None

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    @property
    def has_content(self) -> bool:
        """True if the model wrote anything."""
        return bool(any(self.texts) or self.calls or self._reasoning or self._refusals or self._media)

    def make_message(self) -> dict[str, Any]:
        """Return the message in the format of a completion."""
        content: Any = self.text if self.texts else None
        if self._media:
            content = [*([{"type": "text", "text": content}] if content else ()), *self._media]
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if self._reasoning:
            message[self._reasoning_name] = self.reasoning
        if self._refusals:
            message["refusal"] = self.refusal
        message |= {name: value for name, value in self._extra.items() if value or name not in message}
        if calls := self.calls.make_document():
            message["tool_calls"] = calls
        return message

    def build(self) -> ReplyChoice:
        """Return the choice as a part of a reply."""
        return ReplyChoice(
            text=self.text,
            reasoning=self.reasoning,
            refusal=self.refusal,
            tool_calls=self.calls.list_calls(),
            finish_reason=self.finish_reason,
            logprobs=self.logprobs,
        )

    def make_document(self, index: int) -> dict[str, Any]:
        """Return the choice in the format of a completion."""
        return {
            "index": index,
            "message": self.make_message(),
            "logprobs": self._logprobs or None,
            "finish_reason": self.finish_reason,
        }

    def _keep(self, piece: Piece) -> Piece:
        if self._surrogates is not None:
            piece.text = self._surrogates.take("text", piece.text)
            piece.reasoning = self._surrogates.take("reasoning", piece.reasoning)
            piece.refusal = self._surrogates.take("refusal", piece.refusal)
        if piece.text:
            self.texts.append(piece.text)
        if piece.reasoning:
            self._reasoning.append(piece.reasoning)
        if piece.refusal:
            self._refusals.append(piece.refusal)
        return piece

    def _read_field(self, name: str, value: Any, piece: Piece, *, complete: bool) -> None:
        if name in _REASONING:
            piece.reasoning = piece.reasoning or self._read_reasoning(name, value)
        elif name == "tool_calls":
            self._read_calls(value, piece, complete=complete)
        elif name == "role":
            self._extra[name] = value
        elif name == "refusal":
            piece.refusal += _read_text(name, value)
        else:
            merge(self._extra, {name: value})

    def _read_content(self, content: Any, piece: Piece) -> None:
        """Read the content: text, or the list of parts that some servers send."""
        if isinstance(content, str):
            piece.text += content
            if not content and not self.texts:
                self.texts.append("")  # keep an empty text, because an empty content differs from null
            return
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, str):
                piece.text += part
            elif not isinstance(part, Mapping) or not self._read_part(part, piece):
                raise UnknownShape("content", content)

    def _read_part(self, part: Mapping[str, Any], piece: Piece) -> bool:
        """Read a part of the content; return False for an unknown part."""
        kind = part.get("type")
        if kind in _THOUGHTS:
            inner = part.get(kind, part.get("text"))
            piece.reasoning += self._read_reasoning(self._reasoning_name, inner)
        elif kind == "refusal":
            piece.refusal += _read_text("content", part.get("refusal"))
        elif "text" in part:
            piece.text += _read_text("content", part["text"])
        elif isinstance(kind, str):
            self._media.append(part)  # an image, audio, a reference
        else:
            return False
        return True

    def _read_reasoning(self, name: str, value: Any) -> str:
        """Return the reasoning in *value*. An unknown shape is not an error, because `Reply.raw` contains the value."""
        try:
            thought = _read_text(name, value)
        except UnknownShape:
            self._extra[name] = value
            return ""
        self._reasoning_name = name
        return thought

    def _read_calls(self, calls: Any, piece: Piece, *, complete: bool) -> None:
        for each in calls if isinstance(calls, list) else [calls]:
            if isinstance(each, Mapping) and each:
                piece.calls += tuple(self.calls.add(each, complete=complete, surrogates=self._surrogates))
            elif each:
                raise UnknownShape("tool_calls", calls)


def _read_text(field: str, value: Any) -> str:
    """Return the text in *value*: text, an object with text, or a list of these.

    Raises:
        UnknownShape: *value* is anything else.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(_read_text(field, each) for each in value)
    inner = (
        value.get("text", value.get("value", value.get("summary"))) if isinstance(value, Mapping) else None
    )
    if inner is None:
        raise UnknownShape(field, value)
    return _read_text(field, inner)
