"""Call a function in a worker of Dask."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["call"]


def call(function: Callable[[bytes], bytes], data: bytes) -> tuple[bytes, str]:
    """Return the result of `function(data)`, or its exception as a text.

    Not every exception can be pickled, and Dask ends a worker whose task raises `SystemExit`.
    """
    try:
        return function(data), ""
    except BaseException as error:  # noqa: BLE001 - also SystemExit, which would end the worker
        return b"", f"{type(error).__name__}: {error}"
