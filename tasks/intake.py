"""Steps of the folder feed: find waiting batches, receive their files, give back a receipt in the same folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from psycopg.types.json import Jsonb

from minutier.errors import BadInputError, RefusedDocumentError, ServiceUnavailableError
from storage import catalogue
from storage.archive import Archive
from storage.bootstrap import current_archive
from storage.catalogue import Deposit
from storage.reception import Delivery, receive, refuse
from storage.safes import create_safe
from tasks import bucket_door, seda
from tasks.bordereau import (
    ABSENT,
    RECEIPT,
    REPORT,
    Batch,
    Finding,
    Line,
    OtherRow,
    Row,
    file_state,
)  # fmt: skip
from tasks.door import MAY_STILL_COME, batch_key
from tasks.dossiers import dossiers_of
from tasks.prefect_step import Ticket, may_pass_later, ticket_of
from tasks.receipts import receipt_line, write_receipt, write_report

LIFECYCLE_CLASS = "default"


@dataclass(frozen=True, slots=True)
class Received:
    """A batch whose lines are all received or refused: its tickets by dossier, in the order of the manifest."""

    feed: str
    name: str
    manifest_sha256: str
    dossiers: dict[str, list[Ticket]]
    by_line: tuple[tuple[int, str], ...]
    seen: tuple[tuple[int, str], ...]
    findings: tuple[Finding, ...] = ()


def receive_batch(archive: Archive, feed: str, batch: Batch) -> Received:
    """Receive every line of a batch; a refused line is recorded with its reason and stops nothing else.

    Raises ServiceUnavailableError when a disk failed half-way; the same batch is then taken again.
    """
    create_safe(archive, feed, feed)
    with seda.unpacked(batch, archive.spool) as there:
        return _receive_lines(archive, feed, batch, there)


def _receive_lines(archive: Archive, feed: str, batch: Batch, there: Batch) -> Received:
    """Receive the lines of a batch from where its files are; `there` is the batch itself, but for a package."""
    dossiers: dict[str, list[Ticket]] = {}
    by_line: list[tuple[int, str]] = []
    seen: list[tuple[int, str]] = []
    for line in batch.lines:
        try:
            # Looked at before it is read: what changes meanwhile is another state, and the batch is taken again.
            state = batch.state(line.row) if line.row else ABSENT
            deposit = _receive_line(archive, feed, there, line)
        except OSError as error:
            # Without its cause: that one names the file, and the page of the run would show it.
            raise _disk_failed(batch, error) from None
        seen.append((line.number, state))
        by_line.append((line.number, deposit.archive_id))
        dossier = line.row.dossier if line.row else "no dossier"
        tickets = dossiers.setdefault(dossier, [])
        if ticket_of(deposit) not in tickets:
            tickets.append(ticket_of(deposit))
    findings = tuple(finding for line in batch.lines for finding in line.findings)
    return Received(feed, batch.name, batch.manifest_sha256, dossiers, tuple(by_line), tuple(seen), findings)


def finish_batch(archive: Archive, batch: Batch, received: Received) -> dict[str, Any]:
    """Write the receipt beside the manifest, in the place of an earlier one, and remember the batch as taken.

    Gives its report. A folder that cannot be written, or is full, is said there and stops nothing: the receipt is then
    in the report only.
    """
    with archive.database.transaction() as connection:
        ended = [(number, catalogue.get(connection, archive_id)) for number, archive_id in received.by_line]
        numbers = {deposit.dossier for _, deposit in ended if deposit.dossier}
        members = catalogue.of_dossiers(connection, received.feed, numbers)
    lines = [receipt_line(number, deposit) for number, deposit in ended]
    trouble = write_receipt(batch.answer(RECEIPT), lines)
    report: dict[str, Any] = {"batch": received.name, "lines": lines, "receipt": trouble or batch.answer(RECEIPT).name}
    if dossiers := dossiers_of(received.feed, members):
        report["dossiers"] = [
            dossier.as_dict() | {"fr": dossier.words(profile), "en": dossier.words(profile, "en")}
            for profile, dossier in dossiers
        ]
    report["findings"] = [asdict(finding) for finding in received.findings]
    if report["findings"] or dossiers:
        report["report"] = write_report(batch.answer(REPORT), report) or batch.answer(REPORT).name
    key = batch_key(received.manifest_sha256, lines, dict(received.seen).__getitem__)
    with archive.database.transaction() as connection:
        connection.execute(
            "INSERT INTO batch (feed, name, bordereau, taken_at, report) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (feed, name, bordereau) DO UPDATE SET taken_at = EXCLUDED.taken_at, report = EXCLUDED.report",
            (received.feed, received.name, key, archive.clock(), Jsonb(report)),
        )
    return report


def _receive_line(archive: Archive, feed: str, batch: Batch, line: Line) -> Deposit:
    if line.row is None or line.refusal is not None:
        reference = line.reference or f"{batch.name}, ligne {line.number}"
        delivery = Delivery(batch.folder / batch.manifest, feed, LIFECYCLE_CLASS, reference, feed)
        return refuse(archive, delivery, line.refusal or _file_missing(""))
    delivery = _delivery(feed, batch, line.row)
    found = _receive_file(archive, delivery)
    if isinstance(found, Deposit) and found.refusal_code not in MAY_STILL_COME:
        return found
    # What lies in the folder is not the document; but it may have come before, and its file been tidied away.
    known = _came_before(archive, delivery)
    if known is not None:
        return known
    return found if isinstance(found, Deposit) else refuse(archive, delivery, found)


def _receive_file(archive: Archive, delivery: Delivery) -> Deposit | RefusedDocumentError:
    """Receive a listed file; gives the refusal when its bytes cannot be had."""
    if file_state(delivery.path) == ABSENT:
        return _file_missing(delivery.name)
    try:
        return receive(archive, delivery)
    except BadInputError as error:
        if error.code == "NOT_READABLE":
            return _not_readable(delivery.name)
        if error.code in ("FILE_MISSING", "NOT_A_FILE"):
            return _file_missing(delivery.name)
        raise
    except FileNotFoundError as error:
        if error.filename != str(delivery.path):
            raise
        return _file_missing(delivery.name)


def _came_before(archive: Archive, delivery: Delivery) -> Deposit | None:
    """Find the answer that this very document already had: its live deposit, else its refusal."""
    with archive.database.transaction() as connection:
        known = catalogue.find_by_reference(connection, delivery.safe, delivery.reference)
    announced = delivery.expected.get("sha256")
    return next(
        (
            each
            for each in known
            if announced is not None
            and (each.sha256, each.size) == (announced, delivery.expected_size)
            and each.state != "ABANDONED"
            and each.refusal_code not in MAY_STILL_COME
        ),
        None,
    )


def _delivery(feed: str, batch: Batch, row: Row) -> Delivery:
    other = {"sha512": row.sha512} if isinstance(row, OtherRow) and row.sha512 else {}
    return Delivery(
        path=batch.file(row),
        safe=feed,
        lifecycle_class=row.lifecycle_class,
        reference=row.reference,
        depositor=feed,
        dossier=row.dossier,
        name=row.fichier,
        metadata={
            **row.attributes,
            "title": row.titre,
            "piece": row.piece,
            "date": row.date.isoformat(),
            "batch": batch.name,
        },
        expected=({"sha256": row.sha256} if row.sha256 else {}) | other,
        expected_size=row.taille if batch.announced else None,
    )


def _file_missing(name: str) -> RefusedDocumentError:
    return RefusedDocumentError(
        "FILE_MISSING",
        f"The file {name} is listed but did not come.",
        f"Le fichier {name} est annoncé au bordereau mais n’a pas été reçu.",
        remedy="Put the file in the folder of its batch: the batch is then taken again.",
    )


def _not_readable(name: str) -> RefusedDocumentError:
    return RefusedDocumentError(
        "NOT_READABLE",
        f"The archive has no right to read the file {name}.",
        f"Le fichier {name} est présent mais le service d’archivage n’a pas le droit de le lire.",
        remedy="Give the right to read it: the batch is then taken again.",
    )


def _disk_failed(batch: Batch, error: OSError) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "DISK_FAILED",
        f"The files of batch {batch.name} could not be copied: {error.strerror or type(error).__name__}.",
        remedy="Check the disk of the feed and that of the instance; the batch is taken at the next visit.",
    )


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
def give_receipt(name: str, batch: Batch, received: Received) -> dict[str, Any]:
    """Give the depositor its receipt and close the batch; publish what its dossiers have and lack."""
    archive = current_archive()
    report = finish_batch(archive, batch, received)
    if bucket_door.has_bucket(archive.settings, received.feed):
        bucket_door.give_back(archive, received.feed, batch)
    if dossiers := report.get("dossiers"):
        create_table_artifact(
            key="dossiers",
            table=[
                {
                    "dossier": each["dossier"],
                    "operation": each["operation"],
                    "state": "complete" if each["complete"] else "incomplete",
                    "pieces": f"{each['expected'] - len(each['missing'])} of {each['expected']}",
                    "missing": ", ".join(each["missing"]),
                    "too old": ", ".join(each["expired"]),
                }
                for each in dossiers
            ],
            description=f"## {received.feed} · {name}\nDossiers of this batch, with all that came before.",
        )
    return report
