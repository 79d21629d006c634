"""Render parallel tool calls as the server does: one call of `multi_tool_use.parallel`, as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from llmcore_openai_optimized.counting.models import Family
from llmcore_openai_optimized.counting.parsed_request import CallsItem, encode_json

__all__ = ["render_calls", "render_results"]


def render_calls(called: CallsItem) -> str:
    """Return the text of the calls."""
    uses = [
        {"recipient_name": f"functions.{call.name}", "parameters": _decode(call.arguments)}
        for call in called.calls
    ]
    return encode_json({"tool_uses": uses})


def render_results(texts: Sequence[str], family: Family) -> str:
    """Return the text of the results, a list in JSON. For the older encoding, it is ASCII, as one recorded request shows."""
    import json

    return json.dumps(texts, ensure_ascii=family.encoding == "cl100k_base")


def _decode(arguments: str) -> object:
    try:
        return msgspec.json.decode(arguments)
    except (ValueError, RecursionError):
        return arguments
