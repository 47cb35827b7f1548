"""Two databases side by side, table by table and row by row: a catalogue made again, and the one that it stands for.

Rows come in the order of their keys from cursors of the servers: memory does not grow with the archive.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from minutier.errors import BadInputError, ServiceUnavailableError
from storage import ledger
from storage.database import Connection
from storage.ledger import Table

TRANSIENT = {
    "schema_migration": "says when this database got its migrations",
    "ledger_change": "lists what no segment tells yet: nothing, in a catalogue just made",
    "store_probe": "the canary's last answer, asked again before the next deposit",
    "store_settings": "what each store was told to do by itself, looked at again every night",
    "trace_bundle": "what was shipped to the supervision, which holds it",
    "journal_tile": "hashes of the journal's entries, made again from them",
    "proof_check": "when each proof was last judged: all are judged again",
}
"""Tables that do not come back, and why."""
NOT_COMPARED = {
    ("journal_event", "event_id"): "numbers rows in one database; entries are numbered by seq",
    **dict.fromkeys(
        (("replica_copy", "checked_at"), ("replica_copy", "swept_at"), ("replica_copy", "tried_at")),
        "moved by each sweep, and told as it stood at the last change of the row",
    ),
}
"""Columns that are not the same, and why."""
_OWN = (Table("journal_event", ("seq",)), Table("journal_segment", ("number",)))
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class TableComparison:
    """One table. Rows of the live database that changed after the last segment are `later`, not different."""

    table: str
    rows: int
    equal: int
    different: int
    missing: int
    extra: int
    later: int
    examples: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Say whether every row is the same on both sides; one that is `later` on either is not."""
        return self.rows == self.equal and not self.extra and not self.later


@dataclass(frozen=True, slots=True)
class Comparison:
    """All tables; `unknown` names tables that are neither compared nor known to be transient."""

    tables: tuple[TableComparison, ...]
    unknown: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Say whether the two are the same, to the last row."""
        return all(each.same for each in self.tables) and not self.unknown

    def as_dict(self) -> dict[str, Any]:
        """Give the comparison as JSON values, with what was left out and why."""
        return {
            "equal": self.equal,
            "tables": [asdict(each) for each in self.tables],
            "unknown": list(self.unknown),
            "transient": TRANSIENT,
            "not_compared": {f"{table}.{column}": why for (table, column), why in NOT_COMPARED.items()},
        }


def compare(live: str, made: str, say: Callable[[str], None] = lambda _line: None) -> Comparison:
    """Compare the live database with one made again; neither is changed.

    Raises ServiceUnavailableError (`DATABASE_DOWN`) when one does not answer, BadInputError (`SAME_DATABASE`) when both
    addresses are of one database, which is always equal to itself.
    """
    with _reading(live) as first, _reading(made) as second:
        if _identity(first) == _identity(second):
            raise BadInputError(
                "SAME_DATABASE",
                "Both addresses are of the same database: there is nothing to compare.",
                remedy="Name the database that was made again.",
            )
        known = (*_OWN, *ledger.tables(second))
        told = first.execute("SELECT max(last_seq) AS last FROM journal_segment WHERE body IS NULL").fetchone()
        last = int(told["last"] or 0) if told else 0
        done = []
        for table in known:
            say(f"compare: {table.name}")
            done.append(_compare(first, second, table, last))
        names = {table.name for table in known} | set(TRANSIENT)
        unknown = sorted((_tables(first) | _tables(second)) - names)
    return Comparison(tuple(done), tuple(unknown))


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    try:
        with psycopg.connect(url, connect_timeout=5, row_factory=dict_row) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute("SET LOCAL TimeZone = 'UTC'")
            yield connection
    except psycopg.OperationalError as error:
        raise ServiceUnavailableError(
            "DATABASE_DOWN",
            f"A database to compare does not answer ({str(error).splitlines()[0]}).",
            remedy="Start it, then compare again; what was made stays.",
        ) from error


def _identity(connection: Connection) -> DictRow | None:
    """Give what two addresses of one database have in common: the start of its server and its number in it."""
    query = "SELECT pg_postmaster_start_time() AS started, oid FROM pg_database WHERE datname = current_database()"
    return connection.execute(query).fetchone()


def _tables(connection: Connection) -> set[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    return {row["tablename"] for row in connection.execute(query)}


def _compare(live: Connection, made: Connection, table: Table, last: int) -> TableComparison:
    counts = dict.fromkeys(("rows", "equal", "different", "missing", "extra", "later"), 0)
    examples = list[str]()

    def wrong(kind: str, key: str) -> None:
        kind = "later" if _is_later(live, table, key, last) else kind
        counts[kind] += 1
        if kind != "later" and len(examples) < 5:
            examples.append(f"{kind}: {key}")

    with ExitStack() as stack:
        left, right = (_rows(each, table, stack) for each in (live, made))
        one, other = next(left, None), next(right, None)
        while one is not None or other is not None:
            if other is None or (one is not None and one["key"] < other["key"]):
                wrong("missing", (one or {})["key"])
                counts["rows"] += 1
                one = next(left, None)
            elif one is None or one["key"] > other["key"]:
                wrong("extra", other["key"])
                other = next(right, None)
            else:
                counts["rows"] += 1
                if one["digest"] == other["digest"]:
                    counts["equal"] += 1
                else:
                    wrong("different", one["key"])
                one, other = next(left, None), next(right, None)
    return TableComparison(table.name, **counts, examples=tuple(examples))


def _rows(connection: Connection, table: Table, stack: ExitStack) -> Iterator[DictRow]:
    left_out = [column for name, column in NOT_COMPARED if name == table.name]
    # In the order of bytes, as Python compares text: both servers may have other collations.
    query = SQL(
        "SELECT {key} AS key, sha256(convert_to((to_jsonb(t) - {left_out}::text[])::text, 'UTF8')) AS digest"
        ' FROM {table} t ORDER BY {key} COLLATE "C"'
    ).format(key=_key(table), left_out=Literal(left_out), table=Identifier(table.name))
    cursor = stack.enter_context(connection.cursor(name=f"compare_{uuid.uuid4().hex}"))
    cursor.itersize = _AT_ONCE
    return iter(cursor.execute(query))


def _key(table: Table) -> Composed:
    parts = SQL(", ").join(
        SQL("{}, {}").format(Literal(name), Identifier("t", name)) for name in table.key
    )  # fmt: skip
    return SQL("jsonb_build_object({})::text").format(parts)


def _is_later(live: Connection, table: Table, key: str, last: int) -> bool:
    """Say whether the live row changed after the last segment that is on the stores."""
    if table.name == "journal_event":
        query = "SELECT coalesce((%s::jsonb ->> 'seq')::bigint > %s, true) AS later"
        row = live.execute(query, (key, last)).fetchone()
    elif table.name == "journal_segment":
        query = "SELECT body IS NOT NULL AS later FROM journal_segment WHERE number = (%s::jsonb ->> 'number')::bigint"
        row = live.execute(query, (key,)).fetchone()
    else:
        query = "SELECT EXISTS (SELECT 1 FROM ledger_change WHERE name = %s AND key = %s::jsonb) AS later"
        row = live.execute(query, (table.name, key)).fetchone()
    return row is not None and bool(row["later"])
