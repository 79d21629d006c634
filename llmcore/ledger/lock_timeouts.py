"""Timeouts for the wait while another process holds the write lock of the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from llmcore.support.ledger_values import Limit

__all__ = [
    "INLINE_TIMEOUT_S",
    "LOCK_TIMEOUT_S",
    "SETTLE_TIMEOUT_S",
    "get_lock_deadline",
    "get_seconds_left",
    "limit_timeout",
]

LOCK_TIMEOUT_S: Final = 10.0
"""The maximum seconds to wait for locks of other processes."""
INLINE_TIMEOUT_S: Final = 1.0
"""The timeout in seconds for work that runs in the caller's thread because no thread could be started."""
_DEFAULT_TIMEOUT_S: Final = 0.7
"""How long, in seconds, a call waits for its row in the ledger before it continues without a row.

Together with `SETTLE_TIMEOUT_S`, the ledger delays such a call by less than a second. A call under a budget that refuses
calls waits for `LOCK_TIMEOUT_S` instead, because it cannot continue without a row.
"""
SETTLE_TIMEOUT_S: Final = 0.05
"""Seconds to wait for the ledger before a call returns its answer.

The timeout is short, because the answer is already complete. After the timeout, a thread writes the row.
"""
_PART: Final = 0.9
_FAILING_TIMEOUT_S: Final = 0.02
"""Replaces `_DEFAULT_TIMEOUT_S` if the previous call could not write to the ledger."""


def get_lock_deadline(limits: Sequence[Limit], left_s: float, *, failing: bool) -> float:
    """Return the deadline for writing the row of a request under *limits*, on the clock of `time.monotonic`.

    A call under a budget that refuses calls waits longer, because it would fail without the ledger, but it ends
    before its own deadline. Other calls continue without the ledger, and keep half of their time for the request.

    Args:
        limits: The limits that count the request.
        left_s: The seconds until the deadline of the call.
        failing: True if the previous call could not write to the ledger.
    """
    if any(limit.refuses for limit in limits):
        return time.monotonic() + limit_timeout(_DEFAULT_TIMEOUT_S if failing else LOCK_TIMEOUT_S, left_s)
    return time.monotonic() + limit_timeout(_FAILING_TIMEOUT_S if failing else _DEFAULT_TIMEOUT_S, left_s / 2)


def limit_timeout(timeout_s: float, left_s: float) -> float:
    """Return *timeout_s*, but at most nine tenths of *left_s*, the seconds until the call's deadline.

    So a call whose ledger does not answer ends with the ledger's error, not with a timeout. The result is at least
    `SETTLE_TIMEOUT_S`, so that a ledger that works can answer even after the deadline.
    """
    return min(timeout_s, max(_PART * left_s, SETTLE_TIMEOUT_S))


def get_seconds_left(lock_deadline: float) -> float:
    """Return the seconds until *lock_deadline*, at least 0."""
    return max(0.0, lock_deadline - time.monotonic())
