"""The contract of an engine. An engine runs parts of a batch in worker processes, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["EngineProvider"]


@runtime_checkable
class EngineProvider(Protocol):
    """Run functions in worker processes. Several threads may call at the same time.

    An engine only carries work. It may lose a worker, and it may run the same work twice: the host decides in the ledger
    which worker sends a request, so a repetition pays nothing.
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
        `EngineError`: with `lost=True` if the worker ended or can no longer be reached, so that the host submits the work
        again; otherwise with the type and the message of the exception that *function* raised. `Future.cancel` withdraws work
        that has not started. It returns True only if the work does not run.
        """
        ...

    def close(self) -> None:
        """Withdraw the work that has not started, and release the workers.

        Workers that the engine has started end; those of another cluster stay. A second call has no effect.
        """
        ...
