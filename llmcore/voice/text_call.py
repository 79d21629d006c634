"""Speak a whole text with one provider: request the pieces and merge their speeches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from llmcore.calls.arguments import parse_seconds
from llmcore.calls.backend import Backend
from llmcore.calls.deadline import Deadline
from llmcore.calls.gather import gather
from llmcore.calls.pieces import convert_pieces
from llmcore.calls.steps import Act, Step
from llmcore.errors import VoiceNotFound
from llmcore.ledger.events import Starts
from llmcore.ledger.hits import HitKey
from llmcore.pipeline import Services
from llmcore.pipeline.budget import is_request
from llmcore.types import CallEvent, CallStart, Speech
from llmcore.voice.attempt import split_bytes
from llmcore.voice.audio.concatenation import Body, make_body
from llmcore.voice.call import SpeechCall
from llmcore.voice.failures import complete_unknown_voice
from llmcore.voice.kind import SPEECH, check_budget_of, find_kept
from llmcore.voice.merge import merge_speeches, sum_costs
from llmcore.voice.pieces import DividedText, divide_text, get_traits, make_calls
from llmcore.voice.request import Ask
from llmcore.voice.result import mark_cached

__all__ = ["TextCall", "divide", "speak"]

Speaking: TypeAlias = Generator[Step | bytes, Any, Speech]

_CHAIN: Final = 3
"""The maximum number of previous request ids in a request to a provider that stitches pieces together."""


class TextCall(msgspec.Struct, kw_only=True):
    """A text for one provider, and its state."""

    backend: Backend
    ask: Ask
    voice: str | None
    settings: dict[str, Any]
    deadline: Deadline
    namespace: str = ""
    """The namespace of the cache keys."""
    streaming: bool = False
    timed: bool = False
    has_begun: bool = False
    """True if the consumer has received a byte. After the first byte, llmcore tries no fallback provider."""
    first_at: float | None = None
    """The time at which the consumer received the first byte, by the monotonic clock."""
    pieces: list[SpeechCall] = msgspec.field(default_factory=list)
    speeches: list[Speech | None] = msgspec.field(default_factory=list)
    """The speech of each piece; None while it is missing."""

    def mark_begun(self) -> None:
        """Record that the consumer receives a byte."""
        if not self.has_begun:
            self.has_begun, self.first_at = True, time.monotonic()

    def set_piece(self, at: int, speech: Speech) -> None:
        """Store the speech of the piece with the index *at*, and report the progress."""
        self.speeches[at] = speech
        self.report_progress()

    def report_progress(self) -> None:
        """Call the caller's `progress` with the number of finished characters and of all characters."""
        if self.ask.progress is not None:
            sizes = [len(piece.text) for piece in self.pieces]
            done = sum(size for size, speech in zip(sizes, self.speeches, strict=True) if speech is not None)
            self.ask.progress(done, sum(sizes))


def speak(text: TextCall, services: Services) -> Speaking:
    """Speak *text* and return the speech. A streaming call also emits its bytes.

    The observers receive one event when the call ends, even if it fails.
    """
    started, group = time.monotonic(), os.urandom(8).hex()
    start = CallStart(
        kind="voice",
        provider=text.backend.name,
        model=text.ask.model or "",
        started_at=time.time(),
        call=group,
        stream=text.streaming,
        user=text.ask.user,
        tags=_get_tags(text),
    )
    starts = services.events.record_start(lambda: start)
    error: str | None = None
    asked = True
    speech: Speech | None = None
    try:
        pieces = yield from divide(text, group, starts)
        for call in text.pieces:
            kept = yield from find_kept(call, services)
            text.speeches.append(None if kept is None else mark_cached(kept))
        missing = {
            text.pieces[at].key or at: text.pieces[at]
            for at, kept in enumerate(text.speeches)
            if kept is None
        }
        if len(missing) > 1:
            yield from check_budget_of(list(missing.values()), services)
        yield from _stream(text, services) if text.streaming else _speak_missing(text, services)
        speech = merge_speeches(pieces, [each for each in text.speeches if each is not None])
    except BaseException as failure:
        if isinstance(failure, VoiceNotFound):
            complete_unknown_voice(failure, text.backend, text.voice)
        error, asked = type(failure).__name__, is_request(failure)
        raise
    finally:
        event = _make_event(text, speech, error, start, started)
        if speech is None or not speech.cached:
            services.events.record_call(event, asked=asked, starts=starts)
        else:
            key = HitKey("voice", start.provider, speech.model, start.user, start.tags)
            services.events.record_hit(key, speech.saved, lambda: event, starts)
    return speech


def divide(text: TextCall, group: str = "", starts: Starts = ()) -> Act[DividedText]:
    """Divide *text* into pieces, and make the calls of the pieces."""
    traits = yield from get_traits(text.backend, text.voice, text.settings)
    pieces = divide_text(text.ask.text, traits, by_sentence=bool(text.ask.cache))
    template = SpeechCall(
        kind=SPEECH,
        backend=text.backend,
        text="",
        voice=text.voice,
        settings=text.settings,
        traits=traits,
        deadline=text.deadline,
        reads=text.ask.cache != "refresh",
        streaming=text.streaming,
        timed=text.timed,
        timeout_s=None if text.ask.timeout is None else parse_seconds(text.ask.timeout, "timeout"),
        user=text.ask.user,
        tags=_get_tags(text),
        group=group,
        starts=starts,
    )
    text.pieces = make_calls(pieces, template, text.namespace, cache=bool(text.ask.cache))
    return pieces


def _get_tags(text: TextCall) -> tuple[str, ...]:
    tags: str | Sequence[str] = text.ask.tags
    return (tags,) if isinstance(tags, str) else tuple(tags)


def _speak_missing(text: TextCall, services: Services) -> Generator[Any, Any, None]:
    """Request the missing pieces. A repeated piece is requested only once."""
    text.report_progress()
    missing = [at for at, speech in enumerate(text.speeches) if speech is None]
    first: dict[object, int] = {}
    for at in missing:
        first.setdefault(text.pieces[at].key or at, at)
    traits = text.pieces[0].traits
    width = 1 if traits is None else traits.concurrency
    if width > 1 and len(first) > 1:
        yield gather([_make_task(text, at, services) for at in first.values()], width)
    else:
        for at in first.values():
            _link_requests(text, at)
            text.set_piece(at, (yield from SPEECH.run(text.pieces[at], services)))
    for at in missing:
        repeated = text.speeches[first[text.pieces[at].key or at]]
        if text.speeches[at] is None and repeated is not None:
            text.set_piece(at, mark_cached(repeated))


def _make_task(text: TextCall, at: int, services: Services) -> Callable[[], Act[None]]:
    def work() -> Generator[Any, Any, None]:
        text.set_piece(at, (yield from SPEECH.run(text.pieces[at], services)))

    return work


def _stream(text: TextCall, services: Services) -> Generator[Any, Any, None]:
    """Emit the bytes of each piece in turn, as parts of one file."""
    alone = len(text.pieces) == 1
    by_key: dict[str, Speech] = {}
    for at, call in enumerate(text.pieces):
        kept = text.speeches[at] or by_key.get(call.key or "")
        kind = kept.format if kept is not None else "wav" if call.traits is None else call.traits.format
        body = Body() if alone else make_body(kind, first=at == 0)
        if kept is None:
            _link_requests(text, at)
            speech: Speech = yield from convert_pieces(SPEECH.run(call, services), partial(_emit, text, body))
        else:
            speech = mark_cached(kept) if text.speeches[at] is None else kept
            yield from convert_pieces(split_bytes(kept.audio), partial(_emit, text, body))
        rest = body.end()
        if rest:
            yield rest
        if call.key is not None:
            by_key[call.key] = speech
        text.set_piece(at, speech)


def _emit(text: TextCall, body: Body, piece: bytes) -> Iterator[bytes]:
    """Pass *piece* through the filter *body*, and yield the resulting bytes."""
    if data := body.feed(piece):
        text.mark_begun()
        yield data


def _link_requests(text: TextCall, at: int) -> None:
    """Add the ids of this call's previous requests, for a provider that stitches pieces together.

    At most `_CHAIN` ids are sent, those of the latest requests, because the provider forgets older ones.
    """
    call = text.pieces[at]
    if call.traits is None or not call.traits.stitches:
        return
    ids: list[str] = []
    for speech in reversed(text.speeches[:at]):
        if speech is None or speech.cached or not speech.request_id or len(ids) == _CHAIN:
            break
        ids.insert(0, speech.request_id)
    if ids:
        call.context["previous_request_ids"] = ids


def _make_event(
    text: TextCall, speech: Speech | None, error: str | None, start: CallStart, started: float
) -> CallEvent:
    """Return the event for the observers.

    The event of a failed call includes the cost of its finished pieces.
    """
    finished = [each for each in text.speeches if each is not None]
    return CallEvent(
        kind="voice",
        provider=text.backend.name,
        model="" if speech is None else speech.model,
        characters=sum(each.billed_characters for each in finished),
        cost=sum_costs(each.cost for each in finished) if speech is None else speech.cost,
        cached=speech is not None and speech.cached,
        latency_s=time.monotonic() - started,
        attempts=sum(piece.attempts for piece in text.pieces),
        call=start.call,
        user=start.user,
        tags=start.tags,
        error=error,
        started_at=start.started_at,
        request_id=None if speech is None else speech.request_id,
        first_token_s=None if text.first_at is None else text.first_at - started,
        stream=text.streaming,
    )
