"""The sealing key of an archive in use: each signature is counted before it is made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from minutier.seal import Signer, seal, second_seal
from storage import seal_keys
from storage.database import Connection, Database
from storage.seam import crossing

UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal and the number of its use, which the act that it is for takes into the journal."""

    signature: bytes
    certificate: x509.Certificate
    kind: str
    number: int

    def journaled(self, connection: Connection) -> dict[str, str | int]:
        """Settle the use in the act's transaction, and give the details that the act's journal entry must carry."""
        return seal_keys.settle(connection, self.certificate, self.kind, self.number)


class Sealer:
    """A `Signer` whose uses are counted; another process may rotate the key under it, and it takes the new one.

    `load` opens the key that is on the disk or in the device now, when the first seal asks for it: an archive whose
    device is away still reads and verifies. Safe to share between threads.
    """

    def __init__(self, database: Database, load: Callable[[], Signer], kind: str = seal_keys.SEAL) -> None:
        self._database, self._load, self._kind = database, load, kind
        self._signer: Signer | None = None
        self._lock = threading.Lock()

    @property
    def kind(self) -> str:
        """Give the kind of the seals: `seal`, or `seal-mldsa65`."""
        return self._kind

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """Give the certificates of the key in use, leaf first."""
        return self._opened().chain

    def sign(self, tbs: bytes) -> bytes:
        """Sign as a bare `Signer` does: counted, and left among the uses that no act took into the journal."""
        signer, _ = self._reserve(UNNAMED, "")
        with crossing("signer", "sign", UNNAMED):
            return signer.sign(tbs)

    def seal(self, content: bytes, at: datetime, act: str, archive_id: str = "") -> Sealed:
        """Seal `content` for an act (`manifest`, `attestation`…); the act then calls `journaled` in its transaction.

        Raises PolicyRefusedError (`SEAL_KEY_NOT_ACTIVE`) when the key may not seal or its certificate has ended, and
        what the key's device raises.
        """
        if self._ended(at):
            with self._lock:
                self._signer = None  # rotated by another process, perhaps: look again, once
            if self._ended(at):
                raise seal_keys.ended(self.chain[0])
        signer, number = self._reserve(act, archive_id)
        with crossing("signer", "sign", act):
            made = (seal if self._kind == seal_keys.SEAL else second_seal)(content, signer, at)
        return Sealed(made, signer.chain[0], self._kind, number)

    def _ended(self, at: datetime) -> bool:
        return self.chain[0].not_valid_after_utc < at

    def _opened(self) -> Signer:
        with self._lock:
            if self._signer is None:
                self._signer = self._load()
            return self._signer

    def _reserve(self, act: str, archive_id: str) -> tuple[Signer, int]:
        signer = self._opened()
        number = seal_keys.reserve(self._database, signer.chain[0], act, archive_id)
        if number is None:  # rotated by another process, perhaps: look again, once
            with self._lock:
                self._signer = signer = self._load()
            number = seal_keys.reserve(self._database, signer.chain[0], act, archive_id)
        if number is None:
            with self._database.transaction() as connection:
                raise seal_keys.not_active(connection, signer.chain[0])
        return signer, number
