"""Open an archive from settings: the one place where ports are wired and the environment is read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from psycopg.types.json import Jsonb

from minutier.certificates import load_crl
from minutier.errors import ServiceUnavailableError
from minutier.events import Event
from minutier.trust import load_trust
from storage import journal
from storage.archive import Archive, system_clock
from storage.database import Database
from storage.dev_ca import create_development_ca
from storage.keys import KeyRing, load_journal_key, load_signer
from storage.parse import open_store
from storage.probe import ProbeReport, probe
from storage.settings import Settings, load_settings
from storage.tsa import TimestampAuthorities

_PROBE_LIFE = timedelta(hours=24)
_DEFAULT_SAFE = ("demo", "Coffre de démonstration")
_DEFAULT_CLASSES = (("default", "Conservation cinq ans", 5, "destroy"),)
_opened: dict[Path, Archive] = {}
_opening = threading.Lock()


def open_archive(settings: Settings) -> Archive:
    """Open every port of an instance; `settings` carry addresses. Close its database when done.

    Raises ServiceUnavailableError when the database does not answer or the instance was never started.
    """
    if settings.database_url is None or settings.tsa_urls is None:
        raise ServiceUnavailableError(
            "NOT_RUNNING", f"The instance in {settings.home} is not running.", remedy="Start it: minutier up"
        )
    authority = create_development_ca(settings.home, system_clock())
    roots = load_trust(settings.trust_dir).roots
    crls = (load_crl(authority.root_crl.read_bytes()),)
    database = Database(settings.database_url)
    database.open()
    archive = Archive(
        settings=settings,
        database=database,
        replicas=tuple(
            open_store(spec, f"replica-{chr(97 + index)}", credentials, create=True)
            for index, (spec, credentials) in enumerate(
                zip(settings.replicas, settings.replica_credentials, strict=True)
            )
        ),
        keys=KeyRing(settings.home / "keys"),
        signer=load_signer(authority.seal_key, authority.seal_certificate),
        journal_key=load_journal_key(authority.journal_key),
        tsa=TimestampAuthorities(settings.tsa_urls, roots, crls=crls),
        roots=roots,
        crls=crls,
    )
    _install_defaults(archive)
    return archive


@contextmanager
def opened_archive(settings: Settings) -> Iterator[Archive]:
    """Open an archive for the length of a block."""
    archive = open_archive(settings)
    try:
        yield archive
    finally:
        archive.database.close()


def current_archive() -> Archive:
    """Give this process's archive, opened once from its environment: what tasks of a worker use."""
    settings = load_settings(None, os.environ)
    with _opening:
        if settings.home not in _opened:
            _opened[settings.home] = open_archive(settings)
        return _opened[settings.home]


def close_current() -> None:
    """Close what `current_archive` opened."""
    with _opening:
        for archive in _opened.values():
            archive.database.close()
        _opened.clear()


def require_probed(archive: Archive) -> None:
    """Refuse deposits on a store that does not really lock: the canary must have passed within a day on every replica.

    Raises PolicyRefusedError (`STORE_DOES_NOT_LOCK`), or ServiceUnavailableError when a store does not answer.
    """
    now = archive.clock()
    with archive.database.transaction() as connection:
        rows = connection.execute("SELECT replica FROM store_probe WHERE ok AND at > %s", (now - _PROBE_LIFE,))
        fresh = {row["replica"] for row in rows}
    for store in archive.replicas:
        if store.name not in fresh:
            probe_store(archive, store.name).require()


def probe_store(archive: Archive, name: str) -> ProbeReport:
    """Run the canary on one replica and record what it found."""
    now = archive.clock()
    report = probe(archive.replica(name), now)
    with archive.database.transaction() as connection:
        connection.execute(
            "INSERT INTO store_probe (replica, at, ok, report) VALUES (%s, %s, %s, %s) ON CONFLICT (replica)"
            " DO UPDATE SET at = EXCLUDED.at, ok = EXCLUDED.ok, report = EXCLUDED.report",
            (name, now, report.ok, Jsonb(report.as_dict())),
        )
        details: dict[str, str | int] = {"replica": name, "ok": int(report.ok)}
        journal.append(connection, Event.STORE_PROBED, now, details=details)
    return report


def create_safe(archive: Archive, name: str, title: str) -> bool:
    """Create a safe with its own key; False when it was there already."""
    recipient = archive.keys.create_safe_key(name)
    with archive.database.transaction() as connection:
        done = connection.execute(
            "INSERT INTO safe (name, title, recipient, created_at) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (name, title, recipient, archive.clock()),
        )
        if done.rowcount:
            journal.append(connection, Event.SAFE_CREATED, archive.clock(), safe=name)
    return bool(done.rowcount)


def _install_defaults(archive: Archive) -> None:
    with archive.database.transaction() as connection:
        for row in _DEFAULT_CLASSES:
            connection.execute(
                "INSERT INTO lifecycle_class (name, title, years, disposition) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                row,
            )
    create_safe(archive, *_DEFAULT_SAFE)
