"""How things are printed: colour, tables, JSON, money, time, and the line beneath an answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from llmcore.types import Usage

__all__ = [
    "Paint",
    "as_json",
    "bytes_text",
    "dollars",
    "footer",
    "note",
    "print_json",
    "safe",
    "seconds",
    "table",
]

SCHEMA = 1
"""Version of what `--json` prints; keys are added to it, and never taken away."""

_STYLES = {"bold": "1", "dim": "2", "red": "1;31", "green": "32", "yellow": "33", "cyan": "36"}
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])
_KILO = 1000
_MILLISECOND, _TENTH = 0.001, 0.1


class Paint:
    """Colours text, or leaves it as it is."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    @classmethod
    def of(cls, stream: TextIO, *, no_color: bool = False) -> Self:
        """Return the paint for *stream*: NO_COLOR, FORCE_COLOR, TERM=dumb, and then whether it is a terminal."""
        env = os.environ
        if no_color or env.get("NO_COLOR"):
            return cls(on=False)
        if env.get("FORCE_COLOR"):
            return cls(on=env["FORCE_COLOR"] != "0")
        on = env.get("TERM") != "dumb" and stream.isatty()
        if on and sys.platform == "win32":
            os.system("")  # noqa: S605, S607 - lets an older console understand colour
        return cls(on=on)

    def __call__(self, style: str, text: str) -> str:
        """Return *text* in *style*: bold, dim, red, green, yellow or cyan."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.on and text else text


def as_json(**values: Any) -> str:
    """Return the document that `--json` prints."""
    import json

    return json.dumps({"schema": SCHEMA, **values}, ensure_ascii=False, indent=2, default=_plain)


def print_json(**values: Any) -> None:
    """Print the document that holds *values*."""
    print(as_json(**values))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], paint: Paint) -> str:
    """Return *rows* in columns; the last column is as wide as it likes, and empty columns are left out."""
    cells = [[str(cell) for cell in row] for row in rows]
    used = [at for at in range(len(headers)) if any(row[at] for row in cells)]
    widths = {at: max(len(headers[at]), *(len(row[at]) for row in cells)) for at in used}

    def line(row: Sequence[str]) -> str:
        return "  ".join(f"{row[at]:<{widths[at]}}" for at in used).rstrip()

    return "\n".join([paint("bold", line(headers)), *(line(row) for row in cells)])


def note(text: str) -> None:
    """Tell the person, not the program that reads stdout."""
    print(text, file=sys.stderr)


def footer(
    *, model: str, usage: Usage | None, cost: Decimal | None, cached: bool, took_s: float, paint: Paint
) -> str:
    """Return the line beneath an answer."""
    tokens = ""
    if usage is not None:
        about = "~" if usage.estimated else ""
        tokens = f"{about}{usage.input_tokens} tokens in, {about}{usage.output_tokens} out"
    parts = [model, tokens, dollars(cost), "from the cache" if cached else "", seconds(took_s)]
    return paint("dim", " · ".join(part for part in parts if part))


def dollars(cost: Decimal | None) -> str:
    """Return a cost in USD as people read it: all of a small one, cents of a large one."""
    if cost is None:
        return "cost unknown"
    if not cost:
        return "$0"
    text = f"{cost:.{2 if cost >= 1 else max(2, 2 - cost.adjusted())}f}"
    whole, _, cents = text.partition(".")
    return f"${whole}.{cents[:2]}{cents[2:].rstrip('0')}"


def seconds(value: float) -> str:
    """Return a time in the unit that fits it."""
    if value < _MILLISECOND:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.1f} ms" if value < _TENTH else f"{value:.2f} s"


def bytes_text(size: int) -> str:
    """Return a size in the unit that fits it."""
    value, unit = float(size), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < _KILO:
            break
        value, unit = value / _KILO, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def safe(text: str, stream: TextIO) -> str:
    """Return *text* for *stream*: an answer must not steer a person's terminal; a file gets every character."""
    return text.translate(_CONTROLS) if stream.isatty() else text


def _plain(value: object) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")
