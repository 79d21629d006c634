"""The public object for one run of a batch."""

from __future__ import annotations

import os
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import BadRequest, LLMCoreError
from llmcore.llm.batch.adaptive_concurrency import ConcurrencyController
from llmcore.llm.batch.arguments import check_shared
from llmcore.llm.batch.estimate import Estimate
from llmcore.llm.batch.items import BatchItem, Prepared
from llmcore.llm.batch.live_lane import LiveLane
from llmcore.llm.batch.loop_thread import LoopThread
from llmcore.llm.batch.queue_store import has_open_chunks
from llmcore.llm.batch.store import RunStore, make_created
from llmcore.llm.batch.switching_lane import SwitchingLane
from llmcore.llm.batch.typed_answers import parse_item
from llmcore.support.money import from_nano
from llmcore.support.user_folders import get_user_folder

if TYPE_CHECKING:
    from llmcore.llm.batch.arguments import Lane
    from llmcore.llm.batch.run_parts import RunParts
    from llmcore.llm.batch.run_plan import Items, RunPlan

__all__ = ["BatchRun", "Summary", "find_run", "find_runs_folder", "make_run_id"]


class Summary(NamedTuple):
    """The progress of a run."""

    items: int
    """The number of items that were read."""
    done: int
    """The number of items that were answered."""
    failed: int
    """The number of items that failed."""
    requests: int
    """The number of different requests that were answered. Duplicate items share one request."""
    cost: Decimal
    """The cost in USD of all requests whose cost is known. Answers from the cache cost nothing."""


class BatchRun:
    """A run of a batch.

    Iterate over it, with `for` or `async for`, to send the items and receive each item when it has finished.
    Requests are sent only during the iteration. After leaving the iteration, the same run can be resumed: each
    iteration is one execution of the run.
    """

    def __init__(self, plan: RunPlan, parts: RunParts) -> None:
        self.id = plan.path.stem
        """The name of the run, for `resume_batch`."""
        self.path = plan.path
        """The path of the file that stores the run."""
        self._plan = plan
        self._parts = parts
        self._read = plan.read
        self._store: RunStore | None = None
        self._summary: Summary | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @property
    def summary(self) -> Summary:
        """Return the progress of the run."""
        if self._summary is not None:
            return self._summary
        if self._store is not None:
            return _summarise(self._store)
        if not self.path.exists():
            return Summary(0, 0, 0, 0, Decimal(0))
        store = RunStore(self.path)
        try:
            return _summarise(store)
        finally:
            store.close()

    def estimate(self) -> Estimate:
        """Estimate the requests and the cost of the run. Nothing is sent, and nothing is written.

        Raises:
            BadRequest: The items can be read only once, so the estimate would consume them.
            LedgerError: The ledger cannot be read.
        """
        return run(self._make_estimate())

    async def aestimate(self) -> Estimate:
        """See `estimate`."""
        return await arun(self._make_estimate())

    def cancel(self) -> None:
        """Cancel the vendor's batches, wait for their end, and book the executed requests.

        Workers of an engine send no more requests.
        """
        store = RunStore(self.path)
        try:
            shared = self._parts.share() if store.get("engine") else None
            if shared is not None:
                loop = LoopThread()
                try:
                    loop.wait(shared.ask("forget_run"))
                    store.set(engine="")
                finally:
                    loop.close()
            if has_open_chunks(store):
                self._drain(store)
        finally:
            self._close(store)

    def _drain(self, store: RunStore) -> None:
        loop = LoopThread()
        try:
            lane = loop.run(lambda: self._parts.make_queue(iter(()), store, drains=True))
            try:
                while loop.wait(lane.take()):
                    pass
            finally:
                loop.wait(lane.close())
        finally:
            loop.close()

    def __iter__(self) -> Iterator[BatchItem]:
        """Yield each item when it has finished. Items that finished in an earlier execution of the run come first.

        Raises:
            BudgetError, AuthenticationFailed, QuotaExhausted: Every further request would fail; the run can
                be resumed.
        """
        return self._iterate(in_order=False)

    def __aiter__(self) -> AsyncIterator[BatchItem]:
        """See `__iter__`."""
        return self._aiterate(in_order=False)

    def results(self) -> Generator[BatchItem, None, None]:
        """Yield all items in input order, each as soon as it and all earlier items have finished.

        If an item is slow, about a thousand later items are read and wait for it; then reading pauses.
        """
        return self._iterate(in_order=True)

    def aresults(self) -> AsyncGenerator[BatchItem, None]:
        """See `results`."""
        return self._aiterate(in_order=True)

    # -- parts

    def _iterate(self, *, in_order: bool) -> Generator[BatchItem, None, None]:
        store = self._open()
        loop = LoopThread()
        try:
            yield from self._replay(store, in_order=in_order)
            lane = loop.run(self._make_lane, store, in_order)
            try:
                while found := loop.wait(lane.take()):
                    for item in found:
                        yield parse_item(item, self._plan.answer_type)
            finally:
                loop.wait(lane.close())
        finally:
            loop.close()
            self._close(store)

    async def _aiterate(self, *, in_order: bool) -> AsyncGenerator[BatchItem, None]:
        store = self._open()
        try:
            for item in self._replay(store, in_order=in_order):
                yield item
            lane = self._make_lane(store, in_order)
            try:
                while found := await lane.take():
                    for item in found:
                        yield parse_item(item, self._plan.answer_type)
            finally:
                await lane.close()
        finally:
            self._close(store)

    def _make_estimate(self) -> Act[Estimate]:
        if self._plan.once:
            raise BadRequest(
                "items can be read only once, so the run would have none left after the estimate",
                code="LC303",
                where="items",
                expected="a list, or another object that can be iterated again",
                fix="batch(list(items)).estimate()",
            )
        store = RunStore(self.path) if self.path.exists() else None
        try:
            items: Items = () if self._read is None else self._read()
            if self._read is None and store is not None:
                items = self._iterate_stored(store, everything=True)
            if not isinstance(items, Iterable):
                raise BadRequest("items must not be asynchronous", code="LC303", where="items")
            return (yield from self._parts.estimate(items, store))
        finally:
            if store is not None:
                store.close()

    def _open(self) -> RunStore:
        store = RunStore(self.path)
        if store.get("created") is None:
            store.set(created=make_created())
        if (
            self._plan.once and self._read is not None and self._summary is not None
        ):  # the items were iterated before
            self._read = None
        if self._read is None and store.get("complete") is None:
            store.close()
            raise BadRequest(
                f"the run {self.id} had not read its input to the end, so its remaining items are unknown",
                code="LC321",
                where="items",
                expected="the same items again",
                fix=f'resume_batch("{self.id}", items)',
            )
        self._store, self._summary = store, None
        return store

    def _close(self, store: RunStore) -> None:
        self._summary, self._store = _summarise(store), None
        store.close()

    def _replay(self, store: RunStore, *, in_order: bool) -> Generator[BatchItem, None, None]:
        """Yield the items that earlier executions have finished.

        Yield nothing if the input is read again or the items are in order, because then the lane yields these items.
        """
        if self._read is not None or in_order:
            return
        for stored in store.iterate_items():
            reply, error = stored.reply, None
            if reply is None:
                if stored.state != "failed" or stored.error is None or not stored.is_malformed:
                    continue  # the item will be sent again
                error = _restore_error(stored.error)
            item = BatchItem(index=stored.position, id=stored.id, reply=reply, error=error)
            yield parse_item(item, self._plan.answer_type)

    def _make_lane(self, store: RunStore, in_order: bool) -> LiveLane | SwitchingLane:  # noqa: FBT001 - `LoopThread.run` passes it by position
        found = self._iterate_stored(store, everything=in_order) if self._read is None else self._read()
        items = iter(found) if isinstance(found, Iterable) else aiter(found)
        lane = self._plan.lane or cast("Lane", store.get("lane") or "now")
        if lane != "now":
            check_shared(self.id, store.get("engine"))
        store.set(lane=lane)
        if lane == "now" and not has_open_chunks(store):
            return self._make_live(items, store, in_order=in_order)
        queue = self._parts.make_queue(
            items,
            store,
            in_order=in_order,
            max_failures=self._plan.max_failures,
            moves_tail=lane == "auto",
            drains=lane == "now",
        )
        if lane == "queue":
            return SwitchingLane(queue, None)
        return SwitchingLane(
            queue,
            lambda: self._make_live(
                self._iterate_stored(store, everything=in_order, first=queue.due),
                store,
                in_order=in_order,
                first=queue.due,
            ),
        )

    def _make_live(
        self,
        items: Iterator[Prepared] | AsyncIterator[Prepared],
        store: RunStore,
        *,
        in_order: bool,
        first: int = 0,
    ) -> LiveLane:
        engine = self._parts.make_engine()
        if engine is None:
            check_shared(self.id, store.get("engine"))
        else:
            store.set(engine=engine.name)
        return LiveLane(
            items,
            store,
            self._parts.send,
            ConcurrencyController(self._plan.concurrency),
            engine=engine,
            in_order=in_order,
            first=first,
            max_failures=self._plan.max_failures,
            answer_type=self._plan.answer_type,
        )

    def _iterate_stored(self, store: RunStore, *, everything: bool, first: int = 0) -> Iterator[Prepared]:
        """Yield the items of the file from position *first*. Unless *everything* is true, yield only unanswered items."""
        for position, name, body, error in store.iterate_bodies(first, everything=everything):
            if body is not None:
                yield Prepared(position, name, body)
            elif error is not None:
                yield Prepared(position, name, None, _restore_error(error))


def _restore_error(stored: Mapping[str, Any]) -> BadRequest:
    return BadRequest(stored["message"], code=stored["code"], where=stored.get("where"))


def make_run_id() -> str:
    """Return a name for a new run. The name begins with the time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def find_runs_folder() -> Path:
    """Return the folder of the runs.

    Raises:
        LLMCoreError: The user has no home directory.
    """
    folder = get_user_folder("state", os.environ)
    if folder is None:
        raise LLMCoreError(
            "there is no folder for the run: the user has no home directory",
            code="LC323",
            expected="HOME or XDG_STATE_HOME as an absolute path",
            fix="export XDG_STATE_HOME=/var/lib/llmcore",
        )
    return folder / "batches"


def find_run(run_id: str) -> Path:
    """Return the file of a run.

    Raises:
        BadRequest: No run has the id.
    """
    folder = find_runs_folder()
    path = folder / f"{run_id}.sqlite3"
    if run_id.strip("/.") != run_id or "/" in run_id or not path.is_file():
        from difflib import get_close_matches

        names = sorted(each.stem for each in folder.glob("*.sqlite3"))
        near = get_close_matches(run_id, names, n=1)
        raise BadRequest(
            f"there is no run `{run_id}`",
            code="LC321",
            expected=f"one of {', '.join(names[-5:])}" if names else "the id of a run, but no run is stored",
            suggestion=near[0] if near else None,
            fix="llmcore batch list",
        )
    return path


def _summarise(store: RunStore) -> Summary:
    counts = store.count()
    return Summary(counts.items, counts.done, counts.failed, counts.answers, from_nano(store.sum_cost()))
