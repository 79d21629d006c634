"""Run chunks of batches in a worker process of an engine. The workers import this module by its name."""

from __future__ import annotations

import os
import socket
from hashlib import sha256
from typing import Any, Final

import msgspec

from llmcore import forks
from llmcore.config.portable_settings import load_portable, make_portable
from llmcore.core import Core
from llmcore.llm.batch.adaptive_concurrency import ConcurrencyController
from llmcore.llm.batch.chunk_run import ChunkRun, RequestSlots
from llmcore.llm.batch.chunks import Chunk, ChunkResult, encode_error
from llmcore.llm.batch.engine import Engines, SharedRun
from llmcore.llm.batch.live_lane import Send
from llmcore.llm.batch.loop_thread import LoopThread
from llmcore.plugins import Catalogue

__all__ = ["make_engines", "run_chunk"]

_decode: Final = msgspec.msgpack.Decoder(Chunk).decode
_decode_settings: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def run_chunk(data: bytes) -> bytes:
    """Send the requests of a chunk, and return the result, which also contains the errors."""
    chunk = _decode(data)
    try:
        result = _worker.run(chunk)
    except Exception as error:  # noqa: BLE001 - the result carries the error to the application, which raises it
        result = ChunkResult([None] * len(chunk.requests), stop=encode_error(error))
    if result.stop is not None:
        result.stop["notes"].append(f"in a worker on {socket.gethostname()}")
    return _encode(result)


def make_engines(core: Core) -> Engines:
    """Return the engines of *core*. The application calls this function; its workers call `run_chunk`."""

    def get_provider(name: str | None) -> tuple[str, Any] | None:
        backend = core.backend("engines", name)
        if backend.provider_name == "local" and not backend.options.workers:
            return None
        return backend.name, backend.provider

    services = core._services  # noqa: SLF001 - `Core` is in the same package
    return Engines(
        get_provider, lambda: make_portable(core.settings, core.catalogue), run_chunk, services.spending
    )


class _Worker:
    """The Cores and the event loop of this process.

    They are kept until the process ends, because the next chunk may need them.
    """

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._start()
        forks.watch(self)

    def _start(self) -> None:
        self._loop: LoopThread | None = None
        self._cores: dict[bytes, Core] = {}
        self._senders: dict[bytes, tuple[Core, Send, RequestSlots]] = {}

    def after_fork(self) -> None:
        """Drop the event loop and the Cores in a forked child, because the loop's thread runs only in the parent."""
        self._start()

    def run(self, chunk: Chunk) -> ChunkResult:
        """Run *chunk* and return its result. The calling thread waits."""
        with self._lock:
            if self._loop is None:
                self._loop = LoopThread()
            loop = self._loop
            core, send, slots = self._prepare(chunk)
        # a fixed concurrency limits only this chunk, not all chunks of the process
        if chunk.concurrency is not None:
            slots = RequestSlots(ConcurrencyController(chunk.concurrency))
        shared = SharedRun(chunk.run, core._services.spending())  # noqa: SLF001 - `Core` is in the same package
        result: ChunkResult = loop.wait(ChunkRun(chunk.requests, shared.ask, send, slots).run())
        return result

    def _prepare(self, chunk: Chunk) -> tuple[Core, Send, RequestSlots]:
        """Return the Core of *chunk*, the function that sends its requests, and the `RequestSlots` that counts its requests in flight."""
        key = sha256(_encode(msgspec.structs.replace(chunk, requests=[], budget=None))).digest()
        found = self._senders.get(key)
        if found is None:
            name = sha256(chunk.settings).digest()
            core = self._cores.get(name)
            if core is None:
                settings = load_portable(_decode_settings(chunk.settings), os.environ)
                core = self._cores[name] = Core(settings, Catalogue())
            found = self._senders[key] = (
                core,
                core.llm.make_sender(chunk.options),
                RequestSlots(ConcurrencyController()),
            )
        # Set the budget for every chunk, because a run that is resumed may have another budget than before.
        found[0].llm.set_run_budget(f"batch:{chunk.run}", chunk.budget)
        return found


_worker: Final = _Worker()
