"""Placing on a replica: adopt what is there or write, read back, lock; for any object, a document's or a token's."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from minutier.errors import IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from minutier.fingerprint import Fingerprint, fingerprint_stream
from storage.archive import Archive
from storage.catalogue import Copy, StoredObject
from storage.ports import ObjectStore, ObjectVersion

_SMALL_MARGIN = timedelta(days=1)
BELIEVED = timedelta(hours=1)
"""How long a copy that was read back is taken to be there still."""


def place(
    archive: Archive, replica: ObjectStore, item: StoredObject, staged: Path, *, past_unreadable: bool = False
) -> ObjectVersion:
    """Adopt a version whose bytes match, else write one under a short lock and read it back.

    An earlier write whose answer was lost is found by looking first. A version that the store does not give is
    ServiceUnavailableError, or `past_unreadable`, when it is known to be damaged, none to adopt. IntegrityFailureError
    when the store gives back other bytes: what it wrote is then deletable after the short lock.
    """
    until = archive.clock() + timedelta(days=archive.settings.staging_days)
    for version in replica.versions(item.key):
        try:
            adoptable = matches(replica, version, item)
        except (ServiceUnavailableError, KeyError):
            if not past_unreadable:
                raise
            adoptable = False
        if adoptable:
            lock = replica.lock_state(item.key, version.version_id)
            # Also where nothing is to be extended: the store then makes durable what its writer may not have lived to.
            kept = lock.retain_until if lock.retain_until and lock.retain_until >= until - _SMALL_MARGIN else until
            replica.extend_lock(item.key, version.version_id, kept, legal_hold=lock.legal_hold)
            return version
    version = replica.put(item.key, staged, until)
    if not matches(replica, version, item):
        raise IntegrityFailureError(
            "STORE_READBACK",
            f"Replica {replica.name} does not give back the bytes it was given.",
            remedy="Nothing rests on this copy yet. Check the store, then run the same command again.",
        )
    return version


def lock_version(replica: ObjectStore, key: str, version_id: str, until: datetime) -> None:
    """Lock one version to `until`, or as long as it is locked already, with the legal hold; check what the store says.

    Raises PolicyRefusedError (`STORE_DOES_NOT_LOCK`) when it says less; KeyError when the version is not there.
    """
    before = replica.lock_state(key, version_id)
    replica.extend_lock(key, version_id, max(until, before.retain_until or until), legal_hold=True)
    state = replica.lock_state(key, version_id)
    # Stores keep whole seconds or milliseconds: a sub-second difference is not a shorter retention.
    if state.retain_until is None or state.retain_until < until - timedelta(seconds=1) or not state.legal_hold:
        raise PolicyRefusedError(
            "STORE_DOES_NOT_LOCK",
            f"Replica {replica.name} did not keep the lock to its term.",
            remedy="Run `minutier store probe`; do not rely on this replica.",
        )


def matches(replica: ObjectStore, version: ObjectVersion, item: StoredObject) -> bool:
    """Read a version whole and say whether its bytes are the object's: both digests and the size."""
    if version.size != item.size:
        return False
    return read_fingerprint(replica, version.key, version.version_id) == fingerprint_of(item)


def fingerprint_of(item: StoredObject) -> Fingerprint:
    """Give the fingerprint that an object's stored bytes must have."""
    return Fingerprint(item.sha256, item.sha3_512, item.size)


def read_fingerprint(replica: ObjectStore, key: str, version_id: str) -> Fingerprint:
    """Read a version from the store to its end and give the fingerprint of what came."""
    with replica.open(key, version_id) as stream:
        return fingerprint_stream(stream)


def require_there(archive: Archive, item: StoredObject, copy: Copy) -> None:
    """Refuse to lock, and then to attest, a copy that went or changed while the deposit waited.

    A copy read back within the hour is believed; an older one is read whole again.
    """
    replica = archive.replica(copy.replica)
    found = [version for version in replica.versions(item.key) if version.version_id == copy.version_id]
    recent = archive.clock() - copy.checked_at < BELIEVED
    if not found or found[0].size != item.size or not (recent or matches(replica, found[0], item)):
        raise IntegrityFailureError(
            "COPY_DAMAGED",
            f"The {copy.role} on {copy.replica} is gone or altered since it was stored.",
            remedy="Run `minutier sweep`, which mends it from the other replica, then the same command again.",
        )
