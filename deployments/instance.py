"""The embedded instance: `up`, `down`, `status`, and the addresses of what runs.

It lets a newcomer start with nothing installed. Nothing in it has legal value: the time-stamp authority is for
development, and one disk holds both replicas. Services that the settings name elsewhere are looked at, never started.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from deployments import embedded_postgres, services, state
from deployments.processes import Identity, last_lines, locked, stop, wait_until
from minutier.errors import MinutierError, ServiceUnavailableError
from storage.coverage import Debt, debt
from storage.database import Connection
from storage.dev_ca import authority_of
from storage.files import write_durably
from storage.postgres_checks import check
from storage.settings import Settings
from storage.waiting import alarm, summary

Say = Callable[[str], None]
_Answer = TypeVar("_Answer")
START_PATIENCE = 240.0
"""Seconds for all services together, the first start with its database migrations included."""
OTHERS_PATIENCE = 20.0
"""Seconds for a service run elsewhere to answer, once all those of the instance do."""
STOP_PATIENCE = 90.0
DEATHS_ALLOWED = 4
"""Deaths of one service during one `up` after which it is given up."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service. `health`: healthy, starting, unhealthy, stopped; `pid` is None for a service run elsewhere."""

    name: str
    address: str
    pid: int | None
    health: str
    detail: str

    def as_dict(self) -> dict[str, str | int | None]:
        """Give the JSON form."""
        return asdict(self)


def _silent(_line: str) -> None:
    return


def up(settings: Settings, say: Say = _silent) -> list[ServiceStatus]:
    """Start what does not run and wait until every service is healthy; `say` receives the lines of progress.

    Two calls at once do the work once. Raises ServiceUnavailableError with the end of the log of the service that
    does not start; what this call had started is stopped again.
    """
    _prepare_home(settings.home)
    # Before anything starts: the authority of an archive that lives would otherwise make other keys.
    authority_of(settings.home, datetime.now(UTC), born=embedded_postgres.cluster(settings.home).exists())
    with _alone(settings.home, say):
        wanted = settings.model_dump_json().encode()
        running = _supervisor(settings.home)
        if running is not None and _given(settings.home) != wanted:
            say("the settings have changed: the services start again")
            _stop_all(settings.home, say)
            running = None
        if running is not None and all(each.health == "healthy" for each in status(settings)):
            say("already up")
            return status(settings)
        if running is None and services.names(settings):
            write_durably(settings.home / "run" / "settings.json", wanted)
            _start_supervisor(settings.home)
        try:
            _await_health(settings, say)
        except MinutierError:
            if running is None:
                _stop_all(settings.home, say)
            raise
        return status(settings)


def down(settings: Settings, say: Say = _silent) -> None:
    """Stop every service in the reverse order of start; nothing to do is no error."""
    if (settings.home / "run").is_dir():
        with _alone(settings.home, say):
            _stop_all(settings.home, say)


def status(settings: Settings) -> list[ServiceStatus]:
    """Look at every service now, those named by the settings elsewhere included."""
    now = state.read(settings.home)
    found: list[ServiceStatus] = []
    here = services.names(settings)
    if here:
        process = _supervisor(settings.home)
        health = "healthy" if process else "stopped"
        found.append(ServiceStatus("supervisor", str(settings.home), process.pid if process else None, health, ""))
    records = {record.name: record for record in now.records}
    ports = now.ports()
    probes = {service.name: service.ready for service in services.build(settings, ports)} if _complete(settings) else {}
    for name in here:
        found.append(
            _embedded(records.get(name) or state.Record(name, "", None, "", state="stopped"), probes.get(name))
        )
    return found + _elsewhere(settings)


def waiting(settings: Settings) -> str:
    """Say how many deposits wait, for what and why; "" when none does, or the database cannot say."""
    both = _asked(settings, lambda found: (summary(found), alarm(found, datetime.now(UTC))))
    return " ".join(filter(None, both or ()))


def verification(settings: Settings) -> Debt | None:
    """Give what of the archive was not verified in time; None when the database cannot say."""
    return _asked(settings, lambda found: debt(found, datetime.now(UTC)))


def _asked(settings: Settings, ask: Callable[[Connection], _Answer]) -> _Answer | None:
    """Ask the catalogue of an instance that was started once; None when the database cannot say."""
    if not _complete(settings):
        return None
    try:
        with psycopg.connect(connected(settings).database_url or "", connect_timeout=5, row_factory=dict_row) as found:
            return ask(found)
    except psycopg.Error:
        return None  # the line of the database says what is wrong with it


def embedded_database_url(settings: Settings) -> str:
    """Give the libpq URL of the catalogue's database; the password stays in the passfile that it names."""
    return connected(settings).database_url or ""


def prefect_api_url(settings: Settings) -> str:
    """Give the URL of the Prefect API."""
    return connected(settings).prefect_api_url or ""


def tsa_urls(settings: Settings) -> tuple[str, ...]:
    """Give the URLs of the time-stamp authorities."""
    return connected(settings).tsa_urls or ()


def connected(settings: Settings) -> Settings:
    """Give the settings with the addresses of the embedded services in place of None.

    Raises ServiceUnavailableError (`NOT_UP`) when the instance was never started.
    """
    if not _complete(settings):
        raise ServiceUnavailableError(
            "NOT_UP",
            f"The instance in {settings.home} is not running.",
            remedy="Start it with `minutier up`, then run the same command again.",
        )
    return services.connected(settings, state.read(settings.home).ports())


def prefect_environment(settings: Settings) -> dict[str, str]:
    """Give the variables that a process needs to use this instance's Prefect server, telemetry off."""
    return services.client_environment(connected(settings))


def _embedded(record: state.Record, ready: Callable[[], str | None] | None) -> ServiceStatus:
    if record.process is None or not record.process.alive():
        health = "unhealthy" if record.state == "failing" else "stopped"
        health = "starting" if record.state in ("waiting", "preparing", "starting") and record.detail else health
        return ServiceStatus(record.name, record.address, None, health, record.detail)
    reason = ready() if ready else record.detail
    if reason is None:
        restarts = f"started again {record.restarts} time(s)" if record.restarts else ""
        return ServiceStatus(record.name, record.address, record.process.pid, "healthy", restarts)
    health = "unhealthy" if record.state == "running" else "starting"
    return ServiceStatus(record.name, record.address, record.process.pid, health, reason)


def _elsewhere(settings: Settings) -> list[ServiceStatus]:
    found = []
    if settings.database_url is not None:
        address = services.without_password(settings.database_url)
        found.append(_seen("database", address, _database_trouble(settings.database_url)))
    if settings.prefect_api_url is not None:
        found.append(_seen("prefect", settings.prefect_api_url, services.prefect_ready(settings)))
    for url in settings.tsa_urls or ():
        found.append(_seen("tsa", url, _tsa_trouble(url)))
    return found


def _tsa_trouble(url: str) -> str | None:
    """Say why an authority run elsewhere cannot be reached: it is only called, no token is asked for."""
    parts = urlsplit(url)
    try:
        socket.create_connection(
            (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), 3
        ).close()
    except OSError as error:
        return f"it does not answer: {error.strerror or error}"
    return None


def _seen(name: str, address: str, trouble: str | None) -> ServiceStatus:
    return ServiceStatus(name, address, None, "healthy" if trouble is None else "unhealthy", trouble or "run elsewhere")


def _database_trouble(url: str) -> str | None:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            check(connection)
    except psycopg.Error as error:
        return str(error).strip().splitlines()[0]
    except MinutierError as error:
        return error.message
    return None


def _complete(settings: Settings) -> bool:
    """Tell whether every embedded service has its port, that is: the instance was started once."""
    ports = state.read(settings.home).ports()
    return all(name in ports for name in services.names(settings) if services.has_port(name))


def _prepare_home(home: Path) -> None:
    # As root, the unprivileged PostgreSQL must pass through the home, though not read it.
    home.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
    for name in ("run", "logs", "secrets", "prefect"):
        (home / name).mkdir(exist_ok=True, mode=0o700)


def _alone(home: Path, say: Say) -> AbstractContextManager[None]:
    return locked(
        home / "run" / "up.lock",
        START_PATIENCE + STOP_PATIENCE,
        lambda: say("another up or down is at work on this instance: waiting for it"),
    )


def _supervisor(home: Path) -> Identity | None:
    process = state.read(home).supervisor
    return process if process is not None and process.alive() else None


def _given(home: Path) -> bytes:
    try:
        return (home / "run" / "settings.json").read_bytes()
    except FileNotFoundError:
        return b""


def _start_supervisor(home: Path) -> None:
    command = [sys.executable, "-P", "-m", "deployments.supervisor", "--home", str(home)]
    started = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
    process = Identity.of(int(started.stdout)) if started.returncode == 0 else None
    if process is not None:
        wait_until(lambda: state.read(home).supervisor == process or not process.alive(), 30.0)
    if process is None or not process.alive():
        trouble = started.stderr.strip() or last_lines(home / "logs" / "supervisor.log")
        raise ServiceUnavailableError(
            "SUPERVISOR_NOT_STARTED", f"The supervisor did not start: {trouble}", remedy="Run `minutier doctor`."
        )


def _await_health(settings: Settings, say: Say) -> None:
    home, told = settings.home, dict[str, str]()
    deaths = {record.name: record.restarts for record in state.read(home).records}
    end, own = time.monotonic() + START_PATIENCE, services.names(settings)
    while True:
        now = state.read(home)
        for record in now.records:
            if record.state != told.get(record.name) and record.state != "waiting":
                told[record.name] = record.state
                where = f" on {record.address}" if record.state == "running" else ""
                say(f"{record.name}: {record.state}{where}")
            if record.restarts - deaths.get(record.name, 0) >= DEATHS_ALLOWED:
                raise _not_started(record, home)
        if all(record.state == "running" for record in now.records):
            sick = [each for each in status(settings) if each.health != "healthy"]
            if not sick:
                return
            if not any(each.name in own for each in sick):
                end = min(end, time.monotonic() + OTHERS_PATIENCE)
        if own and _supervisor(home) is None:
            raise ServiceUnavailableError(
                "SUPERVISOR_DIED",
                f"The supervisor has ended: {last_lines(home / 'logs' / 'supervisor.log')}",
                remedy="Run `minutier up` again.",
            )
        if time.monotonic() > end:
            slow = [record for record in now.records if record.state != "running"]
            raise _not_started(slow[0], home) if slow else _unhealthy(sick)
        time.sleep(0.3)


def _not_started(record: state.Record, home: Path) -> ServiceUnavailableError:
    log = home / "logs" / f"{record.name}.log"
    return ServiceUnavailableError(
        "SERVICE_NOT_STARTED",
        f"{record.name} does not start ({record.detail}).\n{last_lines(log)}".strip(),
        remedy=f"Read {log}, correct the cause, and run `minutier up` again.",
    )


def _unhealthy(sick: list[ServiceStatus]) -> ServiceUnavailableError:
    names = ", ".join(f"{each.name} at {each.address}: {each.detail}" for each in sick)
    return ServiceUnavailableError("SERVICE_UNHEALTHY", f"Not healthy: {names}.", remedy="Start it, then try again.")


def _stop_all(home: Path, say: Say) -> None:
    supervisor = _supervisor(home)
    if supervisor is not None:
        say("stopping the services")
        with suppress(ProcessLookupError):
            os.kill(supervisor.pid, signal.SIGTERM)
        wait_until(lambda: not supervisor.alive(), STOP_PATIENCE)
        stop(supervisor)
    now = state.read(home)
    for record in reversed(now.records):
        if record.process is not None:  # left by a supervisor that was killed
            first = signal.SIGINT if record.name == "postgresql" else signal.SIGTERM
            stop(record.process, first, patience=30.0)
            say(f"{record.name}: stopped")
        record.process, record.state, record.detail = None, "stopped", ""
    if now.records:
        now.supervisor = None
        state.write(home, now)
