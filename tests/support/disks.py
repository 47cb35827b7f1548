"""Disks on a bad day, played by the kernel itself."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let this process write no file beyond `size` bytes: a write is cut short there, and the next one refused.

    Python ignores SIGXFSZ, so the refusal is an OSError (EFBIG).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def no_mounts() -> str | None:
    """Say why this process may mount no file system, None when it may."""
    if os.geteuid() != 0:
        return "only root mounts file systems"
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True
    )
    return None if tried.returncode == 0 else f"no file system may be mounted here: {tried.stderr.decode().strip()}"


@dataclass(frozen=True)
class SmallDisk:
    """A disk of a few megabytes, and what fills it up."""

    path: Path

    @property
    def _filler(self) -> Path:
        return self.path / ".filler"

    def leave(self, room: int) -> None:
        """Fill it until `room` bytes are free, whole pages."""
        self.free()
        found = os.statvfs(self.path)
        with self._filler.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(1, found.f_bavail * found.f_frsize - room))

    def free(self) -> None:
        """Give back the room that was taken."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[SmallDisk]:
    """Mount an empty disk of `size` bytes on a directory, made where it is missing."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "minutier-small", path], check=True)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
