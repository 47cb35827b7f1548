"""An archive for tests: real PostgreSQL, real certificates and tokens, stores in memory, and a clock that obeys."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from minutier.certificates import load_pem
from storage import catalogue, vault
from storage.archive import Archive
from storage.bootstrap import open_archive, require_probed
from storage.catalogue import Deposit
from storage.dev_ca import create_development_ca
from storage.dev_tsa import AuthorityInProcess, issue_token, load_tsa_key
from storage.memory import Call, Fault, ManualClock, MemoryStore
from storage.ports import ObjectStore
from storage.reception import Delivery, current, receive
from storage.sealing import seal_deposit, stamp_batch
from storage.settings import load_settings

SCREENING = {
    "media_type": "application/pdf", "format": "PDF", "antivirus": "none-configured", "flags": [], "pages": 1,
    "puid": "fmt/276",
}  # fmt: skip
RENDITION = {"verdict": "not_checked", "rung": "original-only", "reason": "NO_CONVERTER"}


@dataclass(frozen=True)
class LocalTsa(AuthorityInProcess):
    """An authority in this process that can be broken: `down` does it."""

    down: list[bool] = field(default_factory=list)

    def _ask(self, url: str, request: bytes) -> bytes:
        if self.down:
            raise httpx.ConnectError(f"{url} is down")
        return super()._ask(url, request)


@dataclass
class Rig:
    archive: Archive
    clock: ManualClock
    folder: Path

    @property
    def stores(self) -> Sequence[MemoryStore]:
        return self.archive.replicas  # type: ignore[return-value] # the rig made them

    def deliver(self, data: bytes = b"%PDF-1.7 a document\n", reference: str = "R-1", **more: object) -> Deposit:
        """Receive a file with these bytes."""
        path = self.folder / hashlib.sha256(data).hexdigest()[:12]
        path.write_bytes(data)
        values = {"safe": "demo", "lifecycle_class": "default", "depositor": "tests", "name": "file.pdf"} | more
        return receive(self.archive, Delivery(path=path, reference=reference, **values))  # type: ignore[arg-type]

    def deposit(self, data: bytes = b"%PDF-1.7 a document\n", reference: str = "R-1", **more: object) -> Deposit:
        """Carry one document to its end."""
        (found,) = carry(self.archive, [self.deliver(data, reference, **more).archive_id])
        return found


def pass_screening(archive: Archive, archive_id: str, rung: str = "original-only") -> None:
    """Stand in for the external engines of tasks/, which have tests of their own."""
    for state, column in (
        ("SCREENED", {"screening": SCREENING}),
        ("RENDERED", {"rendition": RENDITION | {"rung": rung}}),
    ):
        deposit = current(archive, archive_id)
        if deposit.state == catalogue.STATES[catalogue.STATES.index(state) - 1]:
            with archive.database.transaction() as connection:
                catalogue.advance(connection, deposit, state, archive.clock(), **column)


def carry(archive: Archive, archive_ids: Sequence[str]) -> list[Deposit]:
    """Carry received documents to their end, as flows/deposit.py does, but for keeping the journal on the stores."""
    require_probed(archive)
    for archive_id in archive_ids:
        pass_screening(archive, archive_id)
        seal_deposit(archive, archive_id, {"minutier": "test"})
    stamp_batch(archive, archive_ids)
    for archive_id in archive_ids:
        vault.store_deposit(archive, archive_id)
    vault.commit_deposits(archive, archive_ids)
    for archive_id in archive_ids:
        vault.lock_deposit(archive, archive_id)
    vault.attest_deposits(archive, archive_ids)
    return [current(archive, archive_id) for archive_id in archive_ids]


class Killed(BaseException):
    """The process is gone: no handler of an expected error sees it."""


def break_call(rig: Rig, broken: int, fault: Fault | type[Killed]) -> None:
    """Break one call, counted over all stores."""
    numbers = iter(range(10**6))

    def hook(_call: Call) -> Fault | None:
        if next(numbers) != broken:
            return None
        if isinstance(fault, type):
            raise fault
        return fault

    for store in rig.stores:
        store.fault_hook = hook


@contextmanager
def make_rig(
    database_url: str,
    folder: Path,
    stores: Callable[[ManualClock], Sequence[ObjectStore]] | None = None,
    home: Path | None = None,
) -> Iterator[Rig]:
    home = home or folder / "home"
    clock = ManualClock(datetime.now(UTC).replace(microsecond=0))
    settings = load_settings(home, {"MINUTIER_DATABASE_URL": database_url, "MINUTIER_TSA_URLS": "http://tsa.test/"})
    opened = open_archive(settings)
    authority = create_development_ca(home, clock())
    key, chain = load_tsa_key(authority.tsa_key), load_pem(authority.tsa_certificate.read_bytes())
    serials = iter(range(1, 1_000_000))
    made = stores(clock) if stores else (MemoryStore("replica-a", clock=clock), MemoryStore("replica-b", clock=clock))
    archive = dataclasses.replace(
        opened,
        clock=clock,
        replicas=tuple(made),
        tsa=LocalTsa(
            urls=("http://tsa.test/",),
            roots=opened.roots,
            answer=lambda request: issue_token(request, key, chain, clock(), next(serials)),
        ),
    )
    try:
        yield Rig(archive, clock, folder)
    finally:
        archive.database.close()
