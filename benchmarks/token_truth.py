"""What recorded requests come to, for the scorer of recorded truth: `python score.py benchmarks.token_truth:predict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcore_openai_optimized.tokens import count


def predict(body: Mapping[str, Any]) -> int:
    """Return the tokens of the prompt of *body*, a recorded request of either API."""
    return int(count(body))
