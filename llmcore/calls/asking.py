"""Asking a backend: what its code raises becomes one of llmcore's errors, and a wait has an end."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from llmcore.calls.backend import Backend
from llmcore.calls.options import scrubbed
from llmcore.calls.steps import Step
from llmcore.errors import LLMCoreError, ProviderError, Timeout, Unavailable

__all__ = ["asked", "within"]


def asked(
    backend: Backend, step: Step, otherwise: type[LLMCoreError] = ProviderError
) -> Generator[Step, Any, Any]:
    """Carry out *step* and return its result.

    Raises:
        LLMCoreError: What the provider raised, or in place of a foreign exception *otherwise* (a `ProviderError`:
            `Timeout` and `Unavailable` where the system says so), with its cause in words. Nothing hangs on it: no
            request, no header.
    """
    failure: LLMCoreError
    try:
        return (yield step)
    except LLMCoreError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - a stranger's code
        failure = _translated(backend, error, otherwise)
    failure.__cause__ = failure.__context__ = None
    if isinstance(failure, ProviderError) and failure.provider is None:
        failure.provider = backend.name
    raise failure


def within(step: Step, seconds: float) -> Step:
    """Return *step* with an end to its waiting, in the asynchronous colour.

    A blocking call cannot be ended from outside: its provider is told the time that it has.
    """
    wait = step.awaiting
    if wait is None:
        return step

    async def bounded(*args: Any) -> Any:
        import asyncio

        async with asyncio.timeout(seconds):
            return await wait(*args)

    return Step(step.blocking, bounded, *step.args)


def _translated(backend: Backend, error: Exception, otherwise: type[LLMCoreError]) -> LLMCoreError:
    cause = f"{type(error).__name__}: {scrubbed(str(error), backend.options)}"
    message = f"the {backend.kind} provider `{backend.name}` failed: {cause}"
    if otherwise is ProviderError and isinstance(error, TimeoutError):
        return Timeout(f"the {backend.kind} provider `{backend.name}` did not answer in time")
    if otherwise is ProviderError and isinstance(error, OSError):
        return Unavailable(message)
    return otherwise(message, expected="one of llmcore.errors, for what a backend cannot do")
