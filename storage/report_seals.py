"""The archive's seal over an integrity report: counted, and in the journal (docs/format/integrity-report-v1.md)."""

from __future__ import annotations

import hashlib
from datetime import datetime

from minutier.events import Event
from storage import journal
from storage.archive import Archive


def seal_report(archive: Archive, content: bytes, at: datetime) -> bytes:
    """Seal one file of a report at its time; gives the detached CMS in DER, once the use of the key is journaled.

    Raises PolicyRefusedError SEAL_KEY_NOT_ACTIVE, and what the key's device raises.
    """
    sealed = archive.signer.seal(content, at, "report")
    with archive.database.transaction() as connection:
        details = {"report_sha256": hashlib.sha256(content).hexdigest(), **sealed.journaled(connection)}
        journal.append(connection, Event.REPORT_SEALED, at, details=details)
    return sealed.signature
