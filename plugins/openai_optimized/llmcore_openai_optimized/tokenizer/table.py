"""A table of all tokens of an encoding, mapped into memory. Opening the table creates no object for each token.

The file has a header (`_HEAD`), the settled characters, the index and the records. A record is the length of a token,
the token, and its rank in three bytes. The records are grouped by the hash of the token. For each hash, the index
contains the position of the first record. A settled character has the same class in all versions of Unicode since 14.
"""

from __future__ import annotations

import mmap
import struct
import sys
from bisect import bisect_right
from zlib import crc32

# A constant, because an import of `typing` takes a fifth of the time of the first token count.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike
    from typing import Final

__all__ = ["MAGIC", "DamagedTableError", "Head", "Table"]

MAGIC: Final = b"llmcoreT"
_HEAD: Final = struct.Struct("<8sIIIII")


class DamagedTableError(Exception):
    """The file of a table is damaged."""


class Head:
    """The header of a table."""

    __slots__ = ("bits", "checksum", "magic", "records", "settled", "tokens")

    def __init__(
        self, *, settled: int, bits: int, tokens: int, records: int, checksum: int, magic: bytes
    ) -> None:
        """Describe a table.

        Args:
            settled: Number of four-byte numbers that describe the settled characters: start and end of each range.
            bits: The index has 2**bits entries, and one more for the end of the records.
            tokens: Number of tokens.
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

    def pack(self) -> bytes:
        """Return the header as bytes."""
        return _HEAD.pack(self.magic, self.checksum, self.settled, self.bits, self.tokens, self.records)


class Table:
    """The tokens of one encoding. Threads and forked processes may share a table."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Map *path*.

        Raises:
            DamagedTableError: The file is truncated or damaged.
            OSError: The file cannot be opened.
        """
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is slow to import
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise DamagedTableError("it is empty") from None
        view = memoryview(self._map)
        head = self._read_head(view)
        index_at = _HEAD.size + 4 * head.settled
        records_at = index_at + 4 * ((1 << head.bits) + 1)
        if records_at + head.records != len(view):
            raise DamagedTableError("its length is wrong")
        if crc32(view[_HEAD.size :]) != head.checksum:
            raise DamagedTableError("its checksum is wrong")
        self._settled = _read_numbers(view[_HEAD.size : index_at])
        self._index = _read_numbers(view[index_at:records_at])
        self._records = view[records_at:]
        self._mask = (1 << head.bits) - 1
        self.head = head

    @staticmethod
    def _read_head(view: memoryview) -> Head:
        if len(view) < _HEAD.size:
            raise DamagedTableError("it is truncated")
        magic, checksum, settled, bits, tokens, records = _HEAD.unpack_from(view)
        head = Head(
            settled=settled, bits=bits, tokens=tokens, records=records, checksum=checksum, magic=magic
        )
        if head.magic != MAGIC:
            raise DamagedTableError("its first bytes are wrong")
        return head

    def rank(self, token: bytes) -> int | None:
        """Return the rank of *token*; None if *token* is not in the table."""
        place = crc32(token) & self._mask
        at, end = self._index[place], self._index[place + 1]
        records, size = self._records, len(token)
        while at < end:
            length = records[at]
            if length == size and records[at + 1 : at + 1 + size] == token:
                return int.from_bytes(records[at + 1 + size : at + 4 + size], "little")
            at += length + 4
        return None

    def is_settled(self, character: str) -> bool:
        """Return whether all versions of Unicode since 14 put *character* into the same class."""
        return bisect_right(self._settled, ord(character)) % 2 == 1

    def get_settled_ends(self) -> list[int]:
        """Return the settled characters as the start and end of each range."""
        return list(self._settled)

    def iterate_tokens(self) -> Iterator[tuple[bytes, int]]:
        """Yield each token and its rank, in no particular order."""
        records = bytes(self._records)
        at = 0
        while at < len(records):
            start, end = at + 1, at + 1 + records[at]
            yield records[start:end], int.from_bytes(records[end : end + 3], "little")
            at = end + 3


def _read_numbers(view: memoryview) -> Sequence[int]:
    """Return the little-endian numbers in *view*."""
    if sys.byteorder == "little":
        return view.cast("I")
    from array import array

    swapped = array("I", view.tobytes())
    swapped.byteswap()
    return swapped
