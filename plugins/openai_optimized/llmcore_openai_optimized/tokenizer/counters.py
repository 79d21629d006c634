"""Which of the two ways counts a text: the mapped table, or tiktoken."""

from __future__ import annotations

import functools
import os
import re
import threading
import weakref

from llmcore_openai_optimized.tokenizer.patterns import ASCII, FULL
from llmcore_openai_optimized.tokenizer.pieces import tokens_in
from llmcore_openai_optimized.tokenizer.table import Damaged, Table

TYPE_CHECKING = False  # as `typing` has it, whose import would be a fifth of a first count
if TYPE_CHECKING:
    from typing import Any, Final

    import tiktoken

__all__ = ["Counter", "counter"]

_DATA: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")  # noqa: PTH118, PTH120 - pathlib is dear
_LONGEST_TEXT: Final = 32_768
"""Characters. Longer ones go to tiktoken, as do those that come when `_MOST` are counted."""
_LONGEST_PIECE: Final = 400
"""Bytes. Joining pairs in Python takes time with the square of the length."""
_MOST: Final = 400_000
"""Characters that one process counts with the table: about the time that loading tiktoken takes."""
_REMEMBERED: Final = 2_048
"""Texts whose count is remembered, and the longest of them in characters: chats send their past again and again."""
_PIECES: Final = 16_384
"""Pieces whose tokens are remembered."""


class Counter:
    """Counts the tokens of one encoding. Threads may share it."""

    def __init__(self, name: str, folder: str | os.PathLike[str] = _DATA) -> None:
        """Map the table of *name*, `o200k_base` or `cl100k_base`, in *folder*.

        Raises:
            PluginBroken: The table is missing or damaged.
        """
        self.name = name
        self._table = _open(os.path.join(folder, f"{name}.table"))  # noqa: PTH118 - see _DATA
        self._ascii = re.compile(ASCII[name]).findall
        self._full: Any = None
        self._stock: tiktoken.Encoding | None = None
        self._lock = threading.Lock()
        self._left = _MOST
        self._pieces: dict[str, int] = {}
        self._settled: set[str] = set()
        self._remembered = functools.lru_cache(_REMEMBERED)(self._count)
        _alive.add(self)

    def count(self, text: str) -> int:
        """Return how many tokens *text* has; what looks like a special token is ordinary text to the server."""
        return self._remembered(text) if len(text) <= _REMEMBERED else self._count(text)

    def stock(self) -> tiktoken.Encoding:
        """Return tiktoken's own encoding; the first call takes a few tenths of a second."""
        with self._lock:
            if self._stock is None:
                from llmcore_openai_optimized.tokenizer.stock import build

                self._stock = build(self.name, self._table)
            return self._stock

    def _count(self, text: str) -> int:
        if self._stock is None and len(text) <= _LONGEST_TEXT and self._left > 0:
            pieces = self._cut(text)
            if pieces is not None:
                counted = self._counted(pieces)
                if counted is not None:
                    self._left -= len(text)
                    return counted
        return len(self.stock().encode_ordinary(text))

    def _cut(self, text: str) -> list[str] | None:
        """Return the pieces; None where versions of Unicode may differ over them."""
        if text.isascii():
            return self._ascii(text)
        for character in set(text) - self._settled:
            if not (character.isascii() or self._table.settled(character)):
                return None
            self._settled.add(character)
        if self._full is None:
            import regex

            self._full = regex.compile(FULL[self.name]).findall
        found: list[str] = self._full(text)
        return found

    def _counted(self, pieces: list[str]) -> int | None:
        """Return the tokens of *pieces*; None where one is too long for Python."""
        known, rank = self._pieces, self._table.rank
        sum_ = 0
        for piece in pieces:
            tokens = known.get(piece)
            if tokens is None:
                encoded = piece.encode()
                if len(encoded) > _LONGEST_PIECE:
                    return None
                tokens = tokens_in(encoded, rank)
                if len(known) >= _PIECES:
                    known.clear()
                known[piece] = tokens
            sum_ += tokens
        return sum_

    def forked(self) -> None:
        """Take a new lock: a thread of the parent, which is not here, may hold the old one."""
        self._lock = threading.Lock()


_alive: weakref.WeakSet[Counter] = weakref.WeakSet()


def _forked() -> None:
    for each in _alive:
        each.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@functools.cache
def counter(name: str) -> Counter:
    """Return the one counter of the encoding *name*, `o200k_base` or `cl100k_base`.

    Raises:
        PluginBroken: Its table is missing or damaged.
    """
    return Counter(name)


def _open(path: str) -> Table:
    try:
        return Table(path)
    except (OSError, Damaged) as error:
        from llmcore.errors import PluginBroken

        raise PluginBroken(
            f"the table of tokens is missing or damaged: {error}",
            where=path,
            expected="the file as it was installed",
            fix="install llmcore-openai-optimized again",
        ) from None
