"""The items of batches that the workers of an engine share; see `llmcore.contracts.LedgerRuns`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmcore.support.ledger_runs import BUSY, MINE, ItemState

__all__ = ["Runs"]


class Runs:
    """The ability `LedgerRuns` of the ledger `postgres`. Its claims last as long as the heartbeat of the process."""

    _silence_s: float

    def open_run(self, run: str, timeout_s: float) -> None:
        """See `LedgerRuns.open_run`."""
        self._call("open_run", run, timeout_s=timeout_s)

    def claim_items(
        self, run: str, claim: str, keys: Sequence[bytes], timeout_s: float
    ) -> Sequence[ItemState] | None:
        """See `LedgerRuns.claim_items`."""
        rows = self._read(
            "SELECT state, result FROM {s}.claim_items(%s, %s, %s, %s, %s, %s)",
            (
                run,
                claim,
                self._get_owner_name(timeout_s),
                list(keys),
                f"{self._silence_s} s",
                _format(timeout_s),
            ),
            timeout_s,
        )
        if keys and not rows:
            return None
        return [
            ItemState("done", bytes(answer)) if state == "done" else MINE if state == "mine" else BUSY
            for state, answer in rows
        ]

    def finish_items(
        self, run: str, claim: str, answers: Sequence[tuple[bytes, bytes]], timeout_s: float
    ) -> None:
        """See `LedgerRuns.finish_items`."""
        keys, values = [key for key, _ in answers], [answer for _, answer in answers]
        self._call("finish_items", run, claim, keys, values, timeout_s=timeout_s, waits=True)

    def release_items(self, run: str, claim: str, timeout_s: float) -> None:
        """See `LedgerRuns.release_items`."""
        self._call("release_items", run, claim, timeout_s=timeout_s)

    def close_run(self, run: str, timeout_s: float) -> None:
        """See `LedgerRuns.close_run`."""
        self._call("close_run", run, timeout_s=timeout_s)

    def forget_run(self, run: str, timeout_s: float) -> None:
        """See `LedgerRuns.forget_run`."""
        self._call("forget_run", run, timeout_s=timeout_s)

    def _get_owner_name(self, timeout_s: float) -> str:
        """Start the heartbeat of this process, unless it runs. Return the name of the process."""
        raise NotImplementedError

    def _call(self, function: str, *args: Any, timeout_s: float, waits: bool = False) -> Any:
        raise NotImplementedError

    def _read(self, statement: str, args: Sequence[Any], timeout_s: float) -> list[tuple[Any, ...]]:
        raise NotImplementedError


def _format(timeout_s: float) -> str:
    return f"{max(1, int(timeout_s * 1000))}ms"
