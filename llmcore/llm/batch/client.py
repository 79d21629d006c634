"""The methods of `core.llm` for batches."""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from llmcore.errors import BadRequest, ProviderError
from llmcore.types import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from llmcore.calls.steps import Act
    from llmcore.config.money import Budget
    from llmcore.llm.batch.embedder import Embedder
    from llmcore.llm.batch.estimate import Estimate
    from llmcore.llm.batch.items import Prepared
    from llmcore.llm.batch.queue import QueueLane
    from llmcore.llm.batch.run import BatchRun, Items
    from llmcore.llm.batch.store import RunStore
    from llmcore.llm.call import ChatCall
    from llmcore.pipeline import Services

__all__ = ["BatchMethods", "Lane"]

Lane = Literal["now", "queue", "auto"]
BatchApi = Literal["chat", "embeddings"]


class BatchMethods:
    """The methods of `LLMClient` that start and resume batches."""

    _services: Services

    def batch(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        model: str | None = None,
        lane: Lane = "now",
        api: BatchApi = "chat",
        system: str | None = None,
        concurrency: int | None = None,
        user: str | None = None,
        tags: str | Sequence[str] = (),
        cache: bool | Literal["refresh"] = True,
        budget: str | None = None,
        **parameters: Any,
    ) -> BatchRun:
        """Return a run of *items*.

        Iterate over the run, with `for` or `async for`, to send the items and receive each item when it has
        finished. Equal items are sent once. Items whose answers are cached cost nothing. An item that is
        malformed, or that the model refuses, gets an error and does not stop the run. The run is a file:
        `resume_batch(run.id)` continues it.

        Args:
            items: Prompts, lists of messages, dicts with `prompt` or `messages` and parameters, or lines of OpenAI's batch
                files. The run reads them on demand. An async iterator is possible, too.
            model: As in `chat`; an item may have its own model.
            lane: "now" sends requests through the pipeline. "queue" lets the vendor answer within a day at half price. "auto" begins with the queue. When the vendor's time is nearly over, it sends the remaining requests through the pipeline.
            api: "chat", or "embeddings": items are texts, and `Reply.raw` is a list of embeddings in OpenAI's format. Texts that are requested at the same time share a request. Only the lane "now" supports embeddings.
            system: Instructions for items without any.
            concurrency: A fixed number of requests in flight; None adapts it to the server.
            user: As in `chat`. *tags* and *cache* are also as in `chat`.
            tags: Recorded in the ledger.
            cache: True, False or "refresh".
            budget: The most that the run may cost, such as "5 USD"; if the run is resumed, the limit applies
                to all its parts together.
            parameters: Parameters of the model. An item may override these parameters.

        Raises:
            BadRequest: An argument is not valid.
        """
        from llmcore.llm.batch.run import find_runs_folder, make_run_id

        _check(items, lane, concurrency)
        _check_api(api, lane)

        path = find_runs_folder() / f"{make_run_id()}.sqlite3"
        options = {"user": user, "tags": tags, "cache": cache}
        read = _make_reader(items, model, parameters, system, api)
        once = _is_read_once(items)
        return self.open_run(
            path, read, options, lane=lane, once=once, concurrency=concurrency, budget=budget
        )

    abatch = batch

    def resume_batch(
        self,
        run_id: str,
        items: Iterable[Any] | AsyncIterable[Any] | None = None,
        *,
        model: str | None = None,
        lane: Lane | None = None,
        api: BatchApi = "chat",
        system: str | None = None,
        concurrency: int | None = None,
        user: str | None = None,
        tags: str | Sequence[str] = (),
        cache: bool | Literal["refresh"] = True,
        budget: str | None = None,
        **parameters: Any,
    ) -> BatchRun:
        """Return the run *run_id* again.

        Items that have an answer are not sent again. Iterating yields every item.

        Args:
            run_id: `BatchRun.id`.
            items: The items again; needed if the run has not read all items. An item with an answer is sent again
                only if it has changed.
            model: As in `batch`. All other arguments are also as in `batch`.
            lane: None continues in the lane of the earlier part; "now" cancels the vendor's batches, and sends the
                remaining items at once.
            api: As in `batch`.
            system: Instructions for items without any.
            concurrency: A fixed number of requests in flight.
            user: Recorded in the ledger.
            tags: Recorded in the ledger.
            cache: True, False or "refresh".
            budget: The most that all parts of the run together may cost.
            parameters: Parameters of the model.

        Raises:
            BadRequest: No run has the id.
        """
        from llmcore.llm.batch.run import find_run

        path = find_run(run_id)
        read = None
        if items is not None:
            _check(items, lane or "now", concurrency)
            _check_api(api, lane or "now")
            read = _make_reader(items, model, parameters, system, api)
        options = {"model": model if read is None else None, "user": user, "tags": tags, "cache": cache}
        once = _is_read_once(items)
        return self.open_run(
            path, read, options, lane=lane, once=once, concurrency=concurrency, budget=budget
        )

    def open_run(
        self,
        path: Path,
        read: Callable[[], Items] | None,
        options: Mapping[str, Any],
        *,
        lane: Lane | None = None,
        once: bool = False,
        concurrency: int | None = None,
        budget: str | None = None,
        max_failures: Callable[[int], float] | None = None,
        report: Callable[[str], None] | None = None,
        send_other: Callable[[dict[str, Any], tuple[str, ...]], Awaitable[Reply[Any]]] | None = None,
    ) -> BatchRun:
        """Return the run in the file *path*, for commands with their own folder of runs.

        Args:
            path: The file of the run. The first iteration creates it.
            read: Returns the items; None uses the items in the file.
            options: Arguments of `send`.
            lane: As in `resume_batch`.
            once: Whether *read* can be called only once.
            concurrency: As in `batch`.
            budget: As in `batch`.
            max_failures: Returns the allowed number of failures for a given number of finished items.
            report: Called with a sentence about each batch of the lane `queue`, in another thread.
            send_other: Sends bodies of another kind, with the tags of the run.
        """
        from llmcore.llm.batch.run import BatchRun

        tag = f"batch:{path.stem}"
        tags = options.get("tags") or ()
        given = {**options, "tags": (*((tags,) if isinstance(tags, str) else tags), tag)}
        if budget is not None:
            self._add_budget(_read_budget(budget, tag))

        embedder: Embedder | None = None

        async def send(body: dict[str, Any], on_failure: Callable[[ProviderError], None]) -> Reply[Any]:
            nonlocal embedder
            if send_other is not None:
                return await send_other(body, given["tags"])
            if "input" in body:
                from llmcore.llm.batch.embedder import Embedder

                embedder = embedder or Embedder(cast("Any", self).aembed, given)
                return await embedder.send(body)
            return await self._send_body(body, dict(given), on_failure)

        def estimate(items: Iterable[Prepared], store: RunStore | None) -> Act[Estimate]:
            from llmcore.llm.batch.estimate import estimate_run

            return estimate_run(
                items, lambda body: self._plan_body(body, dict(given))[0], self._services, store
            )

        def make_queue(
            items: Iterator[Prepared] | AsyncIterator[Prepared], store: RunStore, **how: Any
        ) -> QueueLane:
            from llmcore.llm.batch.queue import QueueLane

            return QueueLane(
                items,
                store,
                lambda body: self._plan_body(body, dict(given)),
                self._services,
                report=report,
                **how,
            )

        return BatchRun(
            path,
            read,
            send,
            estimate=estimate,
            make_queue=make_queue,
            lane=lane,
            once=once,
            concurrency=concurrency,
            max_failures=max_failures,
        )

    def _plan_body(self, body: Mapping[str, Any], options: dict[str, Any]) -> list[ChatCall]:
        """Return the calls that a body of Chat Completions would make, one for each model to try."""
        raise NotImplementedError

    def _add_budget(self, budget: Budget) -> None:
        """Apply *budget* to the calls that it covers."""
        raise NotImplementedError

    async def _send_body(
        self, body: Mapping[str, Any], options: dict[str, Any], on_failure: Callable[[ProviderError], None]
    ) -> Reply[Any]:
        """Send one body of Chat Completions; *on_failure* is called with each failure that is retried."""
        raise NotImplementedError


def _make_reader(
    items: Iterable[Any] | AsyncIterable[Any],
    model: str | None,
    parameters: Mapping[str, Any],
    system: str | None,
    api: BatchApi,
) -> Callable[[], Items]:
    """Return a reader that converts *items* to request bodies."""
    from llmcore.llm.batch.items import add_model, prepare

    defaults = add_model(parameters, model)

    def read() -> Iterator[Prepared]:
        assert isinstance(items, Iterable)  # noqa: S101 - chosen below
        return (prepare(index, item, defaults, system, api) for index, item in enumerate(items))

    async def aread() -> AsyncIterator[Prepared]:
        assert isinstance(items, AsyncIterable)  # noqa: S101 - chosen below
        index = 0
        async for item in items:
            yield prepare(index, item, defaults, system, api)
            index += 1

    return read if isinstance(items, Iterable) else aread


def _is_read_once(items: object) -> bool:
    """Return whether *items* is an iterator, such as a generator."""
    return isinstance(items, Iterator | AsyncIterable)


def _read_budget(text: str, tag: str) -> Budget:
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


def _check_api(api: object, lane: object) -> None:
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


def _check(items: object, lane: object, concurrency: object) -> None:
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
