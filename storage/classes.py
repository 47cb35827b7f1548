"""Lifecycle classes (DUA and sort final): how long documents are kept, from when, and what becomes of them then."""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, time, timedelta

from minutier import retention
from minutier.errors import BadInputError
from minutier.events import Event
from storage import journal
from storage.archive import Archive
from storage.database import Connection

MANAGED, BLIND = "managed", "blind"
KEEP, SORT, DESTROY = "keep", "sort", "destroy"
FROM_DEPOSIT, CALENDAR = "deposit", "calendar"
ON_EVENT = "event"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class LifecycleClass:
    """One class. `disposition` is the final fate; `visa` says whether the archives must agree to a destruction.

    `term` is `deposit`: whole years; or `calendar`: to the 1 January that follows those years. `starts` says from when
    they run: the `deposit`, or an `event` that is declared later (storage/terms.py). The first `active_years` of them
    are the active period (DUC), the others the intermediate one; together they are the DUA.
    """

    name: str
    title: str
    years: int
    mode: str = MANAGED
    disposition: str = DESTROY
    term: str = FROM_DEPOSIT
    visa: bool = False
    active_years: int = 0
    starts: str = FROM_DEPOSIT

    @property
    def needs_visa(self) -> bool:
        """Say whether a destruction needs the archives' visa: what is to be sorted always does."""
        return self.visa or self.disposition == SORT

    def retain_until(self, start: datetime) -> datetime:
        """Give the end of retention of a document deposited at `start`."""
        if self.term == CALENDAR:
            return retention.retain_until_new_year(start, self.years)
        return retention.retain_until(start, self.years)

    def retain_after(self, event_on: date) -> datetime:
        """Give the end of a retention that runs from the end of the day of an event, at 24 h UTC."""
        if self.term == CALENDAR:
            return self.retain_until(datetime.combine(event_on, time(), UTC))
        return self.retain_until(end_of(event_on))

    def active_until(self, start: datetime) -> datetime:
        """Give the end of the active period that began at `start`; `start` itself where there is none."""
        return retention.retain_until(start, self.active_years) if self.active_years else start

    def words(self) -> str:
        """Say what becomes of its documents, in one line."""
        end = "from the event" if self.starts == ON_EVENT else "from the deposit"
        if self.term == CALENDAR:
            end = f"{end if self.starts == ON_EVENT else ''} to the 1 January after that".strip()
        active = f" ({self.active_years} active)" if self.active_years else ""
        fate = {KEEP: "kept for ever", SORT: "sorted, with a visa", DESTROY: "destroyed"}[self.disposition]
        visa = ", with a visa" if self.visa and self.disposition == DESTROY else ""
        return f"{self.years} years{active} {end}, then {fate}{visa}"


def end_of(day: date) -> datetime:
    """Give the end of a day, 24 h UTC: a term that runs from an event owes the whole day of its anniversary."""
    return datetime.combine(day, time(), UTC) + timedelta(days=1)


def get_class(connection: Connection, name: str) -> LifecycleClass:
    """Give a lifecycle class; BadInputError (`UNKNOWN_CLASS`) names the known ones."""
    known = {each.name: each for each in all_classes(connection)}
    if name not in known:
        raise BadInputError(
            "UNKNOWN_CLASS",
            f"There is no lifecycle class {name!r}.",
            remedy=f"Use one of: {', '.join(known)}; or make it: minutier class create NAME --years N",
        )
    return known[name]


def all_classes(connection: Connection) -> list[LifecycleClass]:
    """Give every class, by name."""
    rows = connection.execute(
        "SELECT name, title, years, mode, disposition, term, visa, active_years, starts FROM lifecycle_class"
    )
    return sorted((LifecycleClass(**row) for row in rows), key=lambda each: each.name)


def create_class(archive: Archive, wanted: LifecycleClass) -> bool:
    """Create a lifecycle class; False when one with the same terms was there already.

    Raises BadInputError: `BAD_NAME`, `BAD_CLASS` for what no class can be, `CLASS_EXISTS` with other terms.
    """
    _check(wanted)
    with archive.database.transaction() as connection:
        done = connection.execute(
            "INSERT INTO lifecycle_class (name, title, years, mode, disposition, term, visa, active_years, starts)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            astuple(wanted),
        )
        if done.rowcount:
            details: dict[str, str | int] = {
                "class": wanted.name,
                "years": wanted.years,
                "mode": wanted.mode,
                "fate": wanted.disposition,
                "term": wanted.term,
                "starts": wanted.starts,
                "active_years": wanted.active_years,
                "visa": "required" if wanted.needs_visa else "none",
            }
            journal.append(connection, Event.CLASS_CREATED, archive.clock(), details=details)
            return True
        known = get_class(connection, wanted.name)
    if _terms(known) != _terms(wanted):
        raise BadInputError(
            "CLASS_EXISTS",
            f"There is a class {wanted.name!r} with other terms: {known.words()}.",
            remedy="`minutier class list` shows them. Terms never change: make a class of another name.",
        )
    return False


def _check(wanted: LifecycleClass) -> None:
    if not _NAME.fullmatch(wanted.name):
        raise BadInputError(
            "BAD_NAME",
            f"{wanted.name!r} cannot name a class.",
            remedy="Use small letters, digits and hyphens, 63 at most.",
        )
    allowed = (
        (wanted.mode, (MANAGED, BLIND)),
        (wanted.disposition, (KEEP, SORT, DESTROY)),
        (wanted.term, (FROM_DEPOSIT, CALENDAR)),
        (wanted.starts, (FROM_DEPOSIT, ON_EVENT)),
    )
    active = 0 <= wanted.active_years <= wanted.years
    if not active or not 1 <= wanted.years <= 100 or any(value not in values for value, values in allowed):
        raise BadInputError(
            "BAD_CLASS",
            "A class has 1 to 100 years, no more of them active than that, the mode managed or blind, the fate keep,"
            " sort or destroy, a term from the deposit or an event, and whole years or the end of the calendar year.",
            remedy="Correct the option.",
        )


def _terms(one: LifecycleClass) -> tuple[object, ...]:
    return astuple(one)[2:]
