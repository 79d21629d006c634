"""One request to a backend, of whatever kind: reserve what it can cost, wait for its turn, send, settle.

Every request that may cost something goes this way, and every one is booked, however it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from llmcore.calls.limits import Limits
from llmcore.calls.steps import Act
from llmcore.errors import LLMCoreError, ProviderError
from llmcore.ledger.charge import Charge, Outcome, Quote
from llmcore.ledger.money import usd
from llmcore.ledger.told import Told

if TYPE_CHECKING:
    from llmcore.ledger.book import Hold
    from llmcore.ledger.spending import Spending

__all__ = ["Paying"]

T = TypeVar("T")

_NOTHING: Final = Decimal(0)
_REFUSED: Final = 400
"""An answer of this status or above says that nothing was done, and is not billed."""


class Paying(msgspec.Struct, frozen=True, kw_only=True):
    """What all requests of one Core go through."""

    limits: Limits
    spending: Callable[[], Spending]
    """Opened when a request is about to be sent, since a cached answer needs no database."""
    told: Told

    def paid(
        self,
        charge: Charge,
        quote: Quote,
        send: Callable[[], Generator[Any, Any, tuple[T, Outcome]]],
        *,
        tokens: int,
        left: Callable[[], float],
    ) -> Generator[Any, Any, T]:
        """Carry out *send* and return what it came to; what it yields besides steps is passed on.

        Args:
            charge: Who asks whom.
            quote: The most that it can cost.
            send: Makes the request; returns the answer, and what it cost.
            tokens: About how many the backend will count against a rate; the outcome's usage corrects it.
            left: Seconds until the deadline.

        Raises:
            BudgetError: It may not be paid; nothing was sent.
            RateLimited: Its turn would come too late; nothing was sent.
        """
        spending, started = self.spending(), time.monotonic()
        hold = yield from spending.reserve(charge, quote, left)
        sent = False
        try:
            turn = yield from self.limits.turn(charge.provider, charge.model, tokens, left)
            used: int | None = None
            try:
                sent = True
                answer, outcome = yield from send()
                used = outcome.usage.total_tokens or None
            finally:
                self.limits.done(turn, used)
        except GeneratorExit:  # which allows no further step
            spending.settle_now(hold, self._failed(hold, quote, None, started, sent=sent))
            raise
        except BaseException as error:
            yield from spending.settle(hold, self._failed(hold, quote, error, started, sent=sent))
            raise
        yield from spending.settle(hold, self._done(hold, quote, outcome, started))
        return answer

    def checked(self, charge: Charge, quote: Quote) -> Act[None]:
        """Check beforehand that the budgets leave room for what a call will send in several requests.

        Raises:
            BudgetError: They do not, whatever becomes of calls under way.
        """
        yield from self.spending().check(charge, quote)

    def _done(self, hold: Hold, quote: Quote, outcome: Outcome, started: float) -> Outcome:
        outcome = msgspec.structs.replace(outcome, latency_s=time.monotonic() - started)
        if outcome.uncertain:
            outcome = msgspec.structs.replace(outcome, cost=_most(hold, quote))
            self.told.lost(outcome.cost)
        return outcome

    def _failed(
        self, hold: Hold, quote: Quote, error: BaseException | None, started: float, *, sent: bool
    ) -> Outcome:
        """Return what to book for a request without an answer: where nobody told what was done, the most it can cost."""
        uncertain = sent and not _was_refused(error)
        cost = _most(hold, quote) if uncertain else _NOTHING
        if uncertain:
            self.told.lost(cost)
        name = type(error).__name__ if isinstance(error, Exception) else "cancelled"
        return Outcome(
            cost=cost,
            uncertain=uncertain,
            request_id=getattr(error, "request_id", None),
            latency_s=time.monotonic() - started,
            characters=hold.charge.characters if uncertain else 0,
            error=f"{error.code} {name}" if isinstance(error, LLMCoreError) else name,
        )


def _was_refused(error: BaseException | None) -> bool:
    """Return whether *error* says that the request was not carried out, so that it costs nothing."""
    if isinstance(error, ProviderError):
        return not error.sent or (error.status is not None and error.status >= _REFUSED)
    return isinstance(error, LLMCoreError) and not error.answered


def _most(hold: Hold, quote: Quote) -> Decimal | None:
    if hold.reserved:
        return usd(hold.reserved)
    try:
        return quote.most(exact=False)
    except LLMCoreError:
        return None
