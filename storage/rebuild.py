"""Rebuild: catalogue and journal made again, in an empty database, from the stores and the keys alone.

In one transaction: a rebuild that dies leaves the database as empty as it was. Nothing is ever written to a store.
Segments bring entries and rows (docs/format/segment-v1.md), sealed records bring what documents say of themselves,
the keys directory the wrapped keys; the lists of the stores say which copies are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

from minutier import canonical, merkle, segment
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from minutier.fingerprint import fingerprint_bytes
from minutier.segment import Segment
from minutier.trust import Trust
from storage import catalogue, journal, ledger
from storage.catalogue import COMMITTED_STATES, StoredObject
from storage.database import Connection, Database
from storage.keys import KeyRing
from storage.ledger import Line
from storage.ports import ObjectStore, ObjectVersion
from storage.rebuild_documents import complete_documents
from storage.segments import LEDGER, PREFIX, ROLE, segment_key, segment_owner
from storage.worm import PROBE_PREFIX

UNKNOWN = "unknown"
"""The version id of a copy of a segment that no store gave: the next sweep finds it missing and heals it."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sources:
    """All that a rebuild reads. `crls` and `trust` judge the seals, `journal_key` segments and checkpoint."""

    stores: tuple[ObjectStore, ...]
    keys: KeyRing
    journal_key: ed25519.Ed25519PublicKey
    trust: Trust
    crls: tuple[x509.CertificateRevocationList, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What did not hold: a code, what it is about (a document, a key of a store), a sentence."""

    code: str
    about: str
    message: str


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What was made. `checkpoint` is the size of the newest checkpoint that held, `silent` names stores that were down.

    `last_entry` is to be compared with what the supervision, or the newest proof, knows: segments that were taken away
    from the end of every store leave no trace in what is left.
    """

    segments: int
    last_entry: int
    rows: int
    documents: int
    seals: int
    copies: int
    checkpoint: int | None
    silent: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        return asdict(self)


def rebuild(sources: Sources, url: str, now: datetime, say: Say = lambda _line: None) -> RebuildReport:
    """Make catalogue and journal in the empty database at `url`; `say` is told the progress.

    Raises PolicyRefusedError (`REBUILD_NOT_EMPTY`), IntegrityFailureError (`SEGMENT_MISSING`, `SEGMENT_FORK`, those of
    minutier.segment and of ledgers, `JOURNAL_BROKEN`), ServiceUnavailableError when no store answers, or one stops to:
    the database is then left empty. What is wrong with one document or copy is a finding, and the others are made.
    """
    require_empty(url)
    stores, silent = _reachable(sources.stores)
    database = Database(url)
    database.open()
    try:
        with database.transaction() as connection:
            maker = _Maker(sources, stores, silent, connection, now, say)
            return maker.make()
    finally:
        database.close()


def require_empty(url: str) -> None:
    """Raise PolicyRefusedError (`REBUILD_NOT_EMPTY`) unless no table of the database has a row.

    Raises BadInputError (`BAD_URL`) for what is no address of a database, PolicyRefusedError (`DATABASE_FORBIDDEN`)
    when its user may not read it or make tables, ServiceUnavailableError (`DATABASE_DOWN`) when it does not answer.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise _bad_url("it does not begin with postgresql://")
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            may_make = connection.execute("SELECT has_schema_privilege('public', 'CREATE')").fetchone()
            if may_make != (True,):
                raise _forbidden("permission denied to make tables")
            names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (name,) in names:
                query = SQL("SELECT 1 FROM {} LIMIT 1").format(Identifier(name))
                if name != "schema_migration" and connection.execute(query).fetchone():
                    raise PolicyRefusedError(
                        "REBUILD_NOT_EMPTY",
                        f"The database to rebuild into is not empty: there are rows in {name}.",
                        remedy="Make a new one (CREATE DATABASE) and name it: nothing is ever written over.",
                    )
    except InsufficientPrivilege as error:
        raise _forbidden(str(error).splitlines()[0]) from error
    except psycopg.ProgrammingError as error:
        raise _bad_url(str(error).splitlines()[0]) from error
    except psycopg.OperationalError as error:
        raise ServiceUnavailableError(
            "DATABASE_DOWN",
            f"The database to rebuild into does not answer ({str(error).splitlines()[0]}).",
            remedy="Start it, or correct --into.",
        ) from error


def _bad_url(why: str) -> BadInputError:
    return BadInputError(
        "BAD_URL",
        f"This is no address of a database: {why}.",
        remedy="Name it like this: --into postgresql://USER@HOST:PORT/NAME",
    )


def _forbidden(why: str) -> PolicyRefusedError:
    return PolicyRefusedError(
        "DATABASE_FORBIDDEN",
        f"The user of this address may not rebuild into the database ({why}).",
        remedy="Make it owner of an empty database: CREATE DATABASE NAME OWNER USER.",
    )


def _reachable(stores: tuple[ObjectStore, ...]) -> tuple[list[ObjectStore], list[str]]:
    answering, silent = list[ObjectStore](), list[str]()
    for store in stores:
        try:
            store.versions(segment_key(1, ROLE))
        except ServiceUnavailableError:
            silent.append(store.name)
        else:
            answering.append(store)
    if not answering:
        raise ServiceUnavailableError(
            "STORE_DOWN", "No store answers.", remedy="Start one of them, or correct `replicas` in the settings."
        )
    return answering, silent


class _Maker:
    """One rebuild at work, in one transaction."""

    def __init__(
        self,
        sources: Sources,
        stores: list[ObjectStore],
        silent: list[str],
        connection: Connection,
        now: datetime,
        say: Say,
    ) -> None:
        self._sources, self._stores, self._silent = sources, stores, silent
        self._connection, self._now, self._say = connection, now, say
        self._tables = ledger.tables(connection)
        self._rows = 0

    def make(self) -> RebuildReport:
        connection = self._connection
        connection.execute("SET LOCAL TimeZone = 'UTC'")
        connection.execute(
            "CREATE TEMPORARY TABLE told_elsewhere (name text, archive_id uuid, columns text[],"
            " PRIMARY KEY (name, archive_id)) ON COMMIT DROP"
        )
        last = self._take_segments()
        documents, seals, found = complete_documents(self._sources, self._stores, connection, self._say)
        findings = [Finding(*each) for each in found]
        copies, wrong = self._look_at_copies()
        checkpoint = journal.check_checkpoint(connection, self._sources.journal_key)
        # The triggers have noted every row that was made here; the stores tell all of them.
        connection.execute("TRUNCATE ledger_change")
        return RebuildReport(
            segments=last.head.number if last else 0,
            last_entry=last.head.last if last else 0,
            rows=self._rows,
            documents=documents,
            seals=seals,
            copies=copies,
            checkpoint=checkpoint,
            silent=tuple(self._silent),
            findings=tuple(findings + wrong),
        )

    def _take_segments(self) -> Segment | None:
        highest = max((_number(version) for store in self._stores for version in store.list_objects(PREFIX)), default=0)
        before: Segment | None = None
        for number in range(1, highest + 1):
            before = self._take(number, before)
            if number % 100 == 0 or number == highest:
                self._say(f"rebuild: segment {number} of {highest}, {before.head.last} entries, {self._rows} rows")
        return before

    def _take(self, number: int, before: Segment | None) -> Segment:
        found, body = self._find(number)
        segment.require_follows(found, before)
        sealed = self._files(segment_key(number, LEDGER), lambda data: fingerprint_bytes(data).sha256)
        if found.head.ledger not in sealed:
            raise _missing(f"the ledger of segment {number}")
        beside = sealed[found.head.ledger]
        lines = list(ledger.decode(self._sources.keys.open_ledger(beside.data), number, self._tables))
        if len(lines) != found.head.rows:
            raise _missing(f"a row of the ledger of segment {number}")
        self._enter(found)
        ledger.apply(self._connection, self._tables, lines)
        self._remember(lines)
        self._rows += len(lines)
        head = found.head
        self._connection.execute(
            "INSERT INTO journal_segment (number, segment_id, first_seq, last_seq, chain, sha256)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (number, segment_owner(number), head.first, head.last, bytes.fromhex(head.chain_after), found.sha256),
        )
        self._own(number, ROLE, body)
        self._own(number, LEDGER, beside)
        return found

    def _find(self, number: int) -> tuple[Segment, _File]:
        """Give the one segment of a number that the journal's key signed, wherever a whole copy of it is."""
        key, refused = self._sources.journal_key, list[IntegrityFailureError]()

        def name(data: bytes) -> str:
            try:
                return segment.decode_segment(data, key).sha256
            except IntegrityFailureError as error:
                refused.append(error)
                return ""

        found = self._files(segment_key(number, ROLE), name)
        found.pop("", None)
        if len(found) > 1:
            raise IntegrityFailureError(
                "SEGMENT_FORK",
                f"The stores hold {len(found)} different segments {number}, all signed by the journal's key.",
                remedy="Keep the stores as they are: a database that was restored too old has written one of them.",
            )
        if not found:
            raise refused[0] if refused else _missing(f"segment {number}")
        (file,) = found.values()
        return segment.decode_segment(file.data, key), file

    def _files(self, key: str, name: Callable[[bytes], str]) -> dict[str, _File]:
        """Give every content that the stores hold under a key, each once, by the name that `name` gives it."""
        found: dict[str, _File] = {}
        for store in self._stores:
            for version in store.versions(key):  # the newest first
                with store.open(key, version.version_id) as stream:
                    data = stream.read()
                found.setdefault(name(data), _File(data)).versions.setdefault(store.name, version.version_id)
        return found

    def _enter(self, found: Segment) -> None:
        chain, seq = bytes.fromhex(found.head.chain_before), found.head.first
        copying = "COPY journal_event (event, archive_id, at, entry, leaf, seq, chain) FROM STDIN"
        with self._connection.cursor() as cursor, cursor.copy(copying) as copy:
            for entry in found.entries:
                value, leaf = canonical.decode(entry), merkle.leaf_hash(entry)
                chain = hashlib.sha256(chain + leaf).digest()
                at = datetime.fromisoformat(value["at"])
                copy.write_row((value["event"], value["archive_id"] or None, at, entry, leaf, seq, chain))
                seq += 1

    def _remember(self, lines: list[Line]) -> None:
        """Note which rows still lack what is told elsewhere: the last ledger that tells of a row says it."""
        told = [line for line in lines if line.table in ("deposit", "document_key")]
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "DELETE FROM told_elsewhere WHERE name = %s AND archive_id = %s",
                [(line.table, line.key["archive_id"]) for line in told],
            )
            cursor.executemany(
                "INSERT INTO told_elsewhere (name, archive_id, columns) VALUES (%s, %s, %s)",
                [(line.table, line.key["archive_id"], list(line.elsewhere)) for line in told if line.elsewhere],
            )

    def _own(self, number: int, role: str, file: _File) -> None:
        """Enter an object of a segment and its copies, as the stores have them; each was just read whole."""
        connection, owner, found = self._connection, str(segment_owner(number)), fingerprint_bytes(file.data)
        item = StoredObject(owner, role, segment_key(number, role), found.sha256, found.sha3_512, found.size)
        catalogue.put_object(connection, item)
        terms = []
        for store in self._stores:
            if (version_id := file.versions.get(store.name)) is not None:
                catalogue.put_copy(connection, item, store.name, version_id, self._now)
                lock = store.lock_state(item.key, version_id)
                terms += [lock.retain_until] if lock.retain_until else []
                connection.execute(
                    "UPDATE replica_copy SET locked_until = %s WHERE (archive_id, role, replica) = (%s, %s, %s)",
                    (lock.retain_until, owner, role, store.name),
                )
        for name in {store.name for store in self._sources.stores} - file.versions.keys():
            catalogue.put_copy(connection, item, name, UNKNOWN, datetime.fromtimestamp(0, UTC))
            connection.execute(
                "UPDATE replica_copy SET health = 'damaged' WHERE (archive_id, role, replica) = (%s, %s, %s)",
                (owner, role, name),
            )
        if terms:
            catalogue.set_term(connection, owner, role, max(terms))

    def _look_at_copies(self) -> tuple[int, list[Finding]]:
        """Compare the lists of the stores with the copies that the ledgers tell of; gives how many there are."""
        connection = self._connection
        connection.execute(
            "CREATE TEMPORARY TABLE seen (replica text, key text, version_id text, size bigint) ON COMMIT DROP"
        )
        for store in self._stores:
            self._say(f"rebuild: listing {store.name}")
            with connection.cursor() as cursor, cursor.copy("COPY seen FROM STDIN") as copy:
                for version in store.list_objects(""):
                    if not version.key.startswith(PROBE_PREFIX):
                        copy.write_row((store.name, version.key, version.version_id, version.size))
        connection.execute("CREATE INDEX ON seen (key, replica, version_id); ANALYZE seen")
        names = [store.name for store in self._stores]
        rows = connection.execute(
            "SELECT o.key, c.replica, s.size FROM replica_copy c JOIN object o USING (archive_id, role)"
            " LEFT JOIN deposit d USING (archive_id)"
            " LEFT JOIN seen s ON (s.key, s.replica, s.version_id) = (o.key, c.replica, c.version_id)"
            " WHERE c.replica = ANY(%s) AND s.size IS DISTINCT FROM o.size"
            " AND (d.archive_id IS NULL OR d.state = ANY(%s)) ORDER BY o.key, c.replica",
            (names, list(COMMITTED_STATES)),
        )
        findings = [
            Finding("COPY_MISSING", row["key"], f"The copy on {row['replica']} is not there, or has another size.")
            for row in rows
        ]
        untold = connection.execute(
            "SELECT DISTINCT s.key FROM seen s WHERE NOT EXISTS (SELECT 1 FROM object o WHERE o.key = s.key) ORDER BY 1"
        )
        words = "No segment tells of this object: it was stored after the last one, and never attested."
        findings += [Finding("OBJECT_UNTOLD", row["key"], words) for row in untold]
        counted = connection.execute("SELECT count(*) AS n FROM replica_copy").fetchone()
        return int(counted["n"]) if counted else 0, findings


@dataclass(frozen=True, slots=True)
class _File:
    """The bytes of a file of the journal, and the newest version that has them, by the name of the store."""

    data: bytes
    versions: dict[str, str] = field(default_factory=dict)


def _number(version: ObjectVersion) -> int:
    text = version.key.removeprefix(PREFIX).partition("/")[0]
    return int(text) if text.isascii() and text.isdigit() else 0


def _missing(what: str) -> IntegrityFailureError:
    return IntegrityFailureError(
        "SEGMENT_MISSING",
        f"No store that answers has {what} whole.",
        remedy="Bring the other replicas back, then run the same command again with another empty database.",
    )
