"""The encodings of tiktoken, built from the rank files in this package: nothing is ever downloaded."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import lzma
import threading
from importlib import resources
from typing import TYPE_CHECKING, Final

from llmcore.errors import PluginBroken

if TYPE_CHECKING:
    import tiktoken

__all__ = ["encoding"]

_SHA256: Final = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
"""Of the unpacked files, as tiktoken itself expects them."""

_PATTERNS: Final = {
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k_base": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""How texts are cut before they are encoded. Source: tiktoken_ext/openai_public.py of tiktoken 0.14 (MIT)."""

_lock = threading.Lock()
_built: dict[str, tiktoken.Encoding] = {}


def encoding(name: str) -> tiktoken.Encoding:
    """Return the encoding `cl100k_base` or `o200k_base`; the first call of a process takes a few tenths of a second.

    Raises:
        PluginBroken: The file is not what it was when it was packed.
    """
    built = _built.get(name)
    if built is not None:
        return built
    with _lock:
        if name not in _built:
            _built[name] = _build(name)
        return _built[name]


def _build(name: str) -> tiktoken.Encoding:
    import tiktoken

    lines = (line.split() for line in _unpacked(name).splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    # No special tokens: in what people write they are ordinary text.
    return tiktoken.Encoding(name, pat_str=_PATTERNS[name], mergeable_ranks=ranks, special_tokens={})


def _unpacked(name: str) -> bytes:
    packed = resources.files("llmcore_openai_optimized") / "data" / f"{name}.tiktoken.xz"
    content = b""
    with contextlib.suppress(OSError, lzma.LZMAError):  # told below, with the one remedy that there is
        content = lzma.decompress(packed.read_bytes())
    if hashlib.sha256(content).hexdigest() != _SHA256[name]:
        raise PluginBroken(
            f"the token table {name} is missing or damaged",
            where=f"llmcore_openai_optimized/data/{name}.tiktoken.xz",
            expected=f"sha256 {_SHA256[name]} when unpacked",
            fix="install llmcore-openai-optimized again",
        )
    return content
