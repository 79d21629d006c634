"""Makes a table from a rank file of tiktoken: `python -m llmcore_openai_optimized.tokenizer.making FILE.tiktoken TABLE`.

Done once for each encoding; a test makes each table again from its own tokens and compares both with what tiktoken expects.
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

__all__ = ["rank_file", "ranks_in", "settled_characters", "table"]

_OLD_UNICODE: Final = "14.0.0"
_BEYOND: Final = 0x110000
"""One more than the last character."""
_HALVES: Final = range(0xD800, 0xE000)


def ranks_in(rank_file: bytes) -> dict[bytes, int]:
    """Return the tokens and ranks of a file as tiktoken has it."""
    lines = (line.split() for line in rank_file.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def rank_file(ranks: Iterable[tuple[bytes, int]]) -> bytes:
    """Return the file as tiktoken has it."""
    ordered = sorted(ranks, key=lambda pair: pair[1])
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ordered)


def table(ranks: Mapping[bytes, int], settled: Iterable[int]) -> bytes:
    """Return the table of *ranks*; the same for the same."""
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
    return head.packed() + body


def settled_characters() -> list[int]:
    """Return the characters whose kind is settled, as the ends of ranges.

    Those that Unicode 14 of 2021 knew, and that `regex` and tiktoken as they are installed see alike in every class of the
    patterns. Neither is older, and what Unicode has once called a letter stays one.

    Raises:
        RuntimeError: This Python knows another Unicode.
    """
    if unicodedata.unidata_version != _OLD_UNICODE:
        raise RuntimeError(f"make tables with a Python of Unicode {_OLD_UNICODE}: 3.11")
    alike = seen_alike()
    ends: list[int] = []
    inside = False
    for number in range(_BEYOND + 1):
        settled = number in alike and unicodedata.category(chr(number)) != "Cn"
        if settled != inside:
            ends.append(number)
            inside = settled
    return ends


def seen_alike() -> set[int]:
    """Return the characters that `regex` and tiktoken, as they are installed, see alike."""
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
    return alike - {0x17F, 0x212A}  # they are s and k to some, where case is ignored


def main() -> None:
    """Make one table."""
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(table(ranks_in(source.read_bytes()), settled_characters()))


if __name__ == "__main__":
    main()
