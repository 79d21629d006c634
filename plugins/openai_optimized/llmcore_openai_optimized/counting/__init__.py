"""Token counts without the network: what OpenAI's servers would count for a text, messages, or a whole request."""

from __future__ import annotations

from llmcore_openai_optimized.counting.bound import bound

__all__ = ["bound"]
