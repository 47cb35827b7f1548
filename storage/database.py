"""PostgreSQL: one pool per process, migrations, and advisory locks that end with their session."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from storage.postgres_checks import check
from storage.seam import crossing

Connection = psycopg.Connection[DictRow]

PATIENCE = {
    "connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}  # fmt: skip
"""How long a server whose machine fell silent is waited for, in libpq's words: 30 s (the last in milliseconds)."""
_IDLE_SECONDS = 1.0
_TURNS = (errors.DeadlockDetected, errors.LockNotAvailable, errors.SerializationFailure)
# Told by the server before it closes the connection; psycopg counts them among internal errors.
_CUT = (errors.IdleInTransactionSessionTimeout, errors.TransactionTimeout)
_TRANSACTION_TIMEOUT_SINCE = 170000
_MIGRATION_LOCK = 0x6D696E7574696572  # "minutier"


class Database:
    """A pool of connections; errors of the server become `ServiceUnavailableError`.

    Its code is `DATABASE_DOWN`, or `BUSY` where the server gave another session its turn first.
    """

    def __init__(self, url: str, *, size: int = 16, timeout: float = 10.0) -> None:
        self._url = make_conninfo(url, **PATIENCE)
        self._used: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            self._url,
            min_size=1,
            max_size=size,
            timeout=timeout,
            open=False,
            kwargs={"row_factory": dict_row, "application_name": "minutier"},
            check=self._check,
            configure=_configure,
        )

    def open(self) -> None:
        """Connect, refuse unsafe settings, and apply the migrations that are missing."""
        try:
            # One plain attempt first: it fails at once and says why; the pool would try again for a while.
            psycopg.connect(self._url).close()
            self._pool.open(wait=True, timeout=self._pool.timeout)
        except (PoolTimeout, psycopg.OperationalError) as error:
            self._pool.close()
            raise _down(error) from error
        with self.transaction() as connection:
            check(connection)
        self._migrate()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _check(self, connection: Connection) -> None:
        """Try a connection that was idle before it is given out; one used a moment ago has just answered."""
        if time.monotonic() - self._used.get(connection, 0.0) > _IDLE_SECONDS:
            ConnectionPool.check_connection(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run one transaction: committed when the block ends, rolled back when it raises."""
        try:
            with ExitStack() as block:
                with crossing("database", "begin"):
                    connection = block.enter_context(self._pool.connection())
                yield connection
                with crossing("database", "commit"):
                    block.close()
            self._used[connection] = time.monotonic()
        except _TURNS as error:
            raise ServiceUnavailableError(
                "BUSY",
                "Another worker was at the same rows of the database.",
                remedy="Nothing is lost. Run the same command again in a moment.",
            ) from error
        except PoolTimeout as error:
            seconds = f"{self._pool.timeout:g} s"
            raise _down(error, f"no connection was free within {seconds}, or none could be made") from error
        except (*_CUT, psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise _down(error) from error

    @contextmanager
    def exclusive(self, name: str, *, wait: bool = False) -> Iterator[None]:
        """Hold the session's advisory lock called `name`; it ends with the connection, whatever kills the process.

        When another session holds it: ServiceUnavailableError (code `BUSY`), or with `wait` its end is waited for.
        """
        with self.transaction() as connection:
            lock(connection, name, wait=wait)
            yield

    def _migrate(self) -> None:
        with self.transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migration (name text PRIMARY KEY,"
                " sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            rows = connection.execute("SELECT name, sha256 FROM schema_migration").fetchall()
            done = {row["name"]: row["sha256"] for row in rows}
            for name, text in _migrations():
                digest = hashlib.sha256(text.encode()).hexdigest()
                if name in done:
                    if done[name] != digest:
                        raise PolicyRefusedError(
                            "MIGRATION_CHANGED",
                            f"Migration {name} differs from the one that this database was made with.",
                            remedy="Use the release that made the database, or a newer one.",
                        )
                    continue
                connection.execute(text.encode())
                connection.execute("INSERT INTO schema_migration (name, sha256) VALUES (%s, %s)", (name, digest))


def _configure(connection: Connection) -> None:
    """Settle what the transactions rest on, whatever the server or the role says: a step holds its lock for as long
    as it lasts, and a compare-and-swap sees what others committed.
    """
    settings = {"idle_in_transaction_session_timeout": "0", "default_transaction_isolation": "read committed"}
    if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
        settings["transaction_timeout"] = "0"
    # Without a transaction: the server could end one that waits for its second line before it is told not to.
    connection.autocommit = True
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.autocommit = False


def lock(connection: Connection, name: str, *, wait: bool = False) -> None:
    """Take the advisory lock called `name` for the transaction of `connection`: released at its end or its death.

    When another session holds it: ServiceUnavailableError (code `BUSY`), or with `wait` its end is waited for.
    """
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    if wait:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (number,))
        return
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s) AS taken", (number,)).fetchone()
    if row is None or not row["taken"]:
        raise ServiceUnavailableError(
            "BUSY", f"Another worker is at work on {name}.", remedy="Run the same command again in a moment."
        )


def _migrations() -> list[tuple[str, str]]:
    folder = resources.files("storage") / "migrations"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [(entry.name, entry.read_text(encoding="utf-8")) for entry in files]


def _down(error: Exception, reason: str = "") -> ServiceUnavailableError:
    reason = reason or (str(error).splitlines() or [type(error).__name__])[0]
    return ServiceUnavailableError(
        "DATABASE_DOWN",
        f"The database does not answer ({reason}).",
        remedy="Nothing is lost. Start it (`minutier up`, or your PostgreSQL) and run the same command again.",
    )
