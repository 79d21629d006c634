"""Call the backend's method: apply the deadline, translate errors, check and price the answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final

from llmcore.calls.backend_call import track, translate_error
from llmcore.calls.bridges import END, PieceStream
from llmcore.calls.deadline_timer import DeadlineTimer
from llmcore.errors import LLMCoreError, ProviderError, Timeout
from llmcore.interrupts import must_propagate
from llmcore.pipeline.call import Answer, Call, Proceed, Services

__all__ = ["get_time_left", "make_contract_error", "receive", "send"]

_CHECK_S: Final = 0.05
"""The interval in seconds between checks of a shared call's deadline.

Each check reads the deadlines of all callers, which takes longer than handling a piece. So the deadline is not checked
after every piece.
"""


def send(call: Call, services: Services, _: Proceed) -> Generator[Any, Any, Answer]:
    """Send the request once. Return the answer with usage and cost."""
    if (creation := call.backend.creation) is not None:
        yield creation
    answer: Answer = yield from call.kind.make_attempt(call, services)
    result, outcome = call.kind.settle(call, services, answer.result)
    return Answer(result, answer.held, outcome)


def receive(
    call: Call, source: PieceStream, take: Callable[[Any], Iterable[Any]]
) -> Generator[Any, Any, None]:
    """Read a stream to its end. Call *take* with each piece and emit the results.

    The host enforces the deadline, and the provider enforces the idle timeout. Any error closes the stream.
    """
    timer = DeadlineTimer(call.deadline.get_time_left, keeps_timeouts=call.backend.keeps_timeouts)
    assert call.sending is not None  # noqa: S101 - the stage `budget` sets `sending`
    following = timer.bound(track(source.next, call.sending))
    later = timer.bound(source.next)
    piece: Any = None
    check_at = 0.0
    try:
        while True:
            now = time.monotonic()
            if now >= check_at:
                check_at = now + min(get_time_left(call, sent=True), _CHECK_S)
            try:
                piece = yield following
                following = later
            except BaseException as error:
                if must_propagate(error):
                    raise
                piece = translate_error(call.backend, error)
            if piece is END:
                return
            yield from take(_raise_error(piece))
    except BaseException as error:
        if not isinstance(error, GeneratorExit):  # a closing generator must not yield another step
            with contextlib.suppress(Exception):  # report the first error, not an error of closing
                yield source.close
        raise
    finally:
        timer.stop()
        piece = None  # breaks the reference cycle between the error's traceback and this frame


def _raise_error(piece: Any) -> Any:
    if isinstance(piece, LLMCoreError):
        raise piece
    return piece


def get_time_left(call: Call, *, sent: bool) -> float:
    """Return the seconds until the deadline.

    Raises:
        Timeout: The deadline has passed.
    """
    left = call.deadline.get_time_left()
    if left > 0:
        return left
    raise Timeout(
        "the deadline of the call has passed",
        provider=call.backend.name,
        sent=sent,
        expected=call.kind.late_expected,
        fix=call.kind.late_fix,
    )


def make_contract_error(call: Call, what: str, expected: str) -> ProviderError:
    """Return the error for an answer that violates the contract. *what* is, for example, "streamed a list"."""
    name = call.backend.name
    return ProviderError(
        f"the {call.backend.kind} provider `{name}` {what}",
        provider=name,
        expected=expected,
        fix=f"llmcore plugins check {name}",
    )
