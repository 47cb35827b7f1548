"""Refuses a PostgreSQL that may lose what it has acknowledged: an archive must not commit there."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import tuple_row

from minutier.errors import PolicyRefusedError, ServiceUnavailableError

OLDEST_VERSION = 14
# Each setting with the values under which an acknowledged transaction outlives a crash, and a damaged page is seen.
SAFE = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "local", "remote_write", "remote_apply"),
    "data_checksums": ("on",),
}


def check(conn: psycopg.Connection[Any]) -> None:
    """Look at the settings in force in this session (the server's, the database's and the role's together).

    Raises PolicyRefusedError (`DATABASE_UNSAFE`, `DATABASE_TOO_OLD`), or ServiceUnavailableError (`DATABASE_DOWN`)
    when the database does not answer.
    """
    try:
        with conn.cursor(row_factory=tuple_row) as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(SAFE)])
            in_force: dict[str, str] = dict(cursor.fetchall())
        version = conn.info.server_version // 10000
    except psycopg.OperationalError as error:
        raise ServiceUnavailableError(
            "DATABASE_DOWN", f"PostgreSQL does not answer: {error}", remedy="Nothing is lost. Start it, then try again."
        ) from error
    bad = [name for name, safe in SAFE.items() if in_force.get(name, "unknown") not in safe]
    if bad:
        raise PolicyRefusedError(
            "DATABASE_UNSAFE",
            f"PostgreSQL runs with {', '.join(f'{name} = {in_force.get(name)}' for name in bad)}:"
            " a crash could lose an acknowledged deposit.",
            remedy="Turn these settings on in postgresql.conf, and for the role and the database (ALTER ROLE, ALTER"
            " DATABASE … RESET). For data_checksums stop the server, run `pg_checksums --enable -D DATA`. Start again.",
        )
    if version < OLDEST_VERSION:
        raise PolicyRefusedError(
            "DATABASE_TOO_OLD",
            f"PostgreSQL {version} is too old.",
            remedy=f"Use PostgreSQL {OLDEST_VERSION} or later.",
        )
