"""Sealed papers on the end of life: lists, certificates, attestations (docs/format/act-v1.md).

A paper is sealed before the transaction of its act, kept and journaled in it, and given again as the same bytes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from minutier import canonical
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.events import Event, format_time
from minutier.seal import check_seal
from storage.archive import Archive
from storage.database import Connection
from storage.sealer import Sealed

FORMAT = "minutier-act/1"
LIST, DESTRUCTION, RESTITUTION = "disposal-list", "destruction", "restitution"
EVENTS = {
    LIST: Event.DISPOSAL_LISTED,
    DESTRUCTION: Event.DEPOSIT_DESTROYED,
    RESTITUTION: Event.RESTITUTION_ATTESTED,
}
"""The journal entry that names each kind of paper."""
_LONGEST_TEXT = 500
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Act:
    """A paper as it was sealed: its canonical bytes and the detached CMS over them."""

    act_id: str
    act: str
    body: bytes
    seal: bytes
    at: datetime

    @property
    def value(self) -> dict[str, Any]:
        """Give its members."""
        return dict(canonical.decode(self.body))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A paper that is sealed and not kept yet."""

    act: Act
    sealed: Sealed


def draw(archive: Archive, kind: str, members: Mapping[str, Any], archive_id: str = "") -> Drawn:
    """Write and seal a paper; `keep` it in the transaction of its act."""
    act_id, now = str(uuid.uuid4()), archive.clock()
    body = canonical.encode({"format": FORMAT, "act": kind, "act_id": act_id, "at": format_time(now), **members})
    sealed = archive.signer.seal(body, now, kind, archive_id)
    return Drawn(Act(act_id, kind, body, sealed.signature, now), sealed)


def keep(connection: Connection, drawn: Drawn) -> dict[str, str | int]:
    """Keep a paper; gives what the journal entry of its act must say of it."""
    act = drawn.act
    connection.execute(
        "INSERT INTO sealed_act (act_id, act, body, seal, at) VALUES (%s, %s, %s, %s, %s)",
        (act.act_id, act.act, act.body, act.seal, act.at),
    )
    named: dict[str, str | int] = {"act_id": act.act_id, "act_sha256": hashlib.sha256(act.body).hexdigest()}
    return named | drawn.sealed.journaled(connection)


def get(archive: Archive, act_id: str) -> Act:
    """Give a paper, as the journal says that it is.

    Raises BadInputError (`UNKNOWN_ACT`), IntegrityFailureError (`ACT_ALTERED`, and those of `check_seal`).
    """
    with archive.database.transaction() as connection:
        row = connection.execute("SELECT * FROM sealed_act WHERE act_id::text = %s", (act_id,)).fetchone()
        if row is None:
            raise BadInputError("UNKNOWN_ACT", f"There is no sealed paper {act_id}.", remedy="Check its number.")
        entries = connection.execute(
            "SELECT entry FROM journal_event WHERE event = %s", (EVENTS[row["act"]].value,)
        ).fetchall()
    found = Act(act_id, row["act"], bytes(row["body"]), bytes(row["seal"]), row["at"])
    named = (act_id, hashlib.sha256(found.body).hexdigest())
    if named not in {_named(bytes(each["entry"])) for each in entries}:
        raise IntegrityFailureError(
            "ACT_ALTERED",
            "The paper in the database is not the one that the journal names.",
            remedy="Keep the instance as it is and have the journal examined.",
        )
    check_seal(found.body, found.seal, archive.seal_roots, found.at, archive.crls)
    return found


def _named(entry: bytes) -> tuple[object, object]:
    details = canonical.decode(entry)["details"]
    return details.get("act_id"), details.get("act_sha256")


def require_reason(reason: str) -> str:
    """Give a reason without the spaces around it; BadInputError (`BAD_REASON`) unless it is one line of 1 to 500."""
    reason = reason.strip()
    if not reason or len(reason) > _LONGEST_TEXT or not reason.isprintable():
        raise BadInputError(
            "BAD_REASON",
            f"The reason is not one line of 1 to {_LONGEST_TEXT} characters.",
            remedy="Say in a short sentence why.",
        )
    return reason


def require_person(name: str, role: str) -> str:
    """Give the name of who acts; BadInputError (`BAD_PERSON`) unless it is one line of 1 to 80 characters."""
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadInputError(
            "BAD_PERSON",
            f"The name of {role} is not one line of 1 to {_LONGEST_NAME} characters.",
            remedy="Give --by NAME: a service number or initials are enough.",
        )
    return name
