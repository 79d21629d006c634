"""Log budgets with `on_exceed = "warn"` that are exceeded."""

from __future__ import annotations

from collections.abc import Sequence

from llmcore.ledger.limits import BudgetLimits
from llmcore.log import get_logger
from llmcore.support.ledger_values import Counter, Limit
from llmcore.support.money import format_amount

__all__ = ["BudgetWarnings"]


class BudgetWarnings:
    """Logs each exceeded budget once per period."""

    def __init__(self, limits: BudgetLimits) -> None:
        self._limits = limits
        self._logged: set[tuple[str, str]] = set()

    def log_exceeded(self, limits: Sequence[Limit], counters: Sequence[Counter]) -> None:
        """Log the budgets of *limits* that do not refuse calls and that *counters* exceed."""
        warning = {limit.scope: limit for limit in limits if not limit.refuses}
        if not warning:
            return
        for counter in counters:
            limit = warning.get(counter.scope)
            exceeded = limit is not None and counter.spent + counter.reserved > limit.amount
            if exceeded and (counter.period, counter.text) not in self._logged:
                self._logged.add((counter.period, counter.text))
                budget = self._limits.budgets[counter.scope]
                get_logger(__name__).warning(
                    'budget `%s` of %s is exceeded; calls continue because on_exceed is "warn"',
                    budget.name,
                    format_amount(budget.limit, budget.unit),
                )
