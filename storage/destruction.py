"""Destruction: a document goes, in the open, and a sealed certificate says what went and what each store answered.

1. Look: its term has come for us and for every store, no hold stands, its class lets it go, with the visa it wants.
2. Begin, in one transaction: state DESTROYING, what there is on the stores noted, the document key destroyed. From here
   on nothing can read it, and nothing can hold it.
3. Delete every version on every replica, and note each answer.
4. End, in one transaction: the certificate, state DESTROYED.

Run again, it goes on from the recorded state. A store that is away leaves the document DESTROYING, unreadable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from minutier.events import format_time
from minutier.identifiers import is_archive_id
from storage import acts, catalogue, classes, holds, terms, texts
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.database import Connection
from storage.files import remove
from storage.ports import ObjectStore
from storage.worm import CLOCK_SECONDS, stamp

LEGAL_GROUND = "NF Z42-013:2020 §8, retention; GDPR art. 17(3)(b) and (d)"
REMAINS = "backups of the database and of the keys directory made before, until they are dropped"
_DELETED, _ABSENT = "deleted", "absent"
_TABLES = ("replica_copy", "object", "evidence_chain", "proof_check", "blind_statement", "document_key")
"""What the catalogue knew of where it is and how it opens, children first."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a document goes, who asked for it, and where its class wants that: who approved it, under which visa."""

    reason: str
    requested_by: str
    approved_by: str = ""
    visa: str = ""
    list_id: str = ""


def destroy(archive: Archive, archive_id: str, decision: Decision) -> acts.Act:
    """Destroy a document, or go on with its destruction; gives the certificate, the same one each time.

    Raises PolicyRefusedError: `RETENTION` before its term (which it says), `EVENT_AWAITED`, `HELD`, `KEPT`,
    `VISA_NEEDED`, `NOT_ARCHIVED`; ServiceUnavailableError when a store is away, or another worker is at it: nothing is
    lost.
    """
    with archive.database.exclusive(f"deposit {archive_id}"):
        with archive.database.transaction() as connection:
            deposit = catalogue.get(connection, archive_id)
        if deposit.state not in catalogue.DESTROYED_STATES:
            require_allowed(archive, deposit, decision)
            _begin(archive, deposit, decision)
        return _finish(archive, archive_id)


def go_on(archive: Archive, archive_id: str) -> acts.Act:
    """End a destruction that had begun; gives the certificate."""
    with archive.database.exclusive(f"deposit {archive_id}"):
        return _finish(archive, archive_id)


def begun(connection: Connection) -> list[str]:
    """Give the archive_ids of destructions that had begun and have not ended."""
    rows = connection.execute("SELECT archive_id FROM deposit WHERE state = 'DESTROYING' ORDER BY archive_id")
    return [str(row["archive_id"]) for row in rows]


def forget_left_keys(archive: Archive) -> int:
    """Destroy the key files that are left of destroyed documents; gives how many there were."""
    with archive.database.transaction() as connection:
        rows = connection.execute("SELECT archive_id FROM deposit WHERE state = 'DESTROYED'").fetchall()
    left = [str(row["archive_id"]) for row in rows if archive.keys.kept(str(row["archive_id"])) is not None]
    for archive_id in left:
        archive.keys.forget(archive_id)
    return len(left)


def certificate(archive: Archive, archive_id: str) -> acts.Act:
    """Give the certificate of a destroyed document; PolicyRefusedError (`NOT_DESTROYED`) where there is none."""
    with archive.database.transaction() as connection:
        deposit, row = catalogue.get(connection, archive_id), _row(connection, archive_id)
    if row is None or row["certificate_id"] is None:
        raise PolicyRefusedError(
            "NOT_DESTROYED",
            f"The document {archive_id} is {deposit.state}, not destroyed: it has no certificate.",
            remedy="Its destruction, once begun, goes on at the next `minutier purge`.",
        )
    return acts.get(archive, str(row["certificate_id"]))


def require_allowed(archive: Archive, deposit: Deposit, decision: Decision) -> None:
    """Refuse what the class, a hold or a lock of any store does not allow; see `destroy`."""
    with archive.database.transaction() as connection:
        _require_allowed(archive, connection, deposit, decision)
    for store in archive.replicas:
        for key, version_id in _there(archive, store, deposit):
            until = store.lock_state(key, version_id).retain_until
            if until is not None and until > archive.clock():
                raise _too_early(deposit, until, f"the store {store.name} holds it locked")


def _require_allowed(archive: Archive, connection: Connection, deposit: Deposit, decision: Decision) -> None:
    if deposit.state != "ARCHIVED" or deposit.retain_until is None:
        raise PolicyRefusedError(
            "NOT_ARCHIVED",
            f"The document {deposit.archive_id} is {deposit.state}: only an archived one can be destroyed.",
            remedy="`minutier abandon` gives up a deposit that is not in the archive yet.",
        )
    if found := holds.standing(connection, deposit.archive_id):
        since = format_time(found[0].placed_at)
        raise PolicyRefusedError(
            "HELD",
            f"The document {deposit.archive_id} is under legal hold since {since}: it cannot be destroyed.",
            remedy=f"`minutier release {deposit.archive_id} --reason …` once the hold has no ground any more.",
        )
    texts.require_none(connection, deposit.archive_id)
    lifecycle = classes.get_class(connection, deposit.lifecycle_class)
    if lifecycle.disposition == classes.KEEP:
        raise PolicyRefusedError(
            "KEPT", f"Documents of the class {lifecycle.name} are kept for ever.", remedy="It cannot be destroyed."
        )
    term = terms.term_of(connection, deposit, archive.clock())
    if term is None or term.ends is None:
        raise PolicyRefusedError(
            "EVENT_AWAITED",
            f"The term of the document {deposit.archive_id} has not begun: its class {lifecycle.name} waits for an"
            " event.",
            remedy=f"`minutier begin-term {deposit.archive_id} --on DATE --reason …` once it has happened.",
        )
    if archive.clock() < term.ends:
        raise _too_early(deposit, term.ends, f"its class is {lifecycle.name}")
    if lifecycle.needs_visa and not decision.visa:
        raise PolicyRefusedError(
            "VISA_NEEDED",
            f"A document of the class {lifecycle.name} goes only with the visa of the archives.",
            remedy="Give --visa TEXT with the number of the visa (code du patrimoine, art. R212-14).",
        )


def _too_early(deposit: Deposit, until: datetime, why: str) -> PolicyRefusedError:
    return PolicyRefusedError(
        "RETENTION",
        f"The document {deposit.archive_id} is to be kept until {stamp(until)} ({why}): it is not destroyed before.",
        remedy="Wait for this date. Nothing shortens it, not even a request for erasure: the law asks for the archive.",
        clause=LEGAL_GROUND,
    )


def _begin(archive: Archive, deposit: Deposit, decision: Decision) -> None:
    _require_our_time(archive)
    answers = [
        {
            "replica": store.name,
            "key": key,
            "version": version_id,
            "locked_until": stamp(until) if (until := store.lock_state(key, version_id).retain_until) else "",
            "answer": "",
        }
        for store in archive.replicas
        for key, version_id in _there(archive, store, deposit)
    ]
    now = archive.clock()
    with archive.database.transaction() as connection:
        # Once more, while nobody can place a hold: the row stays locked until the state has moved.
        held = holds.locked(connection, deposit.archive_id)
        _require_allowed(archive, connection, held, decision)
        digest = hashlib.sha256(held.manifest or b"").hexdigest()
        connection.execute(
            "INSERT INTO destruction (archive_id, reason, requested_by, approved_by, visa, list_id, manifest_sha256,"
            " begun_at, answers) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                held.archive_id,
                decision.reason,
                decision.requested_by,
                decision.approved_by or None,
                decision.visa or None,
                decision.list_id or None,
                digest,
                now,
                Jsonb(answers),
            ),
        )
        # What describes the content goes with it: the tombstone names the document and says nothing of it.
        gone = ("manifest", "seal", "second_seal", "screening", "rendition", "token_id")
        columns: dict[str, Any] = {**dict.fromkeys(gone), "name": "", "metadata": {}}
        details: dict[str, str | int] = {"manifest_sha256": digest, "versions": len(answers)}
        catalogue.advance(connection, held, "DESTROYING", now, details=details, **columns)
        for table in _TABLES:
            catalogue.forget(connection, table, held.archive_id)


def _require_our_time(archive: Archive) -> None:
    for store in archive.replicas:
        if abs((store.clock() - archive.clock()).total_seconds()) > CLOCK_SECONDS:
            raise ServiceUnavailableError(
                "CLOCKS_APART",
                f"The clock of the store {store.name} and ours are more than {CLOCK_SECONDS} seconds apart.",
                remedy="Nothing was destroyed. Set the clocks right, then run the same command again.",
            )


def _there(archive: Archive, store: ObjectStore, deposit: Deposit) -> Iterator[tuple[str, str]]:
    """Give key and version id of all that lies on a store under a document's name, pointed to or not."""
    if not is_archive_id(deposit.archive_id):
        raise ValueError("objects are looked for under an archive_id only")
    for version in store.list_objects(f"{deposit.safe}/{deposit.archive_id}/"):
        yield version.key, version.version_id


def _finish(archive: Archive, archive_id: str) -> acts.Act:
    with archive.database.transaction() as connection:
        deposit, row = catalogue.get(connection, archive_id), _row(connection, archive_id)
    if deposit.state == "DESTROYED":
        return certificate(archive, archive_id)
    if deposit.state != "DESTROYING" or row is None:
        raise PolicyRefusedError(
            "NOT_DESTROYED", f"No destruction of {archive_id} has begun.", remedy="`minutier destroy` begins one."
        )
    archive.keys.forget(archive_id)
    remove(archive.spool / archive_id)
    answers = _delete_all(archive, deposit, list(row["answers"]))
    drawn = acts.draw(archive, acts.DESTRUCTION, _members(deposit, row, answers), archive_id)
    with archive.database.transaction() as connection:
        details = acts.keep(connection, drawn)
        connection.execute(
            "UPDATE destruction SET certificate_id = %s WHERE archive_id = %s", (drawn.act.act_id, archive_id)
        )
        catalogue.advance(connection, deposit, "DESTROYED", archive.clock(), details=details)
    return drawn.act


def _delete_all(archive: Archive, deposit: Deposit, answers: list[dict[str, str]]) -> list[dict[str, str]]:
    """Delete every version, those noted and any that came since; gives what each store answered."""
    for store in archive.replicas:
        known = {(each["key"], each["version"]) for each in answers if each["replica"] == store.name}
        left = set(_there(archive, store, deposit))
        for key, version_id in sorted(left - known):
            answers.append(
                {"replica": store.name, "key": key, "version": version_id, "locked_until": "", "answer": ""}
            )  # fmt: skip
        for place, each in enumerate(answers):
            if each["replica"] == store.name and not each["answer"]:
                answer = _DELETED if _delete(store, each["key"], each["version"]) else _ABSENT
                answers[place] = {**each, "answer": answer}
                _note(archive, deposit.archive_id, answers)
        if list(_there(archive, store, deposit)):
            raise ServiceUnavailableError(
                "STILL_THERE",
                f"The store {store.name} still lists versions that it said it had deleted.",
                remedy="Run `minutier purge` again; if it stays so, run `minutier store probe`.",
            )
    absent = {each["replica"] for each in answers if not each["answer"]}
    if absent:
        raise ServiceUnavailableError(
            "STORE_UNKNOWN",
            f"The store {min(absent)} held versions of this document and is no longer in the settings.",
            remedy="Name it again in MINUTIER_REPLICAS, then run `minutier purge`.",
        )
    return answers


def _delete(store: ObjectStore, key: str, version_id: str) -> bool:
    """Lift the hold of one version and delete it; False where it was gone already."""
    try:
        lock = store.lock_state(key, version_id)
        if lock.legal_hold and lock.retain_until is not None:
            store.extend_lock(key, version_id, lock.retain_until, legal_hold=False)
        store.delete_version(key, version_id)
    except KeyError:
        return False
    return True


def _note(archive: Archive, archive_id: str, answers: list[dict[str, str]]) -> None:
    with archive.database.transaction() as connection:
        connection.execute("UPDATE destruction SET answers = %s WHERE archive_id = %s", (Jsonb(answers), archive_id))


def _members(deposit: Deposit, row: dict[str, Any], answers: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "archive_id": deposit.archive_id,
        "safe": deposit.safe,
        "class": deposit.lifecycle_class,
        "reference": deposit.reference,
        "dossier": deposit.dossier,
        "depositor": deposit.depositor,
        "fingerprint": deposit.fingerprint,
        "size": deposit.size or 0,
        "manifest_sha256": row["manifest_sha256"],
        "deposited_at": format_time(deposit.received_at),
        "retained_until": format_time(deposit.kept_until) if deposit.kept_until else "",
        "reason": row["reason"],
        "requested_by": row["requested_by"],
        "approved_by": row["approved_by"] or "",
        "visa": row["visa"] or "",
        "list_id": str(row["list_id"] or ""),
        "begun_at": format_time(row["begun_at"]),
        "versions": answers,
        "key": "destroyed",
        "remains": REMAINS,
    }


def _row(connection: Connection, archive_id: str) -> dict[str, Any] | None:
    return connection.execute("SELECT * FROM destruction WHERE archive_id = %s", (archive_id,)).fetchone()
