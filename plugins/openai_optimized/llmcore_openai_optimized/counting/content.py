"""What a message holds: texts, which the server joins before it encodes them, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_openai_optimized.counting.asked import Asked, Picture, json_text, text_of

__all__ = ["texts_and_pictures"]

_TEXT_OF: Final = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_PICTURES: Final = frozenset({"image_url", "input_image"})
_FILES: Final = frozenset({"file", "input_file"})
_AUDIO: Final = frozenset({"input_audio", "audio"})


def texts_and_pictures(content: Any, whole: Asked) -> tuple[str, tuple[Picture, ...]]:
    """Return the joined text and the pictures of *content*; what is neither goes into the doubts of *whole*."""
    if isinstance(content, str):
        return content, ()
    if content is None:
        return "", ()
    if not isinstance(content, list | tuple):
        return _strange(content, whole), ()
    texts: list[str] = []
    pictures: list[Picture] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            text, picture = _part(part, whole)
            texts.append(text)
            if picture is not None:
                pictures.append(picture)
        else:
            texts.append(_strange(part, whole))
    return "".join(texts), tuple(pictures)


def _part(part: Mapping[str, Any], whole: Asked) -> tuple[str, Picture | None]:
    kind = text_of(part, "type") or "text"
    if kind in _PICTURES:
        return "", _picture(part, whole)
    if kind in _FILES:  # a page costs its text and a picture of it; a file of an id is the server's own
        whole.doubts.add("file")
        whole.boundless.add("file")
        return "", None
    if kind in _AUDIO:  # a tenth of a second is a token, and has never fewer bytes than that
        whole.doubts.add("audio")
        whole.loose.append(json_text(part))
        if part.get("id"):
            whole.boundless.add("audio")
        return "", None
    text = part.get(_TEXT_OF.get(kind, ""))
    return (text, None) if isinstance(text, str) else (_strange(part, whole), None)


def _picture(part: Mapping[str, Any], whole: Asked) -> Picture | None:
    image = part.get("image_url")
    of = image if isinstance(image, Mapping) else part
    url, detail = (of.get("url") if of is image else image), of.get("detail") or part.get("detail")
    if not isinstance(url, str):  # a file that was uploaded before
        whole.doubts.add("picture")
        url = ""
    return Picture(url, detail if isinstance(detail, str) else "auto")


def _strange(value: Any, whole: Asked) -> str:
    whole.doubts.add("part")
    return json_text(value)
