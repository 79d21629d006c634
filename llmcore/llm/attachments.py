"""Images, audio and files as parts of a message, in the format of Chat Completions.

    chat([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, llmcore.image("cat.png")]}])

Each part contains the content itself, so a cached answer belongs to this content and not to a file name. An image at
a public address is different: llmcore sends the address, and the vendor loads the image. The format has no addresses
for audio and files.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from llmcore.errors import BadRequest
from llmcore.llm.content_types import ContentType, detect_type, name_type
from llmcore.support.errors import raise_unchained

__all__ = ["Source", "attach", "audio", "file", "image"]

Source = str | os.PathLike[str] | bytes
"""A path, an http(s) address, or the content itself."""

_IMAGES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp")
_AUDIO: Final = {"audio/wav": "wav", "audio/mpeg": "mp3"}
"""MIME type -> the format name that servers accept."""
_MOST: Final = {"image": 20_000_000, "audio": 25_000_000, "file": 32_000_000}
"""Kind of content -> the default maximum size in bytes. The large vendors accept this size in one request."""


def image(source: Source, *, detail: str | None = None, max_bytes: int = _MOST["image"]) -> dict[str, Any]:
    """Return an image as a part of a message.

    Args:
        source: A path, bytes, or an http(s) address. The vendor loads an image from a public address. A
            vendor cannot reach an address on this machine or in a private network, so such an image is loaded
            here.
        detail: "low", "high" or "auto", for vendors that scale images; if None, the vendor decides.
        max_bytes: The maximum size of the content.

    Raises:
        BadRequest: *source* cannot be read, is empty or too large, or is not a PNG, JPEG, GIF or WebP.
    """
    if _is_address(source) and not _is_private(str(source)):
        named = name_type(urlsplit(str(source)).path)
        if named is not None and named.mime not in _IMAGES:
            raise _make_type_error("image", source, named, ", ".join(_IMAGES))
        return _make_image(str(source), detail)
    return _embed_image(_load("image", source, max_bytes), source, detail)


def audio(
    source: Source,
    *,
    format: str | None = None,  # noqa: A002 - the field of the message has this name
    max_bytes: int = _MOST["audio"],
) -> dict[str, Any]:
    """Return audio as a part of a message.

    Args:
        source: A path, bytes, or an http(s) address, which is loaded.
        format: The name of the format, such as "flac", for servers that accept more than wav and mp3; if None, the
            format is detected.
        max_bytes: The maximum size of the content.

    Raises:
        BadRequest: *source* cannot be read, is empty or too large; or *format* is None, and *source* is
            neither WAV nor MP3.
    """
    return _embed_audio(_load("audio", source, max_bytes), source, format)


def file(source: Source, *, name: str | None = None, max_bytes: int = _MOST["file"]) -> dict[str, Any]:
    """Return a file, such as a PDF, as a part of a message.

    Args:
        source: A path, bytes, or an http(s) address, which is loaded.
        name: The file name that the model sees; None means the file name in the path or the address.
        max_bytes: The maximum size of the content.

    Raises:
        BadRequest: *source* cannot be read, is empty or too large, or is an image or audio, for which `image`
            and `audio` exist.
    """
    return _embed_file(_load("file", source, max_bytes), source, name)


def attach(source: Source) -> dict[str, Any]:
    """Return the part for *source*, which may be an image, audio or another file.

    Raises:
        BadRequest: As in `image`, `audio` and `file`.
    """
    if _is_address(source) and not _is_private(str(source)):
        named = name_type(urlsplit(str(source)).path)
        if named is not None and named.mime in _IMAGES:
            return _make_image(str(source), None)
    content = _load("file", source, max(_MOST.values()))
    found = detect_type(content)
    if found is None or found.function == "file":
        return _embed_file(content, source, None)
    if found.function == "image":
        return _embed_image(content, source, None)
    return _embed_audio(content, source, None)


def _make_image(url: str, detail: str | None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}


def _embed_image(content: bytes, source: object, detail: str | None) -> dict[str, Any]:
    found = detect_type(content)
    if found is None or found.mime not in _IMAGES:
        raise _make_type_error("image", source, found, ", ".join(_IMAGES))
    return _make_image(_make_data_url(found.mime, content), detail)


def _embed_audio(content: bytes, source: object, format_: str | None) -> dict[str, Any]:
    if format_ is None:
        found = detect_type(content)
        if found is None or found.mime not in _AUDIO:
            raise _make_type_error("audio", source, found, ", ".join(_AUDIO.values()))
        format_ = _AUDIO[found.mime]
    data = base64.b64encode(content).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": format_}}


def _embed_file(content: bytes, source: object, name: str | None) -> dict[str, Any]:
    found = detect_type(content)
    if found is not None and found.function != "file":
        raise _make_type_error("file", source, found, "a document, such as a PDF or a text")
    shown = name or _get_name(source) or f"file{'' if found is None else found.suffix}"
    kind = found or name_type(shown)
    mime = "application/octet-stream" if kind is None else kind.mime
    return {"type": "file", "file": {"filename": shown, "file_data": _make_data_url(mime, content)}}


def _load(what: str, source: object, max_bytes: int) -> bytes:
    """Return the content of *source*.

    Raises:
        BadRequest: *source* cannot be read, is empty, or is larger than *max_bytes*.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
    elif _is_address(source):
        content = _download(what, str(source), max_bytes)
    elif isinstance(source, str | os.PathLike):
        content = _read(what, Path(source).expanduser(), max_bytes)
    else:
        raise BadRequest(
            f"{what} must be a path, bytes or an address, got {type(source).__name__}",
            code="LC311",
            where=what,
            expected="a path, bytes or an http(s) address",
        )
    if not content:
        raise BadRequest(
            f"the {what} is empty: {_show(source)}",
            code="LC311",
            where=_show(source),
            expected=f"at least one byte of {what}",
        )
    if len(content) > max_bytes:
        raise BadRequest(
            f"the {what} must have at most {max_bytes:,} bytes, got {_count(content, max_bytes)}: {_show(source)}",
            code="LC311",
            where=_show(source),
            expected=f"at most {max_bytes:,} bytes, which large vendors accept; max_bytes= sets another bound",
            fix=f"llmcore.{what}(..., max_bytes={2 * max(len(content), max_bytes)})",
        )
    return content


def _read(what: str, path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: the name contains a null byte
        reason = getattr(error, "strerror", None) or type(error).__name__
    import shlex
    from difflib import get_close_matches

    try:
        names = sorted(each.name for each in path.parent.iterdir() if each.is_file())
    except (OSError, ValueError):
        names = []
    near = next(iter(get_close_matches(path.name, names, n=1)), None)
    suggestion = None if near is None else str(path.with_name(near))
    raise BadRequest(
        f"the {what} cannot be read: {reason}: {path.absolute()}",
        code="LC311",
        where=str(path),
        expected="a file that can be read",
        suggestion=suggestion,
        fix=f"ls {shlex.quote(str(path.parent))}"
        if suggestion is None
        else f'llmcore.{what}("{suggestion}")',
    )


def _download(what: str, url: str, max_bytes: int) -> bytes:
    import urllib.error
    import urllib.request
    from http.client import HTTPException

    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - `_is_address` allows only http and https
            return bytes(answer.read(max_bytes + 1))
    except (OSError, ValueError, HTTPException) as error:
        reason = f"status {error.code}" if isinstance(error, urllib.error.HTTPError) else str(error)
        raise_unchained(
            BadRequest(
                f"the {what} cannot be loaded: {reason}: {_show(url)}",
                code="LC311",
                where=_show(url),
                expected="an address that answers with status 200 within 30 s",
                fix=f"curl -sSfI {_show(url)}",
            )
        )


def _is_address(source: object) -> bool:
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def _is_private(url: str) -> bool:
    """Return whether the text of *url* names this machine or a private network. Nothing is looked up."""
    from ipaddress import ip_address

    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".localhost"))


def _make_type_error(what: str, source: object, found: ContentType | None, expected: str) -> BadRequest:
    got = "content of an unknown type" if found is None else found.mime
    fix = None
    if found is not None and found.function != what:
        fix = f"llmcore.{found.function}({_quote(source)})"
    elif what == "audio" and isinstance(source, str | os.PathLike):
        fix = f"ffmpeg -i {source} {Path(source).with_suffix('.wav')}"
    return BadRequest(
        f"{what} must be {expected}, got {got}: {_show(source)}",
        code="LC311",
        where=_show(source),
        expected=expected,
        suggestion=None if found is None or found.function == what else f"llmcore.{found.function}",
        fix=fix,
    )


def _get_name(source: object) -> str | None:
    if _is_address(source):
        return unquote(urlsplit(str(source)).path).rpartition("/")[2] or None
    return Path(source).name if isinstance(source, str | os.PathLike) else None


def _show(source: object) -> str:
    """Return *source* as an error shows it.

    The query and the password of an address are removed, because they may be secrets. Content is never shown.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return "bytes"
    if _is_address(source):
        parts = urlsplit(str(source))
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    return str(source)


def _quote(source: object) -> str:
    return "..." if isinstance(source, bytes | bytearray | memoryview) else f'"{_show(source)}"'


def _count(content: bytes, most: int) -> str:
    """Return the size of *content* as a text for an error.

    If *content* has *most* + 1 bytes, the text is "more", because reading stopped there.
    """
    return "more" if len(content) == most + 1 else f"{len(content):,}"


def _make_data_url(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
