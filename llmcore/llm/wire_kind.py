"""The kind of request for bodies in a vendor's format.

A call of `send` or `send_stream` is a chat, but its stream consists of events in the vendor's format.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from llmcore.llm.call import ChatCall
from llmcore.llm.kind import ChatKind
from llmcore.llm.wire_events import replay_events
from llmcore.types import Reply

__all__ = ["WIRE"]


class _WireKind(ChatKind):
    """Implements `llmcore.pipeline.RequestKind`.

    A request in a vendor's format has the same cache key as an equal chat. So the two share a cache entry, and one request
    if they run at the same time (single-flight).
    """

    methods = ("send", "send_stream")
    late_fix = "send(..., timeout=seconds)"

    def make_pieces(self, call: ChatCall, result: Reply) -> Iterable[Any]:
        """See `RequestKind.make_pieces`."""
        return replay_events(result, call.events_api)


WIRE: Final = _WireKind()
