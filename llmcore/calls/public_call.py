"""End the traceback of an error at the public method that the application called.

The frames below that method belong to drivers and generators. They do not help a reader, and they keep the call's
variables alive.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final

from llmcore.errors import LLMCoreError

__all__ = ["PUBLIC_CALL"]


class _PublicCall:
    """A context manager without state, for the body of a public method."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cut the traceback of an `LLMCoreError` below this frame, unless LLMCORE_TRACEBACK=1."""
        cut = isinstance(error, LLMCoreError) and os.environ.get("LLMCORE_TRACEBACK") != "1"
        if cut and traceback is not None:
            traceback.tb_next = None


PUBLIC_CALL: Final = _PublicCall()
