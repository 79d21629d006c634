"""Reserve the maximum cost before a request, and settle the real cost afterwards."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from llmcore import forks
from llmcore.calls.drivers import run
from llmcore.calls.steps import Act, Expired, Step
from llmcore.config.money import Budget, LedgerSettings
from llmcore.errors import LedgerUnavailable, LLMCoreError
from llmcore.ledger import exit_handlers
from llmcore.ledger.alerts import Alerts
from llmcore.ledger.budget_warnings import BudgetWarnings
from llmcore.ledger.late_settlements import LateSettlements
from llmcore.ledger.limits import BudgetLimits
from llmcore.ledger.lock_timeouts import (
    LOCK_TIMEOUT_S,
    SETTLE_TIMEOUT_S,
    get_lock_deadline,
    get_seconds_left,
)
from llmcore.ledger.operations import Operations, make_unavailable
from llmcore.ledger.quote import Quote
from llmcore.ledger.refusals import make_disabled_error, make_unusable_error, make_unwritable_error
from llmcore.ledger.report import BudgetState
from llmcore.ledger.reservation import Reservation, make_cancelled, make_local_row
from llmcore.ledger.reserver import Reserver
from llmcore.log import get_logger
from llmcore.support.errors import raise_unchained
from llmcore.support.ledger_values import Charge, Counter, Limit, Outcome

if TYPE_CHECKING:
    from llmcore.ledger.hits import Hits
    from llmcore.ledger.spool import Spool

__all__ = ["Spending"]

_NO_HOME: Final = "[ledger] path is not set, and the user has no home directory"
_NOT_MADE: Final = Outcome(error="cancelled", requested=False)


class Spending:
    """The ledger and the budgets of one Core."""

    def __init__(
        self,
        create: Callable[[], Any],
        ledger: LedgerSettings,
        configured: Sequence[Budget],
        *,
        hits: Hits,
        spool: Spool | None = None,
        observers: Sequence[Any] = (),
        get_smtp: Callable[[], Any] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use the ledger that *create* returns at the first use."""
        self.settings = ledger
        self.is_enabled = ledger.enabled and not ledger.lacks_home
        """True if the ledger is used. Without it, no request is sent that counts in a budget with `on_exceed = "refuse"`."""
        self.lacks_home = ledger.enabled and ledger.lacks_home
        """True if there is no ledger because the user has no home directory."""
        self.operations = Operations(create)
        self._limits = BudgetLimits(configured)
        self._reserver = Reserver(self.operations, self._limits)
        self.alerts = Alerts(
            configured, observers, self.operations, get_smtp, clock=clock, after=self._close_if_unused
        )
        self._hits, self._spool = hits, spool
        self._clock = clock
        self.is_prepared = False
        self._has_budgets = bool(configured)
        """True if the ledger has budgets, including budgets of other applications. With budgets, requests need reservations."""
        self._warnings = BudgetWarnings(self._limits)
        self._failing = False
        self._open: set[Reservation] = set()
        """The reservations of this process that are not settled yet."""
        self._late = LateSettlements(self._settle_late, lambda error: self._handle_write_error(error, ()))
        forks.watch(self)
        exit_handlers.watch(self)

    def reserve(
        self, charge: Charge, quote: Quote, left: Callable[[], float], *, waits: bool = True
    ) -> Act[Reservation]:
        """Reserve the maximum cost of a request and open its row; see `Reserver.open_row`.

        Raises:
            BudgetExceeded: A budget has less left than the maximum cost.
            PriceUnknown: A budget applies, and the price of the model is unknown.
            BudgetError: A budget applies, and the ledger cannot be written or the usage has no upper bound.
        """
        reservation = Reservation(charge, self._clock())
        limits = self._limits.find(charge)
        lock_deadline = get_lock_deadline(limits, left(), failing=self._failing)
        if not self.is_enabled:
            self._continue_without_ledger(limits)
            return reservation
        failure: LedgerUnavailable | None = None
        try:
            if not self.is_prepared:
                yield from self._prepare(lock_deadline)
            counters = yield from self._reserver.open_row(
                reservation, limits, quote, left, lock_deadline, has_budgets=self._has_budgets, waits=waits
            )
        except Expired:  # the caller's time ran out; the ledger did not fail
            self._abandon(reservation)
            raise
        except LedgerUnavailable as error:
            failure = error
        except LLMCoreError:  # a budget refused, or the ledger could not be created; nothing was written
            self._late.retry()  # the budget may be full of rows that wait to be settled
            raise
        except Exception as error:  # noqa: BLE001 - a ledger plugin may raise any exception
            failure = make_unavailable(error)
        except BaseException:
            self._abandon(reservation)
            raise
        if failure is not None:
            self._continue_unbooked(reservation, failure, limits)
            return reservation
        self._note_success(reservation, charge)
        self._late.retry()
        self._warnings.log_exceeded(limits, counters)
        return reservation

    def check(self, charge: Charge, quote: Quote, left: Callable[[], float]) -> Act[None]:
        """Check that the budgets have enough left for several requests. Each request reserves separately later.

        Raises:
            BudgetExceeded: A budget has too little left, even if all reservations were released.
            BudgetError: As in `reserve`.
        """
        limits = [limit for limit in self._limits.find(charge) if limit.refuses]
        if not limits or not self.is_enabled:
            return
        yield from self._reserver.check(charge, quote, limits, self._clock(), left)

    def settle(self, reservation: Reservation, outcome: Outcome) -> Act[None]:
        """Book the outcome of the request and release the reservation."""
        if not self._claim(reservation, outcome):
            return
        settlements = [reservation.make_settlement(outcome)]
        failure: LedgerUnavailable | None = None
        try:
            counters = yield self.operations.make_step("settle", settlements, SETTLE_TIMEOUT_S)
        except Expired:  # the request was sent, so book it although the caller's time ran out
            self._settle_soon(reservation, outcome)
            return
        except Exception as error:  # noqa: BLE001 - a ledger plugin may raise any exception
            failure = make_unavailable(error)
        except BaseException:
            # The caller was cancelled, perhaps before the step began. Settling a row again that is closed changes nothing.
            self._settle_soon(reservation, outcome)
            raise
        if failure is not None:
            self._settle_later(reservation, outcome, failure)
            return
        self.alerts.pace.note(counters)
        due = self.alerts.find_due(counters)
        while due:
            alert = due.pop()
            try:
                claimed = yield self.operations.make_step(
                    "claim_alert", alert.counter, alert.amount, SETTLE_TIMEOUT_S
                )
            except Exception:  # noqa: BLE001 - the claim may be in the ledger or not, so claim it again later
                self.alerts.claim_later([alert, *due])
                return
            except BaseException:
                self.alerts.claim_later([alert, *due])
                raise
            if claimed:
                self.alerts.send(alert)

    def settle_now(self, reservation: Reservation, outcome: Outcome) -> None:
        """Settle without a step, for a call that is being garbage-collected. Waits for a lock only briefly."""
        if self._claim(reservation, outcome):
            self._settle_soon(reservation, outcome)

    def _settle_soon(self, reservation: Reservation, outcome: Outcome) -> None:
        """Record the outcome. If the ledger stays locked for `SETTLE_TIMEOUT_S`, a thread writes the row later."""
        error = self._settle_late({reservation: outcome}, SETTLE_TIMEOUT_S)
        if error is not None:
            self._settle_later(reservation, outcome, error)

    def _settle_later(self, reservation: Reservation, outcome: Outcome, error: LedgerUnavailable) -> None:
        if error.busy:  # another process must not delay the answer: a thread writes the row
            self._late.add(reservation, outcome)
        else:  # the ledger refused the row: try again after it has accepted another row
            self._late.add_refused(reservation, outcome)
            self._handle_write_error(error, ())

    def _settle_late(
        self, outcomes: Mapping[Reservation, Outcome], timeout_s: float
    ) -> LedgerUnavailable | None:
        """Record *outcomes* in one transaction; see `late_settlements.Settle`."""
        settlements = [reservation.make_settlement(outcome) for reservation, outcome in outcomes.items()]
        try:
            counters = self.operations.run("settle", settlements, timeout_s)
            self.alerts.pace.note(counters)
        except Exception as error:  # noqa: BLE001 - a ledger plugin may raise any exception
            return make_unavailable(error)
        self.alerts.claim_later(self.alerts.find_due(counters))
        return None

    # -- management; if the ledger fails, these methods raise LedgerUnavailable, and `read` raises LedgerError

    def set_user_budgets(self, budgets: Iterable[Budget]) -> None:
        """Replace the budgets of users; see `BudgetLimits.set_user_budgets`."""
        self._limits.set_user_budgets(budgets)
        self._has_budgets |= bool(self._limits)

    def set_run_budget(self, tag: str, budget: Budget | None) -> None:
        """Replace the budget of the batch with *tag*; None removes the budget."""
        self._limits.set_run_budget(tag, budget)
        self._has_budgets |= bool(self._limits)

    def find_limits(self, charge: Charge) -> list[Limit]:
        """Return the limits that count *charge*."""
        return self._limits.find(charge)

    def refresh(self) -> None:
        """Update the ledger before a read: write hits, and settle the rows of dead processes."""
        self._hits.write()
        self.prepare()

    def prepare(self) -> None:
        """Create missing tables, settle the rows of dead processes, and import the rows of the file next to the ledger."""
        run(self._prepare(time.monotonic() + LOCK_TIMEOUT_S))

    def read(self, operation: str, *args: Any) -> list[Any]:
        """Run a reading operation of the ledger, without the updates of `refresh`.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        try:
            return list(self.operations.run(operation, *args, LOCK_TIMEOUT_S))
        except LLMCoreError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a ledger plugin may raise any exception
            failure = make_unavailable(error)
        if not isinstance(failure, LedgerUnavailable):
            raise_unchained(failure)
        raise make_unusable_error(failure.message, self.location, self.settings, "read")

    def read_states(self) -> list[BudgetState]:
        """Return the states of all budgets in their current periods."""
        now = self._clock()
        rows = [(each.text, each.period, each.spent, each.reserved) for each in self.read_counters(now)]
        return self._limits.make_states(rows, now)

    def read_counters(self, at: float | None = None) -> Sequence[Counter]:
        """Return the counters of all budgets in the periods that contain *at*, by default now."""
        at = self._clock() if at is None else at
        counters: Sequence[Counter] = self.operations.run(
            "read_budgets", list(self._limits.budgets), at, LOCK_TIMEOUT_S
        )
        return counters

    def shut_down(self) -> Act[None]:
        """Close the ledger. A later settlement of this process opens it again."""
        if self.operations.is_created:
            yield self.operations.make_step("close")
        self.is_prepared = False

    def _close_if_unused(self) -> None:
        """Close the ledger again if a thread has opened it after `shut_down`."""
        if not self.is_prepared:
            with contextlib.suppress(Exception):
                self.operations.run("close")

    def at_exit(self, timeout_s: float) -> None:
        """Settle requests whose call can no longer end, such as those of daemon threads; see `exit_handlers.AtExit`.

        If the ledger stays locked, the rows stay open, and the next process records their maximum cost.
        """
        for reservation in list(self._open):
            outcome = make_cancelled(reservation)
            if self._claim(reservation, outcome):
                self._late.put(reservation, outcome)
        ends = time.monotonic() + timeout_s
        self._late.close(timeout_s)
        self.operations.flush(get_seconds_left(ends))
        self.alerts.finish(get_seconds_left(ends))

    def after_fork(self) -> None:
        """Drop the reservations in a forked child, because they belong to the parent; see `forks.ForkAware`."""
        self._open = set()
        self._reserver.renew_keys()

    def _prepare(self, lock_deadline: float) -> Generator[Step, Any, None]:
        """Settle the rows of dead processes, and import the rows of the file next to the ledger."""
        prepared = yield self.operations.make_step("prepare", get_seconds_left(lock_deadline))
        self._has_budgets |= bool(prepared)
        self.is_prepared = True
        spool = self._spool
        if spool is None:
            return
        for batch in spool.iterate_batches():
            forget, seconds_left = spool.take_forgotten(), get_seconds_left(lock_deadline)
            try:
                yield self.operations.make_step("record", batch.name, batch.rows, forget, seconds_left)
            except LedgerUnavailable as error:
                if error.busy:
                    raise
                # The ledger works, but refuses these rows. The rows of earlier calls must not make new calls fail.
                message = "the rows of %s were not imported into the ledger: %s"
                get_logger(__name__).warning(message, batch.name, error.message)
                continue
            spool.delete(batch)

    def _note_success(self, reservation: Reservation, charge: Charge) -> None:
        if self._failing:  # the next call imports the rows of the file next to the ledger
            self._failing, self.is_prepared = False, False
        if (
            charge.owner is None
        ):  # a row with an owner is that of a vendor's batch; it stays open when this process ends
            self._open.add(reservation)

    def _continue_unbooked(
        self, reservation: Reservation, failure: LedgerUnavailable, limits: Sequence[Limit]
    ) -> None:
        """Let a call continue without a row in the ledger.

        Raise an error if the call is under a budget that refuses calls.
        """
        # the ledger may have opened the row before it failed
        if failure.unknown and reservation.request is not None:
            self._late.add(reservation, _NOT_MADE)
        self._handle_write_error(failure, limits)
        reservation.is_unbooked = failure.busy and self._spool is not None

    # -- settling

    def _abandon(self, reservation: Reservation) -> None:
        """Release what the ledger may have reserved for a caller that was cancelled or ran out of time."""
        if reservation.request is not None:
            self._settle_soon(reservation, _NOT_MADE)

    def _claim(self, reservation: Reservation, outcome: Outcome) -> bool:
        """Remove the reservation from the open ones. Write an unbooked request to the file next to the ledger.

        Return whether this process has a row to settle in the ledger.
        """
        self._open.discard(reservation)
        if reservation.is_unbooked and reservation.pid == os.getpid():
            reservation.is_unbooked = False
            if outcome.requested and self._spool is not None:
                with contextlib.suppress(OSError):  # the disk may be full
                    self._spool.append_row(make_local_row(reservation, outcome))
        return reservation.is_open and reservation.pid == os.getpid()

    # -- reporting

    def _continue_without_ledger(self, limits: Sequence[Limit]) -> None:
        """Reject a call under a budget that refuses calls. For other calls, log once that they are not recorded, if the ledger is on."""
        if any(limit.refuses for limit in limits):
            self._raise_unwritable(_NO_HOME)
        if self.lacks_home and not self._failing:
            self._failing = True
            get_logger(__name__).warning("calls are not written to a ledger: %s", _NO_HOME)

    def _handle_write_error(self, error: LedgerUnavailable, limits: Sequence[Limit]) -> None:
        was_failing, self._failing = self._failing, True
        if any(limit.refuses for limit in limits):
            self._raise_unwritable(error.message)
        if not was_failing:
            get_logger(__name__).warning("the ledger %s cannot be written: %s", self.location, error.message)

    @property
    def location(self) -> str:
        """The place of the ledger: a path, or an address."""
        return str(self.operations.provider.location)

    def _raise_unwritable(self, reason: str) -> NoReturn:
        if not (self.is_enabled or self.lacks_home):
            raise make_disabled_error(self.settings)
        location = self.location if self.is_enabled else None
        raise_unchained(make_unwritable_error(reason, location, self.settings))
