"""An opened archive: the ports that every verb works with, and the places of one instance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519

from minutier.algorithm_dates import AlgorithmDates, published_dates
from storage.database import Database
from storage.keys import KeyRing
from storage.ports import ObjectStore
from storage.sealer import Sealer
from storage.settings import Settings
from storage.tsa import TimestampAuthorities


def system_clock() -> datetime:
    """Give the machine's time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Archive:
    """Ports and places. `clock` is a port too, so that tests move time."""

    settings: Settings
    database: Database
    replicas: tuple[ObjectStore, ...]
    keys: KeyRing
    signer: Sealer
    journal_key: ed25519.Ed25519PrivateKey
    tsa: TimestampAuthorities
    roots: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    sealing_roots: tuple[x509.Certificate, ...] = ()
    dates: AlgorithmDates = field(default_factory=published_dates)
    clock: Callable[[], datetime] = system_clock
    second_signer: Sealer | None = None
    """The key of second seals, where the settings ask for them."""
    second_roots: tuple[x509.Certificate, ...] = ()
    """Roots that second seals are judged under (ML-DSA-65); `roots` are the others."""

    @property
    def seal_roots(self) -> tuple[x509.Certificate, ...]:
        """Give the roots that seals are judged by: all, where none is set apart."""
        return self.sealing_roots or self.roots

    @property
    def spool(self) -> Path:
        """Where documents wait, in clear, until they are archived."""
        return self.settings.home / "spool"

    @property
    def quarantine(self) -> Path:
        """Where refused bytes wait for their depositor."""
        return self.settings.home / "quarantine"

    def spooled(self, archive_id: str, name: str) -> Path:
        """Give the path of one file of a deposit on its way: original, rendition.pdf, objects/ROLE.age."""
        return self.spool / archive_id / name

    def replica(self, name: str) -> ObjectStore:
        """Give a replica by its name; KeyError when the configuration no longer has it."""
        for store in self.replicas:
            if store.name == name:
                return store
        raise KeyError(name)
