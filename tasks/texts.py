"""Steps: read scanned documents by machine, once they are archived, and deposit what was read as new documents."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from prefect import task

from minutier.errors import MinutierError
from storage import catalogue, reading, texts
from storage.archive import Archive
from storage.bootstrap import current_archive
from storage.catalogue import Deposit
from storage.reception import Delivery, receive
from tasks import ocr, sandbox
from tasks.isolate import IsolationFaultError, run_isolated
from tasks.limits import Limits
from tasks.prefect_step import Ticket, step, ticket_of
from tasks.screening import limits_of

_SECONDS_PER_PAGE = 60.0


def recognise_document(archive: Archive, archive_id: str) -> Deposit | None:
    """Look at one archived document; gives the new deposit of its text, None where there is none to have.

    What was found is remembered: a document is looked at once. The reading of its rendition is journaled.
    """
    with archive.database.transaction() as connection:
        source = catalogue.get(connection, archive_id)
        known = catalogue.find_by_reference(connection, source.safe, texts.reference_of(archive_id))
    # Ours from an earlier run; what somebody else deposited under this reference is no text of the source.
    ours = [each for each in known if each.depositor == texts.DEPOSITOR and each.state not in ("REFUSED", "ABANDONED")]
    found = next(iter(ours), None)
    outcome = ""
    if found is None:
        found, outcome = _recognise(archive, source)
    with archive.database.transaction() as connection:
        texts.keep(connection, archive_id, archive.clock(), outcome, found.archive_id if found else None)
    return found


def _recognise(archive: Archive, source: Deposit) -> tuple[Deposit | None, str]:
    role = "original" if (source.rendition or {}).get("rung") == "pdfa-original" else "rendition"
    limits, pages = limits_of(archive), int((source.rendition or {}).get("pages", 1))
    with tempfile.TemporaryDirectory(dir=archive.spool, prefix=".text-") as directory:
        seen, written = Path(directory) / "seen.pdf", Path(directory) / "text.pdf"
        try:
            reading.read(archive, source, seen, role=role)
        except MinutierError as error:
            if error.retryable:
                raise
            return None, error.code  # said as loudly as it deserves by the sweep
        answer = _isolated(seen, written, pages, limits)
        if answer["verdict"] != "passed":
            return None, str(answer["reason"])
        metadata = {
            "derived_from": source.archive_id,
            "source_fingerprint": source.fingerprint or "",
            "engine": f"tesseract {answer['tools']['tesseract']}",
            "language": ocr.LANGUAGE,
            "words": str(answer["words"]),
            "mean_confidence": str(answer["confidence"]),
        }
        delivery = Delivery(
            written, source.safe, source.lifecycle_class, texts.reference_of(source.archive_id), texts.DEPOSITOR,
            dossier=source.dossier or "", name="texte.pdf", metadata=metadata,
        )  # fmt: skip
        return receive(archive, delivery), ""


def _isolated(seen: Path, written: Path, pages: int, limits: Limits) -> dict[str, Any]:
    arguments = {"original": str(seen), "output": str(written)}
    seconds = limits.base_seconds + _SECONDS_PER_PAGE * min(max(pages, 1), ocr.MAX_PAGES)
    try:
        found: dict[str, Any] = run_isolated(
            "tasks.ocr:recognise", arguments, timeout=seconds, memory_bytes=limits.memory_bytes
        )
        return found
    except IsolationFaultError as fault:
        return {"verdict": "failed", "reason": fault.code}


@task(name="find unread documents", persist_result=False)
def find_unread(limit: int) -> list[Ticket]:
    """Give the tickets of archived documents that no machine looked at yet; none where there is no tesseract."""
    if not sandbox.version_of(ocr.PROGRAM):
        return []
    with current_archive().database.transaction() as connection:
        return [ticket_of(catalogue.get(connection, each)) for each in texts.waiting(connection, limit)]


@step("recognise text")
def recognise_text(ticket: Ticket) -> Ticket | None:
    """Look at one document; gives the ticket of its text."""
    found = recognise_document(current_archive(), ticket.archive_id)
    return ticket_of(found) if found else None
