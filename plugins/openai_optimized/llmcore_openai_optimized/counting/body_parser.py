"""Parse request bodies of Chat Completions and Responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcore_openai_optimized.counting.parsed_request import ParsedRequest

__all__ = ["parse_request"]


def parse_request(body: Mapping[str, Any], model: str | None = None) -> ParsedRequest:
    """Parse *body*, whose values may have any type. Unknown parts are added to `doubts`."""
    name = body.get("model") or model
    whole = ParsedRequest(model=name if isinstance(name, str) else None, responses="messages" not in body)
    if whole.responses:
        from llmcore_openai_optimized.counting import responses_body

        responses_body.read(body, whole)
    else:
        from llmcore_openai_optimized.counting import chat_body

        chat_body.read(body, whole)
    return whole
