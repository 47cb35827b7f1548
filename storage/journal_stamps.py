"""The daily time-stamp of the journal: a token over its signed checkpoint, even on a day without any document.

Whoever rewrites the journal later, with its key, cannot have it time-stamped in the past: the authority's clock is not
theirs. The token is over the very bytes of the signed note, so that `openssl ts -verify -data` checks it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from minutier.errors import IntegrityFailureError, ServiceUnavailableError
from minutier.events import Event, format_time
from minutier.journal_stamp import encode_stamp
from minutier.timestamp import check_token
from storage import journal
from storage.archive import Archive
from storage.database import Connection
from storage.proofs import checkpoint_of, make_checkpoint
from storage.sealing import previous_tokens
from storage.seam import crossing
from storage.traces import Answer

EVERY = timedelta(hours=20)
"""A stamp younger than this is that of today: runs that come a little early or late still make one a day."""


@dataclass(frozen=True, slots=True)
class JournalStamp:
    """A token over the checkpoint of `size` entries."""

    size: int
    gen_time: datetime
    tsa: str
    token: bytes


def stamp_journal(archive: Archive) -> JournalStamp | None:
    """Have the journal time-stamped unless it was within the last 20 hours; gives the new stamp, None without one.

    Raises ServiceUnavailableError (`TSA_DOWN`…), IntegrityFailureError when the authorities' answers were refused.
    """
    with archive.database.transaction() as connection:
        known = last(connection)
        if known is not None and archive.clock() - known.gen_time < EVERY:
            return None
        size = make_checkpoint(archive, connection).size
        if size == 0 or (known is not None and known.size >= size):
            return None  # an archive that was made a moment ago; later each stamp leaves an entry to be stamped next
        note = checkpoint_of(archive, connection, size)
    previous = previous_tokens(archive)
    if known is not None:
        previous[known.tsa] = max(known.gen_time, previous.get(known.tsa, known.gen_time))
    stamped = archive.tsa.stamp(hashlib.sha256(note).digest(), archive.clock, previous)
    made = JournalStamp(size, stamped.token.gen_time, stamped.url, stamped.token.der)
    with archive.database.transaction() as connection:
        done = connection.execute(
            "INSERT INTO journal_stamp (size, token, tsa, gen_time) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (made.size, made.token, made.tsa, made.gen_time),
        )
        if not done.rowcount:
            return None  # another worker was first
        details: dict[str, str | int] = {"size": made.size, "gen_time": format_time(made.gen_time)}
        journal.append(connection, Event.JOURNAL_STAMPED, archive.clock(), details=details)
    return made


def last(connection: Connection) -> JournalStamp | None:
    """Give the newest stamp, None when there is none."""
    row = connection.execute("SELECT * FROM journal_stamp ORDER BY size DESC LIMIT 1").fetchone()
    if row is None:
        return None
    return JournalStamp(int(row["size"]), row["gen_time"], str(row["tsa"]), bytes(row["token"]))


def check_last(archive: Archive, connection: Connection) -> JournalStamp | None:
    """Judge the newest stamp again, over the note that is kept today; IntegrityFailureError (`JOURNAL_BROKEN`)."""
    known = last(connection)
    if known is None:
        return None
    row = connection.execute("SELECT note FROM journal_checkpoint WHERE size = %s", (known.size,)).fetchone()
    try:
        if row is None:
            raise IntegrityFailureError("PART_MISSING", "its checkpoint is gone", remedy="")
        check_token(known.token, hashlib.sha256(str(row["note"]).encode()).digest(), archive.roots, archive.crls)
    except IntegrityFailureError as error:
        raise IntegrityFailureError(
            "JOURNAL_BROKEN",
            f"The time-stamp of {format_time(known.gen_time)} is not over the journal of today ({error.code}).",
            remedy="Keep the instance as it is; compare with the last checkpoint shipped elsewhere.",
        ) from error
    return known


class Wire(Protocol):
    """The way to the supervision; ServiceUnavailableError (`SUPERVISION_DOWN`) when it does not answer."""

    def stamp(self, data: bytes) -> Answer:
        """Send a stamp and give what is said to it."""


def tell_last(archive: Archive, wire: Wire) -> int | None:
    """Tell the newest stamp; gives its size, None where there is none or the supervision looks at none.

    Raises IntegrityFailureError (`STAMP_REFUSED`) when the supervision says that it does not hold, and
    ServiceUnavailableError when it does not answer.
    """
    with archive.database.transaction() as connection:
        known = last(connection)
        note = checkpoint_of(archive, connection, known.size) if known else b""
    if known is None:
        return None
    with crossing("supervision", "stamp", str(known.size)):
        said = wire.stamp(encode_stamp(note, known.token))
    if said.status == 404:
        return None
    if said.status == 409:
        raise IntegrityFailureError(
            "STAMP_REFUSED",
            f"The supervision does not accept the time-stamp of {format_time(known.gen_time)}: {said.why}",
            remedy="It has raised an alarm. Keep the instance as it is; are its roots those of your authorities?",
        )
    if said.status != 200:
        raise ServiceUnavailableError(
            "SUPERVISION_DOWN", f"The supervision answers {said.status}.", remedy="It is told again the next night."
        )
    return known.size
