"""When a document's term ends: years from its deposit, or from an event that somebody declares later.

The manifest seals the least term, from the deposit. Where the class waits for an event, the document stays until the
event is declared; its end is then the later of both, every lock is extended to it, and nothing shortens it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from minutier.errors import BadInputError, PolicyRefusedError, ServiceUnavailableError
from minutier.events import Event, format_time
from storage import catalogue, classes, holds, journal
from storage.acts import require_person, require_reason
from storage.archive import Archive
from storage.batches import lock_batch
from storage.catalogue import Deposit
from storage.database import Connection
from storage.placing import lock_version, require_there

AWAITING, ACTIVE, INTERMEDIATE, ENDED = "awaiting", "active", "intermediate", "ended"


@dataclass(frozen=True, slots=True)
class Term:
    """Where the life of an archived document stands.

    `until` is the end of its retention, at least; `event_on` the day of the event that was declared. Phases: `active`
    and `intermediate` (its class says how long it is active), `ended`, or `awaiting` an event once the rest is over.
    """

    starts: str
    event_on: date | None
    until: datetime
    phase: str

    def as_dict(self) -> dict[str, str | None]:
        """Give it as JSON values."""
        day = self.event_on.isoformat() if self.event_on else None
        return {"starts": self.starts, "event_on": day, "until": format_time(self.until), "phase": self.phase}

    @property
    def ends(self) -> datetime | None:
        """The end of the term; None while it waits for its event."""
        return None if self.starts == classes.ON_EVENT and self.event_on is None else self.until


def term_of(connection: Connection, deposit: Deposit, now: datetime) -> Term | None:
    """Give the term of a document; None for one that has none yet."""
    if deposit.kept_until is None:
        return None
    lifecycle = classes.get_class(connection, deposit.lifecycle_class)
    # A recognised text ends with the document that it was read in.
    row = connection.execute(
        "SELECT event_on FROM term_start WHERE archive_id ="
        " coalesce((SELECT archive_id FROM recognised_text WHERE text_id = %(id)s), %(id)s)",
        {"id": deposit.archive_id},
    ).fetchone()
    event_on = row["event_on"] if row else None
    waits = lifecycle.starts == classes.ON_EVENT and event_on is None
    if now < lifecycle.active_until(deposit.received_at):
        phase = ACTIVE
    elif now < deposit.kept_until:
        phase = INTERMEDIATE
    else:
        phase = AWAITING if waits else ENDED
    return Term(lifecycle.starts, event_on, deposit.kept_until, phase)


def begin(archive: Archive, archive_id: str, event_on: date, reason: str, by: str) -> tuple[Term, bool]:
    """Declare the event from which the term of a document runs; gives its term, and False where it was known.

    Every lock is extended first, so that a run that dies leaves locks that are too long, never too short: run again,
    it goes on. Raises BadInputError (`BAD_REASON`, `BAD_PERSON`, `BAD_DATE` for a day to come, `UNKNOWN_ID`,
    `NO_EVENT_AWAITED`), PolicyRefusedError (`NOT_ARCHIVED`; `TERM_SHORTENED` by a day before the one declared),
    ServiceUnavailableError when a store is away, IntegrityFailureError (`COPY_DAMAGED`) for a copy that is gone.
    """
    reason, by = require_reason(reason), require_person(by, "who declares the event")
    now = archive.clock()
    if event_on > now.date():
        raise BadInputError(
            "BAD_DATE", f"{event_on.isoformat()} is still to come.", remedy="Declare the event once it has happened."
        )
    with archive.database.exclusive(f"deposit {archive_id}"):
        with archive.database.transaction() as connection:
            deposit, until = _look(connection, archive_id, event_on)
            known = term_of(connection, deposit, now)
        if known is not None and known.event_on == event_on:
            return known, False
        with archive.database.transaction() as connection:
            kept = [deposit, *_texts(connection, archive_id)]
        for each in kept:
            _lock(archive, each, until)
        with archive.database.transaction() as connection:
            # Once more, while no destruction can begin: the rows stay locked until this is written.
            _look(connection, archive_id, event_on)
            _write(archive, connection, archive_id, event_on, (reason, by))
            for each in kept:
                _extend(archive, connection, each, event_on, until)
            found = term_of(connection, catalogue.get(connection, archive_id), now)
    if found is None:
        raise ValueError("an archived document has a term")
    return found, True


def _look(connection: Connection, archive_id: str, event_on: date) -> tuple[Deposit, datetime]:
    deposit = holds.locked(connection, archive_id)
    if deposit.state != "ARCHIVED" or deposit.kept_until is None:
        raise PolicyRefusedError(
            "NOT_ARCHIVED",
            f"The document {archive_id} is {deposit.state}: only an archived one has a term.",
            remedy="Declare the event once the document is archived.",
        )
    lifecycle = classes.get_class(connection, deposit.lifecycle_class)
    if lifecycle.starts != classes.ON_EVENT:
        raise BadInputError(
            "NO_EVENT_AWAITED",
            f"The term of the class {lifecycle.name} runs from the deposit: it waits for no event.",
            remedy="Nothing is to be declared. `minutier class list` shows what each class does.",
        )
    row = connection.execute("SELECT event_on FROM term_start WHERE archive_id = %s", (archive_id,)).fetchone()
    if row is not None and event_on < row["event_on"]:
        raise PolicyRefusedError(
            "TERM_SHORTENED",
            f"The event was declared on {row['event_on'].isoformat()}: an earlier day would shorten the term.",
            remedy="Nothing shortens a term. A later day can be declared.",
        )
    end = lifecycle.retain_until(datetime.combine(event_on, time(), UTC))
    return deposit, max(end, deposit.kept_until)


def _texts(connection: Connection, archive_id: str) -> list[Deposit]:
    """Give the recognised text of a document, which is kept as long. One that comes later has a later term anyway."""
    rows = connection.execute(
        "SELECT text_id FROM recognised_text WHERE archive_id = %s AND text_id IS NOT NULL", (archive_id,)
    ).fetchall()
    found = [holds.locked(connection, str(row["text_id"])) for row in rows]
    return [text for text in found if text.state == "ARCHIVED"]


def _lock(archive: Archive, deposit: Deposit, until: datetime) -> None:
    """Extend the locks of all that the document rests on, then its own."""
    with archive.database.transaction() as connection:
        tokens = connection.execute(
            "WITH RECURSIVE above AS (SELECT %s::uuid AS token_id UNION"
            " SELECT r.by_token FROM token_renewal r JOIN above ON r.token_id = above.token_id)"
            " SELECT token_id FROM above WHERE token_id IS NOT NULL",
            (deposit.token_id,),
        ).fetchall()
        items, copies = (
            catalogue.objects(connection, deposit.archive_id),
            catalogue.copies(connection, deposit.archive_id),
        )
    known = {replica.name for replica in archive.replicas}
    if strange := sorted({copy.replica for copy in copies} - known):
        raise ServiceUnavailableError(
            "STORE_UNKNOWN",
            f"The store {strange[0]} holds copies of this document and is no longer in the settings.",
            remedy="Name it again in MINUTIER_REPLICAS, then run the same command again.",
        )
    for row in tokens:
        lock_batch(archive, str(row["token_id"]), until)
    for copy in copies:
        require_there(archive, items[copy.role], copy)
        lock_version(archive.replica(copy.replica), items[copy.role].key, copy.version_id, until)


def _write(archive: Archive, connection: Connection, archive_id: str, event_on: date, why: tuple[str, str]) -> None:
    connection.execute(
        "INSERT INTO term_start (archive_id, event_on, reason, declared_by, declared_at) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (archive_id) DO UPDATE SET event_on = EXCLUDED.event_on, reason = EXCLUDED.reason,"
        " declared_by = EXCLUDED.declared_by, declared_at = EXCLUDED.declared_at",
        (archive_id, event_on, *why, archive.clock()),
    )


def _extend(archive: Archive, connection: Connection, deposit: Deposit, event_on: date, until: datetime) -> None:
    done = connection.execute(
        "UPDATE deposit SET extended_until = %s WHERE archive_id = %s AND state = 'ARCHIVED'",
        (until, deposit.archive_id),
    )
    if not done.rowcount:
        raise ServiceUnavailableError(
            "STATE_MOVED",
            f"The destruction of {deposit.archive_id} began meanwhile.",
            remedy="Run the same command again.",
        )
    for copy in catalogue.copies(connection, deposit.archive_id):
        catalogue.set_copy(connection, copy, locked_until=until)
    details: dict[str, str | int] = {"event_on": event_on.isoformat(), "until": format_time(until)}
    journal.append(
        connection,
        Event.TERM_BEGUN,
        archive.clock(),
        archive_id=deposit.archive_id,
        safe=deposit.safe,
        details=details,
    )
