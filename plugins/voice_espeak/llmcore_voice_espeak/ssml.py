"""Check SSML: refuse a DOCTYPE, and refuse names of files, even in markup that the library parses differently from XML."""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from llmcore.errors import VoiceError
from llmcore.support.errors import raise_unchained

__all__ = ["check_ssml"]

_TAG: Final = re.compile(r"(?=<([^\s>]{0,40})([^>]{0,600}))<")
"""Matches each "<" that may begin a tag for the library, which reads at most 500 characters of a tag."""


def check_ssml(text: str) -> None:
    """Raise for SSML that names a file, which espeak-ng would open.

    The library ends a comment at the first ">", does not support CDATA, and compares only the low byte of the characters of a
    name. So two checks run: the elements and attributes that an XML parser finds, and the text after each "<".

    Raises:
        VoiceError: *text* has a DOCTYPE, an element `audio`, an attribute `src`, or a tag `voice` with `..` or a
            backslash, or is not well-formed.
    """
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda name, attributes: _check_element(name, list(attributes))
    parser.StartDoctypeDeclHandler = lambda *_: _refuse("a DOCTYPE")
    try:
        parser.Parse(text.encode(), True)  # noqa: FBT003 - expat accepts positional arguments only
    except expat.ExpatError as error:
        fault = f"{expat.ErrorString(error.code)}, at line {error.lineno}, column {error.offset + 1}"
        raise_unchained(
            VoiceError(f"the SSML is not well-formed: {fault}", code="LC905", expected="<speak>...</speak>")
        )
    for tag, rest in _TAG.findall(text):
        name = "".join(chr(ord(letter) & 0xFF) for letter in tag).lower().strip("/")
        if name == "audio":
            raise _make_error("the element <audio>")
        if name == "voice" and (".." in rest or "\\" in rest):
            raise _make_error("a <voice> with a path")


def _check_element(name: str, attributes: list[str]) -> None:
    if _get_local_name(name) == "audio":
        _refuse("the element <audio>")
    if any(_get_local_name(attribute) == "src" for attribute in attributes):
        _refuse("an attribute src")


def _get_local_name(name: str) -> str:
    return name.rpartition(":")[2].casefold()


def _refuse(what: str) -> None:
    raise _make_error(what)


def _make_error(what: str) -> VoiceError:
    return VoiceError(
        f"`espeak` does not support SSML with {what}",
        code="LC905",
        expected="SSML without file names, which espeak-ng would open on this machine",
        fix="remove this part of the SSML; a recording can be joined to the finished speech instead",
    )
