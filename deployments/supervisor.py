"""Keeps the services of one instance alive: `python -m deployments.supervisor --home DIR`, started by `instance.up`.

Once a moment it looks at each service in the order of start and does the one thing that brings it nearer to running:
prepare and start it when what it needs is ready, wait, or start it again after a pause that doubles. A supervisor that
finds the living services of a dead one adopts them: nothing is interrupted by its own death.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from deployments import processes, state
from deployments.processes import Identity
from deployments.services import Service, build, choose_ports
from minutier.errors import MinutierError
from storage.settings import Settings

LOOK = 0.3  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
LONG_ENOUGH = 60.0
"""Seconds of life after which earlier deaths no longer count."""
ROTATE_EVERY = 60.0


class Supervised:
    """One service, its process, and what is known of both."""

    def __init__(self, service: Service, home: Path, adopted: Identity | None) -> None:
        self.service = service
        self.log = home / "logs" / f"{service.name}.log"
        self.ready = False
        self._started = time.monotonic()
        self._not_before = 0.0
        self._pause = FIRST_PAUSE
        self.record = state.Record(service.name, service.address, service.port, launch(service), adopted)
        if adopted is not None:
            self.record.state = "starting"

    def look(self, ready: set[str], announce: Callable[[], None]) -> None:
        """Do the next thing."""
        if self.record.process is not None:
            if self.record.process.alive():
                self._see_living()
                return
            self._see_dead()
        missing = [name for name in self.service.needs if name not in ready]
        if missing:
            self.record.detail = f"waits for {', '.join(missing)}"
        elif time.monotonic() >= self._not_before:
            self._start(announce)

    def _see_living(self) -> None:
        if not self.ready:
            reason = self.service.ready()
            self.ready = reason is None
            self.record.state, self.record.detail = ("running", "") if self.ready else ("starting", reason or "")
        elif time.monotonic() - self._started > LONG_ENOUGH:
            self._pause = FIRST_PAUSE

    def _see_dead(self) -> None:
        if self.record.process is not None:
            processes.signal_group(self.record.process, signal.SIGTERM)
        say(f"{self.service.name} (pid {self.record.process and self.record.process.pid}) has ended")
        self._fail("its process has ended")

    def _fail(self, detail: str) -> None:
        self.ready, self.record.process = False, None
        self.record.restarts += 1
        self.record.state, self.record.detail = "failing", detail
        self._not_before = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _start(self, announce: Callable[[], None]) -> None:
        self.record.state, self.record.detail = "preparing", ""
        announce()
        try:
            self.service.prepare()
            service = self.service
            process = processes.start(service.command, service.full_environment(), service.directory, self.log)
        except (MinutierError, OSError) as error:
            say(f"{self.service.name}: {error}")
            self._fail(str(error))
            return
        if process is None:
            self._fail("its process ended at once")
            return
        say(f"{self.service.name} started, pid {process.pid}")
        self.record.process, self.record.state = process, "starting"
        self._started = time.monotonic()

    def stop(self) -> None:
        """End the process."""
        if self.record.process is not None:
            processes.stop(self.record.process, self.service.stop_signal, self.service.patience)
            say(f"{self.service.name} stopped")
        self.record.process, self.record.state, self.record.detail = None, "stopped", ""


class Supervisor:
    """The loop over all services of one instance."""

    def __init__(self, settings: Settings) -> None:
        self._home = settings.home
        before = state.read(settings.home)
        living = before.living()
        ports = choose_ports(settings, before.ports(), {each.name: each.port for each in living if each.port})
        services = build(settings, ports)
        launches = {service.name: launch(service) for service in services}
        adopted: dict[str, Identity] = {}
        for record in reversed(living):
            if record.process is not None and launches.get(record.name) == record.launch:
                adopted[record.name] = record.process
            elif record.process is not None:
                processes.stop(record.process)
        self._all = [Supervised(service, settings.home, adopted.get(service.name)) for service in services]
        self._written: state.State | None = None
        self._stopping = False

    def run(self) -> None:
        """Work until SIGTERM, then stop the services in reverse order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        rotated = time.monotonic()
        while not self._stopping:
            for each in self._all:
                if self._stopping:
                    break
                each.look({other.service.name for other in self._all if other.ready}, self._write)
                self._write()
            if time.monotonic() - rotated > ROTATE_EVERY:
                rotated = time.monotonic()
                self._rotate_logs()
            time.sleep(LOOK)
        for each in reversed(self._all):
            each.stop()
            self._write()

    def _on_signal(self, number: int, _frame: object) -> None:
        say(f"received {signal.Signals(number).name}")
        self._stopping = True

    def _rotate_logs(self) -> None:
        for log in (self._home / "logs").glob("*.log"):
            try:
                processes.rotate(log)
            except OSError as error:
                say(f"{log.name} cannot be rotated: {error}")

    def _write(self) -> None:
        """Write what has changed. A full disk must not take the services down with it: the next look tries again."""
        now = state.State(Identity.of(os.getpid()), [each.record for each in self._all])
        if now != self._written:
            try:
                state.write(self._home, now)
            except (MinutierError, OSError) as error:
                say(f"the state cannot be written: {error}")
                return
            self._written = copy.deepcopy(now)


def launch(service: Service) -> str:
    """Give the digest of what the instance gives a process at its start."""
    given = [service.command, sorted(service.environment.items()), str(service.directory)]
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()


def say(text: str) -> None:
    """Write a line of the supervisor's own log; on a full disk it is lost, and the supervisor is not."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n".encode())


def detach(log: Path) -> None:
    """Leave the starter, who reads the pid: a child in a session of its own goes on, writing to `log`."""
    if (child := os.fork()) > 0:
        os.write(sys.stdout.fileno(), str(child).encode())
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)


def main() -> None:
    """Detach, take the instance's lock, and keep its services alive."""
    parser = argparse.ArgumentParser(description="Keeps the services of one instance alive.")
    parser.add_argument("--home", type=Path, required=True)
    home: Path = parser.parse_args().home
    settings = Settings.model_validate(json.loads((home / "run" / "settings.json").read_bytes()))
    detach(home / "logs" / "supervisor.log")
    with processes.locked(home / "run" / "supervisor.lock", patience=5.0):
        say(f"supervisor started, pid {os.getpid()}")
        Supervisor(settings).run()
        say("supervisor ended")


if __name__ == "__main__":
    main()
