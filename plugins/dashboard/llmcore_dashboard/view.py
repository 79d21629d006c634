"""A view of the page as encoded in the URL: range, group, step, zone and filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

__all__ = ["FILTERS", "GROUPS", "RANGES", "STEPS", "View", "ViewError", "parse_view"]

RANGES: Final[Mapping[str, str]] = {
    "today": "Today",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "this-month": "This month",
    "last-month": "Last month",
}
"""Name in the URL -> text on the page. Ranges of days include today."""
GROUPS: Final = ("model", "provider", "kind", "user", "key", "tag")
STEPS: Final = ("auto", "hour", "day", "week", "month")
FILTERS: Final = ("model", "provider", "kind", "user", "key", "tag")
_MOST_PARTS: Final = 50
_OTHERS: Final = ("range", "since", "until", "group", "step", "zone")


class ViewError(Exception):
    """The URL is not valid. The message says why."""


class View(NamedTuple):
    """The settings of the page."""

    range: str = "30d"
    """One of RANGES. `since` overrides it."""
    since: str = ""
    """The first day, such as "2026-11-01"; empty if `range` applies."""
    until: str = ""
    """The end of the range, exclusive; empty for no end."""
    group: str = "model"
    """The dimension that divides the chart of cost."""
    step: str = "auto"
    """The length of a bar of the charts."""
    zone: str = ""
    """The time zone; empty for the zone of the machine."""
    filters: tuple[tuple[str, str], ...] = ()
    """Names from FILTERS with the required values."""

    @property
    def label(self) -> str:
        """The range as text."""
        if self.since:
            return f"From {self.since}" + (f" to before {self.until}" if self.until else "")
        return RANGES[self.range]

    def make_query(self, **changes: str) -> str:
        """Return the URL query of this view with *changes*: "?range=7d&model=...". Empty text removes a filter."""
        parts = {**self._asdict(), **dict(self.filters)}
        del parts["filters"]
        if "range" in changes:
            parts["since"] = parts["until"] = ""
        parts.update(changes)
        defaults = View()._asdict()
        shown = [(name, value) for name, value in parts.items() if value and value != defaults.get(name)]
        return "?" + urlencode(shown)


def parse_view(query: str, *, fixed: Mapping[str, str] | None = None) -> View:
    """Return the view of a query such as "range=7d&group=user".

    Args:
        query: The part of the address after the question mark.
        fixed: Filters that the address cannot change.

    Raises:
        ViewError: A name or a value is unknown, a name occurs twice, or there are too many parts.
    """
    if query.count("&") >= _MOST_PARTS:
        raise ViewError(f"the address has more than {_MOST_PARTS} parts")
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OTHERS and name not in FILTERS:
            raise ViewError(
                f"unknown part `{name}` of the address; known are {', '.join((*_OTHERS, *FILTERS))}"
            )
        if name in given:
            raise ViewError(f"`{name}` is in the address twice")
        if value:
            given[name] = value
    _check(given, "range", tuple(RANGES))
    _check(given, "group", GROUPS)
    _check(given, "step", STEPS)
    if "until" in given and "since" not in given:
        raise ViewError("`until` needs `since`, the first day")
    chosen = {name: given.pop(name) for name in FILTERS if name in given}
    filters = chosen | dict(fixed or {})
    return View(**given, filters=tuple(sorted(filters.items())))


def _check(given: Mapping[str, str], name: str, known: Sequence[str]) -> None:
    if given.get(name, known[0]) not in known:
        raise ViewError(f"`{name}` must be one of {', '.join(known)}, got {given[name][:40]!r}")
