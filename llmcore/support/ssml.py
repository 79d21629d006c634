"""Recognise SSML, with the same rule in the host and in every voice plugin."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["find_ssml"]

_BEFORE: Final = re.compile(
    r"(?: [\s\ufeff] | <\?.*?\?> | <!--.*?--> | <!DOCTYPE [^>\[]* (?:\[.*?\]\s*)? > )*+ (?=<speak(?:[\s/>]|\Z))",
    re.DOTALL | re.VERBOSE,
)


def find_ssml(text: str) -> str | None:
    """Return the SSML document in *text*, from `<speak` to the end; None if *text* is plain text.

    A byte order mark, an XML declaration, a doctype and comments before `<speak` are removed.
    """
    before = _BEFORE.match(text)
    return None if before is None else text[before.end() :].rstrip()
