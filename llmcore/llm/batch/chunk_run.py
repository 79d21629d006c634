"""Send the requests of a chunk in a worker. The ledger decides which requests this worker sends."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.errors import LedgerUnavailable, LLMCoreError, ProviderError, RateLimited
from llmcore.llm.batch.adaptive_concurrency import ConcurrencyController
from llmcore.llm.batch.chunks import ChunkResult, encode_error, encode_reply
from llmcore.llm.batch.live_lane import STOPPING, Send
from llmcore.support.ledger_runs import ItemState
from llmcore.types import Reply

if TYPE_CHECKING:
    import asyncio

__all__ = ["ChunkRun", "RequestSlots"]

_CONFIRM_S: Final = 5.0
"""If a claim is older than this many seconds, the ledger must confirm the claim before the next request is sent.

A worker that was stopped for a while may have lost its claim to another worker.
"""
_POLL_S: Final = 0.5
"""Seconds between two calls of the ledger if other workers have claimed the items or the ledger does not answer."""
_PATIENCE_S: Final = 60.0
"""Seconds after which the chunk fails if the ledger has not answered."""

_releasing: Final[set[asyncio.Future[None]]] = set()
"""The tasks that release claims after an outage of the ledger.

This set keeps the tasks alive, because the event loop has only weak references to its tasks.
"""

Ask = Callable[..., Awaitable[Any]]
"""A function that calls a method of `LedgerRuns` for the run: `await ask("claim_items", ...)`."""


class RequestSlots:
    """Counts the requests of one run that are in flight in this process.

    The chunks of the run share one `RequestSlots` in each process. If the run has a fixed concurrency, each chunk has its own.
    """

    def __init__(self, controller: ConcurrencyController) -> None:
        self.controller = controller
        self.in_flight = 0

    @property
    def is_free(self) -> bool:
        """True if another request may be sent."""
        return self.in_flight < int(self.controller.limit)


class ChunkRun:
    """One execution of a chunk. The object belongs to one event loop."""

    def __init__(
        self, requests: Sequence[tuple[bytes, bytes]], ask: Ask, send: Send, slots: RequestSlots
    ) -> None:
        self._order = [key for key, _ in requests]
        self._bodies = dict(requests)
        self._ask = ask
        self._send = send
        self._slots = slots
        self._claim = os.urandom(16).hex()
        self._confirmed_at = 0.0
        self._mine: deque[bytes] = deque()
        """The items that this worker has claimed and not sent."""
        self._replies: dict[bytes, bytes] = {}
        self._errors: dict[bytes, dict[str, Any]] = {}
        self._stop: BaseException | None = None
        self._is_closed = False

    async def run(self) -> ChunkResult:
        """Send the requests, or wait for other workers that send them.

        Errors are returned in the result, not raised.
        """
        import asyncio

        try:
            while left := self._list_left():
                await self._take(left)
                if self._mine:
                    await self._send_mine()
                elif self._list_left() and not self._must_stop:
                    await asyncio.sleep(_POLL_S)
                if self._must_stop:
                    break
        except LLMCoreError as error:
            self._stop = self._stop or error
        finally:
            await self._release()
        return self._make_result()

    @property
    def _must_stop(self) -> bool:
        return self._stop is not None or self._is_closed

    def _list_left(self) -> list[bytes]:
        return [key for key in self._order if key not in self._replies and key not in self._errors]

    async def _take(self, keys: list[bytes]) -> None:
        """Claim *keys*, and read the answers of requests that are done."""
        asked_at = time.monotonic()
        states: Sequence[ItemState] | None = await self._persist("claim_items", self._claim, keys)
        self._confirmed_at = asked_at
        self._mine.clear()
        if states is None:
            self._is_closed = True
            return
        for key, state in zip(keys, states, strict=True):
            if state.answer is not None:
                self._replies[key] = state.answer
            elif state.state == "mine":
                self._mine.append(key)

    async def _send_mine(self) -> None:
        """Send the claimed requests, as many at a time as the controller allows, and store the answers."""
        import asyncio

        tasks: dict[asyncio.Future[Reply[Any]], bytes] = {}
        try:
            while tasks or (self._mine and not self._must_stop):
                while self._mine and not self._must_stop and self._slots.is_free:
                    if time.monotonic() - self._confirmed_at > _CONFIRM_S:
                        await self._take(list(self._mine))
                        continue
                    key = self._mine.popleft()
                    self._slots.in_flight += 1
                    tasks[asyncio.ensure_future(self._send_one(key))] = key
                if tasks:
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    await self._save({tasks.pop(task): task for task in done})
                elif self._mine and not self._must_stop:
                    # other chunks of this process have sent as many requests as the controller allows
                    await asyncio.sleep(_POLL_S / 10)
        finally:
            for task in tasks:  # tasks remain only after an error, which ends the chunk
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
                self._keep(tasks)

    def _keep(self, ended: dict[asyncio.Future[Reply[Any]], bytes]) -> None:
        """Keep the answers of requests that ended while the chunk was being stopped, because the answers are paid for."""
        for task, key in ended.items():
            if not task.cancelled() and task.exception() is None:
                self._replies[key] = encode_reply(task.result())

    async def _send_one(self, key: bytes) -> Reply[Any]:
        try:
            return await self._send(msgspec.json.decode(self._bodies[key]), self._slow_down)
        finally:
            self._slots.in_flight -= 1

    async def _save(self, ended: dict[bytes, asyncio.Future[Reply[Any]]]) -> None:
        """Store the answers of ended requests in the ledger.

        Errors are not stored, so another worker may try again.
        """
        answers = []
        for key, task in ended.items():
            error = task.exception()
            if error is None:
                reply = task.result()
                answers.append((key, encode_reply(reply)))
                if not reply.cached:
                    self._slots.controller.grow()
                continue
            if isinstance(error, RateLimited):
                self._slots.controller.cut()
            if isinstance(error, STOPPING) or not isinstance(error, LLMCoreError):
                self._stop = self._stop or error
            else:
                self._errors[key] = encode_error(error)
        # Keep the answers in the result before calling the ledger, because that call may fail. The process that reads
        # the result stores the answers in the run's file.
        self._replies.update(answers)
        if answers:
            await self._persist("finish_items", self._claim, answers)

    def _slow_down(self, error: ProviderError) -> None:
        if isinstance(error, RateLimited):
            self._slots.controller.cut()

    async def _release(self) -> None:
        """Give up the claimed items that have no answer.

        If the ledger does not answer, try again in the background, because no other worker can claim the items while this
        process lives and has not released them.
        """
        import asyncio

        try:
            await self._ask("release_items", self._claim)
        except LedgerUnavailable:
            task = asyncio.ensure_future(self._release_later())
            _releasing.add(task)
            task.add_done_callback(_releasing.discard)
        except LLMCoreError as error:
            self._stop = self._stop or error

    async def _release_later(self) -> None:
        import asyncio

        while True:
            await asyncio.sleep(_POLL_S)
            try:
                await self._ask("release_items", self._claim)
            except LedgerUnavailable:
                continue
            except LLMCoreError:  # another attempt would fail too
                return
            return

    async def _persist(self, name: str, *args: Any) -> Any:
        """Call the method *name* of the ledger.

        If the ledger does not answer, repeat the call for `_PATIENCE_S` seconds.
        """
        import asyncio

        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return await self._ask(name, *args)
            except LedgerUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                del error
            await asyncio.sleep(_POLL_S)

    def _make_result(self) -> ChunkResult:
        return ChunkResult(
            [self._replies.get(key) for key in self._order],
            {at: self._errors[key] for at, key in enumerate(self._order) if key in self._errors},
            None if self._stop is None else encode_error(self._stop),
            self._is_closed,
        )
