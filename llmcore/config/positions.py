"""Find the position of each key of a TOML document, which tomllib does not report."""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress
from typing import NamedTuple

from llmcore.config.keys import Path

__all__ = ["Place", "Span", "locate"]

_SKIP = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
_STRING = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"""(?:"{0,2})'
    r"|'''[\s\S]*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
)
_BARE = re.compile(r"\d{4}-\d\d-\d\d[ ]\d[^\s,\]}#]*|[^\s,\]}#]+")


class Span(NamedTuple):
    """A part of one line; line and column are counted from 1."""

    line: int
    column: int
    length: int


class Place(NamedTuple):
    """The positions of a key and its value.

    For a table, both positions are the position of the name in the header.
    """

    key: Span
    value: Span


def locate(text: str) -> dict[Path, Place]:
    """Return the position of every key, table and array element of a document that tomllib accepts.

    The path of an array element ends in the index of the element, as text: `("models", "safe", "0")`. For an invalid
    document, return the positions before the fault.
    """
    scanner = _Scanner(text)
    with suppress(_Stop, RecursionError):  # keys after the fault have no position
        scanner.read_document()
    return scanner.places


class _Stop(Exception):
    """Raised if the scanner cannot parse the text."""


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: dict[Path, Place] = {}
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._tables: dict[Path, int] = {}
        """Path of a list of tables -> the index of the last entry that was read."""

    def read_document(self) -> None:
        base: Path = ()
        while self._skip() < len(self.text):
            if self.text[self.at] == "[":
                base = self._read_header()
            else:
                self._read_pair(base)

    def _read_header(self) -> Path:
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        segments = self._read_key()
        self._expect("]]" if many else "]")
        path: Path = ()
        for index, (name, span) in enumerate(segments):
            path = (*path, name)
            if many and index == len(segments) - 1:
                self._tables[path] = self._tables.get(path, -1) + 1
                self.places.setdefault(path, Place(span, span))
            elif index == len(segments) - 1:
                self.places[path] = Place(span, span)
            self.places.setdefault(path, Place(span, span))
            if path in self._tables:
                path = (*path, str(self._tables[path]))
                self.places.setdefault(path, Place(span, span))
        return path

    def _read_pair(self, base: Path) -> None:
        segments = self._read_key()
        self._expect("=")
        path = base
        for name, span in segments:
            path = (*path, name)
            self.places.setdefault(path, Place(span, span))
        self._skip()
        start = self.at
        self._read_value(path)
        self.places[path] = Place(segments[-1][1], self._make_span(start, self.at))

    def _read_key(self) -> list[tuple[str, Span]]:
        segments = []
        while True:
            self._skip()
            match = _KEY.match(self.text, self.at)
            if match is None:
                raise _Stop
            self.at = match.end()
            segments.append((_parse_name(match[0]), self._make_span(*match.span())))
            if self._skip() >= len(self.text) or self.text[self.at] != ".":
                return segments
            self.at += 1

    def _read_value(self, path: Path) -> None:
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self._read_array(path)
        elif opening == "{":
            self._read_inline_table(path)
        else:
            match = (_STRING if opening in {'"', "'"} else _BARE).match(self.text, self.at)
            if match is None:
                raise _Stop
            self.at = match.end()

    def _read_array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._has_more("]"):
            start = self.at
            self._read_value((*path, str(index)))
            span = self._make_span(start, self.at)
            self.places[(*path, str(index))] = Place(span, span)
            index += 1
            self._skip_comma()

    def _read_inline_table(self, path: Path) -> None:
        self.at += 1
        while self._has_more("}"):
            self._read_pair(path)
            self._skip_comma()

    def _has_more(self, closing: str) -> bool:
        if self._skip() >= len(self.text):
            raise _Stop
        if self.text[self.at] != closing:
            return True
        self.at += 1
        return False

    def _skip_comma(self) -> None:
        if self._skip() < len(self.text) and self.text[self.at] == ",":
            self.at += 1

    def _expect(self, expected: str) -> None:
        self._skip()
        if not self.text.startswith(expected, self.at):
            raise _Stop
        self.at += len(expected)

    def _skip(self) -> int:
        match = _SKIP.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return self.at

    def _make_span(self, start: int, end: int) -> Span:
        line = bisect_right(self._starts, start)
        first = self._starts[line - 1]
        line_end = self.text.find("\n", start)
        stop = end if line_end < 0 else min(end, line_end)
        return Span(line, start - first + 1, max(1, stop - start))


def _parse_name(token: str) -> str:
    if token[0] == '"' and "\\" in token:
        import tomllib

        return str(tomllib.loads(f"key = {token}")["key"])
    return token[1:-1] if token[0] in "\"'" else token
