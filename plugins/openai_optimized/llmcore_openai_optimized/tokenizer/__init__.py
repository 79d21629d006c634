"""OpenAI's encodings without the network: a fast table for the first short texts, tiktoken for long or many texts."""

from __future__ import annotations

from llmcore_openai_optimized.tokenizer.counters import Counter, get_counter

__all__ = ["Counter", "get_counter"]
