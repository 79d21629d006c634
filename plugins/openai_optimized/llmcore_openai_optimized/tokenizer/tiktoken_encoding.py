"""Make the encoding of tiktoken from the mapped table, without a download."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

from llmcore_openai_optimized.tokenizer.patterns import TIKTOKEN
from llmcore_openai_optimized.tokenizer.table import Table

if TYPE_CHECKING:
    import tiktoken

__all__ = ["build", "count", "split"]

_LONG_RUN: Final = 100_000
"""A run of at least this many blanks is counted apart from the rest of the text.

The pattern engine of tiktoken panics at about a million blanks, because it backtracks over each blank.
"""

_BLANK: Final = r"[\t\x0b\x0c \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
r"""Unicode white space without ends of lines. `\s` of `re` matches four more characters."""

_AT_END: Final = r"|\s++$|"
"""Match white space at the end of the text as one piece, without backtracking."""


def build(name: str, table: Table) -> tiktoken.Encoding:
    """Return the encoding *name* without special tokens, which are ordinary text in user input."""
    import tiktoken

    pattern = TIKTOKEN[name]
    # `_AT_END` does not change the pieces: cl100k_base contains it already, and in o200k_base `\s+(?!\S)` matches the
    # same piece.
    if _AT_END not in pattern:
        pattern = pattern.replace(r"|\s+(?!\S)|", _AT_END + r"\s+(?!\S)|")
    return tiktoken.Encoding(
        name, pat_str=pattern, mergeable_ranks=dict(table.iterate_tokens()), special_tokens={}
    )


def count(encoding: tiktoken.Encoding, text: str) -> int:
    """Return the number of tokens of *text*, in linear time, even with long runs of white space.

    Raises:
        ProviderError: tiktoken failed. Its native code also raises exceptions that are not derived from Exception.
    """
    failure = ""
    try:
        return sum(len(encoding.encode_ordinary(part)) for part in split(text, _LONG_RUN))
    except BaseException as error:
        from llmcore.contracts import is_interrupt

        if is_interrupt(error):
            raise
        failure = f"{type(error).__name__}: {error}"
    from llmcore.errors import ProviderError

    raise ProviderError(
        f"tiktoken cannot count a text of {len(text):,} characters: {failure[:300]}", sent=False
    )


def split(text: str, long: int) -> list[str]:
    """Split *text* before and after each run of *long* or more blanks, where one piece ends and the next one begins.

    A run that is not followed by an end of line begins a piece. This piece has all characters of the run except the
    last one, which belongs to the next piece.
    """
    # A long run covers at least one of these slices whole. Checking the slices is faster than searching for a run.
    half = long // 2
    if not any(text[at : at + half].isspace() for at in range(0, len(text), half)):
        return [text]
    parts, done = [], 0
    for run in _make_run_pattern(long).finditer(text):
        start, end = run.span()
        end -= end < len(text)
        parts += [text[done:start], text[start:end]]
        done = end
    return [*parts, text[done:]]


@functools.cache
def _make_run_pattern(long: int) -> re.Pattern[str]:
    return re.compile(rf"(?<!{_BLANK}){_BLANK}{{{long},}}+(?![\r\n])")
