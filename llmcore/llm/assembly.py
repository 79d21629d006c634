"""Assemble a streamed answer from its deltas, and split a whole answer into deltas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from llmcore.types import Choice, Delta, RateLimits, Reply, ToolCall, Usage

__all__ = ["Assembly", "split_reply"]


class _Parts:
    """The pieces of one choice so far."""

    __slots__ = ("_calls", "_logprobs", "_reasoning", "_refusals", "_texts", "finish_reason")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, ToolCall] = {}
        self._logprobs: dict[str, Any] = {}
        self.finish_reason: str | None = None

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def add(self, delta: Delta) -> None:
        if delta.text:
            self._texts.append(delta.text)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        if delta.refusal:
            self._refusals.append(delta.refusal)
        for piece in delta.tool_calls:
            self._calls[piece.index] = _merge_calls(self._calls.get(piece.index), piece)
        if delta.logprobs is not None:
            _merge_logprobs(self._logprobs, delta.logprobs)
        if delta.finish_reason:  # an empty finish reason does not end the choice
            self.finish_reason = delta.finish_reason

    def build(self) -> Choice:
        return Choice(
            text=self.text,
            reasoning="".join(self._reasoning),
            refusal="".join(self._refusals) or None,
            tool_calls=tuple(self._calls[index] for index in sorted(self._calls)),
            finish_reason=self.finish_reason,
            logprobs=self._logprobs or None,
        )


class Assembly:
    """Collects the deltas of one answer."""

    def __init__(self, choices: int = 1) -> None:
        """Prepare for an answer with *choices* choices."""
        self._expected = choices
        self._choices: dict[int, _Parts] = {}
        self._usage: Usage | None = None
        self._model = ""
        self._service_tier: str | None = None
        self._request_id: str | None = None
        self._body = b""
        self._limits: RateLimits | None = None

    @property
    def text(self) -> str:
        """The text of the first choice so far."""
        return self._choices[min(self._choices)].text if self._choices else ""

    @property
    def is_finished(self) -> bool:
        """True if every choice that has begun has a `finish_reason`."""
        return bool(self._choices) and all(parts.finish_reason for parts in self._choices.values())

    @property
    def is_whole(self) -> bool:
        """True if every expected choice has a `finish_reason`, so that no content follows."""
        return len(self._choices) >= self._expected and self.is_finished

    def add(self, delta: Delta) -> None:
        """Add the next delta."""
        parts = self._choices.get(delta.choice)
        if parts is not None:
            parts.add(delta)
        elif delta.has_content:
            parts = self._choices[delta.choice] = _Parts()
            parts.add(delta)
        if delta.usage is not None:
            self._usage = delta.usage
        self._model = delta.model or self._model
        self._service_tier = delta.service_tier or self._service_tier
        self._request_id = delta.request_id or self._request_id
        self._body = delta.body or self._body
        self._limits = delta.limits or self._limits

    def build_reply(self) -> Reply:
        """Return the whole answer."""
        first, *others = (self._choices[index].build() for index in sorted(self._choices))
        return Reply(
            text=first.text,
            model=self._model,
            finish_reason=first.finish_reason,
            usage=self._usage or Usage(estimated=True),
            tool_calls=first.tool_calls,
            service_tier=self._service_tier,
            request_id=self._request_id,
            body=self._body,
            limits=self._limits,
            refusal=first.refusal,
            reasoning=first.reasoning,
            logprobs=first.logprobs,
            other_choices=tuple(others),
        )


def split_reply(reply: Reply) -> Iterator[Delta]:
    """Yield a complete answer as deltas. The last delta ends the first choice and has the usage."""
    first, *others = reply.choices
    yield from _split_choice(first, 0, reply.model)
    for index, choice in enumerate(others, 1):
        yield from _split_choice(choice, index, reply.model)
        yield Delta(
            choice=index,
            tool_calls=choice.tool_calls,
            finish_reason=choice.finish_reason,
            model=reply.model,
        )
    yield Delta(
        tool_calls=first.tool_calls,
        finish_reason=first.finish_reason,
        usage=reply.usage,
        model=reply.model,
        service_tier=reply.service_tier,
        request_id=reply.request_id,
        body=reply.body,
        limits=reply.limits,
    )


def _split_choice(choice: Choice, index: int, model: str) -> Iterator[Delta]:
    """Yield the reasoning, the text and the refusal of a choice, each as one delta, with the log probabilities."""
    pieces: list[dict[str, Any]] = []
    if choice.reasoning:
        pieces.append({"reasoning": choice.reasoning})
    if choice.text:
        pieces.append({"text": choice.text})
    if choice.refusal:
        pieces.append({"refusal": choice.refusal})
    if choice.logprobs is not None:
        pieces = pieces or [{}]
        pieces[-1]["logprobs"] = choice.logprobs
    for piece in pieces:
        yield Delta(choice=index, model=model, **piece)


def _merge_calls(before: ToolCall | None, piece: ToolCall) -> ToolCall:
    if before is None:
        return piece
    return msgspec.structs.replace(
        before,
        name=before.name or piece.name,
        id=before.id or piece.id,
        arguments=before.arguments + piece.arguments,
    )


def _merge_logprobs(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Append the lists of *piece* to those of *whole*."""
    for name, value in piece.items():
        if isinstance(value, list):
            whole.setdefault(name, []).extend(value)
