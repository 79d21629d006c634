"""Call a backend: translate its exceptions into llmcore's errors, and apply the timeout."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from llmcore.calls.backend import Backend
from llmcore.calls.options import describe
from llmcore.calls.steps import Step
from llmcore.errors import LLMCoreError, ProviderError, Timeout, Unavailable
from llmcore.interrupts import must_propagate
from llmcore.support.errors import raise_unchained
from llmcore.support.sending import Sending

if TYPE_CHECKING:
    from llmcore.hidden_modules import HiddenModule

__all__ = ["call_backend", "call_offline", "track", "translate_error", "with_timeout"]

T = TypeVar("T")


def call_backend(
    backend: Backend, step: Step, otherwise: type[LLMCoreError] = ProviderError
) -> Generator[Step, Any, Any]:
    """Run *step*, which calls *backend*, and return its result.

    Raises:
        LLMCoreError: The provider's error. An exception of another class becomes an error of the class *otherwise*. If
            *otherwise* is `ProviderError`, a TimeoutError becomes `Timeout` and an OSError becomes `Unavailable`. The
            foreign exception is not chained, because it may contain the request with its headers.
    """
    try:
        return (yield step)
    except BaseException as error:
        if must_propagate(error):
            raise
        raise_unchained(translate_error(backend, error, otherwise))


def call_offline(backend: Backend, method: Callable[..., T], *args: Any, **named: Any) -> T:
    """Call a *method* of the provider that needs no server, such as `count_tokens`, and return its result.

    Raises:
        LLMCoreError: See `call_backend`.
    """
    try:
        return method(*args, **named)
    except BaseException as error:
        if must_propagate(error):
            raise
        raise_unchained(translate_error(backend, error))


def translate_error(
    backend: Backend, error: BaseException, otherwise: type[LLMCoreError] = ProviderError
) -> LLMCoreError:
    """Return *error* as one of llmcore's errors, without a chained exception; see `call_backend`.

    Raise the result outside of the `except` block.
    """
    failure = error if isinstance(error, LLMCoreError) else _translate(backend, error, otherwise)
    failure.__cause__ = failure.__context__ = None
    backend.adapt_error(failure)
    if isinstance(failure, ProviderError) and failure.provider is None:
        failure.provider = backend.name
    return failure


def with_timeout(backend: Backend, step: Step, seconds: float) -> Step:
    """Return *step*, which calls *backend*, with a timeout of *seconds*.

    After the timeout, both variants raise TimeoutError. For streams, use one `DeadlineTimer` for all steps. A
    blocking call cannot be interrupted, so its thread is abandoned. A provider that promises to keep timeouts gets the
    timeout as an argument, and its method runs in the caller's thread.
    """
    wait = step.awaiting
    if wait is None:
        return step

    async def run_bounded(*args: Any) -> Any:
        import asyncio

        async with asyncio.timeout(seconds):
            return await wait(*args)

    blocking = step.blocking
    if not backend.keeps_timeouts:

        def blocking(*args: Any) -> Any:
            from llmcore.calls.worker_threads import call_in_worker

            return call_in_worker(step.blocking, args, seconds)

    return Step(blocking, run_bounded, *step.args)


def track(step: Step, sending: Sending) -> Step:
    """Return a step that runs *step*. Meanwhile, the provider can report to *sending* that it sends a request."""
    wait = step.awaiting
    awaiting = None if wait is None else partial(sending.awaiting, wait)
    return Step(partial(sending.blocking, step.blocking), awaiting, *step.args)


def _translate(backend: Backend, error: BaseException, otherwise: type[LLMCoreError]) -> LLMCoreError:
    message = f"the {backend.kind} provider `{backend.name}` failed: {describe(error, backend.options)}"
    if otherwise is ProviderError and isinstance(error, TimeoutError):
        return Timeout(f"the {backend.kind} provider `{backend.name}` did not answer in time")
    if otherwise is ProviderError and isinstance(error, OSError):
        return Unavailable(message)
    if isinstance(error, ImportError | AttributeError) and (hidden := _find_hidden_module(backend)):
        return otherwise(
            f"{message}: {hidden.message}",
            expected="a module file whose name does not hide another module",
            fix=hidden.fix,
        )
    return otherwise(message, expected="an error of llmcore.errors")


def _find_hidden_module(backend: Backend) -> HiddenModule | None:
    from llmcore.hidden_modules import find_hidden_module

    return find_hidden_module(backend.entry.create.__module__)
