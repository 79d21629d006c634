"""What recorded requests come to, for the scorer of recorded truth: `python score.py benchmarks.token_truth:predict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcore_openai_optimized import _ranks
from llmcore_openai_optimized.counting.models import family
from llmcore_openai_optimized.counting.reading import asked
from llmcore_openai_optimized.counting.sums import total


def predict(body: Mapping[str, Any]) -> int:
    """Return the tokens of the prompt of *body*, a recorded request of either API."""
    whole = asked(body)
    kind = family(whole.model)
    encode = _ranks.encoding(kind.encoding).encode_ordinary
    return total(whole, kind, lambda text: len(encode(text)))
