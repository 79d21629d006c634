"""The tail of a batch: near the end of the vendor's time, move the remaining requests to the lane `now`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmcore.llm.batch.items import BatchItem
    from llmcore.llm.batch.live_lane import LiveLane
    from llmcore.llm.batch.queue import QueueLane

__all__ = ["SwitchingLane"]


class SwitchingLane:
    """The lane `queue`, followed by the lane `now` if there is one."""

    def __init__(self, queue: QueueLane, make_live: Callable[[], LiveLane] | None) -> None:
        self._queue = queue
        self._make_live = make_live
        self._live: LiveLane | None = None

    async def take(self) -> list[BatchItem]:
        """See `LiveLane.take`."""
        if self._live is None:
            found = await self._queue.take()
            if found or self._make_live is None:
                return found
            self._live = self._make_live()
        return await self._live.take()

    async def close(self) -> None:
        """See `LiveLane.close`."""
        await self._queue.close()
        if self._live is not None:
            await self._live.close()
