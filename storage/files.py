"""Durable files: written aside, complete, flushed, renamed, and the directory flushed too.

Only fsync + rename + fsync of the directory survives a power loss (research measured the three alone: each fails).
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from minutier.errors import ServiceUnavailableError


@contextmanager
def durable_writer(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Write `path` through a file beside it that takes its place only when complete; removed on any failure.

    A full disk gives ServiceUnavailableError (code `DISK_FULL`).
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise disk_full(path) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a small file so that it is either whole and durable, or absent."""
    with durable_writer(path, mode=mode) as stream:
        stream.write(data)


def sync_directory(directory: Path) -> None:
    """Flush a directory's names to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_full(path: Path) -> ServiceUnavailableError:
    """Give the error that says which place is full."""
    return ServiceUnavailableError(
        "DISK_FULL",
        f"No space is left to write in {path.parent}.",
        remedy="Nothing is lost. Free some space and run the same command again.",
    )
