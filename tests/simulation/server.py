"""A PostgreSQL that forgets at a power loss and is fast: in memory, without fsync, over a Unix socket.

The SQL of a run must be PostgreSQL's own: compare-and-swap, unique indexes, advisory locks and what a transaction sees
of another one are what the protocol rests on, and no stand-in has them. What is left out is durability at a power
loss, which no run here plays: a server that dies is a matter for real processes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from deployments import embedded_postgres
from tasks.postgres_programs import environment
from tests.support.postgres import START_SECONDS

MEMORY = Path("/dev/shm")
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "listen_addresses": "",
    "checkpoint_timeout": "1d",
    "max_wal_size": "2GB",
    "jit": "off",
}
# A worker that meets the lock of another one, which waits below it in the same process, must not wait for ever.
_OPTIONS = "-c%20lock_timeout%3D10ms"


def memory_folder() -> Path:
    """Make a folder in memory where the machine has one, else on the disk."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="minutier-sim-", dir=place))


class FastServer:
    """A running server; `database` makes a database, empty or the copy of another, and gives its URL."""

    def __init__(self, home: Path) -> None:
        self._socket = home / "postgres"

    def url(self, name: str) -> str:
        return f"postgresql://minutier@/{name}?host={self._socket}&options={_OPTIONS}"

    def database(self, like: str = "template1") -> str:
        """Give the name of a new database."""
        name = f"sim_{uuid.uuid4().hex}"
        with psycopg.connect(self.url("minutier"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}" STRATEGY file_copy'.encode())
        return name

    def drop(self, name: str) -> None:
        with psycopg.connect(self.url("minutier"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@contextmanager
def fast_server() -> Iterator[FastServer]:
    home = memory_folder()
    home.chmod(0o755)  # the server may run as another user than the caller
    embedded_postgres.prepare(home)
    with (embedded_postgres.cluster(home) / "pg_hba.conf").open("a", encoding="ascii") as stream:
        stream.write("local all minutier trust\n")
    settings = _FAST | {"unix_socket_directories": str(home / "postgres")}
    command = embedded_postgres.command(home, 5432, archive=False)
    command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment(), cwd=home / "postgres", stdout=log, stderr=subprocess.STDOUT
        )
    try:
        server = FastServer(home)
        _wait(server, process, home)
        yield server
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)
        shutil.rmtree(home)


def _wait(server: FastServer, process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.url("minutier"), connect_timeout=2).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(
                    f"PostgreSQL did not start: {error}\n{(home / 'log').read_text('utf-8')[-2000:]}"
                ) from error
        time.sleep(0.05)
