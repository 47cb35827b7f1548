"""Time-stamps of the journal: a token that counts here, over the root of the entries that were told, once a day.

Steps are numbered as on docs/format/trace-v1.md §3.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from minutier import merkle
from minutier.certificates import load_pem
from minutier.checkpoint import verify_checkpoint
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.events import format_time, parse_time
from minutier.journal_stamp import decode_stamp, refused
from minutier.timestamp import check_token
from supervision.judge import AHEAD
from supervision.register import Archive, Register


def receive_stamp(register: Register, archive: Archive, data: bytes, now: datetime) -> int:
    """Judge a stamp and keep it; gives how many entries it is over.

    Raises BadInputError (`NO_TSA_ROOT`) where no authority was registered, IntegrityFailureError (`STAMP_…`).
    """
    if not archive.tsa_roots:
        raise BadInputError(
            "NO_TSA_ROOT", "No root of a time-stamp authority is registered.", remedy="register NAME --tsa-root FILE"
        )
    # 1: form.
    note, token = decode_stamp(data)
    # 2: the archive signed the checkpoint.
    try:
        signed = verify_checkpoint(note, [archive.key])
    except IntegrityFailureError as error:
        raise refused("STAMP_NOTE", "the key of this archive did not sign its checkpoint") from error
    # 3: it is over the entries that were told.
    if signed.origin != archive.key.name or not 0 < signed.size <= archive.head.last:
        raise refused("STAMP_ROOT", f"it is over {signed.size} entries, {archive.head.last} were told")
    frontier = _frontier(register, archive.name, signed.size)
    if signed.root != frontier.root():
        raise refused("STAMP_ROOT", "its root is not the one of the entries that were told")
    # 4: the token counts, and is over that note.
    try:
        found = check_token(token, hashlib.sha256(note).digest(), load_pem(archive.tsa_roots.encode()))
    except IntegrityFailureError as error:
        raise refused("STAMP_TOKEN", f"the token does not count ({error.code})") from error
    # 5: not from a time that is yet to come, nor before the one before.
    before = last(register, archive.name)
    if found.gen_time > now + AHEAD or (before is not None and before[0] < signed.size and found.gen_time < before[1]):
        raise refused("STAMP_CLOCK", f"its time {format_time(found.gen_time)} is ahead of ours, or before the last one")
    with register.transaction() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO stamp (archive, size, gen_time, received_at, subtrees, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                archive.name, signed.size, format_time(found.gen_time), format_time(now),
                b"".join(frontier.subtrees), data,
            ),
        )  # fmt: skip
    return signed.size


def last(register: Register, archive: str) -> tuple[int, datetime] | None:
    """Give size and time of the newest good stamp, None when there is none."""
    with register.transaction() as connection:
        row = connection.execute(
            "SELECT size, gen_time FROM stamp WHERE archive = ? ORDER BY size DESC LIMIT 1", (archive,)
        ).fetchone()
    return (row["size"], parse_time(row["gen_time"])) if row else None


def _frontier(register: Register, archive: str, size: int) -> merkle.Frontier:
    """Recompute the edge of the tree after `size` entries, from the last stamp on and the bundles that were kept."""
    with register.transaction() as connection:
        row = connection.execute(
            "SELECT size, subtrees FROM stamp WHERE archive = ? AND size <= ? ORDER BY size DESC LIMIT 1",
            (archive, size),
        ).fetchone()
        base, raw = (row["size"], bytes(row["subtrees"])) if row else (0, b"")
        frontier = merkle.Frontier(base, [raw[place : place + 32] for place in range(0, len(raw), 32)])
        parts: list[tuple[int, list[bytes]]] = []
        for each in connection.execute("SELECT body FROM bundle WHERE archive = ? ORDER BY number DESC", (archive,)):
            lines = bytes(each["body"]).split(b"\n")
            head = json.loads(lines[0])
            if head["last"] <= base:
                break
            parts.append((int(head["first"]), lines[2:-1]))
    for first, entries in reversed(parts):
        for number, entry in enumerate(entries, start=first):
            if frontier.size < number <= size:
                frontier.append(merkle.leaf_hash(entry))
    return frontier
