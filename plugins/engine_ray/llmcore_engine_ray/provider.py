"""The engine `ray` runs the chunks of a batch as tasks of a Ray cluster, on this machine or on several."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Final

import ray

from llmcore_engine_ray import connection
from llmcore_engine_ray.options import RayOptions
from llmcore_engine_ray.task import TaskFuture

__all__ = ["RayEngine"]

_END_S: Final = 30.0
"""`close` waits this many seconds at most for the tasks that workers have begun."""


class RayEngine:
    """See `llmcore.contracts.EngineProvider`. The first call connects to the cluster, or starts one."""

    def __init__(self, options: RayOptions) -> None:
        self._options = options
        self._tasks: set[TaskFuture] = set()

    def count_slots(self) -> int:
        """See `EngineProvider.count_slots`. A cluster without CPUs counts as one slot, because nodes may still start."""
        nodes = connection.use(self, self._options, lambda _: ray.nodes())
        return max(1, sum(int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]))

    def submit(self, function: Callable[[bytes], bytes], data: bytes) -> Future[bytes]:
        """See `EngineProvider.submit`. If the cluster restarts, wait for it, for up to `connect_timeout`."""
        task = connection.use(self, self._options, lambda opened: TaskFuture(opened, function, data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """See `EngineProvider.close`.

        Wait up to `_END_S` for tasks that have begun. A connection that the application made stays open.
        """
        tasks = list(self._tasks)
        for task in tasks:
            task.withdraw()
        wait(tasks, _END_S)
        for task in tasks:
            task.lose("the engine was closed")
        connection.release(self)
