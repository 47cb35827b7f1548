"""Challenges: a document drawn at random is asked for with a nonce, and each copy must answer alike.

The archive asks what is asked of it: the supervision never calls. One challenge at a time stands open for an archive.
Steps are numbered as on docs/format/challenge-v1.md §3.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from minutier.challenge import Answer, Challenge, decode_answer, refused
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.events import format_time, parse_time
from supervision.register import Archive, Register


def standing(register: Register, archive: str) -> Challenge | None:
    """Give the challenge that waits for its answer, None when nothing is asked."""
    with register.transaction() as connection:
        row = connection.execute(
            "SELECT * FROM challenge WHERE archive = ? AND answered_at IS NULL ORDER BY number DESC LIMIT 1", (archive,)
        ).fetchone()
    return _challenge(row) if row else None


def draw(register: Register, archive: str, every: timedelta, answer_within: timedelta, now: datetime) -> bool:
    """Ask for a document at random, where none is asked for and the last one was long enough ago."""
    with register.transaction() as connection:
        last = connection.execute(
            "SELECT * FROM challenge WHERE archive = ? ORDER BY number DESC LIMIT 1", (archive,)
        ).fetchone()
        if last is not None and (last["answered_at"] is None or parse_time(last["at"]) > now - every):
            return False
        where = "FROM document WHERE archive = ? AND NOT gone"
        (count,) = connection.execute(f"SELECT count(*) {where}", (archive,)).fetchone()
        if not count:
            return False
        (chosen,) = connection.execute(
            f"SELECT archive_id {where} ORDER BY archive_id LIMIT 1 OFFSET ?",
            (archive, secrets.randbelow(count)),
        ).fetchone()
        connection.execute(
            "INSERT INTO challenge (archive, number, archive_id, nonce, at, until) VALUES (?, ?, ?, ?, ?, ?)",
            (
                archive,
                last["number"] + 1 if last else 1,
                chosen,
                secrets.token_hex(32),
                format_time(now),
                format_time(now + answer_within),
            ),
        )
    return True


def overdue(register: Register, archive: str, now: datetime) -> Challenge | None:
    """Give the challenge whose time is over and that was not answered."""
    found = standing(register, archive)
    return found if found is not None and found.until < now else None


def withdraw_gone(register: Register, archive: str, now: datetime) -> None:
    """Take back a challenge whose document the archive has said to destroy since."""
    with register.transaction() as connection:
        connection.execute(
            "UPDATE challenge SET answered_at = :now WHERE archive = :archive AND answered_at IS NULL"
            " AND archive_id IN (SELECT archive_id FROM document WHERE archive = :archive AND gone)",
            {"archive": archive, "now": format_time(now)},
        )


def receive_answer(register: Register, archive: Archive, data: bytes, now: datetime) -> int:
    """Judge an answer and keep what it told; gives the number of its challenge, the same one each time.

    Raises BadInputError (`NOT_ASKED`), IntegrityFailureError (`CHALLENGE_…`): from step 4 on, the challenge has had its
    answer.
    """
    # 1, 2: form, signature.
    answer = decode_answer(data, Ed25519PublicKey.from_public_bytes(archive.key.public))
    digest = hashlib.sha256(data).hexdigest()
    with register.transaction() as connection:
        row = connection.execute(
            "SELECT * FROM challenge WHERE archive = ? AND number = ?", (archive.name, answer.number)
        ).fetchone()
        if row is None or (row["answered_at"] is not None and row["sha256"] != digest):
            raise BadInputError(
                "NOT_ASKED", f"There is no open challenge {answer.number}.", remedy="Ask for the one that stands."
            )
        # 3: it is about that challenge.
        if (answer.archive_id, answer.nonce) != (row["archive_id"], row["nonce"]):
            raise refused("CHALLENGE_OTHER", "it is about another document, or another nonce")
        # In one transaction: what was taken for an answer was judged.
        found = _judge(connection, archive.name, answer)
        connection.execute(
            "UPDATE challenge SET answered_at = coalesce(answered_at, ?), sha256 = ?, copies = ?"
            " WHERE archive = ? AND number = ?",
            (format_time(now), digest, len(answer.copies), archive.name, answer.number),
        )
    if found is not None:
        raise found
    return answer.number


def _judge(connection: sqlite3.Connection, archive: str, answer: Answer) -> IntegrityFailureError | None:
    """Give what does not hold, None when all does; then the document is known by what was answered."""
    copies, named = answer.copies, f"document {answer.archive_id}"
    # 4: each copy is there.
    if not copies or len({each.replica for each in copies}) != len(copies) or any(each.gone for each in copies):
        where = ", ".join(each.replica for each in copies if each.gone) or "any store, or on one twice"
        return refused("CHALLENGE_COPY_GONE", f"{named} is not on {where}")
    # 5: as many as before.
    before = connection.execute(
        "SELECT copies FROM challenge WHERE archive = ? AND number < ? AND copies > 0 ORDER BY number DESC LIMIT 1",
        (archive, answer.number),
    ).fetchone()
    if before is not None and len(copies) < before["copies"]:
        return refused("CHALLENGE_COPIES", f"{len(copies)} copies answer, {before['copies']} did the time before")
    # 6: all alike.
    if len({(each.size, each.sha256, each.answer) for each in copies}) != 1:
        return refused("CHALLENGE_DIFFERS", f"the copies of {named} differ from one another")
    # 7: and as the first time.
    pinned = f"{copies[0].size} {copies[0].sha256}"
    document = (archive, answer.archive_id)
    row = connection.execute("SELECT pinned FROM document WHERE archive = ? AND archive_id = ?", document).fetchone()
    if row["pinned"] not in ("", pinned):
        return refused("CHALLENGE_CHANGED", f"{named} is not what was shown the first time")
    connection.execute("UPDATE document SET pinned = ? WHERE archive = ? AND archive_id = ?", (pinned, *document))
    return None


def _challenge(row: sqlite3.Row) -> Challenge:
    return Challenge(row["number"], row["archive_id"], row["nonce"], parse_time(row["at"]), parse_time(row["until"]))
