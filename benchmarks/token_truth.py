"""Count the tokens of recorded requests, for the scorer: `python score.py benchmarks.token_truth:predict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcore_openai_optimized.tokens import count


def predict(body: Mapping[str, Any]) -> int:
    """Return the prompt tokens of *body*, a recorded request of Chat Completions or Responses."""
    return int(count(body))
