"""The rules that split texts into pieces before encoding.

Source: tiktoken_ext/openai_public.py of tiktoken 0.14 (MIT). `TIKTOKEN` is for tiktoken's own engine. `FULL` has the
same rules for the package `regex`, where `$` also matches before a last line end. `ASCII` has the same rules for the
standard `re` and for texts in ASCII, where each class has few members.
"""

from __future__ import annotations

# A constant, because an import of `typing` takes a fifth of the time of the first token count.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["ASCII", "FULL", "TIKTOKEN"]

TIKTOKEN: Final = {
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k_base": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}

FULL: Final = {name: pattern.replace("$", r"\Z") for name, pattern in TIKTOKEN.items()}

_SPACE: Final = r"\t\n\x0b\f\r "  # instead of \s, which matches four more characters in `re` than in `regex`

ASCII: Final = {
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\nA-Za-z0-9]?+[A-Za-z]++|[0-9]{1,3}+| ?[^"
    + _SPACE
    + r"A-Za-z0-9]++[\r\n]*+"
    r"|["
    + _SPACE
    + r"]++\Z|["
    + _SPACE
    + r"]*[\r\n]|["
    + _SPACE
    + r"]+(?![^"
    + _SPACE
    + r"])|["
    + _SPACE
    + r"]",
    "o200k_base": r"[^\r\nA-Za-z0-9]?[A-Z]*[a-z]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\nA-Za-z0-9]?[A-Z]+[a-z]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[0-9]{1,3}| ?[^"
    + _SPACE
    + r"A-Za-z0-9]+[\r\n/]*|["
    + _SPACE
    + r"]*[\r\n]+|["
    + _SPACE
    + r"]+(?![^"
    + _SPACE
    + r"])"
    r"|[" + _SPACE + r"]+",
}
