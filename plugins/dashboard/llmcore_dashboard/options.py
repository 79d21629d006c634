"""The table `[dashboard]`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from llmcore.hookspecs import Options

__all__ = ["DashboardOptions"]


class DashboardOptions(Options, frozen=True, kw_only=True):
    """The table `[dashboard]`."""

    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """The port on 127.0.0.1; 0 takes a free port."""
    zone: str = ""
    """The time zone of days, such as "Europe/Berlin". Default: the zone of the machine."""
