"""Time zones of reports: when a day begins, and when the offset from UTC changes."""

from __future__ import annotations

import calendar
import functools
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Final

from llmcore.errors import LedgerError
from llmcore.support.utc_offsets import find_offsets, get_local_offset

if TYPE_CHECKING:
    from llmcore.ledger.usage import When, Zone

__all__ = ["ReportZone", "find_zone"]

_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAY_S: Final = 86400
_LATEST_S: Final = 7_258_118_400
"""The start of the year 2200, in seconds since 1970. Later moments get the offset from UTC of this one."""
_MONTHS: Final = 12


class ReportZone:
    """A time zone.

    Args:
        name: The name to display.
        get_offset: Takes seconds since 1970. Returns the offset from UTC at that time, in seconds.
    """

    def __init__(self, name: str, get_offset: Callable[[float], int]) -> None:
        self.name = name
        """The name to display."""
        self._get_offset = get_offset

    def get_offset(self, at: float) -> int:
        """Return the offset from UTC in seconds at the moment *at*."""
        return self._get_offset(min(max(at, 0.0), _LATEST_S))

    def find_instant(self, local: float) -> float:
        """Return the first moment at which a clock of the zone shows *local*.

        If the clock skips this time, the result is computed with the offset from UTC before the change. *local* is in
        seconds since 1970-01-01 00:00 of the clock.
        """
        before, after = self.get_offset(local - _DAY_S), self.get_offset(local + _DAY_S)
        for offset in (max(before, after), min(before, after)):
            if self.get_offset(local - offset) == offset:
                return local - offset
        return local - before

    def find_date(self, at: float) -> date:
        """Return the date that a clock of the zone shows at the moment *at*."""
        return date.fromordinal(_EPOCH + int((at + self.get_offset(at)) // _DAY_S))

    def find_start(self, day: date) -> float:
        """Return the moment at which *day* begins."""
        return self.find_instant((day.toordinal() - _EPOCH) * _DAY_S)

    def find_month(self, text: str, now: float) -> tuple[float, float]:
        """Return the start and the end of a month: "2026-10", "this-month" or "last-month".

        Raises:
            LedgerError: *text* is not a month.
        """
        today = self.find_date(now)
        if text in {"this-month", "last-month"}:
            months = today.year * _MONTHS + today.month - 1 - (text == "last-month")
            year, month = divmod(months, _MONTHS)
        else:
            try:
                moment = time.strptime(text, "%Y-%m")
            except ValueError:
                moment = None
            if moment is None:
                raise LedgerError(
                    f"a month must be YYYY-MM, this-month or last-month, got {text!r}",
                    where="--month",
                    expected=f"a month such as {today:%Y-%m}",
                    fix="llmcore usage --month last-month",
                )
            year, month = moment.tm_year, moment.tm_mon - 1
        following = divmod(year * _MONTHS + month + 1, _MONTHS)
        return (
            self.find_start(date(year, month + 1, 1)),
            self.find_start(date(following[0], following[1] + 1, 1)),
        )

    def to_timestamp(self, when: When) -> float | None:
        """Return *when* in seconds since 1970; None for no bound. Dates and times without an offset are local.

        Raises:
            LedgerError: *when* is not a time.
        """
        moment: float | None = None
        match when:
            case None:
                pass
            case timedelta():
                moment = time.time() - when.total_seconds()
            case datetime(tzinfo=None):
                moment = self.find_instant(calendar.timegm(when.timetuple()) + when.microsecond / 1e6)
            case datetime():
                moment = when.timestamp()
            case date():
                moment = self.find_start(when)
            case str():
                moment = self._parse(when)
            case _:
                moment = float(when)
        return moment

    def _parse(self, text: str) -> float | None:
        from llmcore.units import Duration

        try:
            return self.to_timestamp(datetime.fromisoformat(text))
        except ValueError:
            pass
        try:
            return time.time() - Duration.parse(text)
        except ValueError:
            pass
        raise LedgerError(
            f"a time must be a date, ISO 8601 or a duration before now, got {text!r}",
            expected='a date such as "2026-11-25", or a duration such as "7d"',
        )

    def find_offsets(self, since: float, until: float) -> Sequence[tuple[int, int]]:
        """See `utc_offsets.find_offsets`."""
        return find_offsets(self.get_offset, since, until)

    def format_hour(self, start: int) -> str:
        """Return the hour that begins at the moment *start* with its offset: "2026-10-25T02:00+02:00"."""
        zone = timezone(timedelta(seconds=self.get_offset(start)))
        return datetime.fromtimestamp(start, zone).isoformat(timespec="minutes")


def find_zone(zone: Zone = None) -> ReportZone:
    """Return a zone: a name such as "Europe/Berlin", a `tzinfo`, or None for the zone of this machine.

    Raises:
        LedgerError: The zone is unknown.
    """
    if zone is None:
        return ReportZone(f"local time ({time.strftime('%Z')})", get_local_offset)
    if isinstance(zone, str):
        return _find_named_zone(zone)
    return ReportZone(str(zone), functools.partial(_get_offset, zone))


def _find_named_zone(name: str) -> ReportZone:
    if name.upper() == "UTC":
        return ReportZone("UTC", lambda _: 0)
    import zoneinfo

    try:
        zone = zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        zone = None
    if zone is None:
        from difflib import get_close_matches

        known = zoneinfo.available_timezones()
        near = get_close_matches(name, known, 1)
        raise LedgerError(
            f"unknown time zone `{name}`",
            where="argument `zone`",
            expected="a name such as Europe/Berlin, or UTC",
            suggestion=near[0] if near else None,
            fix="pip install tzdata" if not known else None,
        )
    return ReportZone(name, functools.partial(_get_offset, zone))


def _get_offset(zone: tzinfo, at: float) -> int:
    offset = datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())
