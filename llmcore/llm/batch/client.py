"""The methods of `core.llm` for batches."""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from llmcore.errors import ProviderError
from llmcore.llm.batch.arguments import BatchApi, Lane, check_api, check_items, read_budget
from llmcore.types import Reply

if TYPE_CHECKING:
    from llmcore.config.money import Budget
    from llmcore.llm.batch.embedder import Embedder
    from llmcore.llm.batch.engine import GetEngines
    from llmcore.llm.batch.live_lane import Send
    from llmcore.llm.batch.run import BatchRun
    from llmcore.llm.batch.run_plan import RunPlan
    from llmcore.llm.call import ChatCall
    from llmcore.llm.models import Models
    from llmcore.pipeline import Services

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
        from llmcore.llm.batch.run_plan import RunPlan, is_read_once, make_reader
        from llmcore.llm.batch.typed_answers import take_answer_type

        check_items(items, lane, concurrency)
        check_api(api, lane)

        parameters, answer_type = take_answer_type(parameters)
        return self.open_run(
            RunPlan(
                path=find_runs_folder() / f"{make_run_id()}.sqlite3",
                read=make_reader(items, model, parameters, system, api, answer_type=answer_type),
                once=is_read_once(items),
                options={"user": user, "tags": tags, "cache": cache},
                lane=lane,
                concurrency=concurrency,
                budget=budget,
                engine=engine,
                answer_type=answer_type,
            )
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
        from llmcore.llm.batch.run_plan import RunPlan, is_read_once, make_reader
        from llmcore.llm.batch.typed_answers import take_answer_type

        path = find_run(run_id)
        read = None
        parameters, answer_type = take_answer_type(parameters)
        if items is not None:
            check_items(items, lane or "now", concurrency)
            check_api(api, lane or "now")
            read = make_reader(items, model, parameters, system, api, answer_type=answer_type)
        return self.open_run(
            RunPlan(
                path=path,
                read=read,
                once=is_read_once(items),
                options={
                    "model": model if read is None else None,
                    "user": user,
                    "tags": tags,
                    "cache": cache,
                },
                lane=lane,
                concurrency=concurrency,
                budget=budget,
                engine=engine,
                answer_type=answer_type,
            )
        )

    def open_run(self, plan: RunPlan) -> BatchRun:
        """Return the run of *plan*, for commands with their own folder of runs.

        Raises:
            BadRequest: The budget is not an amount, or the lane has no engine.
        """
        from llmcore.llm.batch.run import BatchRun
        from llmcore.llm.batch.run_parts import RunParts

        options = {**plan.options, "tags": plan.tags}
        self.set_run_budget(plan.tag, plan.budget)
        parts = RunParts(
            plan,
            options=options,
            send=self.make_sender(options, plan.answer_type),
            plan_body=self._plan_body,
            models=self._models,
            services=self._services,
            get_engines=self._get_engines,
        )
        return BatchRun(plan, parts)

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


def _set_up(answer_type: Any, on_failure: Callable[[ProviderError], None], call: ChatCall) -> None:
    """Set the callback and the type of the answer in *call*.

    The pipeline does not cache an answer that does not fit the type.
    """
    call.answer_type, call.on_failure = answer_type, on_failure
