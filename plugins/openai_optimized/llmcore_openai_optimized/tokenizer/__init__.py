"""OpenAI's encodings without the network: quick for the first short texts, tiktoken for long ones and for many."""

from __future__ import annotations

from llmcore_openai_optimized.tokenizer.counters import Counter, counter

__all__ = ["Counter", "counter"]
