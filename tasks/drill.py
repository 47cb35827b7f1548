"""The restore drill: the last base backup and the log come back in a scratch cluster, and are compared with life.

A backup that was never restored is a hope. The scratch cluster is on loopback, on a port of its own, and is removed
whatever was found. The engine behind it is PostgreSQL's own: pg_verifybackup, postgres.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from minutier.errors import MinutierError, ServiceUnavailableError
from minutier.events import format_time
from storage import catalogue, journal
from storage.archive import Archive
from storage.database import Connection, Database
from storage.files import write_durably
from storage.reading import examine, require_sealed
from tasks import unprivileged
from tasks.backups import Backup, in_use, newest
from tasks.postgres_programs import LOOPBACK, Places, embedded_port, environment, program, run

MAY_LACK = timedelta(minutes=3)
"""Entries younger than this may not be in the archived log yet: a minute to fill a segment, and time to copy it."""
KEPT_REPORTS = 100
"""Reports that stay: two years of weekly drills."""
_PATIENCE = 600.0
_RESTORE = "gzip -dc ../archive/wal/%f.gz > %p"
_SETTINGS = {"archive_mode": "off", "restore_command": _RESTORE, "unix_socket_directories": "", "fsync": "on"}


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What a drill found.

    `at` is when it began, `seconds` how long it took until the restored cluster answered. `entries` are those of its
    journal, the last one of the time `newest`; the living journal had `lacks` more, `behind` of them old enough to be
    in the archived log. `documents` are archived in it, `bad` are those that were verified and did not hold, `trouble`
    is whatever else did not hold ("" when all did).
    """

    at: datetime
    backup: str
    seconds: float
    entries: int
    lacks: int
    behind: int
    newest: datetime | None
    documents: int
    bad: tuple[str, ...]
    trouble: str

    @property
    def verdict(self) -> str:
        """Give green or red."""
        return "red" if self.trouble or self.bad or self.behind else "green"

    def as_dict(self) -> dict[str, object]:
        """Give the report as JSON values."""
        newest_at = format_time(self.newest) if self.newest else None
        return asdict(self) | {"at": format_time(self.at), "newest": newest_at, "verdict": self.verdict}


def drill(archive: Archive, *, documents: int = 20) -> DrillReport | None:
    """Restore the last backup beside the living cluster, compare, verify some documents; keeps the report as a file.

    None when the catalogue is in a server of your own. A restore that fails is a red report, not an error.
    """
    settings, at = archive.settings, archive.clock()
    if embedded_port(settings) is None:
        return None
    places = Places(settings.home)
    with in_use(places):
        report = _rehearsed(archive, places, at, documents)
    text = json.dumps(report.as_dict(), indent=2)
    write_durably(places.drills / f"{at:%Y%m%dT%H%M%SZ}.json", text.encode())
    for old in sorted(places.drills.glob("*.json"))[:-KEPT_REPORTS]:
        old.unlink()
    return report


def _rehearsed(archive: Archive, places: Places, at: datetime, documents: int) -> DrillReport:
    backup = newest(places)
    report = DrillReport(at, "", 0.0, 0, 0, 0, None, 0, (), "There is no base backup.")
    if backup is None:
        return report
    started = time.monotonic()
    try:
        with _restored(places, backup) as url:
            return _compare(archive, replace(report, backup=backup.name, trouble=""), url, started, documents)
    except (MinutierError, OSError, EOFError, zlib.error, psycopg.Error, tarfile.TarError) as error:
        return replace(report, backup=backup.name, trouble=str(error))


def last_drill(places: Places) -> dict[str, str] | None:
    """Give the report of the last drill, None when there was none."""
    found = sorted(places.drills.glob("*.json"))
    value: dict[str, str] | None = json.loads(found[-1].read_bytes()) if found else None
    return value


@contextmanager
def _restored(places: Places, backup: Backup) -> Iterator[str]:
    """Restore a backup and all of the archived log into a scratch cluster that serves; gives its address."""
    scratch, owner = places.scratch, places.owner()
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        _unpack(places.base / backup.name, scratch)
        run(["pg_verifybackup", "--quiet", str(scratch)], "BACKUP_DAMAGED", directory=places.base)
        (scratch / "recovery.signal").touch(mode=0o600)
        if owner is not None:
            _give(scratch, owner)
        port = _free_port()
        chosen = {"listen_addresses": LOOPBACK, "port": str(port), **_SETTINGS}
        options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        command = unprivileged.as_user(owner, [str(program("postgres")), "-D", str(scratch), *options])
        (places.home / "logs").mkdir(mode=0o700, exist_ok=True)
        with (places.home / "logs" / "drill.log").open("wb") as log:
            server = subprocess.Popen(
                command, env=environment(), cwd=scratch.parent, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            url = places.url(port, "minutier", "minutier")
            _await(url, server)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                server.wait(60)
            server.kill()
            server.wait()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700)
    for name, folder in (("base.tar.gz", target), ("pg_wal.tar.gz", target / "pg_wal")):
        with tarfile.open(source / name, "r:gz") as tar:
            tar.extractall(folder, filter="tar")
    shutil.copyfile(source / "backup_manifest", target / "backup_manifest")


def _give(folder: Path, owner: int) -> None:
    os.chown(folder, owner, -1)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent, name), owner, -1, follow_symlinks=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the log is replayed to its end and the cluster takes writes."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ServiceUnavailableError(
                "RESTORE_FAILED", "The restored cluster does not start.", remedy="Read logs/drill.log in the home."
            )
        with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
            if row is not None and not row[0]:
                return
        time.sleep(0.2)
    raise ServiceUnavailableError(
        "RESTORE_FAILED", "The restored cluster is not ready after ten minutes.", remedy="Read logs/drill.log."
    )


def _compare(archive: Archive, report: DrillReport, url: str, started: float, documents: int) -> DrillReport:
    database = Database(url, size=2)
    database.open()
    try:
        restored = replace(archive, database=database)
        seconds = time.monotonic() - started
        with database.transaction() as connection:
            entries = journal.check_chain(connection)
            head, chain = journal.head(connection)
            row = connection.execute("SELECT max(at) AS at, max(event_id) AS id FROM journal_event").fetchone()
            last, present = (row["at"], int(row["id"] or 0)) if row else (None, 0)
        with archive.database.transaction() as connection:
            trouble = _not_a_beginning(connection, head, chain)
            lacks, behind = _lacking(connection, present, report.at)
        bad = tuple(_bad_documents(restored, documents))
        return replace(
            report, seconds=round(seconds, 1), entries=entries, lacks=lacks, behind=behind, newest=last,
            documents=documents_in(restored), bad=bad, trouble=trouble,
        )  # fmt: skip
    finally:
        database.close()


def documents_in(archive: Archive) -> int:
    """Count the archived documents."""
    with archive.database.transaction() as connection:
        return catalogue.count_by_state(connection).get("ARCHIVED", 0)


def _not_a_beginning(connection: Connection, head: int, chain: bytes) -> str:
    """Say what is wrong unless the restored journal is the beginning of the living one."""
    row = connection.execute("SELECT chain FROM journal_event WHERE seq = %s", (head,)).fetchone()
    if head and (row is None or bytes(row["chain"]) != chain):
        return f"The restored journal of {head} entries is not the beginning of the living one."
    return ""


def _lacking(connection: Connection, present: int, at: datetime) -> tuple[int, int]:
    """Count the entries after `present`, the last row of the restore, and those that should have been in the log.

    By rows and not by seq: an entry that was written long ago may have been numbered a moment ago.
    """
    row = connection.execute(
        "SELECT count(*) AS lacks, count(*) FILTER (WHERE at < %s) AS behind FROM journal_event WHERE event_id > %s",
        (at - MAY_LACK, present),
    ).fetchone()
    return (int(row["lacks"]), int(row["behind"])) if row else (0, 0)


def _bad_documents(restored: Archive, count: int) -> Iterator[str]:
    """Name those of some random documents whose seal or copies are not what the restored catalogue says."""
    with restored.database.transaction() as connection:
        rows = connection.execute(
            "SELECT archive_id FROM deposit WHERE state = 'ARCHIVED' ORDER BY random() LIMIT %s", (count,)
        ).fetchall()
    for row in rows:
        archive_id = str(row["archive_id"])
        with restored.database.transaction() as connection:
            deposit = catalogue.get(connection, archive_id)
            items, copies = catalogue.objects(connection, archive_id), catalogue.copies(connection, archive_id)
        try:
            require_sealed(restored, deposit)
        except MinutierError as error:
            yield f"{archive_id}: {error.code}"
            continue
        found = {each.outcome for each in (examine(restored, items[copy.role], copy) for copy in copies)}
        if found != {"good"}:
            yield f"{archive_id}: {', '.join(sorted(found - {'good'})) or 'no copy'}"
