"""Read the end of a body after the last event, so that the connection can be reused.

Some servers and proxies keep the response open after `[DONE]`, so the functions read for at most 50 ms.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when a provider is created
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import httpx2

from llmcore_openai_optimized.direct import DirectResponse
from llmcore_openai_optimized.direct_async import AsyncDirectResponse
from llmcore_openai_optimized.request import AsyncResponse, SyncResponse

__all__ = ["adrain", "drain"]

_DRAIN_S: Final = 0.05


def drain(response: SyncResponse, pieces: Iterator[bytes]) -> None:
    """Read *pieces*, the rest of the body, for at most 50 ms.

    Raises:
        httpx2.HTTPError: The body did not end in time.
    """
    if isinstance(response, DirectResponse):
        response.drain(_DRAIN_S)
    elif isinstance(response, httpx2.Response) and _has_marked_end(response):
        _drain_httpx(response, pieces)


def _drain_httpx(response: httpx2.Response, pieces: Iterator[bytes]) -> None:
    stream: Any = response.extensions.get("network_stream")
    if stream is None:
        return
    ends, read = time.monotonic() + _DRAIN_S, stream.read

    def read_soon(max_bytes: int, timeout: float | None = None) -> Any:  # noqa: ARG001 - the transport's signature
        return read(max_bytes, max(ends - time.monotonic(), 0.001))

    # httpcore gets the timeout only once, before it reads the body. So this function sets a timeout at each read.
    stream.read = read_soon
    try:
        for _ in pieces:
            if time.monotonic() >= ends:
                return
    finally:
        del stream.read


async def adrain(response: AsyncResponse, pieces: AsyncIterator[bytes]) -> None:
    """See `drain`.

    Raises:
        TimeoutError: The body did not end in time.
    """
    if isinstance(response, AsyncDirectResponse) and response.is_complete:
        return
    if _has_marked_end(response):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in pieces:
                pass


def _has_marked_end(response: SyncResponse | AsyncResponse) -> bool:
    """Return whether a header tells where the body ends. Only then can the connection be reused."""
    return "transfer-encoding" in response.headers or "content-length" in response.headers
