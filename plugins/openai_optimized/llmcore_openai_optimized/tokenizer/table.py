"""A table of all tokens of an encoding, mapped into memory: nothing is read but what is looked up.

The file: a head (`_HEAD`), the settled characters, the index, the records. A record is the length of a token, the token,
and its rank in three bytes. The index says for each hash where its records begin.
"""

from __future__ import annotations

import mmap
import struct
import sys
from bisect import bisect_right
from zlib import crc32

TYPE_CHECKING = False  # as `typing` has it, whose import would be a fifth of a first count
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike
    from typing import Final

__all__ = ["MAGIC", "Damaged", "Head", "Table"]

MAGIC: Final = b"llmcoreT"
_HEAD: Final = struct.Struct("<8sIIIII")


class Damaged(Exception):
    """The file is not what was made."""


class Head:
    """What a table begins with."""

    __slots__ = ("bits", "checksum", "magic", "records", "settled", "tokens")

    def __init__(
        self, *, settled: int, bits: int, tokens: int, records: int, checksum: int, magic: bytes
    ) -> None:
        """Describe a table.

        Args:
            settled: How many numbers of four bytes tell the settled characters: where a range begins, where it ends.
            bits: The index has two to this power places, and one that says where the records end.
            tokens: How many there are.
            records: Bytes of all records.
            checksum: CRC-32 of everything that follows the head.
            magic: `MAGIC`.
        """
        self.magic = magic
        self.checksum = checksum
        self.settled = settled
        self.bits = bits
        self.tokens = tokens
        self.records = records

    def packed(self) -> bytes:
        """Return the head as it stands in the file."""
        return _HEAD.pack(self.magic, self.checksum, self.settled, self.bits, self.tokens, self.records)


class Table:
    """The tokens of one encoding. Any number of threads may look up at once, and processes that fork share it."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Map *path*.

        Raises:
            Damaged: It is cut short, or not what was made.
            OSError: It cannot be opened.
        """
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is dear
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise Damaged("it is empty") from None
        view = memoryview(self._map)
        head = self._head(view)
        index_at = _HEAD.size + 4 * head.settled
        records_at = index_at + 4 * ((1 << head.bits) + 1)
        if records_at + head.records != len(view):
            raise Damaged("it has another length")
        if crc32(view[_HEAD.size :]) != head.checksum:
            raise Damaged("its checksum is another")
        self._settled = _numbers(view[_HEAD.size : index_at])
        self._index = _numbers(view[index_at:records_at])
        self._records = view[records_at:]
        self._mask = (1 << head.bits) - 1
        self.head = head

    @staticmethod
    def _head(view: memoryview) -> Head:
        if len(view) < _HEAD.size:
            raise Damaged("it is cut short")
        magic, checksum, settled, bits, tokens, records = _HEAD.unpack_from(view)
        head = Head(
            settled=settled, bits=bits, tokens=tokens, records=records, checksum=checksum, magic=magic
        )
        if head.magic != MAGIC:
            raise Damaged("it does not begin as one")
        return head

    def rank(self, token: bytes) -> int | None:
        """Return the rank of *token*; None where there is no such token."""
        place = crc32(token) & self._mask
        at, end = self._index[place], self._index[place + 1]
        records, size = self._records, len(token)
        while at < end:
            length = records[at]
            if length == size and records[at + 1 : at + 1 + size] == token:
                return int.from_bytes(records[at + 1 + size : at + 4 + size], "little")
            at += length + 4
        return None

    def settled(self, character: str) -> bool:
        """Return whether every version of Unicode since 14 sees *character* alike, letter, digit, space or other."""
        return bisect_right(self._settled, ord(character)) % 2 == 1

    def settled_ends(self) -> list[int]:
        """Return the settled characters as the ends of ranges: where each begins and where it ends."""
        return list(self._settled)

    def tokens(self) -> Iterator[tuple[bytes, int]]:
        """Yield every token and its rank, in no order."""
        records = bytes(self._records)
        at = 0
        while at < len(records):
            start, end = at + 1, at + 1 + records[at]
            yield records[start:end], int.from_bytes(records[end : end + 3], "little")
            at = end + 3


def _numbers(view: memoryview) -> Sequence[int]:
    """Return the numbers in *view*, which are little-endian."""
    if sys.byteorder == "little":
        return view.cast("I")
    from array import array

    swapped = array("I", view.tobytes())
    swapped.byteswap()
    return swapped
