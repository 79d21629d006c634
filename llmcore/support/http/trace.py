"""Report when a request leaves, by the extension `trace` of httpx: `request.extensions["trace"] = report_sending`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcore.support.sending import mark_sent

__all__ = ["areport_sending", "report_sending"]


def report_sending(event: str, info: Mapping[str, Any]) -> None:
    """Call `mark_sent` when the request itself leaves. An earlier CONNECT request to a proxy does not count."""
    if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
        mark_sent()


async def areport_sending(event: str, info: Mapping[str, Any]) -> None:
    """See `report_sending`; for an asynchronous client."""
    report_sending(event, info)
