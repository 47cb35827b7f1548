"""Integrity sweep: re-read copies, longest-unchecked first, within a budget, and heal a bad one from a good one.

Healing under WORM cannot overwrite: a new version is written from a verified copy, locked to the same term, and the
pointer moves in a journaled transaction. When no copy is good nothing is written: the alarm is all there is to do.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from minutier.errors import MinutierError, ServiceUnavailableError
from minutier.events import Event, format_time
from storage import catalogue, journal
from storage.archive import Archive
from storage.catalogue import Copy, StoredObject
from storage.collector import clean_spool, collect_strays
from storage.files import durable_writer
from storage.placing import lock_version, place
from storage.reading import CopyFinding, examine

_SLICE = 200


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did. `verdict`: clean, healed (all bad copies were mended) or alarm (one could not be)."""

    sweep_id: str
    started_at: datetime
    ended_at: datetime
    copies: int
    bytes_read: int
    good: int
    healed: int
    unhealed: int
    unreachable: int
    remaining: int
    strays: int
    journal_entries: int
    findings: tuple[CopyFinding, ...] = field(default=())

    @property
    def verdict(self) -> str:
        """Give the word that an operator reads first."""
        if self.unhealed or self.unreachable:
            return "alarm"
        return "healed" if self.healed else "clean"

    def as_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        values = asdict(self)
        values["verdict"] = self.verdict
        values["started_at"], values["ended_at"] = format_time(self.started_at), format_time(self.ended_at)
        values["findings"] = [asdict(finding) for finding in self.findings]
        return values


def sweep(
    archive: Archive, *, budget: timedelta, progress: Callable[[int, int], None] = lambda done, left: None
) -> SweepReport:
    """Re-read every copy not yet read in this sweep until none is left or the budget is spent.

    `progress` is told how many copies were read and how many wait. The journal's chain is recomputed as well.
    """
    sweep_id, started, deadline = str(uuid.uuid4()), archive.clock(), time.monotonic() + budget.total_seconds()
    with archive.database.transaction() as connection:
        connection.execute("INSERT INTO sweep (sweep_id, started_at) VALUES (%s, %s)", (sweep_id, started))
        journal.append(connection, Event.SWEEP_STARTED, started)
        journal.sequence(connection)
    # Apart, for it is long: deposits wait for nothing while the whole journal is recomputed.
    with archive.database.transaction() as connection:
        entries = journal.check_chain(connection)
        journal.check_checkpoint(connection, archive.journal_key.public_key())
    counts: Counter[str] = Counter()
    findings: list[CopyFinding] = []
    while time.monotonic() < deadline:
        with archive.database.transaction() as connection:
            waiting = catalogue.copies_to_check(connection, started, _SLICE)
        if not waiting:
            break
        looked_at: list[tuple[Copy, str]] = []
        for item, copy, term in waiting:
            finding = examine(archive, item, copy)
            if finding.outcome == "good":
                finding = _examine_lock(archive, item, copy, term)
            outcome = "good" if finding.outcome == "good" else _act_on(archive, item, copy, finding)
            if finding.outcome != "good":
                findings.append(finding)
            counts.update({outcome: 1, "copies": 1, "bytes": item.size})
            looked_at.append((copy, outcome))
            if time.monotonic() >= deadline:
                break
        _mark(archive, looked_at)
        progress(counts["copies"], _remaining(archive, started))
    collected = collect_strays(archive)
    clean_spool(archive)
    report = SweepReport(
        sweep_id,
        started,
        archive.clock(),
        copies=counts["copies"],
        bytes_read=counts["bytes"],
        good=counts["good"],
        healed=counts["healed"],
        unhealed=counts["unhealed"],
        unreachable=counts["unreachable"],
        remaining=_remaining(archive, started),
        strays=collected,
        journal_entries=entries,
        findings=tuple(findings),
    )
    _end(archive, report)
    return report


def heal(archive: Archive, item: StoredObject, copy: Copy) -> bool:
    """Mend one bad copy from another replica's good one; False when no good copy exists, and nothing is written."""
    with archive.database.transaction() as connection:
        until = catalogue.term_of(connection, item)
        others = [
            other
            for other in catalogue.copies(connection, item.archive_id)
            if other.role == item.role and other.replica != copy.replica
        ]
    if until is None:
        return False
    for other in others:
        if examine(archive, item, other).outcome != "good":
            continue
        staged = archive.settings.home / "healing" / f"{uuid.uuid4().hex}.age"
        try:
            replica = archive.replica(other.replica)
            with replica.open(item.key, other.version_id) as source, durable_writer(staged) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            _replace(archive, item, copy, staged, until)
        finally:
            staged.unlink(missing_ok=True)
        return True
    return False


def _replace(archive: Archive, item: StoredObject, copy: Copy, staged: Path, until: datetime) -> None:
    replica = archive.replica(copy.replica)
    version = place(archive, replica, item, staged)
    # Locked before anything points to it: a crash here leaves a version that the next sweep finds and adopts.
    lock_version(replica, item.key, version.version_id, until)
    with archive.database.transaction() as connection:
        catalogue.put_copy(connection, item, copy.replica, version.version_id, archive.clock())
        catalogue.set_copy(connection, copy, locked_until=until)
        journal.append(
            connection,
            Event.COPY_HEALED,
            archive.clock(),
            archive_id=item.archive_id,
            details={
                "role": item.role,
                "replica": copy.replica,
                "damaged_version": copy.version_id,
                "new_version": version.version_id,
            },
        )


def _examine_lock(archive: Archive, item: StoredObject, copy: Copy, term: datetime | None) -> CopyFinding:
    """Ask the store whether a good copy is still held to its term: a document without its lock is not safe."""
    try:
        lock = archive.replica(copy.replica).lock_state(item.key, copy.version_id)
    except KeyError:
        return CopyFinding(copy.archive_id, copy.role, copy.replica, "missing", "the version is not there")
    except ServiceUnavailableError as error:
        return CopyFinding(copy.archive_id, copy.role, copy.replica, "unreachable", error.message)
    if term is None or (
        lock.legal_hold and lock.retain_until is not None and lock.retain_until >= term - timedelta(seconds=1)
    ):
        return CopyFinding(copy.archive_id, copy.role, copy.replica, "good")
    return CopyFinding(copy.archive_id, copy.role, copy.replica, "unlocked", "it is not locked to its term")


def _lock_again(archive: Archive, item: StoredObject, copy: Copy) -> bool:
    with archive.database.transaction() as connection:
        until = catalogue.term_of(connection, item)
    if until is None:
        return False
    lock_version(archive.replica(copy.replica), item.key, copy.version_id, until)
    with archive.database.transaction() as connection:
        catalogue.set_copy(connection, copy, locked_until=until)
        details: dict[str, str | int] = {"role": item.role, "replica": copy.replica, "version": copy.version_id}
        journal.append(connection, Event.COPY_RELOCKED, archive.clock(), archive_id=item.archive_id, details=details)
    return True


def _act_on(archive: Archive, item: StoredObject, copy: Copy, finding: CopyFinding) -> str:
    if finding.outcome == "unreachable":
        return "unreachable"
    with archive.database.transaction() as connection:
        journal.append(
            connection,
            Event.COPY_DAMAGED,
            archive.clock(),
            archive_id=item.archive_id,
            details={"role": item.role, "replica": copy.replica, "outcome": finding.outcome},
        )
    mend = _lock_again if finding.outcome == "unlocked" else heal
    try:
        return "healed" if mend(archive, item, copy) else "unhealed"
    except (MinutierError, KeyError, OSError):
        # Whatever hinders one copy, the others are still to be read; the report names this one.
        return "unhealed"


def _mark(archive: Archive, looked_at: list[tuple[Copy, str]]) -> None:
    """Record a slice of copies as looked at, in one transaction: after a crash they are read once more.

    An unhealed or unreachable copy is marked too, so that the sweep moves on, and stays visible as damaged.
    """
    now = archive.clock()
    with archive.database.transaction() as connection:
        for copy, outcome in looked_at:
            health = {"good": "good", "healed": "good", "unhealed": "damaged"}.get(outcome, copy.health)
            catalogue.set_copy(connection, copy, checked_at=now, health=health)


def _remaining(archive: Archive, started: datetime) -> int:
    with archive.database.transaction() as connection:
        return catalogue.count_to_check(connection, started)


def _end(archive: Archive, report: SweepReport) -> None:
    with archive.database.transaction() as connection:
        connection.execute(
            "UPDATE sweep SET ended_at = %s, report = %s WHERE sweep_id = %s",
            (report.ended_at, Jsonb(report.as_dict()), report.sweep_id),
        )
        journal.append(
            connection,
            Event.SWEEP_ENDED,
            report.ended_at,
            details={
                "copies": report.copies,
                "good": report.good,
                "healed": report.healed,
                "unhealed": report.unhealed,
                "unreachable": report.unreachable,
                "remaining": report.remaining,
            },
        )
        journal.sequence(connection)
