"""Keep the byte order mark and the line endings of a file that is edited."""

from __future__ import annotations

from codecs import BOM_UTF8
from difflib import SequenceMatcher

__all__ = ["keep_line_endings"]


def keep_line_endings(before: bytes, text: str) -> bytes:
    """Return *text* in UTF-8; each unchanged line keeps its line ending from *before*.

    A new line has the line ending of the first line of *before*.

    Args:
        before: The original bytes of the file.
        text: The edited text, with line feeds only.
    """
    mark = BOM_UTF8 if before.startswith(BOM_UTF8) else b""
    *old, _ = before.removeprefix(mark).split(b"\n")
    *new, rest = text.encode().split(b"\n")  # the text after the last line feed has no ending
    ending = b"\r" if old and old[0].endswith(b"\r") else b""
    ended = [line + ending for line in new]
    blocks = SequenceMatcher(None, [line.removesuffix(b"\r") for line in old], new, autojunk=False)
    for block in blocks.get_matching_blocks():
        ended[block.b : block.b + block.size] = old[block.a : block.a + block.size]
    return mark + b"\n".join([*ended, rest])
