"""Budget alerts: find the alerts that are due, and send them.

An alert is due when the spending reaches a fraction of a budget, or when a day costs more than usual. It is sent by one
process only: for each fraction once per period, and for a day that costs more than usual once per day.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from llmcore.config.money import Budget
from llmcore.ledger.alert_delivery import AlertDelivery, Delivery, list_receivers
from llmcore.ledger.alert_events import make_event, make_scope
from llmcore.ledger.alert_pace import PaceWatch
from llmcore.ledger.alert_queue import AlertQueue
from llmcore.ledger.operations import Operations, make_unavailable
from llmcore.log import get_logger
from llmcore.support.ledger_values import Counter
from llmcore.support.money import to_integer
from llmcore.types import AlertEvent

__all__ = ["Alert", "Alerts", "ConfiguredAlert"]

_CLAIM_TIMEOUT_S: Final = 2.0
_PAUSE_S: Final = 0.5
_ATTEMPTS: Final = 5
"""The number of attempts to claim an alert in the ledger. A program that ends may have to wait for them."""


class ConfiguredAlert(NamedTuple):
    """A budget with alerts."""

    budget: str
    """The name of the budget."""
    at: tuple[float, ...]
    """The fractions of the limit at which an alert is sent."""
    faster_than: float | None
    """The allowed cost of a day, as a multiple of an average day; None for no such alert."""
    receivers: list[str]
    """The keys of the budget that name receivers, such as alert_email."""


class Alert(NamedTuple):
    """An alert that is due."""

    counter: Counter
    amount: int
    """The amount that was reached, in nano-dollars or characters."""
    budget: Budget
    event: AlertEvent


class Alerts:
    """The budgets with alerts, and the receivers of the alerts.

    Args:
        budgets: The configured budgets.
        observers: The configured observers. Those without `on_alert` receive no alerts.
        operations: The ledger.
        get_smtp: Returns the options of the section [smtp].
        clock: Returns seconds since 1970.
        after: A function that is called after a thread has used the ledger.
    """

    def __init__(
        self,
        budgets: Iterable[Budget],
        observers: Sequence[Any],
        operations: Operations,
        get_smtp: Callable[[], Any],
        *,
        clock: Callable[[], float],
        after: Callable[[], None],
    ) -> None:
        self._all = [
            budget
            for budget in budgets
            if budget.alert_at or budget.alert_faster_than or list_receivers(budget)
        ]
        self._budgets = {make_scope(budget): budget for budget in self._all if budget.alert_at}
        self._queue = AlertQueue()
        self._delivery = AlertDelivery(observers, get_smtp, self._queue)
        self._operations, self._after = operations, after
        self.pace = PaceWatch(self._all, operations, clock, self._delivery.send, after)
        """Watches the budgets with `alert_faster_than`."""

    def list_configured(self) -> list[ConfiguredAlert]:
        """Return the budgets that have alerts or receivers."""
        return [
            ConfiguredAlert(each.name, each.alert_at, each.alert_faster_than, list_receivers(each))
            for each in self._all
        ]

    def find_due(self, counters: Iterable[Counter]) -> list[Alert]:
        """Return the alerts that are due. The caller must claim an alert in the ledger before it sends the alert."""
        self._queue.retry()
        if not self._budgets:
            return []
        due = []
        for counter in counters:
            budget = self._budgets.get(counter.scope)
            if budget is None:
                continue
            limit = to_integer(budget.limit, budget.unit)
            reached = max((part for part in budget.alert_at if counter.spent >= part * limit), default=0.0)
            amount = int(reached * limit)
            if amount > counter.alerted:
                due.append(Alert(counter, amount, budget, make_event(budget, counter, reached)))
        return due

    def claim_later(self, alerts: Sequence[Alert]) -> None:
        """Claim *alerts* in a thread, and send the alerts that this process has claimed.

        If the answer to a claim is lost, the claim is repeated: the ledger gives the same answer again, so only this
        process sends the alert.
        """
        if alerts:
            self._queue.submit(partial(self._claim, alerts))

    def finish(self, timeout_s: float) -> None:
        """When the program ends, send the alerts that still wait for a thread. Begin none after *timeout_s* seconds."""
        self._queue.run(timeout_s)

    def _claim(self, alerts: Sequence[Alert]) -> None:
        try:
            for alert in alerts:
                if self._try_claim(alert):
                    self.send(alert)
        finally:
            self._after()

    def _try_claim(self, alert: Alert) -> bool:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_S)
            try:
                return bool(
                    self._operations.run("claim_alert", alert.counter, alert.amount, _CLAIM_TIMEOUT_S)
                )
            except Exception as error:  # noqa: BLE001 - a ledger plugin may raise any exception
                failure = make_unavailable(error).message
        message = "the alert of the budget `%s` could not be claimed in the ledger: %s"
        get_logger(__name__).warning(message, alert.budget.name, failure)
        return False

    def send(self, alert: Alert) -> None:
        """Send an alert to its receivers, in a thread. A failure is logged once and does not affect the call."""
        self._delivery.send(alert.budget, alert.event)

    def send_tests(self, counters: Iterable[Counter]) -> list[Delivery]:
        """Send a test to the receivers of every budget with alerts, and wait for the result.

        Args:
            counters: The current counters of the budgets.
        """
        found = {counter.scope: counter for counter in counters}
        deliveries = []
        for budget in self._all:
            event = make_event(budget, found[make_scope(budget)], reason="test")
            deliveries += self._delivery.deliver(budget, event)
        return deliveries
