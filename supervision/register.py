"""What the supervision keeps, in one SQLite file of its own: archives, bundles as they came, alarms, notices.

Every write is durable before it is answered (write-ahead log, `synchronous=FULL`). One process writes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from minutier.certificates import load_pem
from minutier.checkpoint import NoteKey, parse_vkey
from minutier.errors import BadInputError
from minutier.events import format_time, parse_time
from minutier.trace_bundle import NIGHTLY, Bundle, documents_of
from supervision.judge import Head

_VERSION = 3
_LATER = (
    ("alarm", "closed_by", "text"),
    ("alarm", "closed_because", "text"),
    ("archive", "tsa_roots", "text NOT NULL DEFAULT ''"),
)
"""Columns that came after the first version of a register."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS archive (
    name text PRIMARY KEY, vkey text NOT NULL, registered_at text NOT NULL, received_at text, nightly_at text,
    number integer NOT NULL DEFAULT 0, last integer NOT NULL DEFAULT 0, chain text NOT NULL, sha256 text NOT NULL,
    at text NOT NULL, subtrees blob NOT NULL, tsa_roots text NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS bundle (
    archive text NOT NULL, number integer NOT NULL, sha256 text NOT NULL, received_at text NOT NULL, body blob NOT NULL,
    note text NOT NULL, PRIMARY KEY (archive, number)
);
CREATE INDEX IF NOT EXISTS bundle_digest ON bundle (archive, sha256);
CREATE TABLE IF NOT EXISTS evidence (
    archive text NOT NULL, sha256 text NOT NULL, code text NOT NULL, received_at text NOT NULL, body blob NOT NULL,
    PRIMARY KEY (archive, sha256)
);
CREATE TABLE IF NOT EXISTS document (
    archive text NOT NULL, archive_id text NOT NULL, gone integer NOT NULL, pinned text NOT NULL DEFAULT '',
    PRIMARY KEY (archive, archive_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS challenge (
    archive text NOT NULL, number integer NOT NULL, archive_id text NOT NULL, nonce text NOT NULL, at text NOT NULL,
    until text NOT NULL, answered_at text, sha256 text NOT NULL DEFAULT '', copies integer NOT NULL DEFAULT 0,
    PRIMARY KEY (archive, number)
);
CREATE TABLE IF NOT EXISTS stamp (
    archive text NOT NULL, size integer NOT NULL, gen_time text NOT NULL, received_at text NOT NULL,
    subtrees blob NOT NULL, body blob NOT NULL, PRIMARY KEY (archive, size)
);
CREATE TABLE IF NOT EXISTS alarm (
    id integer PRIMARY KEY AUTOINCREMENT, archive text NOT NULL, code text NOT NULL, message text NOT NULL,
    opened_at text NOT NULL, acknowledged_at text, acknowledged_by text, closed_at text, escalated_at text,
    closed_by text, closed_because text
);
CREATE TABLE IF NOT EXISTS notice (
    id integer PRIMARY KEY AUTOINCREMENT, alarm integer NOT NULL REFERENCES alarm, target text NOT NULL,
    tries integer NOT NULL DEFAULT 0, next_at text NOT NULL, sent_at text, trouble text NOT NULL DEFAULT '',
    UNIQUE (alarm, target)
);
"""


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is watched: its journal key, its head, and when it last spoke.

    `tsa_roots` are certificates in PEM, the authorities whose time-stamps of its journal count; "" for none.
    """

    name: str
    key: NoteKey
    registered_at: datetime
    received_at: datetime | None
    nightly_at: datetime | None
    head: Head
    tsa_roots: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. `closed_at` is set when its cause is gone; what tells of tampering is closed by a person alone.

    `closed_by` and `closed_because` are empty where the cause went away.
    """

    id: int
    archive: str
    code: str
    message: str
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str
    closed_at: datetime | None
    escalated_at: datetime | None
    closed_by: str = ""
    closed_because: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about an alarm to one target, until it is sent."""

    id: int
    alarm: int
    target: str
    tries: int


class Register:
    """The file and its acts. Safe to share between threads of the one process that writes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)
        self._bring_up_to_date()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _bring_up_to_date(self) -> None:
        """Give a register that was made before it kept documents and closed alarms what it lacks."""
        with self.transaction() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < 1:
                for row in connection.execute("SELECT archive, body FROM bundle ORDER BY archive, number").fetchall():
                    entries = bytes(row["body"]).split(b"\n")[2:-1]
                    self._keep_documents(connection, row["archive"], documents_of(entries))
            for table, column, kind in _LATER:
                known = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
                if column not in known:
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")

    @staticmethod
    def _keep_documents(connection: sqlite3.Connection, archive: str, documents: Mapping[str, bool]) -> None:
        connection.executemany(
            "INSERT INTO document (archive, archive_id, gone) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET gone = max(gone, excluded.gone)",
            [(archive, archive_id, not there) for archive_id, there in documents.items()],
        )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do some acts together or not at all."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def add_archive(self, name: str, vkey: str, now: datetime) -> bool:
        """Register an archive by its journal key; False when it was there with the same one.

        Raises BadInputError (`BAD_KEY`, `ARCHIVE_EXISTS` with another key: a key is never replaced in silence).
        """
        try:
            parse_vkey(vkey)
        except ValueError as error:
            raise BadInputError(
                "BAD_KEY", f"The key of the journal cannot be read ({error}).", remedy="Give its journal.vkey."
            ) from error
        head = Head()
        with self.transaction() as connection:
            known = connection.execute("SELECT vkey FROM archive WHERE name = ?", (name,)).fetchone()
            if known is None:
                connection.execute(
                    "INSERT INTO archive (name, vkey, registered_at, chain, sha256, at, subtrees)"
                    " VALUES (?, ?, ?, ?, '', '', x'')",
                    (name, vkey.strip(), format_time(now), head.chain),
                )
                return True
        if known["vkey"] != vkey.strip():
            raise BadInputError(
                "ARCHIVE_EXISTS", f"The archive {name} is registered with another key.", remedy="Use another name."
            )
        return False

    def add_tsa_root(self, name: str, pem: str) -> bool:
        """Let time-stamps of an authority count for an archive; False when they did. BadInputError (`BAD_ROOT`)."""
        try:
            load_pem(pem.encode())
        except ValueError as error:
            raise BadInputError("BAD_ROOT", "This is no certificate in PEM.", remedy="Give the root's.") from error
        with self.transaction() as connection:
            (known,) = connection.execute("SELECT tsa_roots FROM archive WHERE name = ?", (name,)).fetchone()
            if pem.strip() in known:
                return False
            connection.execute("UPDATE archive SET tsa_roots = ? WHERE name = ?", (known + pem.strip() + "\n", name))
        return True

    def archives(self) -> list[Archive]:
        """Give every archive, by name."""
        with self._lock:
            return [_archive(row) for row in self._connection.execute("SELECT * FROM archive ORDER BY name")]

    def archive(self, name: str) -> Archive | None:
        """Give one archive, None when it is not registered."""
        return next((each for each in self.archives() if each.name == name), None)

    def bundle(self, archive: str, number: int) -> tuple[bytes, str] | None:
        """Give a bundle that was taken, as it came, and its cosigned note."""
        with self._lock:
            row = self._connection.execute(
                "SELECT body, note FROM bundle WHERE archive = ? AND number = ?", (archive, number)
            ).fetchone()
        return (bytes(row["body"]), str(row["note"])) if row else None

    def taken(self, archive: str, sha256: str) -> tuple[int, str] | None:
        """Give number and cosigned note of a bundle that was taken, None for one that was not."""
        with self._lock:
            row = self._connection.execute(
                "SELECT number, note FROM bundle WHERE archive = ? AND sha256 = ?", (archive, sha256)
            ).fetchone()
        return (int(row["number"]), str(row["note"])) if row else None

    def take(self, archive: str, head: Head, bundle: Bundle, data: bytes, note: str, now: datetime) -> None:
        """Keep a bundle that was judged good, and move the head to it."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO bundle (archive, number, sha256, received_at, body, note) VALUES (?, ?, ?, ?, ?, ?)",
                (archive, head.number, head.sha256, format_time(now), data, note),
            )
            connection.execute(
                "UPDATE archive SET number = ?, last = ?, chain = ?, sha256 = ?, at = ?, subtrees = ? WHERE name = ?",
                (head.number, head.last, head.chain, head.sha256, head.at, b"".join(head.subtrees), archive),
            )
            self._keep_documents(connection, archive, documents_of(bundle.entries))
            self._heard(connection, archive, now, nightly=bundle.head.kind == NIGHTLY)

    def heard(self, archive: str, now: datetime) -> None:
        """Note that an archive sent a good bundle again."""
        with self.transaction() as connection:
            self._heard(connection, archive, now, nightly=False)

    def _heard(self, connection: sqlite3.Connection, archive: str, now: datetime, *, nightly: bool) -> None:
        at = format_time(now)
        connection.execute("UPDATE archive SET received_at = ? WHERE name = ?", (at, archive))
        if nightly:
            connection.execute("UPDATE archive SET nightly_at = ? WHERE name = ?", (at, archive))

    def keep_evidence(self, archive: str, sha256: str, code: str, data: bytes, now: datetime) -> None:
        """Keep a bundle that was refused, as it came: signed by the archive, it speaks against it."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO evidence (archive, sha256, code, received_at, body) VALUES (?, ?, ?, ?, ?)",
                (archive, sha256, code, format_time(now), data),
            )

    def evidence(self, archive: str) -> list[tuple[str, bytes]]:
        """Give the refused bundles of an archive, each with its code, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT code, body FROM evidence WHERE archive = ? ORDER BY received_at, sha256", (archive,)
            )
            return [(str(row["code"]), bytes(row["body"])) for row in rows]

    def open_alarm(self, archive: str, code: str, message: str, now: datetime, targets: Sequence[str]) -> bool:
        """Open an alarm with its notices; False when the same one stands open already."""
        with self.transaction() as connection:
            standing = connection.execute(
                "SELECT 1 FROM alarm WHERE archive = ? AND code = ? AND closed_at IS NULL", (archive, code)
            ).fetchone()
            if standing is not None:
                return False
            done = connection.execute(
                "INSERT INTO alarm (archive, code, message, opened_at) VALUES (?, ?, ?, ?)",
                (archive, code, message, format_time(now)),
            )
            self._add_notices(connection, int(done.lastrowid or 0), targets, now)
        return True

    @staticmethod
    def _add_notices(connection: sqlite3.Connection, alarm: int, targets: Sequence[str], now: datetime) -> None:
        for target in targets:
            connection.execute(
                "INSERT OR IGNORE INTO notice (alarm, target, next_at) VALUES (?, ?, ?)",
                (alarm, target, format_time(now)),
            )

    def escalate(self, alarm: int, targets: Sequence[str], now: datetime) -> None:
        """Tell further targets of an alarm that nobody acknowledged."""
        with self.transaction() as connection:
            connection.execute("UPDATE alarm SET escalated_at = ? WHERE id = ?", (format_time(now), alarm))
            self._add_notices(connection, alarm, targets, now)

    def close_alarm(self, archive: str, code: str, now: datetime) -> None:
        """Close an alarm whose cause is gone."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE alarm SET closed_at = ? WHERE archive = ? AND code = ? AND closed_at IS NULL",
                (format_time(now), archive, code),
            )

    def close_by_hand(self, alarm: int, by: str, because: str, now: datetime) -> bool:
        """Close an alarm that does not close by itself; False when there is none of this number that stands."""
        with self.transaction() as connection:
            done = connection.execute(
                "UPDATE alarm SET closed_at = ?, closed_by = ?, closed_because = ?,"
                " acknowledged_at = coalesce(acknowledged_at, ?), acknowledged_by = coalesce(acknowledged_by, ?)"
                " WHERE id = ? AND closed_at IS NULL",
                (format_time(now), by, because, format_time(now), by, alarm),
            )
            return done.rowcount == 1

    def acknowledge(self, alarm: int, by: str, now: datetime) -> bool:
        """Note who saw an alarm; False when there is none of this number. It stays open until its cause is gone."""
        with self.transaction() as connection:
            done = connection.execute(
                "UPDATE alarm SET acknowledged_at = coalesce(acknowledged_at, ?),"
                " acknowledged_by = coalesce(acknowledged_by, ?) WHERE id = ?",
                (format_time(now), by, alarm),
            )
            return done.rowcount == 1

    def alarms(self, *, standing: bool = False) -> list[Alarm]:
        """Give the alarms, newest first; `standing`: those that are not closed."""
        where = "WHERE closed_at IS NULL" if standing else ""
        with self._lock:
            rows = self._connection.execute(f"SELECT * FROM alarm {where} ORDER BY id DESC")  # noqa: S608 - constant
            return [_alarm(row) for row in rows]

    def notices_due(self, now: datetime) -> list[tuple[Notice, Alarm]]:
        """Give the notices to send now, with their alarms."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT * FROM notice WHERE sent_at IS NULL AND next_at <= ? ORDER BY id", (format_time(now),)
            ).fetchall()
            alarms = {each.id: each for each in self.alarms()}
        return [
            (Notice(row["id"], row["alarm"], row["target"], row["tries"]), alarms[row["alarm"]]) for row in rows
        ]  # fmt: skip

    def noticed(self, notice: Notice, now: datetime, *, trouble: str = "", again: datetime | None = None) -> None:
        """Note that a notice was sent, or why it was not and when it is tried again."""
        with self.transaction() as connection:
            if again is None:
                connection.execute("UPDATE notice SET sent_at = ? WHERE id = ?", (format_time(now), notice.id))
            else:
                connection.execute(
                    "UPDATE notice SET tries = tries + 1, trouble = ?, next_at = ? WHERE id = ?",
                    (trouble, format_time(again), notice.id),
                )


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def _archive(row: sqlite3.Row) -> Archive:
    subtrees = bytes(row["subtrees"])
    head = Head(
        row["number"],
        row["last"],
        row["chain"],
        row["sha256"],
        row["at"],
        tuple(subtrees[place : place + 32] for place in range(0, len(subtrees), 32)),
    )
    return Archive(
        row["name"],
        parse_vkey(row["vkey"]),
        parse_time(row["registered_at"]),
        _time(row["received_at"]),
        _time(row["nightly_at"]),
        head,
        row["tsa_roots"],
    )


def _alarm(row: sqlite3.Row) -> Alarm:
    return Alarm(
        row["id"],
        row["archive"],
        row["code"],
        row["message"],
        parse_time(row["opened_at"]),
        _time(row["acknowledged_at"]),
        row["acknowledged_by"] or "",
        _time(row["closed_at"]),
        _time(row["escalated_at"]),
        row["closed_by"] or "",
        row["closed_because"] or "",
    )
