"""Reserving before a request and settling after it: the only way in which money leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import apsw

from llmcore.calls.steps import Act, Step, sleep
from llmcore.config.money import Budget, LedgerSettings
from llmcore.errors import BudgetError, BudgetExceeded
from llmcore.ledger import budgets
from llmcore.ledger.alerts import Alerts, scope_of
from llmcore.ledger.book import Hold, Limit, Refused, close_row, open_row, recover, refusal
from llmcore.ledger.budgets import Counter
from llmcore.ledger.charge import Charge, Outcome, Quote
from llmcore.ledger.database import Database
from llmcore.ledger.money import USD, Amount, nano, shown, told, usd, whole
from llmcore.ledger.owners import Owners
from llmcore.ledger.report import BudgetState
from llmcore.ledger.schema import NewerLedger
from llmcore.ledger.writer import Work, Writer
from llmcore.log import logger

if TYPE_CHECKING:
    from llmcore.ledger.hits import Hits

__all__ = ["FAULTS", "Spending"]

LONGEST_WAIT_S: Final = 10.0
"""For money that calls under way have reserved and may give back. The caller may be holding some of it itself."""
FIRST_PAUSE_S: Final = 0.01
LONGEST_PAUSE_S: Final = 0.2
SWEEP_S: Final = 1.0
"""Between two looks for dead processes while waiting."""

FAULTS: Final = (apsw.Error, OSError, NewerLedger)
"""What a ledger that cannot be used raises."""


class Spending:
    """The ledger and the budgets of one Core."""

    def __init__(
        self,
        ledger: LedgerSettings,
        configured: Sequence[Budget],
        *,
        hits: Hits,
        observers: Sequence[Any] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.kept = ledger.enabled
        """Whether there is a ledger; without one nothing that a budget counts is sent."""
        self.database = Database(Path(ledger.path or "ledger.sqlite3"), durable=ledger.durability == "full")
        self._writer = Writer(self.database)
        self._owners = Owners(self.database.path)
        self._budgets = {scope_of(budget): budget for budget in configured}
        self._limits = [
            Limit(scope, whole(budget.limit, budget.unit), budget.on_exceed == "refuse")
            for scope, budget in self._budgets.items()
        ]
        self._alerts = Alerts(configured, observers)
        self._hits = hits
        self._clock = clock
        self._begun = False
        self._counted = bool(configured)
        """Whether anybody's budget counts in this ledger, so that a reservation matters."""
        self._warned: set[tuple[str, str]] = set()
        self._failing = False

    def reserve(self, charge: Charge, quote: Quote, left: Callable[[], float]) -> Act[Hold]:
        """Write down that a request is about to be sent, its money set aside; return the hold on it.

        Raises:
            BudgetExceeded: A budget has not so much left.
            PriceUnknown: A budget applies and nobody knows what the model costs.
            BudgetError: A budget applies, and the ledger cannot be written, or nothing bounds what is used.
        """
        hold = Hold(charge, self._clock())
        limits = [limit for limit in self._limits if limit.scope.covers(charge)]
        if not self.kept:
            if any(limit.refuses for limit in limits):
                self._refuse("[ledger] enabled is false")
            return hold
        failure: Exception | None = None
        try:
            if not self._begun:
                yield from self._begin()
            counters = yield from self._opened(hold, limits, quote, left)
        except FAULTS as error:
            failure = error
        except BudgetError:  # a verdict: nothing was written
            raise
        except BaseException:
            self._forsake(hold)
            raise
        if failure is not None:
            hold.id = None
            self._could_not_write(failure, limits)
        else:
            self._failing = False
            self._warn(limits, counters)
        return hold

    def check(self, charge: Charge, quote: Quote) -> Act[None]:
        """Check that what *charge* takes in several requests fits; nothing is reserved, each request does that.

        Raises:
            BudgetExceeded: A budget has not so much left, whatever becomes of calls under way.
            BudgetError: As in `reserve`.
        """
        limits = [limit for limit in self._limits if limit.refuses and limit.scope.covers(charge)]
        if not limits or not self.kept:
            return
        at, most = self._clock(), self._most(quote, limits, exact=True) or 0

        def look(db: apsw.Connection) -> Refused | None:
            counters = budgets.counted(db, charge, at, [limit.scope for limit in limits])
            return refusal(counters, Amount(most, charge.characters), limits)

        try:
            answer = yield self._writer.step(look)
        except FAULTS:  # the first request will tell
            return
        if answer is not None and answer.for_good:
            raise self._exceeded(answer, charge.kind, at)

    def settle(self, hold: Hold, outcome: Outcome) -> Act[None]:
        """Book what the request came to and end the reservation."""
        if hold.id is None:
            return
        try:
            due = yield self._writer.step(partial(self._close, hold, outcome))
        except FAULTS as error:  # the row stays open, and is counted as spent when this process has ended
            self._could_not_write(error, ())
        else:
            self._alerts.tell(due or ())

    def settle_now(self, hold: Hold, outcome: Outcome) -> None:
        """Book it without a step, for a call that is being collected."""
        if hold.id is None:
            return
        try:
            self._alerts.tell(self._writer.now(partial(self._close, hold, outcome)) or ())
        except FAULTS as error:
            self._could_not_write(error, ())

    # -- managing; all of these raise FAULTS

    def do(self, work: Work) -> Any:
        """Do *work* in a transaction."""
        return self._writer.now(work)

    def settle_up(self, *, ensure: bool = False) -> None:
        """Bring the file up to date before it is read: hits, what the dead left, and counters for our budgets."""
        self._hits.note()

        def brought(db: apsw.Connection) -> None:
            recover(db, self._owners.is_dead)
            if ensure:
                budgets.ensure(db, self._budgets, self._clock())

        self._writer.now(brought)
        self._writer.now(self._hits.absorb)

    def states(self, rows: Iterable[tuple[str, str, int, int]]) -> list[BudgetState]:
        """Return budgets as people read them."""
        states = []
        for text, period, spent, reserved in rows:
            scope = budgets.scope_in(text)
            budget = self._budgets.get(scope)
            states.append(
                BudgetState(
                    name=scope.name,
                    period=period,
                    unit=scope.unit,
                    limit=None if budget is None else budget.limit,
                    spent=told(spent, scope.unit),
                    reserved=told(reserved, scope.unit),
                    resets_at=budgets.resets_at(scope.per, self._clock()),
                )
            )
        return states

    def close(self) -> None:
        """Close the file. What is still open then is another thread's, which opens it again."""
        self.database.close()
        self._owners.close()
        self._begun = False

    # -- reserving

    def _begin(self) -> Generator[Step, Any, None]:
        """Settle what dead processes left, and take over the hits that were noted without the ledger."""

        def beginning(db: apsw.Connection) -> bool:
            recover(db, self._owners.is_dead)
            counted: bool = db.execute("SELECT EXISTS (SELECT 1 FROM budgets)").get
            return counted

        self._counted |= bool((yield self._writer.step(beginning)))
        self._begun = True
        yield self._writer.step(self._hits.absorb)

    def _opened(
        self, hold: Hold, limits: Sequence[Limit], quote: Quote, left: Callable[[], float]
    ) -> Generator[Step, Any, list[Counter]]:
        exact, pause, waited, swept = not self._counted, FIRST_PAUSE_S, 0.0, 0.0
        while True:
            most = self._most(quote, limits, exact=exact) if self._counted else 0
            if most is None:
                exact = True
                continue
            work = partial(open_row, hold=hold, most=most, limits=limits, owner=self._owners.me())
            answer = yield self._writer.step(work)
            if not isinstance(answer, Refused):
                counters: list[Counter] = answer
                return counters
            if not exact:  # the cheap bound does not fit; the tight one may
                exact = True
                continue
            if answer.for_good or waited >= min(LONGEST_WAIT_S, left()):
                raise self._exceeded(answer, hold.charge.kind, hold.at)
            if not swept or waited - swept >= SWEEP_S:
                swept = waited or pause
                yield self._writer.step(partial(recover, is_dead=self._owners.is_dead))
            yield sleep(pause)
            waited += pause
            pause = min(LONGEST_PAUSE_S, pause * 1.5)

    def _most(self, quote: Quote, limits: Sequence[Limit], *, exact: bool) -> int | None:
        """Return the most in nano-dollars; None where only the exact way may tell."""
        try:
            return nano(quote.most(exact=exact))
        except BudgetError:
            if not exact:
                return None
            if any(
                limit.refuses
                and limit.scope.unit == USD
                and self._budgets[limit.scope].unknown_price == "refuse"
                for limit in limits
            ):
                raise
            return 0

    def _forsake(self, hold: Hold) -> None:
        """Undo what was reserved for a caller that has left meanwhile."""
        hold.forsaken = True
        try:
            self._writer.now(
                lambda db: close_row(db, hold, Outcome(cost=usd(0), error="cancelled"), "failed")
            )
        except FAULTS:
            return

    # -- settling

    def _close(self, hold: Hold, outcome: Outcome, db: apsw.Connection) -> Any:
        counters = close_row(db, hold, outcome, "done" if outcome.error is None else "failed")
        return self._alerts.crossed(db, counters)

    # -- telling

    def _warn(self, limits: Sequence[Limit], counters: Sequence[Counter]) -> None:
        """Say once a period that a budget which only warns is exceeded."""
        warning = {limit.scope: limit for limit in limits if not limit.refuses}
        if not warning:
            return
        for counter in counters:
            limit = warning.get(counter.scope)
            over = limit is not None and counter.spent + counter.reserved > limit.amount
            if over and (counter.period, counter.text) not in self._warned:
                self._warned.add((counter.period, counter.text))
                budget = self._budgets[counter.scope]
                logger(__name__).warning(
                    "budget `%s` of %s is exceeded, calls go on: on_exceed is warn",
                    budget.name,
                    shown(budget.limit, budget.unit),
                )

    def _exceeded(self, refused: Refused, kind: str, at: float) -> BudgetExceeded:
        budget, counter, unit = self._budgets[refused.limit.scope], refused.counter, refused.limit.scope.unit

        def words(count: int) -> str:
            return shown(told(count, unit), unit)

        takes = f"can cost up to {words(refused.most)}" if unit == USD else f"speaks {words(refused.most)}"
        free = max(0, refused.limit.amount - counter.spent - counter.reserved)
        waiting = f", {words(counter.reserved)} reserved by calls under way" if counter.reserved else ""
        less = (
            "a shorter text" if kind == "voice" else "a call that costs less (max_tokens= bounds the answer)"
        )
        return BudgetExceeded(
            f"the call {takes}, and the budget `{budget.name}` has {words(free)}"
            f" left of {words(refused.limit.amount)} ({words(counter.spent)} spent{waiting})",
            budget=budget.name,
            limit=budget.limit,
            spent=told(counter.spent, unit),
            reserved=told(counter.reserved, unit),
            unit=unit,
            resets_at=budgets.resets_at(budget.per, at),
            expected=f"{less}, a larger limit, or another period",
            fix="llmcore usage budget",
        )

    def _could_not_write(self, error: Exception, limits: Sequence[Limit]) -> None:
        said = f"{type(error).__name__}: {error}"
        if any(limit.refuses for limit in limits):
            self._refuse(said)
        if not self._failing:
            self._failing = True
            logger(__name__).warning("the ledger %s cannot be written: %s", self.database.path, said)

    def _refuse(self, said: str) -> NoReturn:
        raise BudgetError(
            f"a budget applies, and the ledger that holds it cannot be written: {said}",
            code="LC603",
            where=str(self.database.path),
            expected="a file that this user can write",
            fix="llmcore config set ledger.path ./ledger.sqlite3",
        ) from None
