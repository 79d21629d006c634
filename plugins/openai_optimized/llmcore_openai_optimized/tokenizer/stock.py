"""tiktoken's own encoding, made from the mapped table: nothing is ever downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcore_openai_optimized.tokenizer.patterns import STOCK
from llmcore_openai_optimized.tokenizer.table import Table

if TYPE_CHECKING:
    import tiktoken

__all__ = ["build"]


def build(name: str, table: Table) -> tiktoken.Encoding:
    """Return the encoding *name*, without special tokens: in what people write they are ordinary text."""
    import tiktoken

    return tiktoken.Encoding(
        name, pat_str=STOCK[name], mergeable_ranks=dict(table.tokens()), special_tokens={}
    )
