"""Close providers that the application did not close."""

from __future__ import annotations

import _thread
import contextlib
import sys
import weakref

from llmcore.calls.bridges import Ability, has_method
from llmcore.calls.drivers import run
from llmcore.calls.steps import Act
from llmcore.interrupts import must_propagate
from llmcore.log import get_logger

__all__ = ["close_abandoned"]


def close_abandoned(provider: object, backend: weakref.ref[object]) -> None:
    """Close a provider that the application did not close: at Python's exit at once, otherwise in a new thread.

    The garbage collector may call this function in a thread that holds a lock or runs an event loop, which closing may
    need. So a new thread closes the provider. `_thread` starts this thread, because `threading.Thread.start` could wait
    for such a lock.
    """
    if sys.is_finalizing():  # a thread that was killed at exit may still hold a lock that closing needs
        return
    if backend() is None:
        with contextlib.suppress(RuntimeError):  # no thread can be started, or Python is exiting
            _thread.start_new_thread(_close_quietly, (provider,))
    else:
        _close_quietly(provider)


def _close_quietly(provider: object) -> None:
    def close_provider() -> Act[None]:
        if has_method(provider, "close"):
            yield Ability(provider, "close")()

    try:
        run(close_provider())
    except BaseException as error:
        if must_propagate(error):
            raise
        log = get_logger(__name__)
        log.debug("%s did not close: %s", type(provider).__qualname__, type(error).__name__)
