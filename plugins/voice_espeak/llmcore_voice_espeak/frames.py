"""The messages between this process and a worker. The worker imports this module, so it uses only the standard library.

A request consists of its length and of fields that are separated by NUL. A reply is a sequence of frames. A frame
consists of a kind, the length of its payload, and the payload.
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
"""The first field of a request for the list of voices. The other fields are the paths of the library and of its data."""
SPEAK: Final = b"speak"
"""The first field of a request for speech. The other fields are the paths of the library and of its data, the
voice, the words per minute, the pitch, 1 for SSML or else 0, and the text.
"""

AUDIO: Final = b"A"
"""A frame with 16-bit samples in the byte order of this machine."""
WORDS: Final = b"W"
"""A frame with several words. Each word is packed as `WORD`."""
WORD: Final = struct.Struct("<ii")
"""The position of a word's first character, counted from 1, and the time in ms at which the word begins."""
VOICES: Final = b"V"
"""A frame with one voice: its file, name, gender and languages, separated by NUL."""
DONE: Final = b"D"
"""The last frame of a complete reply."""
FAILED: Final = b"F"
"""The last frame of a reply that failed. The payload is the reason, a phrase that follows the word "espeak-ng"."""
