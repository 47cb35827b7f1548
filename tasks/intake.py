"""Steps of the folder feed: find waiting batches, receive their files, give back a receipt in the same folder."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
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
from storage.safes import check_safe_name, create_safe
from tasks.bordereau import (
    ABSENT,
    MANIFEST,
    RECEIPT,
    REPORT,
    Batch,
    Finding,
    Line,
    Row,
    bad_manifest,
    file_state,
    read_batch,
)  # fmt: skip
from tasks.dossiers import dossiers_of
from tasks.prefect_step import Ticket, may_pass_later, ticket_of
from tasks.receipts import receipt_line, write_receipt, write_report

LIFECYCLE_CLASS = "default"
# A batch with a file absent or short may still be on its way: it is left alone until nothing moved for this long.
QUIET_SECONDS = 30.0
# Refusals of what lay in the folder and not of the document announced: another state of the file may be the right one.
_MAY_STILL_COME = frozenset(("FILE_MISSING", "NOT_READABLE", "DIGEST_MISMATCH"))
# A disk of its own has this folder at its root, and nobody but root may look into it.
_NOT_A_BATCH = "lost+found"


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


def inbox(archive: Archive, feed: str, directory: str | None) -> Path:
    """Give the door of a feed: the directory asked for, else `inbox/FEED` in the instance.

    Raises BadInputError for a feed that cannot be the name of a safe (`BAD_NAME`) and for an absent door.
    """
    check_safe_name(feed)
    path = Path(directory) if directory else archive.settings.home / "inbox" / feed
    if not path.is_dir():
        raise BadInputError(
            "NO_SUCH_DOOR", f"There is no directory {path} to take batches from.", remedy="Create it, or give --dir."
        )
    return path


def waiting_batches(archive: Archive, feed: str, door: Path) -> tuple[list[Batch], list[BadInputError]]:
    """Give the batches to take now, by name, and an error for each that cannot be read at all.

    A batch is to be taken when every file is there at its announced size, or when nothing in it moved for a while:
    then what is missing will be refused, line by line. A closed file is not a complete file.
    """
    batches, unreadable = _pending(archive, feed, door)
    return [batch for batch, seconds in batches if seconds <= 0], unreadable


def seconds_to_wait(archive: Archive, feed: str, door: Path) -> float:
    """Give the seconds after which every batch now at a door would be taken, if nothing in it moves until then."""
    batches, _ = _pending(archive, feed, door)
    return max((seconds for _, seconds in batches), default=0.0)


def left_alone(archive: Archive, feed: str, door: Path) -> list[tuple[str, int]]:
    """Give the batches that may still be on their way, by name, with the whole seconds until each will be taken."""
    batches, _ = _pending(archive, feed, door)
    return [(batch.name, math.ceil(seconds)) for batch, seconds in batches if seconds > 0]


def _pending(archive: Archive, feed: str, door: Path) -> tuple[list[tuple[Batch, float]], list[BadInputError]]:
    """Give the batches that were not taken as they lie there now, with the seconds that each must still be left."""
    batches: list[tuple[Batch, float]] = []
    unreadable: list[BadInputError] = []
    for folder in _folders(door):
        try:
            if (folder / MANIFEST).is_file():
                batch = read_batch(folder)
                if not is_taken(archive, feed, batch):
                    batches.append((batch, 0.0 if _complete(batch) else _until_quiet(batch)))
        except BadInputError as error:
            unreadable.append(error)
        except OSError as error:
            unreadable.append(bad_manifest(folder, error.strerror or "it cannot be opened"))
        except ValueError:
            unreadable.append(bad_manifest(folder, "it has values that cannot be used"))
    return batches, unreadable


def _folders(door: Path) -> list[Path]:
    try:
        return sorted(path for path in door.iterdir() if path.name != _NOT_A_BATCH)
    except OSError as error:
        raise BadInputError(
            "NOT_READABLE", f"The directory {door} may not be read: {error.strerror}.", remedy="Check the rights on it."
        ) from error


def unreadable_manifests(errors: list[BadInputError]) -> BadInputError:
    """Give one error for the manifests that could not be read; the other batches were taken."""
    return BadInputError(
        "BAD_MANIFEST", " ".join(error.message for error in errors), remedy="Correct them; the other batches are taken."
    )


def is_taken(archive: Archive, feed: str, batch: Batch) -> bool:
    """Say whether this manifest was brought to its end, and what it missed then is now as it was."""
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT bordereau, report FROM batch WHERE feed = %s AND name = %s AND starts_with(bordereau, %s)",
            (feed, batch.name, batch.manifest_sha256),
        ).fetchall()
    files = {line.number: batch.folder / line.row.fichier for line in batch.lines if line.row is not None}

    def state(number: int) -> str:
        return file_state(files[number]) if number in files else ABSENT

    return any(row["bordereau"] == _key(batch.manifest_sha256, row["report"]["lines"], state) for row in rows)


def receive_batch(archive: Archive, feed: str, batch: Batch) -> Received:
    """Receive every line of a batch; a refused line is recorded with its reason and stops nothing else.

    Raises ServiceUnavailableError when a disk failed half-way; the same batch is then taken again.
    """
    create_safe(archive, feed, feed)
    dossiers: dict[str, list[Ticket]] = {}
    by_line: list[tuple[int, str]] = []
    seen: list[tuple[int, str]] = []
    for line in batch.lines:
        try:
            # Looked at before it is read: what changes meanwhile is another state, and the batch is taken again.
            state = file_state(batch.folder / line.row.fichier) if line.row else ABSENT
            deposit = _receive_line(archive, feed, batch, line)
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


def finish_batch(archive: Archive, folder: Path, received: Received) -> dict[str, Any]:
    """Write the receipt beside the manifest, in the place of an earlier one, and remember the batch as taken.

    Gives its report. A folder that cannot be written, or is full, is said there and stops nothing: the receipt is then
    in the report only.
    """
    with archive.database.transaction() as connection:
        ended = [(number, catalogue.get(connection, archive_id)) for number, archive_id in received.by_line]
        numbers = {deposit.dossier for _, deposit in ended if deposit.dossier}
        members = catalogue.of_dossiers(connection, received.feed, numbers)
    lines = [receipt_line(number, deposit) for number, deposit in ended]
    trouble = write_receipt(folder / RECEIPT, lines)
    report: dict[str, Any] = {"batch": received.name, "lines": lines, "receipt": trouble or RECEIPT}
    if dossiers := dossiers_of(received.feed, members):
        report["dossiers"] = [
            dossier.as_dict() | {"fr": dossier.words(profile), "en": dossier.words(profile, "en")}
            for profile, dossier in dossiers
        ]
    report["findings"] = [asdict(finding) for finding in received.findings]
    if report["findings"] or dossiers:
        report["report"] = write_report(folder / REPORT, report) or REPORT
    key = _key(received.manifest_sha256, lines, dict(received.seen).__getitem__)
    with archive.database.transaction() as connection:
        connection.execute(
            "INSERT INTO batch (feed, name, bordereau, taken_at, report) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (feed, name, bordereau) DO UPDATE SET taken_at = EXCLUDED.taken_at, report = EXCLUDED.report",
            (received.feed, received.name, key, archive.clock(), Jsonb(report)),
        )
    return report


def _key(manifest_sha256: str, lines: list[dict[str, Any]], state: Callable[[int], str]) -> str:
    """Give the name under which a batch is remembered: its manifest and the state of each file that may still come.

    The files of the other lines are not in it: the depositor may tidy away what has its answer.
    """
    waited_for = [f"{line['ligne']} {state(line['ligne'])}" for line in lines if line["motif"] in _MAY_STILL_COME]
    if not waited_for:
        return manifest_sha256
    digest = hashlib.sha256("\n".join(waited_for).encode()).hexdigest()
    return f"{manifest_sha256}+{digest}"


def _receive_line(archive: Archive, feed: str, batch: Batch, line: Line) -> Deposit:
    if line.row is None or line.refusal is not None:
        reference = line.reference or f"{batch.name}, ligne {line.number}"
        delivery = Delivery(batch.folder / MANIFEST, feed, LIFECYCLE_CLASS, reference, feed)
        return refuse(archive, delivery, line.refusal or _file_missing(""))
    delivery = _delivery(feed, batch, line.row)
    found = _receive_file(archive, delivery)
    if isinstance(found, Deposit) and found.refusal_code not in _MAY_STILL_COME:
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
    announced = (delivery.expected["sha256"], delivery.expected_size)
    return next(
        (
            each
            for each in known
            if (each.sha256, each.size) == announced
            and each.state != "ABANDONED"
            and each.refusal_code not in _MAY_STILL_COME
        ),
        None,
    )


def _delivery(feed: str, batch: Batch, row: Row) -> Delivery:
    return Delivery(
        path=batch.folder / row.fichier,
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
        expected={"sha256": row.sha256},
        expected_size=row.taille,
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


def _rows(batch: Batch) -> list[Row]:
    return [line.row for line in batch.lines if line.row is not None]


def _complete(batch: Batch) -> bool:
    return all(file_state(batch.folder / row.fichier).partition(" ")[0] == str(row.taille) for row in _rows(batch))


def _until_quiet(batch: Batch) -> float:
    """Give the seconds until nothing in a batch will have moved for a while: zero or less when it is quiet.

    A copy may keep the date of its source; its change time says when it came.
    """
    now = time.time()
    moments = [(found.st_mtime, found.st_ctime) for found in (batch.folder.stat(), (batch.folder / MANIFEST).stat())]
    for row in _rows(batch):
        state = file_state(batch.folder / row.fichier)
        if state != ABSENT:
            _, dated, changed = (int(each) for each in state.split())
            moments.append((dated / 1e9, changed / 1e9))
    # A date well ahead of the clock was kept from elsewhere: waiting for it would be waiting for ever.
    newest = max(max(changed, dated if dated <= now + QUIET_SECONDS else 0.0) for dated, changed in moments)
    return newest + QUIET_SECONDS - now


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
    """Give the depositor its receipt and close the batch; publish what its dossiers have and lack."""
    report = finish_batch(current_archive(), folder, received)
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
