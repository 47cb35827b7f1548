"""The embedded PostgreSQL: made from the programs of a wheel, durable, on loopback only, never as root.

Two databases: `minutier` (catalogue and journal) and `prefect` (what the engine remembers). Passwords are drawn once
and kept in passfiles of mode 0600, so that no address and no environment holds one. The superuser has no password
and cannot log in. The write-ahead log is archived beside the cluster, and a role of its own may copy the whole of it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from pathlib import Path

import psycopg

from deployments.processes import LOOPBACK, Identity, stop, wait_until
from minutier.errors import MinutierError
from storage.files import sync_directory, write_durably
from storage.postgres_checks import check
from tasks import unprivileged
from tasks.postgres_programs import BACKUP_ROLE, Places, program, run

DATABASES = ("minutier", "prefect")
ACCESS = f"""\
# The engine and the archive do not see one another's data.
host  prefect  minutier  {LOOPBACK}/32  reject
host  all      minutier  {LOOPBACK}/32  scram-sha-256
host  prefect  prefect   {LOOPBACK}/32  scram-sha-256
host  replication  {BACKUP_ROLE}  {LOOPBACK}/32  scram-sha-256
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
# Run in the data directory. A segment has its name only when it is whole and on the disk; one that is there already,
# after a crash, must be the same. A segment that is not full is archived after a minute.
_KEPT = "../archive/wal/%f"
ARCHIVING = {
    "wal_level": "replica",
    "archive_mode": "on",
    "archive_timeout": "60",
    "archive_command": f"if test -f {_KEPT}.gz; then gzip -dc {_KEPT}.gz | cmp -s - %p;"
    f" else gzip -1 < %p > {_KEPT}.part && sync {_KEPT}.part && mv {_KEPT}.part {_KEPT}.gz && sync ../archive/wal; fi",
}


def cluster(home: Path) -> Path:
    """Give the data directory."""
    return Places(home).cluster


def url(home: Path, port: int, database: str, *, driver: str = "") -> str:
    """Give the address of one of the two databases; the password stays in the passfile it names."""
    return Places(home).url(port, database, database, driver=driver)


def command(home: Path, port: int, *, archive: bool = True) -> list[str]:
    """Give the command that runs the server in the foreground, as an unprivileged user when the caller is root."""
    chosen = CONFIGURATION | (ARCHIVING if archive else {})
    settings = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    server = [str(program("postgres")), "-D", str(cluster(home)), "-c", f"port={port}", *settings]
    return unprivileged.as_user(Places(home).owner(), server)


def prepare(home: Path) -> None:
    """Make the cluster when there is none, and clear the way for a start after any kind of death.

    A cluster interrupted while it was made is made again: it takes its name only when complete.
    """
    data, owner = cluster(home), Places(home).owner()
    if data.exists():
        _forget_dead_server(data)
    else:
        _make(home, data, owner)
    if not Places(home).passfile(BACKUP_ROLE).exists():
        _allow_backups(home, data, owner)


def _make(home: Path, data: Path, owner: int | None) -> None:
    data.parent.mkdir(mode=0o700, exist_ok=True)
    aside = data.with_name("data.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    Places(home).passfile(BACKUP_ROLE).unlink(missing_ok=True)  # of a cluster that is gone
    if owner is not None:
        os.chown(data.parent, owner, -1)
    passwords = {name: _password(home, name) for name in DATABASES}
    _run(owner, home, ["initdb", "-D", str(aside), *INITDB])
    statements = [
        line
        for name in DATABASES
        for line in (
            f"CREATE ROLE {name} LOGIN {'CREATEDB' if name == 'minutier' else ''} PASSWORD '{passwords[name]}';",
            f"CREATE DATABASE {name} OWNER {name};",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;",
        )
    ]
    _alone(home, aside, owner, statements)
    aside.rename(data)
    sync_directory(data.parent)


def _allow_backups(home: Path, data: Path, owner: int | None) -> None:
    """Make the place of the archived log and the role that copies the cluster; also in one made before there was any.

    The role's passfile is kept last: a run that dies before is done again.
    """
    for folder in (Places(home).wal, Places(home).base):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner is not None:
            os.chown(folder.parent, owner, -1)
            os.chown(folder, owner, -1)
    with (data / "pg_hba.conf").open("w", encoding="ascii") as stream:  # in place: the file keeps its owner
        stream.write(ACCESS)
        stream.flush()
        os.fsync(stream.fileno())
    password = secrets.token_hex(24)
    statements = [
        f"DO $$ BEGIN CREATE ROLE {BACKUP_ROLE}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;",
        f"ALTER ROLE {BACKUP_ROLE} LOGIN REPLICATION PASSWORD '{password}';",
    ]
    _alone(home, data, owner, statements)
    _keep_password(home, BACKUP_ROLE, password)


def _alone(home: Path, data: Path, owner: int | None, statements: list[str]) -> None:
    """Run statements, one a line, as the superuser of a cluster that no server serves."""
    single = ["postgres", "--single", "-c", "exit_on_error=true", "-D", str(data), "postgres"]
    _run(owner, home, single, "\n".join(statements) + "\n")


def ready(home: Path, port: int) -> str | None:
    """Give None when the server answers and is safe to commit in, else the reason."""
    try:
        with psycopg.connect(url(home, port, "minutier"), connect_timeout=2) as connection:
            check(connection)
            row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
            if row is not None and row[0]:
                return "it replays its log"
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[0]
    except MinutierError as error:
        return error.message
    return None


def _password(home: Path, role: str) -> str:
    """Draw a password and keep it."""
    password = secrets.token_hex(24)
    _keep_password(home, role, password)
    return password


def _keep_password(home: Path, role: str, password: str) -> None:
    """Keep a password as a line of libpq's passfile."""
    write_durably(Places(home).passfile(role), f"{LOOPBACK}:*:*:{role}:{password}\n".encode())


def _run(owner: int | None, home: Path, arguments: list[str], text: str = "") -> None:
    run(arguments, "POSTGRES_NOT_MADE", directory=home / "postgres", owner=owner, text=text)


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
