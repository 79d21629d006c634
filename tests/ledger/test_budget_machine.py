"""Budgets as a state machine, compared with a model: the sums are equal after any sequence of operations."""

from __future__ import annotations

import tempfile
import time
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from llmcore.builtin.options import SqliteOptions
from llmcore.builtin.sqlite_ledger.provider import SqliteLedger
from llmcore.calls.drivers import run
from llmcore.config.money import Budget, LedgerSettings
from llmcore.errors import BudgetExceeded
from llmcore.ledger.hits import Hits
from llmcore.ledger.reservation import Reservation
from llmcore.ledger.spending import Spending
from llmcore.support.ledger_values import Charge, Outcome

pytestmark = pytest.mark.slow

DAY = 86_400.0
AMOUNTS = st.integers(0, 400).map(lambda cents: Decimal(cents) / 1000)
BUDGETS = (
    Budget(limit=Decimal("1.00"), per="day"),
    Budget(limit=Decimal("0.50"), per="total", tag="x"),
    Budget(limit=Decimal("0.80"), per="month", model="p:a"),
)


class Fixed:
    """A quote of a fixed amount."""

    def __init__(self, maximum: Decimal) -> None:
        self._most = maximum

    def compute_maximum(self, *, exact: bool) -> Decimal:
        """Return the amount if *exact*, else a bound of twice the amount."""
        return self._most if exact else 2 * self._most

    def find_fix(self, left: Decimal) -> None:
        """Return None: the amount is fixed."""
        del left


class Machine(RuleBasedStateMachine):
    """Two ledgers on one file, like those of two processes, and a model: a list of reserved and spent amounts."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.now = 20_000 * DAY + 100
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "ledger.sqlite3"
        self.ledgers = [
            Spending(
                partial(SqliteLedger, SqliteOptions(path=path)),
                LedgerSettings(str(path), "normal", enabled=True),
                BUDGETS,
                hits=Hits(None),
                clock=lambda: self.now,
            )
            for _ in range(2)
        ]
        self.settled: set[Reservation] = set()
        self.model: list[tuple[float, Charge, Decimal, Decimal]] = []
        """Time, charge, reserved, spent."""

    def fits(self, charge: Charge, maximum: Decimal) -> bool:
        for budget in BUDGETS:
            spent, reserved = self.sums(budget)
            if covers(budget, charge) and spent + reserved + maximum > budget.limit:
                return False
        return True

    def sums(self, budget: Budget) -> tuple[Decimal, Decimal]:
        same = [
            (reserved, spent)
            for at, charge, reserved, spent in self.model
            if covers(budget, charge) and self.same_period(budget, at)
        ]
        return sum((spent for _, spent in same), Decimal(0)), sum(
            (reserved for reserved, _ in same), Decimal(0)
        )

    def same_period(self, budget: Budget, at: float) -> bool:
        if budget.per == "day":
            return at // DAY == self.now // DAY
        return budget.per == "total" or get_month(at) == get_month(self.now)

    @rule(
        target=reservations,
        index=st.integers(0, 1),
        model=st.sampled_from("ab"),
        tags=st.sampled_from([(), ("x",)]),
        maximum=AMOUNTS,
    )
    def reserve(
        self, index: int, model: str, tags: tuple[str, ...], maximum: Decimal
    ) -> tuple[Reservation, int] | None:
        charge = Charge(kind="llm", provider="p", model=model, call="c", tags=tags)
        try:
            reservation = run(self.ledgers[index].reserve(charge, Fixed(maximum), lambda: 0.0))
        except BudgetExceeded:
            assert not self.fits(charge, maximum)
            return None
        # If the loose bound fits, that much is reserved.
        reserved = 2 * maximum if self.fits(charge, 2 * maximum) else maximum
        assert self.fits(charge, reserved)
        self.model.append((self.now, charge, reserved, Decimal(0)))
        return reservation, len(self.model) - 1

    @rule(entry=reservations, part=st.integers(0, 100), index=st.integers(0, 1))
    def settle(self, entry: tuple[Reservation, int] | None, part: int, index: int) -> None:
        if entry is None:
            return
        reservation, index_in_model = entry
        at, charge, reserved, spent = self.model[index_in_model]
        cost = reserved * part / 100
        run(self.ledgers[index].settle(reservation, Outcome(cost=cost)))
        if not spent and reservation not in self.settled:
            self.settled.add(reservation)
            self.model[index_in_model] = (at, charge, Decimal(0), cost)

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.now += hours * 3600

    @invariant()
    def agrees(self) -> None:
        self.ledgers[0].refresh()
        states = {state.name: state for state in self.ledgers[0].read_states()}
        for budget in BUDGETS:
            state = states[budget.name]
            assert (state.spent, state.reserved) == self.sums(budget)
            assert state.spent + state.reserved <= budget.limit

    def teardown(self) -> None:
        for ledger in self.ledgers:
            run(ledger.shut_down())
        self.folder.cleanup()


def covers(budget: Budget, charge: Charge) -> bool:
    return (budget.tag is None or budget.tag in charge.tags) and (
        budget.model is None or budget.model == f"{charge.provider}:{charge.model}"
    )


def get_month(at: float) -> tuple[int, int]:
    moment = time.gmtime(at)
    return moment.tm_year, moment.tm_mon


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
