"""Make a table from a rank file of tiktoken: `python -m llmcore_openai_optimized.tokenizer.table_builder FILE.tiktoken TABLE`.

Run once for each encoding. For each table, a test makes a new one from the tokens in it, and compares the stored and the
new table with the data of tiktoken.
"""

from __future__ import annotations

import base64
import struct
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from zlib import crc32

from llmcore_openai_optimized.tokenizer.table import MAGIC, Head

__all__ = ["find_agreed_characters", "main", "make_rank_file", "make_table", "read_ranks"]

_OLD_UNICODE: Final = "14.0.0"
_BEYOND: Final = 0x110000
"""The number of Unicode code points."""
_HALVES: Final = range(0xD800, 0xE000)


def read_ranks(rank_file: bytes) -> dict[bytes, int]:
    """Return the tokens and ranks of a rank file of tiktoken."""
    lines = (line.split() for line in rank_file.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def make_rank_file(ranks: Iterable[tuple[bytes, int]]) -> bytes:
    """Return a rank file of tiktoken."""
    ordered = sorted(ranks, key=lambda pair: pair[1])
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ordered)


def make_table(ranks: Mapping[bytes, int], settled: Iterable[int]) -> bytes:
    """Return the table of *ranks*. The result is deterministic."""
    bits = max(4, len(ranks).bit_length())
    places: list[list[tuple[bytes, int]]] = [[] for _ in range(1 << bits)]
    for token, rank in ranks.items():
        places[crc32(token) & ((1 << bits) - 1)].append((token, rank))
    index, records = [0], bytearray()
    for place in places:
        for token, rank in sorted(place):
            records += bytes([len(token)]) + token + rank.to_bytes(3, "little")
        index.append(len(records))
    numbers = list(settled)
    body = (
        struct.pack(f"<{len(numbers)}I", *numbers) + struct.pack(f"<{len(index)}I", *index) + bytes(records)
    )
    head = Head(
        settled=len(numbers),
        bits=bits,
        tokens=len(ranks),
        records=len(records),
        checksum=crc32(body),
        magic=MAGIC,
    )
    return head.pack() + body


def _find_settled_characters() -> list[int]:
    """Return the characters with a settled class, as the start and end of each range.

    These are the characters of Unicode 14 for which the installed `regex` and tiktoken agree in every class of the patterns.
    The classes stay valid: no library uses an older version of Unicode, and newer ones never change the class of a letter.

    Raises:
        RuntimeError: This Python has another version of Unicode.
    """
    if unicodedata.unidata_version != _OLD_UNICODE:
        raise RuntimeError(f"run this with Python 3.11, which has Unicode {_OLD_UNICODE}")
    alike = find_agreed_characters()
    ends: list[int] = []
    inside = False
    for number in range(_BEYOND + 1):
        settled = number in alike and unicodedata.category(chr(number)) != "Cn"
        if settled != inside:
            ends.append(number)
            inside = settled
    return ends


def find_agreed_characters() -> set[int]:
    """Return the characters for which the installed `regex` and tiktoken agree."""
    import regex
    import tiktoken

    classes = [
        r"\p{L}",
        r"\p{N}",
        r"\s",
        r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]",
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]",
        "(?i:[sdmtlver])",
    ]
    every = [number for number in range(_BEYOND) if number not in _HALVES]
    alike = set(every)
    text = "".join(map(chr, every))
    single = {bytes([byte]): byte for byte in range(256)}
    for pattern in classes:
        engine = tiktoken.Encoding("class", pat_str=pattern, mergeable_ranks=single, special_tokens={})
        theirs = set(engine.decode(engine.encode_ordinary(text)))
        ours = set(regex.findall(pattern, text))
        alike -= {ord(character) for character in theirs ^ ours}
    # If case is ignored, some engines match these two characters (long s, Kelvin sign) as s and k.
    return alike - {0x17F, 0x212A}


def main() -> None:
    """Make one table."""
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(make_table(read_ranks(source.read_bytes()), _find_settled_characters()))


if __name__ == "__main__":
    main()
