"""Steps of the folder feed: find waiting batches, receive their files, give back a receipt in the same folder."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from psycopg.types.json import Jsonb

from minutier.errors import BadInputError, RefusedDocumentError
from storage import catalogue
from storage.archive import Archive
from storage.bootstrap import create_safe, current_archive
from storage.catalogue import Deposit
from storage.files import write_durably
from storage.reception import Delivery, receive, refuse
from tasks.bordereau import MANIFEST, Batch, Line, Row, read_batch
from tasks.prefect_step import Ticket, may_pass_later, ticket_of

RECEIPT = "accuse.csv"
LIFECYCLE_CLASS = "default"
# A manifest younger than this with a file absent or short may still be on its way: it is left for the next visit.
_QUIET_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Received:
    """A batch whose lines are all received or refused: its tickets by dossier, in the order of the manifest."""

    feed: str
    name: str
    manifest_sha256: str
    dossiers: dict[str, list[Ticket]]
    by_line: tuple[tuple[int, str], ...]


def inbox(archive: Archive, feed: str, directory: str | None) -> Path:
    """Give the door of a feed: the directory asked for, else `inbox/FEED` in the instance."""
    path = Path(directory) if directory else archive.settings.home / "inbox" / feed
    if not path.is_dir():
        raise BadInputError(
            "NO_SUCH_DOOR", f"There is no directory {path} to take batches from.", remedy="Create it, or give --dir."
        )
    return path


def waiting_batches(archive: Archive, feed: str, door: Path) -> tuple[list[Batch], list[BadInputError]]:
    """Give the complete batches that were not taken yet, by name, and the manifests that cannot be read at all.

    A batch is complete when its manifest is there with every file at its announced size, or when the manifest has
    been quiet for a while: then what is missing will be refused, line by line. A closed file is not a complete file.
    """
    batches: list[Batch] = []
    unreadable: list[BadInputError] = []
    for folder in sorted(path for path in door.iterdir() if (path / MANIFEST).is_file()):
        try:
            batch = read_batch(folder)
        except BadInputError as error:
            unreadable.append(error)
            continue
        if not is_taken(archive, feed, batch) and (_complete(batch) or _quiet(folder / MANIFEST)):
            batches.append(batch)
    return batches, unreadable


def unreadable_manifests(errors: list[BadInputError]) -> BadInputError:
    """Give one error for the manifests that could not be read; the other batches were taken."""
    return BadInputError(
        "BAD_MANIFEST", " ".join(error.message for error in errors), remedy="Correct them; the other batches are taken."
    )


def is_taken(archive: Archive, feed: str, batch: Batch) -> bool:
    """Say whether this very manifest was brought to its end before."""
    with archive.database.transaction() as connection:
        row = connection.execute(
            "SELECT 1 AS one FROM batch WHERE feed = %s AND name = %s AND bordereau = %s",
            (feed, batch.name, batch.manifest_sha256),
        ).fetchone()
    return row is not None


def receive_batch(archive: Archive, feed: str, batch: Batch) -> Received:
    """Receive every line of a batch; a refused line is recorded with its reason and stops nothing else."""
    create_safe(archive, feed, feed)
    dossiers: dict[str, list[Ticket]] = {}
    by_line: list[tuple[int, str]] = []
    for line in batch.lines:
        deposit = _receive_line(archive, feed, batch, line)
        by_line.append((line.number, deposit.archive_id))
        dossier = line.row.dossier if line.row else "?"
        tickets = dossiers.setdefault(dossier, [])
        if ticket_of(deposit) not in tickets:
            tickets.append(ticket_of(deposit))
    return Received(feed, batch.name, batch.manifest_sha256, dossiers, tuple(by_line))


def finish_batch(archive: Archive, folder: Path, received: Received) -> dict[str, Any]:
    """Write the receipt beside the manifest and remember the batch as taken; gives its report.

    Raises nothing when the folder cannot be written: the receipt is then only in the report.
    """
    with archive.database.transaction() as connection:
        ended = [(number, catalogue.get(connection, archive_id)) for number, archive_id in received.by_line]
    lines = [_receipt_line(number, deposit) for number, deposit in ended]
    trouble = _write_receipt(folder / RECEIPT, lines)
    report: dict[str, Any] = {"batch": received.name, "lines": lines, "receipt": trouble or RECEIPT}
    with archive.database.transaction() as connection:
        connection.execute(
            "INSERT INTO batch (feed, name, bordereau, taken_at, report) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (received.feed, received.name, received.manifest_sha256, archive.clock(), Jsonb(report)),
        )
    return report


def _receive_line(archive: Archive, feed: str, batch: Batch, line: Line) -> Deposit:
    if line.row is None or line.refusal is not None:
        reference = line.reference or f"{batch.name}, ligne {line.number}"
        delivery = Delivery(batch.folder / MANIFEST, feed, LIFECYCLE_CLASS, reference, feed)
        return refuse(archive, delivery, line.refusal or _file_missing(""))
    delivery = _delivery(feed, batch, line.row)
    path = batch.folder / line.row.fichier
    if path.is_symlink() or not path.is_file():
        return refuse(archive, delivery, _file_missing(line.row.fichier))
    return receive(archive, delivery)


def _delivery(feed: str, batch: Batch, row: Row) -> Delivery:
    return Delivery(
        path=batch.folder / row.fichier,
        safe=feed,
        lifecycle_class=LIFECYCLE_CLASS,
        reference=row.reference,
        depositor=feed,
        dossier=row.dossier,
        name=row.fichier,
        metadata={"title": row.titre, "piece": row.piece, "date": row.date.isoformat(), "batch": batch.name},
        expected={"sha256": row.sha256},
        expected_size=row.taille,
    )


def _file_missing(name: str) -> RefusedDocumentError:
    return RefusedDocumentError(
        "FILE_MISSING",
        f"The file {name} is listed but did not come.",
        f"Le fichier {name} est annoncé au bordereau mais n’a pas été reçu.",
        remedy="Send the file, with a manifest that lists it.",
    )


def _complete(batch: Batch) -> bool:
    for line in batch.lines:
        if line.row is not None:
            path = batch.folder / line.row.fichier
            if not path.is_file() or path.stat().st_size != line.row.taille:
                return False
    return True


def _quiet(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _QUIET_SECONDS


def _receipt_line(number: int, deposit: Deposit) -> dict[str, str | int]:
    return {
        "ligne": number,
        "reference": deposit.reference,
        "etat": {"ARCHIVED": "archivé", "REFUSED": "refusé"}.get(deposit.state, "en cours"),
        "archive_id": deposit.archive_id,
        "empreinte": deposit.fingerprint,
        "motif": deposit.refusal_code or "",
        "explication": deposit.refusal_fr or "",
    }


def _write_receipt(path: Path, lines: list[dict[str, str | int]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else ["ligne"], delimiter=";")
    writer.writeheader()
    # A cell that begins like a formula would be run by a spreadsheet.
    writer.writerows({k: f"'{v}" if str(v)[:1] in "=+-@\t\r" and v else v for k, v in line.items()} for line in lines)
    try:
        write_durably(path, text.getvalue().encode("utf-8-sig"), mode=0o644)
    except OSError as error:
        return f"not written: {error.strerror}"
    return ""


@task(
    name="receive a batch",
    task_run_name="receive · {name}",
    retries=3,
    retry_delay_seconds=[1, 5, 20],
    retry_condition_fn=may_pass_later,
    timeout_seconds=3600,
    persist_result=False,
)
def receive_waiting(feed: str, name: str, batch: Batch) -> Received:
    """Receive the files of one batch into the spool."""
    return receive_batch(current_archive(), feed, batch)


@task(
    name="write the receipt",
    task_run_name="receipt · {name}",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=may_pass_later,
    persist_result=False,
)
def give_receipt(name: str, folder: Path, received: Received) -> dict[str, Any]:
    """Give the depositor its receipt and close the batch."""
    return finish_batch(current_archive(), folder, received)
