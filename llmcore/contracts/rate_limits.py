"""The contract of a store of rate limits: the processes of all machines that use the store share each limit.

A cache such as `redis` may have this ability. `[limits] shared = "redis"` selects the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from llmcore.support.limit_values import PermitAnswer, PermitRequest, PermitReturn, ProcessReport

__all__ = ["AsyncCacheRateLimits", "CacheRateLimits"]


@runtime_checkable
class CacheRateLimits(Protocol):
    """Share rate limits among processes, by the clock of the store.

    If a limit allows *rate* units a second, all processes together take at most `rate * w` units plus the burst in
    any window of w seconds; `llmcore.calls.bucket.Bucket` follows the same rule for one process. Calls that wait are
    served in the order in which they arrived.
    """

    def request_permit(self, request: PermitRequest, timeout: float) -> PermitAnswer:
        """Take one request and the tokens from all scopes, or from none. Atomic among all processes.

        Raises:
            CacheError: The store did not answer within *timeout* seconds, or refused.
        """
        ...

    def return_permits(self, returns: Sequence[PermitReturn]) -> None:
        """Refund unused tokens, free the slots, and remove waiting calls from the queue.

        The host never repeats this call. A lost refund only makes the limit stricter.
        """
        ...

    def report_process(self, report: ProcessReport) -> int:
        """Renew the slots and record that the process is alive. Return the number of living processes, at least 1."""
        ...


@runtime_checkable
class AsyncCacheRateLimits(Protocol):
    """The async variant. The host calls all other methods of `CacheRateLimits` from a thread."""

    async def arequest_permit(self, request: PermitRequest, timeout: float) -> PermitAnswer:  # noqa: ASYNC109 - the sync method has the same parameter
        """See `CacheRateLimits.request_permit`."""
        ...
