"""What of the archive was read again, and when: the order of a sweep, its marks, and the debt that it leaves.

A copy counts once its document is committed; a file of a token once it is locked, for until then its writer may still
replace it. Debt is what nobody has verified in time: a copy not read within a day of its writing, or for thirty days.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from minutier.events import format_time
from storage.catalogue import COMMITTED_STATES, Copy, StoredObject
from storage.database import Connection

NEW_WITHIN = timedelta(hours=24)
EACH_WITHIN = timedelta(days=30)
"""Each byte of each replica is read again within this time, and each proof judged again."""
_COUNTS = (
    " FROM replica_copy c JOIN object o USING (archive_id, role) LEFT JOIN deposit d USING (archive_id)"
    " WHERE (d.state = ANY(%(states)s) OR (d.archive_id IS NULL AND o.retain_until IS NOT NULL)) "
)
_WAITING = _COUNTS + "AND coalesce(c.tried_at, c.checked_at) < %(before)s AND c.replica <> ALL(%(without)s) "
_COLUMNS = (
    "SELECT o.key, o.sha256, o.sha3_512, o.size, c.archive_id, c.role, c.replica, c.version_id, c.locked_until,"
    " c.checked_at, c.health,"
    " CASE WHEN d.state = 'COMMITTED' THEN NULL ELSE coalesce(o.retain_until, d.extended_until, d.retain_until)"
    " END AS term"
)
_DEBT = (
    "SELECT count(*) AS copies,"  # noqa: S608 - constant text
    " count(*) FILTER (WHERE new) AS new, count(*) FILTER (WHERE old) AS old,"
    " coalesce(sum(size) FILTER (WHERE new OR old), 0) AS late_bytes, min(since) FILTER (WHERE new OR old) AS oldest,"
    " count(*) FILTER (WHERE health <> 'good') AS damaged, min(since) AS since FROM (SELECT o.size, c.health,"
    " c.swept_at IS NULL AND c.checked_at < %(day)s AS new, c.swept_at < %(month)s AS old,"
    " coalesce(c.swept_at, c.checked_at) AS since" + _COUNTS + ") AS each"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One copy to read: what its bytes must be, where it is, and the term of its lock (None: not locked yet)."""

    item: StoredObject
    copy: Copy
    term: datetime | None

    def same_place(self, other: Subject | None) -> bool:
        """Say whether the catalogue still expects the same bytes of the same version."""
        return other is not None and (self.item, self.copy.version_id) == (other.item, other.copy.version_id)


@dataclass(frozen=True, slots=True)
class Debt:
    """What was not verified in time. Sizes in bytes; `oldest` is the last reading of the copy that waits longest.

    `new`: copies never read by a sweep, written more than a day ago. `old`: copies not read for thirty days.
    `proofs`: documents whose proof was not judged within a day of their arrival, or for thirty days.
    `covered_since`: every copy and every proof was verified after this time, or was written after it.
    """

    copies: int
    new: int
    old: int
    late_bytes: int
    proofs: int
    damaged: int
    oldest: datetime | None
    covered_since: datetime | None

    @property
    def late(self) -> bool:
        """Say whether there is any debt."""
        return bool(self.new or self.old or self.proofs)

    def as_dict(self) -> dict[str, Any]:
        """Give the figures as JSON values."""
        values = asdict(self) | {"late": self.late}
        return values | {name: _time(values[name]) for name in ("oldest", "covered_since")}

    def sentence(self) -> str:
        """Say it in one line."""
        since = (
            f"everything was verified since {_time(self.covered_since)}" if self.covered_since else "nothing is kept"
        )
        if not self.late:
            return f"no debt: {since}"
        return (
            f"{self.new} new copies not read within a day, {self.old} copies not read for 30 days"
            f" ({self.late_bytes} bytes, the oldest since {_time(self.oldest)}), {self.proofs} proofs not judged"
        )


def _time(moment: datetime | None) -> str | None:
    return format_time(moment) if moment else None


def copies_to_check(connection: Connection, before: datetime, limit: int, without: Sequence[str] = ()) -> list[Subject]:
    """Give copies not looked at since a time: those never read first, then the longest unread.

    Copies written since are left to the next sweep; `without` names replicas to leave out.
    """
    order = "ORDER BY c.swept_at NULLS FIRST, c.checked_at, c.archive_id, c.role, c.replica LIMIT %(limit)s"
    rows = connection.execute(
        (_COLUMNS + _WAITING + order).encode(),
        {"states": list(COMMITTED_STATES), "before": before, "without": list(without), "limit": limit},
    )
    return [_subject(row) for row in rows]


def count_to_check(connection: Connection, before: datetime, without: Sequence[str] = ()) -> int:
    """Count the copies that `copies_to_check` would give without a limit."""
    row = connection.execute(
        ("SELECT count(*) AS n" + _WAITING).encode(),
        {"states": list(COMMITTED_STATES), "before": before, "without": list(without)},
    ).fetchone()
    return int(row["n"]) if row else 0


def subject_now(connection: Connection, copy: Copy) -> Subject | None:
    """Give what the catalogue says of a copy at this moment, None when it no longer counts."""
    one = "AND c.archive_id = %(owner)s AND c.role = %(role)s AND c.replica = %(replica)s"
    row = connection.execute(
        (_COLUMNS + _COUNTS + one).encode(),
        {"states": list(COMMITTED_STATES), "owner": copy.archive_id, "role": copy.role, "replica": copy.replica},
    ).fetchone()
    return _subject(row) if row else None


def mark(connection: Connection, looked_at: Iterable[tuple[Copy, str]], at: datetime) -> None:
    """Record copies as looked at, with the outcome of each: good, unhealed, or any other, which leaves the health.

    Only where the version is still the one that was looked at: a copy healed meanwhile is a new one.
    """
    rows = [(copy.archive_id, copy.role, copy.replica, copy.version_id, outcome) for copy, outcome in looked_at]
    columns = zip(*rows, strict=True) if rows else [()] * 5
    connection.execute(
        "UPDATE replica_copy c SET tried_at = %(at)s,"
        " swept_at = CASE WHEN seen.outcome = 'good' THEN %(at)s ELSE swept_at END,"
        " checked_at = CASE WHEN seen.outcome = 'good' THEN %(at)s ELSE checked_at END,"
        " health = CASE seen.outcome WHEN 'good' THEN 'good' WHEN 'unhealed' THEN 'damaged' ELSE health END"
        " FROM unnest(%(owner)s::uuid[], %(role)s::text[], %(replica)s::text[], %(version)s::text[],"
        " %(outcome)s::text[]) AS seen (archive_id, role, replica, version_id, outcome)"
        " WHERE (c.archive_id, c.role, c.replica, c.version_id)"
        " = (seen.archive_id, seen.role, seen.replica, seen.version_id)",
        dict(zip(("owner", "role", "replica", "version", "outcome"), map(list, columns), strict=True)) | {"at": at},
    )


def proofs_to_check(connection: Connection, started: datetime, limit: int) -> list[str]:
    """Give documents whose proof is due at a time: never judged, judged thirty days before, or found bad before."""
    rows = connection.execute(
        "SELECT d.archive_id FROM deposit d LEFT JOIN proof_check p USING (archive_id)"
        " WHERE d.state = ANY(%s)"
        " AND (p.checked_at IS NULL OR p.checked_at < %s OR (p.code <> '' AND p.checked_at < %s))"
        " ORDER BY p.checked_at NULLS FIRST, d.archive_id LIMIT %s",
        (list(COMMITTED_STATES), started - EACH_WITHIN, started, limit),
    )
    return [str(row["archive_id"]) for row in rows]


def mark_proofs(connection: Connection, judged: Iterable[tuple[str, str]], at: datetime) -> None:
    """Record documents whose proof was judged, with the code of what is wrong with it ("" when it is good)."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO proof_check (archive_id, checked_at, code) VALUES (%s, %s, %s)"
            " ON CONFLICT (archive_id) DO UPDATE SET checked_at = EXCLUDED.checked_at, code = EXCLUDED.code",
            [(archive_id, at, code) for archive_id, code in judged],
        )


def debt(connection: Connection, now: datetime) -> Debt:
    """Compute the debt of verification at a time."""
    values = {"states": list(COMMITTED_STATES), "day": now - NEW_WITHIN, "month": now - EACH_WITHIN}
    copies = connection.execute(_DEBT.encode(), values).fetchone()
    proofs = connection.execute(
        "SELECT count(*) FILTER (WHERE p.checked_at < %(month)s OR (p.checked_at IS NULL AND received_at < %(day)s))"
        " AS late, min(coalesce(p.checked_at, received_at)) AS since"
        " FROM deposit d LEFT JOIN proof_check p USING (archive_id) WHERE d.state = ANY(%(states)s)",
        values,
    ).fetchone()
    if copies is None or proofs is None:
        raise LookupError("an aggregate without a row")
    known = [moment for moment in (copies["since"], proofs["since"]) if moment is not None]
    return Debt(
        copies["copies"], copies["new"], copies["old"], int(copies["late_bytes"]), proofs["late"], copies["damaged"],
        copies["oldest"], min(known, default=None),
    )  # fmt: skip


def _subject(row: dict[str, Any]) -> Subject:
    owner = str(row["archive_id"])
    item = StoredObject(owner, row["role"], row["key"], row["sha256"], row["sha3_512"], int(row["size"]))
    copy = Copy(
        owner, row["role"], row["replica"], row["version_id"], row["locked_until"], row["checked_at"], row["health"]
    )
    return Subject(item, copy, row["term"])
