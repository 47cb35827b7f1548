"""Backups of the embedded PostgreSQL: whole copies beside the archived log, seven days of them, and copies elsewhere.

With a base backup and the log since, the cluster comes back as it was up to a minute ago (infra/restore.md). The
engine behind it is PostgreSQL's own: pg_basebackup, pg_archivecleanup.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from minutier.errors import ServiceUnavailableError
from minutier.events import format_time
from storage.files import sync_directory, write_durably
from storage.keys import encrypt_file
from storage.settings import Settings
from tasks.postgres_programs import BACKUP_ROLE, Places, embedded_port, run

KEPT = timedelta(days=7)
_NOTE = "backup.json"
_NAME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Backup:
    """A base backup: its directory, when it began, the first segment of the log that it needs, its size in bytes."""

    name: str
    started_at: datetime
    first_wal: str
    size: int


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a run did: the backup that it took, how many old ones it removed, how many files went elsewhere."""

    taken: Backup | None
    removed: tuple[str, ...]
    shipped: int

    def as_dict(self) -> dict[str, object]:
        """Give the report as JSON values."""
        taken = asdict(self.taken) | {"started_at": format_time(self.taken.started_at)} if self.taken else None
        return {"taken": taken, "removed": list(self.removed), "shipped": self.shipped}


def back_up(settings: Settings, now: datetime, *, base: bool = True) -> BackupReport | None:
    """Take a base backup unless `base` is false, remove what is older than a week, copy elsewhere what is new.

    None when the catalogue is in a server of your own, whose backups are yours. Raises ServiceUnavailableError
    (`DATABASE_DOWN`, `WAL_NOT_ARCHIVED`, `BACKUP_FAILED`, `DISK_FULL`): nothing older was removed then; or, once the
    backup here is made, `BACKUP_DIR_MISSING`.
    """
    port = embedded_port(settings)
    if port is None:
        return None
    require_archived(settings.database_url or "")
    places = Places(settings.home)
    taken = _take(places, port, now) if base else None
    removed = tuple(prune(places, now)) if base else ()
    return BackupReport(taken, removed, ship(settings, now))


def require_archived(url: str) -> None:
    """Raise ServiceUnavailableError (`WAL_NOT_ARCHIVED`) when the last try to archive a piece of the log failed.

    `DATABASE_DOWN` when the database does not answer.
    """
    query = (
        "SELECT last_failed_wal FROM pg_stat_archiver"
        " WHERE last_failed_time > coalesce(last_archived_time, '-infinity')"
    )
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            failed = connection.execute(query).fetchone()
    except psycopg.OperationalError as error:
        raise ServiceUnavailableError(
            "DATABASE_DOWN",
            f"The database does not answer ({str(error).splitlines()[0]}).",
            remedy="Start it (`minutier up`), then run the same command again.",
        ) from error
    if failed is not None:
        raise ServiceUnavailableError(
            "WAL_NOT_ARCHIVED",
            f"The log of the database is not archived: {failed[0]} could not be copied to postgres/archive/wal.",
            remedy="Read logs/postgresql.log in the home; make room, or correct the rights on postgres/archive.",
        )


def backups(places: Places) -> list[Backup]:
    """Give the whole base backups, the oldest first."""
    return [_read(note) for note in sorted(places.base.glob(f"[0-9]*/{_NOTE}"))]  # not those that are being taken


def newest(places: Places) -> Backup | None:
    """Give the last base backup, None when there is none."""
    return next(reversed(backups(places)), None)


def _take(places: Places, port: int, now: datetime) -> Backup:
    name = now.astimezone(UTC).strftime(_NAME)
    folder, aside = places.base / name, places.base / f".{name}.part"
    for left in places.base.glob(".*.part"):
        shutil.rmtree(left)
    url = places.url(port, BACKUP_ROLE, "")
    # -X stream: with the log written meanwhile, so that this copy comes back even alone.
    arguments = ["-d", url, "-D", str(aside), "-F", "t", "-z", "-X", "stream", "-c", "fast", "--no-password"]
    run(["pg_basebackup", *arguments], "BACKUP_FAILED", directory=places.base)
    size = sum(path.stat().st_size for path in aside.iterdir())
    note = {"started_at": format_time(now), "first_wal": _first_wal(aside / "base.tar.gz"), "size": size}
    write_durably(aside / _NOTE, json.dumps(note).encode())
    aside.replace(folder)
    sync_directory(places.base)
    return _read(folder / _NOTE)


def _first_wal(archive: Path) -> str:
    """Read in the label of a base backup where its log begins."""
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if member.name == "backup_label" and (stream := tar.extractfile(member)) is not None:
                return stream.readline().decode().partition("file ")[2].rstrip(")\n")
    raise RuntimeError(f"{archive} has no backup_label")


def _read(note: Path) -> Backup:
    value = json.loads(note.read_bytes())
    return Backup(note.parent.name, datetime.fromisoformat(value["started_at"]), value["first_wal"], value["size"])


def prune(places: Places, now: datetime) -> Iterator[str]:
    """Remove base backups that no point of the last seven days needs, and the log before the oldest that stays.

    The newest one that is older than a week stays: the first hours of the week begin with it. While a restore is
    rehearsed nothing is removed under it: the next night does.
    """
    with suppress(BlockingIOError), in_use(places, alone=True):
        yield from _prune(places, now)


@contextmanager
def in_use(places: Places, *, alone: bool = False) -> Iterator[None]:
    """Keep the backups as they are until the block ends, whatever ends it; BlockingIOError when others forbid it.

    Several may use them at once; one that means to remove some must be `alone`.
    """
    if not places.base.is_dir():
        yield
        return
    descriptor = os.open(places.base, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (fcntl.LOCK_NB if alone else 0))
        yield
    finally:
        os.close(descriptor)


def _prune(places: Places, now: datetime) -> Iterator[str]:
    every = backups(places)
    old = [each for each in every if now - each.started_at > KEPT][:-1]
    for each in old:
        shutil.rmtree(places.base / each.name)
        yield each.name
    if kept := every[len(old) :]:
        arguments = ["-x", ".gz", str(places.wal), kept[0].first_wal]
        run(["pg_archivecleanup", *arguments], "BACKUP_FAILED", directory=places.wal)


def ship(settings: Settings, now: datetime) -> int:
    """Copy to `backup_dir` what is not there yet, encrypted to `backup_recipient`; gives how many files.

    Each cluster has a directory of its own there, named by its system identifier: files of two clusters have the same
    names. What is no longer kept here is removed there a week after it was written, and never while there is no base
    backup here: a home that was lost and made anew must not empty the place that its backups are in.
    Raises ServiceUnavailableError (`BACKUP_DIR_MISSING`) when the directory is not there: a disk that is not mounted.
    """
    places, target, recipient = Places(settings.home), settings.backup_dir, settings.backup_recipient
    if target is None or recipient is None:
        return 0
    if not target.is_dir():
        raise ServiceUnavailableError(
            "BACKUP_DIR_MISSING",
            f"There is no directory {target}: no backup was copied elsewhere.",
            remedy="Mount its disk, or make it, or correct backup_dir in the settings.",
        )
    source = places.wal.parent
    paths = sorted(path for path in (*places.wal.glob("*.gz"), *places.base.glob("[0-9]*/*")) if path.is_file())
    there = target / _cluster_id(places) if paths else target
    wanted = {there / f"{path.relative_to(source)}.age": path for path in paths}
    shipped = 0
    for copy, path in wanted.items():
        if not copy.exists():
            encrypt_file(path, copy, recipient)
            shipped += 1
    if newest(places) is not None:
        _remove_old(target, wanted.keys(), now - KEPT)
    return shipped


def _cluster_id(places: Places) -> str:
    """Give the system identifier of the cluster: the first field of its control file (PostgreSQL, pg_control.h)."""
    with (places.cluster / "global" / "pg_control").open("rb") as stream:
        return str(int.from_bytes(stream.read(8), sys.byteorder))


def _remove_old(target: Path, wanted: Collection[Path], before: datetime) -> None:
    for copy in [*target.glob("[0-9]*/wal/*"), *target.glob("[0-9]*/base/*/*")]:
        if copy not in wanted and copy.stat().st_mtime < before.timestamp():
            copy.unlink()
    for folder in target.glob("[0-9]*/base/*"):
        if not any(folder.iterdir()):
            folder.rmdir()
