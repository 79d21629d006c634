"""One parsed file: the values, and their positions and lines, which are computed on demand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final

from llmcore.config.keys import Path
from llmcore.config.mask import is_reference, mask_line, mask_with_stars

if TYPE_CHECKING:
    from llmcore.config.positions import Place

__all__ = ["Document"]

_WIDEST: Final = 100
"""Maximum length of the line in an excerpt, in characters. A longer line is cut around the underlined part."""


class Document:
    """The tree and the text of a file. Positions are computed on first use."""

    def __init__(
        self,
        tree: Mapping[str, Any],
        *,
        text: str,
        label: str,
        prefix: Path = (),
        folder: FilePath | None = None,
        data: bytes = b"",
    ) -> None:
        self.tree = tree
        self.text = text
        self.label = label
        """The path for display."""
        self.prefix = prefix
        """The path of the table that contains the settings: ("tool", "llmcore") in a pyproject.toml, else empty."""
        self.folder = folder
        self.data = data
        """The original bytes of the file. `text` has the same content, without a byte order mark and with line feeds only."""

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.split("\n")

    @cached_property
    def _places(self) -> dict[Path, Place]:
        from llmcore.config.positions import locate

        return locate(self.text)

    def find_place(self, path: Path) -> Place | None:
        """Return the position of the key, or of the innermost table around it."""
        path = self.prefix + path
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path)

    def format_excerpt(
        self, line: int, column: int, length: int, *, broken: bool = False, secret: bool = False
    ) -> str | None:
        """Return the line, and a second line that underlines a part of the first. Stars replace secrets.

        Args:
            line: Counted from 1, like *column*.
            column: The start of the underlined part.
            length: The length of the underlined part.
            broken: True if the line is not valid TOML, so that the end of a secret is unknown.
            secret: True if the underlined part is a secret. A reference to a secret, such as "env:NAME", is shown.
        """
        if line > len(self.lines):
            return None
        whole = self.lines[line - 1]
        start = column - 1
        if secret and not is_reference(whole[start + 1 : start + length - 1]):
            whole = mask_with_stars(whole, start, start + length)
        whole = mask_line(whole, broken=broken)
        whole = "".join(char if char.isprintable() else " " for char in whole)
        cut = max(0, start - _WIDEST // 2) if len(whole) > _WIDEST else 0
        whole, start = whole[cut : cut + _WIDEST], start - cut
        gutter = " " * len(str(line))
        pointed = whole[start : start + length] or " "
        marks = "^" * sum(map(_get_width, pointed))
        return f"{line} | {whole.rstrip()}\n{gutter} | {' ' * sum(map(_get_width, whole[:start]))}{marks}"


def _get_width(char: str) -> int:
    """Return the width of *char* in a terminal: 2 for wide characters, such as Chinese characters."""
    if char.isascii():
        return 1
    import unicodedata

    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
