"""Cached generators: one run for all who iterate at the same time, kept when it came to its end, replayed lazily."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import Any

from llmcore.cache.codec import IMMUTABLE
from llmcore.cache.function import CachedFunction, Call, Outcome, within
from llmcore.calls.bridges import END
from llmcore.calls.drivers import aiterate, iterate
from llmcore.calls.steps import Step

__all__ = ["Pieces"]


class _Packed:
    """A piece that each who gets it reads for itself, so that none changes another's."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Pieces:
    """The calls of one cached generator function, or async generator function."""

    def __init__(self, cached: CachedFunction, *, awaits: bool) -> None:
        self._cached = cached
        self._awaits = awaits
        self._codec = cached.piece_codec

    def each(self, call: Call, *, reads: bool = True) -> Generator[Any, None, None]:
        """Yield what the function yields, or yielded."""
        with closing(iterate(self._life(call, reads=reads))) as pieces:
            for piece in pieces:
                yield self._opened(piece)

    async def aeach(self, call: Call, *, reads: bool = True) -> AsyncGenerator[Any, None]:
        """See `each`."""
        async with aclosing(aiterate(self._life(call, reads=reads))) as pieces:
            async for piece in pieces:
                yield self._opened(piece)

    def _life(self, call: Call, *, reads: bool) -> Generator[Any, Any, None]:
        cached = self._cached
        if reads:
            found = yield from cached.found(call)
            if found.hit:
                if cached.is_due(found):
                    renewal = cached.renewal(call, lambda: self._exhausted(call))
                    yield cached.values.refresher.step(renewal)
                yield from found.value
                return
        if call.key in within.get():
            yield from self._run(call)
            return
        again = reads
        while True:
            landed = yield from cached.values.flights.together(
                call.key if reads else call.key + " refresh",
                lambda: cached.work(call, lambda: self._run(call), reads=reads),
                emit=lambda: None,
            )
            outcome: Outcome = landed.value
            if outcome.error is None:
                if not landed.pieces:  # another process ran it
                    yield from outcome.value
                return
            if landed.led or landed.pieces or not again:
                outcome.raise_()
            again = False

    def _run(self, call: Call) -> Generator[Any, Any, Outcome]:
        """Run the function, emitting its pieces."""
        source = _Source(self._cached.function, call)
        step = Step(source.next, source.anext if self._awaits else None)
        values: list[Any] = []
        try:
            while (piece := (yield step)) is not END:
                if type(piece) not in IMMUTABLE:
                    packed = _Packed(self._codec.encode(piece))
                    piece = self._codec.decode(packed.data)[1]  # the function may go on changing its own
                    values.append(piece)
                    yield packed
                else:
                    values.append(piece)
                    yield piece
        except Exception as error:  # noqa: BLE001 - it is the callers', who are told
            yield source.closing(awaits=self._awaits)
            return Outcome(error=error)
        except GeneratorExit:
            raise
        except BaseException:
            yield source.closing(awaits=self._awaits)
            raise
        return Outcome(values)

    def _exhausted(self, call: Call) -> Generator[Any, Any, Outcome]:
        """Run the function to its end, for nobody but the cache."""
        run = self._run(call)
        value: Any = None
        failure: BaseException | None = None
        while True:
            try:
                item = run.send(value) if failure is None else run.throw(failure)
            except StopIteration as stop:
                outcome: Outcome = stop.value
                return outcome
            value = failure = None
            if type(item) is Step:
                try:
                    value = yield item
                except BaseException as raised:  # noqa: BLE001 - the run decides
                    failure = raised

    def _opened(self, piece: Any) -> Any:
        return self._codec.decode(piece.data)[1] if type(piece) is _Packed else piece


class _Source:
    """What the function yields, begun at the first piece."""

    def __init__(self, function: Callable[..., Any], call: Call) -> None:
        self._function = function
        self._call = call
        self._pieces: Any = None

    def _begun(self) -> Any:
        if self._pieces is None:
            self._pieces = self._function(*self._call.args, **self._call.kwargs)
        return self._pieces

    def next(self) -> Any:
        token = within.set(within.get() | {self._call.key})
        try:
            return next(self._begun(), END)
        finally:
            within.reset(token)

    async def anext(self) -> Any:
        token = within.set(within.get() | {self._call.key})
        try:
            return await anext(self._begun(), END)
        finally:
            within.reset(token)

    def closing(self, *, awaits: bool) -> Step:
        return Step(self._close, self._aclose if awaits else None)

    def _close(self) -> None:
        if self._pieces is not None:
            self._pieces.close()

    async def _aclose(self) -> None:
        if self._pieces is not None:
            await self._pieces.aclose()
