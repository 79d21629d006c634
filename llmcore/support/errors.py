"""Raise an error of llmcore in place of a foreign exception, without a reference to the foreign one.

Python chains the exception that is being handled to a new one, as `__context__`. An SDK's exception contains the
request, with its key and prompt, and an error tracker sends the whole chain of exceptions. So a provider raises its
errors with one line:

    try:
        return self._client.post(body)
    except OSError as error:
        raise_unchained(Unavailable(f"the server cannot be reached: {error}"))
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

__all__ = ["list_causes", "raise_unchained"]


def raise_unchained(error: BaseException) -> NoReturn:
    """Raise *error* without `__cause__` and `__context__`, even inside an `except` block.

    A traceback that *error* already has stays. If the frames contain the request, remove the traceback with
    `error.with_traceback(None)`.
    """
    try:
        raise error
    finally:
        error.__cause__ = error.__context__ = None
        del error  # breaks the cycle of error, traceback and this frame


def list_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and its causes: SDKs and HTTP clients wrap the errors of the system."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
