"""The tables of the page: breakdowns of the cost, latency, errors, and the latest requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Any, Final

from llmcore.support.error_texts import summarize_error
from llmcore_dashboard.charts import draw_share
from llmcore_dashboard.markup import (
    NOTHING,
    Column,
    format_ms,
    render_amount,
    render_count,
    render_duration,
    render_money,
    render_table,
    render_text,
)
from llmcore_dashboard.report import Report

__all__ = ["render_breakdowns", "render_errors", "render_latency", "render_latest"]

_MOST_ROWS: Final = 15


def render_breakdowns(report: Report, *, is_file: bool) -> str:
    """Return the tables by model, user, API key and tag."""
    parts: list[tuple[str, Sequence[Any]]] = [
        ("model", report.models),
        ("user", report.users),
        ("key", report.keys),
        ("tag", report.tags),
    ]
    if report.view.group in {"provider", "kind"}:
        parts.insert(0, (report.view.group, report.groups))
    shown = [
        _render_breakdown(report, name, rows, is_file=is_file)
        for name, rows in parts
        if name == "model" or any(row.name for row in rows)
    ]
    return f'<div class="pair">{"".join(shown)}</div>'


def _render_breakdown(report: Report, name: str, rows: Sequence[Any], *, is_file: bool) -> str:
    total = report.total
    sizes = [float(row.cost) for row in rows]
    highest = max(sizes, default=0) or 1.0
    cells = [
        (f"{_render_link(report, name, row.name, is_file=is_file)}{draw_share(size / highest)}", render_amount(row), render_money(row.saved) if row.saved else "",
         render_count(row.requests), _render_tokens(row))
        for row, size in zip(rows[:_MOST_ROWS], sizes, strict=False)
    ]  # fmt: skip
    if len(rows) > _MOST_ROWS and name != "tag":
        rest = report.sum(rows[_MOST_ROWS:])
        cells.append(
            (
                f"{len(rows) - _MOST_ROWS} others",
                render_amount(rest),
                render_money(rest.saved),
                render_count(rest.requests),
                _render_tokens(rest),
            )
        )
    columns = [
        Column(name.capitalize() if name != "key" else "API key", is_number=False),
        Column("Cost"),
        Column("Saved"),
        Column("Requests"),
        Column("Tokens", is_wide=True),
    ]
    foot = (
        (
            "Total",
            render_amount(total),
            render_money(total.saved),
            render_count(total.requests),
            _render_tokens(total),
        )
        if name != "tag"
        else ()
    )
    note = "<p class=note>A call with two tags counts for both.</p>" if name == "tag" else ""
    title = f"By {'API key' if name == 'key' else name}"
    return f"<section><h2>{title}</h2>{render_table(title, columns, cells, foot=foot, hide_caption=True)}{note}</section>"


def _render_tokens(row: Any) -> str:
    return f"{row.input_tokens + row.output_tokens:,}" if row.input_tokens or row.output_tokens else ""


def _render_link(report: Report, name: str, value: str, *, is_file: bool) -> str:
    filters: Mapping[str, str] = dict(report.view.filters)
    if is_file or not value or filters.get(name) == value:
        return render_text(value)
    return f'<a href="{escape(report.view.make_query(**{name: value}))}">{render_text(value)}</a>'


def render_latency(report: Report) -> str:
    """Return the table of latencies, with the percentiles of each model."""
    rows = [row for row in report.models if row.latency_p95_ms is not None]
    if not rows:
        return ""

    def make_cells(name: str, row: Any) -> tuple[str, ...]:
        return (name, render_count(row.requests), render_duration(row.latency_p50_ms), render_duration(row.latency_p95_ms),
                render_duration(row.first_token_p50_ms), render_duration(row.first_token_p95_ms))  # fmt: skip

    highest = max(row.latency_p95_ms for row in rows) or 1.0
    cells = [
        make_cells(f"{render_text(row.name)}{draw_share(row.latency_p95_ms / highest)}", row)
        for row in rows[:_MOST_ROWS]
    ]
    total = report.total
    columns = [Column("Model", is_number=False), Column("Requests", is_wide=True), Column("Median latency"), Column("p95 latency"),
               Column("Median first token"), Column("p95 first token")]  # fmt: skip
    title = "Latency and time to first token"
    summary = (
        f'<p class="note">95 % of the answers took at most {format_ms(total.latency_p95_ms)}; the first token of streams came within '
        f"{format_ms(total.first_token_p95_ms)}.</p>"
    )
    return f"<section><h2>{title}</h2>{summary}{render_table(title, columns, cells, foot=make_cells('All', total), hide_caption=True)}</section>"


def render_errors(report: Report) -> str:
    """Return the table of failed requests, by error."""
    if not report.errors:
        return '<section><h2>Errors</h2><p class="note">No request failed in this range.</p></section>'
    columns = [
        Column("Error", is_number=False),
        Column("Meaning", is_number=False),
        Column("Requests"),
        Column("Share"),
    ]
    rows = [
        (
            render_text(row.name),
            escape(summarize_error(row.name)),
            render_count(row.requests),
            f"{row.requests / max(report.total.requests, 1):.1%}",
        )
        for row in report.errors[:_MOST_ROWS]
    ]
    return f"<section><h2>Errors</h2>{render_table('Errors', columns, rows, hide_caption=True)}</section>"


def render_latest(report: Report) -> str:
    """Return the table of the latest requests, with the reason of each failure."""
    columns = [Column("Time", is_number=False), Column("Model", is_number=False), Column("User", is_number=False, is_wide=True), Column("Outcome", is_number=False),
               Column("Cost"), Column("Latency", is_wide=True), Column("First token", is_wide=True), Column("Tokens", is_wide=True)]  # fmt: skip
    rows = [
        (f"<time>{report.format_time(row['at'])}</time>", render_text(f"{row['provider']}:{row['model']}", longest=40), render_text(row["user"] or "", NOTHING, longest=30), _describe_outcome(row), _describe_cost(row),
         render_duration(row["latency_ms"]), render_duration(row["first_token_ms"]), f"{row['input_tokens'] + row['output_tokens']:,}")
        for row in report.latest
    ]  # fmt: skip
    return f"<section><h2>Latest requests</h2>{render_table('Latest requests', columns, rows, hide_caption=True)}</section>"


def _describe_outcome(row: Mapping[str, Any]) -> str:
    if row["state"] == "done":
        return "answered"
    if row["state"] == "open":
        return "in progress"
    if row["state"] == "lost":
        return '<span class="bad-text">lost</span>: its process died'
    why = summarize_error(row["error"] or "")
    return f'<span class="bad-text">{render_text(row["error"] or "failed")}</span>{": " + escape(why) if why else ""}'


def _describe_cost(row: Mapping[str, Any]) -> str:
    if row["state"] == "open":
        return NOTHING
    if row["cost"] is None:
        return '<span class="doubt">unknown</span>'
    return render_money(Decimal(row["cost"]), prefix="up to " if row["uncertain"] else "")
