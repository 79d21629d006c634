"""Speech as a kind of request of the pipeline. A request is one piece of a text."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

import msgspec

from llmcore.calls.steps import Act
from llmcore.errors import ProviderError
from llmcore.ledger.prices import find_price
from llmcore.pipeline import Answer, CachedAnswer, Services, carry_out
from llmcore.pipeline.budget import check_budget
from llmcore.pipeline.cache import look_up
from llmcore.support.ledger_values import Charge, Outcome
from llmcore.types import Speech
from llmcore.voice.attempt import attempt, split_bytes
from llmcore.voice.call import SpeechCall
from llmcore.voice.failures import complete_provider_error
from llmcore.voice.quote import SpeechQuote
from llmcore.voice.result import complete_speech, mark_cached
from llmcore.voice.speech_entry import pack, unpack

__all__ = ["SPEECH", "SpeechKind", "check_budget_of", "find_kept"]


class SpeechKind:
    """Implements `llmcore.pipeline.RequestKind`.

    Observers receive one event for a text: see `voice/text_call.py`.
    """

    name = "voice"
    late_expected = (
        "speech before the deadline (timeout=, or deadline in [retry]); finished pieces stay in the cache"
    )
    late_fix = "synthesize(..., timeout=seconds)"

    def run(self, call: SpeechCall, services: Services) -> Generator[Any, Any, Speech]:
        """See `RequestKind.run`. Skip the stage `look_up`, because `speak` has already looked up all pieces."""
        return carry_out(call, services, after=look_up)

    def decode(self, call: SpeechCall, data: bytes) -> Speech | None:
        """See `RequestKind.decode`."""
        return unpack(call.key or "", data)

    def make_entries(self, call: SpeechCall, result: Speech, due: float) -> Iterable[CachedAnswer]:  # noqa: ARG002 - speech is not refreshed
        """See `RequestKind.make_entries`."""
        key = call.key or ""
        return (CachedAnswer(key, pack(key, result)),)

    def get_refresh_time(self, call: SpeechCall, data: bytes) -> float:  # noqa: ARG002 - speech is not refreshed
        """See `RequestKind.get_refresh_time`."""
        return 0.0

    def is_cacheable(self, call: SpeechCall, result: Speech) -> bool:  # noqa: ARG002 - all complete speech is cacheable
        """See `RequestKind.is_cacheable`."""
        return True

    def mark_cached(self, call: SpeechCall, services: Services, result: Speech) -> Speech:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.mark_cached`."""
        return mark_cached(result)

    def make_pieces(self, call: SpeechCall, result: Speech) -> Iterable[bytes]:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.make_pieces`."""
        return split_bytes(result.audio)

    def charge(self, call: SpeechCall) -> Charge:
        """See `RequestKind.charge`."""
        return _charge(call, len(call.text))

    def quote(self, call: SpeechCall, services: Services) -> SpeechQuote:
        """See `RequestKind.quote`."""
        return SpeechQuote(call, services.prices, len(call.text))

    def estimate_tokens(self, call: SpeechCall) -> int:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.estimate_tokens`."""
        return 0

    def make_attempt(self, call: SpeechCall, services: Services) -> Generator[Any, Any, Answer]:
        """See `RequestKind.make_attempt`."""
        return attempt(call, services)

    def settle(self, call: SpeechCall, services: Services, result: Speech) -> tuple[Speech, Outcome]:
        """See `RequestKind.settle`.

        Raises:
            NotAudio: The audio is not playable to its end.
        """
        speech = complete_speech(result, call, services.prices)
        own = find_price(services.prices, speech.provider, speech.model) is not None
        return speech, Outcome(
            cost=speech.cost,
            cost_source=None if speech.cost is None else "config" if own else "provider",
            characters=speech.billed_characters,
            model=speech.model,
            request_id=speech.request_id,
        )

    def begin(self, call: SpeechCall, services: Services) -> None:
        """Do nothing: `voice/text_call.py` reports a text once, not each piece."""

    def finish(self, call: SpeechCall, services: Services, result: Speech) -> Speech:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.finish`."""
        return result

    def fail(self, call: SpeechCall, services: Services, error: BaseException) -> None:
        """Do nothing: `voice/text_call.py` reports a text once, not each piece."""

    def explain(self, call: SpeechCall, error: ProviderError) -> None:
        """See `RequestKind.explain`."""
        complete_provider_error(call, error)


SPEECH: Final = SpeechKind()


def find_kept(call: SpeechCall, services: Services) -> Act[Speech | None]:
    """Return the piece from the cache; None on a miss."""
    if call.key is None or not call.reads:
        return None
    data = services.cache.get_from_memory(call.key)
    if data is not None:
        services.cache.stats.record_hit()
    else:
        data = yield from services.cache.lookup(call.key)
    found = None if data is None else unpack(call.key, data)
    return found if found is not None else (yield from _find_timed(call, services))


def _find_timed(call: SpeechCall, services: Services) -> Act[Speech | None]:
    """Look for the piece in the cache entry of a call with timestamps. Return it without timestamps; None on a miss.

    Call this function after the look-up of `call.key` has missed. The two look-ups count as one in the statistics.
    """
    key = call.timed_key
    if key is None or call.backend.find_ability("synthesize_with_timestamps") is None:
        return None
    data = services.cache.get_from_memory(key)
    if data is None:
        data = yield from services.cache.read(key)
    speech = None if data is None else unpack(key, data)
    return None if speech is None else msgspec.structs.replace(speech, alignment=())


def check_budget_of(calls: Sequence[SpeechCall], services: Services) -> Act[None]:
    """Check the budgets for all *calls* together.

    If each call were checked separately, a budget could refuse the text after half of it has been paid for.

    Raises:
        BudgetError: A budget does not allow the calls.
    """
    characters = sum(len(call.text) for call in calls)
    quote = SpeechQuote(calls[0], services.prices, characters)
    yield from check_budget(_charge(calls[0], characters), quote, services, calls[0].deadline.get_time_left)


def _charge(call: SpeechCall, characters: int) -> Charge:
    return Charge(
        kind=SPEECH.name,
        provider=call.backend.name,
        model="" if call.traits is None else call.traits.model,
        call=call.group,
        attempt=call.attempts,
        user=call.user,
        tags=call.tags,
        characters=characters,
    )
