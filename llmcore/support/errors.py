"""Raise an error of llmcore in place of a foreign exception, without a reference to the foreign one.

Python chains the exception that is being handled to a new one, as `__context__`. The exceptions of SDKs and HTTP clients hold
the request, with its key and its prompt, and an error tracker sends the whole chain. So a provider raises its errors with one
line:

    try:
        return self._client.post(body)
    except OSError as error:
        raise_unchained(Unavailable(f"the server cannot be reached: {error}"))
"""

from __future__ import annotations

from typing import NoReturn

__all__ = ["raise_unchained"]


def raise_unchained(error: BaseException) -> NoReturn:
    """Raise *error* with nothing chained to it, inside an `except` block too.

    A traceback that *error* already has stays. Remove it with `error.with_traceback(None)` if its frames hold the request.
    """
    try:
        raise error
    finally:
        error.__cause__ = error.__context__ = None
        del error  # breaks the cycle of error, traceback and this frame
