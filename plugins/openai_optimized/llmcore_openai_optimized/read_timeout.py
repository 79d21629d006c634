"""The timeout for reading the body of a response in an asynchronous call."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when a provider is created
from types import TracebackType
from typing import Self

from llmcore_openai_optimized.http import RequestTimeout

__all__ = ["ReadTimeout"]


class ReadTimeout:
    """Raises TimeoutError when the timeout of a body passes, independently of the transport's timeout."""

    __slots__ = ("_limit", "_loop", "_timeout")

    def __init__(self, timeout: RequestTimeout) -> None:
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(timeout.get("read"))

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._limit.__aexit__(kind, error, trace)

    def reset(self) -> None:
        """Restart the timeout, because bytes were received."""
        self._limit.reschedule(self._loop.time() + (self._timeout.get("read") or 0))
