"""Declare the table `[gateway]`."""

from __future__ import annotations

from collections.abc import Iterable

from llmcore.hookspecs import Table, hookimpl
from llmcore_gateway.options import GatewayOptions

__all__ = ["LLMCORE_API", "GatewayOptions"]

LLMCORE_API = 1


@hookimpl
def llmcore_tables() -> Iterable[Table]:
    """Offer `[gateway]`."""
    yield Table(name="gateway", options=GatewayOptions)
