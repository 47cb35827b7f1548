"""A real PostgreSQL for tests: the embedded one, alone, with a fresh database for whoever asks."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from deployments import embedded_postgres
from tasks.postgres_programs import environment

START_SECONDS = 60


class Server:
    """A running server; `database` makes an empty database and gives its URL."""

    def __init__(self, home: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.home, self.port = home, port
        self.process = process

    def database(self, like: str = "") -> str:
        """Make a database: empty, or a copy of another one that nobody is connected to."""
        return new_database(self.home, self.port, like)


@contextmanager
def postgres_server(*, archive: bool = False) -> Iterator[Server]:
    home = Path(tempfile.mkdtemp(prefix="minutier-postgres-"))
    home.chmod(0o755)  # the server may run as another user than the caller
    port = free_port()
    embedded_postgres.prepare(home)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            embedded_postgres.command(home, port, archive=archive),
            env=environment(),
            cwd=home / "postgres",
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while (trouble := embedded_postgres.ready(home, port)) is not None:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {trouble}\n{(home / 'log').read_text('utf-8')[-2000:]}")
            time.sleep(0.05)
        yield Server(home, port, process)
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: nothing in it is needed again
        process.wait(30)
        shutil.rmtree(home)


def new_database(home: Path, port: int, like: str = "") -> str:
    """Make a database on the server of that home, and give its URL: empty, or a copy of another one, left alone."""
    name = f"test_{uuid.uuid4().hex}"
    url = embedded_postgres.url(home, port, "minutier")
    template = f' TEMPLATE "{urlsplit(like).path[1:]}"' if like else ""
    with psycopg.connect(url, autocommit=True) as connection:
        # Sessions that were just closed may take their time to end, on a busy machine.
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(ending, (urlsplit(like).path[1:],))
        connection.execute(f'CREATE DATABASE "{name}"{template}'.encode())
    return url.replace("/minutier?", f"/{name}?")


def empty(url: str) -> None:
    """Take every row out of a database that the archive's migrations made."""
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migration'"
        names = ", ".join(f'"{row[0]}"' for row in connection.execute(query))
        if names:
            connection.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE".encode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
