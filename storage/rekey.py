"""Rotation: wrap the document keys of a safe again, for other recipients. No object is read or written.

Order of durable steps, so that a run that dies is completed by running it again:

1. the new recipients are those of the safe, in one transaction with the journal entry: new documents use them;
2. page by page: files of the keys directory are replaced, then the rows. A row tells for whom it is wrapped, and it is
   done last: a key whose row still tells another set is done again;
3. files that a deposit wrote in between are compared with their rows;
4. only then the host's own keys that are no recipients any more are removed, and the end is journaled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minutier.age import Identity, parse_recipients
from minutier.errors import IntegrityFailureError
from minutier.events import Event
from storage import journal, safes
from storage.archive import Archive
from storage.database import Connection
from storage.keys import wrap_key
from storage.opening import only_clients_open
from storage.safes import Recipients

PAGE = 200
_KEYS = "FROM document_key k JOIN deposit d USING (archive_id) WHERE d.safe = %(safe)s"
_OTHERS = " AND k.wrapped_for <> %(set)s"
_NO_ESCROW = "none"


@dataclass(frozen=True, slots=True)
class RekeyReport:
    """How many keys were wrapped again in this run, of how many in the safe, and for whom."""

    safe: str
    keys: int
    total: int
    recipients: tuple[str, ...]
    resumed: bool


def rekey_safe(
    archive: Archive,
    name: str,
    *,
    recipients: Sequence[str] = (),
    escrow: str | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> RekeyReport:
    """Wrap every document key of a safe for new recipients; what an earlier run left is completed first.

    With `recipients`, clients hold the keys from then on. Without, a safe whose key the host holds gets a new one, and
    one whose keys clients hold is only completed. `escrow` None keeps the one that the safe has, "none" leaves it out.
    `progress` gets how many keys are done, and how many there were to do.

    Raises BadInputError (`UNKNOWN_SAFE`, `BAD_RECIPIENT`, `MIXED_RECIPIENTS`, `IDENTITY_NEEDED`), PolicyRefusedError
    (`KEY_HELD_HERE`), IntegrityFailureError (`KEY_DOES_NOT_OPEN`, `KEY_SWAPPED`), ServiceUnavailableError (`BUSY`).
    """
    with archive.database.exclusive(f"rekey {name}"):
        chosen, resumed = _choose(archive, name, recipients, escrow)
        waiting, total = _count(archive, name, chosen)
        done = 0
        while page := _page(archive, name, chosen):
            _rewrap(archive, name, page, chosen)
            done += len(page)
            progress(done, waiting)
        _mend_files(archive, name)
        archive.keys.retire_safe_key(name, chosen.all)
        with archive.database.transaction() as connection:
            details: dict[str, str | int] = {"keys": done, "recipients": safes.recipient_ids(chosen.all)}
            journal.append(connection, Event.SAFE_REKEYED, archive.clock(), safe=name, details=details)
    return RekeyReport(name, done, total, chosen.all, resumed)


def _choose(archive: Archive, name: str, recipients: Sequence[str], escrow: str | None) -> tuple[Recipients, bool]:
    """Make the new recipients those of the safe; gives them, and whether an earlier run is being completed."""
    with archive.database.transaction() as connection:
        current = safes.recipients_of(connection, name, lock="UPDATE")
        chosen = _wanted(archive, name, current, recipients, escrow)
        _require_opening(archive, connection, name, current, chosen)
        if set(chosen.all) == set(current.all):
            return current, True
        safes.put_recipients(connection, name, chosen)
        details: dict[str, str | int] = {
            "old": safes.recipient_ids(current.all),
            "new": safes.recipient_ids(chosen.all),
        }
        journal.append(connection, Event.SAFE_RECIPIENTS, archive.clock(), safe=name, details=details)
    return chosen, False


def _wanted(
    archive: Archive, name: str, current: Recipients, recipients: Sequence[str], escrow: str | None
) -> Recipients:
    kept = escrow or next(iter(current.escrow), None)
    kept = None if kept == _NO_ESCROW else kept
    if recipients or current.client:
        return safes.client_recipients(archive, recipients or current.client, kept)
    safes.require_x25519([kept] if kept else [])
    # Made once: a run that died after this is completed with the same key.
    return Recipients(host=(archive.keys.create_next_safe_key(name),), escrow=(kept,) if kept else ())


def _require_opening(
    archive: Archive, connection: Connection, name: str, current: Recipients, chosen: Recipients
) -> None:
    """Refuse to change anything when the first key to wrap again does not open."""
    row = connection.execute(
        "SELECT k.wrapped " + _KEYS + _OTHERS + " LIMIT 1",
        {"safe": name, "set": chosen.set_id},
    ).fetchone()
    if row is None:
        return
    try:
        archive.keys.unwrap(name, bytes(row["wrapped"]))
    except IntegrityFailureError as error:
        if current.host:
            raise
        raise only_clients_open(name, given=archive.keys.given) from error


def _count(archive: Archive, name: str, chosen: Recipients) -> tuple[int, int]:
    query = "SELECT count(*) AS total, count(*) FILTER (WHERE k.wrapped_for <> %(set)s) AS waiting "
    with archive.database.transaction() as connection:
        row = connection.execute(query + _KEYS, {"safe": name, "set": chosen.set_id}).fetchone()
    return (int(row["waiting"]), int(row["total"])) if row else (0, 0)


def _page(archive: Archive, name: str, chosen: Recipients) -> list[dict[str, Any]]:
    query = "SELECT k.archive_id, k.recipient, k.wrapped " + _KEYS + _OTHERS + " ORDER BY k.archive_id LIMIT %(page)s"
    with archive.database.transaction() as connection:
        return connection.execute(query, {"safe": name, "set": chosen.set_id, "page": PAGE}).fetchall()


def _rewrap(archive: Archive, name: str, page: list[dict[str, Any]], chosen: Recipients) -> None:
    wrapped, recipients = [], parse_recipients(chosen.all)
    for row in page:
        key = wrap_key(_opened(archive, name, row), recipients)
        archive.keys.keep(str(row["archive_id"]), key, replace=True)
        wrapped.append((key, chosen.set_id, row["archive_id"], row["wrapped"]))
    with archive.database.transaction() as connection:
        for values in wrapped:
            connection.execute(
                "UPDATE document_key SET wrapped = %s, wrapped_for = %s WHERE archive_id = %s AND wrapped = %s", values
            )
        ids = [row["archive_id"] for row in page]
        rows = connection.execute("SELECT archive_id FROM document_key WHERE archive_id = ANY(%s)", (ids,))
        left = {row["archive_id"] for row in rows}
    for archive_id in set(ids) - left:
        # Destroyed meanwhile: it must not come back by its file.
        archive.keys.forget(str(archive_id))


def _opened(archive: Archive, name: str, row: dict[str, Any]) -> Identity:
    identity = archive.keys.unwrap(name, bytes(row["wrapped"]))
    if str(identity.recipient) != row["recipient"]:
        raise IntegrityFailureError(
            "KEY_SWAPPED",
            f"The wrapped key of {row['archive_id']} is the key of another document.",
            remedy="Restore the wrapped key from the backup of the keys directory; nothing was changed for it.",
        )
    return identity


def _mend_files(archive: Archive, name: str) -> None:
    """Make the files of the keys directory those of the rows."""
    for archive_id, wrapped in _rows(archive, name):
        if archive.keys.kept(archive_id) != wrapped:
            archive.keys.keep(archive_id, wrapped, replace=True)


def _rows(archive: Archive, name: str) -> Iterator[tuple[str, bytes]]:
    query = "SELECT k.archive_id, k.wrapped " + _KEYS + " AND k.archive_id > %(after)s ORDER BY k.archive_id LIMIT 500"
    after = "00000000-0000-0000-0000-000000000000"
    while True:
        with archive.database.transaction() as connection:
            rows = connection.execute(query, {"safe": name, "after": after}).fetchall()
        if not rows:
            return
        yield from ((str(row["archive_id"]), bytes(row["wrapped"])) for row in rows)
        after = str(rows[-1]["archive_id"])
