"""Alerts: who is told when a budget has come to one of its fractions, once a period among all processes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.config.money import Budget
from llmcore.ledger.budgets import Counter, Scope
from llmcore.ledger.money import shown, told, whole
from llmcore.log import logger
from llmcore.types import AlertEvent

if TYPE_CHECKING:
    import apsw

__all__ = ["Alerts", "scope_of"]

_PATIENCE_S: Final = 10.0
"""For a webhook or a command."""


def scope_of(budget: Budget) -> Scope:
    """Return what *budget* counts."""
    return Scope(budget.per, budget.model, budget.tag, budget.user, budget.unit)


class Alerts:
    """The budgets that want to be heard of, and the observers that hear."""

    def __init__(self, budgets: Iterable[Budget], observers: Sequence[Any] = ()) -> None:
        self._budgets = {scope_of(budget): budget for budget in budgets if budget.alert_at}
        self._observers = observers

    def crossed(self, db: apsw.Connection, counters: Iterable[Counter]) -> list[tuple[Budget, AlertEvent]]:
        """Return the alerts that are due, noting in the ledger that they are told."""
        if not self._budgets:
            return []
        due = []
        for counter in counters:
            budget = self._budgets.get(counter.scope)
            if budget is None:
                continue
            limit = whole(budget.limit, budget.unit)
            reached = max((part for part in budget.alert_at if counter.spent >= part * limit), default=0.0)
            amount = int(reached * limit)
            if amount > counter.alerted:
                db.execute(
                    "UPDATE budgets SET alerted = ? WHERE period = ? AND scope = ?",
                    (amount, counter.period, counter.text),
                )
                due.append((budget, _event(budget, counter, reached)))
        return due

    def tell(self, due: Iterable[tuple[Budget, AlertEvent]]) -> None:
        """Tell everybody, each in its way; nobody who fails is in the way of a call."""
        for budget, event in due:
            logger(__name__).warning(
                "budget `%s`: %s of %s spent",
                event.budget,
                shown(event.spent, event.unit),
                shown(event.limit, event.unit),
            )
            for observer in self._observers:
                hear = getattr(observer, "on_alert", None)
                if hear is not None:
                    try:
                        hear(event)
                    except Exception as error:  # noqa: BLE001 - a stranger's code
                        _could_not(type(observer).__qualname__, error)
            if budget.alert_url is not None or budget.alert_command:
                # Not a daemon: the last call of a program may be the one that crosses the line.
                threading.Thread(target=_send, args=(budget, event), name="llmcore-alert").start()


def _event(budget: Budget, counter: Counter, fraction: float) -> AlertEvent:
    return AlertEvent(
        budget=budget.name,
        fraction=fraction,
        limit=budget.limit,
        spent=told(counter.spent, budget.unit),
        reserved=told(counter.reserved, budget.unit),
        period=counter.period,
        unit=budget.unit,
    )


def _send(budget: Budget, event: AlertEvent) -> None:
    body = msgspec.json.encode(event)
    if budget.alert_url is not None:
        try:
            _post(budget.alert_url.reveal(), body)
        except Exception as error:  # noqa: BLE001 - whatever a server or the network does
            _could_not("alert_url", error)
    if budget.alert_command:
        import subprocess

        try:
            subprocess.run(  # noqa: S603 - the user's own command
                budget.alert_command, input=body, timeout=_PATIENCE_S, check=True, capture_output=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            _could_not("alert_command", error)


def _post(url: str, body: bytes) -> None:
    import urllib.request

    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 - checked
    with urllib.request.urlopen(request, timeout=_PATIENCE_S) as response:  # noqa: S310 - as above
        response.read(1)


def _could_not(who: str, error: Exception) -> None:
    # By its type alone: the text of an error may hold the address, which may hold a secret.
    logger(__name__).warning("an alert could not be told to %s: %s", who, type(error).__name__)
