"""The messages between this process and a worker. Only the standard library is imported, as in the worker.

A request is its length and fields separated by NUL. A reply is a sequence of frames: a kind, a length, a payload.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = [
    "AUDIO", "DONE", "FAILED", "FRAME_HEAD", "LIST", "MAX_FRAME", "REQUEST_HEAD", "SPEAK", "VOICES", "WORD", "WORDS",
]  # fmt: skip

REQUEST_HEAD: Final = struct.Struct("<Q")
FRAME_HEAD: Final = struct.Struct("<cI")
MAX_FRAME: Final = 1 << 20
"""The maximum bytes of a payload. A worker that announces a longer payload is broken."""

LIST: Final = b"list"
"""Request: library, data."""
SPEAK: Final = b"speak"
"""Request: library, data, voice, words per minute, pitch, 1 for SSML, text."""

AUDIO: Final = b"A"
"""Samples of 16 bits in the machine's order."""
WORDS: Final = b"W"
"""Several `WORD`."""
WORD: Final = struct.Struct("<ii")
"""The position of a word's first character, counted from 1, and the time in ms at which the word begins."""
VOICES: Final = b"V"
"""One voice: file, name, gender and languages, separated by NUL."""
DONE: Final = b"D"
"""The end of a reply."""
FAILED: Final = b"F"
"""The end of a reply that failed: the reason, as text that completes "espeak-ng ..."."""
