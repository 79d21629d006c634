"""One run of a batch, as an application sees it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from llmcore.errors import BadRequest, LLMCoreError
from llmcore.ledger.money import from_nano
from llmcore.llm.batch.items import BatchItem, Prepared
from llmcore.llm.batch.live import LiveLane, Send
from llmcore.llm.batch.pace import Pace
from llmcore.llm.batch.store import RunStore, Stored, make_created
from llmcore.support.user_folders import user_folder
from llmcore.threads import start_thread

__all__ = ["BatchRun", "Summary", "find_run", "make_run_id", "runs_folder"]


class Summary(NamedTuple):
    """How far a run is."""

    items: int
    """Items that were read."""
    done: int
    failed: int
    requests: int
    """Different requests that were answered: the others are duplicates of them."""
    cost: Decimal
    """USD, of the requests whose cost is known; those from the cache cost nothing."""


class BatchRun:
    """A run: iterate it, with `for` or `async for`, to send its items and get them as they finish.

    Work starts when it is iterated. It stops when the iteration is left; the same run can then be resumed.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[], Iterable[Prepared]] | None,
        send: Send,
        *,
        concurrency: int | None = None,
        max_failures: Callable[[int], float] | None = None,
    ) -> None:
        self.id = path.stem
        """The name of the run, for `resume_batch`."""
        self.path = path
        """Its file."""
        self._read = read
        self._send = send
        self._concurrency = concurrency
        self._max_failures = max_failures
        self._summary: Summary | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @property
    def summary(self) -> Summary:
        """How far the run is."""
        if self._summary is not None:
            return self._summary
        if not self.path.exists():
            return Summary(0, 0, 0, 0, Decimal(0))
        store = RunStore(self.path)
        try:
            return _summarise(store)
        finally:
            store.close()

    def __iter__(self) -> Iterator[BatchItem]:
        """Yield the items as they finish, those of an earlier part of the run first.

        Raises:
            BudgetError, AuthenticationFailed, QuotaExhausted: Every further request would fail; the run can be resumed.
        """
        store = self._open()
        loop = _LoopThread()
        try:
            yield from self._replay(store)
            lane = loop.run(self._make_lane, store)
            try:
                while found := loop.wait(lane.take()):
                    yield from found
            finally:
                loop.wait(lane.close())
        finally:
            loop.close()
            self._close(store)

    async def __aiter__(self) -> AsyncIterator[BatchItem]:
        """See `__iter__`."""
        store = self._open()
        try:
            for item in self._replay(store):
                yield item
            lane = self._make_lane(store)
            try:
                while found := await lane.take():
                    for item in found:
                        yield item
            finally:
                await lane.close()
        finally:
            self._close(store)

    def results(self) -> Iterator[BatchItem]:
        """Yield all items in the order of the input, each as soon as it and those before it have finished."""
        waiting: dict[int, BatchItem] = {}
        due = 0
        for item in self:
            waiting[item.index] = item
            while due in waiting:
                yield waiting.pop(due)
                due += 1
        yield from (waiting[index] for index in sorted(waiting))

    async def aresults(self) -> AsyncIterator[BatchItem]:
        """See `results`."""
        waiting: dict[int, BatchItem] = {}
        due = 0
        async for item in self:
            waiting[item.index] = item
            while due in waiting:
                yield waiting.pop(due)
                due += 1
        for index in sorted(waiting):
            yield waiting[index]

    # -- parts

    def _open(self) -> RunStore:
        store = RunStore(self.path)
        self._summary = None
        if store.get("created") is None:
            store.set(created=make_created())
        if self._read is None and store.get("complete") is None:
            store.close()
            raise BadRequest(
                f"the run {self.id} had not read its input to the end, so the rest is not known",
                code="LC321",
                where="items",
                expected="the same items again",
                fix=f'resume_batch("{self.id}", items)',
            )
        return store

    def _close(self, store: RunStore) -> None:
        self._summary = _summarise(store)
        store.close()

    def _replay(self, store: RunStore) -> Generator[BatchItem, None, None]:
        """Yield the items that an earlier part of the run has finished, unless the input has changed since."""
        if self._read is not None:
            return
        for stored in store.iter_items():
            if (item := self._recall(store, stored)) is not None:
                yield item

    def _make_lane(self, store: RunStore) -> LiveLane:
        source = self._iter_stored(store) if self._read is None else iter(self._read())
        return LiveLane(source, store, self._send, Pace(self._concurrency), max_failures=self._max_failures)

    def _iter_stored(self, store: RunStore) -> Iterator[Prepared]:
        for stored in store.iter_items():
            if self._recall(store, stored) is None and stored.body is not None:
                yield Prepared(stored.position, stored.id, stored.body)

    def _recall(self, store: RunStore, stored: Stored) -> BatchItem | None:
        """Return an item that has finished; None if it is to be sent."""
        if stored.state == "done" and stored.key is not None:
            reply = store.find_answer(stored.key)
            return None if reply is None else BatchItem(index=stored.position, id=stored.id, reply=reply)
        if stored.state == "failed" and stored.error is not None and not stored.body:
            error = LLMCoreError(
                stored.error["message"], code=stored.error["code"], where=stored.error.get("where")
            )
            return BatchItem(index=stored.position, id=stored.id, error=error)
        return None


def make_run_id() -> str:
    """Return a name for a new run, which begins with the time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def runs_folder() -> Path:
    """Return the folder of the runs.

    Raises:
        LLMCoreError: The user has no home directory to store them in.
    """
    folder = user_folder("state", os.environ)
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
        BadRequest: There is none.
    """
    folder = runs_folder()
    path = folder / f"{run_id}.sqlite3"
    if run_id.strip("/.") != run_id or "/" in run_id or not path.is_file():
        from difflib import get_close_matches

        names = sorted(each.stem for each in folder.glob("*.sqlite3"))
        near = get_close_matches(run_id, names, n=1)
        raise BadRequest(
            f"there is no run `{run_id}`",
            code="LC321",
            expected=f"one of {', '.join(names[-5:])}" if names else "the id of a run; there is none",
            suggestion=near[0] if near else None,
            fix="llmcore batch list",
        )
    return path


def _summarise(store: RunStore) -> Summary:
    counts = store.count()
    return Summary(counts.items, counts.done, counts.failed, counts.answers, from_nano(store.sum_cost()))


class _LoopThread:
    """An event loop in a thread, for the blocking reader of a run: requests go on while the reader works."""

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llmcore-batch", daemon=True)
        self._submit: Any = asyncio.run_coroutine_threadsafe
        if not start_thread(self._thread):
            self._loop.close()
            raise LLMCoreError("no thread can be started for the batch", code="LC005")

    def run(self, make: Callable[..., Any], *args: Any) -> Any:
        """Call *make* in the loop and return its result."""

        async def call() -> Any:
            return make(*args)

        return self.wait(call())

    def wait(self, work: Any) -> Any:
        """Run the coroutine *work* in the loop and return its result."""
        future = self._submit(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop."""
        if self._thread.is_alive():
            self._submit(self._loop.shutdown_asyncgens(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
