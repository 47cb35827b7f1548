"""Legal holds (gel): while one stands on a document, nothing destroys it, whatever its class says.

Reasons and names stay in the catalogue; the journal has the number of the hold.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from minutier.errors import BadInputError, PolicyRefusedError
from minutier.events import Event
from storage import catalogue, journal
from storage.acts import require_person, require_reason
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.database import Connection


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold that stands or stood."""

    hold_id: str
    archive_id: str
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str | None
    released_at: datetime | None
    release_reason: str | None


def place_hold(archive: Archive, archive_id: str, reason: str, by: str) -> tuple[Hold, bool]:
    """Put a document under hold; gives the hold, and False where the same person holds it for this reason already.

    Raises BadInputError (`BAD_REASON`, `BAD_PERSON`, `UNKNOWN_ID`), PolicyRefusedError (`CANNOT_HOLD`) for what is
    not in the archive, or is being destroyed.
    """
    reason, by = require_reason(reason), require_person(by, "who places the hold")
    with archive.database.transaction() as connection:
        # A destruction takes the same lock of the row to begin: one of the two comes first, and the other sees it.
        deposit = locked(connection, archive_id)
        if deposit.state not in catalogue.COMMITTED_STATES:
            raise PolicyRefusedError(
                "CANNOT_HOLD",
                f"The document {archive_id} is {deposit.state}: there is nothing to hold.",
                remedy="A hold is placed on a document that is in the archive.",
            )
        for hold in standing(connection, archive_id):
            if (hold.reason, hold.placed_by) == (reason, by):
                return hold, False
        hold_id, now = str(uuid.uuid4()), archive.clock()
        connection.execute(
            "INSERT INTO legal_hold (hold_id, archive_id, reason, placed_by, placed_at) VALUES (%s, %s, %s, %s, %s)",
            (hold_id, archive_id, reason, by, now),
        )
        _journal(connection, Event.DOCUMENT_HELD, now, deposit, hold_id)
        return _get(connection, hold_id), True


def release_holds(archive: Archive, archive_id: str, reason: str, by: str, hold_id: str = "") -> list[Hold]:
    """Release the hold of a document, or the one named; gives those released, none where none stood.

    Raises BadInputError (`BAD_REASON`, `BAD_PERSON`, `UNKNOWN_ID`, `UNKNOWN_HOLD`; `SEVERAL_HOLDS` where several
    stand and none is named).
    """
    reason, by = require_reason(reason), require_person(by, "who releases the hold")
    with archive.database.transaction() as connection:
        deposit = locked(connection, archive_id)
        found = standing(connection, archive_id)
        chosen = [hold for hold in found if hold_id in ("", hold.hold_id)]
        if hold_id and not chosen:
            raise BadInputError(
                "UNKNOWN_HOLD", f"No hold {hold_id} stands on this document.", remedy="`minutier holds` shows them."
            )
        if len(chosen) > 1:
            raise BadInputError(
                "SEVERAL_HOLDS",
                f"{len(chosen)} holds stand on this document.",
                remedy=f"Name the one to release with --hold: {', '.join(hold.hold_id for hold in chosen)}",
            )
        now = archive.clock()
        for hold in chosen:
            connection.execute(
                "UPDATE legal_hold SET released_by = %s, released_at = %s, release_reason = %s WHERE hold_id = %s",
                (by, now, reason, hold.hold_id),
            )
            _journal(connection, Event.DOCUMENT_RELEASED, now, deposit, hold.hold_id)
        return [_get(connection, hold.hold_id) for hold in chosen]


def standing(connection: Connection, archive_id: str) -> list[Hold]:
    """Give the holds that stand on a document, oldest first."""
    rows = connection.execute(
        "SELECT * FROM legal_hold WHERE archive_id = %s AND released_at IS NULL ORDER BY placed_at, hold_id",
        (archive_id,),
    )
    return [_hold(row) for row in rows]


def all_standing(connection: Connection) -> list[Hold]:
    """Give every hold that stands, oldest first."""
    rows = connection.execute("SELECT * FROM legal_hold WHERE released_at IS NULL ORDER BY placed_at, hold_id")
    return [_hold(row) for row in rows]


def locked(connection: Connection, archive_id: str) -> Deposit:
    """Give a deposit whose row stays as it is until the transaction ends; BadInputError (`UNKNOWN_ID`)."""
    connection.execute("SELECT 1 FROM deposit WHERE archive_id = %s FOR UPDATE", (archive_id,))
    return catalogue.get(connection, archive_id)


def _get(connection: Connection, hold_id: str) -> Hold:
    (row,) = connection.execute("SELECT * FROM legal_hold WHERE hold_id = %s", (hold_id,)).fetchall()
    return _hold(row)


def _journal(connection: Connection, event: Event, at: datetime, deposit: Deposit, hold_id: str) -> None:
    journal.append(
        connection, event, at, archive_id=deposit.archive_id, safe=deposit.safe, details={"hold": hold_id}
    )  # fmt: skip


def _hold(row: dict[str, object]) -> Hold:
    return Hold(**{**row, "hold_id": str(row["hold_id"]), "archive_id": str(row["archive_id"])})  # type: ignore[arg-type]
