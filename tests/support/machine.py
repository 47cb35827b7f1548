"""A machine whose services may be killed: PostgreSQL, time-stamp authority, MinIO, Prefect server, all for real.

Nobody starts a service again but the test. Archives on it share its services; each has a home, a database, two stores.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deployments import services
from deployments.embedded_postgres import cluster
from deployments.services import Service
from storage.dev_ca import create_development_ca
from storage.settings import Settings, load_settings
from tests.support.minio_server import MinioServer, find_minio
from tests.support.postgres import free_port, new_database

READY_SECONDS = 120.0
# What SIGKILL leaves is what the kernel holds, on a disk as in memory, where a flush takes no time. What a disk loses
# with its power is tests/crash/test_power_loss.py.
MEMORY = Path("/dev/shm")
BASIC = ("postgresql", "tsa")


@dataclass(frozen=True)
class Instance:
    """One archive: its home, and the variables that name its services."""

    home: Path
    environment: dict[str, str]

    @property
    def settings(self) -> Settings:
        return load_settings(self.home, self.environment)


class Machine:
    """The services named, running; `minio` is None where the stores are directories."""

    def __init__(self, folder: Path, names: Sequence[str] = BASIC, minio: MinioServer | None = None) -> None:
        self.folder, self.home, self.minio = folder, folder / "machine", minio
        create_development_ca(folder / "certified", datetime.now(UTC))
        shutil.copytree(folder / "certified", self.home)
        for name in ("secrets", "prefect", "tmp"):
            (self.home / name).mkdir(mode=0o700)
        for place in (folder, self.home):
            place.chmod(0o755)  # the database server may run as another user than the caller
        self.ports = {name: free_port() for name in ("postgresql", "tsa", "prefect")}
        self._settings = load_settings(self.home, {})
        built = {service.name: service for service in services.build(self._settings, self.ports)}
        self._services = {name: built[name] for name in names}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def names(self) -> list[str]:
        """Everything that may be killed."""
        return [*self._services, *(["minio"] if self.minio else [])]

    def start(self, name: str, *, wait: bool = True) -> None:
        """Start a service, and wait until it does its work."""
        if name == "minio":
            assert self.minio is not None
            self.minio.start()
            return
        service = self._services[name]
        service.prepare()
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                service.command,
                env=service.full_environment(),
                cwd=service.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self._await(service)

    def kill(self, name: str) -> None:
        """Kill every process of a service with SIGKILL, at once."""
        if name == "minio":
            assert self.minio is not None
            self.minio.kill()
            return
        process = self._running.pop(name)
        pids = self._backends() if name == "postgresql" else []
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End whatever still runs: nothing on this machine is needed again."""
        if (database := self._running.get("postgresql")) is not None:
            database.send_signal(signal.SIGQUIT)  # at once, and with its shared memory
            with suppress(subprocess.TimeoutExpired):
                database.wait(10)
        for name in list(self._running):
            self.kill(name)
        if self.minio is not None:
            self.minio.stop()

    def instance(self, *, prefect: bool = False, place: Path | None = None) -> Instance:
        """Make the home of a new archive, in `place`, with its own database and its own two stores."""
        name = uuid.uuid4().hex[:12]
        home = (place or self.folder) / f"home-{name}"
        shutil.copytree(self.folder / "certified", home)
        complete = services.connected(self._settings, self.ports)
        replicas = [f"dir:{home / 'replicas' / each}" for each in "ab"]
        environment = {
            "MINUTIER_DATABASE_URL": new_database(self.home, self.ports["postgresql"]),
            "MINUTIER_TSA_URLS": ",".join(complete.tsa_urls or ()),
            "MINUTIER_CRLS": ",".join(complete.crls),
        }
        if self.minio is not None:
            replicas = [f"s3+http://{self.minio.endpoint}/{name}-{each}" for each in "ab"]
            credentials = str(self.minio.credentials_file)
            environment["MINUTIER_REPLICA_CREDENTIALS"] = f"{credentials},{credentials}"
        environment["MINUTIER_REPLICAS"] = ",".join(replicas)
        if prefect:
            environment |= {"PREFECT_API_URL": complete.prefect_api_url or ""}
        return Instance(home, environment)

    def _await(self, service: Service) -> None:
        process, deadline = self._running[service.name], time.monotonic() + READY_SECONDS
        while (trouble := service.ready()) is not None:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / f"{service.name}.log").read_text("utf-8", "replace")
                raise RuntimeError(f"{service.name} did not start: {trouble}\n{log[-4000:]}")
            time.sleep(0.05)

    def _backends(self) -> list[int]:
        """Give the pids of the database server: each of its processes is at work in the cluster's directory."""
        found, place = [], cluster(self.home).resolve()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "cwd").readlink() == place:
                    found.append(int(process.name))
        return found


@contextmanager
def running_machine(names: Sequence[str] = BASIC, *, minio: bool = False) -> Iterator[Machine]:
    """Run a machine in a temporary directory; everything is gone at the end."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="minutier-machine-", dir=place))
    (folder / "minio").mkdir()
    binary = find_minio() if minio else None
    machine = Machine(folder, names, MinioServer(binary, folder / "minio") if binary else None)
    try:
        for name in machine.names:
            machine.start(name)
        yield machine
    finally:
        machine.stop()
        shutil.rmtree(folder)
