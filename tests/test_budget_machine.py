"""The budget's state machine against a model of it: whatever happens in whatever order, the sums are the same."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from llmcore.calls.drivers import run
from llmcore.config.money import Budget, LedgerSettings
from llmcore.errors import BudgetExceeded
from llmcore.ledger.book import Hold
from llmcore.ledger.charge import Charge, Outcome
from llmcore.ledger.hits import Hits
from llmcore.ledger.spending import Spending

DAY = 86_400.0
AMOUNTS = st.integers(0, 400).map(lambda cents: Decimal(cents) / 1000)
BUDGETS = (
    Budget(limit=Decimal("1.00"), per="day"),
    Budget(limit=Decimal("0.50"), per="total", tag="x"),
    Budget(limit=Decimal("0.80"), per="month", model="p:a"),
)


class Fixed:
    """A quote of so much."""

    def __init__(self, most: Decimal) -> None:
        self._most = most

    def most(self, *, exact: bool) -> Decimal:
        """A bound that is twice as wide as the tight one, until it is asked to be exact."""
        return self._most if exact else 2 * self._most


class Machine(RuleBasedStateMachine):
    """Two ledgers of two processes on one file, and a model: a list of what was reserved and spent."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.now = 20_000 * DAY + 100
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "ledger.sqlite3"
        self.ledgers = [
            Spending(
                LedgerSettings(str(path), "normal", enabled=True),
                BUDGETS,
                hits=Hits(path),
                clock=lambda: self.now,
            )
            for _ in range(2)
        ]
        self.settled: set[Hold] = set()
        self.model: list[tuple[float, Charge, Decimal, Decimal]] = []
        """When, what, reserved, spent."""

    def fits(self, charge: Charge, most: Decimal) -> bool:
        for budget in BUDGETS:
            spent, reserved = self.sums(budget)
            if covers(budget, charge) and spent + reserved + most > budget.limit:
                return False
        return True

    def sums(self, budget: Budget) -> tuple[Decimal, Decimal]:
        same = [
            (reserved, spent)
            for at, charge, reserved, spent in self.model
            if covers(budget, charge) and self.same_period(budget, at)
        ]
        return sum((spent for _, spent in same), Decimal(0)), sum((held for held, _ in same), Decimal(0))

    def same_period(self, budget: Budget, at: float) -> bool:
        if budget.per == "day":
            return at // DAY == self.now // DAY
        return budget.per == "total" or month(at) == month(self.now)

    @rule(
        target=holds,
        who=st.integers(0, 1),
        model=st.sampled_from("ab"),
        tags=st.sampled_from([(), ("x",)]),
        most=AMOUNTS,
    )
    def reserve(self, who: int, model: str, tags: tuple[str, ...], most: Decimal) -> tuple[Hold, int] | None:
        charge = Charge(kind="llm", provider="p", model=model, call="c", tags=tags)
        try:
            hold = run(self.ledgers[who].reserve(charge, Fixed(most), lambda: 0.0))
        except BudgetExceeded:
            assert not self.fits(charge, most)
            return None
        # Where the loose bound fits, that much is reserved.
        held = 2 * most if self.fits(charge, 2 * most) else most
        assert self.fits(charge, held)
        self.model.append((self.now, charge, held, Decimal(0)))
        return hold, len(self.model) - 1

    @rule(held=holds, part=st.integers(0, 100), who=st.integers(0, 1))
    def settle(self, held: tuple[Hold, int] | None, part: int, who: int) -> None:
        if held is None:
            return
        hold, at = held
        made, charge, reserved, spent = self.model[at]
        cost = reserved * part / 100
        run(self.ledgers[who].settle(hold, Outcome(cost=cost)))
        if not spent and hold not in self.settled:
            self.settled.add(hold)
            self.model[at] = (made, charge, Decimal(0), cost)

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.now += hours * 3600

    @invariant()
    def agrees(self) -> None:
        reader = None
        self.ledgers[0].settle_up(ensure=True)
        try:
            reader = self.ledgers[0].database.reader()
            from llmcore.ledger.report import budget_states

            states = {state.name: state for state in self.ledgers[0].states(budget_states(reader, self.now))}
        finally:
            if reader is not None:
                reader.close()
        for budget in BUDGETS:
            state = states[budget.name]
            assert (state.spent, state.reserved) == self.sums(budget)
            assert state.spent + state.reserved <= budget.limit

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        self.folder.cleanup()


def covers(budget: Budget, charge: Charge) -> bool:
    return (budget.tag is None or budget.tag in charge.tags) and (
        budget.model is None or budget.model == f"{charge.provider}:{charge.model}"
    )


def month(at: float) -> tuple[int, int]:
    import time

    told = time.gmtime(at)
    return told.tm_year, told.tm_mon


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
