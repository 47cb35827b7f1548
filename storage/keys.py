"""Keys: the seal's signing key, and the age keys that keep documents closed (C2SP age v1, through pyrage).

Each document has its own key pair. Its objects are encrypted to the public half; the private half is itself an age
file for the safe's key and the escrow key. That small file lives outside Object Lock, so that destroying it erases.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pyrage import DecryptError, decrypt, decrypt_io, encrypt, encrypt_io, x25519

from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError
from storage.files import write_durably


@dataclass(frozen=True)
class FileSigner:
    """A seal key read from a PEM file. `sign` gives an ECDSA signature (DER) over SHA-256 of `tbs`."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    def sign(self, tbs: bytes) -> bytes:
        """Sign the bytes to be signed."""
        return self.key.sign(tbs, ec.ECDSA(hashes.SHA256()))


def load_signer(key_file: Path, certificate_file: Path) -> FileSigner:
    """Read the seal key and its certificate chain, leaf first."""
    key = serialization.load_pem_private_key(_read_secret(key_file), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadInputError("SEAL_KEY", f"{key_file} is not an ECDSA key.", remedy="Give an ECDSA P-256 key.")
    return FileSigner(key, tuple(x509.load_pem_x509_certificates(certificate_file.read_bytes())))


def load_journal_key(key_file: Path) -> ed25519.Ed25519PrivateKey:
    """Read the Ed25519 key that signs checkpoints."""
    key = serialization.load_pem_private_key(_read_secret(key_file), None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise BadInputError("JOURNAL_KEY", f"{key_file} is not an Ed25519 key.", remedy="Give an Ed25519 key.")
    return key


def _read_secret(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise PolicyRefusedError(
            "KEY_READABLE_BY_OTHERS", f"{path} can be read by other users.", remedy=f"Run: chmod 600 {path}"
        )
    return path.read_bytes()


class KeyRing:
    """Safe keys and the escrow key under one directory, and the wrapped keys of documents beside them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create_safe_key(self, safe: str) -> str:
        """Make the key of a safe once; gives its age recipient."""
        path = self._directory / "safes" / f"{safe}.age-key"
        if not path.exists():
            write_durably(path, str(x25519.Identity.generate()).encode() + b"\n", mode=0o600)
        return str(_identity(path).to_public())

    def new_document_key(self, safe: str) -> tuple[str, bytes]:
        """Give a fresh document key: its recipient, and its private half wrapped for the safe and the escrow."""
        identity = x25519.Identity.generate()
        recipients = [_identity(self._directory / "safes" / f"{safe}.age-key").to_public(), self._escrow()]
        return str(identity.to_public()), encrypt(str(identity).encode(), recipients)

    def unwrap(self, safe: str, wrapped: bytes) -> x25519.Identity:
        """Open a document key with the safe's key; IntegrityFailureError when it does not open."""
        try:
            text = decrypt(wrapped, [_identity(self._directory / "safes" / f"{safe}.age-key")])
        except DecryptError as error:
            raise IntegrityFailureError(
                "KEY_DOES_NOT_OPEN",
                "The document key does not open with the key of its safe.",
                remedy="Restore the keys directory from its backup, or use the escrow key.",
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

    def _escrow(self) -> x25519.Recipient:
        path = self._directory / "escrow.age-key"
        if not path.exists():
            write_durably(path, str(x25519.Identity.generate()).encode() + b"\n", mode=0o600)
        return _identity(path).to_public()


def encrypt_file(source: Path, target: Path, recipient: str) -> None:
    """Encrypt a file to an age recipient, streaming; the target is durable when this returns."""
    with source.open("rb") as reader, target.open("wb") as writer:
        encrypt_io(reader, writer, [x25519.Recipient.from_str(recipient)])
        writer.flush()
        os.fsync(writer.fileno())


def decrypt_stream(source: BinaryIO, target: BinaryIO, identity: x25519.Identity) -> None:
    """Decrypt an age stream; IntegrityFailureError when it was altered or is for another key."""
    try:
        decrypt_io(source, target, [identity])
    except DecryptError as error:
        raise IntegrityFailureError(
            "CIPHERTEXT_ALTERED",
            f"The stored bytes do not decrypt ({error}).",
            remedy="Run `minutier sweep`: it heals a damaged copy from a good one.",
        ) from error


def _identity(path: Path) -> x25519.Identity:
    return x25519.Identity.from_str(_read_secret(path).decode().strip())
