"""The engine of a run: sends chunks of requests to worker processes, and shares the run's state with them in the ledger."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from llmcore.calls.drivers import arun
from llmcore.calls.steps import Act
from llmcore.calls.worker_threads import run_in_worker
from llmcore.errors import EngineError, LedgerUnavailable, LLMCoreError
from llmcore.ledger.lock_timeouts import LOCK_TIMEOUT_S
from llmcore.llm.batch.chunks import Chunk, ChunkResult, Outcome, decode_error, decode_reply
from llmcore.support.errors import raise_unchained

if TYPE_CHECKING:
    import asyncio

    from llmcore.ledger.spending import Spending

__all__ = ["ChunkOutcome", "Engine", "Engines", "GetEngines", "SharedRun"]

Request: TypeAlias = tuple[bytes, dict[str, Any]]
"""The key and the body of a request."""

_SIZE: Final = 100
"""The maximum number of requests in a chunk."""
_COUNT_S: Final = 5.0
"""Seconds after which the provider is asked again for the number of slots. Each slot runs one chunk at a time."""
_LOSSES: Final = 5
"""The maximum number of times that a chunk is submitted again because its worker was lost.

There is a maximum, because the chunk itself may be what ends its workers.
"""

T = TypeVar("T")

_encode: Final = msgspec.msgpack.Encoder(enc_hook=str).encode
_encode_json: Final = msgspec.json.Encoder().encode
_decode_result: Final = msgspec.msgpack.Decoder(ChunkResult).decode


class SharedRun:
    """The state of one run in the ledger, which all workers share; see `llmcore.contracts.LedgerRuns`."""

    def __init__(self, run: str, spending: Spending) -> None:
        self._run = run
        self._spending = spending

    async def ask(self, name: str, *args: Any) -> Any:
        """Call the method *name* of the ledger for this run.

        Raises:
            LedgerUnavailable: The ledger cannot be used now.
            EngineError: There is no ledger, or the ledger does not have the ability `LedgerRuns`.
        """
        spending = self._spending
        if not spending.is_enabled:
            raise EngineError(
                "the workers of an engine need a ledger, but the ledger is disabled",
                code="LC331",
                where="[ledger] enabled",
                expected="a ledger, which decides which worker sends a request",
                fix=spending.settings.make_fix("enabled", "true"),
            )
        if getattr(spending.operations.provider, name, None) is None:
            raise EngineError(
                f"the ledger `{spending.settings.provider}` cannot share the runs of batches",
                code="LC331",
                where="[ledger] provider",
                expected="a ledger with the ability LedgerRuns, such as sqlite or postgres",
                fix=spending.settings.make_fix("provider", "sqlite"),
            )
        return await arun(self._call(name, args))

    def _call(self, name: str, args: Sequence[Any]) -> Act[Any]:
        return (yield self._spending.operations.make_step(name, self._run, *args, LOCK_TIMEOUT_S))

    async def open(self) -> None:
        """Allow workers to claim items of the run."""
        await arun(self._prepare())
        await self.ask("open_run")

    def _prepare(self) -> Act[None]:
        if self._spending.is_enabled:
            yield self._spending.operations.make_step("prepare", LOCK_TIMEOUT_S)


class Engines:
    """The engines of a Core.

    Args:
        get_provider: Takes the name of an engine, or None for the configured engine. Returns the name and the
            provider of the engine, or None if this process sends the requests.
        get_settings: Returns the configuration for workers.
        run_chunk: The function that a worker calls.
        spending: Returns the ledger.
    """

    def __init__(
        self,
        get_provider: Callable[[str | None], tuple[str, Any] | None],
        get_settings: Callable[[], Mapping[str, Any]],
        run_chunk: Callable[[bytes], bytes],
        spending: Callable[[], Spending],
    ) -> None:
        self._get_provider = get_provider
        self._get_settings = get_settings
        self.run_chunk = run_chunk
        self._spending = spending

    def find(self, name: str | None) -> tuple[str, Any] | None:
        """Return the name and the provider of the engine *name*, or None if this process sends the requests."""
        return self._get_provider(name)

    def share(self, run: str) -> SharedRun:
        """Return the state of *run* in the ledger."""
        return SharedRun(run, self._spending())

    def make(
        self,
        found: tuple[str, Any],
        run: str,
        options: Mapping[str, Any],
        budget: str | None,
        concurrency: int | None,
    ) -> Engine:
        """Return an `Engine` that sends the chunks of one run. *found* is a result of `find`."""
        settings = _encode(self._get_settings())
        return Engine(
            found,
            self.run_chunk,
            self.share(run),
            Chunk(run, settings, options, budget, concurrency, []),
        )


GetEngines: TypeAlias = Callable[[], Engines] | None


class ChunkOutcome(NamedTuple):
    """The result of a chunk: the outcome of each request, and the error that ended the chunk."""

    outcomes: list[Outcome]
    stop: LLMCoreError | None
    """The error that ended the chunk and ends the run; None if the chunk was completed."""


class Engine:
    """Sends chunks of one run. The object belongs to one event loop."""

    def __init__(
        self,
        found: tuple[str, Any],
        run_chunk: Callable[[bytes], bytes],
        shared: SharedRun,
        template: Chunk,
    ) -> None:
        self.name, self._provider = found
        self._run_chunk = run_chunk
        self._shared = shared
        self._template = template
        self._is_open = False
        self._slots = 1
        self._counted_at = float("-inf")
        self._counting: asyncio.Future[None] | None = None

    def count_requests(self) -> int:
        """Return how many requests to give to the engine: a chunk for each slot, and half as many waiting chunks."""
        return (self._slots + self._slots // 2 + 1) * _SIZE

    async def _count_slots(self) -> None:
        """Count the slots of the engine, at most every `_COUNT_S` seconds.

        An engine may have to start workers first. All chunks wait for one count, because the concurrency of the run
        is divided by the number of slots. If the count fails, all chunks of the run fail, because each further count could
        take as long.
        """
        import asyncio

        if self._counting is None:
            if time.monotonic() < self._counted_at + _COUNT_S:
                return
            self._counting = asyncio.ensure_future(self._read_slots())
            self._counting.add_done_callback(self._end_count)
        await asyncio.shield(self._counting)

    async def _read_slots(self) -> None:
        slots = await run_in_worker(self._provider.count_slots)
        self._slots, self._counted_at = max(1, int(slots)), time.monotonic()

    def _end_count(self, counting: asyncio.Future[None]) -> None:
        if not counting.cancelled() and counting.exception() is None:
            self._counting = None

    def divide(self, requests: list[Request], *, is_last: bool) -> Iterator[list[Request]]:
        """Divide *requests* into chunks. The last requests of a run are spread over all slots."""
        size = min(_SIZE, -(-len(requests) // self._slots)) if is_last else _SIZE
        for start in range(0, len(requests), size or 1):
            yield requests[start : start + size]

    async def send(self, requests: Sequence[Request]) -> ChunkOutcome:
        """Send a chunk of requests, and return the outcome of each.

        Raises:
            LLMCoreError: The engine cannot run the chunk. Every further chunk would fail as well.
        """
        if not self._is_open:
            await self._shared.open()
            self._is_open = True
        await self._call_engine(self._count_slots())
        concurrency = self._template.concurrency
        if concurrency is not None:
            concurrency = max(1, concurrency // self._slots)
        bodies = [(key, _encode_json(body)) for key, body in requests]
        chunk = msgspec.structs.replace(self._template, requests=bodies, concurrency=concurrency)
        result = _decode_result(await self._submit(_encode(chunk)))
        outcomes: list[Outcome] = [None if data is None else decode_reply(data) for data in result.replies]
        for at, parts in result.errors.items():
            outcomes[at] = decode_error(parts)
        if result.stop is not None:
            return ChunkOutcome(outcomes, decode_error(result.stop))
        return ChunkOutcome(outcomes, self._explain_closed() if result.is_closed else None)

    async def _submit(self, data: bytes) -> bytes:
        for left in range(_LOSSES, -1, -1):
            try:
                return await self._call_engine(self._run(data))
            except EngineError as error:
                if not (error.lost and left):
                    raise
        raise AssertionError

    async def _run(self, data: bytes) -> bytes:
        import asyncio

        future = await run_in_worker(self._provider.submit, self._run_chunk, data)
        result: bytes = await asyncio.wrap_future(future)
        return result

    async def _call_engine(self, work: Awaitable[T]) -> T:
        """Await *work*. The engine is a plugin, which may raise any exception."""
        try:
            return await work
        except LLMCoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin may raise any exception
            raise_unchained(EngineError(f"the engine `{self.name}` failed: {type(error).__name__}: {error}"))

    def _explain_closed(self) -> EngineError:
        return EngineError(
            f"the workers of the engine `{self.name}` use another ledger, which does not contain this run",
            code="LC331",
            where="[ledger]",
            expected="one ledger for all workers: sqlite on one machine, postgres on several",
            fix="llmcore config set ledger.provider postgres",
        )

    async def close(self, *, is_complete: bool) -> None:
        """Forbid workers to send further requests. If the run is complete, delete its answers from the ledger.

        A worker that has requests in flight completes them.
        """
        counting = self._counting
        if counting is not None and not counting.done():
            import asyncio

            counting.cancel()
            await asyncio.wait((counting,))
        if self._is_open:
            self._is_open = False
            try:
                await self._shared.ask("forget_run" if is_complete else "close_run")
            except LedgerUnavailable:
                return  # the answers are stored in the run's file; a run that stays open in the ledger costs only space
