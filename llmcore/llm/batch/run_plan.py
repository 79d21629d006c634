"""The arguments of one run of a batch: which items it sends, and how."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from llmcore.llm.batch.items import Prepared, add_model, prepare
from llmcore.types import Reply

if TYPE_CHECKING:
    from llmcore.calls.steps import Act
    from llmcore.llm.batch.arguments import BatchApi, Lane
    from llmcore.pipeline.measurement import Measurement

__all__ = ["Items", "RunPlan", "is_read_once", "make_reader"]

Items: TypeAlias = Iterable[Prepared] | AsyncIterable[Prepared]


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which items a run sends, and how."""

    path: Path
    """The file of the run. The first iteration creates it."""
    read: Callable[[], Items] | None = None
    """Returns the items. If None, the run has the items that are stored in the file."""
    once: bool = False
    """True if `read` can be called only once."""
    options: Mapping[str, Any] = {}
    """Arguments of `send`."""
    lane: Lane | None = None
    """None means the lane of the earlier execution, or "now"."""
    concurrency: int | None = None
    """The number of requests in flight; if None, the number adapts to the server."""
    budget: str | None = None
    """The most that all executions of the run together may cost, such as "5 USD"."""
    engine: str | None = None
    """The name of the engine; None is the configured engine."""
    answer_type: Any = None
    """The type into which the answers are parsed. If None, they are not parsed."""
    max_failures: Callable[[int], float] | None = None
    """Returns the allowed number of failures for a given number of finished items."""
    report: Callable[[str], None] | None = None
    """Called with a sentence about each batch of the lane "queue", in another thread."""
    send_other: Callable[[dict[str, Any], tuple[str, ...]], Awaitable[Reply[Any]]] | None = None
    """Sends bodies that are not chats, such as texts to be spoken, with the tags of the run."""
    measure_other: Callable[[Mapping[str, Any]], Act[Measurement]] | None = None
    """Measures, for an estimate, a body that `send_other` would send."""

    @property
    def tag(self) -> str:
        """The tag of all requests of the run."""
        return f"batch:{self.path.stem}"

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the options, and the tag of the run."""
        tags = self.options.get("tags") or ()
        return (*((tags,) if isinstance(tags, str) else tags), self.tag)


def make_reader(
    items: Iterable[Any] | AsyncIterable[Any],
    model: str | None,
    parameters: Mapping[str, Any],
    system: str | None,
    api: BatchApi,
    *,
    answer_type: Any,
) -> Callable[[], Items]:
    """Return a reader that converts *items* to request bodies."""
    from llmcore.llm.batch.typed_answers import check_format

    defaults = add_model(parameters, model)

    def make(index: int, item: Any) -> Prepared:
        made = prepare(index, item, defaults, system, api)
        return made if answer_type is None else check_format(made, defaults["response_format"])

    def read() -> Iterator[Prepared]:
        assert isinstance(items, Iterable)  # noqa: S101 - `make_reader` returns `read` only for this type
        return (make(index, item) for index, item in enumerate(items))

    async def aread() -> AsyncIterator[Prepared]:
        assert isinstance(items, AsyncIterable)  # noqa: S101 - `make_reader` returns `aread` only for this type
        index = 0
        async for item in items:
            yield make(index, item)
            index += 1

    return read if isinstance(items, Iterable) else aread


def is_read_once(items: object) -> bool:
    """Return whether *items* is an iterator, such as a generator."""
    return isinstance(items, Iterator | AsyncIterable)
