"""Judging one copy, and mending it: nothing is called bad on one reading, nothing good is ever replaced.

A copy is bad when it was read twice, the catalogue still expects the same bytes of the same version, and the store
answers for the rest. Healing under WORM cannot overwrite: a new version is written from a verified copy, locked to the
same term, and the pointer moves in a journaled transaction. When no copy is good nothing is written.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from minutier.errors import MinutierError, ServiceUnavailableError
from minutier.events import Event
from storage import catalogue, coverage, journal
from storage.archive import Archive
from storage.catalogue import Copy, StoredObject
from storage.coverage import Subject
from storage.database import Connection
from storage.files import durable_writer
from storage.placing import fingerprint_of, lock_version, place, read_fingerprint
from storage.reading import CopyFinding, examine
from storage.worm import PROBE_PREFIX

_REREADINGS = 2


def judge(archive: Archive, subject: Subject) -> CopyFinding:
    """Read one copy and its lock, and say what it is, sure enough to act on it.

    Outcomes: `good`; `altered`, `missing`, `unreadable` (the store answers, but not with these bytes), to be mended
    from another copy; `unlocked`, to be locked again; `catalogue`: all copies agree, and not with the catalogue;
    `unreachable`: nothing is known; `moved`: the catalogue changed meanwhile, a later look will tell.
    """
    finding = examine(archive, subject.item, subject.copy)
    if finding.outcome == "good":
        finding = _examine_lock(archive, subject)
    if finding.outcome == "unreachable":
        finding = _unreadable(archive, subject, finding)
    if finding.outcome in ("good", "unreachable"):
        return finding
    with archive.database.transaction() as connection:
        if not subject.same_place(coverage.subject_now(connection, subject.copy)):
            return replace(finding, outcome="moved", detail="the catalogue changed while it was read")
    return _compare(archive, subject, finding) if finding.outcome == "altered" else finding


def act_on(archive: Archive, subject: Subject, finding: CopyFinding) -> str:
    """Journal what was found and mend it where that can be done; gives healed, unhealed, unreachable or moved."""
    if finding.outcome in ("unreachable", "moved"):
        return finding.outcome
    with archive.database.transaction() as connection:
        journal.append(
            connection,
            Event.CATALOGUE_DIFFERS if finding.outcome == "catalogue" else Event.COPY_DAMAGED,
            archive.clock(),
            archive_id=subject.item.archive_id,
            details={"role": subject.item.role, "replica": subject.copy.replica, "outcome": finding.outcome},
        )
    if finding.outcome == "catalogue":
        return "unhealed"
    mend = _lock_again if finding.outcome == "unlocked" else heal
    try:
        return "healed" if mend(archive, subject.item, subject.copy) else "unhealed"
    except (MinutierError, KeyError, OSError) as error:
        # Whatever hinders one copy, the others are still to be read; the report names this one.
        return "moved" if isinstance(error, MinutierError) and error.code == "STATE_MOVED" else "unhealed"


def heal(archive: Archive, item: StoredObject, copy: Copy) -> bool:
    """Mend one bad copy from another replica's good one; False when no good copy exists, and nothing is written."""
    with archive.database.transaction() as connection:
        if catalogue.term_of(connection, item) is None:
            return False
    for other in _others(archive, copy):
        if examine(archive, item, other).outcome != "good":
            continue
        staged = archive.settings.home / "healing" / f"{uuid.uuid4().hex}.age"
        try:
            replica = archive.replica(other.replica)
            with replica.open(item.key, other.version_id) as source, durable_writer(staged) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            _replace(archive, item, copy, staged)
        finally:
            staged.unlink(missing_ok=True)
        return True
    return False


def _others(archive: Archive, copy: Copy) -> list[Copy]:
    with archive.database.transaction() as connection:
        found = catalogue.copies(connection, copy.archive_id)
    return [other for other in found if other.role == copy.role and other.replica != copy.replica]


def gone(item: StoredObject) -> ServiceUnavailableError:
    """Give the error for an object whose document was destroyed while it was mended."""
    return ServiceUnavailableError(
        "STATE_MOVED", f"The document {item.archive_id} was destroyed meanwhile.", remedy="Nothing is left to mend."
    )


@contextmanager
def _locked_to_term(archive: Archive, item: StoredObject, copy: Copy) -> Iterator[tuple[Connection, datetime]]:
    """Lock a version to the term of its object; gives the transaction to record that in, where the term cannot grow."""
    while True:
        with archive.database.transaction() as connection:
            until = catalogue.term_of(connection, item)
        if until is None:
            raise gone(item)
        lock_version(archive.replica(copy.replica), item.key, copy.version_id, until)
        with archive.database.transaction() as connection:
            if not catalogue.holds_object(connection, item):
                # Destroyed meanwhile: nothing may point to it again, and its key is gone.
                raise gone(item)
            if catalogue.term_of(connection, item) == until:
                yield connection, until
                return


def _replace(archive: Archive, item: StoredObject, copy: Copy, staged: Path) -> None:
    replica = archive.replica(copy.replica)
    version = place(archive, replica, item, staged, past_unreadable=True)
    # Locked before anything points to it: a crash here leaves a version that the next sweep finds and adopts.
    mended = replace(copy, version_id=version.version_id)
    with _locked_to_term(archive, item, mended) as (connection, until):
        catalogue.put_copy(connection, item, copy.replica, mended.version_id, archive.clock())
        catalogue.set_locked(connection, mended, until)
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


def _examine_lock(archive: Archive, subject: Subject) -> CopyFinding:
    """Ask the store whether a good copy is still held to its term: a document without its lock is not safe."""
    item, copy, term = subject.item, subject.copy, subject.term
    found = CopyFinding(copy.archive_id, copy.role, copy.replica, "good")
    try:
        lock = archive.replica(copy.replica).lock_state(item.key, copy.version_id)
    except KeyError:
        return replace(found, outcome="missing", detail="the version is not there")
    except ServiceUnavailableError as error:
        return replace(found, outcome="unreachable", detail=error.message)
    if term is None or (
        lock.legal_hold and lock.retain_until is not None and lock.retain_until >= term - timedelta(seconds=1)
    ):
        return found
    return replace(found, outcome="unlocked", detail="it is not locked to its term")


def _unreadable(archive: Archive, subject: Subject, finding: CopyFinding) -> CopyFinding:
    """Tell a version that its store cannot give any more from a store that does not answer.

    A store with checksums of its own answers a damaged version with a fault, not with other bytes. It must give what
    the canary left there between the readings, each of which must fail.
    """
    for _ in range(_REREADINGS):
        if not _gives_others(archive, subject.copy.replica):
            return finding
        again = examine(archive, subject.item, subject.copy)
        if again.outcome != "unreachable":
            return _examine_lock(archive, subject) if again.outcome == "good" else again
    return replace(finding, outcome="unreadable")


def _gives_others(archive: Archive, name: str) -> bool:
    try:
        replica = archive.replica(name)
        for version in replica.list_objects(PROBE_PREFIX):
            with replica.open(version.key, version.version_id) as stream:
                return len(stream.read()) == version.size
    except (ServiceUnavailableError, KeyError):
        return False
    return False


def _compare(archive: Archive, subject: Subject, finding: CopyFinding) -> CopyFinding:
    """Read the other copies before one is called altered: when all are the same, the catalogue is what changed."""
    item, copy = subject.item, subject.copy
    try:
        mine, theirs = _fingerprint(archive, item, copy), []
        for other in _others(archive, copy):
            theirs.append(_fingerprint(archive, item, other))
            if theirs[-1] == fingerprint_of(item):
                return replace(finding, detail=f"{finding.detail}; the copy on {other.replica} is good")
    except (MinutierError, KeyError):
        return finding  # healing looks for itself, and says that no copy is good
    if theirs and set(theirs) == {mine}:
        return replace(finding, outcome="catalogue", detail="all copies are the same, and not what the catalogue says")
    return finding


def _fingerprint(archive: Archive, item: StoredObject, copy: Copy) -> object:
    return read_fingerprint(archive.replica(copy.replica), item.key, copy.version_id)


def _lock_again(archive: Archive, item: StoredObject, copy: Copy) -> bool:
    with _locked_to_term(archive, item, copy) as (connection, until):
        catalogue.set_locked(connection, copy, until)
        details: dict[str, str | int] = {"role": item.role, "replica": copy.replica, "version": copy.version_id}
        journal.append(connection, Event.COPY_RELOCKED, archive.clock(), archive_id=item.archive_id, details=details)
    return True
