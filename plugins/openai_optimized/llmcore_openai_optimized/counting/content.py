"""Parse the content of messages: texts, which the server joins before encoding, and images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_openai_optimized.counting.parsed_request import ParsedRequest, Picture, encode_json, get_text

__all__ = ["read_content"]

_TEXT_OF: Final = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_PICTURES: Final = frozenset({"image_url", "input_image"})
_FILES: Final = frozenset({"file", "input_file"})
_AUDIO: Final = frozenset({"input_audio", "audio"})


def read_content(content: Any, whole: ParsedRequest) -> tuple[str, tuple[Picture, ...]]:
    """Return the joined text and the images of *content*.

    For each part of another kind, add to `whole.doubts` the reason why the count is only an estimate.
    """
    if isinstance(content, str):
        return content, ()
    if content is None:
        return "", ()
    if not isinstance(content, list | tuple):
        return _take_unknown(content, whole), ()
    texts: list[str] = []
    pictures: list[Picture] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            text, picture = _read_part(part, whole)
            texts.append(text)
            if picture is not None:
                pictures.append(picture)
        else:
            texts.append(_take_unknown(part, whole))
    return "".join(texts), tuple(pictures)


def _read_part(part: Mapping[str, Any], whole: ParsedRequest) -> tuple[str, Picture | None]:
    kind = get_text(part, "type") or "text"
    if kind in _PICTURES:
        return "", _read_picture(part, whole)
    if kind in _FILES:
        # A file has no bound: each page costs the tokens of its text and of an image, and the server may store
        # the file.
        whole.doubts.add("file")
        whole.boundless.add("file")
        return "", None
    if kind in _AUDIO:
        # Audio has one token for each 0.1 seconds, so the bytes of its base64 are an upper bound of its tokens.
        whole.doubts.add("audio")
        whole.unparsed.append(encode_json(part))
        if part.get("id"):
            whole.boundless.add("audio")
        return "", None
    if kind == "refusal":
        whole.doubts.add("refusal")  # no recorded request has a refusal
    text = part.get(_TEXT_OF.get(kind, ""))
    return (text, None) if isinstance(text, str) else (_take_unknown(part, whole), None)


def _read_picture(part: Mapping[str, Any], whole: ParsedRequest) -> Picture | None:
    image = part.get("image_url")
    of = image if isinstance(image, Mapping) else part
    url, detail = (of.get("url") if of is image else image), of.get("detail") or part.get("detail")
    if not isinstance(url, str):  # an uploaded file
        whole.doubts.add("picture")
        url = ""
    return Picture(url, detail if isinstance(detail, str) else "auto")


def _take_unknown(value: Any, whole: ParsedRequest) -> str:
    whole.doubts.add("part")
    return encode_json(value)
