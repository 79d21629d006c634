"""The errors of calls that a budget refuses, and of a ledger that cannot be used.

The error of an exceeded budget names the line that configures the budget, the end of the period, and the spent amount.
No fix raises a limit: otherwise a program that applies fixes would spend more than its budget.
"""

from __future__ import annotations

import calendar
import time
from typing import Final, TypeVar

from llmcore.config.money import Budget, LedgerSettings
from llmcore.errors import BudgetError, BudgetExceeded, LedgerError
from llmcore.support.budget_periods import get_reset_time
from llmcore.support.ledger_values import Refusal
from llmcore.support.money import USD, format_amount, from_integer

__all__ = [
    "make_disabled_error",
    "make_exceeded_error",
    "make_unusable_error",
    "make_unwritable_error",
    "set_place",
]

E = TypeVar("E", bound=BudgetError)

_HOUR: Final = 3600
_MINUTE: Final = 60


def make_exceeded_error(budget: Budget, refusal: Refusal, kind: str, at: float) -> BudgetExceeded:
    """Return the error of a call of *kind* that *budget* refused at the time *at*."""
    counter, unit = refusal.counter, refusal.limit.scope.unit

    def show(count: int) -> str:
        return format_amount(from_integer(count, unit), unit)

    verb = "can cost up to" if unit == USD else "synthesizes"
    left = max(0, refusal.limit.amount - counter.spent - counter.reserved)
    reserved = f", {show(counter.reserved)} reserved by calls in progress" if counter.reserved else ""
    cheaper = (
        "a shorter text" if kind == "voice" else "a call that costs less (max_tokens= limits the answer)"
    )
    resets_at = get_reset_time(budget.per, at)
    error = BudgetExceeded(
        f"the call {verb} {show(refusal.maximum)}, but the budget `{budget.name}` has {show(left)}"
        f" left of {show(refusal.limit.amount)} ({show(counter.spent)} spent{reserved})",
        budget=budget.name,
        limit=budget.limit,
        spent=from_integer(counter.spent, unit),
        reserved=from_integer(counter.reserved, unit),
        unit=unit,
        resets_at=resets_at,
        expected=cheaper if resets_at is None else f"{cheaper}, or the next period",
        notes=[_describe_period(budget, resets_at, at), _describe_limit(budget)],
        fix="llmcore usage budget"
        if budget.place is None
        else budget.place.layer.format_command("usage budget"),
    )
    return set_place(error, budget)


def make_disabled_error(ledger: LedgerSettings) -> BudgetError:
    """Return the error for a call that a budget counts while `[ledger] enabled` is false."""
    path, layer = ("ledger", "enabled"), ledger.layer
    return BudgetError(
        "a budget applies, but the ledger that counts it is disabled: [ledger] enabled is false",
        code="LC603",
        where=None if layer is None else layer.find_position(path, "value"),
        excerpt=None if layer is None else layer.format_excerpt(path, "value", secret=False),
        expected="enabled = true, which is the default",
        fix=None if layer is None else layer.format_set_fix(path, "true"),
    )


def make_unwritable_error(reason: str, location: str | None, ledger: LedgerSettings) -> BudgetError:
    """Return the error for a call under a budget while the ledger at *location* cannot be written.

    *location* is None for a ledger without a path.
    """
    is_file = ledger.provider == "sqlite"
    return BudgetError(
        f"a budget applies, but its ledger cannot be written: {reason}",
        code="LC603",
        where=location or "[ledger]",
        expected="a file that this user can write"
        if is_file
        else f"a ledger `{ledger.provider}` that answers",
        fix=ledger.make_fix("path", "./ledger.sqlite3") if is_file else "llmcore doctor",
    )


def make_unusable_error(reason: str, location: str, ledger: LedgerSettings, verb: str) -> LedgerError:
    """Return the error for a ledger that cannot be read or written; *verb* is "read" or "written"."""
    is_file = ledger.provider == "sqlite"
    return LedgerError(
        f"the ledger cannot be {verb}: {reason}",
        where=location,
        expected="a file of a ledger, in a folder that this user can write"
        if is_file
        else f"a ledger `{ledger.provider}` that answers",
        fix="llmcore doctor",
    )


def set_place(error: E, budget: Budget) -> E:
    """Set the place of *error* to the line that configures the limit of *budget*, and return *error*.

    If *error* has no fix yet, the fix sets `unknown_price = "allow"`, with which *budget* allows calls of unknown cost.
    """
    place = budget.place
    if place is not None and error.where is None:
        error.where, error.excerpt = place.where, place.excerpt
    if place is not None and error.fix is None:
        error.fix = place.layer.format_set_fix((*place.path, "unknown_price"), "allow")
    return error


def _describe_period(budget: Budget, resets_at: str | None, at: float) -> str:
    """Return a note on the end of the budget's period; `llmcore usage budget` shows the same time."""
    if resets_at is None:
        return "the budget is a total, which never starts again; `llmcore usage budget` shows what was spent"
    left = max(0, calendar.timegm(time.strptime(resets_at, "%Y-%m-%dT%H:%M:%SZ")) - at)
    days, rest = divmod(int(left), 24 * _HOUR)
    time_left = f"{days} d {rest // _HOUR} h" if days else f"{rest // _HOUR} h {rest % _HOUR // _MINUTE} min"
    return (
        f"the {budget.per} ends at {resets_at}, in {time_left}; `llmcore usage budget` shows what was spent"
    )


def _describe_limit(budget: Budget) -> str:
    where = None if budget.place is None else budget.place.where
    return f"the owner of the budget may raise its limit{f' in {where}' if where else ''}"
