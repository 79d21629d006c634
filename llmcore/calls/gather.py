"""Run several tasks of one call concurrently, in threads or asyncio tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from llmcore import forks
from llmcore.calls.drivers import arun, run
from llmcore.calls.futures import wait_for_all
from llmcore.calls.steps import Act, Step
from llmcore.threads import start_thread

__all__ = ["gather"]

T = TypeVar("T")
Work: TypeAlias = Callable[[], Act[Any]]


def gather(tasks: Sequence[Work], limit: int) -> Step:
    """Return a step that runs *tasks*, at most *limit* at a time, and returns the results in order.

    After the first failure, no further task starts. Running asyncio tasks are cancelled; running threads finish. The step
    then raises the first error.
    """
    return Step(_run_in_threads, _run_in_tasks, tasks, limit)


class _TaskQueue:
    """The tasks that have not started, and the results of the finished tasks."""

    def __init__(self, tasks: Sequence[Work]) -> None:
        self.results: list[Any] = [None] * len(tasks)
        self.failure: BaseException | None = None
        self._rest = iter(enumerate(tasks))
        self._lock = forks.lock()

    def take_next(self) -> tuple[int, Work] | None:
        """Return the next task with its position; None if all tasks have started or a task has failed."""
        with self._lock:
            return None if self.failure is not None else next(self._rest, None)

    def fail(self, error: BaseException) -> None:
        """Record the first failure."""
        with self._lock:
            self.failure = self.failure or error

    def take_results(self) -> list[Any]:
        """Return the results, or raise the first failure."""
        failure, self.failure = self.failure, None
        if failure is None:
            return self.results
        try:
            raise failure
        finally:
            failure = None  # breaks the reference cycle between frame and traceback


def _run_in_threads(tasks: Sequence[Work], limit: int) -> list[Any]:
    import contextvars

    queue = _TaskQueue(tasks)

    def work() -> None:
        while (item := queue.take_next()) is not None:
            try:
                queue.results[item[0]] = run(item[1]())
            except BaseException as error:  # noqa: BLE001 - `take_results` raises the error
                queue.fail(error)

    threads = [
        threading.Thread(
            target=contextvars.copy_context().run, args=(work,), name="llmcore-gather", daemon=True
        )
        for _ in range(min(limit, len(tasks)) - 1)
    ]
    started = [thread for thread in threads if start_thread(thread)]  # the caller's thread runs tasks too
    work()
    try:
        for thread in started:
            thread.join()
    except BaseException as error:
        queue.fail(error)
        raise
    return queue.take_results()


async def _run_in_tasks(tasks: Sequence[Work], limit: int) -> list[Any]:
    import asyncio

    queue = _TaskQueue(tasks)

    async def work() -> None:
        while (item := queue.take_next()) is not None:
            try:
                queue.results[item[0]] = await arun(item[1]())
            except BaseException as error:
                queue.fail(error)
                raise

    running = [asyncio.ensure_future(work()) for _ in range(min(limit, len(tasks)))]
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in running:
            task.cancel()
        await wait_for_all(running)
    return queue.take_results()
