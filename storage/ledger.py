"""The ledger: rows of the catalogue that changed since the last segment, for a catalogue made again from the stores.

Triggers note the primary key of every row that changes (migration 0007). A ledger holds these rows as they stand when
it is cut, and leaves out what the stores or the keys directory say already (docs/format/segment-v1.md §3).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.sql import SQL, Composed, Identifier
from psycopg.types.json import Jsonb

from minutier import canonical
from minutier.errors import IntegrityFailureError
from storage.catalogue import COMMITTED_STATES
from storage.database import Connection
from storage.safes import HOST, set_id

FORMAT = "minutier-ledger/1"
_ON_THE_STORES = ("STORED", *COMMITTED_STATES)


@dataclass(frozen=True, slots=True)
class Table:
    """A table that comes back from ledgers, and the columns of its primary key."""

    name: str
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One row as a ledger tells it: its columns as PostgreSQL writes them in JSON, None once the row is gone.

    `elsewhere` names the columns to take from the sealed record of the document, or from its wrapped key.
    """

    table: str
    key: dict[str, Any]
    row: dict[str, Any] | None
    elsewhere: tuple[str, ...] = field(default=())


def tables(connection: Connection) -> list[Table]:
    """Give the tables that come back from ledgers, parents first."""
    rows = connection.execute(
        "SELECT c.relname AS name, (SELECT array_agg(a.attname::text ORDER BY k.place)"
        " FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, place)"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum) AS key"
        " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_index i ON i.indrelid = c.oid"
        " WHERE t.tgname = 'ledger' AND i.indisprimary AND c.relnamespace = 'public'::regnamespace ORDER BY t.oid"
    )
    return [Table(row["name"], tuple(row["key"])) for row in rows]


def changed(connection: Connection, limit: int) -> tuple[list[int], list[Line]]:
    """Give the first changes that wait for a ledger, by their ids, and the rows that they are about, as they stand.

    In a transaction that sees one state of the database throughout (REPEATABLE READ).
    """
    connection.execute("SET LOCAL TimeZone = 'UTC'")
    rows = connection.execute("SELECT id, name FROM ledger_change ORDER BY id LIMIT %s", (limit,)).fetchall()
    ids, names = [int(row["id"]) for row in rows], {row["name"] for row in rows}
    lines = [
        _line(connection, table, row)
        for table in tables(connection)
        if table.name in names | ({"deposit"} if "document_key" in names else set())
        for row in _rows(connection, table, ids).fetchall()
    ]
    return ids, lines


def _rows(connection: Connection, table: Table, ids: Sequence[int]) -> Any:
    # Whose key is wrapped anew is told anew: what the sealed record may be left to say depends on who opens it.
    also = ["document_key"] if table.name == "deposit" else []
    query = SQL(
        "SELECT c.key, to_jsonb(t) AS row FROM (SELECT min(id) AS id, key FROM ledger_change"
        " WHERE id = ANY(%s) AND name = ANY(%s) GROUP BY key) c"
        " CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, c.key) k"
        " LEFT JOIN {table} t ON ({parts}) = ({found}) ORDER BY c.id"
    ).format(table=Identifier(table.name), parts=_columns(table.key, "t"), found=_columns(table.key, "k"))
    return connection.execute(query, (list(ids), [table.name, *also]))


def _columns(names: Sequence[str], of: str) -> Composed:
    return SQL(", ").join(Identifier(of, name) for name in names)


def _line(connection: Connection, table: Table, row: Mapping[str, Any]) -> Line:
    if row["row"] is None:
        return Line(table.name, row["key"], None)
    told = _told_elsewhere(connection, table.name, row["row"])
    elsewhere = tuple(name for name in told if row["row"][name] == told[name])
    kept = {name: value for name, value in row["row"].items() if name not in elsewhere}
    return Line(table.name, row["key"], kept, elsewhere)


def _told_elsewhere(connection: Connection, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    if table == "document_key":
        # Never under a lock: destroying both copies of a wrapped key must erase the document.
        return {"wrapped": row["wrapped"]}
    if table != "deposit" or row["state"] not in _ON_THE_STORES or not _opens_here(connection, row):
        return {}
    return told_by_record(
        bytes.fromhex(row["manifest"][2:]), row["seal"], row["second_seal"]
    )  # bytea as PostgreSQL writes it: \x, then digits


def _opens_here(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Say whether the host holds a key of the document: only then can its record be read when all else is lost."""
    found = connection.execute(
        "SELECT k.wrapped_for, array_agg(r.recipient) AS all, bool_or(r.holder = %s) AS host FROM document_key k"
        " JOIN safe_recipient r ON r.safe = %s WHERE k.archive_id = %s GROUP BY k.wrapped_for",
        (HOST, row["safe"], row["archive_id"]),
    ).fetchone()
    return found is not None and bool(found["host"]) and found["wrapped_for"] in ("", set_id(found["all"]))


def told_by_record(manifest: bytes, seal: str, second_seal: str | None) -> dict[str, Any]:
    """Give the columns of a deposit that its sealed record tells, as PostgreSQL writes them in JSON."""
    value = canonical.decode(manifest)
    original = next(part for part in value["objects"] if part["role"] == "original")
    names = ("reference", "dossier", "depositor", "metadata", "screening", "rendition")
    return {
        "manifest": f"\\x{manifest.hex()}",
        "seal": seal,
        "second_seal": second_seal,
        **{name: value[name] for name in names},
        **{name: original[name] for name in ("name", "sha256", "sha3_512", "size")},
    }


def forget(connection: Connection, ids: Sequence[int]) -> None:
    """Drop the changes that a ledger tells of now."""
    connection.execute("DELETE FROM ledger_change WHERE id = ANY(%s)", (list(ids),))


def encode(number: int, lines: Sequence[Line]) -> bytes:
    """Write a ledger: gzip over JSON lines, the first one its format and number."""
    values: list[dict[str, Any]] = [{"format": FORMAT, "number": number}]
    for line in lines:
        known: dict[str, Any] = {"gone": line.key} if line.row is None else {"row": line.row}
        values.append({"table": line.table, **known, **({"elsewhere": line.elsewhere} if line.elsewhere else {})})
    text = "".join(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n" for value in values)
    return gzip.compress(text.encode(), 6, mtime=0)


def decode(data: bytes, number: int, known: Sequence[Table]) -> Iterator[Line]:
    """Read a ledger; IntegrityFailureError (`LEDGER_FORMAT`) for another number, or a table that is none of `known`."""
    keys = {table.name: table.key for table in known}
    try:
        # By line feeds alone: JSON leaves other ends of lines inside its strings.
        head, *values = [json.loads(line) for line in gzip.decompress(data).decode().rstrip("\n").split("\n")]
        if head != {"format": FORMAT, "number": number}:
            raise ValueError("its first line is that of another ledger")
        for value in values:
            row = value.get("row")
            key = value["gone"] if row is None else {part: row[part] for part in keys[value["table"]]}
            yield Line(value["table"], key, row, tuple(value.get("elsewhere", ())))
    except (ValueError, KeyError, EOFError, gzip.BadGzipFile) as error:
        raise IntegrityFailureError(
            "LEDGER_FORMAT",
            f"The ledger of segment {number} cannot be read ({error}).",
            remedy="Use the release that wrote it, or a newer one; keep the stores as they are.",
        ) from error


def apply(connection: Connection, known: Sequence[Table], lines: Sequence[Line]) -> None:
    """Bring the rows of one ledger into a catalogue that is being made again, over what earlier ledgers told.

    What is to be found elsewhere has a value that stands in until it is.
    """
    for table in reversed(known):
        gone = [line.key for line in lines if line.table == table.name and line.row is None]
        if gone:
            _delete(connection, table, gone)
    for table in known:
        rows = [_standing_in(line) for line in lines if line.table == table.name and line.row is not None]
        if rows:
            _upsert(connection, table, rows)


def _standing_in(line: Line) -> dict[str, Any]:
    # The reference of a live deposit is unique in its safe: its own id stands in.
    places: dict[str, Any] = {"reference": line.key.get("archive_id"), "metadata": {}, "wrapped": "\\x"}
    nullable = ("manifest", "seal", "second_seal", "sha256", "sha3_512", "size", "screening", "rendition")
    missing = {name: places.get(name, "") for name in line.elsewhere if name not in nullable}
    return {**(line.row or {}), **missing}


def _delete(connection: Connection, table: Table, keys: Sequence[Mapping[str, Any]]) -> None:
    query = SQL(
        "DELETE FROM {table} t USING jsonb_populate_recordset(NULL::{table}, %s) k WHERE ({parts}) = ({found})"
    ).format(table=Identifier(table.name), parts=_columns(table.key, "t"), found=_columns(table.key, "k"))
    connection.execute(query, (Jsonb(list(keys)),))


def _upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    columns_of = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s"
    names = [row["column_name"] for row in connection.execute(columns_of, (table.name,))]
    unknown = sorted({name for row in rows for name in row} - set(names))
    if unknown:
        raise IntegrityFailureError(
            "LEDGER_FORMAT",
            f"A ledger tells of a column {table.name}.{unknown[0]} that this release does not have.",
            remedy="Use the release that wrote it, or a newer one.",
        )
    # A column that came with a later migration has the default that the migration gave to rows of before.
    given = [name for name in names if any(name in row for row in rows)]
    columns = SQL(", ").join(map(Identifier, given))
    others = [name for name in given if name not in table.key]
    settings = SQL(", ").join(SQL("{0} = EXCLUDED.{0}").format(Identifier(name)) for name in others)
    act = SQL("DO UPDATE SET {}").format(settings) if others else SQL("DO NOTHING")
    query = SQL(
        "INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, %s)"
        " WITH ORDINALITY AS told ORDER BY told.ordinality ON CONFLICT ({key}) {act}"
    ).format(
        table=Identifier(table.name), columns=columns, key=SQL(", ").join(map(Identifier, table.key)), act=act
    )  # fmt: skip
    connection.execute(query, (Jsonb(list(rows)),))
