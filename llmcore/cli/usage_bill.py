"""Print the comparison of a ledger with a bill, as a table and as JSON."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from llmcore.cli.show import Paint, get_terminal_width, note, put
from llmcore.cli.streams import get_stdout
from llmcore.cli.text_table import render_table

if TYPE_CHECKING:
    from llmcore.ledger.reconciliation import Cause, Reconciliation, Row

__all__ = ["print_reconciliation", "to_document"]

_SHOWN: Final = Decimal("0.0001")
"""The smallest amount that four decimals can show, in USD."""
_MOST_PARTS: Final = 4
"""Maximum number of parts that are listed for a cause, and of models whose billed price differs from the ledger's."""
_NARROW: Final = 80
"""A terminal with fewer columns than this has no column of requests and no column of the largest cause."""
_DIVIDED: Final = frozenset(
    {"other_keys", "unbooked", "unpriced", "price", "counts", "fees", "not_billed", "no_usage"}
)
"""The causes whose parts are listed."""
_ADVICE: Final[Mapping[str, str]] = {
    "other_keys": "other keys: calls of keys or projects that api_key_ids does not list; they do not belong in this ledger",
    "unbooked": "not in this ledger: another program or ledger uses the same keys; list in api_key_ids only the keys of this ledger",
    "unpriced": "no price: set it in [prices]",
    "fees": "fees: the vendor bills searches, tools and storage by the use, not by tokens",
    "late": "not billed yet: vendors add to a day for up to 24 hours; compare again later",
    "not_billed": "not billed: the calls went to another organisation or server, or the vendor bills them on another day",
}
"""Cause -> an explanation for the user, and what to do."""


def print_reconciliation(
    name: str,
    result: Reconciliation,
    args: argparse.Namespace,
    format_set_line: Callable[[tuple[str, ...], str], str],
    *,
    is_first: bool,
) -> None:
    """Print the totals, the causes, and with `--by` each day, model or key.

    *format_set_line* returns the command that sets a key of the configuration; see `Settings.format_set_line`.
    """
    paint = Paint.for_stream(get_stdout(), no_color=args.no_color)
    if not is_first:
        put()
    last = result.until - timedelta(days=1)
    period = str(last) if last == result.since else f"{result.since} to {last}"
    put(paint("bold", f"{name}, {period} UTC"))
    booked = f"booked      {_format_plain(result.booked)} USD"
    if result.uncertain:
        booked += f", of which at most {_format_plain(result.uncertain)} uncertain"
    put(booked)
    put(f"billed      {_format_plain(result.billed)} USD")
    put(f"difference  {_format_signed(result.difference)} USD\n")
    if result.causes:
        total = (_format_signed(result.difference), "", "difference")
        put(
            render_table(
                ("USD", "requests", "cause"),
                list(_list_causes(result.causes)),
                paint,
                total=total,
                wrapped=("cause",),
            )
        )
    elif result.rows:
        put("ledger and bill agree, to the last digit")
    else:
        put("neither the ledger nor the bill has anything on these days")
    if args.by:
        put()
        put(_render_parts(result, args.by, paint))
    _print_notes(name, result, format_set_line, by_key=args.by == "key")


def _print_notes(
    name: str, result: Reconciliation, format_set_line: Callable[[tuple[str, ...], str], str], *, by_key: bool
) -> None:
    """Print what to do about the causes, on stderr."""
    if result.billed and not any(row.requests for row in result.rows):
        note(
            f"the ledger has no calls to {name} on these days: another ledger? `llmcore config explain ledger.path`"
        )
    for cause in result.causes:
        if cause.name == "price":
            _print_prices(name, result, format_set_line)
        elif cause.name in _ADVICE:
            note(_ADVICE[cause.name])
    keys = {(total.key, total.group) for total in result.keys if total.own and total.key}
    if len(keys) > 1 and not by_key:
        note(
            f"the bill has {len(keys)} of your keys: `--by key` lists them; "
            f"api_key_ids in [{name}_bill] selects those of this ledger"
        )


def _print_prices(
    name: str, result: Reconciliation, format_set_line: Callable[[tuple[str, ...], str], str]
) -> None:
    """Print each model whose billed price differs from the price in the ledger, and the command that sets the billed price."""
    for each in result.prices[:_MOST_PARTS]:
        price = f"at {each.factor:.4f} times the price" if each.factor else "but has the price 0"
        note(f"another price: {each.model} is billed {price} in the ledger")
        if {"input", "output"} <= each.rates.keys() and each.names:
            rates = ", ".join(f"{key} = {rate:f}" for key, rate in each.rates.items())
            note(
                f"  the billed price: {format_set_line(('prices', f'{name}:{each.names[0]}'), f'{{ {rates} }}')}"
            )


def to_document(name: str, result: Reconciliation, *, is_reconciled: bool) -> dict[str, Any]:
    """Return the comparison for `--json`. Amounts are USD as text, with every digit."""
    return {
        "provider": name,
        "since": str(result.since),
        "until": str(result.until),
        "incomplete": [str(day) for day in result.incomplete],
        "booked": _to_text(result.booked),
        "uncertain": _to_text(result.uncertain),
        "billed": _to_text(result.billed),
        "difference": _to_text(result.difference),
        "unexplained": _to_text(result.unexplained),
        "reconciled": is_reconciled,
        "causes": [
            {
                "cause": cause.name,
                "text": cause.text,
                "amount": _to_text(cause.amount),
                "requests": cause.requests,
                "parts": {part: _to_text(amount) for part, amount in cause.parts.items()},
            }
            for cause in result.causes
        ],
        "prices": [
            {
                "model": each.model,
                "factor": _to_text(each.factor.quantize(_SHOWN)),
                "rates": {key: _to_text(rate) for key, rate in each.rates.items()},
            }
            for each in result.prices
        ],
        "rows": [_make_row_document(row) for row in result.rows],
        "keys": [
            {"key": total.key, "group": total.group, "own": total.own, "billed": _to_text(total.billed)}
            for total in result.keys
        ],
    }


def _make_row_document(row: Row) -> dict[str, Any]:
    return {
        "day": str(row.day),
        "model": row.model or None,
        "tier": row.tier,
        "requests": row.requests,
        "booked": _to_text(row.booked),
        "uncertain": _to_text(row.uncertain),
        "billed": _to_text(row.billed),
        "causes": {cause: _to_text(amount) for cause, amount in row.causes.items()},
    }


def _list_causes(causes: Sequence[Cause]) -> Iterator[Sequence[str]]:
    for cause in causes:
        parts = sorted(cause.parts.items(), key=lambda part: -abs(part[1])) if cause.name in _DIVIDED else []
        text = f"{cause.text}: {parts[0][0]}" if len(parts) == 1 else cause.text
        yield _format_signed(cause.amount), f"{cause.requests:,}" if cause.requests else "", text
        for part, amount in parts[:_MOST_PARTS] if len(parts) > 1 else ():
            yield "", "", f"  {_format_signed(amount)} {part}"
        if len(parts) > _MOST_PARTS:
            rest = sum((amount for _, amount in parts[_MOST_PARTS:]), Decimal(0))
            yield "", "", f"  {_format_signed(rest)} {len(parts) - _MOST_PARTS} more"


def _render_parts(result: Reconciliation, by: str, paint: Paint) -> str:
    if by == "key":
        return _render_keys(result, paint)
    sums: defaultdict[date | str, list[Row]] = defaultdict(list)
    for row in result.rows:
        sums[row.day if by == "day" else row.model or "(fees)"].append(row)
    table = [_render_sum(_name_day(name, result), rows) for name, rows in sums.items()]
    table += [_render_sum("total", result.rows)]
    width = get_terminal_width(get_stdout())
    columns = [0, 1, 2, 3, 4, 5] if width is None or width >= _NARROW else [0, 2, 3, 4]
    headers = (by, "requests", "booked", "billed", "difference", "largest cause")
    *cells, total = [[row[at] for at in columns] for row in table]
    return render_table([headers[at] for at in columns], cells, paint, total=total)


def _render_keys(result: Reconciliation, paint: Paint) -> str:
    cells = [
        (each.key or "(no key)", each.group or "", "yes" if each.own else "no", _format_plain(each.billed))
        for each in result.keys
    ]
    total = ("total", "", "", _format_plain(result.billed))
    return render_table(("key", "project", "yours", "billed"), cells, paint, total=total, whole=("key",))


def _name_day(name: date | str, result: Reconciliation) -> str:
    return f"{name}*" if name in result.incomplete else str(name)


def _render_sum(name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    booked, billed = (
        sum((getattr(row, field) for row in rows), Decimal(0)) for field in ("booked", "billed")
    )
    causes: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        for cause, amount in row.causes.items():
            causes[cause] += amount
    largest = max(causes, key=lambda cause: abs(causes[cause]), default="")
    return (
        name,
        f"{sum(row.requests for row in rows):,}",
        _format_plain(booked),
        _format_plain(billed),
        _format_signed(billed - booked),
        largest.replace("_", " ") if abs(causes[largest]) >= _SHOWN else "",
    )


def _format_plain(amount: Decimal) -> str:
    return f"{amount:,.4f}"


def _format_signed(amount: Decimal) -> str:
    """Return *amount* with its sign; "~0" if it is too small to be shown."""
    if not amount:
        return "0.0000"
    return f"{amount:+,.4f}" if abs(amount) >= _SHOWN / 2 else "~0"


def _to_text(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
