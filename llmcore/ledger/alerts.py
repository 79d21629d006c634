"""Budget alerts: sent when the spending reaches a fraction of a budget.

Only one process sends an alert, once per period.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.config.money import Budget
from llmcore.errors import ConfigError
from llmcore.interrupts import is_interrupt
from llmcore.log import logger
from llmcore.support.ledger_values import Counter, Scope
from llmcore.support.money import format_amount, from_integer, to_integer
from llmcore.threads import start_thread
from llmcore.types import AlertEvent

__all__ = ["Alert", "Alerts", "make_scope"]

_TIMEOUT_S: Final = 10.0
"""Timeout of a webhook and of a command."""


def make_scope(budget: Budget) -> Scope:
    """Return the scope of *budget*, which describes the requests that the budget counts."""
    return Scope(budget.per, budget.model, budget.tag, budget.user, budget.unit)


class Alert(NamedTuple):
    """An alert that is due."""

    counter: Counter
    amount: int
    """The amount that was reached, in nano-dollars or characters."""
    budget: Budget
    event: AlertEvent


class Alerts:
    """The budgets with `alert_at`, and the observers for alerts."""

    def __init__(self, budgets: Iterable[Budget], observers: Sequence[Any] = ()) -> None:
        self._budgets = {make_scope(budget): budget for budget in budgets if budget.alert_at}
        self._observers = observers

    def find_due(self, counters: Iterable[Counter]) -> list[Alert]:
        """Return the due alerts. The ledger lets exactly one process claim each alert."""
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
                due.append(Alert(counter, amount, budget, _make_event(budget, counter, reached)))
        return due

    def send(self, alert: Alert) -> None:
        """Send an alert to the log, the observers, a webhook and a command.

        A failure is logged and does not affect the call.
        """
        budget, event = alert.budget, alert.event
        logger(__name__).warning(
            "budget `%s`: %s of %s spent",
            event.budget,
            format_amount(event.spent, event.unit),
            format_amount(event.limit, event.unit),
        )
        for observer in self._observers:
            on_alert = getattr(observer, "on_alert", None)
            if on_alert is not None:
                try:
                    on_alert(event)
                except BaseException as error:
                    if is_interrupt(error):
                        raise
                    _log_failure(type(observer).__qualname__, error)
        if budget.alert_url is not None or budget.alert_command:
            # This is not a daemon thread, because the last call of a program may cause the alert.
            thread = threading.Thread(target=_deliver, args=(budget, event), name="llmcore-alert")
            if not start_thread(thread):
                _deliver(budget, event)


def _make_event(budget: Budget, counter: Counter, fraction: float) -> AlertEvent:
    return AlertEvent(
        budget=budget.name,
        fraction=fraction,
        limit=budget.limit,
        spent=from_integer(counter.spent, budget.unit),
        reserved=from_integer(counter.reserved, budget.unit),
        period=counter.period,
        unit=budget.unit,
    )


def _deliver(budget: Budget, event: AlertEvent) -> None:
    body = msgspec.json.encode(event)
    if budget.alert_url is not None:
        try:
            _post(budget.alert_url.reveal(), body)
        except BaseException as error:
            if is_interrupt(error):
                raise
            _log_failure("alert_url", error)
    if budget.alert_command:
        import subprocess

        try:
            subprocess.run(  # noqa: S603 - the user's own command
                budget.alert_command, input=body, timeout=_TIMEOUT_S, check=True, capture_output=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            _log_failure("alert_command", error)


def _post(url: str, body: bytes) -> None:
    import urllib.request

    from llmcore.support.certificates import check_certificates
    from llmcore.support.proxies import find_proxy

    proxy = find_proxy(url)
    if url.startswith("https:") or (proxy is not None and proxy.url.startswith("https:")):
        check_certificates()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 - checked
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 - as above
        response.read(1)


def _log_failure(receiver: str, error: BaseException) -> None:
    # Our own errors name a variable. Other errors are logged only with their type, because their text may
    # contain the URL, and the URL may contain a secret.
    reason = error.message if isinstance(error, ConfigError) else type(error).__name__
    logger(__name__).warning("an alert could not be sent to %s: %s", receiver, reason)
