"""Retry with backoff and one deadline; see `llmcore.calls.attempts`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from llmcore.calls.attempts import with_retries
from llmcore.errors import ProviderError
from llmcore.pipeline.call import Answer, Call, Proceed, Services

__all__ = ["retry"]


def retry(call: Call, services: Services, proceed: Proceed) -> Generator[Any, Any, Answer]:
    """Proceed, and retry after a temporary error, unless the consumer has seen a piece."""

    def attempt() -> Generator[Any, Any, Answer]:
        call.attempts += 1
        return proceed()

    def is_allowed(error: ProviderError) -> bool:
        if call.on_failure is not None:
            call.on_failure(error)
        return not call.has_emitted

    try:
        return (yield from with_retries(attempt, services.policy, call.deadline, again=is_allowed))
    except ProviderError as error:
        call.kind.explain(call, error)
        raise
