"""The legal journal in PostgreSQL: entries join in the business transaction, the sequencer numbers them afterwards.

Chain: chain(n) = SHA-256(chain(n-1) || leaf(n)), 32 zero bytes before the first. Tree: RFC 6962 over the leaves.
Order of commit, not of insertion, gives the number; a gap is impossible because only committed rows are seen.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from psycopg.rows import DictRow

from minutier import merkle
from minutier.checkpoint import Checkpoint, NoteKey, verify_checkpoint
from minutier.errors import IntegrityFailureError
from minutier.events import Event, encode_entry
from storage import tiles
from storage.database import Connection
from storage.dev_ca import JOURNAL_NAME

_SEQUENCER_LOCK = 0x6A6F75726E616C31  # "journal1"
_ZERO = bytes(32)
_ROWS = 200  # in memory at once, of a journal that never stops growing
ACTOR = "minutier"
_INSERT = "INSERT INTO journal_event (event, archive_id, at, entry, leaf) VALUES (%s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One entry as stored: `seq` is None until the sequencer has numbered it (under a second in normal life)."""

    seq: int | None
    event: str
    at: datetime
    archive_id: str | None
    entry: bytes
    leaf: bytes
    chain: bytes | None


def append(
    connection: Connection,
    event: Event,
    at: datetime,
    *,
    archive_id: str = "",
    safe: str = "",
    details: Mapping[str, str | int] | None = None,
) -> None:
    """Add one entry inside the caller's transaction: the act and its trace are committed together or not at all."""
    connection.execute(_INSERT, _values(event, at, archive_id, safe, details))


def append_all(
    connection: Connection, event: Event, at: datetime, about: Sequence[tuple[str, str, Mapping[str, str | int]]]
) -> None:
    """Add one entry of the same kind about each document: archive_id, safe, details."""
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT, [_values(event, at, *each) for each in about])


def _values(
    event: Event, at: datetime, archive_id: str, safe: str, details: Mapping[str, str | int] | None
) -> tuple[object, ...]:
    at = at.replace(microsecond=0)  # as the entry says it: nothing of the row is in the database alone
    entry = encode_entry(
        event, event_uuid=str(uuid.uuid4()), at=at, actor=ACTOR, archive_id=archive_id, safe=safe, details=details
    )
    return event.value, archive_id or None, at, entry, merkle.leaf_hash(entry)


def sequence(connection: Connection, *, limit: int = 5000) -> int:
    """Number up to `limit` committed entries; gives how many. One sequencer at a time (advisory lock)."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SEQUENCER_LOCK,))
    seq, chain = head(connection)
    rows = connection.execute(
        "SELECT event_id, leaf FROM journal_event WHERE seq IS NULL ORDER BY event_id LIMIT %s", (limit,)
    ).fetchall()
    numbered = []
    for row in rows:
        seq += 1
        chain = hashlib.sha256(chain + bytes(row["leaf"])).digest()
        numbered.append((seq, chain, row["event_id"]))
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE journal_event SET seq = %s, chain = %s WHERE event_id = %s", numbered)
    if numbered and seq // tiles.WIDTH > (seq - len(numbered)) // tiles.WIDTH:
        tiles.extend(connection, seq)
    return len(numbered)


def head(connection: Connection) -> tuple[int, bytes]:
    """Give the number of sequenced entries and the chain value of the last one."""
    row = connection.execute(
        "SELECT seq, chain FROM journal_event WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return (int(row["seq"]), bytes(row["chain"])) if row else (0, _ZERO)


def leaves(connection: Connection, size: int) -> list[bytes]:
    """Give the leaf hashes of entries 1 to `size`, in order."""
    return list(_leaves(connection, size))


def lines(connection: Connection, archive_id: str | None = None) -> Iterator[JournalLine]:
    """Iterate over the journal in order, whole or for one document; unnumbered entries come last.

    Inside the transaction that `connection` is in: two hundred entries are in memory at once.
    """
    where, values = ("WHERE archive_id = %s", (archive_id,)) if archive_id else ("", ())
    query = f"SELECT * FROM journal_event {where} ORDER BY seq NULLS LAST, event_id"  # noqa: S608 - constant text
    for row in _rows(connection, query, values):
        yield _line(row)


def latest(connection: Connection, event: Event, archive_ids: Sequence[str]) -> datetime | None:
    """Give the time of the last entry of a kind about any of these documents, None when there is none."""
    row = connection.execute(
        "SELECT max(at) AS at FROM journal_event WHERE event = %s AND archive_id = ANY(%s::uuid[])",
        (event.value, list(archive_ids)),
    ).fetchone()
    return row["at"] if row else None


def committed_line(connection: Connection, archive_id: str) -> JournalLine:
    """Give the entry that committed a document; IntegrityFailureError when it is absent or not unique."""
    rows = connection.execute(
        "SELECT * FROM journal_event WHERE archive_id = %s AND event = %s",
        (archive_id, Event.DEPOSIT_COMMITTED.value),
    ).fetchall()
    if len(rows) != 1:
        raise _not_one(len(rows))
    return _line(rows[0])


def committed_entries(connection: Connection, archive_ids: Sequence[str]) -> dict[str, bytes]:
    """Give the entries that committed some documents; IntegrityFailureError when one is absent or not unique."""
    rows = connection.execute(
        "SELECT archive_id, entry FROM journal_event WHERE archive_id = ANY(%s::uuid[]) AND event = %s",
        (list(archive_ids), Event.DEPOSIT_COMMITTED.value),
    ).fetchall()
    counted = Counter(str(row["archive_id"]) for row in rows)
    for archive_id in archive_ids:
        if counted[archive_id] != 1:
            raise _not_one(counted[archive_id])
    return {str(row["archive_id"]): bytes(row["entry"]) for row in rows}


def check_chain(connection: Connection) -> int:
    """Recompute every leaf and chain value from the stored entries; gives how many were checked.

    Raises IntegrityFailureError (`JOURNAL_BROKEN`) at the first entry that does not fit. An end that was cut off fits:
    `check_checkpoint` finds it.
    """
    chain, expected = _ZERO, 0
    for row in _rows(connection, "SELECT * FROM journal_event WHERE seq IS NOT NULL ORDER BY seq"):
        line, expected = _line(row), expected + 1
        chain = hashlib.sha256(chain + line.leaf).digest()
        if line.seq != expected or merkle.leaf_hash(line.entry) != line.leaf or chain != line.chain:
            raise _broken(f"The journal does not fit together at entry {expected}.")
    return expected


def check_checkpoint(connection: Connection, key: ed25519.Ed25519PublicKey) -> int | None:
    """Check the newest stored checkpoint against the journal of today; gives its size, None when there is none.

    `key` must have signed its note; the note, its size and its root must be those of the first entries of the journal.
    Raises IntegrityFailureError (`JOURNAL_BROKEN`). The chain alone does not see entries removed from its end, nor a
    journal written anew from its start: the signature is of a key that is not in the database.
    """
    row = connection.execute("SELECT size, root, note FROM journal_checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    if row is None:
        return None
    size, root = int(row["size"]), bytes(row["root"])
    try:
        signed = verify_checkpoint(row["note"].encode(), [NoteKey(JOURNAL_NAME, key.public_bytes_raw())])
    except IntegrityFailureError as error:
        raise _broken(f"The checkpoint of {size} entries is not signed by the journal's key.") from error
    if signed != Checkpoint(JOURNAL_NAME, size, root):
        raise _broken(f"The checkpoint of {size} entries is not the one that was signed.")
    known, _ = head(connection)
    if known < size:
        raise _broken(f"The journal ends at entry {known}; its checkpoint was signed over {size}.")
    if merkle.root(_leaves(connection, size)) != root:
        raise _broken(f"The first {size} entries of the journal are not those that its checkpoint was signed over.")
    return size


def _leaves(connection: Connection, size: int) -> Iterator[bytes]:
    query = "SELECT leaf FROM journal_event WHERE seq <= %s ORDER BY seq"
    return (bytes(row["leaf"]) for row in _rows(connection, query, (size,)))


def _rows(connection: Connection, query: str, values: tuple[object, ...] = ()) -> Iterator[DictRow]:
    """Iterate over the answer through a cursor of the server, which keeps what was not asked for yet."""
    with connection.cursor(name=f"journal_{uuid.uuid4().hex}") as cursor:
        cursor.itersize = _ROWS
        yield from cursor.execute(query.encode(), values)


def _not_one(count: int) -> IntegrityFailureError:
    return IntegrityFailureError(
        "JOURNAL_ENTRY_COUNT",
        f"The journal holds {count} commit entries for this document; it must hold exactly one.",
        remedy="Keep the instance as it is and have the journal examined.",
    )


def _broken(what: str) -> IntegrityFailureError:
    return IntegrityFailureError(
        "JOURNAL_BROKEN",
        what,
        remedy="Keep the instance as it is; compare with the last checkpoint shipped elsewhere.",
    )


def _line(row: dict[str, Any]) -> JournalLine:
    return JournalLine(
        row["seq"],
        row["event"],
        row["at"],
        str(row["archive_id"]) if row["archive_id"] else None,
        bytes(row["entry"]),
        bytes(row["leaf"]),
        bytes(row["chain"]) if row["chain"] is not None else None,
    )
