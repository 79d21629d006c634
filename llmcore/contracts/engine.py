"""The contract of an engine. An engine runs chunks of a batch in worker processes, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["EngineProvider"]


@runtime_checkable
class EngineProvider(Protocol):
    """Run functions in worker processes. Several threads may call at the same time.

    An engine may lose a worker, and may run the same work twice. A repetition costs nothing, because the ledger lets only
    one worker send each request.
    """

    def count_slots(self) -> int:
        """Return how many calls the workers can run at the same time, at least 1.

        The host asks again while a batch runs, because a cluster may grow or shrink.

        Raises:
            EngineError: The cluster cannot be reached.
        """
        ...

    def submit(self, function: Callable[[bytes], bytes], data: bytes) -> Future[bytes]:
        """Start `function(data)` in a worker process. Return the future of the result, without waiting for the call.

        *function* belongs to a module that the worker can import, so it can be pickled by name. The future raises only
        `EngineError`. Set `lost=True` if the worker ended or cannot be reached; the host then submits the work again.
        If *function* raised an exception, the message of the `EngineError` has the type and the text of that exception.
        `Future.cancel` withdraws work that has not started. `cancel` returns True only if the work will not run.
        """
        ...

    def close(self) -> None:
        """Withdraw the work that has not started, and release the workers. Every future gets a result or an exception.

        Workers that the engine started end. Workers of an existing cluster keep running. A second call has no effect.
        """
        ...
