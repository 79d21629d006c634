"""The budget of a request: reserve its maximum cost before it is sent, and settle the real cost afterwards.

The ledger records every request that may cost something, whatever its outcome. A request that was not sent costs nothing
and gets no ledger row, except when the backend was unreachable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.calls.steps import Act
from llmcore.errors import (
    BadRequest,
    BudgetError,
    BudgetExceeded,
    ConfigError,
    LLMCoreError,
    PluginError,
    ProviderError,
)
from llmcore.ledger.quote import Quote
from llmcore.pipeline.call import Answer, Call, Proceed, Services
from llmcore.support.ledger_values import Charge, Outcome
from llmcore.support.money import USD, from_nano

if TYPE_CHECKING:
    from llmcore.ledger.reservation import Reservation
    from llmcore.support.sending import Sending

__all__ = ["budget", "check_budget", "is_request"]

_NOTHING: Final = Decimal(0)
_REFUSED: Final = 400
"""Vendors do not bill answers with this HTTP status or a higher one."""
_OURS: Final = (BudgetError, ConfigError, PluginError)
"""Errors that this process raises before it calls a backend."""


def budget(call: Call, services: Services, proceed: Proceed) -> Generator[Any, Any, Answer]:
    """Reserve the maximum cost of the request, proceed, and settle the real cost, whatever the outcome.

    Raises:
        BudgetError: A budget does not allow the maximum cost; nothing was sent.
    """
    if call.backend.entry.offline is None and (creation := call.backend.creation) is not None:
        yield creation  # the quote needs the provider
    charge, quote = call.kind.charge(call), call.kind.quote(call, services)
    spending, started = services.spending(), time.monotonic()
    try:
        reservation = yield from spending.reserve(charge, quote, call.deadline.get_time_left)
    except BudgetExceeded as error:
        if error.unit == USD and error.limit is not None:
            left = error.limit - (error.spent or 0) - (error.reserved or 0)
            error.fix = quote.find_fix(left) or error.fix
        raise
    call.charge, call.quote, call.sending = charge, quote, reservation.sending
    try:
        if call.starts:
            call.sending.headers = services.events.collect_headers(call.starts)
        answer: Answer = yield from proceed()
    except GeneratorExit:  # a closing generator must not yield another step
        outcome = _make_failed_outcome(reservation, quote, services, None)
        spending.settle_now(reservation, _add_times(outcome, call, started))
        raise
    except BaseException as error:
        outcome = _make_failed_outcome(reservation, quote, services, error)
        yield from spending.settle(reservation, _add_times(outcome, call, started))
        raise
    outcome = _make_outcome(reservation, quote, services, answer.outcome)
    yield from spending.settle(reservation, _add_times(outcome, call, started))
    return answer


def check_budget(charge: Charge, quote: Quote, services: Services, left: Callable[[], float]) -> Act[None]:
    """Check the budgets before a call that sends several requests.

    *left* returns the seconds until the deadline of the call.

    Raises:
        BudgetError: The call would exceed a budget, even if all calls in progress cost nothing.
    """
    yield from services.spending().check(charge, quote, left)


def is_request(error: BaseException | None) -> bool:
    """Return whether the call that ended with *error* tried to reach the backend: a request was sent, or could not be delivered.

    A call that was refused earlier (no key, an unknown argument, no budget) is not a failure of the backend.
    """
    if isinstance(error, ProviderError):
        return error.sent or error.retryable
    return not isinstance(error, _OURS)


def _is_unsent(error: BaseException | None, sending: Sending) -> bool:
    """Return whether *error* implies that no byte was sent.

    The host needs this check for providers that do not report when they send the first byte.
    """
    if isinstance(error, BadRequest) and error.status is None and not sending.is_tracked:
        return True
    return isinstance(error, ProviderError) and not error.sent


def _is_refused(error: BaseException | None) -> bool:
    """Return whether *error* shows that the server rejected the request, so that the request costs nothing."""
    if isinstance(error, ProviderError):
        return error.status is not None and error.status >= _REFUSED
    return isinstance(error, LLMCoreError) and not error.answered


def _compute_maximum(reservation: Reservation, quote: Quote, *, exact: bool = True) -> Decimal | None:
    """Return the lowest upper bound of the cost of the request.

    The reservation may have used a higher bound that is faster to compute. If *exact* is False, return the amount that
    was reserved, or compute a fast bound if nothing was reserved.
    """
    reserved = from_nano(reservation.reserved) if reservation.reserved else None
    if reserved is not None and not exact:
        return reserved
    try:
        most = quote.compute_maximum(exact=exact)
    except LLMCoreError:
        return reserved
    return most if reserved is None else min(most, reserved)


def _add_times(outcome: Outcome, call: Call, started: float) -> Outcome:
    """Return *outcome* with the seconds from *started* until now, and until the first content of a stream."""
    first = call.first_at
    return msgspec.structs.replace(
        outcome,
        latency_s=time.monotonic() - started,
        first_token_s=None if first is None else max(first - started, 0.0),
    )


def _make_outcome(reservation: Reservation, quote: Quote, services: Services, outcome: Outcome) -> Outcome:
    if outcome.uncertain:
        outcome = msgspec.structs.replace(outcome, cost=_compute_maximum(reservation, quote))
        services.events.record_lost(outcome.cost)
    return outcome


def _make_failed_outcome(
    reservation: Reservation, quote: Quote, services: Services, error: BaseException | None
) -> Outcome:
    """Return the outcome of a failed request. If the backend may have executed the request, the cost is the maximum."""
    unsent = reservation.sending.withdraw() or _is_unsent(error, reservation.sending)
    if unsent and isinstance(error, ProviderError):
        error.sent = False
    uncertain = not unsent and not _is_refused(error)
    # If *error* is None, the garbage collector may be running this code, in a thread that already holds some lock.
    # So do not call a tokenizer, which may wait for the same lock for ever.
    cost = _compute_maximum(reservation, quote, exact=error is not None) if uncertain else _NOTHING
    if uncertain:
        services.events.record_lost(cost)
    name = type(error).__name__ if isinstance(error, Exception) else "cancelled"
    return Outcome(
        cost=cost,
        uncertain=uncertain,
        requested=is_request(error) and (not unsent or isinstance(error, ProviderError)),
        request_id=getattr(error, "request_id", None),
        characters=reservation.charge.characters if uncertain else 0,
        error=f"{error.code} {name}" if isinstance(error, LLMCoreError) else name,
    )
