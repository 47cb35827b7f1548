"""A disk whose power is cut: a FUSE file system in memory that forgets what was not flushed.

Strict as POSIX allows: `fsync` of a file keeps its bytes, `fsync` of a directory keeps its names, and nothing else
keeps anything. A file that moved may come back under both names or under none. With `names` a cut
keeps every name and forgets bytes alone, as a file system does whose journal was just written.

A flush counts from `arm` on. At the one chosen, before or after it is done, who asked for it is killed with
SIGKILL, and the power is cut or not.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FUSE_DEVICE = Path("/dev/fuse")
START_SECONDS = 30.0
CONTROL = "user.power"
_numbers = itertools.count(1)


def missing() -> str | None:
    """Say what this machine lacks to run such a disk, None when it has all."""
    if not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        return f"{FUSE_DEVICE} is absent or closed to this user: no disk whose power can be cut"
    try:
        import mfusepy  # noqa: F401 - it looks for libfuse when imported
    except (ImportError, OSError) as error:
        return f"libfuse cannot be used ({error}): run infra/bootstrap.sh test"
    return None


@dataclass
class Node:
    """A file or a directory: what programs see, and what is on the disk."""

    mode: int
    number: int = field(default_factory=lambda: next(_numbers))
    names: dict[str, Node] = field(default_factory=dict)
    flushed_names: dict[str, Node] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    flushed_data: bytes = b""
    times: tuple[int, int] = field(default_factory=lambda: (time.time_ns(), time.time_ns()))

    def flush(self) -> None:
        """Put it on the disk."""
        self.flushed_names, self.flushed_data = dict(self.names), bytes(self.data)

    def settle(self) -> None:
        """Put it on the disk with all that is in it."""
        self.flush()
        for node in self.names.values():
            node.settle()

    def forget(self, *, names: bool) -> None:
        """Be what the disk says; with `names` the directories are as they were seen last."""
        self.names = dict(self.names if names else self.flushed_names)
        self.data = bytearray(self.flushed_data)
        self.flush()
        for node in self.names.values():
            node.forget(names=names)


class PowerCutFiles:
    """The file system, in the calls of mfusepy; every error is an OSError with the kernel's number."""

    use_ns = True

    def __init__(self) -> None:
        self.root = Node(stat.S_IFDIR | 0o755)
        self.root.number = 1
        self._open: dict[int, Node] = {}
        self._handles = itertools.count(1)
        self._flushes, self._at, self._moment, self._act = 0, -1, "", ""

    def _find(self, path: str) -> Node:
        node = self.root
        for name in filter(None, path.split("/")):
            if name not in node.names:
                raise OSError(errno.ENOENT, path)
            node = node.names[name]
        return node

    def _parent(self, path: str) -> tuple[Node, str]:
        parent, _, name = path.rpartition("/")
        return self._find(parent), name

    def _node(self, path: str, handle: int | None) -> Node:
        return self._open[handle] if handle in self._open else self._find(path)

    def _handle(self, node: Node) -> int:
        handle = next(self._handles)
        self._open[handle] = node
        return handle

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        node = self._node(path, fh)
        return {
            "st_ino": node.number,
            "st_mode": node.mode,
            "st_nlink": 2 if stat.S_ISDIR(node.mode) else 1,
            "st_size": len(node.data),
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
            "st_atime": node.times[0],
            "st_mtime": node.times[1],
            "st_ctime": node.times[1],
        }

    def access(self, path: str, amode: int) -> int:
        self._find(path)
        return 0

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:
        node = self._node(path, fh)
        named = {".": node, "..": node, **node.names}
        return [(name, {"st_mode": each.mode, "st_ino": each.number}, 0) for name, each in named.items()]

    def opendir(self, path: str) -> int:
        return self._handle(self._find(path))

    def open(self, path: str, flags: int) -> int:
        node = self._find(path)
        if flags & os.O_TRUNC:
            node.data = bytearray()
        return self._handle(node)

    def create(self, path: str, mode: int, fi: object = None) -> int:
        parent, name = self._parent(path)
        parent.names[name] = Node(stat.S_IFREG | mode & 0o7777)
        return self._handle(parent.names[name])

    def mkdir(self, path: str, mode: int) -> int:
        parent, name = self._parent(path)
        if name in parent.names:
            raise OSError(errno.EEXIST, path)
        parent.names[name] = Node(stat.S_IFDIR | mode & 0o7777)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._node(path, fh).data[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        node = self._node(path, fh)
        if offset > len(node.data):
            node.data.extend(bytes(offset - len(node.data)))
        node.data[offset : offset + len(data)] = data
        node.times = (node.times[0], time.time_ns())
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        node = self._node(path, fh)
        node.data = node.data[:length].ljust(length, b"\0")
        return 0

    def unlink(self, path: str) -> int:
        parent, name = self._parent(path)
        self._find(path)
        del parent.names[name]
        return 0

    def rmdir(self, path: str) -> int:
        if self._find(path).names:
            raise OSError(errno.ENOTEMPTY, path)
        return self.unlink(path)

    def rename(self, old: str, new: str) -> int:
        source, target = self._parent(old), self._parent(new)
        moved = self._find(old)
        there = target[0].names.get(target[1])
        if there is not None and there.names:
            raise OSError(errno.ENOTEMPTY, new)
        target[0].names[target[1]] = moved
        del source[0].names[source[1]]
        return 0

    def chmod(self, path: str, mode: int) -> int:
        node = self._find(path)
        node.mode = stat.S_IFMT(node.mode) | mode & 0o7777
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        now = time.time_ns()
        self._find(path).times = times or (now, now)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        return self._flush(self._node(path, fh))

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        return self._flush(self._node(path, fh))

    def release(self, path: str, fh: int) -> int:
        self._open.pop(fh, None)
        return 0

    releasedir = release

    def _flush(self, node: Node) -> int:
        number, self._flushes = self._flushes, self._flushes + 1
        if number != self._at:
            node.flush()
            return 0
        from mfusepy import fuse_get_context

        if self._moment == "after":
            node.flush()
        os.kill(fuse_get_context()[2], signal.SIGKILL)
        self._cut(self._act)
        return 0

    def _cut(self, act: str) -> None:
        if act != "kill":
            self.root.forget(names=act == "names")

    def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
        """Hear the test: `arm NUMBER MOMENT ACT`, `cut ACT`, `settle`; ACT: drop, names, kill (which cuts nothing)."""
        word, *rest = value.decode().split()
        if word == "cut":
            self._cut(rest[0])
        elif word == "settle":
            self.root.settle()
        else:
            self._flushes, self._at, self._moment, self._act = 0, int(rest[0]), rest[1], rest[2]
        return 0

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        if name != CONTROL:
            raise OSError(errno.ENODATA, name)
        return str(self._flushes).encode()


@dataclass(frozen=True)
class Disk:
    """A mounted disk, for the test."""

    path: Path

    def arm(self, number: int = -1, moment: str = "before", act: str = "drop") -> None:
        """Count flushes from now on, and at that one kill who asks for it and cut the power."""
        os.setxattr(self.path, CONTROL, f"arm {number} {moment} {act}".encode())

    def cut(self, act: str = "drop") -> None:
        """Cut the power now."""
        os.setxattr(self.path, CONTROL, f"cut {act}".encode())

    def settle(self) -> None:
        """Put on the disk all that was written so far."""
        os.setxattr(self.path, CONTROL, b"settle")

    def flushes(self) -> int:
        """Give how many flushes were asked for since `arm`."""
        return int(os.getxattr(self.path, CONTROL))


@contextmanager
def power_cut_disk() -> Iterator[Disk]:
    """Mount an empty disk, served by a process of its own, and take it away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="minutier-disk-"))
    process = subprocess.Popen([sys.executable, "-m", "tests.support.power_cut", folder])
    try:
        deadline = time.monotonic() + START_SECONDS
        while not folder.is_mount():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the disk could not be mounted")
            time.sleep(0.02)
        yield Disk(folder)
    finally:
        subprocess.run(["fusermount3", "-u", "-z", folder], check=False)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        folder.rmdir()


def main() -> None:
    """Serve one disk until it is unmounted. Nothing is kept in the kernel: what programs see is what stands here."""
    from mfusepy import FUSE, Operations

    kind = type("Disk", (PowerCutFiles, Operations), {})
    uncached = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0, "direct_io": True}
    FUSE(kind(), sys.argv[1], foreground=True, nothreads=True, use_ino=True, fsname="minutier-power-cut", **uncached)


if __name__ == "__main__":
    main()
