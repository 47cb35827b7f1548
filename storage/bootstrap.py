"""Open an archive from settings: the one place where ports are wired and the environment is read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ed25519
from psycopg.types.json import Jsonb

from minutier.certificates import load_crl
from minutier.errors import BadInputError, PolicyRefusedError, ServiceUnavailableError
from minutier.events import Event
from minutier.trust import load_trust
from storage import journal, seal_keys
from storage.archive import Archive, system_clock
from storage.classes import CALENDAR, KEEP, SORT, LifecycleClass
from storage.database import Database
from storage.dev_ca import JOURNAL_NAME, DevelopmentCa, authority_of
from storage.dev_keys import SECOND_FOLDER, second_authority_of
from storage.evidence_store import adopt_whole_records
from storage.key_acts import loader, places_of, require_acceptable
from storage.keys import KeyRing
from storage.parse import open_store
from storage.ports import ObjectStore
from storage.postgres_checks import check
from storage.probe import ProbeReport, probe
from storage.rebuild import Sources
from storage.revocation_source import RevocationSource
from storage.safes import create_safe
from storage.seal_keys import SEAL, SECOND
from storage.sealer import Sealer
from storage.segments import PREFIX
from storage.settings import Settings, load_settings
from storage.signers import load_journal_key
from storage.tsa import TimestampAuthorities

_PROBE_LIFE = timedelta(hours=24)
_DEFAULT_SAFE = ("demo", "Coffre de démonstration")
_DEFAULT_CLASSES = (
    LifecycleClass("default", "Conservation cinq ans", 5),
    LifecycleClass("siv", "Dossier d’immatriculation : cinq ans, à la fin de l’année civile", 5, term=CALENDAR),
    LifecycleClass("planning-keep", "Urbanisme : conservation définitive", 10, disposition=KEEP),
    LifecycleClass("planning-sort", "Urbanisme : tri, sous visa", 10, disposition=SORT),
    LifecycleClass("planning-destroy", "Urbanisme : élimination, sous visa", 10, visa=True),
)
_opened: dict[Path, Archive] = {}
_opening = threading.Lock()


def open_archive(settings: Settings) -> Archive:
    """Open every port of an instance; `settings` carry addresses. Close its database when done.

    Raises ServiceUnavailableError when the database does not answer or the instance was never started.
    """
    if settings.database_url is None or settings.tsa_urls is None:
        raise ServiceUnavailableError(
            "NOT_UP", f"The instance in {settings.home} is not running.", remedy="Start it: minutier up"
        )
    database = Database(settings.database_url)
    with ExitStack() as undo:
        undo.callback(database.close)
        database.open()
        authority = _authority(settings, database)
        sealers = {kind: Sealer(database, loader(settings, kind), kind) for kind in _kinds(settings, database)}
        trust = load_trust(settings.trust_dir)
        lists = (authority.root_crl, authority.pki / SECOND_FOLDER / "root.crl")
        crls = tuple(load_crl(path.read_bytes()) for path in lists if path.exists())
        archive = Archive(
            settings=settings,
            database=database,
            replicas=tuple(_open_replicas(settings, database)),
            keys=KeyRing(settings.home / "keys"),
            signer=sealers[SEAL],
            journal_key=load_journal_key(authority.journal_key),
            tsa=TimestampAuthorities(
                settings.tsa_urls, trust.stamp_roots, crls=crls, source=revocation_source(settings)
            ),
            roots=trust.all_roots,
            sealing_roots=trust.seal_roots,
            crls=crls,
            dates=trust.dates,
            second_signer=sealers.get(SECOND),
            second_roots=trust.second_roots,
        )
        _install_keys(archive)
        _install_defaults(archive)
        with database.transaction() as connection:
            adopt_whole_records(connection)
        undo.pop_all()
    return archive


def revocation_source(settings: Settings) -> RevocationSource:
    """Give the source of revocation data: hosts that the operator named himself may have private addresses."""
    named = [urlsplit(url).hostname or "" for url in (*(settings.tsa_urls or ()), *settings.crls)]
    return RevocationSource(settings.crls, frozenset({*named, *settings.revocation_hosts} - {""}))


def _authority(settings: Settings, database: Database) -> DevelopmentCa:
    with database.transaction() as connection:
        born = connection.execute("SELECT 1 AS one FROM safe LIMIT 1").fetchone() is not None
    return authority_of(settings.home, system_clock(), born=born)


def _kinds(settings: Settings, database: Database) -> list[str]:
    """Give the kinds of seals that an archive makes; the authority of second seals is made with the first of them."""
    if settings.second_seal == "none":
        return [SEAL]
    with database.transaction() as connection:
        born = any(key.kind == SECOND for key in seal_keys.keys(connection))
    second_authority_of(places_of(settings), system_clock(), born=born)
    return [SEAL, SECOND]


def _install_keys(archive: Archive) -> None:
    """Take the first sealing key of each kind into use; a later one is taken by `rotate` alone."""
    with archive.database.transaction() as connection:
        known = {key.kind for key in seal_keys.keys(connection)}
    for sealer in filter(None, (archive.signer, archive.second_signer)):
        if sealer.kind in known:
            continue  # the device of a key is not asked for anything before it must seal
        require_acceptable(archive, sealer.kind, sealer)
        with archive.database.transaction() as connection:
            seal_keys.register(connection, sealer.kind, sealer.chain[0], archive.clock())


def _open_replicas(settings: Settings, database: Database) -> Iterator[ObjectStore]:
    """Open the replicas; one that was never seen is made, one that was and is gone stays missing (STORE_MISSING).

    Raises BadInputError (`REPLICA_MOVED`) when a name now stands for another place: its copies would all seem lost.
    """
    with database.transaction() as connection:
        known = {row["name"]: row["spec"] for row in connection.execute("SELECT name, spec FROM replica")}
    new = not known
    for name, spec, credentials in replica_specs(settings):
        if known.get(name, spec) != spec:
            raise BadInputError(
                "REPLICA_MOVED",
                f"{name} was {known[name]}, and the settings now say {spec}.",
                remedy=f"Put the old address back. If the store was moved or replaced: minutier store create {name}",
            )
        store = open_store(spec, name, credentials, create=name not in known)
        if new:
            _require_no_archive(store)
        if name not in known:
            _record_replica(database, name, spec, system_clock())
        yield store


def _require_no_archive(store: ObjectStore) -> None:
    """Refuse an empty catalogue before a store that holds the journal of an archive: a second journal would begin."""
    if next(iter(store.list_objects(PREFIX)), None) is not None:
        raise PolicyRefusedError(
            "CATALOGUE_LOST",
            f"The database is new, and {store.name} holds the journal of an archive.",
            remedy="Make the catalogue again from the stores: minutier rebuild --into DATABASE_URL (infra/restore.md)",
        )


def rebuild_sources(settings: Settings) -> Sources:
    """Open what a rebuild reads, without any database: stores as they are, keys, and the anchors that judge.

    Raises BadInputError (`JOURNAL_KEY`) when the trust directory has no key of the journal.
    """
    trust, pki = load_trust(settings.trust_dir), places_of(settings).pki
    own = [key for key in trust.journal_keys if key.name == JOURNAL_NAME]
    if not own:
        raise BadInputError(
            "JOURNAL_KEY",
            f"{settings.trust_dir} has no journal.vkey of this archive.",
            remedy="Restore the trust directory: without that key, nothing shows that a segment is the archive's.",
        )
    lists = (pki / "root.crl", pki / SECOND_FOLDER / "root.crl")
    return Sources(
        stores=tuple(open_store(spec, name, credentials) for name, spec, credentials in replica_specs(settings)),
        keys=KeyRing(settings.home / "keys"),
        journal_key=ed25519.Ed25519PublicKey.from_public_bytes(own[0].public),
        trust=trust,
        crls=tuple(load_crl(path.read_bytes()) for path in lists if path.exists()),
    )


def replica_specs(settings: Settings) -> Iterator[tuple[str, str, Path | None]]:
    """Iterate over the replicas of the settings: name, spec, credentials file."""
    for index, (spec, credentials) in enumerate(zip(settings.replicas, settings.replica_credentials, strict=True)):
        yield f"replica-{chr(97 + index)}", spec, credentials


def make_replica(settings: Settings, name: str) -> bool:
    """Let a replica be where the settings now say: True when an empty store was made, False when one is there.

    The next sweep fills an empty one from the others. Raises BadInputError (`UNKNOWN_REPLICA`) for a name not in the
    settings, ServiceUnavailableError when the store does not answer.
    """
    database = Database(settings.database_url or "")
    try:
        database.open()
        for known, spec, credentials in replica_specs(settings):
            if known == name:
                made = not _is_there(open_store(spec, name, credentials))
                if made:
                    open_store(spec, name, credentials, create=True)
                _record_replica(database, name, spec, system_clock())
                return made
    finally:
        database.close()
    names = ", ".join(known for known, _, _ in replica_specs(settings))
    raise BadInputError("UNKNOWN_REPLICA", f"There is no replica {name!r}.", remedy=f"Use one of: {names}.")


def _is_there(store: ObjectStore) -> bool:
    try:
        store.versions("anything/at/all")
    except ServiceUnavailableError as error:
        if error.code != "STORE_MISSING":
            raise
        return False
    return True


def _record_replica(database: Database, name: str, spec: str, at: datetime) -> None:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO replica (name, spec, made_at) VALUES (%s, %s, %s) ON CONFLICT (name)"
            " DO UPDATE SET spec = EXCLUDED.spec, made_at = EXCLUDED.made_at",
            (name, spec, at),
        )
        # The canary's word was about the store that stood here before.
        connection.execute("DELETE FROM store_probe WHERE replica = %s", (name,))
        journal.append(connection, Event.STORE_MADE, at, details={"replica": name})


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

    The database must still keep what it acknowledges. Raises PolicyRefusedError (`STORE_DOES_NOT_LOCK`,
    `DATABASE_UNSAFE`), or ServiceUnavailableError when a store does not answer.
    """
    now = archive.clock()
    with archive.database.transaction() as connection:
        check(connection)
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


def _install_defaults(archive: Archive) -> None:
    with archive.database.transaction() as connection:
        for row in _DEFAULT_CLASSES:
            connection.execute(
                "INSERT INTO lifecycle_class (name, title, years, mode, disposition, term, visa, active_years, starts)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                astuple(row),
            )
    create_safe(archive, *_DEFAULT_SAFE)
