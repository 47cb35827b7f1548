"""Deposits that wait, and why: for a time-stamp, or too long for their full lock. Lists and pages say it from here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from minutier.errors import IntegrityFailureError, MinutierError, ServiceUnavailableError
from minutier.events import Event, format_time
from storage.archive import Archive
from storage.database import Connection

# Longer than a deposit run may last (flows/deposit.py): what has not moved since is in nobody's hands.
_LEFT_BEHIND = timedelta(minutes=65)
# The short lock of a committed deposit lasts for days (`staging_days`): there is time to act, and it must be used.
_LOCKED_WITHIN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a sealed deposit has no time-stamp yet: a code, a sentence, the first time and the last one."""

    code: str
    reason: str
    since: datetime
    tried_at: datetime

    def as_dict(self) -> dict[str, str]:
        """Give what `minutier list --json` shows."""
        return {"code": self.code, "reason": self.reason, "since": format_time(self.since)}


@contextmanager
def noted(archive: Archive, archive_ids: Sequence[str]) -> Iterator[None]:
    """Note for the deposits that stay SEALED why no time-stamp could be had in the block; forget it once one was."""
    try:
        yield
    except (ServiceUnavailableError, IntegrityFailureError) as error:
        if _is_about_time_stamps(error):
            _note(archive, archive_ids, error)
        raise
    with archive.database.transaction() as connection:
        connection.execute("DELETE FROM deposit_wait WHERE archive_id = ANY(%s::uuid[])", (list(archive_ids),))


def _is_about_time_stamps(error: MinutierError) -> bool:
    return error.code.startswith(("TSA_", "TOKEN_"))


def _note(archive: Archive, archive_ids: Sequence[str], error: MinutierError) -> None:
    now = archive.clock()
    with archive.database.transaction() as connection:
        connection.execute(
            "INSERT INTO deposit_wait (archive_id, code, reason, since, tried_at)"
            " SELECT archive_id, %s, %s, %s, %s FROM deposit WHERE archive_id = ANY(%s::uuid[]) AND state = 'SEALED'"
            " ON CONFLICT (archive_id) DO UPDATE SET code = EXCLUDED.code, reason = EXCLUDED.reason,"
            " tried_at = EXCLUDED.tried_at",
            (error.code, error.message, now, now, list(archive_ids)),
        )


def waits(connection: Connection) -> dict[str, Wait]:
    """Give the wait of every deposit that is sealed and could not be time-stamped, by archive_id, the oldest first."""
    rows = connection.execute(
        "SELECT w.* FROM deposit_wait w JOIN deposit d USING (archive_id) WHERE d.state = 'SEALED'"
        " ORDER BY w.since, w.archive_id"
    )
    return {str(row["archive_id"]): Wait(row["code"], row["reason"], row["since"], row["tried_at"]) for row in rows}


def code(found: Mapping[str, Wait], archive_id: str) -> str:
    """Give the code of a document's wait, "" when it does not wait."""
    return found[archive_id].code if archive_id in found else ""


def member(found: Mapping[str, Wait], archive_id: str) -> dict[str, dict[str, str]]:
    """Give the member `waiting` of a document's JSON, nothing when it does not wait."""
    return {"waiting": found[archive_id].as_dict()} if archive_id in found else {}


def summary(connection: Connection) -> str:
    """Say in one sentence how many deposits wait and why, "" when none does."""
    found = list(waits(connection).values())
    if not found:
        return ""
    many = "1 deposit waits" if len(found) == 1 else f"{len(found)} deposits wait"
    first = found[0]
    return f"{many} for a time-stamp since {format_time(first.since)}, not archived yet: [{first.code}] {first.reason}"


def unlocked(connection: Connection, now: datetime) -> list[str]:
    """Give the archive_ids of deposits committed more than 24 hours before `now` and not locked to their term yet."""
    rows = connection.execute(
        "SELECT d.archive_id FROM deposit d JOIN journal_event e ON e.archive_id = d.archive_id AND e.event = %s"
        " WHERE d.state = 'COMMITTED' AND e.at < %s ORDER BY d.archive_id",
        (Event.DEPOSIT_COMMITTED.value, now - _LOCKED_WITHIN),
    )
    return [str(row["archive_id"]) for row in rows]


def alarm(connection: Connection, now: datetime) -> str:
    """Say in one sentence which deposits wait too long for their full lock, "" when none does."""
    found = unlocked(connection, now)
    if not found:
        return ""
    many = "1 deposit is" if len(found) == 1 else f"{len(found)} deposits are"
    return (
        f"ALARM: {many} committed for more than 24 hours and not locked to the end of the class ({found[0]}):"
        " the short lock ends soon. Run the same deposit again."
    )


def to_resume(
    connection: Connection, now: datetime, *, left_behind: bool = False, limit: int = 500
) -> list[tuple[str, str]]:
    """Give archive_id and reference of deposits to take up again, at most `limit` of them, the oldest first.

    Those that wait for a time-stamp; with `left_behind` also those that nothing has moved for longer than a run may
    last. Where there are more than `limit`, those of this turn are drawn: what is stuck for good must not keep the
    others from their turn.
    """
    rows = connection.execute(
        "SELECT d.archive_id, d.reference FROM deposit d LEFT JOIN deposit_wait w USING (archive_id)"
        " WHERE d.state NOT IN ('ARCHIVED', 'REFUSED', 'ABANDONED', 'DESTROYING', 'DESTROYED')"
        " AND ((w.archive_id IS NOT NULL"
        " AND d.state = 'SEALED') OR (%s AND (SELECT max(e.at) FROM journal_event e"
        " WHERE e.archive_id = d.archive_id) < %s)) ORDER BY random() LIMIT %s",
        (left_behind, now - _LEFT_BEHIND, limit),
    )
    return sorted((str(row["archive_id"]), str(row["reference"])) for row in rows)
