"""The vault: store, commit, lock, attest (protocol steps 8 to 10). Files first, database last, full lock after commit.

Each step starts from the recorded state and may be run again after any crash: what was done is found and adopted,
never done twice. Staged versions are locked for a few days only, so a deposit that dies leaves nothing that lasts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from minutier import canonical
from minutier.errors import IntegrityFailureError
from minutier.events import format_time
from minutier.fingerprint import Fingerprint, fingerprint_bytes, fingerprint_file
from minutier.manifest import Part, read_parts
from storage import catalogue, journal, safes
from storage.archive import Archive
from storage.batches import lock_batch, missing_batches, store_batch
from storage.blind import is_blind
from storage.catalogue import Deposit, StoredObject
from storage.database import Connection
from storage.files import remove
from storage.keys import encrypt_file, spool_altered
from storage.placing import fingerprint_of, lock_version, place, require_there
from storage.reception import SPOOL_NAMES, claimed, current

_SECOND_SEAL = "seal-mldsa65"


def object_key(deposit: Deposit, role: str) -> str:
    """Give the object's key: it names the safe and the random archive_id, nothing personal, no digest."""
    return f"{deposit.safe}/{deposit.archive_id}/{role}.age"


def store_deposit(archive: Archive, archive_id: str) -> Deposit:
    """Put every object of a STAMPED deposit, encrypted, on every replica under a short lock, and read it back.

    The batch file of its token goes with the first of its documents.
    """
    with claimed(archive, archive_id, "STAMPED") as deposit:
        if deposit is not None:
            _store(archive, deposit)
    return current(archive, archive_id)


def _store(archive: Archive, deposit: Deposit) -> None:
    staged = _stage(archive, deposit, _document_key(archive, deposit))
    placed = [
        (item, replica.name, place(archive, replica, item, path).version_id)
        for item, path in staged
        for replica in archive.replicas
    ]
    store_batch(archive, deposit.token_id)

    def record(connection: Connection) -> dict[str, str | int]:
        for item, replica, version_id in placed:
            catalogue.put_copy(connection, item, replica, version_id, archive.clock())
        return {}

    _advance(archive, deposit, "STORED", record)


def commit_deposit(archive: Archive, archive_id: str) -> Deposit:
    """Commit a STORED deposit: state and journal entry in one transaction; it is then part of the archive."""
    deposit = current(archive, archive_id)
    if deposit.state != "STORED":
        return deposit

    def complete(connection: Connection) -> dict[str, str | int]:
        needed = [part.role for part in sealed_parts(deposit)] + list(_catalogued(deposit))
        placed = {(copy.role, copy.replica) for copy in catalogue.copies(connection, archive_id)}
        missing = [f"{role} on {s.name}" for role in needed for s in archive.replicas if (role, s.name) not in placed]
        missing += missing_batches(archive, connection, deposit.token_id)
        if missing or deposit.manifest is None:
            raise IntegrityFailureError(
                "COPY_MISSING",
                f"Not every copy is in place ({', '.join(missing)}).",
                remedy="Run the same deposit again.",
            )
        return {"manifest_sha256": hashlib.sha256(deposit.manifest).hexdigest(), "objects": len(needed)}

    _advance(archive, deposit, "COMMITTED", complete)
    with archive.database.transaction() as connection:
        journal.sequence(connection)
    return current(archive, archive_id)


def lock_deposit(archive: Archive, archive_id: str) -> Deposit:
    """Extend the lock of every version of a COMMITTED deposit to its term, set the legal hold, and verify both."""
    deposit = current(archive, archive_id)
    until = deposit.retain_until
    if deposit.state != "COMMITTED" or until is None:
        return deposit
    lock_batch(archive, deposit.token_id)
    with archive.database.transaction() as connection:
        items = catalogue.objects(connection, archive_id)
        copies = catalogue.copies(connection, archive_id)
    for copy in copies:
        require_there(archive, items[copy.role], copy)
        lock_version(archive.replica(copy.replica), items[copy.role].key, copy.version_id, until)

    def record(connection: Connection) -> dict[str, str | int]:
        for copy in copies:
            catalogue.set_copy(connection, copy, locked_until=until)
        return {}

    _advance(archive, deposit, "LOCKED", record)
    return current(archive, archive_id)


def attest_deposit(archive: Archive, archive_id: str) -> Deposit:
    """Put the sealed attestation of a LOCKED deposit in the outbox and end it ARCHIVED; only then drop its spool."""
    deposit = current(archive, archive_id)
    if deposit.state == "LOCKED":
        now = archive.clock()
        body = _attestation(deposit, now)
        sealed = archive.signer.seal(body, now, "attestation", archive_id)

        def deliver(connection: Connection) -> dict[str, str | int]:
            connection.execute(
                "INSERT INTO outbox (archive_id, body, seal, created_at) VALUES (%s, %s, %s, %s)",
                (archive_id, body, sealed.signature, now),
            )
            return {"attestation_sha256": hashlib.sha256(body).hexdigest(), **sealed.journaled(connection)}

        _advance(archive, deposit, "ARCHIVED", deliver)
        with archive.database.transaction() as connection:
            journal.sequence(connection)
        deposit = current(archive, archive_id)
    if deposit.state == "ARCHIVED":
        remove(archive.spool / archive_id)
    return deposit


def sealed_parts(deposit: Deposit) -> list[Part]:
    """Give the files that the sealed manifest describes; IntegrityFailureError when it is missing or unreadable."""
    try:
        return read_parts(deposit.manifest or b"")
    except ValueError as error:
        raise IntegrityFailureError(
            "MANIFEST_ALTERED", f"The manifest cannot be read ({error}).", remedy="Keep the instance as it is."
        ) from error


def _advance(
    archive: Archive,
    deposit: Deposit,
    state: str,
    within: Callable[[Connection], dict[str, str | int]] | None = None,
) -> None:
    with archive.database.transaction() as connection:
        details = within(connection) if within is not None else None
        catalogue.advance(connection, deposit, state, archive.clock(), details=details)


def _document_key(archive: Archive, deposit: Deposit) -> str:
    with archive.database.transaction() as connection:
        query = "SELECT recipient, wrapped FROM document_key WHERE archive_id = %s"
        row = connection.execute(query, (deposit.archive_id,)).fetchone()
        if row is None:
            recipients = safes.recipients_of(connection, deposit.safe, lock="SHARE")
            for own in recipients.host:
                archive.keys.require_safe_key(deposit.safe, own)
            recipient, wrapped = archive.keys.new_document_key(recipients.all)
            connection.execute(
                "INSERT INTO document_key (archive_id, recipient, wrapped, wrapped_for) VALUES (%s, %s, %s, %s)",
                (deposit.archive_id, recipient, wrapped, recipients.set_id),
            )
        else:
            recipient, wrapped = row["recipient"], bytes(row["wrapped"])
    archive.keys.keep(deposit.archive_id, wrapped)
    return recipient


def _catalogued(deposit: Deposit) -> dict[str, bytes | None]:
    """Give, by role, the bytes of the objects that the catalogue holds; the second seal where there is one."""
    second = {_SECOND_SEAL: deposit.second_seal} if deposit.second_seal is not None else {}
    return {"manifest": deposit.manifest, "seal": deposit.seal, **second}


def _sources(archive: Archive, deposit: Deposit) -> dict[str, tuple[Path, Fingerprint]]:
    """Give the clear file of each role and what its bytes must be: the sealed manifest says so, not the spool.

    What lives in the catalogue is written beside the original.
    """
    sources = {
        part.role: (archive.spooled(deposit.archive_id, SPOOL_NAMES[part.role]), part.fingerprint)
        for part in sealed_parts(deposit)
    }
    for role, data in _catalogued(deposit).items():
        if data is None:
            raise IntegrityFailureError(
                "PART_MISSING", f"The deposit has no {role}.", remedy="Keep the instance as it is and report this."
            )
        # Not flushed: the catalogue holds these bytes, and the next run writes them again.
        path = archive.spooled(deposit.archive_id, role)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(data)
        sources[role] = (path, fingerprint_bytes(data))
    return sources


def _stage(archive: Archive, deposit: Deposit, recipient: str) -> list[tuple[StoredObject, Path]]:
    """Encrypt each file once and remember the digests: a later run puts the very same bytes, and adopts what is there.

    The digests are in the catalogue before the first byte is on a store.
    """
    with archive.database.transaction() as connection:
        known = catalogue.objects(connection, deposit.archive_id)
    staged: list[tuple[StoredObject, Path]] = []
    for role, (source, expected) in _sources(archive, deposit).items():
        path, item = archive.spooled(deposit.archive_id, f"objects/{role}.age"), known.get(role)
        # What its depositor encrypted is stored as it came.
        sealed_before = role == "original" and is_blind(deposit)
        path = source if sealed_before else path
        if item is None or not path.exists() or fingerprint_file(path) != fingerprint_of(item):
            if not source.is_file():
                raise spool_altered(source.name)
            if not sealed_before:
                encrypt_file(source, path, recipient, expected)
            digest = fingerprint_file(path)
            if sealed_before and digest != expected:
                raise spool_altered(source.name)
            key = object_key(deposit, role)
            item = StoredObject(deposit.archive_id, role, key, digest.sha256, digest.sha3_512, digest.size)
        staged.append((item, path))
    with archive.database.transaction() as connection:
        for item, _ in staged:
            catalogue.put_object(connection, item)
    return staged


def _attestation(deposit: Deposit, now: datetime) -> bytes:
    if deposit.manifest is None or deposit.retain_until is None:
        raise IntegrityFailureError(
            "PART_MISSING", "The deposit has no manifest.", remedy="Keep the instance as it is and report this."
        )
    return canonical.encode(
        {
            "format": "minutier-attestation/1",
            "act": "deposit",
            "archive_id": deposit.archive_id,
            "safe": deposit.safe,
            "reference": deposit.reference,
            "fingerprint": deposit.fingerprint,
            "size": deposit.size or 0,
            "deposited_at": format_time(deposit.received_at),
            "archived_at": format_time(now),
            "retained_until": format_time(deposit.retain_until),
            "manifest_sha256": hashlib.sha256(deposit.manifest).hexdigest(),
        }
    )
