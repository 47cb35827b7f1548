"""Keys: the age keys that keep documents closed (C2SP age v1, through pyrage).

Each document has its own key pair. Its objects are encrypted to the public half; the private half is itself an age
file for the safe's key and the escrow key. That small file lives outside Object Lock, so that destroying it erases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pyrage import DecryptError, EncryptError, decrypt, decrypt_io, encrypt, encrypt_io, x25519

from minutier.errors import IntegrityFailureError, MinutierError
from minutier.fingerprint import Fingerprint
from storage.files import durable_writer, write_durably
from storage.signers import read_secret

_ESCROW = "escrow.age-key"


class KeyRing:
    """Safe keys and the escrow key under one directory, and the wrapped keys of documents beside them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create_safe_key(self, safe: str) -> str:
        """Make the key of a safe once; gives its age recipient."""
        path = self._safe_path(safe)
        if not path.exists():
            write_durably(path, str(x25519.Identity.generate()).encode() + b"\n", mode=0o600)
        return str(_identity(path).to_public())

    def create_escrow_key(self) -> str:
        """Make the escrow key once; gives its age recipient. Its file belongs elsewhere, offline, once it is made."""
        path = self._directory / _ESCROW
        if not path.exists():
            write_durably(path, str(x25519.Identity.generate()).encode() + b"\n", mode=0o600)
        return str(_identity(path).to_public())

    def require_safe_key(self, safe: str, recipient: str) -> None:
        """Refuse to go on when the key of a safe is gone or is another one: what is deposited could not be read."""
        path = self._safe_path(safe)
        if not path.exists() or str(_identity(path).to_public()) != recipient:
            raise _key_missing(safe)

    def new_document_key(self, recipients: Sequence[str]) -> tuple[str, bytes]:
        """Give a fresh document key: its recipient, and its private half wrapped for the recipients of its safe."""
        identity = x25519.Identity.generate()
        return str(identity.to_public()), encrypt(
            str(identity).encode(), [x25519.Recipient.from_str(recipient) for recipient in recipients]
        )

    def unwrap(self, safe: str, wrapped: bytes) -> x25519.Identity:
        """Open a document key with the safe's key, or the escrow key where it is here.

        Raises IntegrityFailureError: `KEYS_MISSING` when neither file is here, `KEY_DOES_NOT_OPEN` when none opens it.
        """
        holders = [path for path in (self._safe_path(safe), self._directory / _ESCROW) if path.exists()]
        if not holders:
            raise _key_missing(safe)
        try:
            text = decrypt(wrapped, [_identity(path) for path in holders])
        except DecryptError as error:
            raise IntegrityFailureError(
                "KEY_DOES_NOT_OPEN",
                "The document key does not open with the key of its safe.",
                remedy="Restore the keys directory from its backup, or put the escrow key back in it.",
            ) from error
        return x25519.Identity.from_str(text.decode())

    def keep(self, archive_id: str, wrapped: bytes) -> None:
        """Keep a second copy of a wrapped key outside the database; a database lost alone loses no document."""
        path = self._wrapped_path(archive_id)
        if not path.exists():
            write_durably(path, wrapped, mode=0o600)

    def kept(self, archive_id: str) -> bytes | None:
        """Give the wrapped key kept outside the database, if any."""
        path = self._wrapped_path(archive_id)
        return path.read_bytes() if path.exists() else None

    def _wrapped_path(self, archive_id: str) -> Path:
        # The last characters of a UUIDv7 are random: they spread the files evenly.
        return self._directory / "documents" / archive_id[-2:] / f"{archive_id}.age"

    def _safe_path(self, safe: str) -> Path:
        return self._directory / "safes" / f"{safe}.age-key"


def _key_missing(safe: str) -> IntegrityFailureError:
    return IntegrityFailureError(
        "KEYS_MISSING",
        f"The key of the safe {safe} is not in the keys directory, or is not the one the safe was made with.",
        remedy="Restore the keys directory from its backup; nothing was changed.",
    )


def spool_altered(name: str) -> IntegrityFailureError:
    """Give the error for bytes in the spool that are not those captured or sealed."""
    return IntegrityFailureError(
        "SPOOL_ALTERED",
        f"The {name} in the spool is missing, or is not what was captured and sealed.",
        remedy="Send the document again under the same reference: the deposit starts again from these bytes.",
    )


def encrypt_file(source: Path, target: Path, recipient: str, expected: Fingerprint | None = None) -> None:
    """Encrypt a file to an age recipient, streaming; the target is whole and durable, or as it was before.

    `expected` is what the bytes that go in must be, judged on the very bytes encrypted: IntegrityFailureError,
    `SPOOL_ALTERED`, when they are others. OSError when the source cannot be read; ServiceUnavailableError, code
    DISK_FULL, when the target has no room.
    """
    recipients = [x25519.Recipient.from_str(recipient)]
    with source.open("rb") as reader, durable_writer(target) as writer:
        watched = _Watched(reader, writer)
        try:
            encrypt_io(watched, watched, recipients)
        except (EncryptError, OSError) as error:
            raise watched.met or error from None
        if expected is not None and watched.fingerprint() != expected:
            raise spool_altered(source.name)


def decrypt_stream(source: BinaryIO, target: BinaryIO, identity: x25519.Identity) -> None:
    """Decrypt an age stream; IntegrityFailureError when it was altered or is for another key.

    OSError of either stream passes as it is: a full disk here says nothing about the stored bytes.
    """
    watched = _Watched(source, target)
    try:
        decrypt_io(watched, watched, [identity])
    except (DecryptError, OSError) as error:  # the second for a chunk that was altered or cut off
        if watched.met is not None:
            raise watched.met from None
        raise IntegrityFailureError(
            "CIPHERTEXT_ALTERED",
            f"The stored bytes do not decrypt ({error}).",
            remedy="Run `minutier sweep`: it heals a damaged copy from a good one.",
        ) from error


class _Watched:
    """Passes bytes on and keeps the error met: pyrage gives the words of one, without its number, or an own error."""

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source, self._target = source, target
        self._digests, self._size = (hashlib.sha256(), hashlib.sha3_512()), 0
        self.met: OSError | MinutierError | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._source.read(size)
        except (OSError, MinutierError) as error:
            self.met = error
            raise
        for digest in self._digests:
            digest.update(data)
        self._size += len(data)
        return data

    def fingerprint(self) -> Fingerprint:
        """Give the fingerprint of all that was read."""
        first, second = (digest.hexdigest() for digest in self._digests)
        return Fingerprint(first, second, self._size)

    def write(self, data: bytes) -> int:
        try:
            return self._target.write(data)
        except (OSError, MinutierError) as error:
            self.met = error
            raise


def _identity(path: Path) -> x25519.Identity:
    return x25519.Identity.from_str(read_secret(path).decode().strip())
