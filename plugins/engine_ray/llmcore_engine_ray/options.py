"""The options of the engine `ray`."""

from __future__ import annotations

from llmcore.hookspecs import Options
from llmcore.types import Duration

__all__ = ["RayOptions"]


class RayOptions(Options, frozen=True):
    """Options of `[engines.ray]`."""

    address: str | None = None
    """The cluster: `ray://10.0.0.5:10001`, or `auto` for the cluster that runs on this machine. Without an address, the
    engine starts a cluster."""
    workers: int = 0
    """The number of CPUs, and thus of worker processes, of a cluster that the engine starts; 0 means one for each
    core."""
    connect_timeout: Duration = Duration(60.0)
    """The time limit for a connection to the cluster, including all attempts."""
