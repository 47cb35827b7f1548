"""An empty archive aside: what has to be tried whole is tried there, and never on the archive that counts.

It has a database of its own in the same server, directory stores, keys, and a time-stamp authority for development in
the same process: no authority is asked, and nothing of it has any legal value. All of it is removed at the end.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from minutier.errors import ServiceUnavailableError
from storage import vault
from storage.archive import Archive
from storage.bootstrap import open_archive, require_probed
from storage.catalogue import Deposit
from storage.dev_tsa import authority_in_process
from storage.directory import DirectoryStore
from storage.reception import current
from storage.sealing import seal_deposit, stamp_batch
from storage.settings import load_settings
from tasks.rendering import render_deposit
from tasks.screening import screen_deposit
from tasks.sealing import software

_NAMED = "minutier_aside_"
_NOBODY = "http://aside.invalid/"


@contextmanager
def archive_aside(archive: Archive, folder: Path, clock: Callable[[], datetime] | None = None) -> Iterator[Archive]:
    """Open an empty archive whose files are in `folder`, on a new database beside the archive's own.

    `clock` is its time and that of its stores; the archive's own where it is None. Raises ServiceUnavailableError
    (`NO_ASIDE`) when the database's account may not make a database.
    """
    clock = clock or archive.clock
    with _database(archive.settings.database_url or "") as url:
        chosen = {
            "MINUTIER_DATABASE_URL": url,
            "MINUTIER_TSA_URLS": _NOBODY,
            "MINUTIER_MAX_DOCUMENT_BYTES": str(archive.settings.max_document_bytes),
        }
        opened = open_archive(load_settings(folder / "home", chosen))
        try:
            stores = [DirectoryStore(f"aside-{x}", folder / "stores" / x, create=True, clock=clock) for x in "ab"]
            tsa = authority_in_process(folder / "home", opened.roots, clock)
            yield dataclasses.replace(opened, clock=clock, replicas=tuple(stores), tsa=tsa)
        finally:
            opened.database.close()


@contextmanager
def _database(url: str) -> Iterator[str]:
    name = f"{_NAMED}{secrets.token_hex(8)}"
    try:
        _drop_left(url)
        _run(url, f'CREATE DATABASE "{name}"')
    except psycopg.Error as error:
        raise ServiceUnavailableError(
            "NO_ASIDE",
            f"No database can be made beside the archive's own ({str(error).strip()}).",
            remedy="Give its account the right CREATEDB, or rehearse on another instance.",
        ) from error
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        # One that stays is empty of anything that counts, and is named so that it can be told.
        with suppress(psycopg.Error):
            _run(url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _drop_left(url: str) -> None:
    """Drop what a process that was killed left; one that is in use refuses."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        for (left,) in connection.execute(query, (_NAMED,)).fetchall():
            with suppress(psycopg.Error):
                connection.execute(f'DROP DATABASE "{left}"'.encode())


def _run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        connection.execute(statement.encode())


def carry_through(archive: Archive, archive_ids: Sequence[str]) -> list[Deposit]:
    """Carry received documents to their end, step by step as flows/deposit.py does; those refused stay so."""
    require_probed(archive)
    for archive_id in archive_ids:
        screen_deposit(archive, archive_id)
        render_deposit(archive, archive_id)
        seal_deposit(archive, archive_id, software())
    ready = [each for each in archive_ids if current(archive, each).state != "REFUSED"]
    if ready:
        stamp_batch(archive, ready)
    for archive_id in ready:
        vault.store_deposit(archive, archive_id)
    vault.commit_deposits(archive, ready)
    for archive_id in ready:
        vault.lock_deposit(archive, archive_id)
    vault.attest_deposits(archive, ready)
    return [current(archive, archive_id) for archive_id in archive_ids]
