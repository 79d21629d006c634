"""The two statements of a request: `reserve` opens rows, `settle` closes them.

One statement may send the items of several callers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from llmcore.errors import LedgerUnavailable
from llmcore.support.ledger_values import Refusal, Reserved, ReserveRequest, Scope, Settlement
from llmcore_ledger_postgres import encoding
from llmcore_ledger_postgres.encoding import Opened

if TYPE_CHECKING:
    from llmcore_ledger_postgres.connections import Connections
    from llmcore_ledger_postgres.owner import Owner

__all__ = ["Reserve", "Settle", "Statement", "encode_lock_timeout", "wait_for_counters"]

_STALE: Final = {"stale": True}
"""The answer of a server after a failover, while the server may lack rows."""
_STALE_PAUSE_S: Final = 0.2


class Statement(Protocol):
    """Sends items of one kind. A statement that is sent twice has the same effect as one that is sent once."""

    text: bytes
    """The statement. Its parameters are `$1`, `$2`."""

    def is_ready(self) -> bool:
        """Return whether the statement may be sent at once.

        If not, `execute` must send another statement first.
        """
        ...

    def encode(self, items: Sequence[Any], timeout_s: float) -> list[bytes]:
        """Return the parameters."""
        ...

    def decode(self, items: Sequence[Any], answer: bytes) -> Sequence[Any] | None:
        """Return one result per item. Return None if further statements are needed; the caller then uses `execute`."""
        ...

    def execute(self, items: Sequence[Any], timeout_s: float) -> Sequence[Any]:
        """Send the statement, and further statements if the answer requires them. Return one result per item.

        This method blocks.

        Raises:
            LedgerUnavailable: The ledger cannot be used, or did not answer in time.
        """
        ...


class _Ledger(Protocol):
    """The part of `PostgresLedger` that the statements use."""

    connections: Connections
    owner: Owner
    is_owner: bool
    """True if the heartbeat has begun."""

    def make_statement(self, function: str, size: int) -> bytes:
        """Return the statement that calls a function with *size* arguments."""
        ...

    def become_owner(self, timeout_s: float) -> None:
        """Begin the heartbeat, unless it has begun."""
        ...

    def create_counters(self, scopes: Iterable[Scope], timeout_s: float) -> None:
        """Create the counters of *scopes* in their current periods, unless they exist."""
        ...

    def restate(self, timeout_s: float) -> bool:
        """Send the rows of this process again after a failover. Return whether the counters are rebuilt."""
        ...


class Reserve:
    """Opens a row for each `ReserveRequest`. The results are `Reserved` or `Refusal`."""

    def __init__(self, ledger: _Ledger) -> None:
        self._ledger = ledger
        self.text = ledger.make_statement("reserve", 3)

    def is_ready(self) -> bool:
        """See `Statement`. Not ready means that the heartbeat of this process must begin first."""
        return self._ledger.is_owner

    def encode(self, items: Sequence[ReserveRequest], timeout_s: float) -> list[bytes]:
        """See `Statement`."""
        requests = encoding.encode([encoding.encode_request(item) for item in items])
        return [self._ledger.owner.name.encode(), requests.encode(), encode_lock_timeout(timeout_s)]

    def decode(self, items: Sequence[ReserveRequest], answer: bytes) -> Sequence[Any] | None:
        """See `Statement`."""
        answers: list[Any] = [None] * len(items)
        return None if self._decode(items, range(len(items)), answer, answers) else answers

    def execute(self, items: Sequence[ReserveRequest], timeout_s: float) -> Sequence[Any]:
        """See `Statement`."""
        deadline = time.monotonic() + timeout_s
        self._ledger.become_owner(timeout_s)
        answers: list[Any] = [None] * len(items)
        waiting: Sequence[int] = range(len(items))
        try:
            while waiting:
                left = deadline - time.monotonic()
                values = self.encode([items[number] for number in waiting], left)
                raw = self._ledger.connections.call(self.text, values, left)
                again = self._decode(items, waiting, raw, answers)
                waiting = self._resolve(items, again, deadline) if again else ()
        except LedgerUnavailable as error:
            error.unknown = error.unknown or any(type(answer) is Reserved for answer in answers)
            raise
        return answers

    def _decode(
        self, items: Sequence[ReserveRequest], numbers: Iterable[int], raw: bytes, answers: list[Any]
    ) -> list[tuple[int, dict[str, Any]]]:
        """Decode *raw*, the answer for the items with the indexes *numbers*. Store the results in *answers*.

        Return the index and the raw answer of each item without a result.
        """
        again = []
        for number, answer in zip(numbers, encoding.decode(raw), strict=True):
            request = items[number]
            decoded: Reserved | Refusal | None = encoding.decode_answer(answer, request)
            answers[number] = decoded
            if decoded is None:
                again.append((number, answer))
            elif type(decoded) is Reserved and request.charge.owner is None:
                self._ledger.owner.add(Opened(request, decoded.row, decoded.at))
        return again

    def _resolve(
        self, items: Sequence[ReserveRequest], again: Sequence[tuple[int, dict[str, Any]]], deadline: float
    ) -> list[int]:
        """Handle the answers without a result. Return the indexes of the items to send again."""
        left = deadline - time.monotonic()
        if any("void" in answer for _, answer in again):
            raise LedgerUnavailable("the request was abandoned")
        missing = {
            limit.scope for number, answer in again if "missing" in answer for limit in items[number].limits
        }
        if missing:
            self._ledger.create_counters(missing, left)
        if any("stale" in answer for _, answer in again):
            wait_for_counters(self._ledger, left)
        return [number for number, _ in again]


class Settle:
    """Closes rows. An item is a sequence of `Settlement`, one for each row.

    Every item gets the same result: all counters that the statement has changed.
    """

    def __init__(self, ledger: _Ledger) -> None:
        self._ledger = ledger
        self.text = ledger.make_statement("settle", 2)

    def is_ready(self) -> bool:
        """See `Statement`."""
        return True

    def encode(self, items: Sequence[Sequence[Settlement]], timeout_s: float) -> list[bytes]:
        """See `Statement`."""
        encoded = [encoding.encode_settlement(each) for settlements in items for each in settlements]
        return [encoding.encode(encoded).encode(), encode_lock_timeout(timeout_s)]

    def decode(self, items: Sequence[Sequence[Settlement]], answer: bytes) -> Sequence[Any] | None:
        """See `Statement`."""
        answers = encoding.decode(answer)
        return None if _STALE in answers else self._finish(items, answers)

    def execute(self, items: Sequence[Sequence[Settlement]], timeout_s: float) -> Sequence[Any]:
        """See `Statement`."""
        deadline = time.monotonic() + timeout_s
        answers = self._send(items, timeout_s)
        if _STALE in answers:  # a failover lost an open row: send the open rows again, then settle them
            self._ledger.restate(deadline - time.monotonic())
            answers += self._send(items, deadline - time.monotonic())
        return self._finish(items, answers)

    def _send(self, items: Sequence[Sequence[Settlement]], timeout_s: float) -> list[Any]:
        values = self.encode(items, timeout_s)
        answers: list[Any] = encoding.decode(self._ledger.connections.call(self.text, values, timeout_s))
        return answers

    def _finish(self, items: Sequence[Sequence[Settlement]], answers: Sequence[Any]) -> Sequence[Any]:
        for settlements in items:
            for settlement in settlements:
                self._ledger.owner.close(settlement)
        counters = [encoding.decode_counter(each) for each in answers if each != _STALE]
        latest = {(counter.period, counter.text): counter for counter in counters}
        return [list(latest.values())] * len(items)


def encode_lock_timeout(timeout_s: float) -> bytes:
    """Return *timeout_s* encoded as the statement's parameter for the lock timeout."""
    return b"%dms" % max(1, int(timeout_s * 1000))


def wait_for_counters(ledger: _Ledger, timeout_s: float) -> None:
    """Send the rows of this process again after a failover. Pause if the server does not have all rows yet.

    Raises:
        LedgerUnavailable: The budgets are not rebuilt in time.
    """
    if ledger.restate(timeout_s):
        return
    if timeout_s <= _STALE_PAUSE_S:
        raise LedgerUnavailable(
            "the server was replaced and may have lost rows; requests wait until its budgets are rebuilt",
            busy=True,
        )
    time.sleep(_STALE_PAUSE_S)
