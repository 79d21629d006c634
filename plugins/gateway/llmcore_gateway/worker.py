"""One server process, alone or as a worker of `supervisor.py`."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmcore_gateway.access_log import AccessHandler
from llmcore_gateway.app import Application
from llmcore_gateway.gateway import Gateway
from llmcore_gateway.server import make_server

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["Source", "configure_logging", "main", "serve"]


class Source(NamedTuple):
    """The source of the configuration. Every reload reads the same source."""

    config: str | None = None
    profile: str | None = None
    gateway: Mapping[str, Any] = {}
    """Options of the command line, which override `[gateway]`."""

    def load(self) -> Core:
        """Return a new Core."""
        import llmcore

        arguments = {"gateway": dict(self.gateway)} if self.gateway else None
        return llmcore.load(self.config, profile=self.profile, arguments=arguments)


def serve(
    source: Source,
    listener: socket.socket,
    core: Core | None = None,
    on_started: Callable[[], object] | None = None,
    metrics_folder: Path | None = None,
) -> None:
    """Serve on *listener* until a signal stops the process; call *on_started* when requests are accepted.

    Workers of one server share *metrics_folder*.
    """
    core = core or source.load()
    application = Application(Gateway(core))
    application.state.metrics.folder = metrics_folder
    try:
        make_server(application, source.load, on_started=on_started).run([listener])
    finally:
        application.gateway.core.close()


def configure_logging() -> None:
    """Log to stderr. Each line of the access log is a JSON object."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for name, chosen, level in (
        ("llmcore", handler, logging.WARNING),
        ("llmcore_gateway", handler, logging.INFO),
        ("llmcore_gateway.access", AccessHandler(sys.stderr), logging.INFO),
        ("uvicorn.error", handler, logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.addHandler(chosen)
        logger.setLevel(level)
        logger.propagate = False


def main(arguments: list[str]) -> int:
    """Serve as a worker: `python -m llmcore_gateway.worker FD FD SOURCE FOLDER`.

    The first descriptor is the listening socket. The worker writes a byte to the second one when it begins to serve.
    FOLDER has the metrics of all workers.
    """
    listening, report, source, folder = arguments
    configure_logging()
    try:
        serve(
            Source(*json.loads(source)),
            socket.socket(fileno=int(listening)),
            on_started=lambda: os.write(int(report), b"1"),
            metrics_folder=Path(folder),
        )
    except KeyboardInterrupt:  # the supervisor stops a worker that has just started
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
