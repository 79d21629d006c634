"""Objects that belong to one process and cannot be copied, because they have connections, locks and threads."""

from __future__ import annotations

from typing import Any, NoReturn

from llmcore.errors import LLMCoreError

__all__ = ["ProcessBound"]


class ProcessBound:
    """Base class of objects that raise an error when they are pickled or copied."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        """Raise an error, for `pickle`, `copy.copy` and `copy.deepcopy`."""
        raise LLMCoreError(
            f"{type(self).__name__} cannot be pickled or copied: it has connections and locks of this process",
            code="LC004",
            expected="one Core per process, shared by its threads and tasks; a forked child may use its parent's",
            fix="llmcore.load() in each process",
        )
