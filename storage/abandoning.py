"""Abandoning (abandon): a deposit that will not be completed ends in plain sight, while it is not yet in the archive.

Its bytes wait in quarantine for the depositor; what it staged on the stores loses its short lock and is collected.
"""

from __future__ import annotations

from minutier.errors import BadInputError, PolicyRefusedError
from storage import catalogue
from storage.archive import Archive
from storage.catalogue import COMMITTED_STATES, Deposit
from storage.reception import current, quarantine

_LONGEST_REASON = 500


def abandon(archive: Archive, archive_id: str, reason: str) -> Deposit:
    """End a deposit that is not COMMITTED yet as ABANDONED, with its reason in the journal; twice is once.

    Raises BadInputError (`BAD_REASON`, `UNKNOWN_ID`), PolicyRefusedError (`CANNOT_ABANDON`) for a deposit that is in
    the archive or was refused, ServiceUnavailableError (`BUSY`, `STATE_MOVED`) while another worker is at it.
    """
    reason = _require_reason(reason)
    with archive.database.exclusive(f"deposit {archive_id}"):
        deposit = current(archive, archive_id)
        if deposit.state != "ABANDONED":
            _require_live(deposit)
            with archive.database.transaction() as connection:
                details: dict[str, str | int] = {"from": deposit.state, "reason": reason}
                catalogue.advance(connection, deposit, "ABANDONED", archive.clock(), details=details)
                catalogue.drop_made(connection, archive_id)
        # A crash may have kept them from going before.
        quarantine(archive, archive.spool / archive_id, archive_id)
    return current(archive, archive_id)


def _require_reason(reason: str) -> str:
    reason = reason.strip()
    if not reason or len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise BadInputError(
            "BAD_REASON",
            f"The reason is not one line of 1 to {_LONGEST_REASON} characters.",
            remedy="Say in a short sentence why; it is kept in the journal, so name no person.",
        )
    return reason


def _require_live(deposit: Deposit) -> None:
    if deposit.state in COMMITTED_STATES:
        raise PolicyRefusedError(
            "CANNOT_ABANDON",
            f"The document {deposit.archive_id} is part of the archive ({deposit.state}).",
            remedy="A deposit can be abandoned before it is committed; after that its lifecycle class decides.",
        )
    if deposit.state == "REFUSED":
        raise PolicyRefusedError(
            "CANNOT_ABANDON",
            f"The deposit {deposit.archive_id} was refused: it has ended.",
            remedy="Nothing is left to do: its bytes wait in quarantine.",
        )
