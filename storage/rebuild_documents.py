"""The part of a rebuild that reads documents: what their sealed records say, their wrapped keys, their seals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from minutier import canonical
from minutier.age import Identity
from minutier.age_stream import decrypt_bytes
from minutier.errors import IntegrityFailureError
from minutier.events import Event
from minutier.fingerprint import fingerprint_bytes
from minutier.seal import check_seal, check_second_seal
from minutier.sealed_record import SealedRecord, decode_sealed_record
from storage import catalogue, ledger
from storage.catalogue import Deposit, StoredObject
from storage.database import Connection
from storage.placing import fingerprint_of
from storage.ports import ObjectStore

if TYPE_CHECKING:
    from storage.rebuild import Sources

Found = tuple[str, str, str]
"""Code, archive_id and sentence of what did not hold."""
_KEEP = "Keep the stores as they are; the other documents were made."
_PAGE = 500
_NEVER = "00000000-0000-0000-0000-000000000000"


def complete_documents(
    sources: Sources, stores: Sequence[ObjectStore], connection: Connection, say: Callable[[str], None]
) -> tuple[int, int, list[Found]]:
    """Give every document what its record and its wrapped key say, and check its seals.

    Gives how many records were read, how many documents have seals that hold, and what did not hold: a document whose
    record no store gives, or whose seal does not hold, keeps values that stand in, and the others are made.
    """
    findings = list(_take_wrapped_keys(sources, connection))
    documents = seals = 0
    for page in _pages(connection):
        for row in page:
            archive_id = str(row["archive_id"])
            try:
                if row["columns"]:
                    _complete(sources, stores, connection, archive_id, row["columns"])
                    documents += 1
                seals += _check_seals(sources, connection, archive_id)
            except IntegrityFailureError as error:
                findings.append((error.code, archive_id, error.message))
        say(f"rebuild: {documents} sealed records read, {seals} seals hold, {len(findings)} findings")
    return documents, seals, findings


def _take_wrapped_keys(sources: Sources, connection: Connection) -> Iterator[Found]:
    """Take the wrapped keys from the keys directory; a key that is not there was destroyed, or lost."""
    after = _NEVER
    query = (
        "SELECT archive_id FROM told_elsewhere WHERE name = 'document_key' AND archive_id > %s"
        " ORDER BY archive_id LIMIT %s"
    )
    while rows := connection.execute(query, (after, _PAGE)).fetchall():
        for row in rows:
            archive_id = str(row["archive_id"])
            if (wrapped := sources.keys.kept(archive_id)) is None:
                connection.execute("DELETE FROM document_key WHERE archive_id = %s", (archive_id,))
                yield "KEY_MISSING", archive_id, "The keys directory has no wrapped key for this document."
            else:
                update = "UPDATE document_key SET wrapped = %s WHERE archive_id = %s"
                connection.execute(update, (wrapped, archive_id))
        after = str(rows[-1]["archive_id"])


def _pages(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    after = _NEVER
    query = (
        "SELECT d.archive_id, t.columns FROM deposit d LEFT JOIN told_elsewhere t"
        " ON t.name = 'deposit' AND t.archive_id = d.archive_id WHERE d.archive_id > %s ORDER BY d.archive_id LIMIT %s"
    )
    while rows := connection.execute(query, (after, _PAGE)).fetchall():
        yield rows
        after = rows[-1]["archive_id"]


def _complete(
    sources: Sources, stores: Sequence[ObjectStore], connection: Connection, archive_id: str, columns: Sequence[str]
) -> None:
    items, deposit = catalogue.objects(connection, archive_id), catalogue.get(connection, archive_id)
    wrapped = sources.keys.kept(archive_id)
    if wrapped is None:
        raise IntegrityFailureError("KEY_MISSING", "Its record cannot be read without its key.", remedy=_KEEP)
    identity = sources.keys.unwrap(deposit.safe, wrapped)
    _require_key_of(connection, archive_id, identity)
    copies = catalogue.copies(connection, archive_id)
    versions = {(copy.role, copy.replica): copy.version_id for copy in copies}

    def part(role: str) -> bytes | None:
        return _read(stores, items[role], versions, identity) if role in items else None

    found = sealed_record(part)
    second = f"\\x{found.second_seal.hex()}" if found.second_seal is not None else None
    told = ledger.told_by_record(found.manifest, f"\\x{found.seal.hex()}", second)
    told = {name: told[name] for name in columns}
    names = SQL(", ").join(map(Identifier, told))
    query = SQL(
        "UPDATE deposit SET ({names}) = ROW({values}) FROM jsonb_populate_record(NULL::deposit, %s) AS told"
        " WHERE deposit.archive_id = %s"
    ).format(names=names, values=SQL(", ").join(Identifier("told", name) for name in told))
    connection.execute(query, (Jsonb(told), archive_id))


def _require_key_of(connection: Connection, archive_id: str, identity: Identity) -> None:
    row = connection.execute("SELECT recipient FROM document_key WHERE archive_id = %s", (archive_id,)).fetchone()
    if row is None or row["recipient"] != str(identity.recipient):
        raise IntegrityFailureError("KEY_SWAPPED", "Its wrapped key is the key of another document.", remedy=_KEEP)


def sealed_record(part: Callable[[str], bytes | None]) -> SealedRecord:
    """Give manifest and seals of a document from its stored objects, which `part` gives by their role.

    One object of the role `record`, or one for each in documents of earlier releases. IntegrityFailureError
    (`PART_MISSING`) without them.
    """
    if (record := part("record")) is not None:
        return decode_sealed_record(record)
    manifest, seal = part("manifest"), part("seal")
    if manifest is None or seal is None:
        raise IntegrityFailureError("PART_MISSING", "No object holds its manifest or its seal.", remedy=_KEEP)
    return SealedRecord(manifest, seal, part("seal-mldsa65"))


def _read(
    stores: Sequence[ObjectStore],
    item: StoredObject,
    versions: dict[tuple[str, str], str],
    identity: Identity,
) -> bytes:
    """Give the clear bytes of an object from the first store that has it as it was stored."""
    for store in stores:
        version_id = versions.get((item.role, store.name))
        if version_id is None:
            continue
        try:
            with store.open(item.key, version_id) as stream:
                data = stream.read()
        except KeyError:
            continue
        if fingerprint_bytes(data) == fingerprint_of(item):
            return decrypt_bytes(data, [identity])
    raise IntegrityFailureError("NO_GOOD_COPY", f"No store gives its {item.role} as it was stored.", remedy=_KEEP)


def _check_seals(sources: Sources, connection: Connection, archive_id: str) -> bool:
    """Check that a document's manifest is its own, the one that the journal committed, and sealed at its time-stamp.

    Says whether it has a time-stamp yet: without one, the deposit goes on from where it stands and seals again.
    """
    deposit = catalogue.get(connection, archive_id)
    row = connection.execute(
        "SELECT (SELECT gen_time FROM token JOIN evidence_chain USING (token_id) WHERE archive_id = %(id)s"
        " AND subject = 'document' AND number = 1) AS gen_time, (SELECT entry FROM journal_event"
        " WHERE archive_id = %(id)s AND event = %(event)s ORDER BY seq DESC LIMIT 1) AS entry",
        {"id": archive_id, "event": Event.DEPOSIT_COMMITTED.value},
    ).fetchone()
    if row is None or row["gen_time"] is None or deposit.manifest is None or deposit.seal is None:
        return False
    _require_own(deposit, bytes(row["entry"]) if row["entry"] else None)
    trust, at = sources.trust, row["gen_time"]
    check_seal(deposit.manifest, deposit.seal, trust.seal_roots, at, sources.crls)
    if deposit.second_seal is not None:
        check_second_seal(deposit.manifest, deposit.second_seal, trust.second_roots, at, sources.crls)
    return True


def _require_own(deposit: Deposit, committed: bytes | None) -> None:
    manifest = deposit.manifest or b""
    named = canonical.decode(manifest)["archive_id"]
    digest = canonical.decode(committed)["details"]["manifest_sha256"] if committed else None
    if named != deposit.archive_id or digest not in (None, hashlib.sha256(manifest).hexdigest()):
        raise IntegrityFailureError(
            "MANIFEST_ALTERED", "Its manifest is not the one that the journal committed.", remedy=_KEEP
        )
