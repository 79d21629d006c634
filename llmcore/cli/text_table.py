"""Tables that fit the terminal."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from llmcore.cli.show import Paint, fit, get_terminal_width, note, put
from llmcore.cli.streams import can_show_unicode, get_stdout

__all__ = ["print_table", "render_table"]

_GAP = "  "
"""The text between two columns."""
_MIN_WIDTH = 6
"""Minimum width of a shortened column, in characters."""
_USEFUL_WIDTH = 12
"""Columns are left out as long as a shortened column would be narrower than this."""
_NUMBER = r"(?:up to )?[~$+-]?\d[\d,_]*(?:\.\d+)?(?:\+\?)?(?: ?(?:%|[kKMGT]?B|[mµ]?s|characters))?"
"""A number in a table: tokens, dollars, bytes or seconds."""


def print_table(
    args: argparse.Namespace,
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    whole: Sequence[str] = (),
    optional: Sequence[str] = (),
    wrapped: Sequence[str] = (),
) -> None:
    """Print the table of a command that has `--json`; name the columns that were left out on stderr.

    Args:
        args: The arguments of the command.
        headers: See `render_table`, also for the others.
        rows: The cells.
        whole: Headers of columns that are never shortened.
        optional: Headers of columns that may be left out.
        wrapped: Headers of columns whose long texts continue on further lines.
    """
    left_out: list[str] = []
    paint = Paint.for_stream(get_stdout(), no_color=args.no_color)
    put(
        render_table(headers, rows, paint, whole=whole, optional=optional, wrapped=wrapped, left_out=left_out)
    )
    if left_out:
        note(f"not shown in this width: {', '.join(left_out)}; --json has all columns")


def render_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    paint: Paint,
    *,
    total: Sequence[str] = (),
    width: int | None = None,
    whole: Sequence[str] = (),
    optional: Sequence[str] = (),
    wrapped: Sequence[str] = (),
    left_out: list[str] | None = None,
) -> str:
    """Return *rows* in columns that fit the terminal, without empty columns.

    Columns of numbers are right-aligned. If the columns are wider than the terminal, *optional* columns are left out, and
    then the widest texts are shortened, never numbers.

    Args:
        headers: The names of the columns.
        rows: The cells.
        paint: Styles the headers and the total.
        total: The last row, below a rule; empty for no such row.
        width: The maximum width; None means the width of stdout (see `get_terminal_width`).
        whole: Headers of columns that are never shortened, such as names to be pasted and states.
        optional: Headers of columns that are left out, the first one first, while another column has no useful width.
        wrapped: Headers of columns whose long texts continue on further lines.
        left_out: A list to which the headers of the columns that were left out are added.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    sums = [str(cell) for cell in total]
    every = [*cells, sums] if sums else cells
    used = [at for at in range(len(headers)) if any(row[at] for row in every)]
    numeric = {at for at in used if all(re.fullmatch(_NUMBER, row[at]) for row in cells if row[at]) and cells}
    widths = {at: max(len(headers[at]), *(len(row[at]) for row in every)) for at in used}
    fixed = numeric | {headers.index(each) for each in whole}
    limit = width if width is not None else get_terminal_width(get_stdout())
    if limit is not None:
        dropped = _leave_out(widths, fixed, [headers.index(each) for each in optional], limit)
        if left_out is not None:
            left_out += [headers[at] for at in sorted(dropped)]
        _shorten_columns(widths, fixed, headers, limit)
    wraps = {at for at in widths if headers[at] in wrapped}
    layout = _Layout(widths, numeric, wraps, "…" if can_show_unicode(get_stdout()) else "~")
    lines = [paint("bold", layout.render(headers)), *(layout.render(row) for row in cells)]
    if sums:
        rule = "-" * _measure(widths)
        lines += [paint("dim", rule), paint("bold", layout.render(sums))]
    return "\n".join(lines)


class _Layout(NamedTuple):
    """The columns of a table."""

    widths: dict[int, int]
    """The index of each shown column -> its width, in the order of the columns."""
    numeric: set[int]
    """Columns that are right-aligned."""
    wraps: set[int]
    """Columns whose long texts continue on further lines."""
    mark: str
    """Replaces the end of a shortened text."""

    def render(self, row: Sequence[str]) -> str:
        """Return the lines of *row*."""
        lines: list[str] = []
        rest = list(row)
        while any(rest) or not lines:
            parts, rest = rest, [""] * len(row)
            for at in self.wraps:
                parts[at], rest[at] = _break(parts[at], self.widths[at])
            lines.append(_GAP.join(self._align(at, parts[at]) for at in self.widths).rstrip())
        return "\n".join(lines)

    def _align(self, at: int, text: str) -> str:
        shown = fit(text, self.widths[at], self.mark)
        return shown.rjust(self.widths[at]) if at in self.numeric else shown.ljust(self.widths[at])


def _measure(widths: dict[int, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _leave_out(widths: dict[int, int], fixed: set[int], optional: Sequence[int], limit: int) -> set[int]:
    """Remove *optional* columns from *widths* until the others can have a useful width; return the removed ones."""
    removed = set()
    for at in optional:
        least = {each: wide if each in fixed else min(wide, _USEFUL_WIDTH) for each, wide in widths.items()}
        if _measure(least) <= limit:
            break
        if widths.pop(at, None) is not None:
            removed.add(at)
    return removed


def _shorten_columns(widths: dict[int, int], fixed: set[int], headers: Sequence[str], limit: int) -> None:
    """Shorten the widest columns except *fixed* until all fit into *limit*.

    No column becomes narrower than its header or `_MIN_WIDTH`.
    """
    least = {at: max(len(headers[at]), _MIN_WIDTH) for at in widths if at not in fixed}
    over = _measure(widths) - limit
    while over > 0:
        wide = [at for at in least if widths[at] > least[at]]
        if not wide:
            return
        widest = max(wide, key=widths.__getitem__)
        widths[widest] -= 1
        over -= 1


def _break(text: str, width: int) -> tuple[str, str]:
    """Return the first line of *text*, and the rest. The line ends at a space if it has one."""
    if len(text) <= width:
        return text, ""
    at = text.rfind(" ", 1, width + 1)
    return (text[:width], text[width:]) if at < 0 else (text[:at], text[at + 1 :])
