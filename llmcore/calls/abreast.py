"""Several pieces of one call, carried out side by side in either colour."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act, Step

__all__ = ["abreast"]

T = TypeVar("T")
Work: TypeAlias = Callable[[], Act[Any]]


def abreast(works: Sequence[Work], width: int) -> Step:
    """Return the step that carries out *works*, at most *width* at a time, and gives their results in order.

    After the first that fails no other is begun; its error is raised when those under way have ended: tasks are
    cancelled, threads are waited for.
    """
    return Step(_in_threads, _in_tasks, works, width)


class _Row:
    """What is still to be begun, and what came of the rest."""

    def __init__(self, works: Sequence[Work]) -> None:
        self.results: list[Any] = [None] * len(works)
        self.failure: BaseException | None = None
        self._rest = iter(enumerate(works))
        self._lock = threading.Lock()

    def next(self) -> tuple[int, Work] | None:
        """Return what to begin, None where nothing is to be begun any more."""
        with self._lock:
            return None if self.failure is not None else next(self._rest, None)

    def fail(self, error: BaseException) -> None:
        """Note the first failure."""
        with self._lock:
            self.failure = self.failure or error

    def outcome(self) -> list[Any]:
        """Return the results, or raise the first failure."""
        failure, self.failure = self.failure, None
        if failure is None:
            return self.results
        try:
            raise failure
        finally:
            failure = None  # else the frame and the traceback would keep each other alive


def _in_threads(works: Sequence[Work], width: int) -> list[Any]:
    import contextvars

    row = _Row(works)

    def carry() -> None:
        while (found := row.next()) is not None:
            try:
                row.results[found[0]] = run(found[1]())
            except BaseException as error:  # noqa: BLE001 - it is raised where the row was begun
                row.fail(error)

    threads = [
        threading.Thread(
            target=contextvars.copy_context().run, args=(carry,), name="llmcore-abreast", daemon=True
        )
        for _ in range(min(width, len(works)) - 1)
    ]
    for thread in threads:
        thread.start()
    carry()
    try:
        for thread in threads:
            thread.join()
    except BaseException as error:
        row.fail(error)
        raise
    return row.outcome()


async def _in_tasks(works: Sequence[Work], width: int) -> list[Any]:
    import asyncio

    row = _Row(works)

    async def carry() -> None:
        while (found := row.next()) is not None:
            try:
                row.results[found[0]] = await arun(found[1]())
            except BaseException as error:
                row.fail(error)
                raise

    tasks = [asyncio.ensure_future(carry()) for _ in range(min(width, len(works)))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return row.outcome()
