"""Find the stored items of a run when its input is read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmcore.llm.batch.items import Prepared
    from llmcore.llm.batch.store import RunStore, Stored

__all__ = ["StoredItems"]


class StoredItems:
    """Finds the stored items of a resumed run. The file is read a page at a time, because the input is read in order."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._end = store.find_end()
        """The position after the last item that earlier executions have stored."""
        self._page: dict[int, Stored] = {}

    def find(self, item: Prepared, key: bytes) -> Stored | None:
        """Return the stored item if it is equal to *item*, which has the key *key*; otherwise None.

        The state may be out of date, because a page of items is read at once: a pending item may have an answer by now.
        """
        position = item.position
        if position >= self._end:
            return None
        if position not in self._page:
            self._page = {each.position: each for each in self._store.read_items(position)}
        stored = self._page.pop(position, None)
        return stored if stored is not None and (stored.key, stored.id) == (key, item.id) else None
