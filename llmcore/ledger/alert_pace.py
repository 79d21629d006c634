"""Alerts for budgets that are spent faster than usual.

Today (in UTC) is compared with the average of the 14 days before it. Days before the first cost are left out. When a
call changes the counter of a budget with such an alert, a thread may read the ledger: at the first change of a day,
and again when the counter has grown so much that the alert may be due.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from llmcore import forks
from llmcore.config.money import Budget
from llmcore.errors import LLMCoreError
from llmcore.ledger.alert_events import make_event, make_scope
from llmcore.ledger.operations import Operations, make_unavailable
from llmcore.log import get_logger
from llmcore.support.ledger_rows import ReportQuery, ReportRow
from llmcore.support.ledger_values import Counter, Scope
from llmcore.support.money import CHARACTERS, from_integer
from llmcore.threads import start_thread
from llmcore.types import AlertEvent

__all__ = ["PaceWatch"]

_DAY_S: Final = 86400
_DAYS: Final = 14
"""The number of days with which today is compared."""
_FEWEST_DAYS: Final = 3
"""The minimum number of days since the first cost. Earlier, no alert is sent, because too few days can be compared."""
_TIMEOUT_S: Final = 2.0
"""The timeout in seconds of each ledger operation.

A check needs one or two operations. The timeout is short, because a program that ends waits for all checks.
"""


class _State:
    """The result of the last check of one budget. It is used until the day ends.

    Args:
        day: The number of days from 1970 to this day.
    """

    def __init__(self, day: int) -> None:
        self.day = day
        self.threshold = -math.inf
        """The ledger is read again when `Counter.spent` exceeds this value."""


class PaceWatch:
    """Watches the budgets with `alert_faster_than`, and sends their alerts.

    Args:
        budgets: The configured budgets.
        operations: The ledger.
        clock: Returns seconds since 1970.
        send: Sends the alert; must not raise.
        after: A function that is called at the end of the thread.
    """

    def __init__(
        self,
        budgets: Iterable[Budget],
        operations: Operations,
        clock: Callable[[], float],
        send: Callable[[Budget, AlertEvent], None],
        after: Callable[[], None],
    ) -> None:
        self._budgets = {make_scope(budget): budget for budget in budgets if budget.alert_faster_than}
        self._operations, self._clock, self._send, self._after = operations, clock, send, after
        self._states: dict[Scope, _State] = {}
        self._lock = forks.lock()
        self._waiting: dict[Scope, Counter] = {}
        self._is_running = self._has_failed = False
        forks.watch(self)

    def note(self, counters: Iterable[Counter]) -> None:
        """Check the budgets of *counters* in a thread, if they may be spent faster than usual."""
        if not self._budgets:
            return
        day = int(self._clock() // _DAY_S)
        for counter in counters:
            if counter.scope not in self._budgets:
                continue
            state = self._states.get(counter.scope)
            if state is None or state.day != day or counter.spent > state.threshold:
                self._check_soon(counter)

    def after_fork(self) -> None:
        """Forget the thread, which the child does not have; see `forks.ForkAware`."""
        self._waiting = {}
        self._is_running = False

    def _check_soon(self, counter: Counter) -> None:
        with self._lock:
            self._waiting[counter.scope] = counter
            if self._is_running:
                return
            # Not a daemon, so Python waits for the thread at exit: the last call of the program may cause the alert.
            thread = threading.Thread(target=self._run, name="llmcore-alert", daemon=False)
            # Without a thread, a later call tries again: reading the ledger here would delay the call.
            self._is_running = start_thread(thread)

    def _run(self) -> None:
        try:
            while True:
                with self._lock:
                    if not self._waiting:
                        self._is_running = False
                        break
                    _, counter = self._waiting.popitem()
                self._try(counter)
        finally:
            self._after()

    def _try(self, counter: Counter) -> None:
        state = self._states.get(counter.scope)
        day = int(self._clock() // _DAY_S)
        if state is not None and state.day == day and counter.spent <= state.threshold:
            return  # the check of another call has already covered this amount
        try:
            self._check(counter, day)
        except LLMCoreError as error:
            self._note_failure(counter, day, error)
        except Exception as error:  # noqa: BLE001 - a ledger plugin may raise any exception
            self._note_failure(counter, day, make_unavailable(error))
        else:
            self._has_failed = False

    def _check(self, counter: Counter, day: int) -> None:
        scope, budget = counter.scope, self._budgets[counter.scope]
        state = _State(day)
        query = ReportQuery(
            dimensions=("day",), since=float((day - _DAYS) * _DAY_S), filters=_make_filters(scope)
        )
        rows = self._operations.run("aggregate", query, _TIMEOUT_S)
        amounts = {row.key[0]: _get_amount(row, scope.unit) for row in rows}
        today = amounts.get(day, 0)
        usual = _compute_usual(amounts, day)
        most = math.inf if usual is None else usual * (budget.alert_faster_than or math.inf)
        if today > most and usual is not None:
            state.threshold = math.inf
            if self._claim(f"alert faster {scope.format_text()} {day}"):
                figures: dict[str, Any] = {
                    "today": from_integer(today, scope.unit),
                    "usual": from_integer(usual, scope.unit),
                }
                self._send(budget, make_event(budget, counter, reason="faster", **figures))
        else:
            state.threshold = counter.spent + most - today
        self._states[scope] = state

    def _claim(self, name: str) -> bool:
        if getattr(self._operations.provider, "claim", None) is None:
            return True  # without claims, each process sends the alert
        return bool(self._operations.run("claim", name, _TIMEOUT_S))

    def _note_failure(self, counter: Counter, day: int, error: LLMCoreError) -> None:
        """Log the first failure. Check again when the spent amount has doubled, or on the next day."""
        if not self._has_failed:
            self._has_failed = True
            get_logger(__name__).warning(
                "`alert_faster_than` of budget `%s` could not be checked: %s",
                counter.scope.name,
                error.message,
            )
        state = self._states[counter.scope] = _State(day)
        state.threshold = counter.spent * 2


def _make_filters(scope: Scope) -> dict[str, str]:
    filters = {name: value for name in ("tag", "user") if (value := getattr(scope, name)) is not None}
    if scope.model is not None:
        provider = scope.model.removesuffix(":")
        filters["provider" if provider != scope.model else "model"] = provider
    return filters


def _get_amount(row: ReportRow, unit: str) -> int:
    return row.characters if unit == CHARACTERS else row.cost + row.uncertain


def _compute_usual(amounts: dict[int, int], day: int) -> int | None:
    """Return the average amount of the days before *day*, rounded. Return None if these days are too few or cost nothing."""
    before = {each: amount for each, amount in amounts.items() if each < day and amount}
    if not before or day - min(before) < _FEWEST_DAYS:
        return None
    return round(sum(before.values()) / (day - min(before)))
