"""The parts of a run that need the client: the sender, the estimate, the queue and the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from llmcore.errors import BadRequest, ProviderError
from llmcore.types import Reply

if TYPE_CHECKING:
    from llmcore.calls.steps import Act
    from llmcore.llm.batch.engine import Engine, GetEngines, SharedRun
    from llmcore.llm.batch.estimate import Estimate
    from llmcore.llm.batch.items import Prepared
    from llmcore.llm.batch.live_lane import Send
    from llmcore.llm.batch.queue import QueueLane
    from llmcore.llm.batch.run_plan import RunPlan
    from llmcore.llm.batch.store import RunStore
    from llmcore.llm.call import ChatCall
    from llmcore.llm.models import Models
    from llmcore.pipeline import Services
    from llmcore.pipeline.measurement import Measurement

__all__ = ["PlanBody", "RunParts"]

PlanBody: TypeAlias = Callable[[Mapping[str, Any], dict[str, Any]], "list[ChatCall]"]
"""Returns the calls that would send a body with the given options, one for each model to try."""


class RunParts:
    """Creates the parts of the run of *plan*.

    Args:
        plan: The arguments of the run.
        options: The arguments of `send`, with the tags of the run.
        send: Sends the body of a chat or of an embedding.
        plan_body: See `PlanBody`.
        models: The models of the client.
        services: The services of the client.
        get_engines: Returns the engines of the Core. None if this process sends all requests.

    Raises:
        BadRequest: The lane has no engine.
    """

    def __init__(
        self,
        plan: RunPlan,
        *,
        options: Mapping[str, Any],
        send: Send,
        plan_body: PlanBody,
        models: Models,
        services: Services,
        get_engines: GetEngines,
    ) -> None:
        self._plan = plan
        self._options = options
        self._plan_body = plan_body
        self._models = models
        self._services = services
        self._get_engines = get_engines
        self._engine = None if plan.send_other is not None else _find_engine(plan, get_engines)
        self.send: Send = send if plan.send_other is None else self._send_other

    async def _send_other(
        self, body: dict[str, Any], on_failure: Callable[[ProviderError], None]
    ) -> Reply[Any]:
        del on_failure
        assert self._plan.send_other is not None  # noqa: S101 - only then is this method the sender
        return await self._plan.send_other(body, self._options["tags"])

    def make_engine(self) -> Engine | None:
        """Return the engine of the run; None if this process sends the requests."""
        if self._engine is None or self._get_engines is None:
            return None
        plan = self._plan
        return self._get_engines().make(
            self._engine, plan.path.stem, self._options, plan.budget, plan.concurrency
        )

    def share(self) -> SharedRun | None:
        """Return the state of the run in the ledger; None if the client has no engines."""
        return None if self._get_engines is None else self._get_engines().share(self._plan.path.stem)

    def estimate(self, items: Iterable[Prepared], store: RunStore | None) -> Act[Estimate]:
        """Estimate the requests and the cost of *items*."""
        from llmcore.llm.batch.estimate import estimate_run

        return estimate_run(
            items, lambda body: self._plan_calls(body)[0], self._services, store, self._measure
        )

    def _measure(self, body: Mapping[str, Any]) -> Act[Measurement]:
        if self._plan.measure_other is not None:
            return self._plan.measure_other(body)
        from llmcore.llm.embedding.measurement import measure_text

        return measure_text(self._models, self._services, body, self._options)

    def make_queue(
        self, items: Iterator[Prepared] | AsyncIterator[Prepared], store: RunStore, **how: Any
    ) -> QueueLane:
        """Return the lane that sends *items* in the vendor's batches. *how* are further arguments of `QueueLane`."""
        from llmcore.llm.batch.queue import QueueLane

        return QueueLane(
            items,
            store,
            self._plan_typed_calls,
            self._services,
            report=self._plan.report,
            answer_type=self._plan.answer_type,
            **how,
        )

    def _plan_calls(self, body: Mapping[str, Any]) -> list[ChatCall]:
        return self._plan_body(body, dict(self._options))

    def _plan_typed_calls(self, body: Mapping[str, Any]) -> list[ChatCall]:
        calls = self._plan_calls(body)
        for call in calls:
            call.answer_type = self._plan.answer_type
        return calls


def _find_engine(plan: RunPlan, get_engines: GetEngines) -> tuple[str, Any] | None:
    """Return the name and the provider of the engine for a run, or None if this process sends the requests.

    Raises:
        BadRequest: The lane has no engine.
    """
    if get_engines is None or plan.lane in {"queue", "auto"}:
        if plan.engine is not None and plan.engine != "local":
            raise BadRequest(
                f'the engine `{plan.engine}` cannot run the lane "{plan.lane}"',
                code="LC303",
                where="engine",
                expected='lane="now", or no engine: the vendor itself executes the lane "queue"',
            )
        return None
    return get_engines().find(plan.engine)
