"""The real parts, started for one measurement: PostgreSQL, development time-stamp authority, two directory stores.

The settings are those of the embedded instance: fsync and synchronous commit on, each file synced and read back.
Nothing here plays a part: what is measured is what an instance does, without the Prefect server.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from deployments import embedded_postgres
from deployments.processes import free_port, last_lines, listens, wait_until
from storage import vault
from storage.archive import Archive
from storage.bootstrap import opened_archive, require_probed
from storage.dev_ca import DevelopmentCa
from storage.reception import Delivery, receive
from storage.sealing import seal_deposit, stamp_batch
from storage.settings import load_settings
from tasks import postgres_programs
from tasks.rendering import render_deposit
from tasks.screening import screen_deposit
from tasks.sealing import software

_Result = TypeVar("_Result")
START_SECONDS = 60.0
STEPS = ("receive", "screen", "render", "seal", "stamp", "store", "commit", "lock", "attest")


@dataclass(frozen=True)
class Rig:
    """An opened archive, and the address of its database for other programs (libpq URL with a passfile)."""

    archive: Archive
    database_url: str
    authority: DevelopmentCa


@dataclass
class Journey:
    """Wall seconds of a run of deposits, by step; `seconds` is the whole, `documents` how many reached their end."""

    documents: int = 0
    seconds: float = 0.0
    steps: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))

    def add(self, other: Journey) -> None:
        """Count another run in."""
        self.documents += other.documents
        self.seconds += other.seconds
        for name, seconds in other.steps.items():
            self.steps[name] += seconds

    def as_dict(self) -> dict[str, Any]:
        """Give documents per second, and milliseconds per document in all and by step."""
        each = 1000 / max(self.documents, 1)
        return {
            "documents": self.documents,
            "documents_per_second": round(self.documents / self.seconds, 2) if self.seconds else 0.0,
            "ms_per_document": round(self.seconds * each, 1),
            "steps_ms_per_document": {name: round(seconds * each, 2) for name, seconds in self.steps.items()},
        }


def say(line: str) -> None:
    """Tell the progress to whoever waits; results alone go to the standard output."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a new directory, removed afterwards even on SIGTERM; `MINUTIER_BENCH_DIR` names the disk to measure."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as a shell says it: nothing is left running
    directory = Path(tempfile.mkdtemp(prefix="minutier-bench-", dir=os.environ.get("MINUTIER_BENCH_DIR")))
    directory.chmod(0o711)  # as root, PostgreSQL runs as another user and must pass through
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running(directory: Path) -> Iterator[Rig]:
    """Start the services of an instance in `directory/home`, open its archive, stop everything at the end.

    RuntimeError with the end of the log when a service does not start.
    """
    home = directory / "home"
    home.mkdir(mode=0o711)
    port = free_port(str(home), None)
    tsa_port = free_port(f"{home} tsa", None, [port])
    embedded_postgres.prepare(home)
    server = embedded_postgres.command(home, port)
    place = embedded_postgres.cluster(home).parent
    authority = [sys.executable, "-P", "-m", "storage.dev_tsa", "--home", str(home), "--port", str(tsa_port)]
    url = embedded_postgres.url(home, port, "minutier")
    with (
        _service(
            "postgresql",
            home,
            server,
            postgres_programs.environment(),
            place,
            lambda: embedded_postgres.ready(home, port) is None,
        ),
        _service("tsa", home, authority, dict(os.environ), home, lambda: listens(tsa_port)),
    ):
        settings = load_settings(
            home, {"MINUTIER_DATABASE_URL": url, "MINUTIER_TSA_URLS": f"http://127.0.0.1:{tsa_port}/"}
        )
        with opened_archive(settings) as archive:
            require_probed(archive)
            yield Rig(archive, url, DevelopmentCa(home / "pki", home / "trust"))


@contextmanager
def _service(
    name: str, home: Path, command: list[str], environment: dict[str, str], place: Path, ready: Callable[[], bool]
) -> Iterator[None]:
    log = home / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd=place, stdout=output, stderr=output)
    try:
        if not wait_until(lambda: process.poll() is not None or ready(), START_SECONDS) or process.poll() is not None:
            raise RuntimeError(f"{name} did not start: {last_lines(log)}")
        yield
    finally:
        # PostgreSQL: "fast", it ends the sessions and writes a checkpoint. Others may have been told to ignore SIGINT.
        process.send_signal(signal.SIGINT if name == "postgresql" else signal.SIGTERM)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def deposit(archive: Archive, files: Sequence[Path]) -> Journey:
    """Carry one batch from files to ARCHIVED, in the order of flows/deposit.py, one document after the other.

    A reference is the file's name. RuntimeError when a document does not end ARCHIVED.
    """
    journey, started = Journey(documents=len(files)), time.perf_counter()
    ids = _step(journey, "receive", lambda: [_receive(archive, path) for path in files])
    _step(journey, "screen", lambda: [screen_deposit(archive, each) for each in ids])
    _step(journey, "render", lambda: [render_deposit(archive, each) for each in ids])
    _step(journey, "seal", lambda: [seal_deposit(archive, each, software()) for each in ids])
    _step(journey, "stamp", lambda: stamp_batch(archive, ids))
    _step(journey, "store", lambda: [vault.store_deposit(archive, each) for each in ids])
    _step(journey, "commit", lambda: vault.commit_deposits(archive, ids))
    _step(journey, "lock", lambda: [vault.lock_deposit(archive, each) for each in ids])
    ended = _step(journey, "attest", lambda: vault.attest_deposits(archive, ids))
    journey.seconds = time.perf_counter() - started
    for each in ended:
        if each.state != "ARCHIVED":
            raise RuntimeError(f"{each.reference} ended {each.state} {each.refusal_code or ''}")
    return journey


def _step(journey: Journey, name: str, call: Callable[[], _Result]) -> _Result:
    """Run one step and add its wall seconds under its name."""
    started = time.perf_counter()
    result = call()
    journey.steps[name] += time.perf_counter() - started
    return result


def _receive(archive: Archive, path: Path) -> str:
    delivery = Delivery(
        path=path, safe="demo", lifecycle_class="default", reference=path.name, depositor="benchmark", name=path.name
    )
    return receive(archive, delivery).archive_id


def machine() -> dict[str, Any]:
    """Give what the figures depend on: cores, memory in GB, system, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.platform())
    except OSError:
        system = platform.platform()
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": system,
        "python": platform.python_version(),
    }


def cpu_seconds() -> float:
    """Give the CPU seconds of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def load_average() -> float:
    """Give the load of the last minute: above the number of cores, figures say little."""
    return round(os.getloadavg()[0], 2)
