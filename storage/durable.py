"""Write a file so that it survives power loss: aside, fsync, read back, rename, fsync of the directory.

Leaving out any of these loses files on real disks (docs/operations.md): fsync alone loses the name, a synced directory
alone keeps an empty file, and a short `write` taken for a whole one truncates a document when the disk is full.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from pathlib import Path
from typing import BinaryIO

from minutier.errors import ServiceUnavailableError

_BUFFER = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT}


def copy_durably(source: BinaryIO, target: Path, aside: Path, *, mode: int = 0o444) -> int:
    """Copy a stream to `target` and give its size in bytes; when this returns, the file survives power loss.

    `aside` is a directory of the same file system, where the file is written under a temporary name. On any failure
    the temporary file is removed and `target` is not there, unless only the last fsync of its directory failed.
    `ServiceUnavailableError`: code DISK_FULL, DISK_FAILED, or DISK_ALTERED when the bytes read back are not those
    written. An existing `target` would be replaced: give a name that is new.
    """
    temporary = aside / f"{uuid.uuid4().hex}.part"
    try:
        digest, size = _write(source, temporary, mode)
        if _digest(temporary) != digest:
            raise ServiceUnavailableError(
                "DISK_ALTERED",
                f"The disk under {target.parent} gave back other bytes than it was given.",
                remedy="Stop using this disk and check it; nothing was recorded from this write.",
            )
        temporary.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise disk_error(error, target.parent) from error
    finally:
        temporary.unlink(missing_ok=True)
    return size


def make_directories(folder: Path) -> None:
    """Create `folder` and its missing parents, each one made durable in its own parent; OSError as mkdir gives it."""
    if folder.is_dir():
        return
    make_directories(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_directory(folder.parent)


def sync_directory(folder: Path) -> None:
    """Make the names in `folder` durable; OSError when the disk refuses."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
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
            remedy="Free space or enlarge the disk; nothing partial was kept.",
        )
    return ServiceUnavailableError(
        "DISK_FAILED",
        f"The disk under {where} failed: {error.strerror or error}.",
        remedy="Check that the disk is mounted, healthy and writable for this user, then try again.",
    )


def _write(source: BinaryIO, temporary: Path, mode: int) -> tuple[bytes, int]:
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while piece := source.read(_BUFFER):
            digest.update(piece)
            size += len(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        # Without the pages in memory, the read-back comes from the disk.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return digest.digest(), size


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
