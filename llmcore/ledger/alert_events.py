"""The event of an alert, and its text for people."""

from __future__ import annotations

from typing import Any

from llmcore.config.money import Budget
from llmcore.support.ledger_values import Counter, Scope
from llmcore.support.money import format_amount, from_integer, to_integer
from llmcore.types import AlertEvent

__all__ = ["describe", "make_event", "make_scope"]


def make_scope(budget: Budget) -> Scope:
    """Return the scope of *budget*, which describes the requests that the budget counts."""
    return Scope(budget.per, budget.model, budget.tag, budget.user, budget.unit)


def make_event(budget: Budget, counter: Counter, fraction: float | None = None, **more: Any) -> AlertEvent:
    """Return the event of an alert.

    Args:
        budget: The budget.
        counter: The counter of the budget in the current period.
        fraction: The fraction in `alert_at` that was reached. If None, it is computed from the spent amount and the limit.
        **more: Further fields of `AlertEvent`.
    """
    limit = to_integer(budget.limit, budget.unit)
    if fraction is None:
        fraction = round(counter.spent / limit, 4) if limit else 0.0
    return AlertEvent(
        budget=budget.name,
        fraction=fraction,
        limit=budget.limit,
        spent=from_integer(counter.spent, budget.unit),
        reserved=from_integer(counter.reserved, budget.unit),
        period=counter.period,
        unit=budget.unit,
        **more,
    )


def describe(event: AlertEvent) -> str:
    """Return the alert as one line without markup: "budget `day`: $4.10 of $5.00 spent"."""
    text = f"budget `{event.budget}`: {format_amount(event.spent, event.unit)} of {format_amount(event.limit, event.unit)} spent"
    if event.reason == "test":
        return f"{text}; this is a test of the alert"
    if event.reason == "faster":
        today, usual = (format_amount(amount, event.unit) for amount in (event.today, event.usual))
        return f"{text}; {today} of it today, and an average day costs {usual}"
    return text
