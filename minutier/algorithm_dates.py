"""Until when an algorithm counts: data, not code (docs/format/algorithm-dates-v1.md; after ETSI TS 119 312)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from importlib import resources

FORMAT = "minutier-algorithm-dates/1"
FILE_NAME = "algorithms.json"


@dataclass(frozen=True)
class AlgorithmDates:
    """For each algorithm the moment from which it no longer counts, None without known end; absent is refused."""

    source: str
    ends: Mapping[str, datetime | None]

    def end_of(self, names: Iterable[str]) -> datetime | None:
        """Give the first end among the named algorithms: None when none ends, the beginning of time for an absent one.

        What rests on several algorithms stands as long as all of them do.
        """
        ends = [self.ends[name] if name in self.ends else datetime.min.replace(tzinfo=UTC) for name in names]
        return min((end for end in ends if end is not None), default=None)

    def ended(self, names: Iterable[str], at: datetime) -> list[str]:
        """Give, sorted, which of the named algorithms no longer count at a time."""
        return sorted(name for name in set(names) if (end := self.end_of([name])) is not None and end <= at)


def parse_dates(data: bytes) -> AlgorithmDates:
    """Read a list of dates; ValueError when it is not of the format."""
    found = json.loads(data)
    if not isinstance(found, dict) or set(found) != {"format", "source", "ends"} or found["format"] != FORMAT:
        raise ValueError(f"not of the format {FORMAT}")
    if not isinstance(found["source"], str) or not isinstance(found["ends"], dict):
        raise ValueError("source is a text and ends an object")
    return AlgorithmDates(found["source"], {name: _day(value) for name, value in found["ends"].items()})


def _day(value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("an end is a day or null")
    return datetime.combine(date.fromisoformat(value), time(), UTC)


def published_dates() -> AlgorithmDates:
    """Give the dates that this release comes with."""
    return parse_dates(resources.files("minutier").joinpath("algorithm_dates.json").read_bytes())
