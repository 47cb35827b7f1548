"""The world of the simulation: the archive's own code on stores in memory, clocks that obey, a TSA in this process."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import psycopg
from psycopg.rows import dict_row

from minutier.certificates import load_pem
from storage import bootstrap, database, journal
from storage.archive import Archive
from storage.bootstrap import require_probed
from storage.dev_ca import create_development_ca
from storage.dev_tsa import issue_token, load_tsa_key
from storage.memory import ManualClock, MemoryStore
from storage.safes import create_safe
from tests.simulation.server import FastServer, fast_server, memory_folder
from tests.support.rig import make_rig

_CASES = 60
"""Cases that share a database; the next ones have a fresh copy, and begin at the same time."""
_LONGEST = timedelta(days=1000)


@dataclasses.dataclass
class Skewed:
    """A clock that may be wrong by `off`."""

    true: ManualClock
    off: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return self.true() + self.off


class World:
    """An archive that many cases use one after the other. `archive`, `stores` and the clocks are those of now."""

    def __init__(self, server: FastServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._template, self._name = server.database(), ""
        self._born = datetime.now(UTC).replace(microsecond=0)
        self._authority = create_development_ca(folder / "home", self._born)
        self._close = ExitStack()
        self._cases = self._references = 0
        self.time = ManualClock(self._born)
        self.app, self.store_clock = Skewed(self.time), Skewed(self.time)
        self.head: tuple[int, bytes]
        self._open(self._template)
        create_safe(self.archive, "town", "Mairie")
        require_probed(self.archive)
        self.close()
        self._renew()

    @property
    def stores(self) -> tuple[MemoryStore, ...]:
        return self.archive.replicas  # type: ignore[return-value] # they were made here

    def fresh(self) -> None:
        """Make ready for the next case: clocks right, stores empty, nothing in the spool."""
        self._cases += 1
        if self._cases % _CASES == 0 or self.time() > self._born + _LONGEST:
            self.close()
            self._server.drop(self._name)
            self._renew()
        self.right_clocks()
        # Sweeps and collectors have nothing to look for of the cases before.
        self.watch.execute("DELETE FROM replica_copy")
        self.watch.execute(
            "INSERT INTO proof_check (archive_id, checked_at, code) SELECT d.archive_id, '2200-01-01', ''"
            " FROM deposit d LEFT JOIN proof_check p USING (archive_id)"
            " WHERE p.checked_at IS DISTINCT FROM '2200-01-01'"
            # A worker that is dead may hold a row until its session is found out.
            " FOR KEY SHARE OF d SKIP LOCKED ON CONFLICT (archive_id)"
            " DO UPDATE SET checked_at = EXCLUDED.checked_at, code = ''"
        )
        for path in self._folder.glob("delivery-*"):
            path.unlink()
        for store in self.stores:
            store._entries.clear()
        for folder in (self.archive.spool, self.archive.quarantine, self.archive.settings.home / "keys" / "documents"):
            shutil.rmtree(folder, ignore_errors=True)
        require_probed(self.archive)  # so that every case makes the same calls, whenever it comes

    def right_clocks(self) -> None:
        self.app.off = self.store_clock.off = timedelta(0)

    def reference(self) -> str:
        """Give a reference that no case used before."""
        self._references += 1
        return f"R-{self._references}"

    def file(self, data: bytes) -> Path:
        # By content: another worker delivers at the same moment, and each has its own file.
        path = self._folder / f"delivery-{hashlib.sha256(data).hexdigest()[:16]}"
        path.write_bytes(data)
        return path

    def close(self) -> None:
        self._close.close()

    def _renew(self) -> None:
        self._name = self._server.database(self._template)
        self.time.now = self._born
        self._open(self._name)

    def _open(self, name: str) -> None:
        with ExitStack() as opened:
            rig = opened.enter_context(make_rig(self._server.url(name), self._folder, self._new_stores))
            self.watch = opened.enter_context(
                psycopg.connect(self._server.url(name), autocommit=True, row_factory=dict_row)
            )
            key, chain = load_tsa_key(self._authority.tsa_key), load_pem(self._authority.tsa_certificate.read_bytes())
            serials = iter(range(1, 1 << 62))
            tsa = dataclasses.replace(
                rig.archive.tsa,  # type: ignore[type-var] # the rig's, whose authority is a function
                answer=lambda request: issue_token(request, key, chain, self.time(), next(serials)),
            )
            self.archive: Archive = dataclasses.replace(rig.archive, clock=self.app, tsa=tsa)
            with self.archive.database.transaction() as connection:
                while journal.sequence(connection):
                    pass
                self.head = journal.head(connection)
            self._close = opened.pop_all()

    def _new_stores(self, _clock: Callable[[], datetime]) -> tuple[MemoryStore, ...]:
        return tuple(MemoryStore(f"replica-{letter}", clock=self.store_clock) for letter in "ab")


@contextmanager
def simulated_world() -> Iterator[World]:
    """Make a world with a server of its own; nothing of it is left afterwards."""
    folder = memory_folder()
    # The archive refuses a server that forgets at a power loss: here that is meant.
    with (
        mock.patch.object(database, "check", lambda connection: None),
        mock.patch.object(bootstrap, "check", lambda connection: None),
        fast_server() as server,
    ):
        try:
            world = World(server, folder)
            try:
                yield world
            finally:
                world.close()
        finally:
            shutil.rmtree(folder)
