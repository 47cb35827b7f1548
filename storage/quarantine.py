"""Quarantine: bytes that were refused or given up wait for their depositor, then go; what nobody claims stays.

Each folder bears the archive_id of its deposit. `unclaimed-…` folders belong to no deposit that the catalogue knows:
after a restore they may be the only copy, so they never go by themselves.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from minutier.errors import BadInputError
from minutier.events import Event
from minutier.fingerprint import fingerprint_file
from minutier.identifiers import is_archive_id
from storage import catalogue, journal
from storage.acts import require_reason
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.files import durable_writer, remove
from storage.keys import spool_altered

_ENDS = (Event.DEPOSIT_REFUSED, Event.DEPOSIT_ABANDONED)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One folder in quarantine. `until` is when it goes by itself, None for one that no deposit claims."""

    name: str
    safe: str
    reference: str
    code: str
    since: datetime | None
    until: datetime | None
    bytes: int


def waiting(archive: Archive) -> list[Waiting]:
    """Give what waits in quarantine, the first to go first; what no deposit claims comes last."""
    folders = sorted(archive.quarantine.iterdir()) if archive.quarantine.exists() else []
    found = [_waiting(archive, folder) for folder in folders if folder.is_dir()]
    return sorted(found, key=lambda each: (each.until is None, each.until, each.name))


def release(archive: Archive, archive_id: str, target: Path, reason: str) -> None:
    """Give the refused bytes back into `target`, as they came; they stay in quarantine. Journaled.

    They may be harmful: that is why they were refused. Raises BadInputError (`NOT_IN_QUARANTINE`, `BAD_REASON`),
    IntegrityFailureError (`SPOOL_ALTERED`) when they are not what was captured.
    """
    require_reason(reason)
    deposit, folder = _claimed(archive, archive_id)
    original = folder / "original"
    if not original.is_file():
        raise spool_altered("original")
    if deposit.sha256 is not None:
        captured = fingerprint_file(original)
        if (captured.sha256, captured.sha3_512) != (deposit.sha256, deposit.sha3_512):
            raise spool_altered("original")
    with original.open("rb") as source, durable_writer(target) as sink:
        shutil.copyfileobj(source, sink)
    _journal(archive, Event.QUARANTINE_RELEASED, deposit, "operator")


def delete(archive: Archive, archive_id: str, reason: str) -> None:
    """Delete refused bytes before their term; BadInputError (`NOT_IN_QUARANTINE`, `BAD_REASON`). Journaled."""
    require_reason(reason)
    deposit, folder = _claimed(archive, archive_id)
    _delete(archive, deposit, folder, "operator")


def empty_old(archive: Archive) -> int:
    """Delete what waited for as long as the settings say; gives how many folders went."""
    gone = 0
    for each in waiting(archive):
        if each.until is not None and each.until <= archive.clock():
            deposit, folder = _claimed(archive, each.name)
            _delete(archive, deposit, folder, "term")
            gone += 1
    return gone


def _delete(archive: Archive, deposit: Deposit, folder: Path, ground: str) -> None:
    # Journaled first: a crash leaves bytes that the next night deletes, never a deletion that nobody told.
    _journal(archive, Event.QUARANTINE_DELETED, deposit, ground)
    remove(folder)


def _claimed(archive: Archive, archive_id: str) -> tuple[Deposit, Path]:
    folder = archive.quarantine / archive_id
    with archive.database.transaction() as connection:
        known = is_archive_id(archive_id) and catalogue.state_of(connection, archive_id) in catalogue.ENDED_STATES
        deposit = catalogue.get(connection, archive_id) if known else None
    if deposit is None or not folder.is_dir():
        raise BadInputError(
            "NOT_IN_QUARANTINE",
            f"Nothing of {archive_id} waits in quarantine.",
            remedy="`minutier quarantine list` shows what waits.",
        )
    return deposit, folder


def _waiting(archive: Archive, folder: Path) -> Waiting:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    with archive.database.transaction() as connection:
        ended = is_archive_id(folder.name) and catalogue.state_of(connection, folder.name) in catalogue.ENDED_STATES
        if not ended:
            return Waiting(folder.name, "", "", "", None, None, size)
        deposit = catalogue.get(connection, folder.name)
        moments = [journal.latest(connection, event, [folder.name]) for event in _ENDS]
    since = max(filter(None, moments), default=deposit.received_at)
    until = since + timedelta(days=archive.settings.quarantine_days)
    return Waiting(
        folder.name, deposit.safe, deposit.reference, deposit.refusal_code or deposit.state, since, until, size
    )  # fmt: skip


def _journal(archive: Archive, event: Event, deposit: Deposit, ground: str) -> None:
    with archive.database.transaction() as connection:
        journal.append(
            connection,
            event,
            archive.clock(),
            archive_id=deposit.archive_id,
            safe=deposit.safe,
            details={"ground": ground},
        )
