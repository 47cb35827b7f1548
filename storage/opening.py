"""Opening documents: the key of one, byte ranges of one, and the ciphertext for whoever decrypts elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from minutier.age import Identity
from minutier.age_stream import RangeReader, open_range
from minutier.errors import BadInputError, IntegrityFailureError, MinutierError, ServiceUnavailableError
from minutier.events import Event
from storage import catalogue, journal, safes
from storage.archive import Archive
from storage.catalogue import Copy, Deposit, StoredObject
from storage.files import write_durably

_Result = TypeVar("_Result")


def wrapped_key(archive: Archive, deposit: Deposit) -> bytes:
    """Give the wrapped key of a document, from the database or else from the keys directory.

    IntegrityFailureError (`KEY_MISSING`) when it is in neither: the document cannot be read any more.
    """
    with archive.database.transaction() as connection:
        query = "SELECT wrapped FROM document_key WHERE archive_id = %s"
        row = connection.execute(query, (deposit.archive_id,)).fetchone()
    wrapped = bytes(row["wrapped"]) if row else archive.keys.kept(deposit.archive_id)
    if wrapped is None:
        raise IntegrityFailureError(
            "KEY_MISSING", "The key of this document is gone.", remedy="Restore the keys directory from its backup."
        )
    return wrapped


def document_identity(archive: Archive, deposit: Deposit) -> Identity:
    """Open the key of a document with what this archive, or the caller's identities, can open.

    Raises BadInputError (`IDENTITY_NEEDED`) for a safe whose clients hold the keys when none was given, else
    IntegrityFailureError: `KEY_MISSING`, `KEYS_MISSING`, `KEY_DOES_NOT_OPEN`.
    """
    wrapped = wrapped_key(archive, deposit)
    with archive.database.transaction() as connection:
        recipients = safes.recipients_of(connection, deposit.safe)
    try:
        return _unwrapped(archive, deposit, wrapped)
    except IntegrityFailureError as error:
        if recipients.host:
            raise
        raise only_clients_open(deposit.safe, given=archive.keys.given) from error


def _unwrapped(archive: Archive, deposit: Deposit, wrapped: bytes) -> Identity:
    """Open the key, or the one in the keys directory: a database restored from before a `safe rekey` has old ones."""
    try:
        return archive.keys.unwrap(deposit.safe, wrapped)
    except IntegrityFailureError:
        kept = archive.keys.kept(deposit.archive_id)
        if kept is None or kept == wrapped:
            raise
        return archive.keys.unwrap(deposit.safe, kept)


def only_clients_open(safe: str, *, given: bool) -> MinutierError:
    """Give the error for a document that only its client opens; `given` says whether an identity was tried."""
    if given:
        return IntegrityFailureError(
            "KEY_DOES_NOT_OPEN",
            f"The identities given open no document of the safe {safe}, whose keys its clients hold.",
            remedy="Give --identity with the identity of one of the recipients that `minutier safe list` shows.",
        )
    return BadInputError(
        "IDENTITY_NEEDED",
        f"The clients of the safe {safe} hold its keys: this archive cannot open its documents.",
        remedy="Give the client's age identity with --identity FILE.",
    )


def stored_part(archive: Archive, deposit: Deposit, role: str) -> tuple[StoredObject, list[Copy]]:
    """Give a part of a document as it is stored, and its copies; BadInputError (`NO_SUCH_PART`)."""
    with archive.database.transaction() as connection:
        item = catalogue.objects(connection, deposit.archive_id).get(role)
        copies = [copy for copy in catalogue.copies(connection, deposit.archive_id) if copy.role == role]
    if item is None:
        raise BadInputError(
            "NO_SUCH_PART", f"This document has no {role}.", remedy="`minutier metadata` lists its parts."
        )
    return item, copies


def read_range(archive: Archive, deposit: Deposit, role: str, first: int, last: int) -> bytes:
    """Give bytes `first` to `last` (both included, from 0) of a part, reading only the chunks that hold them.

    Each chunk is authenticated by the encryption; the digests of the sealed manifest are not compared, for they need
    every byte. The act is journaled. BadInputError (`BAD_RANGE`, `NO_SUCH_PART`), else as `document_identity`;
    IntegrityFailureError (`NO_GOOD_COPY`), ServiceUnavailableError (`STORE_DOWN`).
    """
    identity = document_identity(archive, deposit)
    item, copies = stored_part(archive, deposit, role)
    data = from_any_copy(copies, lambda copy: range_reader(archive, item, copy, identity).read(first, last))
    with archive.database.transaction() as connection:
        journal.append(
            connection,
            Event.DOCUMENT_READ,
            archive.clock(),
            archive_id=deposit.archive_id,
            safe=deposit.safe,
            details={"role": role, "first": first, "last": first + len(data) - 1},
        )
    return data


def from_any_copy(copies: Sequence[Copy], attempt: Callable[[Copy], _Result]) -> _Result:
    """Give what the first copy that proves good gives.

    Raises IntegrityFailureError (`NO_GOOD_COPY`), or ServiceUnavailableError (`STORE_DOWN`) when one that might be good
    did not answer; a full disk here (`DISK_FULL`) says nothing about copies and is raised at once.
    """
    failures: list[str] = []
    unreachable = False
    for copy in copies:
        try:
            return attempt(copy)
        except ServiceUnavailableError as error:
            if error.code == "DISK_FULL":
                raise
            unreachable = True
            failures.append(f"{copy.replica}: {error.message}")
        except (IntegrityFailureError, KeyError) as error:
            failures.append(f"{copy.replica}: {error}")
    said = "; ".join(failures)
    if unreachable:
        raise ServiceUnavailableError(
            "STORE_DOWN",
            f"No good copy could be reached ({said}).",
            remedy="Nothing is lost. Start the stores and run the same command again.",
        )
    raise IntegrityFailureError(
        "NO_GOOD_COPY", f"No copy proved good ({said}).", remedy="Run `minutier sweep` and keep the instance as it is."
    )


def range_reader(archive: Archive, item: StoredObject, copy: Copy, identity: Identity) -> RangeReader:
    """Open one copy for reads of byte ranges: each asks the store for the bytes it needs and no more.

    Errors as the port's, and those of minutier.age_stream.
    """
    store = archive.replica(copy.replica)

    def fetch(offset: int, length: int) -> bytes:
        with store.open(item.key, copy.version_id, offset=offset, length=length) as stream:
            return stream.read(length)

    return open_range(fetch, item.size, [identity])


def write_wrapped(archive: Archive, deposit: Deposit, target: Path) -> None:
    """Write the wrapped key beside a ciphertext: with both, and an identity, the `age` command gives the document."""
    write_durably(target, wrapped_key(archive, deposit))
