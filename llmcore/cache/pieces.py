"""Cached generators: all concurrent callers share one run.

The pieces are cached when the run is complete, and decoded one by one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import Any

from llmcore.cache.codec import IMMUTABLE
from llmcore.cache.function import CachedFunction, FunctionCall, FunctionResult, running_keys
from llmcore.calls.bridges import END, is_closed
from llmcore.calls.drivers import aiterate, iterate
from llmcore.calls.steps import Step

__all__ = ["CachedPieces"]


class _EncodedPiece:
    """An encoded piece. Each caller decodes a separate copy."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class CachedPieces:
    """The calls of one cached generator function or async generator function."""

    def __init__(self, cached: CachedFunction, *, awaits: bool) -> None:
        self._cached = cached
        self._awaits = awaits
        self._codec = cached.piece_codec

    def iterate(self, call: FunctionCall, *, reads: bool = True) -> Generator[Any, None, None]:
        """Yield the pieces of the function, from the cache or from a run."""
        with closing(iterate(self._get_or_make(call, reads=reads))) as pieces:
            for piece in pieces:
                yield self._decode(piece)

    async def aiterate(self, call: FunctionCall, *, reads: bool = True) -> AsyncGenerator[Any, None]:
        """See `iterate`."""
        async with aclosing(aiterate(self._get_or_make(call, reads=reads))) as pieces:
            async for piece in pieces:
                yield self._decode(piece)

    def _get_or_make(self, call: FunctionCall, *, reads: bool) -> Generator[Any, Any, None]:
        cached = self._cached
        if reads:
            found = yield from cached.look_up(call)
            if found.hit:
                if cached.is_due(found):
                    renewal = cached.make_renewal(call, lambda: self._run_to_end(call))
                    yield cached.values.refresher.make_step(renewal)
                yield from found.value
                return
        if call.key in running_keys.get():
            yield from self._run(call)
            return
        again = reads
        while True:
            shared = yield from cached.values.flights.join(
                call.key if reads else call.key + " refresh",
                lambda: cached.run_and_store(call, lambda: self._run(call), reads=reads),
                emit=lambda: None,
            )
            outcome: FunctionResult = shared.value
            if outcome.error is None:
                if not shared.pieces:  # another process ran the function
                    yield from outcome.value
                return
            if shared.led or shared.pieces or not again:
                outcome.raise_()
            again = False

    def _run(self, call: FunctionCall) -> Generator[Any, Any, FunctionResult]:
        """Run the function and yield its pieces."""
        source = _Source(self._cached.function, call)
        step = Step(source.next, source.anext if self._awaits else None)
        values: list[Any] = []
        try:
            while (piece := (yield step)) is not END:
                if type(piece) not in IMMUTABLE:
                    packed = _EncodedPiece(self._codec.encode(piece))
                    piece = self._codec.decode(packed.data)[
                        1
                    ]  # yield a copy, because the function may change the object later
                    values.append(piece)
                    yield packed
                else:
                    values.append(piece)
                    yield piece
        except Exception as error:  # noqa: BLE001 - the error is raised to the callers later
            yield source.make_close_step(awaits=self._awaits)
            return FunctionResult(error=error)
        except GeneratorExit:
            raise
        except BaseException:
            yield source.make_close_step(awaits=self._awaits)
            raise
        return FunctionResult(values)

    def _run_to_end(self, call: FunctionCall) -> Generator[Any, Any, FunctionResult]:
        """Run the function to its end, only to cache the pieces; no caller receives them."""
        run = self._run(call)
        value: Any = None
        failure: BaseException | None = None
        while True:
            try:
                item = run.send(value) if failure is None else run.throw(failure)
            except StopIteration as stop:
                outcome: FunctionResult = stop.value
                return outcome
            value = failure = None
            if type(item) is Step:
                try:
                    value = yield item
                except BaseException as raised:  # noqa: BLE001 - the exception is thrown into the run
                    failure = raised

    def _decode(self, piece: Any) -> Any:
        return self._codec.decode(piece.data)[1] if type(piece) is _EncodedPiece else piece


class _Source:
    """The generator of one call, started at the first piece."""

    def __init__(self, function: Callable[..., Any], call: FunctionCall) -> None:
        self._function = function
        self._call = call
        self._pieces: Any = None

    def _start(self) -> Any:
        if self._pieces is None:
            self._pieces = self._function(*self._call.args, **self._call.kwargs)
        return self._pieces

    def next(self) -> Any:
        token = running_keys.set(running_keys.get() | {self._call.key})
        try:
            return next(self._start(), END)
        finally:
            running_keys.reset(token)

    async def anext(self) -> Any:
        if is_closed(self._start()):  # the event loop closed the generator while shutting down
            raise _make_cancellation()
        token = running_keys.set(running_keys.get() | {self._call.key})
        try:
            return await anext(self._start(), END)
        finally:
            running_keys.reset(token)

    def make_close_step(self, *, awaits: bool) -> Step:
        return Step(self._close, self._aclose if awaits else None)

    def _close(self) -> None:
        if self._pieces is not None:
            self._pieces.close()

    async def _aclose(self) -> None:
        if self._pieces is not None:
            await self._pieces.aclose()


def _make_cancellation() -> BaseException:
    import asyncio

    return asyncio.CancelledError("the event loop shuts down")
