"""A WORM directory: the stand-in that lets a newcomer run the archive without a server.

It keeps the port's promises against mistakes of programs: versions are never replaced, locks only grow. It has NO
defence against whoever may write to the disk: root, or the same user, can alter or remove anything. Mode 0444 stops
accidents, not people. It has no legal value; use a store with Object Lock to archive for real.

Layout: `root/store.json` names the format; `root/<key>/<version_id>.bin` holds the bytes; `<version_id>.lock.json`
beside it holds the lock, and is there before the bytes are. `root/.aside/` holds files being written. A version whose
lock file is missing or unreadable counts as not locked when read, and as not deletable.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from minutier.canonical import decode, encode
from minutier.errors import BadInputError, ServiceUnavailableError
from storage import seam
from storage.files import NO_FILE, PART, copy_durably, disk_error, make_directories, open_file, settle, sync_directory
from storage.ports import NOTHING_SET, LockState, ObjectVersion, StoreSettings
from storage.worm import (
    check_deletable,
    check_future,
    check_key,
    check_not_shorter,
    check_prefix,
    refusal,
    stamp,
    whole_second,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MARKER = "store.json"
_MARKER_BYTES = encode({"format": "minutier-directory-store/1"})
_ASIDE = ".aside"
_BUFFER = 1 << 17
_LOCK_BYTES = 1 << 12
_LEFTOVER_SECONDS = 24 * 3600.0
# Nanoseconds since 1970 in 20 digits sort by time; 64 random bits keep two writers apart.
_VERSION = re.compile(r"([0-9]{20})-[0-9a-f]{16}\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@seam.store
class DirectoryStore:
    """`ObjectStore` in a directory. See the module for what it does not protect from.

    `create` makes an empty store where there is none. Without it, a directory that is not a store (a disk that is not
    mounted, a wrong path) is `ServiceUnavailableError` STORE_MISSING at every call, never an empty archive.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        create: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self.root = root.absolute()
        self._top, self._marker = str(self.root), str(self.root / _MARKER)
        self._clock = clock
        if create:
            self._create()
        self._remove_leftovers()

    def put(self, key: str, source: Path, retain_until: datetime) -> ObjectVersion:
        """See the port. OSError when the source cannot be read; DISK_FULL leaves nothing behind."""
        folder = self.root / check_key(key)
        until = whole_second(retain_until)
        check_future(self.name, until, self._clock())
        with source.open("rb") as stream, self._disk():
            make_directories(folder)
            with _exclusive(folder):
                version_id = self._new_version_id(folder)
                self._write_lock(folder, version_id, until, legal_hold=False)
                try:
                    size = copy_durably(stream, folder / f"{version_id}.bin", self.root / _ASIDE)
                except (ServiceUnavailableError, OSError):
                    if not (folder / f"{version_id}.bin").exists():
                        (folder / f"{version_id}.lock.json").unlink(missing_ok=True)
                    raise
        return ObjectVersion(key, version_id, size, _written_at(version_id))

    def versions(self, key: str) -> list[ObjectVersion]:
        """See the port."""
        check_key(key)
        with self._disk():
            return self._versions(key)

    def list_objects(self, prefix: str) -> Iterator[ObjectVersion]:
        """See the port. One directory at a time is held in memory."""
        check_prefix(prefix)
        with self._disk():
            return self._walk(prefix)

    def open(self, key: str, version_id: str, *, offset: int = 0, length: int = 0) -> AbstractContextManager[BinaryIO]:
        """See the port. The stream cannot seek."""
        path = self._spot(key, version_id)
        self._require()
        try:
            stream = io.BufferedReader(_Bytes(path, self.root, offset, length), _BUFFER)
        except OSError as error:
            if error.errno in NO_FILE:
                raise self._absent(key, version_id) from None
            raise disk_error(error, self.root) from error
        try:
            # The first bytes are asked for here: a decoder of age files calls a header that it cannot read altered.
            stream.peek()
        except ServiceUnavailableError:
            stream.close()
            raise
        return stream

    def lock_state(self, key: str, version_id: str) -> LockState:
        """See the port."""
        path = self._find(key, version_id)
        try:
            lock = _read_lock(path)
        except OSError as error:
            raise disk_error(error, self.root) from error
        return lock or LockState(None, legal_hold=False)

    def extend_lock(self, key: str, version_id: str, retain_until: datetime, *, legal_hold: bool) -> None:
        """See the port."""
        path = self._find(key, version_id)
        with self._disk(), _exclusive(path.parent):
            current, until = _read_lock(path) or LockState(None, legal_hold=False), whole_second(retain_until)
            check_not_shorter(self.name, f"shorten the lock of {key}", current, until)
            if until != current.retain_until:
                check_future(self.name, until, self._clock())
            if LockState(until, legal_hold) != current:
                self._write_lock(path.parent, version_id, until, legal_hold=legal_hold)
            else:
                settle(path)

    def delete_version(self, key: str, version_id: str) -> None:
        """See the port. A version without a readable lock is refused: nothing shows that its lock has ended."""
        path = self._find(key, version_id)
        with self._disk(), _exclusive(path.parent):
            current = _read_lock(path)
            if current is None:
                raise refusal(self.name, f"delete a version of {key}", "its lock file cannot be read")
            check_deletable(self.name, key, current, self._clock())
            path.unlink()
            path.with_name(f"{version_id}.lock.json").unlink()
            sync_directory(path.parent)

    def suspend_versioning(self) -> None:
        """See the port: always refused, a directory store has no such switch."""
        raise refusal(self.name, "suspend versioning", "every write is a new version")

    def shorten_lock(self, key: str, version_id: str, retain_until: datetime) -> None:
        """See the port: the same door as `extend_lock`, which never shortens."""
        current = self.lock_state(key, version_id)
        self.extend_lock(key, version_id, retain_until, legal_hold=current.legal_hold)

    def downgrade_lock(self, key: str, version_id: str) -> None:
        """See the port: always refused, there is one kind of lock."""
        self._find(key, version_id)
        raise refusal(self.name, f"weaken the lock of {key}", "there is no weaker lock")

    def delete_with_bypass(self, key: str, version_id: str) -> None:
        """See the port: the same door as `delete_version`, nothing passes by a lock."""
        self.delete_version(key, version_id)

    def clock(self) -> datetime:
        """Give the time of this machine."""
        return self._clock()

    def list_markers(self, prefix: str) -> Iterator[ObjectVersion]:
        """See the port: there are none."""
        check_prefix(prefix)
        return iter(())

    def settings(self) -> StoreSettings:
        """See the port: nothing can be set."""
        with self._disk():
            return NOTHING_SET

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Check that the store is there, then say an OSError in the words of the port."""
        self._require()
        try:
            yield
        except OSError as error:
            raise disk_error(error, self.root) from error

    def _require(self) -> None:
        if not os.path.isfile(self._marker):  # noqa: PTH113 - no path is made
            raise ServiceUnavailableError(
                "STORE_MISSING",
                f"The store {self.name} is not at {self.root}.",
                remedy="Check that its disk is mounted and that the path is right.",
            )

    def _create(self) -> None:
        marker = self.root / _MARKER
        try:
            make_directories(self.root)
            if marker.exists():
                return
            if any(entry.name != _ASIDE for entry in self.root.iterdir()):
                raise BadInputError(
                    "STORE_NOT_EMPTY",
                    f"{self.root} holds other files: no store is made in it.",
                    remedy="Give a new or empty directory.",
                )
            make_directories(self.root / _ASIDE)
            copy_durably(io.BytesIO(_MARKER_BYTES), marker, self.root / _ASIDE)
        except OSError as error:
            raise disk_error(error, self.root) from error

    def _remove_leftovers(self) -> None:
        """Remove what a killed process left aside a day ago or more, lest it keep the disk full."""
        for path in (self.root / _ASIDE).glob(f"*{PART}"):
            try:
                if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                    path.unlink()
            except FileNotFoundError:  # its writer has just finished, or another process cleaned first
                continue

    def _new_version_id(self, folder: Path) -> str:
        nanoseconds = round((self._clock() - _EPOCH) / timedelta(microseconds=1)) * 1000
        newest = max((int(name[:20]) for name in _version_ids(folder)), default=0)
        return f"{max(nanoseconds, newest + 1000):020d}-{secrets.token_hex(8)}"

    def _spot(self, key: str, version_id: str) -> str:
        """Give where the bytes of a version are, or would be; KeyError for what is no version of this store."""
        check_key(key)
        if _VERSION.match(version_id) is None:
            raise self._absent(key, version_id)
        # A text: half the time of a sweep over small copies would go into making paths.
        return f"{self._top}/{key}/{version_id}.bin"

    def _find(self, key: str, version_id: str) -> Path:
        path = self._spot(key, version_id)
        self._require()
        try:
            there = stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - no path is made
        except OSError as error:
            if error.errno not in NO_FILE:
                raise disk_error(error, self.root) from error
            there = False
        if not there:
            raise self._absent(key, version_id)
        return Path(path)

    def _absent(self, key: str, version_id: str) -> KeyError:
        return KeyError(f"{self.name}: no version {version_id} of {key}")

    def _versions(self, key: str) -> list[ObjectVersion]:
        _, found = _scan(f"{self.root}/{key}")
        return [ObjectVersion(key, each, size, _written_at(each)) for each, size in sorted(found, reverse=True)]

    def _walk(self, prefix: str) -> Iterator[ObjectVersion]:
        with self._disk():
            names, _ = _scan(str(self.root))
            yield from self._below("", names, prefix)

    def _below(self, parent: str, names: list[str], prefix: str) -> Iterator[ObjectVersion]:
        """Walk keys in the order of their characters, as S3 lists them: `a`, `a-b`, `a/b`; each directory once."""
        folders: dict[str, list[str]] = {}
        for label in sorted([*names, *(f"{name}/" for name in names)]):
            path = parent + label
            if not label.endswith("/"):
                if path.startswith(prefix) or prefix.startswith(f"{path}/"):
                    folders[label], found = _scan(f"{self.root}/{path}")
                    if path.startswith(prefix):
                        for each, size in sorted(found, reverse=True):
                            yield ObjectVersion(path, each, size, _written_at(each))
            elif below := folders.pop(label[:-1], []):
                yield from self._below(path, below, prefix)

    def _write_lock(self, folder: Path, version_id: str, until: datetime, *, legal_hold: bool) -> None:
        record = {
            "format": "minutier-lock/1",
            "mode": "COMPLIANCE",
            "retain_until": stamp(until),
            "legal_hold": "ON" if legal_hold else "OFF",
        }
        copy_durably(io.BytesIO(encode(record)), folder / f"{version_id}.lock.json", self.root / _ASIDE)


def _read_lock(path: Path) -> LockState | None:
    """Read the lock beside the bytes at `path`; None when it is missing or is not what this store writes."""
    try:
        descriptor = open_file(f"{str(path)[:-4]}.lock.json")
    except OSError as error:
        if error.errno in NO_FILE:
            return None
        raise
    try:
        return _lock(os.read(descriptor, _LOCK_BYTES))
    except (ValueError, KeyError, TypeError):
        return None
    finally:
        os.close(descriptor)


@lru_cache(maxsize=4096)
def _lock(data: bytes) -> LockState | None:
    # The locks of what was archived the same day are the same bytes.
    record = decode(data)
    if record["format"] != "minutier-lock/1" or record["mode"] != "COMPLIANCE":
        return None
    until = datetime.fromisoformat(record["retain_until"]).astimezone(UTC)
    return LockState(until, legal_hold=record["legal_hold"] != "OFF")


class _Bytes(io.RawIOBase):
    """The bytes of one file, read in order; a disk that fails under them is said in the words of the port."""

    def __init__(self, path: str, root: Path, offset: int = 0, length: int = 0) -> None:
        super().__init__()
        self._root = root
        self._left = length or None
        self._descriptor = open_file(path)
        if offset:
            os.lseek(self._descriptor, offset, os.SEEK_SET)

    def readable(self) -> bool:
        """Say that it can be read; it can do nothing else."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer, or give what is left of the file; gives how many bytes came."""
        room, done = memoryview(buffer).cast("B"), 0
        if self._left is not None:
            room = room[: self._left]
        try:
            while done < len(room) and (count := os.readv(self._descriptor, [room[done:]])):
                done += count
        except OSError as error:
            raise disk_error(error, self._root) from error
        if self._left is not None:
            self._left -= done
        return done

    def close(self) -> None:
        """Close the file, once."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold the writers' lock of one key, across threads and processes of this machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _version_ids(folder: Path) -> list[str]:
    """Give the version ids in one key's directory, in no order; empty when there is no such directory."""
    return [version_id for version_id, _ in _scan(str(folder))[1]]


def _scan(folder: str) -> tuple[list[str], list[tuple[str, int]]]:
    """Give the directories in a directory, and the versions in it with their sizes; none when there is none."""
    names: list[str] = []
    found: list[tuple[str, int]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.name.endswith(".bin") and _VERSION.match(entry.name[:-4]) and entry.is_file():
                        found.append((entry.name[:-4], entry.stat().st_size))
                    elif not entry.name.startswith(".") and entry.is_dir():
                        names.append(entry.name)
                except OSError as error:
                    if error.errno not in NO_FILE:  # deleted while the list was made, or a link that goes round
                        raise
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    return names, found


def _written_at(version_id: str) -> datetime:
    return _EPOCH + timedelta(microseconds=int(version_id[:20]) // 1000)
