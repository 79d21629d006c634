"""Read the figures of a view from the ledger. All figures come from `core.usage.by`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.errors import LedgerError
from llmcore_dashboard.view import View, ViewError

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["Bucket", "Report", "read_report"]

_MOST_SERIES: Final = 6
"""The number of groups with a separate series. All other groups share the series "others"."""
_MOST_BUCKETS: Final = 200
_LATEST: Final = 12
_HALF_HOUR_S: Final = 1800
_HOUR_S: Final = 3600
_STEPS: Final = (("hour", _HOUR_S), ("day", 24 * _HOUR_S), ("week", 168 * _HOUR_S), ("month", 730 * _HOUR_S))
_AUTO_HOURS_S: Final = 50 * _HOUR_S
"""The longest range, in seconds, for which the step "auto" draws hourly bars."""
_FIRST_PART: Final = 0.01
"""The page estimates the cost of the month only after this fraction of the month has passed."""


class Bucket(NamedTuple):
    """One bar of the charts."""

    name: str
    total: Any
    """The sums of the bucket; all 0 if it has no calls."""
    parts: dict[str, Any]
    """Name of a series -> the sums of the series in this bucket."""


class Report(NamedTuple):
    """The figures of one page. Rows come from `core.usage.by`."""

    view: View
    zone: Any
    """The time zone; see `core.usage.zone`."""
    sum: Callable[[Sequence[Any]], Any]
    """The function `core.usage.sum`."""
    now: float
    step: str
    first: str
    """The first and the last day of the range."""
    last: str
    today: Any
    month: Any
    month_name: str
    pace: Decimal | None
    """The cost at the end of this month if spending continues as before."""
    total: Any
    """The sum of the range, with percentiles."""
    buckets: Sequence[Bucket]
    series: Sequence[str]
    """The groups of the chart, the most expensive first."""
    has_others: bool
    groups: Sequence[Any]
    models: Sequence[Any]
    """The rows by model, with percentiles."""
    users: Sequence[Any]
    keys: Sequence[Any]
    tags: Sequence[Any]
    errors: Sequence[Any]
    latest: Sequence[dict[str, Any]]
    budgets: Sequence[Any]

    @property
    def is_empty(self) -> bool:
        """True if the range has no requests and no cache hits."""
        return not (self.total.requests or self.total.cached)

    def format_time(self, at: float) -> str:
        """Return a time (seconds since 1970) as local time of the zone."""
        zone = timezone(timedelta(seconds=self.zone.get_offset(at)))
        return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M:%S}"


def read_report(core: Core, view: View, now: float | None = None) -> Report:
    """Return the figures of *view*.

    Raises:
        ViewError: The view has a zone or a day that does not exist, or a range that is too long.
        LedgerError: The ledger cannot be read.
    """
    usage, now = core.usage, time.time() if now is None else now
    filters: dict[str, Any] = dict(view.filters)
    zone_name = view.zone or core.table("dashboard").zone or None
    zone, start, end = _find_range(usage, view, zone_name, now)
    step = _choose_step(view.step, end - start)
    bounds: dict[str, Any] = {"since": start, "until": end, "zone": zone_name, **filters}

    def read(*group: Any, **more: Any) -> list[Any]:
        return usage.by(group, **{**bounds, **more})

    chart = _read_chart(usage, read, step, view.group, _list_steps(zone, step, start, min(end, now)))
    month = _read_month(usage, read, zone, now)
    models, users = read("model", percentiles=True), read("user")
    # Do not sum the cells of the chart: a call with two tags has two cells, and would count twice.
    total = next(iter(read("total", percentiles=True)), None) or usage.sum(models)
    return Report(
        view=view,
        zone=zone,
        sum=usage.sum,
        now=now,
        step=step,
        first=zone.find_date(start).isoformat(),
        last=zone.find_date(min(end, now) - 1).isoformat(),
        today=month.today,
        month=month.total,
        month_name=month.name,
        pace=month.pace,
        total=total,
        buckets=chart.buckets,
        series=chart.series,
        has_others=len(chart.groups) > len(chart.series),
        groups=chart.groups,
        models=sorted(models, key=_rank),
        users=sorted(users, key=_rank),
        keys=_find_keys(core, users),
        tags=sorted(read("tag"), key=_rank),
        errors=sorted(read("error"), key=lambda row: (-row.requests, row.name)),
        latest=usage.latest(_LATEST, **bounds),
        budgets=_find_budgets(usage.budgets(), filters),
    )


class _Chart(NamedTuple):
    buckets: list[Bucket]
    series: list[str]
    groups: list[Any]


class _Month(NamedTuple):
    name: str
    today: Any
    total: Any
    pace: Decimal | None


def _find_range(usage: Any, view: View, zone_name: str | None, now: float) -> tuple[Any, float, float]:
    """Return the time zone, and the start and the end of the range.

    Raises:
        ViewError: The zone or a day does not exist.
    """
    try:
        zone = usage.zone(zone_name)
        return (zone, *_find_bounds(view, zone, now))
    except LedgerError as error:
        fault = ViewError(error.message)
    except ValueError:
        fault = ViewError("`since` and `until` must be days")
    raise fault


def _read_chart(
    usage: Any, read: Callable[..., list[Any]], step: str, group: str, names: Sequence[str]
) -> _Chart:
    """Return the bars called *names*, and their series."""
    cells = read(step, group)
    by_step = _sum_by(usage, cells, 0) if group != "tag" else {row.key[0]: row for row in read(step)}
    groups = sorted(_sum_by(usage, cells, 1).values(), key=_rank)
    series = [row.name for row in groups[:_MOST_SERIES] if row.cost or row.uncertain or row.requests]
    return _Chart(_make_buckets(usage, cells, by_step, series, names), series, groups)


def _read_month(usage: Any, read: Callable[..., list[Any]], zone: Any, now: float) -> _Month:
    start, end = zone.find_month("this-month", now)
    today = zone.find_date(now)
    days = {row.key[0]: row for row in read("day", since=start, until=None)}
    total = usage.sum(row for row in days.values())
    part = (now - start) / (end - start)
    return _Month(
        name=f"{today:%B %Y}",
        today=days.get(today.isoformat()) or usage.sum([]),
        total=total,
        pace=None if part < _FIRST_PART else (total.cost / Decimal(part)).quantize(Decimal("1e-9")),
    )


def _find_bounds(view: View, zone: Any, now: float) -> tuple[float, float]:
    if view.since:
        start = zone.find_start(date.fromisoformat(view.since))
        end = zone.find_start(date.fromisoformat(view.until)) if view.until else float("inf")
        tomorrow = zone.find_start(zone.find_date(now) + timedelta(days=1))
        return start, max(min(end, tomorrow), start + 1)
    if view.range.endswith("-month"):
        bounds: tuple[float, float] = zone.find_month(view.range, now)
        return bounds
    days = 1 if view.range == "today" else int(view.range.removesuffix("d"))
    today = zone.find_date(now)
    return (
        zone.find_start(today - timedelta(days=days - 1)),
        zone.find_start(today + timedelta(days=1)),
    )


def _choose_step(step: str, length_s: float) -> str:
    """Return *step*, or a longer step if the range would have too many bars.

    Raises:
        ViewError: The range has too many months.
    """
    if step == "auto":
        step = "hour" if length_s <= _AUTO_HOURS_S else "day"
    names = [name for name, _ in _STEPS]
    for name, seconds in _STEPS[names.index(step) :]:
        if length_s / seconds <= _MOST_BUCKETS:
            return name
    raise ViewError(f"the range is too long: at most {_MOST_BUCKETS} months; choose a later `since`")


def _list_steps(zone: Any, step: str, start: float, end: float) -> list[str]:
    """Return the names of all buckets between two moments, in the form of `core.usage.by`."""
    if step == "hour":
        # Look at each half hour: where clocks change by half an hour (Australia/Lord_Howe), an hour may be
        # half as long.
        moments = range(int(start), int(end), _HALF_HOUR_S)
        return list(dict.fromkeys(zone.format_hour(_find_hour(zone, moment)) for moment in moments))
    first, last = zone.find_date(start), zone.find_date(max(end - 1, start))
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    if step == "day":
        return [day.isoformat() for day in days]
    if step == "week":
        return list(dict.fromkeys("{}-W{:02}".format(*day.isocalendar()[:2]) for day in days))
    return list(dict.fromkeys(f"{day:%Y-%m}" for day in days))


def _find_hour(zone: Any, at: int) -> int:
    """Return the start of the local clock hour that contains the moment *at*. The ledger computes the same hours."""
    offset: int = zone.get_offset(at)
    return (at + offset) // _HOUR_S * _HOUR_S - offset


def _make_buckets(
    usage: Any, cells: Sequence[Any], by_step: dict[str, Any], series: Sequence[str], names: Sequence[str]
) -> list[Bucket]:
    parts: dict[str, dict[str, Any]] = {}
    for row in cells:
        if row.key[1] in series:
            parts.setdefault(row.key[0], {})[row.key[1]] = row
    nothing = usage.sum([])
    order = dict.fromkeys([*names, *by_step])
    return [Bucket(name, by_step.get(name, nothing), parts.get(name, {})) for name in order]


def _sum_by(usage: Any, rows: Sequence[Any], place: int) -> dict[str, Any]:
    """Return the sums of *rows* by the dimension at the index *place*, in the order of the rows."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.key[place], []).append(row)
    return {name: usage.sum(each, name) for name, each in found.items()}


def _find_keys(core: Core, users: Sequence[Any]) -> list[Any]:
    """Return the rows of *users* that are API keys, and one row with the sum of all other users.

    Return an empty list if no user is an API key.
    """
    names = {key.name for key in core.keys.list_keys()} if any(row.name for row in users) else set()
    found = [row for row in users if row.name in names]
    others = [row for row in users if row.name not in names]
    if found and others:
        found.append(core.usage.sum(others, ""))
    return sorted(found, key=_rank)


def _find_budgets(states: Sequence[Any], filters: dict[str, Any]) -> list[Any]:
    """Return the budgets that have a limit and count only calls that pass the filters."""
    scopes = ("model", "tag", "user")
    return [
        state
        for state in states
        if state.limit is not None
        and all(getattr(state, name) == filters[name] for name in scopes if name in filters)
    ]


def _rank(row: Any) -> Any:
    return -row.cost, -row.uncertain, -row.requests, row.name
