"""Step: make a PDF/A rendition beside the untouched original; a failed rendition never costs the original."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from storage import catalogue
from storage.archive import Archive
from storage.blind import is_blind
from storage.bootstrap import current_archive
from storage.catalogue import Deposit
from storage.files import publish
from storage.keys import spool_altered
from storage.reception import do_step
from tasks.prefect_step import Ticket, outcome, step
from tasks.render import render
from tasks.screening import limits_of

# Nobody here can open the document, so nobody can draw it.
_BLIND = {"verdict": "not_checked", "rung": "original-only", "reason": "BLIND"}


def render_deposit(archive: Archive, archive_id: str) -> Deposit:
    """Render a SCREENED deposit and record the verdict; one that is past this is given back as it is."""
    return do_step(archive, archive_id, "SCREENED", lambda deposit: _render(archive, deposit))


def _render(archive: Archive, deposit: Deposit) -> Deposit:
    original = archive.spooled(deposit.archive_id, "original")
    target = archive.spooled(deposit.archive_id, "rendition.pdf")
    aside = archive.spooled(deposit.archive_id, "rendition.part")
    if not original.is_file():
        raise spool_altered("original")
    target.unlink(missing_ok=True)
    if is_blind(deposit):
        return _advance(archive, deposit, dict(_BLIND))
    media_type = str((deposit.screening or {})["media_type"])
    report = render(original, media_type, aside, limits_of(archive))
    if aside.exists():
        publish(aside, target)
    return _advance(archive, deposit, report.as_dict())


def _advance(archive: Archive, deposit: Deposit, report: dict[str, Any]) -> Deposit:
    with archive.database.transaction() as connection:
        return catalogue.advance(
            connection,
            deposit,
            "RENDERED",
            archive.clock(),
            details={"verdict": report["verdict"], "rung": report["rung"]},
            rendition=report,
        )


@step("render")
def render_document(ticket: Ticket) -> Ticket | State[Any]:
    """Render one document."""
    return outcome(ticket, render_deposit(current_archive(), ticket.archive_id))
