"""A whole text, spoken by one provider: its pieces, side by side or one after the other, as one speech."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from llmcore.calls.abreast import abreast
from llmcore.calls.attempts import Deadline
from llmcore.calls.backend import Backend
from llmcore.calls.steps import Act, Step
from llmcore.ledger.hits import Whose
from llmcore.types import CallEvent, Speech
from llmcore.voice.audio.joining import Body, body_of
from llmcore.voice.exchange import House, PieceCall, affordable, exchange, looked_up, sliced
from llmcore.voice.merge import merged, money
from llmcore.voice.request import Ask
from llmcore.voice.settle import given
from llmcore.voice.speaker import calls_of, divided, traits_of

__all__ = ["TextCall", "spoken"]

Speaking: TypeAlias = Generator[Step | bytes, Any, Speech]

_CHAIN: Final = 3
"""So many of the requests before are named to a provider that stitches."""


class TextCall(msgspec.Struct, kw_only=True):
    """One text for one provider, and how far it has come."""

    backend: Backend
    ask: Ask
    voice: str | None
    settings: dict[str, Any]
    deadline: Deadline
    streaming: bool = False
    timed: bool = False
    begun: bool = False
    """Whether the consumer has been given a byte: from then on no other provider takes over."""
    pieces: list[PieceCall] = msgspec.field(default_factory=list)
    found: list[Speech | None] = msgspec.field(default_factory=list)
    """What there is of each piece."""

    def begin(self) -> None:
        """Note that a byte is given."""
        self.begun = True

    def has(self, at: int, speech: Speech) -> None:
        """Note what the piece *at* came to, and tell the caller how many characters are done of how many."""
        self.found[at] = speech
        self.tell()

    def tell(self) -> None:
        """Tell the caller how far it is."""
        if self.ask.progress is not None:
            sizes = [len(piece.text) for piece in self.pieces]
            done = sum(size for size, speech in zip(sizes, self.found, strict=True) if speech is not None)
            self.ask.progress(done, sum(sizes))


def spoken(text: TextCall, house: House) -> Speaking:
    """Speak *text*; a streaming one emits its bytes on the way. Whoever is told of calls hears of it, whatever comes."""
    started = time.monotonic()
    error: str | None = None
    speech: Speech | None = None
    try:
        traits = yield from traits_of(text.backend, text.voice, text.settings)
        pieces = divided(text.ask.text, traits, by_sentence=bool(text.ask.cache))
        like = PieceCall(
            backend=text.backend,
            text="",
            voice=text.voice,
            settings=text.settings,
            traits=traits,
            deadline=text.deadline,
            reads=text.ask.cache != "refresh",
            streaming=text.streaming,
            timed=text.timed,
            user=text.ask.user,
            tags=_tags(text),
            group=os.urandom(8).hex(),
        )
        text.pieces = calls_of(pieces, like, house.namespace, cache=bool(text.ask.cache))
        for call in text.pieces:
            kept = yield from looked_up(call, house)
            text.found.append(None if kept is None else given(kept))
        missing = {
            text.pieces[at].key or at: text.pieces[at] for at, kept in enumerate(text.found) if kept is None
        }
        if len(missing) > 1:
            yield from affordable(list(missing.values()), house)
        yield from _streamed(text, house) if text.streaming else _whole(text, house)
        speech = merged(pieces, [each for each in text.found if each is not None])
    except BaseException as failure:
        error = type(failure).__name__
        raise
    finally:
        _tell(text, house, _event(text, speech, error, time.monotonic() - started), speech)
    return speech


def _tell(text: TextCall, house: House, event: CallEvent, speech: Speech | None) -> None:
    if speech is None or not speech.cached:
        house.told.hear(event)
        return
    whose = Whose("voice", text.backend.name, speech.model, text.ask.user, _tags(text))
    house.told.hit(whose, speech.saved, lambda: event)


def _tags(text: TextCall) -> tuple[str, ...]:
    tags: str | Sequence[str] = text.ask.tags
    return (tags,) if isinstance(tags, str) else tuple(tags)


def _whole(text: TextCall, house: House) -> Generator[Any, Any, None]:
    """Fill in the pieces that were not found, each that is said several times once."""
    text.tell()
    missing = [at for at, speech in enumerate(text.found) if speech is None]
    first: dict[object, int] = {}
    for at in missing:
        first.setdefault(text.pieces[at].key or at, at)
    traits = text.pieces[0].traits
    width = 1 if traits is None else traits.concurrency
    if width > 1 and len(first) > 1:
        yield abreast([_work(text, at, house) for at in first.values()], width)
    else:
        for at in first.values():
            _chain(text, at)
            text.has(at, (yield from exchange(text.pieces[at], house)))
    for at in missing:
        said = text.found[first[text.pieces[at].key or at]]
        if text.found[at] is None and said is not None:
            text.has(at, given(said))


def _work(text: TextCall, at: int, house: House) -> Callable[[], Act[None]]:
    def work() -> Generator[Any, Any, None]:
        text.has(at, (yield from exchange(text.pieces[at], house)))

    return work


def _streamed(text: TextCall, house: House) -> Generator[Any, Any, None]:
    """Emit the bytes of each piece in turn, as parts of one file."""
    alone = len(text.pieces) == 1
    said: dict[str, Speech] = {}
    for at, call in enumerate(text.pieces):
        kept = text.found[at] or said.get(call.key or "")
        kind = kept.format if kept is not None else "wav" if call.traits is None else call.traits.format
        body = Body() if alone else body_of(kind, first=at == 0)
        if kept is None:
            _chain(text, at)
            speech: Speech = yield from _through(body, exchange(call, house), text.begin)
        else:
            speech = given(kept) if text.found[at] is None else kept
            yield from _through(body, sliced(kept.audio), text.begin)
        rest = body.end()
        if rest:
            yield rest
        if call.key is not None:
            said[call.key] = speech
        text.has(at, speech)


def _through(
    body: Body, work: Generator[Any, Any, Any], begin: Callable[[], None]
) -> Generator[Any, Any, Any]:
    """Do *work*, with the bytes that it emits passed through *body*; call *begin* before the first that go on."""
    value: Any = None
    failure: BaseException | None = None
    try:
        while True:
            item = work.send(value) if failure is None else work.throw(failure)
            value = failure = None
            try:
                if type(item) is Step:
                    value = yield item
                elif data := body.feed(item):
                    begin()
                    yield data
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the work decides
                failure = error
    except StopIteration as stop:
        return stop.value
    finally:
        failure = None  # else the frame and the traceback would keep each other alive


def _chain(text: TextCall, at: int) -> None:
    """Tell a provider that stitches which requests of this very call it spoke before: older ones it has forgotten."""
    call = text.pieces[at]
    if call.traits is None or not call.traits.stitches:
        return
    ids: list[str] = []
    for speech in reversed(text.found[:at]):
        if speech is None or speech.cached or not speech.request_id or len(ids) == _CHAIN:
            break
        ids.insert(0, speech.request_id)
    if ids:
        call.around["previous_request_ids"] = ids


def _event(text: TextCall, speech: Speech | None, error: str | None, latency_s: float) -> CallEvent:
    """Return what is told of the call. One that failed may have paid for pieces, which the cache has now."""
    there = [each for each in text.found if each is not None]
    return CallEvent(
        kind="voice",
        provider=text.backend.name,
        model="" if speech is None else speech.model,
        characters=sum(each.billed_characters for each in there),
        cost=money(each.cost for each in there) if speech is None else speech.cost,
        cached=speech is not None and speech.cached,
        latency_s=latency_s,
        attempts=sum(piece.attempts for piece in text.pieces),
        user=text.ask.user,
        tags=_tags(text),
        error=error,
    )
