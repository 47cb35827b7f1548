"""The outbox: attestations as they were sealed, given again as the same bytes however often they are asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from minutier import canonical
from minutier.errors import IntegrityFailureError
from minutier.events import Event
from minutier.seal import check_seal
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.reading import require_archived


@dataclass(frozen=True, slots=True)
class Attestation:
    """A statement (docs/format/attestation-v1.md) and its detached seal (CMS, DER)."""

    body: bytes
    seal: bytes


def attestation(archive: Archive, deposit: Deposit) -> Attestation:
    """Give the attestation of an archived document, as its journal entry says that it is.

    Raises BadInputError (`NOT_ARCHIVED`), IntegrityFailureError (`ATTESTATION_ALTERED`, those of `check_seal`).
    """
    require_archived(deposit)
    with archive.database.transaction() as connection:
        row = connection.execute(
            "SELECT body, seal, created_at FROM outbox WHERE archive_id = %s", (deposit.archive_id,)
        ).fetchone()
        entries = connection.execute(
            "SELECT entry FROM journal_event WHERE archive_id = %s AND event = %s",
            (deposit.archive_id, Event.DEPOSIT_ARCHIVED.value),
        ).fetchall()
    digest = hashlib.sha256(bytes(row["body"])).hexdigest() if row else ""
    if row is None or _journaled([bytes(each["entry"]) for each in entries]) != [digest]:
        raise IntegrityFailureError(
            "ATTESTATION_ALTERED",
            "The attestation in the database is not the one that the journal names.",
            remedy="Keep the instance as it is; the document and its proof do not rest on it.",
        )
    found = Attestation(bytes(row["body"]), bytes(row["seal"]))
    check_seal(found.body, found.seal, archive.seal_roots, row["created_at"], archive.crls)
    return found


def _journaled(entries: list[bytes]) -> list[object]:
    """Give the digest of an attestation that each entry names; none where an entry was altered."""
    try:
        return [canonical.decode(entry)["details"]["attestation_sha256"] for entry in entries]
    except (ValueError, KeyError, TypeError):
        return []
