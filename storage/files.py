"""Durable files: written aside, flushed, read back where asked, renamed, and the directory flushed too.

Only fsync + rename + fsync of the directory survives a power loss: fsync alone loses the name, a flushed directory
alone keeps an empty file, and a short `write` taken for a whole one truncates a document when the disk is full
(docs/operations.md). Every file that the archive rests on is written through this module.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from minutier.errors import ServiceUnavailableError
from storage.seam import crossing

PART = ".part"
"""The end of the name of a file being written; what a killed writer left behind has it."""
NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO})
"""Nothing of this name, or what is no file: a directory, a pipe, a socket, a link that goes round."""
_BUFFER = 1 << 20
_REMEMBERED = 10_000
_durable: set[tuple[str, int]] = set()
"""Directories, by name and inode, that this process knows to be durable in their parents."""
# EFBIG: the limit of the process or of the file system, which says the same to a person as a full disk.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def durable_writer(
    path: Path,
    *,
    mode: int = 0o600,
    aside: Path | None = None,
    check: Callable[[Path], None] | None = None,
    durable: bool = True,
) -> Iterator[BinaryIO]:
    """Write `path` through a file that takes its place only when complete and flushed; removed on any failure.

    That file is made in `aside` (a directory of the same file system), beside `path` without it. `check` looks at
    the complete file before it takes the name; what it raises keeps the name from being taken. Missing directories
    are made, the last one for this user alone. `mode` is narrowed by the umask of the process. A file that can be made
    again need not be `durable`: it is whole where it is there, but a power loss may take it.

    `ServiceUnavailableError`, code DISK_FULL, when there is no room; any other OSError passes as it is, for it may be
    about what the block reads. `path` is as it was before, unless only the last fsync of its directory failed.
    """
    written = (aside or path.parent) / f".{uuid.uuid4().hex}{PART}"
    try:
        with crossing("files", "write", _named(path)):
            make_directories(path.parent, mode=0o700)
            with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as stream:
                yield stream
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
                    # Without the pages in memory, whoever reads the file next reads the disk.
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if check is not None:
                check(written)
        if durable:
            move(written, path)
        else:
            written.replace(path)
    except OSError as error:
        if error.errno in _FULL:
            raise disk_error(error, path.parent) from error
        raise
    finally:
        if written.exists():
            remove(written)


def publish(written: Path, path: Path) -> None:
    """Give a complete file its name, durably: flushed, renamed on the same file system, the directory flushed too."""
    with written.open("rb") as stream:
        os.fsync(stream.fileno())
    move(written, path)


def move(source: Path, target: Path) -> None:
    """Give a file or folder another name on the same file system, durably; OSError when the disk refuses."""
    with crossing("files", "move", _named(target)):
        source.replace(target)
        sync_directory(target.parent)


def open_file(path: str) -> int:
    """Open a file to read it, without waiting for a pipe; an OSError whose errno is in `NO_FILE` for what is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise IsADirectoryError(errno.EISDIR, "not a file", path)


def remove(path: Path) -> None:
    """Take a file, or a folder with all that is in it, away; nothing to do when it is not there."""
    with crossing("files", "remove", _named(path)):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a small file so that it is either whole and durable, or as it was before; errors as `durable_writer`."""
    with durable_writer(path, mode=mode) as stream:
        stream.write(data)


def copy_durably(source: BinaryIO, target: Path, aside: Path, *, mode: int = 0o444) -> int:
    """Copy a stream to `target`, read it back from the disk, and give its size in bytes.

    Errors as `durable_writer`, and DISK_ALTERED when the bytes read back are not those written: `target` is not made
    then. An existing `target` would be replaced: give a name that is new.
    """
    digest, size = hashlib.sha256(), 0

    def read_back(written: Path) -> None:
        if _digest(written) != digest.digest():
            raise ServiceUnavailableError(
                "DISK_ALTERED",
                f"The disk under {target.parent} gave back other bytes than it was given.",
                remedy="Stop using this disk and check it; nothing was recorded from this write.",
            )

    with durable_writer(target, mode=mode, aside=aside, check=read_back) as stream:
        while piece := source.read(_BUFFER):
            digest.update(piece)
            size += len(piece)
            stream.write(piece)
    return size


def make_directories(folder: Path, *, mode: int = 0o777) -> None:
    """Create `folder` (with `mode`, narrowed by the umask) and its missing parents, each durable in its own parent.

    One that is there is made durable too, once in a process: who made it may have died between the two. OSError as
    mkdir gives it.
    """
    if folder.is_dir():
        if _seen(folder) in _durable or folder.parent.stat().st_dev != folder.stat().st_dev or folder == folder.parent:
            return
        make_directories(folder.parent)
        # A directory that this user may not read is not one in which this archive made anything.
        with suppress(PermissionError):
            sync_directory(folder.parent)
    else:
        make_directories(folder.parent)
        folder.mkdir(mode=mode, exist_ok=True)
        sync_directory(folder.parent)
    if len(_durable) >= _REMEMBERED:
        _durable.clear()
    _durable.add(_seen(folder))


def settle(path: Path) -> None:
    """Make the name of a file that is there durable: who gave it that name may have died before it was."""
    make_directories(path.parent)
    sync_directory(path.parent)


def _seen(folder: Path) -> tuple[str, int]:
    return str(folder), folder.stat().st_ino


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable; OSError when the disk refuses."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(error: OSError, where: Path) -> ServiceUnavailableError:
    """Say what a disk did: code DISK_FULL, or DISK_FAILED with the system's own words."""
    if error.errno in _FULL:
        return ServiceUnavailableError(
            "DISK_FULL",
            f"No room is left under {where}.",
            remedy="Nothing is lost and nothing partial was kept. Free some space, then run the same command again.",
        )
    return ServiceUnavailableError(
        "DISK_FAILED",
        f"The disk under {where} failed: {error.strerror or error}.",
        remedy="Check that the disk is mounted, healthy and writable for this user, then try again.",
    )


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
