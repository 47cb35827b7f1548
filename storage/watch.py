"""Who touched the stores: delete markers, versions that the archive did not write, settings, clocks.

None of it can harm a locked version, which is read by its id. All of it shows that somebody with a key of the store
acts beside the archive, or that a later write would be locked less: it is said the same night.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import groupby, islice

from psycopg.types.json import Jsonb

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from minutier.events import Event
from storage import journal
from storage.archive import Archive
from storage.batches import EVIDENCE
from storage.catalogue import StoredObject
from storage.placing import matches
from storage.ports import ObjectStore, ObjectVersion, StoreSettings
from storage.probe import CLOCK_WARNING_SECONDS, weaknesses
from storage.safes import safe_names
from storage.segments import PREFIX as SEGMENTS

_PAGE = 1000
_IN_FLIGHT = timedelta(hours=1)
"""A version younger than this may belong to an act that has not reached the catalogue yet."""


@dataclass(frozen=True, slots=True)
class StoreFinding:
    """What was seen on a replica. Alarms: `marker`, `foreign` (a newer version with other bytes), `settings`, `weak`.

    `clock` (some seconds apart) and `unclaimed` (a key that the catalogue does not know) are warnings.
    """

    replica: str
    kind: str
    where: str
    detail: str
    alarm: bool = True


@dataclass(frozen=True, slots=True)
class _Known:
    """What the catalogue says of a key on one replica; `settled`: nobody is still writing under it."""

    item: StoredObject
    version_id: str | None
    settled: bool


def watch_stores(archive: Archive) -> tuple[StoreFinding, ...]:
    """Look at every replica that answers: one listing of all its versions, one of its markers, its settings, its clock.

    One that does not answer is said by the copies that could not be read. New settings are journaled.
    """
    found: list[StoreFinding] = []
    for store in archive.replicas:
        try:
            for prefix in _prefixes(archive):
                found += _markers(store, prefix)
                found += _versions(archive, store, prefix)
            found += _settings(archive, store)
            found += _clock(archive, store)
        except (ServiceUnavailableError, PolicyRefusedError):
            continue
    return tuple(found)


def _prefixes(archive: Archive) -> list[str]:
    with archive.database.transaction() as connection:
        safes = safe_names(connection)
    return [*(f"{name}/" for name in (*safes, EVIDENCE)), SEGMENTS]


def _markers(store: ObjectStore, prefix: str) -> Iterator[StoreFinding]:
    for key, markers in groupby(store.list_markers(prefix), lambda marker: marker.key):
        detail = f"{len(list(markers))} delete marker(s): reading by version id goes on"
        yield StoreFinding(store.name, "marker", key, detail)


def _versions(archive: Archive, store: ObjectStore, prefix: str) -> Iterator[StoreFinding]:
    keys = groupby(store.list_objects(prefix), lambda version: version.key)
    while page := {key: list(group) for key, group in islice(keys, _PAGE)}:
        known = _known(archive, store, page)
        for key, versions in page.items():
            yield from _beside(archive, store, key, versions, known.get(key))


def _known(archive: Archive, store: ObjectStore, keys: Iterable[str]) -> dict[str, _Known]:
    """Give what the catalogue says of some keys on a replica; a key that it does not know has no entry."""
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT o.*, c.version_id, d.state FROM object o LEFT JOIN deposit d USING (archive_id)"
            " LEFT JOIN replica_copy c ON (c.archive_id, c.role, c.replica) = (o.archive_id, o.role, %s)"
            " WHERE o.key = ANY(%s)",
            (store.name, list(keys)),
        ).fetchall()
    return {
        row["key"]: _Known(
            StoredObject(
                str(row["archive_id"]), row["role"], row["key"], row["sha256"], row["sha3_512"], int(row["size"])
            ),
            row["version_id"],
            settled=row["state"] in (None, "ARCHIVED"),
        )
        for row in rows
    }


def _beside(
    archive: Archive, store: ObjectStore, key: str, versions: list[ObjectVersion], known: _Known | None
) -> Iterator[StoreFinding]:
    """Look for versions above the one that counts. Those below it are damaged or left over, and are known."""
    settled = archive.clock() - _IN_FLIGHT
    if known is None:
        if all(version.written_at < settled for version in versions):
            yield StoreFinding(store.name, "unclaimed", key, f"{len(versions)} version(s)", alarm=False)
        return
    if not known.settled or known.version_id is None:
        return
    for version in versions:
        if version.version_id == known.version_id:
            return
        if version.written_at < settled and not _same(store, version, known.item):
            detail = f"version {version.version_id} was not written by the archive"
            yield StoreFinding(store.name, "foreign", key, detail)


def _same(store: ObjectStore, version: ObjectVersion, item: StoredObject) -> bool:
    """Say whether a version holds the very bytes of the object: a twin, which the collector takes away."""
    try:
        return matches(store, version, item)
    except KeyError:  # taken away meanwhile
        return True
    except ServiceUnavailableError:
        return False


def _settings(archive: Archive, store: ObjectStore) -> Iterator[StoreFinding]:
    """Compare the settings with those of the last look, and say at each look what is weak in them."""
    now = store.settings()
    for weakness in weaknesses(now):
        yield StoreFinding(store.name, "weak", "settings", weakness)
    told = _as_kept(now)
    with archive.database.transaction() as connection:
        row = connection.execute("SELECT told FROM store_settings WHERE replica = %s", (store.name,)).fetchone()
        if row is not None and row["told"] == told:
            return
        connection.execute(
            "INSERT INTO store_settings (replica, told, seen_at) VALUES (%s, %s, %s) ON CONFLICT (replica)"
            " DO UPDATE SET told = EXCLUDED.told, seen_at = EXCLUDED.seen_at",
            (store.name, Jsonb(told), archive.clock()),
        )
        if row is None:
            return
        changed = ", ".join(name for name in told if told[name] != row["told"].get(name))
        details: dict[str, str | int] = {"replica": store.name, "changed": changed}
        journal.append(connection, Event.STORE_CHANGED, archive.clock(), details=details)
    yield StoreFinding(store.name, "settings", changed, "changed since the last look")


def _as_kept(settings: StoreSettings) -> dict[str, object]:
    """Give the settings as JSON; of a policy only the digest, for it may name people."""
    values = asdict(settings)
    values["lifecycle"] = None if settings.lifecycle is None else list(settings.lifecycle)
    values["policy"] = settings.policy and hashlib.sha256(settings.policy.encode()).hexdigest()
    return values


def _clock(archive: Archive, store: ObjectStore) -> Iterator[StoreFinding]:
    gap = abs((store.clock() - archive.clock()).total_seconds())
    if gap > CLOCK_WARNING_SECONDS:
        yield StoreFinding(store.name, "clock", "clock", f"{gap:.0f} s from this machine's", alarm=False)
