"""Count tokens with the mapped table or with tiktoken."""

from __future__ import annotations

import functools
import os
import re

from llmcore.support import forks
from llmcore_openai_optimized.tokenizer.byte_pair_encoding import count_tokens
from llmcore_openai_optimized.tokenizer.patterns import ASCII, FULL
from llmcore_openai_optimized.tokenizer.table import DamagedTableError, Table

# A constant, because an import of `typing` takes a fifth of the time of the first token count.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    import tiktoken

__all__ = ["Counter", "get_counter"]

_DATA: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")  # noqa: PTH118, PTH120 - pathlib is slow to import
_LONGEST_TEXT: Final = 32_768
"""The maximum characters of a text that is counted with the table. tiktoken counts longer texts. After `_MOST` characters,
tiktoken counts all texts.
"""
_LONGEST_PIECE: Final = 400
"""The maximum number of bytes of a piece that Python encodes. Python's time is quadratic, so tiktoken encodes texts with
longer pieces.
"""
_MOST: Final = 400_000
"""The number of characters that a process counts with the table before it loads tiktoken.

Counting them takes about as long as loading tiktoken.
"""
_REMEMBERED: Final = 2_048
"""The number of cached counts, and the maximum characters of a text whose count is cached.

Counts are cached because chats repeat their earlier messages.
"""
_PIECES: Final = 16_384
"""The number of cached pieces."""


class Counter:
    """Count the tokens of one encoding. Threads may share a counter."""

    def __init__(self, name: str, folder: str | os.PathLike[str] = _DATA) -> None:
        """Map the table of *name*, `o200k_base` or `cl100k_base`, in *folder*.

        Raises:
            PluginBroken: The token table is missing or damaged.
        """
        self.name = name
        self._table = _open_table(os.path.join(folder, f"{name}.table"))  # noqa: PTH118 - pathlib is slow to import
        self._ascii = re.compile(ASCII[name]).findall
        self._full: Any = None
        self._tiktoken: tiktoken.Encoding | None = None
        self._lock = forks.lock()
        self._left = _MOST
        self._pieces: dict[str, int] = {}
        self._settled: set[str] = set()
        self._remembered = functools.lru_cache(_REMEMBERED)(self._count)

    def count(self, text: str) -> int:
        """Return the number of tokens. Special tokens in *text* count as ordinary text, as on the server."""
        return self._remembered(text) if len(text) <= _REMEMBERED else self._count(text)

    def load_tiktoken(self) -> tiktoken.Encoding:
        """Return the encoding of tiktoken; the first call takes a few tenths of a second."""
        with self._lock:
            if self._tiktoken is None:
                from llmcore_openai_optimized.tokenizer.tiktoken_encoding import build

                self._tiktoken = build(self.name, self._table)
            return self._tiktoken

    def _count(self, text: str) -> int:
        if self._tiktoken is None and len(text) <= _LONGEST_TEXT and self._left > 0:
            pieces = self._split(text)
            if pieces is not None:
                counted = self._count_pieces(pieces)
                if counted is not None:
                    self._left -= len(text)
                    return counted
        encoding = self.load_tiktoken()
        from llmcore_openai_optimized.tokenizer.tiktoken_encoding import count

        return count(encoding, text)

    def _split(self, text: str) -> list[str] | None:
        """Return the pieces; None if the class of a character in *text* may depend on the version of Unicode."""
        if text.isascii():
            return self._ascii(text)
        for character in set(text) - self._settled:
            if not (character.isascii() or self._table.is_settled(character)):
                return None
            self._settled.add(character)
        if self._full is None:
            # The lock prevents a fork while `regex` holds a lock of its own, which the child could never release.
            with self._lock:
                import regex

                self._full = regex.compile(FULL[self.name]).findall
        found: list[str] = self._full(text)
        return found

    def _count_pieces(self, pieces: list[str]) -> int | None:
        """Return the number of tokens of *pieces*; None if a piece is too long for Python."""
        known, rank = self._pieces, self._table.rank
        sum_ = 0
        for piece in pieces:
            tokens = known.get(piece)
            if tokens is None:
                encoded = piece.encode()
                if len(encoded) > _LONGEST_PIECE:
                    return None
                tokens = count_tokens(encoded, rank)
                if len(known) >= _PIECES:
                    known.clear()
                known[piece] = tokens
            sum_ += tokens
        return sum_


@functools.cache
def get_counter(name: str) -> Counter:
    """Return the shared counter of the encoding *name*, `o200k_base` or `cl100k_base`.

    Raises:
        PluginBroken: The encoding's token table is missing or damaged.
    """
    return Counter(name)


def _open_table(path: str) -> Table:
    try:
        return Table(path)
    except (OSError, DamagedTableError) as error:
        from llmcore.errors import PluginBroken

        raise PluginBroken(
            f"the token table is missing or damaged: {error}",
            where=path,
            expected="the installed file, unchanged",
            fix="install llmcore-openai-optimized again",
        ) from None
