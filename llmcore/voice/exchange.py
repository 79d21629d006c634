"""The life of one piece of a text, from the key to the audio: decides everything and waits for nothing itself."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from llmcore.cache.lease import Leases
from llmcore.cache.store import CacheStore
from llmcore.calls.asking import asked, within
from llmcore.calls.attempts import Deadline, RetryPolicy, Shared, attempts
from llmcore.calls.backend import Backend
from llmcore.calls.bridges import END
from llmcore.calls.flight import Flights, Landed
from llmcore.calls.steps import Act, Step
from llmcore.contracts.voice_signs import looked_at
from llmcore.errors import ProviderError, Timeout
from llmcore.ledger.charge import Charge, Outcome
from llmcore.ledger.paying import Paying
from llmcore.ledger.prices import PriceLike
from llmcore.ledger.told import Told
from llmcore.types import Speech, VoiceTraits
from llmcore.voice.audio.check import plausible
from llmcore.voice.entry import pack, unpack
from llmcore.voice.settle import SpeechQuote, given, refused, settled

__all__ = ["House", "PieceCall", "affordable", "exchange", "looked_up", "sliced"]

Exchange: TypeAlias = Generator[Step | bytes, Any, Speech]

_SLICE: Final = 64 * 1024


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What all calls of one Core share."""

    cache: CacheStore
    flights: Flights
    leases: Leases
    policy: RetryPolicy
    prices: Mapping[str, PriceLike]
    paying: Paying
    told: Told
    namespace: str


class PieceCall(msgspec.Struct, kw_only=True):
    """One piece of a text, for one provider, and how far it has come."""

    backend: Backend
    text: str
    voice: str | None
    settings: Mapping[str, Any]
    traits: VoiceTraits | None
    deadline: Deadline
    key: str | None = None
    """None for a piece that the cache has no part in."""
    timed_key: str | None = None
    """Under which the same audio stands where it was spoken with timestamps; None for a call that asks for them."""
    reads: bool = True
    """False to speak afresh and keep the audio."""
    streaming: bool = False
    timed: bool = False
    """Whether the audio comes with timestamps."""
    around: dict[str, Any] = msgspec.field(default_factory=dict)
    """What is said before and after, for a provider that stitches."""
    user: str | None = None
    tags: tuple[str, ...] = ()
    group: str = ""
    """In the ledger: shared by the pieces of one text."""
    attempts: int = 0
    begun: bool = False
    """Whether the consumer has been given a byte: from then on nothing is tried again."""

    def begin(self) -> None:
        """Note that a byte is given."""
        self.begun = True

    @property
    def streams(self) -> bool:
        """Whether the audio is passed on as it comes; of an unknown format nobody could tell whether it is audio."""
        return (
            self.streaming and self.traits is not None and self.backend.ability("stream_speech") is not None
        )


def looked_up(call: PieceCall, house: House) -> Act[Speech | None]:
    """Return the piece as the cache has it, else None."""
    if call.key is None or not call.reads:
        return None
    data = house.cache.near(call.key)
    if data is not None:
        house.cache.stats.hit()
    else:
        data = yield from house.cache.lookup(call.key)
    found = None if data is None else unpack(call.key, data)
    return found if found is not None else (yield from _spoken_with_times(call, house))


def _spoken_with_times(call: PieceCall, house: House) -> Act[Speech | None]:
    """Return the piece as it was spoken for a call that wanted timestamps too, of which this one wants none.

    Looked for by those whose own entry is missing, where the provider tells times at all; as one look-up, it counts once.
    """
    key = call.timed_key
    if key is None or call.backend.ability("synthesize_with_timestamps") is None:
        return None
    data = house.cache.near(key)
    if data is None:
        data = yield from house.cache.look(key)
    speech = None if data is None else unpack(key, data)
    return None if speech is None else msgspec.structs.replace(speech, alignment=())


def affordable(calls: Sequence[PieceCall], house: House) -> Act[None]:
    """Check that the budgets leave room for all of *calls*: a text is not refused when half of it is paid for.

    Raises:
        BudgetError: They do not.
    """
    characters = sum(len(call.text) for call in calls)
    quote = SpeechQuote(calls[0], house.prices, characters)
    yield from house.paying.checked(_charge(calls[0], characters), quote)


def exchange(call: PieceCall, house: House) -> Exchange:
    """Have *call* spoken, of which the cache has nothing; a streaming one emits its bytes on the way.

    The result is `cached` where somebody else asked for it at the same time.
    """
    if call.key is None:
        return (yield from _asked(call, house))
    landed = yield from _together(call, call.key, house)
    speech: Speech = landed.value
    if call.streaming and not landed.pieces:
        yield from sliced(speech.audio)
    return speech if call.attempts else given(speech)


def sliced(audio: bytes) -> Generator[bytes, Any, None]:
    """Yield *audio* in pieces of a size that a pipe or a socket takes."""
    for at in range(0, len(audio), _SLICE):
        yield audio[at : at + _SLICE]


def _together(call: PieceCall, key: str, house: House) -> Generator[Any, Any, Landed]:
    """Ask once for all who ask the same now, for as long as the most patient of them can wait."""
    own, flight = call.deadline, key if call.reads else key + " refresh"
    call.deadline = Shared(lambda: house.flights.left(flight))
    return (
        yield from house.flights.together(
            flight,
            lambda: _asked(call, house),
            emit=call.begin if call.streaming else None,
            left=own.left,
        )
    )


def _asked(call: PieceCall, house: House) -> Exchange:
    """Ask the backend, unless another process is asking the same; check and keep its audio."""
    key = call.key
    try:
        if key is not None and call.reads:
            data = yield from house.leases.lead(key, call.deadline.left)
            found = None if data is None else unpack(key, data)
            if found is not None:
                return found
        speech = yield from attempts(
            lambda: _paid(call, house), house.policy, call.deadline, again=lambda _: not call.begun
        )
        if key is not None:
            yield from house.cache.keep(key, pack(key, speech))
    except GeneratorExit:  # which allows no further step
        house.leases.forgo(key)
        raise
    except BaseException:
        yield from house.leases.give_back(key)
        raise
    yield from house.leases.give_back(key)
    if call.streaming and not call.streams:
        yield from sliced(speech.audio)
    return speech


def _paid(call: PieceCall, house: House) -> Generator[Any, Any, Speech]:
    """Make one request to the backend, paid for and booked: the only place that does."""
    call.attempts += 1
    charge = _charge(call, len(call.text))

    def send() -> Generator[Any, Any, tuple[Speech, Outcome]]:
        speech = settled((yield from _sent(call, house)), call, house.prices)
        outcome = Outcome(
            cost=speech.cost,
            characters=speech.billed_characters,
            model=speech.model,
            request_id=speech.request_id,
        )
        return speech, outcome

    quote = SpeechQuote(call, house.prices, charge.characters)
    return (yield from house.paying.paid(charge, quote, send, tokens=0, left=call.deadline.left))


def _charge(call: PieceCall, characters: int) -> Charge:
    return Charge(
        kind="voice",
        provider=call.backend.name,
        model="" if call.traits is None else call.traits.model,
        call=call.group,
        attempt=call.attempts,
        user=call.user,
        tags=call.tags,
        characters=characters,
    )


def _sent(call: PieceCall, house: House) -> Generator[Any, Any, Speech]:
    left = _left(call, sent=False)
    settings = {**call.settings, **call.around}
    traits = call.traits
    if traits is not None:
        settings |= {"timeout_s": left, "idle_s": house.policy.idle_s}
        if call.streams:
            return (yield from _streamed(call, traits, settings, house.policy.idle_s))
    method = call.backend.must("synthesize_with_timestamps" if call.timed else "synthesize")
    speech = yield from asked(call.backend, within(method(call.text, call.voice, **settings), left))
    if isinstance(speech, Speech):
        return speech
    raise _misfit(call, f"answered with a {type(speech).__name__}", "a llmcore.types.Speech")


def _streamed(
    call: PieceCall, traits: VoiceTraits, settings: Mapping[str, Any], idle_s: float
) -> Generator[Any, Any, Speech]:
    """Emit the bytes as they come, from the moment when their beginning shows that they are audio."""
    source = call.backend.source("stream_speech", call.text, call.voice, **settings)
    pieces: list[bytes] = []
    held = b""
    try:
        while True:
            piece = yield from asked(call.backend, within(source.next, min(_left(call, sent=True), idle_s)))
            if piece is END:
                break
            pieces.append(_bytes(call, piece))
            held += piece
            if held and (call.begun or looked_at(held, traits.format)):
                _looked_at(call, held, traits)
                given, held = held, b""
                yield given
        if held:
            _looked_at(call, held, traits)
            yield held
    except BaseException as error:
        if not isinstance(error, GeneratorExit):  # which allows no further step
            with contextlib.suppress(Exception):  # the first error is the one to tell
                yield source.close
        raise
    return Speech(audio=b"".join(pieces), format=traits.format, sample_rate_hz=traits.sample_rate_hz)


def _bytes(call: PieceCall, piece: object) -> bytes:
    if type(piece) is bytes:
        return piece
    raise _misfit(call, f"streamed a {type(piece).__name__}", "bytes")


def _looked_at(call: PieceCall, held: bytes, traits: VoiceTraits) -> None:
    """Refuse a beginning that is no audio, before a byte of it is given."""
    if not call.begun:
        refused(call, lambda: plausible(held, traits.format))
        call.begin()


def _misfit(call: PieceCall, what: str, expected: str) -> ProviderError:
    name = call.backend.name
    return ProviderError(
        f"the voice provider `{name}` {what}",
        provider=name,
        expected=expected,
        fix=f"llmcore plugins check {name}",
    )


def _left(call: PieceCall, *, sent: bool) -> float:
    """Return the seconds until the deadline.

    Raises:
        Timeout: There are none.
    """
    left = call.deadline.left()
    if left > 0:
        return left
    raise Timeout(
        "the deadline of the call has passed",
        provider=call.backend.name,
        sent=sent,
        expected="speech within the deadline of [retry], or timeout=; what is spoken by then stays in the cache",
        fix="synthesize(..., timeout=seconds)",
    )
