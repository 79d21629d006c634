"""Calls that were made at once, as the server writes them: one call of `multi_tool_use.parallel`, of JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from llmcore_openai_optimized.counting.asked import Called, json_text
from llmcore_openai_optimized.counting.models import Family

__all__ = ["calls_text", "results_text"]


def calls_text(called: Called) -> str:
    """Return the text of the calls."""
    uses = [
        {"recipient_name": f"functions.{call.name}", "parameters": _decoded(call.arguments)}
        for call in called.calls
    ]
    return json_text({"tool_uses": uses})


def results_text(texts: Sequence[str], family: Family) -> str:
    """Return the text of the results: a list, in ASCII for the older encoding (one row, with a picture sign)."""
    import json

    return json.dumps(texts, ensure_ascii=family.encoding == "cl100k_base")


def _decoded(arguments: str) -> object:
    try:
        return msgspec.json.decode(arguments)
    except (ValueError, RecursionError):
        return arguments
