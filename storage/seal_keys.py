"""The list of sealing keys, and the count of their uses (docs/format/seal-v1.md §5).

A number is given in a transaction of its own before the key signs; the act that the seal is for takes it into the
journal in its own transaction. A crash between the two leaves the number in `seal_use`, with the act it was for: the
count can be too high, and says why; it is never too low.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError
from minutier.events import Event, format_time
from storage import journal
from storage.database import Connection, Database

SEAL, SECOND = "seal", "seal-mldsa65"
PREFIX = 16
"""How many hexadecimal digits of the certificate's SHA-256 name a key in the journal."""
_DETAILS = {SEAL: ("seal_key", "seal_count"), SECOND: ("seal2_key", "seal2_count")}
_REPORT = """
WITH details AS (
    SELECT convert_from(entry, 'UTF8')::jsonb -> 'details' AS d FROM journal_event
    WHERE position('"seal_count"'::bytea IN entry) > 0 OR position('"seal2_count"'::bytea IN entry) > 0
), journaled AS (
    SELECT d ->> 'seal_key' AS key, (d ->> 'seal_count')::bigint AS number FROM details WHERE d ? 'seal_count'
    UNION ALL
    SELECT d ->> 'seal2_key', (d ->> 'seal2_count')::bigint FROM details WHERE d ? 'seal2_count'
), acts AS (
    SELECT key, count(*) AS acts, count(DISTINCT number) AS numbers, max(number) AS top FROM journaled GROUP BY key
), waiting AS (
    SELECT u.certificate_sha256, count(DISTINCT u.number) AS waiting, count(j.number) AS shared, max(u.number) AS last
    FROM seal_use u LEFT JOIN journaled j ON j.key = left(u.certificate_sha256, 16) AND j.number = u.number
    GROUP BY u.certificate_sha256
)
SELECT k.*, a.key, coalesce(a.acts, 0) AS acts, coalesce(a.numbers, 0) AS numbers, coalesce(w.waiting, 0) AS waiting,
    coalesce(w.shared, 0) AS shared, greatest(a.top, w.last, 0) AS top
FROM seal_key k FULL JOIN acts a ON a.key = left(k.certificate_sha256, 16)
    LEFT JOIN waiting w USING (certificate_sha256)
ORDER BY k.active_from, k.kind
"""


@dataclass(frozen=True, slots=True)
class SealKey:
    """One sealing key as the archive knows it; `uses` counts the numbers given."""

    sha256: str
    kind: str
    certificate: x509.Certificate
    active_from: datetime
    retired_at: datetime | None
    revoked_at: datetime | None
    reason: str | None
    uses: int

    @property
    def state(self) -> str:
        """Give active, retired or revoked."""
        return "revoked" if self.revoked_at else "retired" if self.retired_at else "active"

    @property
    def name(self) -> str:
        """Give the digits that name the key in the journal."""
        return self.sha256[:PREFIX]


@dataclass(frozen=True, slots=True)
class KeyCount:
    """What the journal says of a key's uses: in how many acts, how many numbers wait for one, and what does not fit."""

    key: SealKey | None
    name: str
    journaled: int
    waiting: int
    trouble: str


def fingerprint(certificate: x509.Certificate) -> str:
    """Give the SHA-256 of a certificate in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def keys(connection: Connection) -> list[SealKey]:
    """Give every key, the oldest first."""
    return [_key(row) for row in connection.execute("SELECT * FROM seal_key ORDER BY active_from, kind")]


def active(connection: Connection, kind: str) -> SealKey | None:
    """Give the key that seals now, None when there is none."""
    return next((key for key in keys(connection) if key.kind == kind and key.state == "active"), None)


def find(connection: Connection, name: str) -> SealKey:
    """Find a key by the first digits of its certificate's SHA-256; BadInputError (`UNKNOWN_KEY`) unless exactly one."""
    found = [key for key in keys(connection) if name and key.sha256.startswith(name.lower())]
    if len(found) != 1:
        how = "No sealing key begins" if not found else "Several sealing keys begin"
        raise BadInputError("UNKNOWN_KEY", f"{how} with {name!r}.", remedy="`minutier key list` shows them.")
    return found[0]


def register(connection: Connection, kind: str, certificate: x509.Certificate, at: datetime) -> bool:
    """Take the first key of its kind into use; False, and nothing is done, when there has been one before."""
    connection.execute("LOCK TABLE seal_key IN SHARE ROW EXCLUSIVE MODE")
    if any(key.kind == kind for key in keys(connection)):
        return False
    _insert(connection, kind, certificate, at)
    details: dict[str, str | int] = {"kind": kind, "seal_key": fingerprint(certificate)[:PREFIX]}
    journal.append(connection, Event.KEY_ACTIVATED, at, details=details)
    return True


def replace(connection: Connection, kind: str, certificate: x509.Certificate, at: datetime) -> None:
    """Retire the active key of a kind and take another into use, journaled; BadInputError (`KEY_NOT_NEW`)."""
    connection.execute("LOCK TABLE seal_key IN SHARE ROW EXCLUSIVE MODE")
    known = {key.sha256: key for key in keys(connection)}
    if before := known.get(fingerprint(certificate)):
        raise BadInputError(
            "KEY_NOT_NEW",
            f"The key {before.name} is known already ({before.state}).",
            remedy="Name another key in the settings: one that was in use is not taken again.",
        )
    old = active(connection, kind)
    if old is not None:
        connection.execute("UPDATE seal_key SET retired_at = %s WHERE certificate_sha256 = %s", (at, old.sha256))
    _insert(connection, kind, certificate, at)
    details: dict[str, str | int] = {"kind": kind, "seal_key": fingerprint(certificate)[:PREFIX]}
    journal.append(connection, Event.KEY_ROTATED, at, details=details | ({"retired": old.name} if old else {}))


def mark_revoked(connection: Connection, key: SealKey, at: datetime, reason: str) -> None:
    """Record that a key is revoked since `at`, journaled; it never seals again."""
    done = connection.execute(
        "UPDATE seal_key SET revoked_at = %s, reason = %s WHERE certificate_sha256 = %s AND revoked_at IS NULL",
        (at, reason, key.sha256),
    )
    if done.rowcount:
        details: dict[str, str | int] = {"seal_key": key.name, "reason": reason, "revoked_at": format_time(at)}
        journal.append(connection, Event.KEY_REVOKED, at, details=details)


def reserve(database: Database, certificate: x509.Certificate, act: str, archive_id: str) -> int | None:
    """Give the next number of an active key, durably; None when the key is not active."""
    sha256 = fingerprint(certificate)
    with database.transaction() as connection:
        row = connection.execute(
            "UPDATE seal_key SET uses = uses + 1 WHERE certificate_sha256 = %s AND retired_at IS NULL"
            " AND revoked_at IS NULL RETURNING uses",
            (sha256,),
        ).fetchone()
        if row is None:
            return None
        connection.execute(
            "INSERT INTO seal_use (certificate_sha256, number, act, archive_id) VALUES (%s, %s, %s, %s)",
            (sha256, row["uses"], act, archive_id or None),
        )
    return int(row["uses"])


def settle(connection: Connection, certificate: x509.Certificate, kind: str, number: int) -> dict[str, str | int]:
    """Take a number into the transaction of its act, and give what the act's journal entry must carry.

    Raises IntegrityFailureError (`SEAL_COUNT`) when another act took it.
    """
    sha256 = fingerprint(certificate)
    done = connection.execute("DELETE FROM seal_use WHERE certificate_sha256 = %s AND number = %s", (sha256, number))
    if done.rowcount != 1:
        raise IntegrityFailureError(
            "SEAL_COUNT",
            f"The use {number} of the key {sha256[:PREFIX]} is in the journal already.",
            remedy="Run the same command again; if it says the same, keep the instance as it is.",
        )
    key_name, count_name = _DETAILS[kind]
    return {key_name: sha256[:PREFIX], count_name: number}


def not_active(connection: Connection, certificate: x509.Certificate) -> PolicyRefusedError:
    """Say why a key may not seal."""
    key = next((each for each in keys(connection) if each.sha256 == fingerprint(certificate)), None)
    name = fingerprint(certificate)[:PREFIX]
    if key is None:
        return PolicyRefusedError(
            "SEAL_KEY_NOT_ACTIVE",
            f"The sealing key of the settings ({name}) was not taken into use.",
            remedy="Take it into use: minutier key rotate. Or put the settings back as they were.",
        )
    return PolicyRefusedError(
        "SEAL_KEY_NOT_ACTIVE",
        f"The sealing key {name} is {key.state}.",
        remedy="Run `minutier key rotate`; where the settings name the key, name the new one first.",
    )


def ended(certificate: x509.Certificate) -> PolicyRefusedError:
    """Say that a certificate has ended: no verifier would accept what it seals from then on."""
    return PolicyRefusedError(
        "SEAL_KEY_NOT_ACTIVE",
        f"The certificate of the sealing key {fingerprint(certificate)[:PREFIX]} ended on"
        f" {certificate.not_valid_after_utc:%Y-%m-%d}.",
        remedy="Run `minutier key rotate`; where the settings name the key, name the new one first.",
    )


def count(connection: Connection) -> list[KeyCount]:
    """Compare the count of each key with the journal, in one snapshot; reads the whole journal once.

    Raises IntegrityFailureError (`JOURNAL_BROKEN`) when an entry is not JSON.
    """
    try:
        rows = connection.execute(_REPORT.encode()).fetchall()
    except psycopg.DataError as error:
        message = f"An entry of the journal cannot be read: {error.diag.message_primary}."
        raise IntegrityFailureError("JOURNAL_BROKEN", message, remedy="Keep the instance as it is.") from error
    return [_count(row) for row in rows]


def waiting(connection: Connection) -> list[dict[str, Any]]:
    """Give the uses that no act took into the journal: `key`, `number`, `act`, `archive_id`, `reserved_at`."""
    rows = connection.execute("SELECT * FROM seal_use ORDER BY reserved_at, number")
    return [
        {
            "key": row["certificate_sha256"][:PREFIX],
            "number": int(row["number"]),
            "act": row["act"],
            "archive_id": str(row["archive_id"] or ""),
            "reserved_at": format_time(row["reserved_at"]),
        }
        for row in rows
    ]


def _count(row: dict[str, Any]) -> KeyCount:
    acts, numbers, waiting, shared, top = (int(row[name]) for name in ("acts", "numbers", "waiting", "shared", "top"))
    if row["certificate_sha256"] is None:
        return KeyCount(None, row["key"], acts, 0, "in the journal, and not among the keys")
    key = _key(row)
    missing = key.uses - numbers - waiting + shared
    told = (
        (top > key.uses, f"the journal knows use {top}, the count says {key.uses}"),
        (acts != numbers, f"{acts - numbers} uses are in the journal twice"),
        (shared > 0, f"{shared} uses are in the journal and wait for it"),
        (top <= key.uses and missing > 0, f"{missing} uses are neither in the journal nor waiting for it"),
    )
    return KeyCount(key, key.name, acts, waiting, "; ".join(words for wrong, words in told if wrong))


def _insert(connection: Connection, kind: str, certificate: x509.Certificate, at: datetime) -> None:
    connection.execute(
        "INSERT INTO seal_key (certificate_sha256, kind, certificate, active_from) VALUES (%s, %s, %s, %s)",
        (fingerprint(certificate), kind, certificate.public_bytes(Encoding.DER), at),
    )


def _key(row: dict[str, Any]) -> SealKey:
    return SealKey(
        sha256=row["certificate_sha256"],
        kind=row["kind"],
        certificate=x509.load_der_x509_certificate(bytes(row["certificate"])),
        active_from=row["active_from"],
        retired_at=row["retired_at"],
        revoked_at=row["revoked_at"],
        reason=row["reason"],
        uses=int(row["uses"]),
    )
