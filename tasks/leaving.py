"""The exit rehearsal: some documents leave in a bag, and an empty archive takes them in again, bit for bit.

An archive that was never left is a promise. Drawn at random: what leaves is checked as a stranger would (bag, proofs),
then delivered to an archive aside, carried to its end there, read back, and compared with what left.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from minutier.errors import MinutierError
from minutier.events import format_time
from minutier.fingerprint import fingerprint_file
from minutier.report import Verdict
from minutier.trust import load_trust
from minutier.verify import verify
from storage import catalogue
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.files import remove, write_durably
from storage.reading import read
from storage.reception import Delivery, receive
from tasks.aside import archive_aside, carry_through
from tasks.restituting import restitute

KEPT_REPORTS = 100
_TO = "exit rehearsal"
_FOLDER = "exit-rehearsals"
_SAFE = "demo"
_SCRATCH = ".exit-"


@dataclass(frozen=True, slots=True)
class ExitReport:
    """What a rehearsal found.

    `documents` left; the proofs of `verified` passed offline; `equal` were taken in elsewhere and read back the same.
    `clients` are those that only their clients can open: they leave encrypted, and are not taken in elsewhere. `bad`
    says what did not hold, one sentence each.
    """

    at: datetime
    documents: int
    verified: int
    equal: int
    clients: int
    bad: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Give green or red; `empty` when there was nothing to give."""
        if not self.documents and not self.bad:
            return "empty"
        return "red" if self.bad else "green"

    def as_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        return asdict(self) | {"at": format_time(self.at), "bad": list(self.bad), "verdict": self.verdict}


def rehearse_exit(
    archive: Archive, *, documents: int = 20, progress: Callable[[str], None] = lambda _line: None
) -> ExitReport:
    """Let some documents leave and come in again elsewhere; keeps the report as a file of HOME/exit-rehearsals.

    What does not hold is a red report, not an error. Raises ServiceUnavailableError when a store, the disk or the
    database hinders the rehearsal itself, or another one is under way (`BUSY`).
    """
    with archive.database.exclusive("exit rehearsal"):
        # What one that was killed left, in clear.
        for left in archive.settings.home.glob(f"{_SCRATCH}*"):
            remove(left)
        return _rehearse(archive, documents, progress)


def _rehearse(archive: Archive, documents: int, progress: Callable[[str], None]) -> ExitReport:
    at = archive.clock()
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT archive_id FROM deposit WHERE state = 'ARCHIVED' ORDER BY random() LIMIT %s", (documents,)
        ).fetchall()
        drawn = catalogue.get_all(connection, [str(row["archive_id"]) for row in rows])
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=archive.settings.home) as scratch:
        report = _rehearsed(archive, drawn, Path(scratch), at, progress) if drawn else ExitReport(at, 0, 0, 0, 0, ())
    folder = archive.settings.home / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    text = json.dumps(report.as_dict(), ensure_ascii=False, indent=2)
    write_durably(folder / f"{at:%Y%m%dT%H%M%SZ}.json", text.encode())
    for old in sorted(folder.glob("*.json"))[:-KEPT_REPORTS]:
        old.unlink()
    return report


def last_exit(home: Path) -> dict[str, Any] | None:
    """Give the report of the last rehearsal, None when there was none."""
    found = sorted((home / _FOLDER).glob("*.json"))
    value: dict[str, Any] | None = json.loads(found[-1].read_bytes()) if found else None
    return value


def _rehearsed(
    archive: Archive, drawn: list[Deposit], scratch: Path, at: datetime, progress: Callable[[str], None]
) -> ExitReport:
    progress(f"{len(drawn)} documents leave in a bag")
    done = restitute(archive, drawn, scratch / "bag", to=_TO)
    bad = [f"{archive_id}: it cannot be given ({code})" for archive_id, code in done.missing]
    folders = {archive_id: done.folder / "data" / "documents" / archive_id for archive_id in done.given}

    progress("their proofs are verified offline")
    refused = [f"{name}: {why}" for name, folder in folders.items() if (why := _not_proved(archive, folder))]

    opened = {archive_id: folder for archive_id, folder in folders.items() if (folder / "original").is_dir()}
    progress(f"an empty archive takes {len(opened)} of them in")
    differ = list(_differing(archive, opened, scratch)) if opened else []
    return ExitReport(
        at,
        documents=len(done.given),
        verified=len(folders) - len(refused),
        equal=len(opened) - len(differ),
        clients=len(folders) - len(opened),
        bad=(*bad, *refused, *differ),
    )


def _not_proved(archive: Archive, folder: Path) -> str:
    """Give why the proof of a document does not pass, "" when it does; one given encrypted holds no bundle."""
    if not (folder / "original").is_dir():
        return ""
    report = verify(folder / "proof.zip", load_trust(archive.settings.trust_dir), archive.clock())
    if report.verdict is Verdict.PASSED:
        return ""
    codes = ", ".join(dict.fromkeys(finding.code for finding in report.findings))
    return f"its proof is {report.verdict.value} ({codes})"


def _differing(archive: Archive, folders: dict[str, Path], scratch: Path) -> Iterator[str]:
    """Say what an empty archive does not give back as it left."""
    with archive_aside(archive, scratch / "aside") as aside:
        taken = {
            receive(aside, _delivery(archive_id, folder)).archive_id: (archive_id, folder)
            for archive_id, folder in folders.items()
        }
        for deposit in carry_through(aside, list(taken)):
            archive_id, folder = taken[deposit.archive_id]
            if deposit.state != "ARCHIVED":
                yield f"{archive_id}: elsewhere it ends {deposit.state} {deposit.refusal_code or ''}".rstrip()
                continue
            again = scratch / "again"
            try:
                read(aside, deposit, again)
            except MinutierError as error:
                yield f"{archive_id}: elsewhere it cannot be read ({error.code})"
                continue
            (original,) = (folder / "original").iterdir()
            if fingerprint_file(again) != fingerprint_file(original):
                yield f"{archive_id}: it comes back with other bytes"


def _delivery(archive_id: str, folder: Path) -> Delivery:
    known = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    (original,) = (folder / "original").iterdir()
    return Delivery(
        path=original,
        safe=_SAFE,
        lifecycle_class="default",
        reference=archive_id,
        depositor=_TO,
        name=known["name"],
        metadata={"came_from": archive_id},
        expected=known["digests"],
        expected_size=known["size"],
    )
