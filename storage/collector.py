"""What is left over and may go: versions that nothing points to, spool folders that nobody needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from minutier.events import Event
from storage import catalogue, journal
from storage.archive import Archive
from storage.batches import STAGING
from storage.files import remove
from storage.ports import ObjectStore, ObjectVersion
from storage.reception import quarantine


def collect_strays(archive: Archive) -> int:
    """Delete versions that nothing points to, once their short lock has ended; gives how many.

    Only beside a document that is ARCHIVED, and only where the copy that counts is good: a live deposit may still
    adopt what it finds, and an unknown key may belong to a catalogue that is being restored.
    """
    dropped = 0
    for store in archive.replicas:
        try:
            for version in list(_unclaimed(archive, store)):
                lock = store.lock_state(version.key, version.version_id)
                if not lock.legal_hold and (lock.retain_until is None or lock.retain_until < archive.clock()):
                    store.delete_version(version.key, version.version_id)
                    _journal_stray(archive, store, version)
                    dropped += 1
        except (ServiceUnavailableError, PolicyRefusedError, KeyError):
            continue  # the next night looks again
    return dropped


def _unclaimed(archive: Archive, store: ObjectStore) -> Iterator[ObjectVersion]:
    with archive.database.transaction() as connection:
        safes = [row["name"] for row in connection.execute("SELECT name FROM safe ORDER BY name")]
    for safe in safes:
        for key, group in groupby(store.list_objects(f"{safe}/"), lambda version: version.key):
            versions = list(group)
            # The copy that counts is one of them: a key with a single version has no stray.
            if len(versions) > 1:
                yield from _beside_the_good_one(archive, store, key, versions)


def _beside_the_good_one(
    archive: Archive, store: ObjectStore, key: str, versions: list[ObjectVersion]
) -> Iterator[ObjectVersion]:
    archive_id, _, name = key.partition("/")[2].partition("/")
    with archive.database.transaction() as connection:
        if catalogue.state_of(connection, archive_id) != "ARCHIVED":
            return
        copies = catalogue.copies(connection, archive_id)
    claimed = {c.version_id: c.health for c in copies if (f"{c.role}.age", c.replica) == (name, store.name)}
    if "good" in claimed.values():
        yield from (version for version in versions if version.version_id not in claimed)


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

    The bytes of a refused deposit go to quarantine, where a crash kept them from going before. What no deposit claims
    is set aside there too, never deleted: after a catalogue was restored, it may be the only copy there is.
    """
    dropped = 0
    for folder in archive.spool.iterdir() if archive.spool.exists() else ():
        if folder.name == STAGING:
            continue
        if archive.clock().timestamp() - folder.stat().st_mtime <= timedelta(days=1).total_seconds():
            continue
        with archive.database.transaction() as connection:
            state = catalogue.state_of(connection, folder.name)
        if state == "REFUSED":
            quarantine(archive, folder, folder.name)
        elif state is None:
            quarantine(archive, folder, f"unclaimed-{folder.name}")
        elif state in ("ARCHIVED", "ABANDONED"):
            remove(folder)
            dropped += 1
    return dropped
