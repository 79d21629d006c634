"""The page: one document that works without scripts and loads no resources."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files
from typing import Final

from llmcore_dashboard.report import Report
from llmcore_dashboard.sections import render_main
from llmcore_dashboard.view import FILTERS, GROUPS, RANGES, STEPS, View

__all__ = ["CSP", "render_fault", "render_page"]

_STYLE: Final = (files(__package__) / "page.css").read_text("utf-8")
_SCRIPT: Final = (files(__package__) / "page.js").read_text("utf-8")
_GROUP_NAMES: Final = {
    "model": "Model",
    "provider": "Provider",
    "kind": "Kind",
    "user": "User",
    "key": "API key",
    "tag": "Tag",
}
_STEP_NAMES: Final = {"auto": "Automatic", "hour": "Hour", "day": "Day", "week": "Week", "month": "Month"}


def _make_policy(*, is_file: bool = False) -> str:
    """Return the Content-Security-Policy. A page in a file has no script. No page may load resources."""
    rules = ["default-src 'none'", f"style-src '{_hash(_STYLE)}'", "img-src data:", "base-uri 'none'"]
    if is_file:
        return "; ".join([*rules, "form-action 'none'"])
    return "; ".join(
        [
            *rules,
            f"script-src '{_hash(_SCRIPT)}'",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


CSP: Final = _make_policy()
"""The Content-Security-Policy of a served page."""


def render_page(report: Report, *, is_file: bool = False, fixed: frozenset[str] = frozenset()) -> str:
    """Return the whole page.

    Args:
        report: The figures.
        is_file: True for a file, which has no links, form or script.
        fixed: Filters that the reader cannot change.
    """
    view = report.view
    controls = "" if is_file else f"{_render_ranges(view)}{_render_form(report, fixed)}"
    body = (
        f'<header class="top"><h1>LLM usage</h1><p class="range">{escape(view.label)} · {report.first} to {report.last} · '
        f"{escape(report.zone.name)}{_render_filters(view, fixed, is_file=is_file)}</p></header>"
        f"{controls}<main>{render_main(report, is_file=is_file)}</main>"
    )
    return _frame("LLM usage", body, is_file=is_file)


def render_fault(title: str, message: str) -> str:
    """Return the page with an error message in place of a report."""
    return _frame(title, f"<main><h1>{escape(title)}</h1><p>{escape(message)}</p></main>", is_file=False)


def _frame(title: str, body: str, *, is_file: bool) -> str:
    policy = (
        f'<meta http-equiv="Content-Security-Policy" content="{_make_policy(is_file=True)}">'
        if is_file
        else ""
    )
    script = "" if is_file else f"<script>{_SCRIPT}</script>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{policy}<title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,"><style>{_STYLE}</style></head>'
        f"<body>{body}{script}</body></html>\n"
    )


def _render_ranges(view: View) -> str:
    links = []
    for name, label in RANGES.items():
        current = ' aria-current="page"' if name == view.range and not view.since else ""
        links.append(f'<a href="{escape(view.make_query(range=name))}"{current}>{label}</a>')
    return f'<nav class="ranges" aria-label="Range">{"".join(links)}</nav>'


def _render_form(report: Report, fixed: frozenset[str]) -> str:
    view, chosen = report.view, dict(report.view.filters)
    known = {
        "model": [row.name for row in report.models],
        "user": [row.name for row in report.users],
        "key": [row.name for row in report.keys],
        "tag": [row.name for row in report.tags],
    }
    fields = [
        _render_select(
            "group",
            "Divide by",
            {name: _GROUP_NAMES[name] for name in GROUPS if name not in fixed},
            view.group,
        ),
        _render_select("step", "Bars", {name: _STEP_NAMES[name] for name in STEPS}, view.step),
    ]
    for name in ("model", "user", "key", "tag"):
        values = sorted({*known[name], chosen.get(name, "")} - {""})
        if values and name not in fixed:
            options = {"": "All", **{value: value for value in values}}
            fields.append(_render_select(name, _GROUP_NAMES[name], options, chosen.get(name, "")))
    kept = {"range": view.range, "since": view.since, "until": view.until, "zone": view.zone}
    kept.update((name, value) for name, value in chosen.items() if name in {"provider", "kind"} - fixed)
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in kept.items()
        if value
    )
    return f'<form class="filters" method="get" aria-label="View">{hidden}{"".join(fields)}<button>Apply</button></form>'


def _render_select(name: str, label: str, options: dict[str, str], chosen: str) -> str:
    items = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(shown[:60])}</option>'
        for value, shown in options.items()
    )
    return f'<label>{label}<select name="{name}">{items}</select></label>'


def _render_filters(view: View, fixed: frozenset[str], *, is_file: bool) -> str:
    shown = []
    for name, value in view.filters:
        assert name in FILTERS  # noqa: S101 - `parse_view` has checked the names
        label = f"{_GROUP_NAMES[name]}: <b>{escape(value[:80])}</b>"
        if name not in fixed and not is_file:
            label += f' <a href="{escape(view.make_query(**{name: ""}))}" aria-label="Remove the filter {name}">&times;</a>'
        shown.append(f'<span class="chip">{label}</span>')
    return f" · {' '.join(shown)}" if shown else ""
