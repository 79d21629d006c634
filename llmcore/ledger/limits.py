"""Find each budget of a Core that counts a request.

The budgets of the configuration are fixed; the budgets of users and of batches change while the Core is in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from llmcore.config.money import Budget
from llmcore.ledger.alert_events import make_scope
from llmcore.ledger.report import BudgetState
from llmcore.support.budget_periods import get_elapsed, get_reset_time
from llmcore.support.ledger_values import Charge, Limit, Scope, parse_scope
from llmcore.support.money import from_integer, to_integer

__all__ = ["BudgetLimits"]

_FIRST_PART: Final = 0.01
"""The fraction of a period that must have passed before spending is projected to the end of the period."""


class BudgetLimits:
    """Finds the limits of a request, and the budget of a limit."""

    def __init__(self, configured: Sequence[Budget]) -> None:
        self.budgets: dict[Scope, Budget] = {make_scope(budget): budget for budget in configured}
        """All budgets.

        A budget stays here after it was removed, because calls in progress may still refer to it.
        """
        self._configured = [_make_limit(budget) for budget in configured]
        self._of_users: Mapping[str, tuple[Limit, ...]] = {}
        self._of_runs: Mapping[str, Limit] = {}
        """The tag of a batch -> the limit of its run."""

    def __bool__(self) -> bool:
        return bool(self._configured or self._of_users or self._of_runs)

    def find(self, charge: Charge) -> list[Limit]:
        """Return the limits that count *charge*."""
        found = [limit for limit in self._configured if limit.scope.covers(charge)]
        if self._of_users and charge.user is not None:
            found.extend(self._of_users.get(charge.user, ()))
        if self._of_runs:
            found.extend(limit for tag in charge.tags if (limit := self._of_runs.get(tag)) is not None)
        return found

    def set_run_budget(self, tag: str, budget: Budget | None) -> None:
        """Replace the budget of the batch with *tag*; None removes the budget."""
        of_runs = {name: limit for name, limit in self._of_runs.items() if name != tag}
        if budget is not None:
            limit = of_runs[tag] = _make_limit(budget)
            self.budgets = {**self.budgets, limit.scope: budget}
        self._of_runs = of_runs

    def set_user_budgets(self, budgets: Iterable[Budget]) -> None:
        """Replace the budgets of users. Such a budget limits all calls of one user.

        If the configuration has a budget for the same calls and period, both limits apply.
        """
        configured = {limit.scope for limit in self._configured}
        of_users: dict[str, tuple[Limit, ...]] = {}
        named = dict(self.budgets)
        for budget in budgets:
            limit = _make_limit(budget)
            if limit.scope not in configured:
                named[limit.scope] = budget
            of_users[budget.user or ""] = (*of_users.get(budget.user or "", ()), limit)
        self.budgets, self._of_users = named, of_users

    def make_states(self, rows: Iterable[tuple[str, str, int, int]], at: float) -> list[BudgetState]:
        """Return the states of budgets at the time *at*, in seconds since 1970.

        Each of *rows* has the text of a scope, the period, the spent amount and the reserved amount.
        """
        states = []
        for text, period, spent, reserved in rows:
            scope = parse_scope(text)
            budget = self.budgets.get(scope)
            elapsed = get_elapsed(scope.per, at)
            states.append(
                BudgetState(
                    name=scope.name,
                    period=period,
                    unit=scope.unit,
                    limit=None if budget is None else budget.limit,
                    spent=from_integer(spent, scope.unit),
                    reserved=from_integer(reserved, scope.unit),
                    resets_at=get_reset_time(scope.per, at),
                    pace=_extrapolate(spent, elapsed, scope.unit),
                    model=scope.model,
                    tag=scope.tag,
                    user=scope.user,
                )
            )
        return states


def _make_limit(budget: Budget) -> Limit:
    return Limit(make_scope(budget), to_integer(budget.limit, budget.unit), budget.on_exceed == "refuse")


def _extrapolate(spent: int, elapsed: float | None, unit: str) -> Decimal | None:
    """Return the amount at the end of the period if spending continues as before; see `BudgetState.pace`."""
    if elapsed is None or elapsed < _FIRST_PART:
        return None
    return from_integer(round(spent / elapsed), unit)
