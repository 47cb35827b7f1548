"""Retention (DUA): dates in, dates out."""

from __future__ import annotations

from datetime import UTC, datetime


def retain_until(start: datetime, years: int) -> datetime:
    """Give the end of a retention of `years` whole years from `start`; 29 February becomes 1 March, never earlier."""
    if years < 1:
        raise ValueError("a retention lasts at least one year")
    try:
        return start.replace(year=start.year + years)
    except ValueError:
        return start.replace(year=start.year + years, month=3, day=1)


def retain_until_new_year(start: datetime, years: int) -> datetime:
    """Give the 1 January, 0 h UTC, that follows `years` whole years from `start`.

    Five years of a registration file deposited in 2026 end on 1 January 2032, counted by the calendar.
    """
    end = retain_until(start, years).astimezone(UTC)
    return datetime(end.year + 1, 1, 1, tzinfo=UTC)
