"""What every voice agrees on: which text is a document of SSML, and where in it the speech begins."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["document"]

_BEFORE: Final = re.compile(
    r"(?: [\s\ufeff] | <\?.*?\?> | <!--.*?--> | <!DOCTYPE [^>\[]* (?:\[.*?\]\s*)? > )*+ (?=<speak(?:[\s/>]|\Z))",
    re.DOTALL | re.VERBOSE,
)


def document(text: str) -> str | None:
    """Return what is SSML in *text*, from `<speak` to its end; None where it is plain text.

    A byte order mark, a declaration and comments may stand before it. They are not spoken, and not sent.
    """
    before = _BEFORE.match(text)
    return None if before is None else text[before.end() :].rstrip()
