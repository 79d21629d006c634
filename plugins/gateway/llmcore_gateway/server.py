"""The server process: uvicorn, with a drain on SIGTERM and a reload on SIGHUP."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from logging import getLogger
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from llmcore.errors import LLMCoreError
from llmcore_gateway.app import Application
from llmcore_gateway.gateway import Gateway
from llmcore_gateway.protocol import make_protocol

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["Server", "make_server"]

_TICK_S: Final = 0.1
_log: Final = getLogger("llmcore_gateway")


class Server(uvicorn.Server):
    """Runs one Application until a signal stops it."""

    def __init__(
        self,
        config: uvicorn.Config,
        application: Application,
        load: Callable[[], Core],
        on_started: Callable[[], object] | None,
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._application = application
        self._load = load
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_draining = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and install the signal handlers."""
        self._application.state.phase = "starting"
        await super().startup(sockets)
        if self._on_started is not None:
            self._on_started()
        self._start(self.warm)
        with contextlib.suppress(
            NotImplementedError, AttributeError, RuntimeError, ValueError
        ):  # signal handlers cannot be added on Windows or outside of the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._start, self.reload)

    async def on_tick(self, counter: int) -> bool:
        """Publish the metrics of this worker for all other workers. uvicorn calls this ten times a second."""
        self._application.state.metrics.publish()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at a Ctrl-C, or at a second SIGTERM; drain at the first SIGTERM."""
        if sig != signal.SIGTERM:
            super().handle_exit(sig, frame)
            return
        if self._is_draining:
            self.should_exit = True  # uvicorn's handler would repeat the signal, before the Core is closed
            return
        self._is_draining = True
        self._application.state.phase = "draining"
        _log.info(
            "draining: /health/ready answers 503 now, so that no new clients are sent here; requests are still served"
        )
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_soon_threadsafe(self._start, self.drain)

    async def warm(self) -> None:
        """Load the SDK of the language model, then report ready.

        Otherwise the first request would wait for the SDK.
        """
        try:
            await asyncio.to_thread(self._application.gateway.warm)
        except LLMCoreError as error:
            _log.error("the language model cannot be used: %s", error)
        if self._application.state.phase == "starting":
            self._application.state.phase = "ready"

    async def drain(self) -> None:
        """Serve until no request is in progress and `drain_delay` has passed, for at most `drain`. Then stop."""
        options = self._application.gateway.options
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while loop.time() - begun < options.drain:
            await asyncio.sleep(_TICK_S)
            if self._application.state.is_idle and loop.time() - begun >= options.drain_delay:
                break
        # uvicorn waits once more for answers in progress: allow it the rest of `drain`
        self.config.timeout_graceful_shutdown = max(1, int(options.drain - (loop.time() - begun)))
        self.should_exit = True

    async def reload(self) -> None:
        """Replace the Core with a new one for the current configuration.

        If the configuration has faults, keep the old Core.
        """
        application = self._application
        core = None
        try:
            core = await asyncio.to_thread(self._load)
            gateway = Gateway(core)
        except LLMCoreError as error:
            if core is not None:
                await core.aclose()
            _log.error("the new configuration has faults, so the old configuration stays in use: %s", error)
            return
        old, application.gateway = application.gateway, gateway
        _log.info("reloaded the configuration")
        await old.wait_until_unused()
        await old.core.aclose()

    def _start(self, work: Callable[[], Any]) -> None:
        task = asyncio.ensure_future(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def make_server(
    application: Application,
    load: Callable[[], Core],
    *,
    loop: str = "auto",
    on_started: Callable[[], object] | None = None,
) -> Server:
    """Return the server of *application*.

    *load* makes a new Core at a reload. *on_started* is called when the server listens.
    """
    options = application.gateway.options

    protocol = make_protocol(
        header_timeout_s=float(options.header_timeout), body_timeout_s=float(options.body_timeout)
    )
    config = uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        loop=loop,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, int(options.drain)),
    )
    return Server(config, application, load, on_started)
