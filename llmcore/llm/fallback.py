"""Fallback: try the next model of an alias after an error if another model may succeed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from llmcore.errors import BadRequest, ConfigError, ContentFiltered, LLMCoreError, PluginError, ProviderError
from llmcore.llm.call import ChatCall
from llmcore.llm.fallback_error import FallbackCall, combine_failures
from llmcore.llm.kind import CHAT
from llmcore.log import get_logger
from llmcore.pipeline import Services
from llmcore.types import Reply

__all__ = ["try_in_order", "with_fallback"]


C = TypeVar("C", bound=FallbackCall)
R = TypeVar("R")


def with_fallback(calls: Sequence[ChatCall], services: Services) -> Generator[Any, Any, Reply]:
    """Run chats in order until one succeeds; see `try_in_order`."""
    return try_in_order(calls, services, CHAT.run)


def try_in_order(
    calls: Sequence[C], services: Services, run: Callable[[C, Services], Generator[Any, Any, R]]
) -> Generator[Any, Any, R]:
    """Run *calls* in order until one succeeds. Return its result.

    The next call is tried only if another backend may succeed and the consumer has not seen a piece. If all calls
    fail, raise the last error, with the other errors as notes.
    """
    for call in calls:
        # restart the deadline: the application may begin to read a stream long after calling `stream`
        call.deadline.start()
    failures: list[LLMCoreError] = []
    try:
        for call in calls:
            if failures:
                call.group = calls[len(failures) - 1].group
            try:
                return (yield from run(call, services))
            except (ProviderError, ConfigError, PluginError) as error:
                if call.has_emitted or (not failures and not _can_try_next(error)):
                    raise
                failures.append(error)
                if call is calls[-1] or not _can_try_next(error):
                    break
                get_logger(__name__).warning(
                    "%s:%s failed (%s), trying the next", call.backend.name, call.request.model, error.code
                )
        if len(failures) == 1:
            raise failures[0]
        raise combine_failures(calls, failures)
    finally:
        failures.clear()  # break the cycle: the frame and the tracebacks would keep each other alive


def _can_try_next(error: LLMCoreError) -> bool:
    """Return whether another model may succeed after *error*."""
    return isinstance(error, ProviderError) and not isinstance(error, BadRequest | ContentFiltered)
