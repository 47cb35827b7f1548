"""What is left over and may go: versions that nothing points to, spool folders that nobody needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from minutier.events import Event
from minutier.identifiers import is_archive_id
from storage import catalogue, journal
from storage.archive import Archive
from storage.batches import EVIDENCE, STAGING
from storage.database import Connection, lock
from storage.files import remove
from storage.ports import ObjectStore, ObjectVersion
from storage.reception import quarantine, spool_lock
from storage.safes import safe_names

_NOTHING_RESTS = (*catalogue.ENDED_STATES, "DESTROYED")


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose objects lie under a key: a deposit of a safe, or a token. `lock` is the one that its writers hold."""

    id: str
    lock: str
    is_token: bool

    def has_ended(self, connection: Connection) -> bool:
        """Say whether nothing rests, or will ever rest, on what it staged."""
        if self.is_token:
            return self.id in _idle_tokens(connection)
        return catalogue.state_of(connection, self.id) in _NOTHING_RESTS

    def is_settled(self, connection: Connection) -> bool:
        """Say whether its copies stand: what lies beside them is not going to be adopted."""
        if self.is_token:
            return all(copy.locked_until is not None for copy in catalogue.copies(connection, self.id))
        return catalogue.state_of(connection, self.id) == "ARCHIVED"


def collect_strays(archive: Archive) -> int:
    """Delete versions that nothing points to, once their short lock has ended; gives how many.

    All of what an abandoned or refused deposit had staged; beside an ARCHIVED document and the batch file of its
    token, only where the copy that counts is good. A live deposit may still adopt what it finds, and an unknown key
    may belong to a catalogue that is being restored: neither is touched. The claims are read again for each key,
    while the lock of its writers is held.
    """
    dropped = 0
    for store in archive.replicas:
        try:
            for owner, versions in _candidates(archive, store):
                dropped += _collect(archive, store, owner, versions)
        except (ServiceUnavailableError, PolicyRefusedError, KeyError):
            continue  # the next night looks again
    return dropped


def _candidates(archive: Archive, store: ObjectStore) -> Iterator[tuple[_Owner, list[ObjectVersion]]]:
    """Iterate over the keys that may hold a stray: two versions or more, or an owner that has ended."""
    with archive.database.transaction() as connection:
        safes = safe_names(connection)
        ended = _ended_deposits(connection) | _idle_tokens(connection)
    for folder in (*safes, EVIDENCE):
        for key, group in groupby(store.list_objects(f"{folder}/"), lambda version: version.key):
            versions, owner_id = list(group), key.split("/")[1]
            if is_archive_id(owner_id) and (len(versions) > 1 or owner_id in ended):
                token = folder == EVIDENCE
                yield _Owner(owner_id, f"{'batch' if token else 'deposit'} {owner_id}", token), versions


def _ended_deposits(connection: Connection) -> set[str]:
    """Give the archive_ids of all deposits that were refused or abandoned, and of what was destroyed."""
    rows = connection.execute("SELECT archive_id FROM deposit WHERE state = ANY(%s)", (list(_NOTHING_RESTS),))
    return {str(row["archive_id"]) for row in rows}


def _idle_tokens(connection: Connection) -> set[str]:
    """Give the ids of tokens that date nothing, for the deposits that they dated were abandoned or began again."""
    rows = connection.execute(
        "SELECT token_id FROM token t WHERE NOT EXISTS (SELECT 1 FROM evidence_chain c WHERE c.token_id = t.token_id)"
        " AND NOT EXISTS (SELECT 1 FROM token_renewal r WHERE t.token_id IN (r.token_id, r.by_token))"
    )
    return {str(row["token_id"]) for row in rows}


def _collect(archive: Archive, store: ObjectStore, owner: _Owner, versions: list[ObjectVersion]) -> int:
    dropped = 0
    try:
        with archive.database.exclusive(owner.lock):
            for version in _unclaimed(archive, store, owner, versions):
                dropped += _drop(archive, store, version)
    except ServiceUnavailableError as error:
        if error.code != "BUSY":
            raise
    return dropped


def _drop(archive: Archive, store: ObjectStore, version: ObjectVersion) -> bool:
    """Delete a version whose short lock has ended; False where it stays, be it that the store does not let it go."""
    try:
        lock = store.lock_state(version.key, version.version_id)
        if lock.legal_hold or (lock.retain_until is not None and lock.retain_until >= archive.clock()):
            return False
        store.delete_version(version.key, version.version_id)
    except (PolicyRefusedError, KeyError):
        return False
    _journal_stray(archive, store, version)
    return True


def _unclaimed(
    archive: Archive, store: ObjectStore, owner: _Owner, versions: list[ObjectVersion]
) -> list[ObjectVersion]:
    role = versions[0].key.split("/")[-1].rpartition(".")[0]
    with archive.database.transaction() as connection:
        if owner.has_ended(connection):
            return versions
        if not owner.is_settled(connection):
            return []
        copies = catalogue.copies(connection, owner.id)
    claimed = {copy.version_id: copy.health for copy in copies if (copy.role, copy.replica) == (role, store.name)}
    if "good" not in claimed.values():
        return []
    return [version for version in versions if version.version_id not in claimed]


def _journal_stray(archive: Archive, store: ObjectStore, version: ObjectVersion) -> None:
    with archive.database.transaction() as connection:
        journal.append(
            connection,
            Event.STRAY_DELETED,
            archive.clock(),
            archive_id=version.key.split("/")[1],
            details={"replica": store.name, "key": version.key, "version": version.version_id},
        )


def clean_spool(archive: Archive) -> int:
    """Clear the spool of folders older than a day that no live deposit needs; gives how many were dropped.

    The bytes of a refused or abandoned deposit go to quarantine, where a crash kept them from going before. What no
    deposit claims is set aside there too, never deleted: after a catalogue was restored, it may be the only copy.
    """
    dropped = 0
    for folder in archive.spool.iterdir() if archive.spool.exists() else ():
        if folder.name == STAGING:
            continue
        try:
            age = archive.clock().timestamp() - folder.stat().st_mtime
        except FileNotFoundError:
            continue  # its deposit has just ended
        if age <= timedelta(days=1).total_seconds():
            continue
        with archive.database.transaction() as connection:
            lock(connection, spool_lock(folder.name), wait=True)  # a delivery may be claiming it just now
            state = catalogue.state_of(connection, folder.name)
            if state is None:
                quarantine(archive, folder, f"unclaimed-{folder.name}")
        if state in catalogue.ENDED_STATES:
            quarantine(archive, folder, folder.name)
        elif state in ("ARCHIVED", *catalogue.DESTROYED_STATES):
            remove(folder)
            dropped += 1
    return dropped
