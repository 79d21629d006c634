"""The options of the engine `dask`."""

from __future__ import annotations

from llmcore.hookspecs import Options
from llmcore.types import Duration

__all__ = ["DaskOptions"]


class DaskOptions(Options, frozen=True):
    """Options of `[engines.dask]`."""

    address: str | None = None
    """The address of the scheduler, such as `tcp://10.0.0.5:8786`. Without an address, the engine starts a cluster on
    this machine."""
    workers: int = 0
    """The number of worker processes of a cluster on this machine; 0 starts one for each core."""
    threads: int = 2
    """The number of chunks that a worker process of a cluster on this machine runs at the same time."""
    connect_timeout: Duration = Duration(30.0)
    """The time limit for a connection to the scheduler."""
