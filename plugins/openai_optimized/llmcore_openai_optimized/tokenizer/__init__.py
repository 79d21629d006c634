"""Tokenizer for OpenAI's encodings, without the network. A table counts the first short texts, tiktoken all other texts."""

from __future__ import annotations

from llmcore_openai_optimized.tokenizer.counters import Counter, get_counter

__all__ = ["Counter", "get_counter"]
