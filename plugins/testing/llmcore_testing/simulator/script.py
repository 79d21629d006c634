"""The script of a simulator: queued faults and answers, recorded requests and counts. Thread-safe."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Condition
from typing import Any

from llmcore_testing.simulator.charges import Charge
from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.wire import RecordedRequest

__all__ = ["PlannedFault", "Script", "Scripted"]

Scripted = str | Mapping[str, Any] | Callable[[Mapping[str, Any]], "str | Mapping[str, Any]"]
"""A text, a message, a body with `choices`, or a function that makes one of these from the request body."""


@dataclass(slots=True)
class PlannedFault:
    """A queued fault."""

    fault: Fault
    left: int | None
    path: str | None
    model: str | None

    def is_match(
        self, request: RecordedRequest, *, rewrites: frozenset[str] = frozenset(), streams: bool | None = None
    ) -> bool:
        """Return whether the fault matches *request* and can apply to its route.

        *rewrites* lists the content faults that the route supports.
        *streams* is true if the answer is a stream. None means that the field `stream` of the request body
        decides.
        """
        body = request.body if isinstance(request.body, dict) else {}
        if self.path is not None and self.path not in request.path:
            return False
        if self.model is not None and body.get("model") != self.model:
            return False
        if self.fault.stream_only:
            return bool(body.get("stream")) if streams is None else streams
        return not self.fault.rewriting or self.fault.kind in rewrites


class Script:
    """Queued faults and answers, recorded requests, and counts.

    One lock protects all of them. Only `batch_share` and `charges` are also written without it, each by one atomic
    operation.
    """

    def __init__(self, *, keep_requests: int) -> None:
        self.changed = Condition()
        self.counts: Counter[str] = Counter()
        self.in_flight = 0
        self.max_in_flight = 0
        self.batch_share: float | None = None
        """The share of each batch that may be answered. None means 0 if `Settings.holds_batches` is set, otherwise 1."""
        self.epoch = 0
        """The number of resets. A request that began before a reset is not counted after the reset."""
        self.charges: list[Charge] = []
        """The charges passed to `Simulator.bill`. The usage and cost reports contain their sums."""
        self._requests: deque[RecordedRequest] = deque(maxlen=keep_requests)
        self._faults: list[PlannedFault] = []
        self._replies: deque[Scripted] = deque()
        self._kept: dict[str, object] = {}

    def get_or_create(self, name: str, make: Callable[[], object]) -> object:
        """Return the object that an endpoint has stored under *name*. Create it on first use and after a reset."""
        with self.changed:
            if name not in self._kept:
                self._kept[name] = make()
            return self._kept[name]

    def queue_fault(self, planned: PlannedFault) -> None:
        """Queue a fault."""
        with self.changed:
            self._faults.append(planned)

    def queue(self, replies: Sequence[Scripted]) -> None:
        """Queue answers."""
        with self.changed:
            self._replies.extend(replies)

    def take_fault(
        self, request: RecordedRequest, *, rewrites: frozenset[str] = frozenset(), streams: bool | None = None
    ) -> Fault | None:
        """Return the first fault that matches *request* (see `PlannedFault.is_match`), and remove it after its last use."""
        if not self._faults:
            return None
        with self.changed:
            planned = next(
                (p for p in self._faults if p.is_match(request, rewrites=rewrites, streams=streams)), None
            )
            if planned is None:
                return None
            if planned.left is not None:
                planned.left -= 1
                if planned.left <= 0:
                    self._faults.remove(planned)
            return planned.fault

    def take_reply(self) -> Scripted | None:
        """Remove and return the first queued answer."""
        with self.changed:
            return self._replies.popleft() if self._replies else None

    def record_start(self, request: RecordedRequest) -> int:
        """Record *request*. Return the current epoch for `record_end`."""
        with self.changed:
            self._requests.append(request)
            self.counts["requests"] += 1
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            self.changed.notify_all()
            return self.epoch

    def record_end(self, epoch: int, *counted: str) -> None:
        """Record the end of a request. Increase the named counts, unless a reset happened since *epoch*."""
        with self.changed:
            self.in_flight -= 1
            if epoch == self.epoch:
                self.counts.update(counted)
            self.changed.notify_all()

    def count(self, name: str) -> None:
        """Increase the count *name*. For the counts of a request, use `record_end`."""
        with self.changed:
            self.counts[name] += 1
            self.changed.notify_all()

    def list_requests(self) -> list[RecordedRequest]:
        """Return the latest requests, oldest first."""
        with self.changed:
            return list(self._requests)

    def copy_counts(self) -> Counter[str]:
        """Return a copy of the counts."""
        with self.changed:
            return Counter(self.counts)

    def reset(self) -> None:
        """Clear everything except the number of requests in flight."""
        with self.changed:
            self.epoch += 1
            self.counts.clear()
            self._requests.clear()
            self._faults.clear()
            self._replies.clear()
            self._kept.clear()
            self.charges.clear()
            self.batch_share = None
            self.max_in_flight = self.in_flight
            self.changed.notify_all()

    def wait_for(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until *holds* returns true; return whether it did. *holds* is called again after every change."""
        with self.changed:
            return self.changed.wait_for(holds, timeout_s)
