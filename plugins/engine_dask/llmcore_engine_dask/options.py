"""The options of the engine `dask`."""

from __future__ import annotations

from llmcore.hookspecs import Options
from llmcore.types import Duration

__all__ = ["DaskOptions"]


class DaskOptions(Options, frozen=True):
    """Options of `[engines.dask]`."""

    address: str | None = None
    """The address of the scheduler, such as `tcp://10.0.0.5:8786`. Without one, the engine starts a cluster on this machine."""
    workers: int = 0
    """The worker processes of a cluster on this machine; 0 for one for each core."""
    threads: int = 2
    """The chunks that a worker process of that cluster runs at the same time."""
    connect_timeout: Duration = Duration(30.0)
    """The time limit for a connection to the scheduler."""
