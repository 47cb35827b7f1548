"""Keeping the journal on the stores: segments are cut from the database, placed on every replica and locked.

With them, the objects of the documents and the wrapped keys, catalogue and journal can be made again (docs/adr/0008).
A segment is cut in one transaction and its bytes stay in the database until every replica holds them: whatever dies,
the next run places these very bytes, so that no two segments tell of the same entries.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from minutier import segment
from minutier.age import parse_recipients
from minutier.age_stream import encrypt_bytes
from minutier.errors import IntegrityFailureError
from minutier.events import format_time
from minutier.fingerprint import fingerprint_bytes
from minutier.retention import retain_until
from minutier.segment import Head
from storage import catalogue, journal, ledger
from storage.archive import Archive
from storage.batches import STAGING
from storage.catalogue import StoredObject
from storage.database import Connection
from storage.files import write_durably
from storage.placing import lock_version, matches, place
from storage.ports import ObjectStore
from storage.safes import house_escrow

PREFIX = "_journal/"
ROLE, LEDGER = "segment", "ledger"
ENTRIES, ROWS = 5000, 2000
"""How much one segment holds at most."""
EXTENDED_AT_ONCE = 5000
OWNERS = uuid.UUID("6d696e75-7469-6572-8a6f-75726e616c31")
"""Name space of the ids that own the objects of segments."""


def segment_key(number: int, role: str) -> str:
    """Give the key of a segment or of its ledger; keys sort by number, and no safe has a name that begins like this."""
    return f"{PREFIX}{number:012d}/{'segment.txt' if role == ROLE else 'ledger.age'}"


def segment_owner(number: int) -> uuid.UUID:
    """Give the id that owns the objects of a segment: the number alone says it, with or without a database."""
    return uuid.uuid5(OWNERS, str(number))


def keep_journal(archive: Archive) -> int:
    """Put on every replica, locked, all that is committed and that no segment tells yet; gives how many were cut.

    May run at any time, and again after any crash. Raises what the stores raise, and IntegrityFailureError
    (`SEGMENT_FORK`) when a store holds a segment that this database has not written: it is not the last state of the
    archive.
    """
    made, whole = 0, True
    with archive.database.exclusive("journal segments", wait=True):
        _place_waiting(archive)
        with archive.database.transaction() as connection:
            while journal.sequence(connection):
                pass
        while whole:
            cut, whole = _cut(archive)
            made += cut
            _place_waiting(archive)
    return made


def extend_segments(archive: Archive) -> int:
    """Lock older segments as long as the documents that have come since; gives how many objects were extended.

    Up to some thousands in one run, the oldest first: the term of segments is the end of a year, so that all of them
    are due once a year and none in between.
    """
    with archive.database.transaction() as connection:
        row = connection.execute(
            "SELECT max(greatest(retain_until, extended_until)) AS longest FROM deposit"
        ).fetchone()
        longest = row["longest"] if row else None
        rows = connection.execute(
            "SELECT DISTINCT archive_id FROM object WHERE role = ANY(%s) AND retain_until < %s"
            " ORDER BY archive_id LIMIT %s",
            ([ROLE, LEDGER], longest, EXTENDED_AT_ONCE),
        ).fetchall()
        term = _term(archive, connection) if rows else None
    for row in rows:
        if term is not None:
            _lock(archive, str(row["archive_id"]), term)
    return len(rows)


def _cut(archive: Archive) -> tuple[int, bool]:
    """Cut one segment from what waits; gives how many (0 or 1), and whether more waits than one can hold."""
    with archive.database.transaction() as connection:
        # One state of the database: a row is told as it stood when its change was taken off the list.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        before = connection.execute(
            "SELECT number, last_seq, chain, sha256 FROM journal_segment ORDER BY number DESC LIMIT 1"
        ).fetchone()
        last, chain = (int(before["last_seq"]), bytes(before["chain"])) if before else (0, segment.START)
        rows = connection.execute(
            "SELECT entry FROM journal_event WHERE seq > %s ORDER BY seq LIMIT %s", (last, ENTRIES)
        ).fetchall()
        ids, lines = ledger.changed(connection, ROWS)
        if not rows and not ids:
            return 0, False
        entries, number = [bytes(row["entry"]) for row in rows], int(before["number"]) + 1 if before else 1
        sealed = encrypt_bytes(ledger.encode(number, lines), parse_recipients(_recipients(archive, connection)))
        after = segment.chain_after(chain, entries)
        head = Head(
            number=number,
            first=last + 1,
            last=last + len(entries),
            chain_before=chain.hex(),
            chain_after=after.hex(),
            previous=before["sha256"] if before else "",
            ledger=fingerprint_bytes(sealed).sha256,
            rows=len(lines),
            at=format_time(archive.clock()),
        )
        body = segment.encode_segment(head, entries, archive.journal_key.sign)
        ledger.forget(connection, ids)
        connection.execute(
            "INSERT INTO journal_segment (number, segment_id, first_seq, last_seq, chain, sha256, body, ledger)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (number, segment_owner(number), head.first, head.last, after, fingerprint_bytes(body).sha256, body, sealed),
        )
    return 1, len(rows) == ENTRIES or len(ids) == ROWS


def _recipients(archive: Archive, connection: Connection) -> Sequence[str]:
    escrow = house_escrow(connection)
    return [archive.keys.create_archive_key(), *([escrow] if escrow else [])]


def _place_waiting(archive: Archive) -> None:
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT number, segment_id, body, ledger FROM journal_segment WHERE body IS NOT NULL ORDER BY number"
        ).fetchall()
    for row in rows:
        _place(archive, row)


def _place(archive: Archive, row: dict[str, Any]) -> None:
    """Place both files of a segment, the ledger first: a segment that is there has its ledger beside it."""
    owner, number = str(row["segment_id"]), int(row["number"])
    staged = []
    for role, data in ((LEDGER, bytes(row["ledger"])), (ROLE, bytes(row["body"]))):
        found = fingerprint_bytes(data)
        path = archive.spool / STAGING / f"{owner}.{role}"
        write_durably(path, data, mode=0o600)
        item = StoredObject(owner, role, segment_key(number, role), found.sha256, found.sha3_512, found.size)
        staged.append((item, path))
    for store in archive.replicas:
        _require_no_other(archive, store, staged[-1][0])
    placed = [
        (item, store.name, place(archive, store, item, path).version_id)
        for item, path in staged
        for store in archive.replicas
    ]
    with archive.database.transaction() as connection:
        for item, _ in staged:
            catalogue.put_object(connection, item)
        for item, replica, version_id in placed:
            catalogue.put_copy(connection, item, replica, version_id, archive.clock())
        term = _term(archive, connection)
    _lock(archive, owner, term)
    with archive.database.transaction() as connection:
        query = "UPDATE journal_segment SET body = NULL, ledger = NULL WHERE segment_id = %s"
        connection.execute(query, (owner,))
    for _, path in staged:
        path.unlink(missing_ok=True)


def _require_no_other(archive: Archive, store: ObjectStore, item: StoredObject) -> None:
    """Refuse to go on beside a segment of the same number that the journal's key signed and this database did not."""
    key = archive.journal_key.public_key()
    for version in store.versions(item.key):
        if matches(store, version, item):
            continue
        try:
            with store.open(item.key, version.version_id) as stream:
                segment.decode_segment(stream.read(), key)
        except IntegrityFailureError:
            continue  # an unfinished or damaged write: nobody reads it as a segment
        raise IntegrityFailureError(
            "SEGMENT_FORK",
            f"The store {store.name} holds another segment {item.key} of this journal: the database is an older state.",
            remedy="Keep both as they are. Make the catalogue again: minutier rebuild --into DATABASE_URL",
        )


def _term(archive: Archive, connection: Connection) -> datetime:
    """Give until when segments are locked: the end of the year in which the last document ends, at the longest class.

    The journal is one chain: whoever checks its last entry needs its first. Of the classes that have documents, of all
    of them while there is none.
    """
    row = connection.execute(
        "SELECT (SELECT max(greatest(retain_until, extended_until)) FROM deposit) AS longest,"
        " coalesce((SELECT max(years) FROM lifecycle_class c"
        " WHERE EXISTS (SELECT 1 FROM deposit d WHERE d.class = c.name)), (SELECT max(years) FROM lifecycle_class), 1)"
        " AS years"
    ).fetchone()
    longest, years = (row["longest"], int(row["years"])) if row else (None, 1)
    term = retain_until(archive.clock(), years)
    return datetime(max(term, longest or term).astimezone(UTC).year + 1, 1, 1, tzinfo=UTC)


def _lock(archive: Archive, owner: str, term: datetime) -> None:
    """Lock the objects of a segment to a term, with the legal hold."""
    with archive.database.transaction() as connection:
        items, copies = catalogue.objects(connection, owner), catalogue.copies(connection, owner)
    late = [copy for copy in copies if copy.locked_until is None or copy.locked_until < term]
    for copy in late:
        lock_version(archive.replica(copy.replica), items[copy.role].key, copy.version_id, term)
    with archive.database.transaction() as connection:
        for copy in late:
            catalogue.set_term(connection, owner, copy.role, term)
            catalogue.set_locked(connection, copy, term)
