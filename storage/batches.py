"""Batch files: each token with the leaves of its tree, on every replica (docs/format/evidence-v2.md §5).

With them and the objects of the documents, the evidence record of each document can be built again without the
database; journal anchors cannot. They hold nothing of a document: no key is needed to read them, and none of their
hashes confirms a guess. What settles whether a token stands, its revocation data, follows in a file of its own (§6).
"""

from __future__ import annotations

import base64
from datetime import datetime

from minutier import canonical, evidence
from minutier.fingerprint import fingerprint_bytes
from storage import catalogue
from storage.archive import Archive
from storage.catalogue import StoredObject
from storage.database import Connection
from storage.files import remove, write_durably
from storage.placing import lock_version, place, require_there

FORMAT, REVOCATION_FORMAT = "minutier-evidence-batch/1", "minutier-revocation/1"
ROLE, REVOCATION = "batch", "revocation"
EVIDENCE = "_evidence"
"""Where the files of tokens lie on a store; no safe has a name that begins like this."""
STAGING = "batches"
"""The folder of the spool where batch files wait for the stores."""


def batch_key(token_id: str) -> str:
    """Give the key of a batch file."""
    return f"{EVIDENCE}/{token_id}/batch.json"


def encode_batch(connection: Connection, token_id: str) -> bytes:
    """Write the batch file of a token from the catalogue; KeyError when there is no such token."""
    row = connection.execute("SELECT token, algorithm, leaves FROM token WHERE token_id = %s", (token_id,)).fetchone()
    if row is None:
        raise KeyError(token_id)
    size, values = evidence.SIZES[row["algorithm"]], bytes(row["leaves"] or b"")
    rows = connection.execute(
        "SELECT subject AS kind, archive_id AS id, number AS chain, leaf FROM evidence_chain WHERE token_id = %(token)s"
        " UNION ALL SELECT 'token', token_id, 0, leaf FROM token_renewal WHERE by_token = %(token)s ORDER BY leaf",
        {"token": token_id},
    ).fetchall()
    return canonical.encode(
        {
            "format": FORMAT,
            "token_id": token_id,
            "algorithm": row["algorithm"],
            "token": base64.b64encode(bytes(row["token"])).decode(),
            "leaves": [values[place : place + size].hex() for place in range(0, len(values), size)],
            "owners": [
                {"kind": each["kind"], "id": str(each["id"]), "chain": each["chain"], "leaf": each["leaf"]}
                for each in rows
            ],
        }
    )


def store_batch(archive: Archive, token_id: str | None) -> None:
    """Put the batch file of a token on every replica under a short lock and read it back; nothing when it is there."""
    if token_id is None or not _lacking(archive, token_id):
        return
    with archive.database.exclusive(f"batch {token_id}", wait=True):
        if not _lacking(archive, token_id):
            return
        with archive.database.transaction() as connection:
            data = encode_batch(connection, token_id)
        _put(archive, token_id, ROLE, batch_key(token_id), data)


def store_revocation(archive: Archive) -> int:
    """Put the revocation data of each token that is settled on every replica, locked; gives how many were put.

    Only beside a batch file that is locked: a document rests on it. Raises what the stores raise: what is missing then
    is put by the next run.
    """
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT t.token_id FROM token t JOIN object b ON b.archive_id = t.token_id AND b.role = 'batch'"
            " AND b.retain_until IS NOT NULL WHERE t.revocation_state <> 'open'"
            " AND EXISTS (SELECT 1 FROM token_revocation r WHERE r.token_id = t.token_id)"
            " AND NOT EXISTS (SELECT 1 FROM object o WHERE o.archive_id = t.token_id AND o.role = 'revocation'"
            " AND o.retain_until IS NOT NULL) ORDER BY t.gen_time"
        ).fetchall()
    for row in rows:
        token_id = str(row["token_id"])
        with archive.database.exclusive(f"batch {token_id}", wait=True):
            with archive.database.transaction() as connection:
                data = encode_revocation(connection, token_id)
            _put(archive, token_id, REVOCATION, f"{EVIDENCE}/{token_id}/revocation.json", data)
        lock_batch(archive, token_id)
    return len(rows)


def encode_revocation(connection: Connection, token_id: str) -> bytes:
    """Write the revocation file of a token from the catalogue."""
    rows = connection.execute(
        "SELECT kind, data FROM token_revocation WHERE token_id = %s ORDER BY sha256", (token_id,)
    ).fetchall()
    items = [{"kind": row["kind"], "data": base64.b64encode(bytes(row["data"])).decode()} for row in rows]
    return canonical.encode({"format": REVOCATION_FORMAT, "token_id": token_id, "items": items})


def _put(archive: Archive, token_id: str, role: str, key: str, data: bytes) -> None:
    found = fingerprint_bytes(data)
    item = StoredObject(token_id, role, key, found.sha256, found.sha3_512, found.size)
    with archive.database.transaction() as connection:
        catalogue.put_object(connection, item, anew=True)
    staged = archive.spool / STAGING / f"{token_id}.{role}.json"
    write_durably(staged, data, mode=0o600)
    try:
        versions = [(replica.name, place(archive, replica, item, staged)) for replica in archive.replicas]
    finally:
        remove(staged)
    with archive.database.transaction() as connection:
        for name, version in versions:
            catalogue.put_copy(connection, item, name, version.version_id, archive.clock())


def lock_batch(archive: Archive, token_id: str | None, least: datetime | None = None) -> None:
    """Lock the files of a token to the longest term of the documents that rest on it, with the legal hold.

    With `least`, the term of a document that was just committed or extended, only committed ones count, and nothing is
    done where they are locked as long as that already.
    """
    if token_id is None or (least is not None and _locked_to(archive, token_id, least)):
        return
    with archive.database.exclusive(f"batch {token_id}", wait=True):
        with archive.database.transaction() as connection:
            term, items = (
                _term(connection, token_id, committed=least is not None),
                catalogue.objects(connection, token_id),
            )
            copies = catalogue.copies(connection, token_id)
        if term is None:
            return
        term = max(term, least or term)
        late = [copy for copy in copies if copy.locked_until is None or copy.locked_until < term]
        for copy in late:
            require_there(archive, items[copy.role], copy)
            lock_version(archive.replica(copy.replica), items[copy.role].key, copy.version_id, term)
        with archive.database.transaction() as connection:
            for copy in late:
                catalogue.set_term(connection, token_id, copy.role, term)
                catalogue.set_locked(connection, copy, term)


def _locked_to(archive: Archive, token_id: str, least: datetime) -> bool:
    with archive.database.transaction() as connection:
        ends = [copy.locked_until for copy in catalogue.copies(connection, token_id)]
    return bool(ends) and all(end is not None and end >= least for end in ends)


def _lacking(archive: Archive, token_id: str) -> list[str]:
    with archive.database.transaction() as connection:
        return missing_batches(archive, connection, token_id)


def missing_batches(archive: Archive, connection: Connection, token_id: str | None) -> list[str]:
    """Say on which replicas the batch file that a document needs is not placed, in the words of an error message."""
    if token_id is None or not _has_leaves(connection, token_id):
        return []
    placed = {copy.replica for copy in catalogue.copies(connection, token_id) if copy.role == ROLE}
    return [f"{ROLE} on {store.name}" for store in archive.replicas if store.name not in placed]


def _has_leaves(connection: Connection, token_id: str) -> bool:
    """A token of an earlier release has no leaves: its whole records are among the objects of its documents."""
    row = connection.execute(
        "SELECT leaves IS NOT NULL AS known FROM token WHERE token_id = %s", (token_id,)
    ).fetchone()
    return row is not None and bool(row["known"])


def _term(connection: Connection, token_id: str, *, committed: bool) -> datetime | None:
    """Give the end of the longest class among the documents that a token dates, directly or by renewing their token.

    With `committed`, of those alone that are part of the archive: another may be abandoned yet, and lock nothing long.
    """
    row = connection.execute(
        "WITH RECURSIVE renewed AS (SELECT %s::uuid AS token_id UNION"
        " SELECT r.token_id FROM token_renewal r JOIN renewed ON r.by_token = renewed.token_id)"
        " SELECT max(greatest(d.retain_until, d.extended_until)) AS term"
        " FROM renewed JOIN evidence_chain c USING (token_id) JOIN deposit d USING (archive_id)"
        " WHERE NOT %s OR d.state = ANY(%s)",
        (token_id, committed, list(catalogue.COMMITTED_STATES)),
    ).fetchone()
    return row["term"] if row else None
