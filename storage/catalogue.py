"""The catalogue in PostgreSQL: where each deposit stands. A state changes by compare-and-swap, with its journal entry.

Functions take the caller's connection, so that several of them can share one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from minutier.errors import BadInputError, ServiceUnavailableError
from minutier.events import Event
from minutier.identifiers import is_archive_id
from storage import journal
from storage.database import Connection

STATES = ("RECEIVED", "SCREENED", "RENDERED", "SEALED", "STAMPED", "STORED", "COMMITTED", "LOCKED", "ARCHIVED")
COMMITTED_STATES = ("COMMITTED", "LOCKED", "ARCHIVED")
ENDED_STATES = ("REFUSED", "ABANDONED")
DESTROYED_STATES = ("DESTROYING", "DESTROYED")
_FINAL_STATES = (*ENDED_STATES, "ARCHIVED", "DESTROYED")
_EVENTS = {state: Event(f"deposit:{state.lower()}") for state in (*STATES, *ENDED_STATES, *DESTROYED_STATES)}


@dataclass(frozen=True, slots=True)
class Deposit:
    """One deposit as the catalogue knows it. Digests are of the original as captured, None when no bytes came."""

    archive_id: str
    safe: str
    lifecycle_class: str
    reference: str
    dossier: str
    depositor: str
    name: str
    metadata: dict[str, str]
    state: str
    received_at: datetime
    sha256: str | None
    sha3_512: str | None
    size: int | None
    screening: dict[str, Any] | None
    rendition: dict[str, Any] | None
    retain_until: datetime | None
    manifest: bytes | None
    seal: bytes | None
    token_id: str | None
    refusal_code: str | None
    refusal_en: str | None
    refusal_fr: str | None
    second_seal: bytes | None = None
    extended_until: datetime | None = None

    @property
    def kept_until(self) -> datetime | None:
        """Until when it is kept: the term that was sealed with it, or the later one of an event (storage/terms.py)."""
        return self.extended_until or self.retain_until

    @property
    def fingerprint(self) -> str:
        """Give `sha256:<hex>+sha3-512:<hex>`, or an empty string when no bytes came."""
        return f"sha256:{self.sha256}+sha3-512:{self.sha3_512}" if self.sha256 else ""

    def reached(self, state: str) -> bool:
        """Say whether the deposit is at `state` or past it (a refused one is past nothing)."""
        return self.state in STATES and STATES.index(self.state) >= STATES.index(state)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One stored object; digests and size are of the bytes as stored.

    `archive_id` is its owner: a document, or a token for a batch file.
    """

    archive_id: str
    role: str
    key: str
    sha256: str
    sha3_512: str
    size: int


@dataclass(frozen=True, slots=True)
class Copy:
    """One replica's version of an object, as last checked."""

    archive_id: str
    role: str
    replica: str
    version_id: str
    locked_until: datetime | None
    checked_at: datetime
    health: str


def insert_deposit(connection: Connection, deposit: Mapping[str, Any]) -> None:
    """Add a deposit in state RECEIVED or REFUSED with its journal entry; the unique index refuses a second live one."""
    row = dict(deposit)
    row["metadata"] = Jsonb(row["metadata"])
    columns = SQL(", ").join(Identifier(name) for name in row)
    places = SQL(", ").join(SQL("%s") for _ in row)
    connection.execute(SQL("INSERT INTO deposit ({}) VALUES ({})").format(columns, places), tuple(row.values()))
    details: dict[str, str | int] = {"code": row["refusal_code"]} if row.get("refusal_code") else {}
    journal.append(
        connection,
        _EVENTS[row["state"]],
        row["received_at"],
        archive_id=row["archive_id"],
        safe=row["safe"],
        details=details,
    )


def advance(
    connection: Connection,
    deposit: Deposit,
    state: str,
    at: datetime,
    *,
    details: Mapping[str, str | int] | None = None,
    **columns: Any,
) -> Deposit:
    """Move a deposit from the state it was read in to `state` (compare-and-swap), journal it, give it as it stands now.

    One that began again meanwhile may stand at the same state: its seal is another one, or is not there yet. Nothing
    leaves a final state (REFUSED, ABANDONED, DESTROYED; ARCHIVED only to be destroyed).
    Raises ServiceUnavailableError (`STATE_MOVED`) when another worker moved it first: read again and go on from there.
    """
    values = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in columns.items()}
    settings = SQL(", ").join([SQL("state = %s"), *(SQL("{} = %s").format(Identifier(name)) for name in values)])
    query = SQL(
        "UPDATE deposit SET {} WHERE archive_id = %s AND state = %s AND seal IS NOT DISTINCT FROM %s RETURNING *"
    ).format(settings)
    known = (deposit.archive_id, deposit.state, deposit.seal)
    final = deposit.state in _FINAL_STATES and (deposit.state, state) != ("ARCHIVED", "DESTROYING")
    row = None if final else connection.execute(query, (state, *values.values(), *known)).fetchone()
    if row is None:
        raise _moved()
    journal.append(connection, _EVENTS[state], at, archive_id=deposit.archive_id, safe=deposit.safe, details=details)
    return _deposit(row)


def advance_all(
    connection: Connection,
    deposits: Sequence[tuple[Deposit, Mapping[str, str | int]]],
    state: str,
    at: datetime,
    **columns: Any,
) -> None:
    """Move deposits that were read in one same state to `state`, all or none, as `advance` does with each.

    With each come the details of its journal entry; `columns` are the same for all.
    """
    settings = SQL(", ").join([SQL("state = %s"), *(SQL("{} = %s").format(Identifier(name)) for name in columns)])
    query = SQL(
        "UPDATE deposit SET {} FROM unnest(%s::uuid[], %s::bytea[]) AS known (id, was_sealed)"
        " WHERE archive_id = known.id AND state = %s AND seal IS NOT DISTINCT FROM was_sealed"
    ).format(settings)
    ids, before = [deposit.archive_id for deposit, _ in deposits], {deposit.state for deposit, _ in deposits}
    seals = [deposit.seal for deposit, _ in deposits]
    if before & {*_FINAL_STATES}:
        raise _moved()
    # In one order, so that two workers with the same deposits wait for each other and never in a circle.
    connection.execute(
        "SELECT 1 FROM deposit WHERE archive_id = ANY(%s::uuid[]) ORDER BY archive_id FOR UPDATE", (ids,)
    )
    done = connection.execute(query, (state, *columns.values(), ids, seals, before.pop()))
    if before or done.rowcount != len(ids):
        raise _moved()
    about = [(deposit.archive_id, deposit.safe, details) for deposit, details in deposits]
    journal.append_all(connection, _EVENTS[state], at, about)


def _moved() -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "STATE_MOVED", "Another worker moved this deposit on.", remedy="Run the same command again."
    )


def start_again(connection: Connection, deposit: Deposit, at: datetime) -> None:
    """Put an unfinished deposit back to RECEIVED, without what its later steps had made."""
    made = ("screening", "rendition", "retain_until", "manifest", "seal", "second_seal", "token_id")
    details: dict[str, str | int] = {"again_from": deposit.state}
    advance(connection, deposit, "RECEIVED", at, details=details, **dict.fromkeys(made))
    drop_made(connection, deposit.archive_id)


def drop_made(connection: Connection, archive_id: str) -> None:
    """Forget what an uncommitted deposit had staged and its place in a token: nothing rests on it any more."""
    for table in ("replica_copy", "object", "evidence_chain", "deposit_wait"):
        forget(connection, table, archive_id)


def forget(connection: Connection, table: str, archive_id: str) -> None:
    """Delete the rows of one table about a document."""
    connection.execute(SQL("DELETE FROM {} WHERE archive_id = %s").format(Identifier(table)), (archive_id,))


def get(connection: Connection, archive_id: str) -> Deposit:
    """Give a deposit by its archive_id; BadInputError (`UNKNOWN_ID`) when there is none."""
    row = connection.execute("SELECT * FROM deposit WHERE archive_id = %s", (archive_id,)).fetchone()
    if row is None:
        raise unknown(archive_id)
    return _deposit(row)


def get_all(connection: Connection, archive_ids: Sequence[str]) -> list[Deposit]:
    """Give the deposits of these archive_ids that there are, in order of arrival."""
    query = "SELECT * FROM deposit WHERE archive_id = ANY(%s::uuid[]) ORDER BY archive_id"
    return [_deposit(row) for row in connection.execute(query, (list(archive_ids),))]


def state_of(connection: Connection, archive_id: str) -> str | None:
    """Give the state of a deposit, None when there is no such deposit (or the text is not an archive_id)."""
    if not is_archive_id(archive_id):
        return None
    row = connection.execute("SELECT state FROM deposit WHERE archive_id = %s", (archive_id,)).fetchone()
    return str(row["state"]) if row else None


def unknown(identifier: str) -> BadInputError:
    """Give the one answer for what is absent."""
    return BadInputError(
        "UNKNOWN_ID", f"No document is called {identifier}.", remedy="`minutier list` shows what the archive holds."
    )


def find_by_digest(connection: Connection, sha256: str, sha3_512: str) -> list[Deposit]:
    """Give the live deposits whose original has both digests, oldest first; where there is none, destroyed ones."""
    rows = connection.execute(
        "SELECT * FROM deposit WHERE sha256 = %s AND sha3_512 = %s AND state NOT IN ('REFUSED', 'ABANDONED')"
        " ORDER BY archive_id",
        (sha256, sha3_512),
    )
    found = [_deposit(row) for row in rows]
    return [each for each in found if each.state not in DESTROYED_STATES] or found


def find_by_reference(connection: Connection, safe: str, reference: str) -> list[Deposit]:
    """Give every deposit under a reference: the live one first, then refused ones, newest first."""
    rows = connection.execute(
        "SELECT * FROM deposit WHERE safe = %s AND reference = %s"
        " ORDER BY state IN ('REFUSED', 'ABANDONED', 'DESTROYING', 'DESTROYED'), archive_id DESC",
        (safe, reference),
    )
    return [_deposit(row) for row in rows]


def list_deposits(connection: Connection, safe: str | None = None, *, unfinished: bool = False) -> list[Deposit]:
    """Give deposits in order of arrival, of one safe or of all; `unfinished` leaves out the ended ones."""
    rows = connection.execute(
        "SELECT * FROM deposit WHERE (%(safe)s::text IS NULL OR safe = %(safe)s)"
        " AND (NOT %(unfinished)s OR state NOT IN ('ARCHIVED', 'REFUSED', 'ABANDONED', 'DESTROYED'))"
        " ORDER BY archive_id",
        {"safe": safe, "unfinished": unfinished},
    )
    return [_deposit(row) for row in rows]


def of_dossiers(connection: Connection, safe: str, dossiers: Collection[str]) -> list[Deposit]:
    """Give the deposits of some dossiers of a safe, in order of arrival."""
    rows = connection.execute(
        "SELECT * FROM deposit WHERE safe = %s AND dossier = ANY(%s) ORDER BY archive_id", (safe, list(dossiers))
    )
    return [_deposit(row) for row in rows]


def count_by_state(
    connection: Connection, safe: str | None = None, archive_ids: Sequence[str] | None = None
) -> dict[str, int]:
    """Count deposits by state: of one safe, of those named, or of all."""
    rows = connection.execute(
        "SELECT state, count(*) AS n FROM deposit WHERE (%(safe)s::text IS NULL OR safe = %(safe)s)"
        " AND (%(ids)s::uuid[] IS NULL OR archive_id = ANY(%(ids)s::uuid[])) GROUP BY state ORDER BY state",
        {"safe": safe, "ids": list(archive_ids) if archive_ids is not None else None},
    )
    return {row["state"]: row["n"] for row in rows}


def put_object(connection: Connection, item: StoredObject, *, anew: bool = False) -> None:
    """Record what an object's stored bytes must be; once copies are recorded it stays, but for one made `anew`."""
    connection.execute(
        "INSERT INTO object (archive_id, role, key, sha256, sha3_512, size) VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (archive_id, role) DO UPDATE SET sha256 = EXCLUDED.sha256, sha3_512 = EXCLUDED.sha3_512,"
        " size = EXCLUDED.size WHERE %s OR NOT EXISTS (SELECT 1 FROM replica_copy c"
        " WHERE c.archive_id = object.archive_id AND c.role = object.role)",
        (item.archive_id, item.role, item.key, item.sha256, item.sha3_512, item.size, anew),
    )


def objects(connection: Connection, archive_id: str) -> dict[str, StoredObject]:
    """Give a document's stored objects by role."""
    rows = connection.execute("SELECT * FROM object WHERE archive_id = %s ORDER BY role", (archive_id,))
    return {row["role"]: _object(row) for row in rows}


def holds_object(connection: Connection, item: StoredObject) -> bool:
    """Say whether an object is still known; it and the term of its document stay so until the transaction ends."""
    connection.execute("SELECT 1 FROM deposit WHERE archive_id = %s FOR SHARE", (item.archive_id,))
    query = "SELECT 1 FROM object WHERE archive_id = %s AND role = %s FOR SHARE"
    return connection.execute(query, (item.archive_id, item.role)).fetchone() is not None


def put_copy(connection: Connection, item: StoredObject, replica: str, version_id: str, at: datetime) -> None:
    """Point a replica's copy at a version that was just read back and compared."""
    connection.execute(
        "INSERT INTO replica_copy (archive_id, role, replica, version_id, checked_at, health)"
        " VALUES (%s, %s, %s, %s, %s, 'good') ON CONFLICT (archive_id, role, replica) DO UPDATE"
        " SET version_id = EXCLUDED.version_id, checked_at = EXCLUDED.checked_at, health = 'good',"
        " (locked_until, swept_at, tried_at) = (SELECT replica_copy.locked_until, replica_copy.swept_at,"
        " replica_copy.tried_at WHERE replica_copy.version_id = EXCLUDED.version_id)",
        (item.archive_id, item.role, replica, version_id, at),
    )


def set_locked(connection: Connection, copy: Copy, until: datetime) -> None:
    """Record until when this version is locked, never sooner than known; STATE_MOVED where another took its place."""
    done = connection.execute(
        "UPDATE replica_copy SET locked_until = greatest(locked_until, %s)"
        " WHERE (archive_id, role, replica, version_id) = (%s, %s, %s, %s)",
        (until, copy.archive_id, copy.role, copy.replica, copy.version_id),
    )
    if not done.rowcount:
        raise _moved()


def set_term(connection: Connection, owner: str, role: str, term: datetime) -> None:
    """Record until when an object that belongs to no document is locked."""
    query = "UPDATE object SET retain_until = %s WHERE archive_id = %s AND role = %s"
    connection.execute(query, (term, owner, role))


def term_of(connection: Connection, item: StoredObject) -> datetime | None:
    """Give until when an object must be locked: to the term of its document, or its own; None while it has none."""
    row = connection.execute(
        "SELECT coalesce(o.retain_until, d.extended_until, d.retain_until) AS term"
        " FROM object o LEFT JOIN deposit d USING (archive_id) WHERE o.archive_id = %s AND o.role = %s",
        (item.archive_id, item.role),
    ).fetchone()
    return row["term"] if row else None


def copies(connection: Connection, archive_id: str) -> list[Copy]:
    """Give every copy of a document's objects."""
    rows = connection.execute("SELECT * FROM replica_copy WHERE archive_id = %s ORDER BY role, replica", (archive_id,))
    return [_copy(row) for row in rows]


def _deposit(row: dict[str, Any]) -> Deposit:
    values = dict(row)
    values["archive_id"] = str(values["archive_id"])
    values["token_id"] = str(values["token_id"]) if values["token_id"] else None
    values["lifecycle_class"] = values.pop("class")
    del values["evidence"]  # whole records of an earlier release: storage/evidence_store.py takes them apart
    for name in ("manifest", "seal", "second_seal"):
        values[name] = bytes(values[name]) if values[name] is not None else None
    return Deposit(**values)


def _object(row: dict[str, Any]) -> StoredObject:
    return StoredObject(
        str(row["archive_id"]), row["role"], row["key"], row["sha256"], row["sha3_512"], int(row["size"])
    )


def _copy(row: dict[str, Any]) -> Copy:
    return Copy(
        str(row["archive_id"]),
        row["role"],
        row["replica"],
        row["version_id"],
        row["locked_until"],
        row["checked_at"],
        row["health"],
    )
