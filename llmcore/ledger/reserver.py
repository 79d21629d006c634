"""Reserve the maximum cost of a request.

A bound that is cheap to compute is tried first. If a budget is full of reservations, wait for other calls to release them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

from llmcore.calls.steps import Act, Expired, Step, sleep
from llmcore.errors import BudgetError
from llmcore.ledger.limits import BudgetLimits
from llmcore.ledger.lock_timeouts import LOCK_TIMEOUT_S, get_seconds_left, limit_timeout
from llmcore.ledger.operations import Operations
from llmcore.ledger.quote import Quote
from llmcore.ledger.refusals import make_exceeded_error, set_place
from llmcore.ledger.reservation import Reservation
from llmcore.support.ledger_owners import make_key
from llmcore.support.ledger_values import (
    Amount,
    Charge,
    Counter,
    Limit,
    Refusal,
    ReserveRequest,
    find_refusal,
)
from llmcore.support.money import USD, to_nano

__all__ = ["Reserver"]

_MAX_WAIT_S: Final = 10.0
"""Maximum seconds to wait for other calls to release reservations.

Without a maximum, a caller that itself holds the reservation would wait for ever.
"""
_FIRST_PAUSE_S: Final = 0.01
_MAX_PAUSE_S: Final = 0.2
_SWEEP_S: Final = 1.0
"""Seconds between two checks for dead processes while a call waits."""
_SWEEP_TIMEOUT_S: Final = 10.0


class Reserver:
    """Opens the rows of requests, and checks budgets beforehand."""

    def __init__(self, operations: Operations, limits: BudgetLimits) -> None:
        self._operations = operations
        self._limits = limits
        self.renew_keys()

    def renew_keys(self) -> None:
        """Begin a new series of keys that no other process uses."""
        self._prefix, self._numbers = os.urandom(8).hex(), itertools.count(1)

    def open_row(
        self,
        reservation: Reservation,
        limits: Sequence[Limit],
        quote: Quote,
        left: Callable[[], float],
        lock_deadline: float,
        *,
        has_budgets: bool,
        waits: bool,
    ) -> Generator[Step, Any, Sequence[Counter]]:
        """Open the row of *reservation*. Return the counters of the budgets that count the request.

        *left* returns the seconds until the call's deadline. If *waits* is true and a budget is full of reservations, wait
        until other calls release them.

        Raises:
            BudgetExceeded: A budget has less left than the maximum cost.
            BudgetError: The maximum cost is unknown or unbounded.
        """
        owner, call = reservation.charge.owner, reservation.charge.call
        key = make_key(owner, call) if owner else f"{self._prefix}-{next(self._numbers):x}"
        exact, pause, waited, swept = not has_budgets, _FIRST_PAUSE_S, 0.0, 0.0
        while True:
            maximum = self.compute_maximum(quote, limits, exact=exact) if has_budgets else 0
            if maximum is None:
                exact = True
                continue
            reservation.request = request = ReserveRequest(
                key=key, charge=reservation.charge, at=reservation.at, maximum=maximum, limits=limits
            )
            timeout_s = limit_timeout(get_seconds_left(lock_deadline), left())
            answer = yield self._operations.make_step("reserve", request, timeout_s)
            if type(answer) is not Refusal:
                reservation.open(answer)
                counters: Sequence[Counter] = answer.counters
                return counters
            if not exact:  # the cheap bound does not fit into the budget, but the tight bound may
                exact = True
                continue
            if answer.is_permanent or not waits or waited >= min(_MAX_WAIT_S, left()):
                budget = self._limits.budgets[answer.limit.scope]
                raise make_exceeded_error(budget, answer, reservation.charge.kind, reservation.at)
            if not swept or waited - swept >= _SWEEP_S:
                swept = waited or pause
                yield self._operations.make_step("recover", limit_timeout(_SWEEP_TIMEOUT_S, left()))
            yield sleep(pause)
            lock_deadline += pause
            waited += pause
            pause = min(_MAX_PAUSE_S, pause * 1.5)

    def check(
        self, charge: Charge, quote: Quote, limits: Sequence[Limit], at: float, left: Callable[[], float]
    ) -> Act[None]:
        """Check that *limits*, which belong to budgets that refuse calls, allow several requests; see `Spending.check`."""
        maximum = self.compute_maximum(quote, limits, exact=True) or 0
        scopes = [limit.scope for limit in limits]
        try:
            timeout_s = limit_timeout(LOCK_TIMEOUT_S, left())
            counters = yield self._operations.make_step("read_budgets", scopes, at, timeout_s)
        except Expired:
            raise
        except Exception:  # noqa: BLE001 - the first request will report the error
            return
        refusal = find_refusal(counters, Amount(maximum, charge.characters), limits)
        if refusal is not None and refusal.is_permanent:
            raise make_exceeded_error(self._limits.budgets[refusal.limit.scope], refusal, charge.kind, at)

    def compute_maximum(self, quote: Quote, limits: Sequence[Limit], *, exact: bool) -> int | None:
        """Return the maximum cost in nano-dollars; None if only the exact quote can compute it.

        If the exact quote cannot compute it either, return 0, or raise BudgetError if one of *limits* refuses unknown costs.
        """
        try:
            return to_nano(quote.compute_maximum(exact=exact))
        except BudgetError as error:
            if not exact:
                return None
            refusing = [
                self._limits.budgets[limit.scope]
                for limit in limits
                if limit.refuses
                and limit.scope.unit == USD
                and self._limits.budgets[limit.scope].unknown_price == "refuse"
            ]
            if not refusing:
                return 0
            set_place(error, refusing[0])
            raise
