"""Rate limits: requests and tokens a minute, and concurrency; see `llmcore.calls.limits`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from llmcore.calls.steps import CHECKPOINT
from llmcore.errors import RateLimited
from llmcore.pipeline.call import Answer, Call, Proceed, Services

__all__ = ["rate_limit"]


def rate_limit(call: Call, services: Services, proceed: Proceed) -> Generator[Any, Any, Answer]:
    """Wait for a permit and proceed; then refund the unused tokens, and learn the server's limits.

    Raises:
        RateLimited: The next slot is after the deadline; nothing was sent.
    """
    charge = call.charge
    assert charge is not None  # noqa: S101 - the stage `budget` sets `charge`
    limits, tokens = services.limits, call.kind.estimate_tokens(call)
    permit = yield from limits.acquire(charge.provider, charge.model, tokens, call.deadline.get_time_left)
    used: int | None = None
    try:
        yield CHECKPOINT
        answer: Answer = yield from proceed()
        used = answer.outcome.usage.total_tokens or None
        reported = getattr(answer.result, "limits", None)
        if reported is not None:
            limits.learn(charge.provider, charge.model, reported)
    except BaseException as error:
        if isinstance(error, RateLimited) and error.limits is not None:
            limits.learn(charge.provider, charge.model, error.limits)
        if call.sending is not None and call.sending.withdraw():
            used = 0
        raise
    finally:
        limits.release(permit, used)
    return answer
