"""The sections of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from html import escape
from typing import Any, Final

from llmcore_dashboard.charts import Series, draw_bars, draw_share
from llmcore_dashboard.listings import render_breakdowns, render_errors, render_latency, render_latest
from llmcore_dashboard.markup import (
    NOTHING,
    Column,
    format_money,
    render_amount,
    render_count,
    render_money,
    render_table,
    render_text,
)
from llmcore_dashboard.report import Bucket, Report

__all__ = ["render_main"]

_OTHERS: Final = "others"
_TITLES: Final = {
    "model": "models",
    "provider": "providers",
    "kind": "kinds",
    "user": "users",
    "key": "API keys",
    "tag": "tags",
}
_STEPS: Final = {"hour": "an hour", "day": "a day", "week": "a week", "month": "a month"}


def render_main(report: Report, *, is_file: bool) -> str:
    """Return the content of the page: figures first, then charts, each with its table."""
    clock = report.format_time(report.now)
    updated = f'<p class="updated">As of <time>{clock}</time>.</p>'
    if report.is_empty and not report.month.requests and not report.month.cached:
        hint = (
            "No calls in this range."
            if not report.view.filters
            else "No calls in this range with these filters."
        )
        return f'{_render_figures(report)}<section class="empty"><h2>{hint}</h2><p>Calls appear here as soon as they end.</p></section>{updated}'
    parts = [
        _render_figures(report),
        _render_budgets(report),
        _render_cost(report),
        render_breakdowns(report, is_file=is_file),
        _render_requests(report),
        render_latency(report),
        render_errors(report),
        render_latest(report),
        updated,
    ]
    return "".join(parts)


# -- figures


def _render_figures(report: Report) -> str:
    total, month = report.total, report.month
    pace = f"Pace: {render_money(report.pace)} by the end of the month" if report.pace else report.month_name
    hits = total.cached / (total.requests + total.cached) if total.cached else 0.0
    cards = [
        ("Today", render_amount(report.today), _render_calls(report.today)),
        ("This month", render_amount(month), pace),
        (report.view.label, render_amount(total), _render_calls(total)),
        (
            "Saved by the cache",
            render_money(total.saved),
            f"{render_count(total.cached)} answers, {hits:.0%} of all calls",
        ),
    ]
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{value}<small>{more}</small></dd></div>"
        for name, value, more in cards
    )
    return f'<section aria-label="Totals"><dl class="cards">{items}</dl>{_render_doubts(total)}</section>'


def _render_calls(row: Any) -> str:
    failed = f", {render_count(row.failures)} failed" if row.failures else ""
    return f"{render_count(row.requests)} request{'' if row.requests == 1 else 's'}{failed}"


def _render_doubts(total: Any) -> str:
    notes = []
    if total.uncertain:
        notes.append(
            f"<b>Uncertain:</b> requests with an unknown outcome, such as cancelled ones, may have cost up to {render_money(total.uncertain)} more. Budgets count this amount."
        )
    if total.unpriced:
        notes.append(
            f"<b>Unpriced:</b> the price of {render_count(total.unpriced)} requests is unknown, so they are not in the cost. Add their model to <code>[prices]</code>."
        )
    return f'<p class="doubts">{" ".join(notes)}</p>' if notes else ""


def _render_budgets(report: Report) -> str:
    if not report.budgets:
        return ""
    rows = []
    for state in report.budgets:
        used = state.spent + state.reserved
        part = float(used / state.limit) if state.limit else 1.0
        pace = NOTHING if state.pace is None else _render_in_unit(state.pace, state.unit)
        if state.pace is not None and state.limit and state.pace > state.limit:
            pace += ' <span class="over">over</span>'
        reset = (
            "never"
            if state.resets_at is None
            else escape(state.resets_at.replace("T", " ").removesuffix(":00Z"))
        )
        rows.append(
            (render_text(state.name), f"{draw_share(part)}<span class=part>{part:.0%}</span>", _render_in_unit(state.spent, state.unit),
             _render_in_unit(state.reserved, state.unit), _render_in_unit(state.limit, state.unit), pace, reset)
        )  # fmt: skip
    columns = [Column("Budget", is_number=False), Column("Used"), Column("Spent"), Column("Reserved", is_wide=True), Column("Limit"),
               Column("Pace"), Column("Resets, UTC", is_wide=True)]  # fmt: skip
    return f"<section><h2>Budgets</h2>{render_table('Budgets, whose periods are in UTC', columns, rows)}</section>"


def _render_in_unit(amount: Decimal, unit: str) -> str:
    if unit == "USD":
        return render_money(amount)
    return f'<data value="{amount:f}">{round(amount):,}</data> {escape(unit)}'


# -- charts


def _render_cost(report: Report) -> str:
    title = f"Cost {_STEPS[report.step]}, by {report.view.group}"
    names = [*report.series, *([None] if report.has_others else [])]
    series = [
        Series(
            _OTHERS if name is None else name,
            "so" if name is None else f"s{at}",
            [_compute_part(bucket, name, report) for bucket in report.buckets],
        )
        for at, name in enumerate(names)
    ]
    labels = [_shorten(bucket.name) for bucket in report.buckets]
    tips = [
        f"{bucket.name}: {format_money(bucket.total.cost)}, {bucket.total.requests:,} requests"
        for bucket in report.buckets
    ]
    chart = draw_bars(title, labels, series, tips, lambda value: format_money(Decimal(repr(value))))
    legend = "".join(
        f'<li><svg class="swatch" viewBox="0 0 10 10" aria-hidden="true"><rect class="{each.style}" width="10" height="10"/></svg>{render_text(each.name)}</li>'
        for each in series
    )
    columns = [Column(report.step.capitalize(), is_number=False), Column("Cost"), Column("Uncertain"), Column("Saved"), Column("Requests"),
               *(Column(_OTHERS if name is None else name or "(none)") for name in names)]  # fmt: skip
    rows = [
        (escape(bucket.name), _render_amount_or_blank(bucket.total.cost), _render_amount_or_blank(bucket.total.uncertain), _render_amount_or_blank(bucket.total.saved),
         f"{bucket.total.requests:,}" if bucket.total.requests else "", *(_render_cell(bucket, name, report) for name in names))
        for bucket in report.buckets
    ]  # fmt: skip
    total = report.total
    foot = ("Total", render_money(total.cost), render_money(total.uncertain), render_money(total.saved), render_count(total.requests),
            *(render_money(_sum_series(report, name)) for name in names))  # fmt: skip
    if total.unpriced and not total.cost:  # explain why the chart is empty
        chart = f'<p class="note">No request in this range has a known price.</p>{chart}'
    return (
        f'<section><h2 id="cost">{escape(title)}</h2>{chart}<ul class="legend">{legend}</ul>'
        f"{_fold('cost-table', render_table(title, columns, rows, foot=foot, hide_caption=True))}</section>"
    )


def _compute_part(bucket: Bucket, name: str | None, report: Report) -> float | None:
    return float(_find_cost(bucket, name, report)) or None


def _find_cost(bucket: Bucket, name: str | None, report: Report) -> Decimal:
    """Return the cost of a series in a bucket. The series None has the cost of all groups without a series."""
    if name is not None:
        row = bucket.parts.get(name)
        cost: Decimal = Decimal(0) if row is None else row.cost
        return cost
    if report.view.group == "tag":  # a call may count for several tags, so total minus series would be wrong
        return Decimal(0)
    rest: Decimal = bucket.total.cost - sum((row.cost for row in bucket.parts.values()), Decimal(0))
    return rest


def _sum_series(report: Report, name: str | None) -> Decimal:
    return sum((_find_cost(bucket, name, report) for bucket in report.buckets), Decimal(0))


def _render_cell(bucket: Bucket, name: str | None, report: Report) -> str:
    return _render_amount_or_blank(_find_cost(bucket, name, report))


def _render_amount_or_blank(amount: Decimal) -> str:
    return render_money(amount, has_tip=False) if amount else ""


def _render_requests(report: Report) -> str:
    title = f"Requests {_STEPS[report.step]}"
    kinds: Mapping[str, tuple[str, Callable[[Any], int]]] = {
        "answered": ("s0", lambda row: row.requests - row.failures),
        "from the cache": ("s2", lambda row: row.cached),
        "failed": ("bad", lambda row: row.failures),
    }
    series = [
        Series(name, style, [get(bucket.total) or None for bucket in report.buckets])
        for name, (style, get) in kinds.items()
    ]
    tips = [
        f"{bucket.name}: {bucket.total.requests:,} requests, {bucket.total.failures:,} failed, {bucket.total.cached:,} from the cache"
        for bucket in report.buckets
    ]
    labels = [_shorten(bucket.name) for bucket in report.buckets]
    chart = draw_bars(
        title, labels, series, tips, lambda value: f"{value:,.0f}" if value == int(value) else ""
    )
    legend = "".join(
        f'<li><svg class="swatch" viewBox="0 0 10 10" aria-hidden="true"><rect class="{style}" width="10" height="10"/></svg>{name}</li>'
        for name, (style, _) in kinds.items()
    )
    columns = [
        Column(report.step.capitalize(), is_number=False),
        Column("Requests"),
        Column("Failed"),
        Column("From the cache"),
        Column("Saved"),
    ]
    rows = [
        (
            escape(bucket.name),
            render_count(bucket.total.requests),
            render_count(bucket.total.failures),
            render_count(bucket.total.cached),
            _render_amount_or_blank(bucket.total.saved),
        )
        for bucket in report.buckets
        if bucket.total.requests or bucket.total.cached
    ]
    total = report.total
    foot = (
        "Total",
        render_count(total.requests),
        render_count(total.failures),
        render_count(total.cached),
        render_money(total.saved),
    )
    return (
        f'<section><h2>{escape(title)}</h2>{chart}<ul class="legend">{legend}</ul>'
        f"{_fold('requests-table', render_table(title, columns, rows, foot=foot, hide_caption=True))}</section>"
    )


def _fold(name: str, content: str) -> str:
    return f'<details id="{name}"><summary>Table</summary>{content}</details>'


def _shorten(name: str) -> str:
    """Return the short name of a bucket for the x axis: "11-25", "14:00"."""
    if "T" in name:
        return f"{name[5:10]} {name[11:16]}"
    return name[5:] if name.count("-") == 2 else name  # noqa: PLR2004 - a date has two hyphens
