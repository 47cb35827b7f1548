"""Lifecycle classes (DUA and sort final): how long documents are kept, from when, and what becomes of them then."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from minutier import retention
from minutier.errors import BadInputError
from minutier.events import Event
from storage import journal
from storage.archive import Archive
from storage.database import Connection

MANAGED, BLIND = "managed", "blind"
KEEP, SORT, DESTROY = "keep", "sort", "destroy"
FROM_DEPOSIT, CALENDAR = "deposit", "calendar"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class LifecycleClass:
    """One class. `disposition` is the final fate; `visa` says whether the archives must agree to a destruction.

    `term` is `deposit`: whole years from the deposit; or `calendar`: to the 1 January that follows those years.
    """

    name: str
    title: str
    years: int
    mode: str = MANAGED
    disposition: str = DESTROY
    term: str = FROM_DEPOSIT
    visa: bool = False

    @property
    def needs_visa(self) -> bool:
        """Say whether a destruction needs the archives' visa: what is to be sorted always does."""
        return self.visa or self.disposition == SORT

    def retain_until(self, start: datetime) -> datetime:
        """Give the end of retention of a document deposited at `start`."""
        if self.term == CALENDAR:
            return retention.retain_until_new_year(start, self.years)
        return retention.retain_until(start, self.years)

    def words(self) -> str:
        """Say what becomes of its documents, in one line."""
        end = "to the 1 January after that" if self.term == CALENDAR else "from the deposit"
        fate = {KEEP: "kept for ever", SORT: "sorted, with a visa", DESTROY: "destroyed"}[self.disposition]
        visa = ", with a visa" if self.visa and self.disposition == DESTROY else ""
        return f"{self.years} years {end}, then {fate}{visa}"


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
    rows = connection.execute("SELECT name, title, years, mode, disposition, term, visa FROM lifecycle_class")
    return sorted((LifecycleClass(**row) for row in rows), key=lambda each: each.name)


def create_class(archive: Archive, wanted: LifecycleClass) -> bool:
    """Create a lifecycle class; False when one with the same terms was there already.

    Raises BadInputError: `BAD_NAME`, `BAD_CLASS` for what no class can be, `CLASS_EXISTS` with other terms.
    """
    _check(wanted)
    with archive.database.transaction() as connection:
        done = connection.execute(
            "INSERT INTO lifecycle_class (name, title, years, mode, disposition, term, visa)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (wanted.name, wanted.title, wanted.years, wanted.mode, wanted.disposition, wanted.term, wanted.visa),
        )
        if done.rowcount:
            details: dict[str, str | int] = {
                "class": wanted.name,
                "years": wanted.years,
                "mode": wanted.mode,
                "fate": wanted.disposition,
                "term": wanted.term,
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
    )
    if not 1 <= wanted.years <= 100 or any(value not in values for value, values in allowed):
        raise BadInputError(
            "BAD_CLASS",
            "A class has 1 to 100 years, the mode managed or blind, the fate keep, sort or destroy,"
            " and its term from the deposit or to the end of the calendar year.",
            remedy="Correct the option.",
        )


def _terms(one: LifecycleClass) -> tuple[object, ...]:
    return one.years, one.mode, one.disposition, one.term, one.visa
