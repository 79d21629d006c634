"""Recognise images, audio and documents by their first bytes, or by the suffix of a name."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["ContentType", "detect_type", "name_type"]


Function = Literal["image", "audio", "file"]


class ContentType(NamedTuple):
    """A type of content."""

    mime: str
    suffix: str
    function: Function
    """The function of llmcore that attaches such content to a message."""


_KNOWN: Final[tuple[tuple[str, str, Function], ...]] = (
    ("png", "image/png", "image"),
    ("jpg", "image/jpeg", "image"),
    ("gif", "image/gif", "image"),
    ("webp", "image/webp", "image"),
    ("bmp", "image/bmp", "image"),
    ("tiff", "image/tiff", "image"),
    ("heic", "image/heic", "image"),
    ("wav", "audio/wav", "audio"),
    ("mp3", "audio/mpeg", "audio"),
    ("flac", "audio/flac", "audio"),
    ("ogg", "audio/ogg", "audio"),
    ("m4a", "audio/mp4", "audio"),
    ("pdf", "application/pdf", "file"),
    ("txt", "text/plain", "file"),
    ("md", "text/markdown", "file"),
    ("csv", "text/csv", "file"),
    ("html", "text/html", "file"),
    ("json", "application/json", "file"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "file"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "file"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", "file"),
)
_TYPES: Final = {name: ContentType(mime, f".{name}", function) for name, mime, function in _KNOWN}
_SAME_AS: Final = {"jpeg": "jpg", "jpe": "jpg", "tif": "tiff", "heif": "heic", "wave": "wav", "htm": "html"}
_BEGINNINGS: Final = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"ID3", "mp3"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"%PDF-", "pdf"),
)
_BRANDS: Final = {b"heic": "heic", b"heix": "heic", b"mif1": "heic", b"M4A ": "m4a"}
"""Brand of an ISO media file, in the bytes 8 to 11 -> the name of the type."""
_MPEG_MASK: Final = 0b1110_0110
_MPEG_LAYER_3: Final = 0b1110_0010
"""The value of the second byte of an MP3 file under `_MPEG_MASK`: the last sync bits, and layer III.

UTF-16 and AAC begin with the same sync bits, but have another layer.
"""


def detect_type(content: bytes) -> ContentType | None:
    """Return the type of *content* by its first bytes.

    The result is None for text and for unknown signatures.
    """
    if content[:4] == b"RIFF" and content[8:12] in (b"WAVE", b"WEBP"):
        return _TYPES["wav" if content[8:12] == b"WAVE" else "webp"]
    if content[4:8] == b"ftyp":
        brand = _BRANDS.get(content[8:12])
        return None if brand is None else _TYPES[brand]
    for start, name in _BEGINNINGS:
        if content.startswith(start):
            # A text may begin with "BM", the signature of BMP. So check that the four reserved bytes of a BMP are zero.
            is_text = name == "bmp" and content[6:10] != bytes(4)
            return None if is_text else _TYPES[name]
    is_mpeg = content[:1] == b"\xff" and len(content) > 1 and content[1] & _MPEG_MASK == _MPEG_LAYER_3
    return _TYPES["mp3"] if is_mpeg else None


def name_type(name: str) -> ContentType | None:
    """Return the media type for the suffix of *name*; None for an unknown suffix."""
    suffix = name.rpartition(".")[2].lower()
    return _TYPES.get(_SAME_AS.get(suffix, suffix))
