"""One parsed file: its values, and on request where each stands and how that line looks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final

from llmcore.config.keys import Path
from llmcore.config.mask import mask_line, stars

if TYPE_CHECKING:
    from llmcore.config.locate import Place

__all__ = ["Document"]

_WIDEST: Final = 100


class Document:
    """A file's tree and text. Positions are looked for only when somebody asks."""

    def __init__(
        self,
        tree: Mapping[str, Any],
        *,
        text: str,
        label: str,
        prefix: Path = (),
        folder: FilePath | None = None,
    ) -> None:
        self.tree = tree
        self.text = text
        self.label = label
        """The path as it is shown."""
        self.prefix = prefix
        """("tool", "llmcore") in a pyproject.toml."""
        self.folder = folder

    @cached_property
    def lines(self) -> list[str]:
        """The text, line by line."""
        return self.text.split("\n")

    @cached_property
    def _places(self) -> dict[Path, Place]:
        from llmcore.config.locate import locate

        return locate(self.text)

    def place(self, path: Path) -> Place | None:
        """Return where the key stands, or the table nearest around it."""
        path = self.prefix + path
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path)

    def excerpt(
        self, line: int, column: int, length: int, *, broken: bool = False, secret: bool = False
    ) -> str | None:
        """Return the line and one below that points into it; secrets are starred out.

        Args:
            line: Counted from 1, as is *column*.
            column: Where the pointer begins.
            length: How far it points.
            broken: The line is not TOML, so that nobody can tell where its secrets end.
            secret: What is pointed at is a secret.
        """
        if line > len(self.lines):
            return None
        whole = self.lines[line - 1]
        start = column - 1
        if secret:
            whole = stars(whole, start, start + length)
        whole = mask_line(whole, broken=broken)
        whole = "".join(char if char.isprintable() else " " for char in whole)
        cut = max(0, start - _WIDEST // 2) if len(whole) > _WIDEST else 0
        whole, start = whole[cut : cut + _WIDEST], start - cut
        gutter = " " * len(str(line))
        pointed = whole[start : start + length] or " "
        marks = "^" * sum(map(_cells, pointed))
        return f"{line} | {whole.rstrip()}\n{gutter} | {' ' * sum(map(_cells, whole[:start]))}{marks}"


def _cells(char: str) -> int:
    """A Chinese character is as wide as two Latin ones."""
    if char.isascii():
        return 1
    import unicodedata

    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
