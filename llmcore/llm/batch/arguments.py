"""Check the arguments of `batch` and `resume_batch`: the lane, the files and others."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, get_args

from llmcore.errors import BadRequest

if TYPE_CHECKING:
    from llmcore.config.money import Budget

__all__ = ["BatchApi", "Lane", "check_api", "check_items", "check_shared", "read_budget"]

Lane = Literal["now", "queue", "auto"]
BatchApi = Literal["chat", "embeddings"]


def read_budget(text: str, tag: str) -> Budget:
    """Return a budget of the amount *text*, such as "5 USD", for all calls with *tag*.

    Raises:
        BadRequest: *text* is not an amount.
    """
    from llmcore.config.money import Budget
    from llmcore.config.schema import BUDGETS_KEYS

    reader = BUDGETS_KEYS["limit"]
    try:
        limit, unit = reader.read(text)
    except (TypeError, ValueError):
        pass
    else:
        return Budget(limit=limit, unit=unit, tag=tag)
    raise BadRequest(
        f"budget must be an amount, got {text!r}",
        code="LC303",
        where="budget",
        expected=reader.expected,
        fix='batch(items, budget="5 USD")',
    )


def check_api(api: object, lane: object) -> None:
    """Raise `BadRequest` if *api* is unknown, or *lane* does not support it."""
    if api not in get_args(BatchApi):
        raise BadRequest(
            f'api must be "chat" or "embeddings", got {api!r}',
            code="LC303",
            where="api",
            expected='"chat" or "embeddings"',
        )
    if api == "embeddings" and lane != "now":
        raise BadRequest(
            f'embeddings have no lane "{lane}"',
            code="LC303",
            where="lane",
            expected='"now"',
            fix='batch(texts, api="embeddings")',
        )


def check_items(items: object, lane: object, concurrency: object) -> None:
    """Raise `BadRequest` if an argument has a wrong type or value."""
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable | AsyncIterable):
        raise BadRequest(
            f"items must be an iterable of prompts, messages or dicts, got {type(items).__name__}",
            code="LC303",
            where="items",
            expected="a list, a generator, ...",
            fix='batch(["Hello", "Good day"])',
        )
    if lane not in get_args(Lane):
        raise BadRequest(
            f'lane must be "now", "queue" or "auto", got {lane!r}',
            code="LC303",
            where="lane",
            expected='"now", "queue" or "auto"',
            fix='batch(items, lane="now")',
        )
    whole = isinstance(concurrency, int) and not isinstance(concurrency, bool) and concurrency >= 1
    if concurrency is not None and not whole:
        raise BadRequest(
            f"concurrency must be a whole number from 1, got {concurrency!r}",
            code="LC303",
            where="concurrency",
            expected="a number of requests, or None",
            fix="batch(items, concurrency=16)",
        )


def check_shared(run_id: str, engine: str | None) -> None:
    """Raise `BadRequest` if a run that was begun on *engine* is resumed without an engine.

    The workers of *engine* may have answers that this process does not know. This process would send the requests
    again, and they would be paid for twice.
    """
    if not engine:
        return
    raise BadRequest(
        f"the run {run_id} was begun on the engine `{engine}`; without an engine, requests that the workers of this engine have sent would be paid for again",
        code="LC321",
        where="engine",
        expected='lane="now" and an engine with workers: engine="NAME", or --engine NAME on the command line',
        fix="export LLMCORE_ENGINES__LOCAL__WORKERS=2"
        if engine == "local"
        else f'resume_batch("{run_id}", engine="{engine}")',
    )
