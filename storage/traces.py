"""Legal traces for the supervision: bundles of the journal, made once, sent until they are acknowledged.

A bundle that was sent and not answered is sent again as the same bytes: the supervision answers it as before.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from minutier import canonical
from minutier.checkpoint import NoteKey, parse_vkey, verify_checkpoint, verify_cosignature
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from minutier.events import format_time
from minutier.segment import START, chain_after
from minutier.trace_bundle import HEARTBEAT, MAX_ENTRIES, Head, count_events, encode_bundle
from storage import journal
from storage.archive import Archive
from storage.database import Connection
from storage.dev_ca import JOURNAL_NAME
from storage.proofs import checkpoint_of
from storage.seam import crossing


@dataclass(frozen=True, slots=True)
class Answer:
    """What the supervision answered: the HTTP status and the body."""

    status: int
    body: bytes

    @property
    def why(self) -> str:
        """Give code and sentence of a refusal, `{"code", "message"}` in JSON; the status where it says nothing."""
        try:
            value = json.loads(self.body)
            return f"{value['code']}. {value['message']}"
        except (ValueError, KeyError, TypeError):
            return f"status {self.status}"


class Wire(Protocol):
    """The way to the supervision; ServiceUnavailableError (`SUPERVISION_DOWN`) when it does not answer."""

    def send(self, data: bytes) -> Answer:
        """Send one bundle and give the answer."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """What a run shipped: bundles, entries, and the number of the last entry that the supervision holds."""

    bundles: int
    entries: int
    last: int
    cosigned_at: datetime | None


def ship(archive: Archive, wire: Wire, witness: NoteKey, kind: str = HEARTBEAT) -> Shipped:
    """Ship all that the supervision does not hold yet, at least one bundle: silence is an alarm there.

    After a cut it catches up, bundle by bundle. Raises ServiceUnavailableError when it does not answer,
    PolicyRefusedError (`TRACE_REFUSED`) when it refuses, IntegrityFailureError (`COSIGNATURE`) when its answer does not
    hold.
    """
    bundles = entries = last = 0
    cosigned_at = None
    with archive.database.exclusive("traces", wait=True):
        more = True
        while more:
            number, data, more = _next(archive, kind)
            answer = _send(wire, number, data)
            cosigned_at = _acknowledge(archive, number, data, answer, witness)
            with archive.database.transaction() as connection:
                row = _row(connection, number)
            bundles, last = bundles + 1, int(row["last_seq"])
            entries += last - int(row["first_seq"]) + 1
    return Shipped(bundles, entries, last, cosigned_at)


def standing(connection: Connection) -> dict[str, Any]:
    """Say what the supervision holds: the last acknowledged bundle, and how many entries wait."""
    row = connection.execute(
        "SELECT number, last_seq, acknowledged_at FROM trace_bundle WHERE body IS NULL ORDER BY number DESC LIMIT 1"
    ).fetchone()
    size, _ = journal.head(connection)
    last = int(row["last_seq"]) if row else 0
    return {
        "bundles": int(row["number"]) if row else 0,
        "entries": last,
        "waiting": size - last,
        "acknowledged_at": row["acknowledged_at"] if row else None,
    }


def _next(archive: Archive, kind: str) -> tuple[int, bytes, bool]:
    """Give the bundle to send, the one that waits or a new one; and whether more entries wait behind it."""
    with archive.database.transaction() as connection:
        while journal.sequence(connection):
            pass
        size, _ = journal.head(connection)
        before = connection.execute("SELECT * FROM trace_bundle ORDER BY number DESC LIMIT 1").fetchone()
        if before is not None and before["body"] is not None:
            # Behind one that waits comes another, of what was written since: it is the one that says the hour.
            return int(before["number"]), bytes(before["body"]), True
        last, chain = (int(before["last_seq"]), bytes(before["chain"])) if before else (0, START)
        rows = connection.execute(
            "SELECT entry FROM journal_event WHERE seq > %s ORDER BY seq LIMIT %s", (last, MAX_ENTRIES)
        ).fetchall()
        entries = [bytes(row["entry"]) for row in rows]
        after, end, number = (
            chain_after(chain, entries),
            last + len(entries),
            int(before["number"]) + 1 if before else 1,
        )
        head = Head(
            number=number,
            kind=kind,
            first=last + 1,
            last=end,
            chain_before=chain.hex(),
            chain_after=after.hex(),
            counts=count_events(entries),
            previous=before["sha256"] if before else "",
            checkpoint=checkpoint_of(archive, connection, end).decode(),
            at=format_time(archive.clock()),
        )
        data = encode_bundle(head, entries, archive.journal_key.sign)
        connection.execute(
            "INSERT INTO trace_bundle (number, kind, first_seq, last_seq, chain, sha256, made_at, body)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (number, kind, last + 1, end, after, hashlib.sha256(data).hexdigest(), archive.clock(), data),
        )
    return number, data, end < size


def _send(wire: Wire, number: int, data: bytes) -> Answer:
    with crossing("supervision", "send", str(number)):
        return wire.send(data)


def _acknowledge(archive: Archive, number: int, data: bytes, answer: Answer, witness: NoteKey) -> datetime:
    """Check the acknowledgement of a bundle and note it; gives when it was cosigned."""
    if answer.status != 200:
        raise _refused(answer)
    try:
        value = canonical.decode(answer.body)
        named, note = (value["number"], value["sha256"]), str(value["note"])
        if named != (number, hashlib.sha256(data).hexdigest()):
            raise ValueError("it is about another bundle")
        own = NoteKey(JOURNAL_NAME, archive.journal_key.public_key().public_bytes_raw())
        signed = verify_checkpoint(note.encode(), [own])
        at = verify_cosignature(note.encode(), witness)
    except (ValueError, KeyError, TypeError, IntegrityFailureError) as error:
        raise IntegrityFailureError(
            "COSIGNATURE",
            f"The supervision's acknowledgement of bundle {number} does not hold ({error}).",
            remedy="Check supervision_url and supervision_key: is somebody else answering? Nothing was noted.",
        ) from error
    with archive.database.transaction() as connection:
        row = _row(connection, number)
        if signed.size != row["last_seq"]:
            raise IntegrityFailureError(
                "COSIGNATURE", "The supervision cosigned another checkpoint.", remedy="Check supervision_key."
            )
        connection.execute(
            "UPDATE trace_bundle SET body = NULL, acknowledged_at = %s, note = %s WHERE number = %s",
            (archive.clock(), note, number),
        )
    return at


def _row(connection: Connection, number: int) -> dict[str, Any]:
    (row,) = connection.execute("SELECT * FROM trace_bundle WHERE number = %s", (number,)).fetchall()
    return dict(row)


def _refused(answer: Answer) -> PolicyRefusedError | ServiceUnavailableError | BadInputError:
    if answer.status == 409:
        return PolicyRefusedError(
            "TRACE_REFUSED",
            f"The supervision refuses what this archive tells: {answer.why}",
            remedy="It has raised an alarm. Keep the instance as it is and have the journal examined.",
        )
    if answer.status == 404:
        return BadInputError(
            "ARCHIVE_NOT_WATCHED",
            f"The supervision does not watch this archive ({answer.why}).",
            remedy="Register it there with the key trust/journal.vkey, and name it at the end of supervision_url.",
        )
    return ServiceUnavailableError(
        "SUPERVISION_DOWN", f"The supervision did not take the bundle ({answer.why}).", remedy="It is sent again."
    )


def load_witness(archive: Archive) -> NoteKey:
    """Read the key that the supervision cosigns with; BadInputError (`NO_SUPERVISION`, `BAD_KEY`)."""
    path = archive.settings.supervision_key
    if archive.settings.supervision_url is None or path is None:
        raise BadInputError(
            "NO_SUPERVISION",
            "No supervision is named in the settings: nothing can be shipped.",
            remedy="Give supervision_url (its address, then /v1/archives/NAME) and supervision_key, its witness.vkey.",
        )
    try:
        return parse_vkey(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(
            "BAD_KEY", f"The key of the supervision, {path}, cannot be read.", remedy="Copy its witness.vkey there."
        ) from error
