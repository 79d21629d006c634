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
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from llmcore.errors import BadRequest, ProviderError
from llmcore.llm.batch.arguments import BatchApi, Lane, check_api, check_items, read_budget
from llmcore.types import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from llmcore.calls.steps import Act
    from llmcore.config.money import Budget
    from llmcore.llm.batch.embedder import Embedder
    from llmcore.llm.batch.engine import Engine, GetEngines
    from llmcore.llm.batch.estimate import Estimate
    from llmcore.llm.batch.items import Prepared
    from llmcore.llm.batch.live import Send
    from llmcore.llm.batch.queue import QueueLane
    from llmcore.llm.batch.run import BatchRun, Items
    from llmcore.llm.batch.store import RunStore
    from llmcore.llm.call import ChatCall
    from llmcore.llm.models import Models
    from llmcore.pipeline import Services
    from llmcore.pipeline.measured import Measured

__all__ = ["BatchMethods", "Lane"]


class BatchMethods:
    """The methods of `LLMClient` that start and resume batches."""

    _models: Models
    _services: Services
    _get_engines: GetEngines = None
    _has_run_budgets = False

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
        engine: str | None = None,
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
            lane: "now" sends requests through the pipeline. "queue" lets the vendor answer within a day at half price.
                "auto" begins with the queue. When the vendor's time is nearly over, "auto" sends the remaining requests
                through the pipeline.
            api: "chat", or "embeddings": items are texts, and `Reply.raw` is a list of embeddings in OpenAI's format. Texts that are requested at the same time share a request. Only the lane "now" supports embeddings.
            system: The system instructions of items that have none.
            concurrency: A fixed number of requests in flight; if None, the number adapts to the server.
            user: Recorded in the ledger.
            tags: Recorded in the ledger.
            cache: True, False or "refresh".
            budget: The most that the run may cost, such as "5 USD"; if the run is resumed, the limit applies to all
                its executions together.
            engine: The engine whose workers send the requests, such as "dask"; None is `[batch] engine`. Only the lane
                "now" has engines.
            parameters: Parameters of the model. An item may override these parameters. With `response_format` as a type, as in
                `chat`, `reply.parsed` is an instance; an answer that does not fit the type is the error of its item.

        Raises:
            BadRequest: An argument is not valid.
        """
        from llmcore.llm.batch.run import find_runs_folder, make_run_id
        from llmcore.llm.batch.typed import take_answer_type

        check_items(items, lane, concurrency)
        check_api(api, lane)

        path = find_runs_folder() / f"{make_run_id()}.sqlite3"
        options = {"user": user, "tags": tags, "cache": cache}
        parameters, answer_type = take_answer_type(parameters)
        read = _make_reader(items, model, parameters, system, api, answer_type=answer_type)
        once = _is_read_once(items)
        return self.open_run(
            path,
            read,
            options,
            lane=lane,
            once=once,
            concurrency=concurrency,
            budget=budget,
            engine=engine,
            answer_type=answer_type,
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
        engine: str | None = None,
        **parameters: Any,
    ) -> BatchRun:
        """Return the stored run *run_id*, to continue it.

        Items that have an answer are not sent again. Iterating yields every item.

        Args:
            run_id: `BatchRun.id`.
            items: The same items as before; needed if the run has not read all of them. An item with an answer is sent
                again only if it has changed.
            model: As in `batch`.
            lane: None means the lane of the earlier execution. "now" cancels the vendor's batches, and sends the
                remaining items at once.
            api: As in `batch`.
            system: The system instructions of items that have none.
            concurrency: A fixed number of requests in flight.
            user: Recorded in the ledger.
            tags: Recorded in the ledger.
            cache: True, False or "refresh".
            budget: The most that all executions of the run together may cost.
            engine: As in `batch`; each execution of a run may use another engine. A run that was begun on an engine
                needs an engine.
            parameters: Parameters of the model. If `response_format` is a type, the answers in the file of the run are
                parsed too.

        Raises:
            BadRequest: No run has the id.
        """
        from llmcore.llm.batch.run import find_run
        from llmcore.llm.batch.typed import take_answer_type

        path = find_run(run_id)
        read = None
        parameters, answer_type = take_answer_type(parameters)
        if items is not None:
            check_items(items, lane or "now", concurrency)
            check_api(api, lane or "now")
            read = _make_reader(items, model, parameters, system, api, answer_type=answer_type)
        options = {"model": model if read is None else None, "user": user, "tags": tags, "cache": cache}
        once = _is_read_once(items)
        return self.open_run(
            path,
            read,
            options,
            lane=lane,
            once=once,
            concurrency=concurrency,
            budget=budget,
            engine=engine,
            answer_type=answer_type,
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
        engine: str | None = None,
        max_failures: Callable[[int], float] | None = None,
        report: Callable[[str], None] | None = None,
        send_other: Callable[[dict[str, Any], tuple[str, ...]], Awaitable[Reply[Any]]] | None = None,
        measure_other: Callable[[Mapping[str, Any]], Act[Measured]] | None = None,
        answer_type: Any = None,
    ) -> BatchRun:
        """Return the run in the file *path*, for commands with their own folder of runs.

        Args:
            path: The file of the run. The first iteration creates it.
            read: Returns the items. If *read* is None, the run has the items that are stored in the file.
            options: Arguments of `send`.
            lane: As in `resume_batch`.
            once: True if *read* can be called only once.
            concurrency: As in `batch`.
            budget: As in `batch`.
            engine: As in `batch`.
            max_failures: Returns the allowed number of failures for a given number of finished items.
            report: Called with a sentence about each batch of the lane `queue`, in another thread.
            send_other: Sends bodies that are not chats, such as texts to be spoken, with the tags of the run.
            measure_other: Measures, for an estimate, a body that *send_other* would send.
            answer_type: The type into which the answers are parsed. If None, they are not parsed.
        """
        from llmcore.llm.batch.run import BatchRun

        tag = f"batch:{path.stem}"
        tags = options.get("tags") or ()
        given = {**options, "tags": (*((tags,) if isinstance(tags, str) else tags), tag)}
        self.set_run_budget(tag, budget)
        send = self.make_sender(given, answer_type)
        if send_other is not None:

            async def send(body: dict[str, Any], on_failure: object) -> Reply[Any]:
                del on_failure
                return await send_other(body, given["tags"])

        found = None if send_other is not None else self._find_engine(engine, lane)

        engines = self._get_engines

        def make_engine() -> Engine | None:
            if found is None or engines is None:
                return None
            return engines().make(found, path.stem, given, budget, concurrency)

        def estimate(items: Iterable[Prepared], store: RunStore | None) -> Act[Estimate]:
            from llmcore.llm.batch.estimate import estimate_run

            return estimate_run(
                items, lambda body: self._plan_body(body, dict(given))[0], self._services, store, measure
            )

        def measure(body: Mapping[str, Any]) -> Act[Measured]:
            if measure_other is not None:
                return measure_other(body)
            from llmcore.llm.embedding.measure import measure_text

            return measure_text(self._models, self._services, body, given)

        def make_queue(
            items: Iterator[Prepared] | AsyncIterator[Prepared], store: RunStore, **how: Any
        ) -> QueueLane:
            from llmcore.llm.batch.queue import QueueLane

            return QueueLane(
                items,
                store,
                lambda body: [
                    _set_up(answer_type, None, call) for call in self._plan_body(body, dict(given))
                ],
                self._services,
                report=report,
                answer_type=answer_type,
                **how,
            )

        return BatchRun(
            path,
            read,
            send,
            estimate=estimate,
            make_queue=make_queue,
            make_engine=make_engine,
            share=None if engines is None else lambda: engines().share(path.stem),
            lane=lane,
            once=once,
            concurrency=concurrency,
            max_failures=max_failures,
            answer_type=answer_type,
        )

    def set_engines(self, get_engines: GetEngines) -> None:
        """Let batches run on the engines that *get_engines* returns.

        Without a call of this method, this process sends all requests.
        """
        self._get_engines = get_engines

    def set_run_budget(self, tag: str, budget: str | None) -> None:
        """Limit the cost of all requests with *tag* together to *budget*. None removes the limit."""
        if budget is not None or self._has_run_budgets:
            self._has_run_budgets = True
            self._set_run_budget(tag, None if budget is None else read_budget(budget, tag))

    def make_sender(self, options: Mapping[str, Any], answer_type: Any = None) -> Send:
        """Return a function that sends request bodies.

        Args:
            options: Arguments of `send`.
            answer_type: The type into which the answers are parsed. If None, they are not parsed.
        """
        embedder: Embedder | None = None

        async def send(body: dict[str, Any], on_failure: Callable[[ProviderError], None]) -> Reply[Any]:
            nonlocal embedder
            if "input" in body:
                from llmcore.llm.batch.embedder import Embedder

                embedder = embedder or Embedder(cast("Any", self).aembed, options)
                return await embedder.send(body)
            return await self._send_body(body, dict(options), partial(_set_up, answer_type, on_failure))

        return send

    def _find_engine(self, name: str | None, lane: Lane | None) -> tuple[str, Any] | None:
        """Return the engine for a run, or None if this process sends the requests.

        Raises:
            BadRequest: The lane has no engine.
        """
        if self._get_engines is None or lane in {"queue", "auto"}:
            if name is not None and name != "local":
                raise BadRequest(
                    f'the engine `{name}` cannot run the lane "{lane}"',
                    code="LC303",
                    where="engine",
                    expected='lane="now", or no engine: the vendor itself executes the lane "queue"',
                )
            return None
        return self._get_engines().find(name)

    def _plan_body(self, body: Mapping[str, Any], options: dict[str, Any]) -> list[ChatCall]:
        """Return the calls that would send *body* of Chat Completions, one for each model to try."""
        raise NotImplementedError

    def _set_run_budget(self, tag: str, budget: Budget | None) -> None:
        """Replace the budget of the requests with *tag*; None removes the budget."""
        raise NotImplementedError

    async def _send_body(
        self, body: Mapping[str, Any], options: dict[str, Any], prepare: Callable[[ChatCall], object]
    ) -> Reply[Any]:
        """Send one body of Chat Completions; *prepare* is called with the call for each model to try."""
        raise NotImplementedError


def _set_up(answer_type: Any, on_failure: Callable[[ProviderError], None] | None, call: ChatCall) -> ChatCall:
    """Set the callback and the type of the answer in *call*.

    The pipeline does not cache an answer that does not fit the type.
    """
    call.answer_type, call.on_failure = answer_type, on_failure
    return call


def _make_reader(
    items: Iterable[Any] | AsyncIterable[Any],
    model: str | None,
    parameters: Mapping[str, Any],
    system: str | None,
    api: BatchApi,
    *,
    answer_type: Any,
) -> Callable[[], Items]:
    """Return a reader that converts *items* to request bodies."""
    from llmcore.llm.batch.items import add_model, prepare
    from llmcore.llm.batch.typed import check_format

    defaults = add_model(parameters, model)

    def make(index: int, item: Any) -> Prepared:
        made = prepare(index, item, defaults, system, api)
        return made if answer_type is None else check_format(made, defaults["response_format"])

    def read() -> Iterator[Prepared]:
        assert isinstance(items, Iterable)  # noqa: S101 - `_make_reader` returns `read` only for this type
        return (make(index, item) for index, item in enumerate(items))

    async def aread() -> AsyncIterator[Prepared]:
        assert isinstance(items, AsyncIterable)  # noqa: S101 - `_make_reader` returns `aread` only for this type
        index = 0
        async for item in items:
            yield make(index, item)
            index += 1

    return read if isinstance(items, Iterable) else aread


def _is_read_once(items: object) -> bool:
    """Return whether *items* is an iterator, such as a generator."""
    return isinstance(items, Iterator | AsyncIterable)
