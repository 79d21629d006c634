"""Assemble an answer from its chunks. A complete answer is treated as one chunk.

Each event of a stream becomes one delta, with the event in `raw`; further deltas of the same event have an empty
`raw`. The delta that ends the last choice contains the usage and the body, so it is delayed until both are known. A
server may send the complete answer as one event, with `message` in place of `delta`. Clients of a stream read only
`delta`, so the deltas of this answer have no `raw`, and the host writes chunks from their content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmcore.support.chat_bounds import get_answer_count
from llmcore.support.finish_reasons import normalise_finish_reason
from llmcore.types import ChatRequest, Delta, Reply, Usage
from llmcore_openai_optimized.choice import Choice, Piece, UnknownShape
from llmcore_openai_optimized.chunk import Chunk, SentChoice
from llmcore_openai_optimized.fields import read_index, repair_texts
from llmcore_openai_optimized.rate_limits import read_rate_limits
from llmcore_openai_optimized.usage import make_usage, merge_usage

__all__ = ["Assembly"]

_encode = msgspec.json.Encoder().encode


class Assembly:
    """The choices of one answer, and its usage, model and headers."""

    def __init__(self, request: ChatRequest, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._choices: dict[int, Choice] = {}
        self._first: int | None = None if request.parameters.get("n") in {None, 1} else 0
        """The index of the choice that is the reply. Some servers give a single choice an index other than 0."""
        self._last_chunk: Chunk | None = None
        self._usage: Any = None
        self._model = ""
        self._service_tier: str | None = None
        self._expected = get_answer_count(request.parameters)
        self._last: int | None = None
        """The index of the choice that ended last."""
        self._reported: dict[int, str | None] = {}
        """The finish reasons that were already reported in deltas."""
        self._raw: bytes | None = None
        self._event_name: str | None = None
        self._is_completion = False
        """True if the stream consists of a complete answer instead of chunks."""
        self.repaired = False
        """True if a chunk was not valid JSON; texts may then contain lone surrogates."""
        self.end: Delta | None = None
        """The last delta; None before `finish`."""

    @property
    def has_begun(self) -> bool:
        """True if a chunk with a list of choices has arrived."""
        return self._last_chunk is not None

    @property
    def has_choices(self) -> bool:
        """True if at least one choice has arrived."""
        return bool(self._choices)

    @property
    def is_finished(self) -> bool:
        """True if every choice has its finish reason."""
        return all(choice.finish_reason is not None for choice in self._choices.values())

    @property
    def is_whole(self) -> bool:
        """True if every expected choice has a finish reason. Then no more content is expected."""
        return len(self._choices) >= self._expected and self.is_finished

    @property
    def text(self) -> str:
        """The text of the first choice so far."""
        return self._choices[self._find_first()].text if self._choices else ""

    def begin_event(self, name: bytes, payload: bytes) -> None:
        """Set the event to which the next deltas belong."""
        self._raw = None if self._is_completion else payload
        self._event_name = name.decode(errors="replace") if name else None

    def end_event(self, deltas: list[Delta]) -> None:
        """Append a delta without content if the event has not produced any delta."""
        if self._raw:
            deltas.append(Delta(raw=self._raw, event_name=self._event_name))
        self._raw = None if self._is_completion else b""

    def add_plain(self, chunk: Chunk, payload: bytes) -> Delta | None:
        """Add *chunk* if it contains only text, and return the delta. This is the fast path for most chunks.

        If *chunk* contains anything else, do not add it, and return None. *payload* is the event with this chunk.
        """
        if (
            chunk.choices is None
            or len(chunk.choices) != 1
            or chunk.usage is not None
            or chunk.error is not None
        ):
            return None
        sent = chunk.choices[0]
        delta = sent.delta
        if type(delta) is not dict or type(sent.index) is not int:
            return None
        if len(delta) != 1 and not (len(delta) == 2 and "role" in delta):  # noqa: PLR2004 - two fields: role and content
            return None
        if sent.finish_reason is not None or sent.error is not None or sent.logprobs is not None:
            return None
        text = delta.get("content")
        choice = self._choices.get(sent.index)
        if type(text) is not str or not text or choice is None or not choice.is_plain or self._is_completion:
            return None
        choice.texts.append(text)
        return Delta(text=text, model=self._model, choice=self._number_choice(sent.index), raw=payload)

    def add(self, chunk: Chunk, deltas: list[Delta], *, complete: bool = False) -> None:
        """Add a chunk or a complete answer; append its deltas to *deltas*.

        Raises:
            UnknownShape: The content cannot be read.
        """
        if chunk.usage is not None:
            self._usage = chunk.usage if self._usage is None else merge_usage(self._usage, chunk.usage)
        if type(chunk.service_tier) is str:
            self._service_tier = chunk.service_tier
        if chunk.choices is None:
            return
        self._find_completion(chunk.choices, complete=complete)
        self._last_chunk = chunk
        if type(chunk.model) is str and chunk.model:
            self._model = chunk.model
        indexes = [_get_index(sent, position) for position, sent in enumerate(chunk.choices)]
        if self._first is None and indexes:
            self._first = 0 if 0 in indexes else indexes[0]
        for index, sent in zip(indexes, chunk.choices, strict=True):
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = Choice()
            piece = self._add_choice(choice, sent, complete=complete)
            ended = sent.finish_reason is not None and choice.finish_reason is not None
            if ended:
                self._last = index
            if piece is not None or ended:
                reason = choice.finish_reason if ended and not self.is_whole else None
                self._emit(index, piece or Piece(), deltas, reason)

    def finish(self, held: Sequence[Delta], deltas: list[Delta], document: bytes | None = None) -> None:
        """Append the last deltas.

        Args:
            held: The deltas since the end of the last choice.
            deltas: The list to append to.
            document: The complete answer as received; None to build it from the chunks.
        """
        at = next((at for at in reversed(range(len(held))) if held[at].has_content), 0)
        deltas += held[:at]
        event = held[at] if held else None
        ending = [] if event is None or not event.has_content else [event]
        raw, self._raw = self._raw, None if self._raw is None else b""
        first = self._find_first()
        last = first if self._last is None else self._last
        for index, choice in self._choices.items():
            piece = choice.end()
            changed = index != last and choice.finish_reason != self._reported.get(index)
            if piece is not None or changed:
                self._emit(index, piece or Piece(), ending, choice.finish_reason if changed else None)
        self.end = Delta(
            choice=self._number_choice(last),
            finish_reason=self._choices[last].finish_reason,
            usage=self._make_usage(),
            model=self._model,
            service_tier=self._service_tier,
            request_id=self._headers.get("x-request-id"),
            body=self._make_document() if document is None else document,
            limits=read_rate_limits(self._headers),
            raw=self._raw,
        )
        if event is None:
            event = Delta(raw=raw, event_name=self._event_name)
        else:
            self._raw = raw  # usually `[DONE]`, an event that gets a delta of its own
        deltas += _join([*ending, self.end], event)
        deltas += held[at + 1 :]

    def make_reply(self) -> Reply:
        """Return the complete reply; call `finish` first."""
        end = self.end or Delta()
        index = self._find_first()
        first = self._choices[index]
        return Reply(
            text=first.text,
            model=end.model or self._request.model,
            finish_reason=first.finish_reason,
            usage=end.usage or Usage(estimated=True),
            tool_calls=first.calls.list_calls(),
            service_tier=end.service_tier,
            request_id=end.request_id,
            body=end.body,
            limits=end.limits,
            refusal=first.refusal,
            reasoning=first.reasoning,
            logprobs=first.logprobs,
            other_choices=tuple(
                self._choices[other].build() for other in sorted(self._choices) if other != index
            ),
        )

    def _find_first(self) -> int:
        """Return the index of the choice that is the reply.

        This is the expected index, or the lowest index if no choice has the expected one.
        """
        index = 0 if self._first is None else self._first
        return index if index in self._choices else min(self._choices)

    def _number_choice(self, index: int) -> int:
        """Return the number that a choice has in `Delta.choice`.

        The first choice has the number 0, even if the server numbers it differently.
        """
        if index == self._first:
            return 0
        return index or self._first or 0

    def _find_completion(self, choices: Sequence[SentChoice], *, complete: bool) -> None:
        """Note whether the first event is a complete answer; if so, its deltas get no `raw`."""
        if not complete and self._last_chunk is None and choices:
            self._is_completion = all(not sent.delta and sent.message is not None for sent in choices)
            if self._is_completion:
                self._raw = None

    def _add_choice(self, choice: Choice, sent: SentChoice, *, complete: bool) -> Piece | None:
        if self.repaired:
            choice.expect_surrogates()
            sent.logprobs = msgspec.json.decode(_encode(repair_texts(sent.logprobs)))  # NaN becomes null
        if sent.finish_reason is not None:
            choice.finish(normalise_finish_reason(sent.finish_reason))
        if sent.logprobs is not None:
            choice.add_logprobs(sent.logprobs)
        delta = sent.delta
        if not delta or complete:
            delta, complete = _read_message(choice, sent), True
        if type(delta) is not dict:
            raise UnknownShape("message" if complete else "delta", delta)
        piece = choice.add(delta, complete=complete) if delta else None
        if isinstance(sent.logprobs, Mapping):
            piece = piece or Piece()
            piece.logprobs = sent.logprobs
        return piece

    def _emit(self, index: int, piece: Piece, deltas: list[Delta], reason: str | None = None) -> None:
        """Append a delta with the content of *piece* and the finish reason *reason*, unless the delta is empty."""
        if reason is not None:
            self._reported[index] = reason
        delta = Delta(
            choice=self._number_choice(index),
            text=piece.text,
            reasoning=piece.reasoning,
            refusal=piece.refusal or None,
            tool_calls=piece.calls,
            logprobs=piece.logprobs,
            finish_reason=reason,
            model=self._model,
            raw=self._raw,
            event_name=self._event_name if self._raw else None,
        )
        if delta.has_content:
            self._raw = None if self._raw is None else b""
            deltas.append(delta)

    def _make_document(self) -> bytes:
        """Return the streamed answer as one completion document."""
        chunk = self._last_chunk or Chunk()
        document = {
            "id": chunk.id,
            "created": chunk.created,
            "model": self._model,
            "service_tier": self._service_tier,
            "system_fingerprint": chunk.system_fingerprint,
            "object": "chat.completion",
            "choices": [self._choices[index].make_document(index) for index in sorted(self._choices)],
            "usage": self._usage,
        }
        return _encode(repair_texts(document) if self.repaired else document)

    def _make_usage(self) -> Usage:
        def list_messages() -> list[Mapping[str, Any]]:
            return [choice.make_message() for choice in self._choices.values()]

        has_content = any(choice.has_content for choice in self._choices.values())
        return make_usage(
            self._usage,
            self._request,
            self._model,
            list_messages,
            has_content=has_content,
            headers=self._headers,
        )


def _join(deltas: list[Delta], event: Delta) -> list[Delta]:
    """Join successive deltas of the same choice. The first delta gets `raw` and `event_name` of *event*."""
    joined = deltas[:1]
    for delta in deltas[1:]:
        before = joined[-1]
        if before.choice != delta.choice or before.finish_reason is not None:
            joined.append(delta)
            continue
        joined[-1] = msgspec.structs.replace(
            delta,
            text=before.text + delta.text,
            reasoning=before.reasoning + delta.reasoning,
            refusal=(before.refusal or "") + (delta.refusal or "") or None,
            tool_calls=before.tool_calls + delta.tool_calls,
            logprobs=before.logprobs,
        )
    joined[0] = msgspec.structs.replace(joined[0], raw=event.raw, event_name=event.event_name)
    return joined


def _get_index(sent: SentChoice, position: int) -> int:
    index = read_index(sent.index)
    return position if index is None else index


def _read_message(choice: Choice, sent: SentChoice) -> Any:
    """Return the part of a choice's message that is new.

    Some servers repeat the whole message at the end of a stream, so the text that has already arrived is removed.
    """
    message = sent.message
    if message is None and sent.text is not None:  # the field `text` of the older completions API
        message = {"content": sent.text}
    if message is None:
        message = sent.delta
    if not message:
        return {}
    if not choice.has_content or type(message) is not dict:
        return message
    content = message.get("content")
    rest = content.removeprefix(choice.text) if isinstance(content, str) else ""
    return {"content": rest} if rest else {}
