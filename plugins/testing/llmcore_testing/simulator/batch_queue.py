"""The batches of a simulator, independent of a vendor's format: requests, states and results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.openai_errors import Refused
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.script import Script
from llmcore_testing.simulator.wire import RecordedRequest, encode

__all__ = ["Batch", "BatchQueue", "Item", "Result", "answer_item", "find_queue", "read_page"]

_EXPIRED: Final = frozenset({"expired", "half_done"})
_ERROR: Final = 400
"""The lowest HTTP status of a result that is an error."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch."""

    name: str
    """The `custom_id` of the request."""
    body: Any


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one item."""

    name: str
    kind: str
    """succeeded, errored, expired or canceled."""
    status: int = 0
    body: Any = None


_LATE_S: Final = 3.0
"""The time in seconds after which lists contain a new batch, with the fault "listed_late" of `Fault.batch`."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """One batch. Times are seconds since 1970."""

    id: str
    items: list[Item]
    answer: Callable[[Any], Result]
    """Answers a request body. The caller sets the name of the result."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Fields that the client sent with the batch, such as `metadata`."""
    window_s: float = 86400.0
    fault: Fault | None = None
    tokens: int = 0
    """The prompt tokens of the batch, for the limit of enqueued tokens."""
    created_at: float = field(default_factory=time.time)
    state: str = "validating"
    """Validating, in_progress or cancelling; then completed, failed, expired or cancelled."""
    ended_at: float | None = None
    results: list[Result] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    """The reasons why the whole batch failed."""

    @property
    def is_over(self) -> bool:
        """True if the state is final."""
        return self.ended_at is not None

    @property
    def is_listed(self) -> bool:
        """True if lists of batches contain this batch."""
        return self.how != "listed_late" or time.time() > self.created_at + _LATE_S

    @property
    def how(self) -> str:
        """The fault to inject; "" for no fault."""
        return "" if self.fault is None else str(self.fault.settings["how"])

    def count(self, kind: str) -> int:
        """Return the number of items with a result of this *kind*."""
        return sum(result.kind == kind for result in self.results)

    def list_results(self) -> list[Result]:
        """Return the results in the order in which the client gets them."""
        shown = list(self.results)
        if self.how == "results_twice":
            shown += shown
        if self.how == "reordered":
            shown.reverse()
        return shown

    def write(self, results: Iterable[Result], line: Callable[[Result], Any]) -> bytes:
        """Return *results* as JSON lines. *line* returns the JSON value of one result."""
        lines = [encode(line(result)) for result in results]
        if self.how == "bad_line" and lines:
            lines[0] = lines[0][: len(lines[0]) // 2]
        return b"".join(each + b"\n" for each in lines)


class BatchQueue:
    """All batches of one simulator, oldest first."""

    def __init__(self, script: Script, *, holds: bool) -> None:
        self.batches: dict[str, Batch] = {}
        self.files: dict[str, Any] = {}
        """Files of OpenAI's API by id."""
        self._script = script
        self._holds = holds
        self._count = script.count

    @property
    def share(self) -> float:
        """The share of each batch that may be answered. With a share below 1, only an empty batch completes."""
        told = self._script.batch_share
        return (0.0 if self._holds else 1.0) if told is None else told

    def add(self, batch: Batch) -> None:
        """Add *batch* to the queue."""
        self.batches[batch.id] = batch
        self._count("batches")

    def count_enqueued(self) -> int:
        """Return the prompt tokens of all batches in progress."""
        return sum(batch.tokens for batch in self.batches.values() if not batch.is_over)

    def advance(self, batch: Batch) -> None:
        """Answer the items of *batch* that may be answered now, and update the state of *batch*."""
        if batch.is_over:
            return
        if batch.state == "validating":
            batch.state = "in_progress"
        if batch.errors or batch.how == "validation_failed":
            batch.errors = batch.errors or [
                {"code": "invalid_request", "line": 1, "message": "The line is not valid.", "param": None}
            ]
            self._end(batch, "failed")
            return
        self._answer(batch)
        if batch.how in _EXPIRED or time.time() >= batch.created_at + batch.window_s:
            self._fill(batch, "expired")
            self._end(batch, "expired")
        elif batch.state == "cancelling":
            self._fill(batch, "canceled")
            self._end(batch, "cancelled")
        elif len(batch.results) == len(batch.items):
            self._end(batch, "completed")

    def cancel(self, batch: Batch) -> None:
        """Cancel *batch*. The next request for its status or for a list ends the batch; existing answers stay."""
        if not batch.is_over:
            batch.state = "cancelling"
            self._count("batches_cancelled")

    def _answer(self, batch: Batch) -> None:
        share = {"expired": 0.0, "half_done": 0.5}.get(batch.how, self.share)
        for item in batch.items[len(batch.results) : int(len(batch.items) * share)]:
            result = batch.answer(item.body)
            if batch.how == "error_file_only":
                result = Result("", "errored", 500, {"error": {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}})  # fmt: skip
            if result.kind == "succeeded":
                self._count("batch_items")
            batch.results.append(Result(item.name, result.kind, result.status, result.body))

    def _fill(self, batch: Batch, kind: str) -> None:
        batch.results += [Result(item.name, kind) for item in batch.items[len(batch.results) :]]

    def _end(self, batch: Batch, state: str) -> None:
        batch.state, batch.ended_at = state, time.time()


def find_queue(call: Call) -> BatchQueue:
    """Return the queue of the simulator that answers *call*."""
    queue = call.script.get_or_create(
        "batches", lambda: BatchQueue(call.script, holds=call.settings.holds_batches)
    )
    assert isinstance(queue, BatchQueue)
    return queue


def answer_item(call: Call, path: str, answer: Callable[[Call], Any], body: Any) -> Result:
    """Answer the request *body* by calling *answer*, the endpoint function of *path*. Return the result."""
    request = RecordedRequest(
        method="POST", path=path, query={}, headers=call.request.headers, body=body, raw=b""
    )
    try:
        made = answer(replace(call, request=request, fault=None, names={}))
    except Refused as error:
        made = error.answer
    document = json.loads(b"".join(made.pieces))
    kind = "errored" if made.status >= _ERROR else "succeeded"
    return Result("", kind, made.status, document)


def read_page(query: Mapping[str, str], after: str, found: list[Batch]) -> tuple[list[Batch], bool]:
    """Return one page of *found*, newest batch first, and whether more batches follow.

    Args:
        query: The query of the request, with `limit`.
        after: The query field in which the client sends the id of the last batch that it got: "after" or "after_id".
        found: All batches, oldest first.
    """
    newest = [batch for batch in found[::-1] if batch.is_listed]
    ids = [batch.id for batch in newest]
    start = ids.index(query[after]) + 1 if query.get(after) in ids else 0
    text = query.get("limit", "20")
    limit = min(max(int(text), 1), 100) if text.isdecimal() else 20
    return newest[start : start + limit], start + limit < len(newest)
