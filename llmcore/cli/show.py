"""Format output: styles, JSON, costs, times, and the footer of an answer."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, TextIO

from llmcore.cli.streams import can_show_unicode, get_stdout

if TYPE_CHECKING:
    from llmcore.types import Usage

__all__ = [
    "Paint",
    "fit",
    "format_bytes",
    "format_cost",
    "format_seconds",
    "get_terminal_width",
    "note",
    "print_json",
    "put",
    "render_footer",
    "render_json",
    "strip_controls",
    "to_json",
]

_SCHEMA = 1
"""Version of the `--json` output. Keys are added, never removed."""

_STYLES = {"bold": "1", "dim": "2", "red": "1;31", "green": "32", "yellow": "33", "cyan": "36"}
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])
_KILO = 1000
_MILLISECOND, _TENTH = 0.001, 0.1


class Paint:
    """Adds terminal styles to text if *on* is true."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    @classmethod
    def for_stream(cls, stream: TextIO, *, no_color: bool = False) -> Self:
        """Return the paint for *stream*.

        NO_COLOR, FORCE_COLOR and TERM=dumb take precedence over the check for a terminal.
        """
        env = os.environ
        if no_color or env.get("NO_COLOR"):
            return cls(on=False)
        if env.get("FORCE_COLOR"):
            return cls(on=env["FORCE_COLOR"] != "0")
        on = env.get("TERM") != "dumb" and stream.isatty()
        if on and sys.platform == "win32":
            os.system("")  # noqa: S605, S607 - enables escape sequences in an older console
        return cls(on=on)

    def __call__(self, style: str, text: str) -> str:
        """Return *text* in *style*: bold, dim, red, green, yellow or cyan."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.on and text else text


def render_json(to: TextIO, /, **values: Any) -> str:
    """Return *values* as the `--json` document, in characters that the stream *to* can show."""
    return to_json({"schema": _SCHEMA, **values}, to, indent=2)


def to_json(value: Any, to: TextIO, *, indent: int | None = None) -> str:
    """Return *value* as JSON; in ASCII if *to* is not UTF-8 or the text has a lone surrogate."""
    import json

    if can_show_unicode(to):
        text = json.dumps(value, ensure_ascii=False, indent=indent, default=_to_plain)
        with suppress(UnicodeEncodeError):
            text.encode()
            return text
    return json.dumps(value, indent=indent, default=_to_plain)


def print_json(**values: Any) -> None:
    """Print *values* as the `--json` document."""
    put(render_json(get_stdout(), **values))


def put(*texts: str, end: str = "\n", flush: bool = False) -> None:
    """Print *texts* to stdout as part of the answer."""
    print(*texts, end=end, flush=flush, file=get_stdout())


def get_terminal_width(stream: TextIO) -> int | None:
    """Return the width of *stream* in columns: the variable COLUMNS if it is a positive number, or the width of the terminal.

    Without COLUMNS, the result is None if *stream* is not a terminal.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def fit(text: str, width: int, mark: str = "…") -> str:
    """Return *text* in at most *width* characters; the end of a longer text is replaced by *mark*."""
    if len(text) <= width:
        return text
    return text[: max(width - len(mark), 0)] + mark[:width]


def note(text: str) -> None:
    """Print *text* to stderr, for the user."""
    with suppress(OSError):  # the command must not fail because stderr is full or closed
        print(text, file=sys.stderr)


def render_footer(
    *,
    provider: str,
    model: str,
    usage: Usage | None,
    cost: Decimal | None,
    cached: bool,
    took_s: float,
    paint: Paint,
) -> str:
    """Return the line below an answer."""
    tokens = ""
    if usage is not None:
        about = "~" if usage.estimated else ""
        tokens = f"{about}{usage.input_tokens} tokens in, {about}{usage.output_tokens} out"
    parts = [
        model,
        provider,
        tokens,
        format_cost(cost),
        "from the cache" if cached else "",
        format_seconds(took_s),
    ]
    return paint("dim", " · ".join(part for part in parts if part))


def format_cost(cost: Decimal | None) -> str:
    """Return a cost in USD with two decimals. A cost below 1 USD has more decimals."""
    if cost is None:
        return "cost unknown"
    if not cost:
        return "$0"
    text = f"{cost:.{2 if cost >= 1 else max(2, 2 - cost.adjusted())}f}"
    whole, _, cents = text.partition(".")
    return f"${whole}.{cents[:2]}{cents[2:].rstrip('0')}"


def format_seconds(value: float) -> str:
    """Return a time in µs, ms or s."""
    if value < _MILLISECOND:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.1f} ms" if value < _TENTH else f"{value:.2f} s"


def format_bytes(size: int) -> str:
    """Return a size in B, KB, MB, GB or TB."""
    value, unit = float(size), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < _KILO:
            break
        value, unit = value / _KILO, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def strip_controls(text: str, stream: TextIO) -> str:
    """Remove control characters from *text* if *stream* is a terminal.

    Control characters could change the settings of the terminal.
    """
    return text.translate(_CONTROLS) if stream.isatty() else text


def _to_plain(value: object) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
