"""A task of Ray as a future."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any

import ray
from ray.exceptions import LocalRayletDiedError, RayTaskError, RuntimeEnvSetupError

from llmcore.errors import EngineError
from llmcore.support.threads import submit
from llmcore_engine_ray.connection import Connection
from llmcore_engine_ray.worker import call

__all__ = ["TaskFuture"]


class TaskFuture(Future[bytes]):
    """The future of a task. `cancel` returns False, because a worker may already run the task."""

    def __init__(self, connection: Connection, function: Callable[[bytes], bytes], data: bytes) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()
        self._connection = connection
        # Ray must not repeat a chunk whose worker died. The host submits the chunk again, for a few attempts.
        options = ray.remote(call).options(num_cpus=1, max_retries=0, name="llmcore")
        self._task: Any = options.remote(function, data)
        connection.add(self)
        self._task.future().add_done_callback(self._finish)

    def cancel(self) -> bool:
        """Ask Ray to withdraw the task. Return False, because a worker may already run it."""
        # Use another thread: this thread may run an event loop, and Ray blocks if the cluster does not answer.
        submit(self.withdraw, otherwise=lambda: None)
        return False

    def withdraw(self) -> None:
        """Ask Ray to withdraw the task. This call blocks."""
        with self._connection.hold() as is_open:
            if is_open and not self.done():
                with contextlib.suppress(Exception):  # the cluster may not answer
                    ray.cancel(self._task)

    def lose(self, reason: str) -> None:
        """See `Task.lose`. This ends the future, because Ray does not end the tasks of a closed connection."""
        self._end(EngineError(f"the work was lost: {reason}", lost=True))

    def _finish(self, task: Future[Any]) -> None:
        error = task.exception()
        if error is None:
            value, text = task.result()
            self._end(EngineError(f"a worker failed: {text}") if text else bytes(value))
        elif isinstance(error, RayTaskError | RuntimeEnvSetupError):
            self._end(
                EngineError(
                    f"a worker failed: {_describe(error)}",
                    expected="the same versions of llmcore-host, llmcore-engine-ray and the plugins on each worker",
                )
            )
        else:  # a worker or a node ended, its memory was full, or the connection broke
            self._connection.is_lost |= isinstance(error, LocalRayletDiedError)
            self.lose(_describe(error))

    def _end(self, result: bytes | EngineError) -> None:
        self._connection.tasks.discard(self)
        self._task = None  # lets Ray delete its copy of the result
        with contextlib.suppress(InvalidStateError):
            if isinstance(result, EngineError):
                self.set_exception(result)
            else:
                self.set_result(result)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip()}"
