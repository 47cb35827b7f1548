"""The vault: store, commit, lock, attest (protocol steps 8 to 10). Files first, database last, full lock after commit.

Each step starts from the recorded state and may be run again after any crash: what was done is found and adopted,
never done twice. Staged versions are locked for a few days only, so a deposit that dies leaves nothing that lasts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from minutier import canonical
from minutier.errors import IntegrityFailureError, MinutierError
from minutier.events import format_time
from minutier.fingerprint import Fingerprint, fingerprint_bytes, fingerprint_file
from minutier.manifest import Part, read_parts
from minutier.sealed_record import SealedRecord, encode_sealed_record
from storage import catalogue, journal, safes
from storage.archive import Archive
from storage.batches import lock_batch, missing_batches, store_batch
from storage.blind import is_blind
from storage.catalogue import Deposit, StoredObject
from storage.database import Connection
from storage.files import remove
from storage.keys import encrypt_file, spool_altered
from storage.placing import BELIEVED, fingerprint_of, lock_version, place, require_there
from storage.reception import SPOOL_NAMES, do_step

_Found = TypeVar("_Found")
_RECORD = "record"
_EARLIER = ("manifest", "seal")
"""Roles of what is now one record, in documents of earlier releases."""


def object_key(deposit: Deposit, role: str) -> str:
    """Give the object's key: it names the safe and the random archive_id, nothing personal, no digest."""
    return f"{deposit.safe}/{deposit.archive_id}/{role}.age"


def store_deposit(archive: Archive, archive_id: str) -> Deposit:
    """Put every object of a STAMPED deposit, encrypted, on every replica under a short lock, and read it back.

    The batch file of its token goes with the first of its documents.
    """
    return do_step(archive, archive_id, "STAMPED", lambda deposit: _store(archive, deposit))


def _store(archive: Archive, deposit: Deposit) -> Deposit:
    staged = _stage(archive, deposit)
    placed = [
        (item, replica.name, place(archive, replica, item, path).version_id)
        for item, path in staged
        for replica in archive.replicas
    ]
    store_batch(archive, deposit.token_id)
    now = archive.clock()
    with archive.database.transaction() as connection:
        # Again, with the copies: another worker may have staged other bytes since, had this one lost its lock.
        for item, _ in staged:
            catalogue.put_object(connection, item)
        for item, replica, version_id in placed:
            catalogue.put_copy(connection, item, replica, version_id, now)
        return catalogue.advance(connection, deposit, "STORED", now)


def commit_deposits(archive: Archive, archive_ids: Sequence[str]) -> list[Deposit]:
    """Commit the STORED ones of these deposits, states and journal entries in one transaction, then number the journal.

    They are then part of the archive. One that lacks a copy stays STORED and hinders no other: IntegrityFailureError
    (`COPY_MISSING`, `COPY_DAMAGED`) names it, once the others are committed.
    """
    with archive.database.transaction() as connection:
        stored = [each for each in catalogue.get_all(connection, archive_ids) if each.state == "STORED"]
    there, gone = _each(stored, lambda deposit: _require_staged(archive, deposit))
    with archive.database.transaction() as connection:
        whole, trouble = _each(
            (deposit for deposit, _ in there), lambda deposit: _commitment(archive, connection, deposit)
        )
        if whole:
            catalogue.advance_all(connection, whole, "COMMITTED", archive.clock())
    return _numbered(archive, archive_ids, gone or trouble)


def _each(
    deposits: Iterable[Deposit], look: Callable[[Deposit], _Found]
) -> tuple[list[tuple[Deposit, _Found]], MinutierError | None]:
    """Give what `look` finds of each deposit, and the first error met: one deposit in trouble hinders no other."""
    found, trouble = list[tuple[Deposit, _Found]](), list[MinutierError]()
    for deposit in deposits:
        try:
            found.append((deposit, look(deposit)))
        except IntegrityFailureError as error:
            trouble.append(error)
    return found, trouble[0] if trouble else None


def _require_staged(archive: Archive, deposit: Deposit) -> None:
    """Refuse to commit by its rows alone what was read back long ago: its short locks may have ended since."""
    with archive.database.transaction() as connection:
        owners = [deposit.archive_id, *filter(None, [deposit.token_id])]
        pairs = [
            (catalogue.objects(connection, owner)[copy.role], copy)
            for owner in owners
            for copy in catalogue.copies(connection, owner)
        ]
    for item, copy in pairs:
        if archive.clock() - copy.checked_at < BELIEVED:
            continue
        try:
            require_there(archive, item, copy)
        except IntegrityFailureError as error:
            raise IntegrityFailureError(
                error.code,
                error.message,
                remedy="Run `minutier sweep`, which mends it from the other replica, then the same command again."
                f" Where no replica has it: `minutier abandon {deposit.archive_id} --reason …`, then send it again.",
            ) from error


def _commitment(archive: Archive, connection: Connection, deposit: Deposit) -> dict[str, str | int]:
    """Give the details of a commit entry; IntegrityFailureError (`COPY_MISSING`) unless every copy is in place."""
    parts, known = [part.role for part in sealed_parts(deposit)], catalogue.objects(connection, deposit.archive_id)
    earlier = [role for role in known if role.startswith(_EARLIER)]
    needed = [*parts, *(earlier if earlier and _RECORD not in known else [_RECORD])]
    placed = {(copy.role, copy.replica) for copy in catalogue.copies(connection, deposit.archive_id)}
    missing = [f"{role} on {s.name}" for role in needed for s in archive.replicas if (role, s.name) not in placed]
    missing += missing_batches(archive, connection, deposit.token_id)
    if missing or deposit.manifest is None:
        raise IntegrityFailureError(
            "COPY_MISSING",
            f"Not every copy of {deposit.archive_id} is in place ({', '.join(missing)}).",
            remedy="Run the same deposit again.",
        )
    return {"manifest_sha256": hashlib.sha256(deposit.manifest).hexdigest(), "objects": len(needed)}


def _numbered(archive: Archive, archive_ids: Sequence[str], trouble: MinutierError | None) -> list[Deposit]:
    """Number the journal after a batch, raise the trouble of one of its deposits, or give them all as they stand."""
    with archive.database.transaction() as connection:
        journal.sequence(connection)
    if trouble is not None:
        raise trouble
    with archive.database.transaction() as connection:
        return catalogue.get_all(connection, archive_ids)


def lock_deposit(archive: Archive, archive_id: str) -> Deposit:
    """Extend the lock of every version of a COMMITTED deposit to its term, set the legal hold, and verify both."""
    with archive.database.transaction() as connection:
        deposit = catalogue.get(connection, archive_id)
        items = catalogue.objects(connection, archive_id)
        copies = catalogue.copies(connection, archive_id)
    until = deposit.retain_until
    if deposit.state != "COMMITTED" or until is None:
        return deposit
    lock_batch(archive, deposit.token_id, until)
    for copy in copies:
        require_there(archive, items[copy.role], copy)
        lock_version(archive.replica(copy.replica), items[copy.role].key, copy.version_id, until)
    with archive.database.transaction() as connection:
        for copy in copies:
            catalogue.set_locked(connection, copy, until)
        return catalogue.advance(connection, deposit, "LOCKED", archive.clock())


def attest_deposits(archive: Archive, archive_ids: Sequence[str]) -> list[Deposit]:
    """Put the sealed attestations of the LOCKED ones of these deposits in the outbox and end them ARCHIVED.

    All in one transaction; only then is their spool dropped. One that cannot be attested hinders no other.
    """
    now = archive.clock()
    with archive.database.transaction() as connection:
        locked = [each for each in catalogue.get_all(connection, archive_ids) if each.state == "LOCKED"]
    bodies, trouble = _each(locked, lambda deposit: _attestation(deposit, now))
    attested = [
        (deposit, body, archive.signer.seal(body, now, "attestation", deposit.archive_id)) for deposit, body in bodies
    ]
    if attested:
        with archive.database.transaction() as connection:
            ended = [
                (deposit, {"attestation_sha256": hashlib.sha256(body).hexdigest(), **sealed.journaled(connection)})
                for deposit, body, sealed in attested
            ]
            # First, for of two workers the second is stopped here.
            catalogue.advance_all(connection, ended, "ARCHIVED", now)
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO outbox (archive_id, body, seal, created_at) VALUES (%s, %s, %s, %s)",
                    [(deposit.archive_id, body, sealed.signature, now) for deposit, body, sealed in attested],
                )
    found = _numbered(archive, archive_ids, trouble)
    for deposit in found:
        if deposit.state == "ARCHIVED":
            remove(archive.spool / deposit.archive_id)
    return found


def sealed_parts(deposit: Deposit) -> list[Part]:
    """Give the files that the sealed manifest describes; IntegrityFailureError when it is missing or unreadable."""
    try:
        return read_parts(deposit.manifest or b"")
    except ValueError as error:
        raise IntegrityFailureError(
            "MANIFEST_ALTERED", f"The manifest cannot be read ({error}).", remedy="Keep the instance as it is."
        ) from error


def _document_key(archive: Archive, connection: Connection, deposit: Deposit) -> tuple[str, bytes]:
    """Give the recipient of the document's key and the key wrapped for its safe: made once, kept for every run."""
    query = "SELECT recipient, wrapped FROM document_key WHERE archive_id = %s"
    row = connection.execute(query, (deposit.archive_id,)).fetchone()
    if row is not None:
        return row["recipient"], bytes(row["wrapped"])
    recipients = safes.recipients_of(connection, deposit.safe, lock="SHARE")
    for own in recipients.host:
        archive.keys.require_safe_key(deposit.safe, own)
    recipient, wrapped = archive.keys.new_document_key(recipients.all)
    done = connection.execute(
        "INSERT INTO document_key (archive_id, recipient, wrapped, wrapped_for) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (deposit.archive_id, recipient, wrapped, recipients.set_id),
    )
    # Another worker's, where it was faster: there is one key.
    return (recipient, wrapped) if done.rowcount == 1 else _document_key(archive, connection, deposit)


def stored_record(deposit: Deposit) -> bytes:
    """Give what the catalogue holds of a sealed document as it is stored, in one object."""
    if deposit.manifest is None or deposit.seal is None:
        raise IntegrityFailureError(
            "PART_MISSING",
            "The deposit has no manifest, or no seal.",
            remedy="Keep the instance as it is and report this.",
        )
    return encode_sealed_record(SealedRecord(deposit.manifest, deposit.seal, deposit.second_seal))


def _sources(archive: Archive, deposit: Deposit) -> dict[str, tuple[Path, Fingerprint]]:
    """Give the clear file of each role and what its bytes must be: the sealed manifest says so, not the spool.

    What lives in the catalogue is written beside the original.
    """
    sources = {
        part.role: (archive.spooled(deposit.archive_id, SPOOL_NAMES[part.role]), part.fingerprint)
        for part in sealed_parts(deposit)
    }
    record, path = stored_record(deposit), archive.spooled(deposit.archive_id, _RECORD)
    # Not flushed: the catalogue holds these bytes, and the next run writes them again.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(record)
    return sources | {_RECORD: (path, fingerprint_bytes(record))}


def _stage(archive: Archive, deposit: Deposit) -> list[tuple[StoredObject, Path]]:
    """Encrypt each file once and remember the digests: a later run puts the very same bytes, and adopts what is there.

    The digests are in the catalogue before the first byte is on a store.
    """
    with archive.database.transaction() as connection:
        recipient, wrapped = _document_key(archive, connection, deposit)
        known = catalogue.objects(connection, deposit.archive_id)
    archive.keys.keep(deposit.archive_id, wrapped)
    staged: list[tuple[StoredObject, Path]] = []
    for role, (source, expected) in _sources(archive, deposit).items():
        path, item = archive.spooled(deposit.archive_id, f"objects/{role}.age"), known.get(role)
        # What its depositor encrypted is stored as it came.
        sealed_before = role == "original" and is_blind(deposit)
        path = source if sealed_before else path
        if item is None or not path.exists() or fingerprint_file(path) != fingerprint_of(item):
            if not source.is_file():
                raise spool_altered(source.name)
            if sealed_before:
                digest = fingerprint_file(path)
                if digest != expected:
                    raise spool_altered(source.name)
            else:
                digest = encrypt_file(source, path, recipient, expected, durable=False)
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
