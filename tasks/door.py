"""The door of a feed: which batches wait there, and which may be taken now. A closed file is not a complete file."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minutier.errors import BadInputError
from storage.archive import Archive
from storage.safes import check_safe_name
from tasks import seda
from tasks.bordereau import ABSENT, MANIFEST, Batch, Row, bad_manifest, file_state, read_batch

# A batch with a file absent or short may still be on its way: it is left alone until nothing moved for this long.
QUIET_SECONDS = 30.0
BARE_SECONDS = 600.0
"""As long for a folder without manifest: nothing says which files it should have, and one may come late."""
# Refusals of what lay in the folder and not of the document announced: another state of the file may be the right one.
MAY_STILL_COME = frozenset(("FILE_MISSING", "NOT_READABLE", "DIGEST_MISMATCH"))
# A disk of its own has this folder at its root, and nobody but root may look into it.
_NOT_A_BATCH = "lost+found"
_READERS: dict[str, Callable[[Path], Batch]] = {
    MANIFEST: read_batch,
    seda.MANIFEST: seda.read_sip,
    seda.TABLE: seda.read_table,
}
"""Kinds of manifest, the first that a folder has counts."""


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
            batch = _read(folder, bare=feed in archive.settings.bare_feeds)
            if batch is not None and not is_taken(archive, feed, batch):
                batches.append((batch, 0.0 if _complete(batch) else _until_quiet(batch)))
        except BadInputError as error:
            unreadable.append(error)
        except OSError as error:
            unreadable.append(bad_manifest(folder, error.strerror or "it cannot be opened"))
        except ValueError:
            unreadable.append(bad_manifest(folder, "it has values that cannot be used"))
    return batches, unreadable


def _read(entry: Path, *, bare: bool) -> Batch | None:
    """Read what lies at a door by the manifest that it has; None for what is no batch, or not yet."""
    if entry.suffix.lower() == ".zip" and entry.is_file():
        return seda.read_package(entry) if seda.is_whole(entry) else None
    for name, reader in _READERS.items():
        if (entry / name).is_file():
            return reader(entry)
    return seda.read_bare(entry) if bare and entry.is_dir() and any(entry.iterdir()) else None


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
    rows_of = {line.number: line.row for line in batch.lines if line.row is not None}

    def state(number: int) -> str:
        return batch.state(rows_of[number]) if number in rows_of else ABSENT

    return any(row["bordereau"] == batch_key(batch.manifest_sha256, row["report"]["lines"], state) for row in rows)


def batch_key(manifest_sha256: str, lines: list[dict[str, Any]], state: Callable[[int], str]) -> str:
    """Give the name under which a batch is remembered: its manifest and the state of each file that may still come.

    The files of the other lines are not in it: the depositor may tidy away what has its answer.
    """
    waited_for = [f"{line['ligne']} {state(line['ligne'])}" for line in lines if line["motif"] in MAY_STILL_COME]
    if not waited_for:
        return manifest_sha256
    digest = hashlib.sha256("\n".join(waited_for).encode()).hexdigest()
    return f"{manifest_sha256}+{digest}"


def _rows(batch: Batch) -> list[Row]:
    return [line.row for line in batch.lines if line.row is not None]


def _complete(batch: Batch) -> bool:
    if batch.package is not None:
        return True  # its directory is written last, and was read
    return batch.announced and all(
        file_state(batch.file(row)).partition(" ")[0] == str(row.taille) for row in _rows(batch)
    )


def _until_quiet(batch: Batch) -> float:
    """Give the seconds until nothing in a batch will have moved for a while: zero or less when it is quiet.

    A copy may keep the date of its source; its change time says when it came.
    """
    now, places = time.time(), (batch.folder, batch.folder / batch.manifest)
    moments = [(found.st_mtime, found.st_ctime) for found in (place.stat() for place in places)]
    for row in _rows(batch):
        state = file_state(batch.file(row))
        if state != ABSENT:
            _, dated, changed = (int(each) for each in state.split())
            moments.append((dated / 1e9, changed / 1e9))
    # A date well ahead of the clock was kept from elsewhere: waiting for it would be waiting for ever.
    newest = max(max(changed, dated if dated <= now + QUIET_SECONDS else 0.0) for dated, changed in moments)
    return newest + (QUIET_SECONDS if batch.manifest.name else BARE_SECONDS) - now
