"""Processes that outlive their starter: who they are, how they are started and stopped, where they write.

A pid alone is never trusted: the kernel gives it again. A process is its pid, its start time and the boot it ran in.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from minutier.errors import ServiceUnavailableError

LOOPBACK = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections.
PORTS = range(20000, 32000)
LOG_BYTES = 10 * 2**20
LOGS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, and no other one that gets its pid later."""

    pid: int
    start: int
    """Clock ticks between the boot and the start (proc(5), field 22 of stat)."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Give the identity of a live process, None when there is none or only a zombie is left."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name in field 2 may hold spaces
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]), boot)

    def alive(self) -> bool:
        """Tell whether this very process still runs. Reaps it when it is a dead child of the caller."""
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return Identity.of(self.pid) == self

    def as_dict(self) -> dict[str, int | str]:
        """Give the JSON form."""
        return {"pid": self.pid, "start": self.start, "boot": self.boot}

    @classmethod
    def from_dict(cls, value: Mapping[str, int | str] | None) -> Identity | None:
        """Read the JSON form back."""
        return cls(int(value["pid"]), int(value["start"]), str(value["boot"])) if value else None


def start(command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path) -> Identity | None:
    """Start a process in a session of its own, its output appended to `log`. None when it died at once."""
    rotate(log)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    child.returncode = 0  # from here on the process is followed by its identity, not by this object
    return Identity.of(child.pid)


def stop(process: Identity, first: signal.Signals = signal.SIGTERM, patience: float = 15.0) -> None:
    """Ask with `first`, wait `patience` seconds, then kill; what is left of its session is killed too."""
    if process.alive():
        with suppress(ProcessLookupError):
            os.kill(process.pid, first)
        if not wait_until(lambda: not process.alive(), patience):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            wait_until(lambda: not process.alive(), 5.0)
    signal_group(process, signal.SIGKILL)


def signal_group(process: Identity, number: signal.Signals) -> None:
    """Signal what a dead process left in its group. The kernel does not reuse a pid while its group has members."""
    if not process.alive() and not Path(f"/proc/{process.pid}").exists():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def wait_until(condition: Callable[[], bool], seconds: float, *, every: float = 0.1) -> bool:
    """Look again and again; False when the time is over."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(every)
    return True


def free_port(seed: str, wanted: int | None, taken: Sequence[int] = ()) -> int:
    """Give `wanted` when nobody listens there, else the first free port after a place that depends on `seed`."""
    first = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big")
    candidates = [PORTS[(first + step) % len(PORTS)] for step in range(500)]
    for port in [wanted, *candidates] if wanted else candidates:
        if port not in taken and _bindable(port):
            return port
    raise ServiceUnavailableError(
        "NO_PORT", "No free port was found on the loopback interface.", remedy="Stop programs that hold ports."
    )


def _bindable(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """Tell whether something accepts connections there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


@contextmanager
def locked(path: Path, patience: float, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file while the block runs; it ends with the process, whatever kills it.

    Raises ServiceUnavailableError (`BUSY`) when another process keeps it for longer than `patience` seconds.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def taken() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        if not taken():
            waiting()
            if not wait_until(taken, patience):
                raise ServiceUnavailableError(
                    "BUSY", f"Another process holds {path}.", remedy="Wait for its end, or see `minutier status`."
                )
        yield
    finally:
        os.close(descriptor)


def rotate(log: Path) -> None:
    """Keep a log and its `.1` … `.3` under a fixed size; the writer goes on appending to the same file."""
    if not log.exists() or log.stat().st_size < LOG_BYTES:
        return
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


def last_lines(log: Path, count: int = 5) -> str:
    """Give the end of a log, for a person who must know why a service does not start."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4096))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-count:])
