"""Retention (DUA): dates in, dates out."""

from __future__ import annotations

from datetime import datetime


def retain_until(start: datetime, years: int) -> datetime:
    """Give the end of a retention of `years` whole years from `start`; 29 February becomes 1 March, never earlier."""
    if years < 1:
        raise ValueError("a retention lasts at least one year")
    try:
        return start.replace(year=start.year + years)
    except ValueError:
        return start.replace(year=start.year + years, month=3, day=1)
