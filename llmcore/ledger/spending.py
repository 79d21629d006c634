"""Reserve the maximum cost before a request, and settle the real cost afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import apsw

from llmcore import forks
from llmcore.calls.steps import Act, Expired, Step, sleep
from llmcore.config.money import Budget, LedgerSettings
from llmcore.errors import BudgetError
from llmcore.ledger import book, budgets, exits
from llmcore.ledger.alerts import Alerts
from llmcore.ledger.book import Limit, Refusal, Reservation, find_refusal, recover
from llmcore.ledger.budgets import Counter
from llmcore.ledger.charge import Charge, Outcome, Quote
from llmcore.ledger.database import Database
from llmcore.ledger.late import LateSettlements
from llmcore.ledger.limits import BudgetLimits
from llmcore.ledger.lock_timeouts import SETTLE_TIMEOUT_S, get_lock_deadline, get_seconds_left
from llmcore.ledger.money import USD, Amount, format_amount, to_nano
from llmcore.ledger.owners import Owners
from llmcore.ledger.refusals import (
    make_disabled_error,
    make_exceeded_error,
    make_unwritable_error,
    point_at,
)
from llmcore.ledger.report import BudgetState
from llmcore.ledger.schema import NewerLedger
from llmcore.ledger.writer import Work, Writer
from llmcore.log import logger
from llmcore.support.errors import raise_unchained

if TYPE_CHECKING:
    from llmcore.ledger.hits import Hits

__all__ = ["FAULTS", "Spending"]

MAX_WAIT_S: Final = 10.0
"""Maximum seconds to wait for the reservations of other calls. The caller itself may hold some of them."""
FIRST_PAUSE_S: Final = 0.01
MAX_PAUSE_S: Final = 0.2
SWEEP_S: Final = 1.0
"""Seconds between two checks for dead processes while a call waits."""

_NO_HOME: Final = "[ledger] path is not set, and the user has no home directory"

FAULTS: Final = (apsw.Error, OSError, NewerLedger)
"""The exceptions that a ledger raises if it cannot be used."""


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
        self.settings = ledger
        self.is_enabled = ledger.enabled and ledger.path is not None
        """Whether the ledger is used. If not, requests that a budget counts are refused."""
        self.lacks_home = ledger.enabled and ledger.path is None
        """Whether the ledger is missing only because the user has no home directory."""
        self.database = Database(Path(ledger.path or "ledger.sqlite3"), durable=ledger.durability == "full")
        self._writer = Writer(self.database)
        self._owners = Owners(self.database.path)
        self._limits = BudgetLimits(configured)
        self._alerts = Alerts(configured, observers)
        self._hits = hits
        self._clock = clock
        self._is_prepared = False
        self._has_budgets = bool(configured)
        """Whether the ledger has budgets, also of other applications. If so, requests need reservations."""
        self._warned: set[tuple[str, str]] = set()
        self._failing = False
        self._open: set[Reservation] = set()
        """The reservations of this process that are not settled yet."""
        self._late = LateSettlements(self._settle_late, lambda error: self._handle_write_error(error, ()))
        forks.watch(self)
        exits.watch(self)

    def reserve(self, charge: Charge, quote: Quote, left: Callable[[], float]) -> Act[Reservation]:
        """Reserve the maximum cost of a request and open its row.

        Raises:
            BudgetExceeded: The rest of a budget is smaller than the maximum cost.
            PriceUnknown: A budget applies, and the price of the model is unknown.
            BudgetError: A budget applies, and the ledger cannot be written or the usage has no upper bound.
        """
        reservation = Reservation(charge, self._clock())
        limits = self._limits.find(charge)
        lock_deadline = get_lock_deadline(limits, failing=self._failing)
        if not self.is_enabled:
            if any(limit.refuses for limit in limits):
                self._raise_unwritable(_NO_HOME)
            if self.lacks_home and not self._failing:
                self._failing = True
                logger(__name__).warning("calls are not written to a ledger: %s", _NO_HOME)
            return reservation
        failure: Exception | None = None
        try:
            if not self._is_prepared:
                yield from self._prepare(lock_deadline)
            counters = yield from self._open_row(reservation, limits, quote, left, lock_deadline)
        except Expired:  # an OSError that the ledger did not raise
            self._abandon(reservation)
            raise
        except FAULTS as error:
            failure = error
        except BudgetError:  # nothing was written
            raise
        except BaseException:
            self._abandon(reservation)
            raise
        if failure is not None:
            reservation.id = None
            self._handle_write_error(failure, limits)
        else:
            self._failing = False
            self._open.add(reservation)
            self._late.retry()
            self._warn(limits, counters)
        return reservation

    def check(self, charge: Charge, quote: Quote) -> Act[None]:
        """Check that the budgets have enough left for several requests. Each request makes its own reservation.

        Raises:
            BudgetExceeded: The rest of a budget is too small, even if all reservations were released.
            BudgetError: As in `reserve`.
        """
        limits = [limit for limit in self._limits.find(charge) if limit.refuses]
        if not limits or not self.is_enabled:
            return
        at, maximum = self._clock(), self._most(quote, limits, exact=True) or 0

        def find(db: apsw.Connection) -> Refusal | None:
            counters = budgets.get_counters(db, charge, at, [limit.scope for limit in limits])
            return find_refusal(counters, Amount(maximum, charge.characters), limits)

        try:
            refusal = yield self._writer.step(find)
        except Expired:
            raise
        except FAULTS:  # the first request will report the error
            return
        if refusal is not None and refusal.is_permanent:
            raise make_exceeded_error(self._limits.budgets[refusal.limit.scope], refusal, charge.kind, at)

    def settle(self, reservation: Reservation, outcome: Outcome) -> Act[None]:
        """Book the outcome of the request and release the reservation."""
        if not self._claim(reservation):
            return
        try:
            due = yield self._writer.step(partial(self._close, reservation, outcome), SETTLE_TIMEOUT_S)
        except Expired:  # book the request nevertheless
            self._settle_soon(reservation, outcome)
        except apsw.BusyError:  # do not delay the answer because of another process: a thread writes the row
            self._late.add(reservation, outcome)
        except FAULTS as error:  # the row stays open; after the end of this process it counts as spent
            self._handle_write_error(error, ())
        except BaseException:
            # The caller was cancelled, perhaps before the step began. A closed row stays as it is.
            self._settle_soon(reservation, outcome)
            raise
        else:
            self._alerts.send(due or ())

    def settle_now(self, reservation: Reservation, outcome: Outcome) -> None:
        """Settle without a step, for a call that is being garbage-collected. Waits for a lock only briefly."""
        if self._claim(reservation):
            self._settle_soon(reservation, outcome)

    def _settle_soon(self, reservation: Reservation, outcome: Outcome) -> None:
        """Book the outcome; if the lock is held for longer than `SETTLE_TIMEOUT_S`, a thread writes the row."""
        try:
            due = self._writer.run(partial(self._close, reservation, outcome), SETTLE_TIMEOUT_S)
        except apsw.BusyError:
            self._late.add(reservation, outcome)
        except FAULTS as error:
            self._handle_write_error(error, ())
        else:
            self._alerts.send(due or ())

    def _settle_late(self, outcomes: Mapping[Reservation, Outcome], timeout_s: float) -> Exception | None:
        """Book *outcomes* in one transaction; see `late.Settle`."""

        def close(db: apsw.Connection) -> list[Any]:
            return [alert for pair in outcomes.items() for alert in self._close(*pair, db)]

        try:
            due = self._writer.run(close, timeout_s)
        except FAULTS as error:
            return error
        self._alerts.send(due or ())
        return None

    # -- management; all of these raise FAULTS

    def transact(self, work: Work) -> Any:
        """Run *work* in a transaction and return its result."""
        return self._writer.run(work)

    def make_step(self, work: Work) -> Step:
        """Return the step that runs *work* in a transaction and returns its result."""
        return self._writer.step(work)

    def set_user_budgets(self, budgets: Iterable[Budget]) -> None:
        """Replace the budgets of users; see `BudgetLimits.set_user_budgets`."""
        self._limits.set_user_budgets(budgets)
        self._has_budgets |= bool(self._limits)

    def add_budget(self, budget: Budget) -> None:
        """Add a budget to the configured budgets, until the Core is closed."""
        self._limits.add(budget)
        self._has_budgets = True

    def find_limits(self, charge: Charge) -> list[Limit]:
        """Return the limits that count *charge*."""
        return self._limits.find(charge)

    def refresh(self, *, ensure: bool = False) -> None:
        """Update the file before it is read: hits, rows of dead processes, and missing counters."""
        self._hits.write()

        def bring_up_to_date(db: apsw.Connection) -> None:
            recover(db, self._owners.is_dead)
            if ensure:
                budgets.create_missing(db, self._limits.budgets, self._clock())

        self._writer.run(bring_up_to_date)
        self._writer.run(self._hits.absorb)

    def make_states(self, rows: Iterable[tuple[str, str, int, int]]) -> list[BudgetState]:
        """Return the states of budgets from rows of `read_budgets`."""
        return self._limits.make_states(rows, self._clock())

    def close(self) -> None:
        """Close the file. If rows of this process are open, the process reopens the file to settle them."""
        self.database.close()
        if not (self._open or self._late):
            self._owners.close()
        self._is_prepared = False

    def at_exit(self, timeout_s: float) -> None:
        """Settle requests whose call cannot end, such as those of daemon threads; see `exits.AtExit`.

        If the ledger stays locked, the rows stay open, and the next process books their maximum cost.
        """
        for reservation in list(self._open):
            outcome = book.make_cancelled(reservation)
            if self._claim(reservation):
                self._late.put(reservation, outcome)
        self._late.close(timeout_s)

    def after_fork(self) -> None:
        """Leave the reservations to the parent; see `forks.ForkAware`."""
        self._open = set()

    # -- reserving

    def _prepare(self, lock_deadline: float) -> Generator[Step, Any, None]:
        """Settle the rows of dead processes, and absorb the hits from the files next to the ledger."""

        def recover_dead(db: apsw.Connection) -> bool:
            recover(db, self._owners.is_dead)
            has_budgets: bool = db.execute("SELECT EXISTS (SELECT 1 FROM budgets)").get
            return has_budgets

        self._has_budgets |= bool((yield self._writer.step(recover_dead, get_seconds_left(lock_deadline))))
        self._is_prepared = True
        yield self._writer.step(self._hits.absorb, get_seconds_left(lock_deadline))

    def _open_row(
        self,
        reservation: Reservation,
        limits: Sequence[Limit],
        quote: Quote,
        left: Callable[[], float],
        lock_deadline: float,
    ) -> Generator[Step, Any, list[Counter]]:
        exact, pause, waited, swept = not self._has_budgets, FIRST_PAUSE_S, 0.0, 0.0
        while True:
            maximum = self._most(quote, limits, exact=exact) if self._has_budgets else 0
            if maximum is None:
                exact = True
                continue
            work = partial(
                book.open_row,
                reservation=reservation,
                maximum=maximum,
                limits=limits,
                owner=self._owners.get_own_name(),
            )
            answer = yield self._writer.step(work, get_seconds_left(lock_deadline))
            if not isinstance(answer, Refusal):
                counters: list[Counter] = answer
                return counters
            if not exact:  # the cheap bound does not fit into the budget, but the tight bound may
                exact = True
                continue
            if answer.is_permanent or waited >= min(MAX_WAIT_S, left()):
                budget = self._limits.budgets[answer.limit.scope]
                raise make_exceeded_error(budget, answer, reservation.charge.kind, reservation.at)
            if not swept or waited - swept >= SWEEP_S:
                swept = waited or pause
                yield self._writer.step(partial(recover, is_dead=self._owners.is_dead))
            yield sleep(pause)
            lock_deadline += pause
            waited += pause
            pause = min(MAX_PAUSE_S, pause * 1.5)

    def _most(self, quote: Quote, limits: Sequence[Limit], *, exact: bool) -> int | None:
        """Return the maximum cost in nano-dollars; None if only the exact quote can compute it."""
        try:
            return to_nano(quote.compute_maximum(exact=exact))
        except BudgetError as error:
            if not exact:
                return None
            refusing = [
                self._limits.budgets[limit.scope]
                for limit in limits
                if limit.refuses
                and limit.scope.unit == USD
                and self._limits.budgets[limit.scope].unknown_price == "refuse"
            ]
            if not refusing:
                return 0
            point_at(error, refusing[0])
            raise

    def _abandon(self, reservation: Reservation) -> None:
        """Release the reservation of a caller that was cancelled in the meantime."""
        reservation.abandoned = True
        try:
            self._writer.run(
                lambda db: book.close_row(
                    db, reservation, Outcome(error="cancelled", requested=False), "failed"
                )
            )
        except FAULTS:
            return

    # -- settling

    def _claim(self, reservation: Reservation) -> bool:
        """Forget the reservation, and return whether this process has a row to settle."""
        self._open.discard(reservation)
        return reservation.id is not None and reservation.pid == os.getpid()

    def _close(self, reservation: Reservation, outcome: Outcome, db: apsw.Connection) -> Any:
        counters = book.close_row(db, reservation, outcome, "done" if outcome.error is None else "failed")
        return self._alerts.claim_due(db, counters)

    # -- reporting

    def _warn(self, limits: Sequence[Limit], counters: Sequence[Counter]) -> None:
        """Log, once per period, that a budget with `on_exceed = "warn"` is exceeded."""
        warning = {limit.scope: limit for limit in limits if not limit.refuses}
        if not warning:
            return
        for counter in counters:
            limit = warning.get(counter.scope)
            exceeded = limit is not None and counter.spent + counter.reserved > limit.amount
            if exceeded and (counter.period, counter.text) not in self._warned:
                self._warned.add((counter.period, counter.text))
                budget = self._limits.budgets[counter.scope]
                logger(__name__).warning(
                    'budget `%s` of %s is exceeded; calls continue because on_exceed is "warn"',
                    budget.name,
                    format_amount(budget.limit, budget.unit),
                )

    def _handle_write_error(self, error: Exception, limits: Sequence[Limit]) -> None:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, apsw.BusyError):
            reason = f"another process holds the write lock ({reason})"
        was_failing, self._failing = self._failing, True
        if any(limit.refuses for limit in limits):
            self._raise_unwritable(reason)
        if not was_failing:
            logger(__name__).warning("the ledger %s cannot be written: %s", self.database.path, reason)

    def _raise_unwritable(self, reason: str) -> NoReturn:
        if not (self.is_enabled or self.lacks_home):
            raise make_disabled_error(self.settings)
        path = self.database.path if self.is_enabled else None
        raise_unchained(make_unwritable_error(reason, path, self.settings))
