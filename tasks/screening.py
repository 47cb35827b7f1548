"""Step: screen a received document; it ends SCREENED, or REFUSED with a code and a sentence."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from minutier.errors import RefusedDocumentError
from storage import catalogue
from storage.archive import Archive
from storage.blind import screen_ciphertext, statement_of
from storage.bootstrap import current_archive
from storage.catalogue import Deposit
from storage.keys import spool_altered
from storage.reception import do_step, refuse_deposit
from tasks.limits import Limits
from tasks.prefect_step import Ticket, outcome, step
from tasks.screen import screen


def screen_deposit(archive: Archive, archive_id: str) -> Deposit:
    """Screen the original of a RECEIVED deposit; one that is past this is given back as it is."""
    return do_step(archive, archive_id, "RECEIVED", lambda deposit: _screen(archive, deposit))


def _screen(archive: Archive, deposit: Deposit) -> Deposit:
    original = archive.spooled(deposit.archive_id, "original")
    if not original.is_file():
        raise spool_altered("original")
    with archive.database.transaction() as connection:
        statement = statement_of(connection, deposit.archive_id)
    report: dict[str, Any]
    try:
        report = (
            screen(original, deposit.name, limits_of(archive), archive.settings.clamd).as_dict()
            if statement is None
            else screen_ciphertext(original, statement)
        )
    except RefusedDocumentError as refusal:
        return refuse_deposit(archive, deposit, refusal)
    with archive.database.transaction() as connection:
        return catalogue.advance(
            connection,
            deposit,
            "SCREENED",
            archive.clock(),
            details={"format": str(report["media_type"]), "antivirus": str(report["antivirus"])},
            screening=report,
        )


def limits_of(archive: Archive) -> Limits:
    """Give the limits of one document under this instance's settings."""
    return Limits(max_bytes=archive.settings.max_document_bytes)


@step("screen")
def screen_document(ticket: Ticket) -> Ticket | State[Any]:
    """Screen one document."""
    return outcome(ticket, screen_deposit(current_archive(), ticket.archive_id))
