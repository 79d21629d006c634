"""Pieces of HTML: amounts with their exact value, numbers, durations, and tables. All text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import Any, Final, NamedTuple

__all__ = [
    "NOTHING",
    "Column",
    "format_money",
    "format_ms",
    "render_amount",
    "render_count",
    "render_duration",
    "render_money",
    "render_table",
    "render_text",
]

_THOUSAND: Final = 1000
NOTHING: Final = "\N{EN DASH}"
"""The cell of a value that was not measured."""


class Column(NamedTuple):
    """The head of a column."""

    name: str
    is_number: bool = True
    is_wide: bool = False
    """True if the column is hidden on narrow screens."""


def format_money(amount: Decimal) -> str:
    """Return USD with two decimals; below 1 USD with three significant digits."""
    if not amount:
        return "$0"
    digits = 2 if amount >= 1 else max(2, 2 - amount.adjusted())
    whole, _, cents = f"{amount:,.{digits}f}".partition(".")
    return f"${whole}.{cents[:2]}{cents[2:].rstrip('0')}"


def render_money(amount: Decimal, *, prefix: str = "", has_tip: bool = True) -> str:
    """Return an amount in a `data` element with its exact value. *has_tip* adds the exact value as a tooltip."""
    exact, shown = f"{amount:f}", format_money(amount)
    tip = f' title="${exact}"' if has_tip and shown != f"${exact}" else ""
    return f'<data value="{exact}"{tip}>{prefix}{shown}</data>'


def render_count(number: int) -> str:
    """Return *number* with separators of thousands, in a `data` element with the exact value."""
    return f'<data value="{number}">{number:,}</data>' if number else '<data value="0">0</data>'


def render_amount(row: Any) -> str:
    """Return the cost of *row*, and by how much it may be too low."""
    # prevent a line break inside of "+ up to", and before "+ ?"
    doubts = [f"+&nbsp;up&nbsp;to {render_money(row.uncertain)}"] if row.uncertain else []
    if row.unpriced:
        doubts.append('<span title="Some prices are unknown">+&nbsp;?</span>')
    more = f' <span class="doubt">{"&nbsp;".join(doubts)}</span>' if doubts else ""
    return f"{render_money(row.cost)}{more}"


def format_ms(value: float | None) -> str:
    """Return a duration: "420 ms" or "1.25 s"."""
    if value is None:
        return NOTHING
    return f"{value:.0f} ms" if value < _THOUSAND else f"{value / _THOUSAND:,.2f} s"


def render_duration(value: float | None) -> str:
    """Return a duration with its exact value in milliseconds."""
    return NOTHING if value is None else f'<data value="{value:g}">{format_ms(value)}</data>'


def render_text(value: object, otherwise: str = "(none)", *, longest: int = 80) -> str:
    """Return *value* escaped; a text of more than *longest* characters is shortened, with the whole as its tooltip."""
    whole = str(value) or otherwise
    if len(whole) <= longest:
        return escape(whole).replace(":", ":<wbr>")
    return f'<span title="{escape(whole)}">{escape(whole[: longest - 1])}…</span>'


def render_table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    foot: Sequence[str] = (),
    hide_caption: bool = False,
) -> str:
    """Return a table whose first column names the rows. The cells are HTML."""
    head = "".join(f'<th scope="col"{_get_class(column)}>{escape(column.name)}</th>' for column in columns)
    body = "".join(_make_row(columns, row) for row in rows)
    last = f"<tfoot>{_make_row(columns, foot)}</tfoot>" if foot else ""
    hidden = ' class="hidden"' if hide_caption else ""
    label = escape(caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table><caption{hidden}>{label}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>{last}</table></div>"
    )


def _make_row(columns: Sequence[Column], cells: Sequence[Any]) -> str:
    first, *others = zip(columns, cells, strict=True)
    name = f'<th scope="row"{_get_class(first[0])}>{first[1]}</th>'
    return f"<tr>{name}{''.join(f'<td{_get_class(column)}>{cell}</td>' for column, cell in others)}</tr>"


def _get_class(column: Column) -> str:
    names = [name for name, on in (("n", column.is_number), ("w", column.is_wide)) if on]
    return f' class="{" ".join(names)}"' if names else ""
