"""Answering the supervision's challenges: each copy of a document is read now, with a nonce that was not known before.

What is answered is what the replicas gave, good or not: the supervision judges it (docs/format/challenge-v1.md).
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from minutier.challenge import Challenge, CopyAnswer, decode_challenge, encode_answer
from minutier.errors import IntegrityFailureError, ServiceUnavailableError
from minutier.events import Event
from storage import catalogue, journal
from storage.archive import Archive
from storage.catalogue import Copy, StoredObject
from storage.seam import crossing
from storage.traces import Answer

_ROLE = "original"
_PIECE = 1 << 20


class Wire(Protocol):
    """The way to the supervision; ServiceUnavailableError (`SUPERVISION_DOWN`) when it does not answer."""

    def challenge(self) -> Answer:
        """Ask for the challenge that stands; status 204, or 404 from one that asks for nothing, when there is none."""

    def reply(self, data: bytes) -> Answer:
        """Send an answer and give what is said to it."""


def meet_challenge(archive: Archive, wire: Wire) -> int | None:
    """Answer the challenge that stands; gives its number, None where there is none or its document is destroyed.

    Raises IntegrityFailureError (`CHALLENGE_FAILED`) when the supervision says that the answer does not hold, and
    ServiceUnavailableError when it, or a replica, does not answer.
    """
    with crossing("supervision", "challenge"):
        asked = wire.challenge()
    if asked.status in (204, 404):
        return None
    try:
        challenge = decode_challenge(asked.body if asked.status == 200 else b"")
    except ValueError as error:
        raise _unclear(f"its challenge cannot be read: {error}") from error
    data = answer(archive, challenge)
    if data is None:
        return None
    with crossing("supervision", "reply", str(challenge.number)):
        said = wire.reply(data)
    if said.status == 409:
        raise _failed(challenge, said)
    if said.status not in (200, 404):  # 404: answered already, or taken back meanwhile
        raise _unclear(f"it did not take the answer to challenge {challenge.number}, status {said.status}")
    return challenge.number


def _failed(challenge: Challenge, said: Answer) -> IntegrityFailureError:
    return IntegrityFailureError(
        "CHALLENGE_FAILED",
        f"The supervision asked for document {challenge.archive_id} and does not accept what the stores gave:"
        f" {said.why}",
        remedy=f"It has raised an alarm. `minutier check {challenge.archive_id}` names the copy, `minutier sweep` mends"
        " it.",
    )


def _unclear(why: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "SUPERVISION_DOWN",
        f"The supervision cannot be understood: {why}.",
        remedy="It is asked again at the next heartbeat. Is something else answering at supervision_url?",
    )


def answer(archive: Archive, challenge: Challenge) -> bytes | None:
    """Read each copy of the document and give the signed answer; None where the document is destroyed.

    The journal says that it was answered. Raises ServiceUnavailableError when a replica does not answer: it is tried
    again, and the supervision alarms when that takes too long.
    """
    with archive.database.transaction() as connection:
        state = catalogue.state_of(connection, challenge.archive_id)
    if state in catalogue.DESTROYED_STATES:
        return None
    copies = _copies(archive, challenge)
    gone, now = sum(each.gone for each in copies), archive.clock()
    with archive.database.transaction() as connection:
        details: dict[str, str | int] = {"number": challenge.number, "copies": len(copies), "gone": gone}
        journal.append(connection, Event.CHALLENGE_ANSWERED, now, archive_id=challenge.archive_id, details=details)
    return encode_answer(challenge, copies, now, archive.journal_key.sign)


def _copies(archive: Archive, challenge: Challenge) -> list[CopyAnswer]:
    """Give what each replica answers; one that seems bad is read again where the catalogue now says it is."""
    found = {}
    for replica in sorted(_places(archive, challenge)):
        for _ in range(2):
            place = _places(archive, challenge).get(replica)
            if place is None:
                break
            item, copy = place
            found[replica] = _read(archive, item, copy, bytes.fromhex(challenge.nonce))
            if found[replica].sha256 == item.sha256:
                break
    return list(found.values())


def _places(archive: Archive, challenge: Challenge) -> dict[str, tuple[StoredObject, Copy]]:
    with archive.database.transaction() as connection:
        items = catalogue.objects(connection, challenge.archive_id)
        copies = catalogue.copies(connection, challenge.archive_id)
    return {each.replica: (items[_ROLE], each) for each in copies if each.role == _ROLE}


def _read(archive: Archive, item: StoredObject, copy: Copy, nonce: bytes) -> CopyAnswer:
    try:
        replica = archive.replica(copy.replica)
    except KeyError as error:
        raise ServiceUnavailableError(
            "STORE_UNKNOWN",
            f"The store {copy.replica} holds a copy and is no longer in the settings.",
            remedy="Name it in the settings again: what lies there cannot be shown otherwise.",
        ) from error
    plain, nonced, size = hashlib.sha256(), hashlib.sha256(nonce), 0
    try:
        with replica.open(item.key, copy.version_id) as stream:
            while piece := stream.read(_PIECE):
                plain.update(piece)
                nonced.update(piece)
                size += len(piece)
    except (KeyError, IntegrityFailureError):  # not there, or by the store's own word not what it was given
        return CopyAnswer(copy.replica)
    return CopyAnswer(copy.replica, size, plain.hexdigest(), nonced.hexdigest())
