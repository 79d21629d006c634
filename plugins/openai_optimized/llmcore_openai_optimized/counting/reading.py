"""Takes request bodies apart, of either API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcore_openai_optimized.counting import chat_body, responses_body
from llmcore_openai_optimized.counting.asked import Asked

__all__ = ["asked"]


def asked(body: Mapping[str, Any], model: str | None = None) -> Asked:
    """Take *body* apart. It may hold anything: what is not understood becomes a doubt."""
    name = body.get("model") or model
    whole = Asked(model=name if isinstance(name, str) else None, responses="messages" not in body)
    (responses_body if whole.responses else chat_body).read(body, whole)
    return whole
