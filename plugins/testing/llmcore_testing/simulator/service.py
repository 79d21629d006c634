"""Choose the answer to a request. This module does no I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from llmcore_testing.simulator.broken_answers import make_broken_answer
from llmcore_testing.simulator.endpoints import ALL_ROUTES
from llmcore_testing.simulator.endpoints.openai import GROUP as OPENAI
from llmcore_testing.simulator.faults import LOST, Fault
from llmcore_testing.simulator.openai_errors import Refused, make_refusal
from llmcore_testing.simulator.routing import Call, Group, Route, Settings, Table
from llmcore_testing.simulator.script import Script
from llmcore_testing.simulator.wire import Answer, RecordedRequest

__all__ = ["AnswerPlan", "Service"]

_LOG: Final = logging.getLogger(__name__)
_TABLE: Final = Table(ALL_ROUTES)
_NO_KEY: Final = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY)."
)


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """The answer to send and the fault to inject during sending."""

    answer: Answer
    fault: Fault | None = None
    epoch: int | None = None
    """The script's epoch at the request's arrival; None if the request is not recorded."""


class Service:
    """Answers requests by the routing table."""

    def __init__(
        self,
        settings: Settings,
        script: Script,
        control: Callable[[str], None],
        own_routes: Sequence[Route] = (),
    ) -> None:
        self._table = Table([*own_routes, *ALL_ROUTES]) if own_routes else _TABLE
        self._settings = settings
        self._script = script
        self._control = control

    def begin(self, request: RecordedRequest) -> AnswerPlan:
        """Record *request* and return its answer. Requests use up queued answers and faults in the order of arrival."""
        found = self._table.find(request.path, request.headers)
        group = found[0][0].group if found else OPENAI
        epoch = self._script.record_start(request) if group.recorded else None
        for route, names in found:
            if route.method in {request.method, "*"}:
                answer, fault = self._answer(request, route, dict(names))
                return AnswerPlan(answer, fault, epoch)
        where = f"{request.method} {request.path}"
        if found:
            return AnswerPlan(
                make_refusal(405, f"Not allowed to {where}.", code="method_not_supported"), None, epoch
            )
        return AnswerPlan(make_refusal(404, f"Invalid URL ({where})", code="unknown_url"), None, epoch)

    def _answer(
        self, request: RecordedRequest, route: Route, names: dict[str, str]
    ) -> tuple[Answer, Fault | None]:
        if refused := self._check_key(request, route.group):
            return refused, None
        fault = self._take_fault(request, route)
        if fault is not None:
            self._script.count("faults")
            if broken := make_broken_answer(fault, request, route):
                return broken, None
        call = Call(
            request=request,
            settings=self._settings,
            script=self._script,
            control=self._control,
            fault=fault if fault is not None and fault.rewriting else None,
            names=names,
        )
        try:
            answer = route.answer(call)
            if self._settings.headers:
                answer = replace(answer, headers={**answer.headers, **self._settings.headers})
        except Refused as exc:
            answer = exc.answer
        except Exception as exc:  # noqa: BLE001 - a scripted answer may raise anything, and its author needs the error
            _LOG.warning("The simulator could not answer %s: %s", request.path, type(exc).__name__)
            answer = make_refusal(
                500, f"The simulator could not make this answer: {exc!r}", code="simulator_error"
            )
        if fault is None and route.own and answer.streamed:
            fault = self._take_fault(request, route, streams=True)
            if fault is not None:
                self._script.count("faults")
        if fault is not None and fault.settings.get("how") in LOST:
            then = fault.settings["then"] or Fault.reset()
            broken = make_broken_answer(then, request, route)
            return (answer, then) if broken is None else (broken, None)
        return answer, None if fault is None or fault.rewriting else fault

    def _take_fault(
        self, request: RecordedRequest, route: Route, *, streams: bool | None = None
    ) -> Fault | None:
        """Remove and return the next fault that matches *request*.

        For a route that a test added, the kind of answer is known only after the handler has answered. Before that,
        *streams* is None, and faults that apply only to streams do not match.
        """
        if not route.group.recorded:
            return None
        streams = False if route.own and streams is None else streams
        return self._script.take_fault(request, rewrites=route.rewrites, streams=streams)

    def _check_key(self, request: RecordedRequest, group: Group) -> Answer | None:
        if group.key is None:
            return None
        key = group.key(request)
        if key is None and not self._settings.needs_key:
            return None
        if key is None:
            return group.refuse(401, _NO_KEY if group.repeats_keys else None, code="")
        if self._settings.api_keys is not None and key not in self._settings.api_keys:
            shown = f"{key[:3]}{'*' * 8}{key[-4:]}" if len(key) > 16 else "*" * 8
            said = f"Incorrect API key provided: {shown}." if group.repeats_keys else None
            return group.refuse(401, said, code="invalid_api_key")
        return None
