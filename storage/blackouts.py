"""Blackout windows: times when scheduled work that can wait a night does not begin (a migration, office hours)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = r"([01]\d|2[0-3]):([0-5]\d)"
_WEEKLY = re.compile(rf"(?:((?:{'|'.join(_DAYS)})(?:[-+](?:{'|'.join(_DAYS)}))*) )?{_CLOCK}-{_CLOCK}\Z")
_ONCE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)/(\d{4}-\d\d-\d\dT\d\d:\d\d)\Z")
_FORMS = "write `[mon-fri ]08:00-18:00`, `sat+sun 00:00-12:00` or `2026-12-24T12:00/2026-12-26T06:00`"


@dataclass(frozen=True, slots=True)
class Blackout:
    """One window, in the time zone of the instance: from `begins` to `ends`, or on `days` (0: Monday) by the clock."""

    text: str
    begins: datetime | None = None
    ends: datetime | None = None
    days: frozenset[int] = frozenset()
    from_clock: time = time()
    to_clock: time = time()

    def end(self, moment: datetime) -> datetime | None:
        """Give the end of the window in which a local time (without zone) falls; None outside."""
        if self.begins is not None and self.ends is not None:
            return self.ends if self.begins <= moment < self.ends else None
        for day in (moment.date(), moment.date() - timedelta(days=1)):
            begins, ends = self._on(day)
            if day.weekday() in self.days and begins <= moment < ends:
                return ends
        return None

    def _on(self, day: date) -> tuple[datetime, datetime]:
        # A window that ends by the clock before it begins ends on the next day.
        last = day if self.to_clock > self.from_clock else day + timedelta(days=1)
        return datetime.combine(day, self.from_clock), datetime.combine(last, self.to_clock)


def parse(text: str) -> Blackout:
    """Read one window; ValueError says the forms."""
    if found := _ONCE.match(text):
        try:
            begins, ends = (datetime.fromisoformat(each) for each in found.groups())
        except ValueError as error:
            raise ValueError(f"{text!r} names a day that is not: {_FORMS}") from error
        if begins >= ends:
            raise ValueError(f"{text!r} ends before it begins")
        return Blackout(text, begins, ends)
    if found := _WEEKLY.match(text):
        days, *clock = found.groups()
        from_clock, to_clock = time(int(clock[0]), int(clock[1])), time(int(clock[2]), int(clock[3]))
        return Blackout(text, days=_days(days), from_clock=from_clock, to_clock=to_clock)
    raise ValueError(f"{text!r} is no blackout: {_FORMS}")


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split("+"):
        names = part.split("-")
        first, last = _DAYS.index(names[0]), _DAYS.index(names[-1])
        found |= {(first + step) % 7 for step in range((last - first) % 7 + 1)}
    return frozenset(found)


def standing(windows: tuple[str, ...], moment: datetime) -> datetime | None:
    """Give until when the blackout lasts in which a local time (without zone) falls; None outside of all."""
    ends = [end for window in windows if (end := parse(window).end(moment)) is not None]
    return max(ends, default=None)
