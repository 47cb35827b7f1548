"""Disposal (élimination) in two steps: a sealed list of what may go on a day; then another person's approval of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minutier.errors import BadInputError, MinutierError, PolicyRefusedError
from minutier.events import Event, format_time
from storage import acts, catalogue, classes, journal, texts
from storage.archive import Archive
from storage.database import Connection
from storage.destruction import Decision, begun, destroy, forget_left_keys, go_on
from storage.safes import require_safe

_LONGEST_LIST = 10_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one document of a list: `destroyed` with its certificate, or the code of what stood against it."""

    archive_id: str
    outcome: str
    detail: str = ""
    certificate_id: str = ""


def list_due(archive: Archive, requested_by: str) -> acts.Act | None:
    """Make and keep a sealed list of the documents that may go now; None when there are none.

    Those whose term has come, that no hold keeps, and whose class lets them go. The longest list has 10 000 documents,
    the oldest terms first: the next list has the next ones. A list that waits and says the same is given again.
    """
    requested_by = acts.require_person(requested_by, "who asks for the list")
    with archive.database.transaction() as connection:
        documents = due(archive, connection)
        waiting = _waiting(connection, requested_by)
    if not documents:
        return None
    if waiting is not None:
        known = acts.get(archive, waiting)
        if known.value["documents"] == documents:
            return known
    drawn = acts.draw(archive, acts.LIST, {"requested_by": requested_by, "documents": documents})
    with archive.database.transaction() as connection:
        details = acts.keep(connection, drawn) | {"documents": len(documents)}
        connection.execute(
            "INSERT INTO disposal_list (list_id, requested_by) VALUES (%s, %s)", (drawn.act.act_id, requested_by)
        )
        journal.append(connection, Event.DISPOSAL_LISTED, drawn.act.at, details=details)
    return drawn.act


def due(archive: Archive, connection: Connection) -> list[dict[str, str]]:
    """Give the documents that may go now, the oldest terms first, as a list describes them."""
    now, known = archive.clock(), {each.name: each for each in classes.all_classes(connection)}
    rows = connection.execute(
        "SELECT d.archive_id, d.safe, d.class, coalesce(d.extended_until, d.retain_until) AS kept_until, d.sha256,"
        " d.sha3_512 FROM deposit d WHERE d.state = 'ARCHIVED' AND d.retain_until <= %(now)s"
        " AND coalesce(d.extended_until, d.retain_until) <= %(now)s AND d.class = ANY(%(classes)s)"
        " AND (d.class <> ALL(%(awaiting)s) OR EXISTS (SELECT 1 FROM term_start s WHERE s.archive_id ="
        " coalesce((SELECT archive_id FROM recognised_text WHERE text_id = d.archive_id), d.archive_id)))"
        " AND NOT EXISTS"
        " (SELECT 1 FROM legal_hold h WHERE h.archive_id = d.archive_id AND h.released_at IS NULL)"
        # A document whose recognised text may not go yet waits for it; one whose text goes comes after it.
        " AND NOT EXISTS (SELECT 1 FROM recognised_text t JOIN deposit x ON x.archive_id = t.text_id"
        " WHERE t.archive_id = d.archive_id AND x.state = 'ARCHIVED'"
        " AND greatest(x.retain_until, x.extended_until) > %(now)s)"
        # A text stays as long as what it was read in.
        " AND NOT EXISTS (SELECT 1 FROM recognised_text t JOIN deposit x ON x.archive_id = t.archive_id"
        " WHERE t.text_id = d.archive_id AND greatest(x.retain_until, x.extended_until) > %(now)s)"
        " ORDER BY EXISTS (SELECT 1 FROM recognised_text t WHERE (t.archive_id, t.outcome) = (d.archive_id, '')),"
        " kept_until, d.archive_id LIMIT %(limit)s",
        {
            "now": now,
            "classes": [name for name, each in known.items() if each.disposition != classes.KEEP],
            "awaiting": [name for name, each in known.items() if each.starts == classes.ON_EVENT],
            "limit": _LONGEST_LIST,
        },
    )
    return [
        {
            "archive_id": str(row["archive_id"]),
            "safe": row["safe"],
            "class": row["class"],
            "fate": known[row["class"]].disposition,
            "visa": "required" if known[row["class"]].needs_visa else "none",
            "retained_until": format_time(row["kept_until"]),
            "fingerprint": f"sha256:{row['sha256']}+sha3-512:{row['sha3_512']}",
        }
        for row in rows
    ]


def awaiting(archive: Archive, connection: Connection) -> int:
    """Count the documents that were kept as long as they must be at least, and wait for an event to be declared."""
    row = connection.execute(
        "SELECT count(*) AS n FROM deposit d JOIN lifecycle_class c ON c.name = d.class"
        " WHERE d.state = 'ARCHIVED' AND d.retain_until <= %s AND c.starts = %s AND c.disposition <> %s"
        " AND NOT EXISTS (SELECT 1 FROM term_start s WHERE s.archive_id ="
        " coalesce((SELECT archive_id FROM recognised_text WHERE text_id = d.archive_id), d.archive_id))"
        " AND NOT EXISTS (SELECT 1 FROM legal_hold h WHERE h.archive_id = d.archive_id AND h.released_at IS NULL)",
        (archive.clock(), classes.ON_EVENT, classes.KEEP),
    ).fetchone()
    return int(row["n"]) if row else 0


def _waiting(connection: Connection, requested_by: str) -> str | None:
    row = connection.execute(
        "SELECT l.list_id FROM disposal_list l JOIN sealed_act a ON a.act_id = l.list_id"
        " WHERE l.approved_at IS NULL AND l.requested_by = %s ORDER BY a.at DESC LIMIT 1",
        (requested_by,),
    ).fetchone()
    return str(row["list_id"]) if row else None


def approve(archive: Archive, list_id: str, approved_by: str, reason: str, visa: str = "") -> None:
    """Approve a list, once; the same approval again is the same.

    Raises BadInputError (`UNKNOWN_ACT`, `BAD_REASON`, `BAD_PERSON`), IntegrityFailureError (`ACT_ALTERED`),
    PolicyRefusedError: `SAME_PERSON` who asked for it, `VISA_NEEDED`, `ALREADY_APPROVED` otherwise.
    """
    approved_by, reason = acts.require_person(approved_by, "who approves"), acts.require_reason(reason)
    found = _list(archive, list_id)
    requested_by = str(found.value["requested_by"])
    if approved_by.casefold() == requested_by.casefold():
        raise PolicyRefusedError(
            "SAME_PERSON",
            f"{requested_by} asked for this list and cannot approve it.",
            remedy="Another person approves: --by NAME.",
        )
    if not visa and any(item["visa"] == "required" for item in found.value["documents"]):
        raise PolicyRefusedError(
            "VISA_NEEDED",
            "Documents of this list go only with the visa of the archives.",
            remedy="Give --visa TEXT with the number of the visa (code du patrimoine, art. R212-14).",
        )
    with archive.database.transaction() as connection:
        row = _row(connection, list_id)
        if row["approved_by"] is None:
            connection.execute(
                "UPDATE disposal_list SET approved_by = %s, approved_at = %s, reason = %s, visa = %s"
                " WHERE list_id = %s",
                (approved_by, archive.clock(), reason, visa or None, list_id),
            )
            details: dict[str, str | int] = {"act_id": list_id, "visa": "given" if visa else "none"}
            journal.append(connection, Event.DISPOSAL_APPROVED, archive.clock(), details=details)
        elif (row["approved_by"], row["reason"], row["visa"] or "") != (approved_by, reason, visa):
            raise PolicyRefusedError(
                "ALREADY_APPROVED",
                f"{row['approved_by']} approved this list before: {row['reason']}.",
                remedy="Run the very same approval again to go on with it.",
            )


def execute(
    archive: Archive, list_id: str, progress: Callable[[int, int], None] = lambda _done, _of: None
) -> list[Outcome]:
    """Destroy the documents of an approved list; one that a hold keeps since is left and said, the others go.

    Raises PolicyRefusedError (`NOT_APPROVED`). A store that is away stops it with ServiceUnavailableError; run again,
    it goes on.
    """
    documents = _list(archive, list_id).value["documents"]
    with archive.database.transaction() as connection:
        row = _row(connection, list_id)
    if row["approved_by"] is None:
        raise PolicyRefusedError(
            "NOT_APPROVED", f"Nobody approved the list {list_id}.", remedy="`minutier purge --approve LIST --by NAME`."
        )
    decision = Decision(row["reason"], row["requested_by"], row["approved_by"], row["visa"] or "", list_id)
    found = []
    for place, item in enumerate(documents):
        progress(place, len(documents))
        found.append(_one(archive, item, decision))
    progress(len(documents), len(documents))
    return found


def _list(archive: Archive, list_id: str) -> acts.Act:
    found = acts.get(archive, list_id)
    if found.act != acts.LIST:
        raise BadInputError("UNKNOWN_ACT", f"{list_id} is not a list.", remedy="`minutier purge` makes one.")
    return found


def _row(connection: Connection, list_id: str) -> dict[str, Any]:
    query = "SELECT * FROM disposal_list WHERE list_id::text = %s FOR UPDATE"
    (row,) = connection.execute(query, (list_id,)).fetchall()
    return dict(row)


def _one(archive: Archive, item: dict[str, Any], decision: Decision) -> Outcome:
    archive_id = str(item["archive_id"])
    own = dataclasses.replace(decision, visa=decision.visa if item["visa"] == "required" else "")
    try:
        return Outcome(archive_id, "destroyed", certificate_id=destroy(archive, archive_id, own).act_id)
    except PolicyRefusedError as error:
        return Outcome(archive_id, error.code, error.message)


def go_on_all(archive: Archive) -> list[Outcome]:
    """End every destruction that had begun; what a store away keeps from ending is said, and waits.

    A key file that a rewrap put back, and died before it took it away again, goes too.
    """
    forget_left_keys(archive)
    with archive.database.transaction() as connection:
        waiting = begun(connection)
    found = []
    for archive_id in waiting:
        try:
            found.append(Outcome(archive_id, "destroyed", certificate_id=go_on(archive, archive_id).act_id))
        except MinutierError as error:
            found.append(Outcome(archive_id, error.code, error.message))
    return found


def empty_safe(
    archive: Archive, safe: str, decision: Decision, progress: Callable[[int, int], None] = lambda _done, _of: None
) -> list[Outcome]:
    """Destroy every document of a safe that may go; what stands against the others is said (NF Z42-020, empty).

    Raises BadInputError (`UNKNOWN_SAFE`), ServiceUnavailableError when a store is away: run again, it goes on.
    """
    with archive.database.transaction() as connection:
        require_safe(connection, safe)
        found = catalogue.list_deposits(connection, safe)
    left = [each for each in found if each.state not in (*catalogue.ENDED_STATES, "DESTROYED")]
    left.sort(key=lambda each: each.depositor != texts.DEPOSITOR)  # a text goes before what it was read in
    outcomes = []
    for place, deposit in enumerate(left):
        progress(place, len(left))
        try:
            paper = destroy(archive, deposit.archive_id, decision)
            outcomes.append(Outcome(deposit.archive_id, "destroyed", certificate_id=paper.act_id))
        except PolicyRefusedError as error:
            outcomes.append(Outcome(deposit.archive_id, error.code, error.message))
    progress(len(left), len(left))
    return outcomes
