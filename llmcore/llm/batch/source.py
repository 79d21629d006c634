"""Read the items of a run one by one from a sync or async iterator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from llmcore.llm.batch.items import Prepared

if TYPE_CHECKING:
    import asyncio

__all__ = ["WAITING", "ItemSource"]

WAITING: Final = Prepared(-1, None, None)
"""The value that `Source.read` returns if the source does not have the next item yet."""


class ItemSource:
    """Reads items from any kind of source, without blocking the event loop.

    If `read` returned `WAITING`, *on_item* is called when the next item is ready.
    """

    def __init__(
        self,
        items: Iterator[Prepared] | AsyncIterator[Prepared],
        on_item: Callable[[object], None] = lambda _: None,
    ) -> None:
        self._items = items
        self._on_item = on_item
        self._next: asyncio.Future[Prepared | None] | None = None

    @property
    def pending(self) -> tuple[asyncio.Future[Any], ...]:
        """The task that waits for the next item, if there is one."""
        return () if self._next is None else (self._next,)

    def read(self) -> Prepared | None:
        """Return the next item, `WAITING`, or None at the end. An exception of the iterator is re-raised here."""
        if isinstance(self._items, Iterator):
            return next(self._items, None)
        if self._next is None:
            import asyncio

            self._next = asyncio.ensure_future(_advance(self._items))
            self._next.add_done_callback(self._on_item)
        if not self._next.done():
            return WAITING
        task, self._next = self._next, None
        return task.result()

    async def close(self) -> None:
        """Stop waiting for the next item, and close an async generator."""
        import asyncio

        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
            self._next = None
        close: Any = getattr(self._items, "aclose", None)
        if close is not None:
            await close()


async def _advance(items: AsyncIterator[Prepared]) -> Prepared | None:
    return await anext(items, None)
