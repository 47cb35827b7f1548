"""When a document's term ends: years from its deposit, or from an event that somebody declares later.

The manifest seals the least term, from the deposit. Where the class waits for an event, the document stays until the
event is declared; its end is then the later of both, every lock is extended to it, and nothing shortens it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from minutier.errors import BadInputError, PolicyRefusedError, ServiceUnavailableError
from minutier.events import Event, format_time
from storage import catalogue, classes, holds, journal, texts
from storage.acts import require_person, require_reason
from storage.archive import Archive
from storage.batches import lock_batch
from storage.catalogue import Copy, Deposit
from storage.database import Connection, lock
from storage.placing import lock_version, require_there

AWAITING, ACTIVE, INTERMEDIATE, ENDED = "awaiting", "active", "intermediate", "ended"


@dataclass(frozen=True, slots=True)
class Term:
    """Where the life of an archived document stands.

    `until` is the end of its retention, at least; `event_on` the day of the event that was declared. Phases: `active`
    and `intermediate` (its class says how long it is active), `ended`, or `awaiting` an event once the rest is over.
    Active years run from where the years of the class run: until the event is declared, the document is active.
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
    """Give the term of a document; None for one that has none yet.

    A recognised text ends with the document that it was read in: it waits for the same event, and stays as long.
    """
    if deposit.kept_until is None:
        return None
    lifecycle = classes.get_class(connection, deposit.lifecycle_class)
    row = connection.execute(
        "SELECT s.event_on, d.received_at, coalesce(d.extended_until, d.retain_until) AS kept_until FROM deposit d"
        " LEFT JOIN term_start s USING (archive_id) WHERE d.archive_id = %s",
        (texts.source_of(connection, deposit.archive_id) or deposit.archive_id,),
    ).fetchone()
    if row is None:
        raise ValueError("a recognised text has a source")
    event_on, until = row["event_on"], max(row["kept_until"], deposit.kept_until)
    waits = lifecycle.starts == classes.ON_EVENT and event_on is None
    if now >= until:
        phase = AWAITING if waits else ENDED
    elif lifecycle.active_years and (waits or now < _active_until(lifecycle, event_on, row["received_at"])):
        phase = ACTIVE
    else:
        phase = INTERMEDIATE
    return Term(lifecycle.starts, event_on, until, phase)


def _active_until(lifecycle: classes.LifecycleClass, event_on: date | None, received_at: datetime) -> datetime:
    return lifecycle.active_until(received_at if event_on is None else classes.end_of(event_on))


def begin(archive: Archive, archive_id: str, event_on: date, reason: str, by: str) -> tuple[Term, bool]:
    """Declare the event from which the term of a document runs; gives its term, and False where it was known.

    Every lock is extended first, so that a run that dies leaves locks that are too long, never too short: run again,
    it goes on. Raises BadInputError (`BAD_REASON`, `BAD_PERSON`, `BAD_DATE` for a day to come, `UNKNOWN_ID`,
    `NO_EVENT_AWAITED`), PolicyRefusedError (`NOT_ARCHIVED`; `TERM_SHORTENED` by a day before the one declared;
    `STORE_DOES_NOT_LOCK`), IntegrityFailureError (`COPY_DAMAGED`) for a copy that is gone, ServiceUnavailableError:
    `STORE_UNKNOWN`, `STATE_MOVED` when a copy was replaced or a destruction began meanwhile, `BUSY`, a store is away.
    """
    reason, by = require_reason(reason), require_person(by, "who declares the event")
    now = archive.clock()
    if event_on > now.astimezone(ZoneInfo(archive.settings.time_zone)).date():
        raise BadInputError(
            "BAD_DATE", f"{event_on.isoformat()} is still to come.", remedy="Declare the event once it has happened."
        )
    # The locks of the document and of its text last as long as this session of the database.
    with archive.database.transaction() as session:
        lock(session, f"deposit {archive_id}")
        with archive.database.transaction() as connection:
            deposit, end, known = _look(connection, archive_id, event_on)
            text_id = texts.text_of(connection, archive_id)
        if text_id is not None:
            lock(session, f"deposit {text_id}")
        with archive.database.transaction() as connection:
            kept = [deposit, *_archived_text(connection, text_id)]
        late = [each for each in kept if not known or (each.kept_until or end) < end]
        locked = [_lock(archive, each, max(end, each.kept_until or end)) for each in late]
        with archive.database.transaction() as connection:
            # Once more, while no destruction can begin: the rows stay locked until this is written.
            _look(connection, archive_id, event_on)
            if not known:
                _write(archive, connection, archive_id, event_on, (reason, by))
            for each, versions in zip(late, locked, strict=True):
                _extend(archive, connection, each, event_on, (end, versions))
        for each in kept:
            # What came beside a time-stamp while the document's own locks were extended is as long as they are.
            _lock_tokens(archive, each.archive_id, end)
        with archive.database.transaction() as connection:
            found = term_of(connection, catalogue.get(connection, archive_id), now)
    if found is None:
        raise ValueError("an archived document has a term")
    return found, not known


def awaits_event(connection: Connection, deposit: Deposit) -> bool:
    """Say whether the term of a document runs from an event that is declared for it (for a text: for its source)."""
    lifecycle = classes.get_class(connection, deposit.lifecycle_class)
    return lifecycle.starts == classes.ON_EVENT and texts.source_of(connection, deposit.archive_id) is None


def require_declarable(connection: Connection, archive_id: str, event_on: date) -> None:
    """Raise what `begin` raises for a document or a day that it does not take; nothing is written."""
    _look(connection, archive_id, event_on)


def _look(connection: Connection, archive_id: str, event_on: date) -> tuple[Deposit, datetime, bool]:
    """Give the document, the end that the event gives it, and whether this event is declared already."""
    deposit = holds.locked(connection, archive_id)
    if deposit.state != "ARCHIVED" or deposit.kept_until is None:
        raise PolicyRefusedError(
            "NOT_ARCHIVED",
            f"The document {archive_id} is {deposit.state}: only an archived one has a term.",
            remedy="Declare the event once the document is archived.",
        )
    if (source := texts.source_of(connection, archive_id)) is not None:
        raise BadInputError(
            "NO_EVENT_AWAITED",
            f"{archive_id} is the text recognised in {source}: its term is the one of that document.",
            remedy=f"Declare the event for {source}.",
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
    end = max(lifecycle.retain_after(event_on), deposit.kept_until)
    return deposit, end, row is not None and row["event_on"] == event_on


def _archived_text(connection: Connection, text_id: str | None) -> list[Deposit]:
    """Give the recognised text of a document. One still on its way has no lock yet: `term_of` keeps it as long."""
    found = [catalogue.get(connection, text_id)] if text_id is not None else []
    return [text for text in found if text.state == "ARCHIVED"]


def _lock(archive: Archive, deposit: Deposit, until: datetime) -> list[Copy]:
    """Extend the locks of all that the document rests on, then its own; gives the copies that were locked."""
    with archive.database.transaction() as connection:
        items = catalogue.objects(connection, deposit.archive_id)
        copies = catalogue.copies(connection, deposit.archive_id)
    known = {replica.name for replica in archive.replicas}
    if strange := sorted({copy.replica for copy in copies} - known):
        raise ServiceUnavailableError(
            "STORE_UNKNOWN",
            f"The store {strange[0]} holds copies of this document and is no longer in the settings.",
            remedy="Name it again in MINUTIER_REPLICAS, then run the same command again.",
        )
    _lock_tokens(archive, deposit.archive_id, until)
    for copy in copies:
        require_there(archive, items[copy.role], copy)
        lock_version(archive.replica(copy.replica), items[copy.role].key, copy.version_id, until)
    return copies


def _lock_tokens(archive: Archive, archive_id: str, until: datetime) -> None:
    """Lock every token that dates the document or its place in the journal, and those that renew them."""
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "WITH RECURSIVE above AS (SELECT token_id FROM evidence_chain WHERE archive_id = %(id)s"
            " UNION SELECT token_id FROM deposit WHERE archive_id = %(id)s AND token_id IS NOT NULL"
            " UNION SELECT r.by_token FROM token_renewal r JOIN above USING (token_id)) SELECT token_id FROM above",
            {"id": archive_id},
        ).fetchall()
    for row in rows:
        lock_batch(archive, str(row["token_id"]), until)


def _write(archive: Archive, connection: Connection, archive_id: str, event_on: date, why: tuple[str, str]) -> None:
    connection.execute(
        "INSERT INTO term_start (archive_id, event_on, reason, declared_by, declared_at) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (archive_id) DO UPDATE SET event_on = EXCLUDED.event_on, reason = EXCLUDED.reason,"
        " declared_by = EXCLUDED.declared_by, declared_at = EXCLUDED.declared_at",
        (archive_id, event_on, *why, archive.clock()),
    )


def _extend(
    archive: Archive, connection: Connection, deposit: Deposit, event_on: date, locked: tuple[datetime, list[Copy]]
) -> None:
    """Write the later term of a document whose copies were locked to it; each must still be the version it was."""
    end, copies = locked
    done = connection.execute(
        "UPDATE deposit SET extended_until = greatest(extended_until, retain_until, %s)"
        " WHERE archive_id = %s AND state = 'ARCHIVED' RETURNING extended_until",
        (end, deposit.archive_id),
    ).fetchone()
    now_there = {
        (copy.role, copy.replica, copy.version_id) for copy in catalogue.copies(connection, deposit.archive_id)
    }
    if done is None or now_there != {(copy.role, copy.replica, copy.version_id) for copy in copies}:
        raise ServiceUnavailableError(
            "STATE_MOVED",
            f"A copy of {deposit.archive_id} was replaced, or its destruction began, meanwhile.",
            remedy="Nothing was declared. Run the same command again.",
        )
    until = done["extended_until"]
    for copy in copies:
        catalogue.set_locked(connection, copy, until)
    details: dict[str, str | int] = {"event_on": event_on.isoformat(), "until": format_time(until)}
    journal.append(
        connection,
        Event.TERM_BEGUN,
        archive.clock(),
        archive_id=deposit.archive_id,
        safe=deposit.safe,
        details=details,
    )
