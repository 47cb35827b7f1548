"""Keys: the age keys that keep documents closed (docs/format/encryption-v1.md).

Each document has its own key pair. Its objects are encrypted to the public half; the private half is itself an age
file for the recipients of its safe. That small file lives outside Object Lock, so that destroying it erases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO

from pyrage import DecryptError, EncryptError, decrypt_io, encrypt_io, x25519

from minutier import age_stream
from minutier.age import (
    X25519,
    Identity,
    Recipient,
    generate_identity,
    parse_identities,
    parse_recipient,
    parse_recipients,
)
from minutier.age_stream import decrypt_bytes, encrypt_bytes
from minutier.errors import BadInputError, IntegrityFailureError, MinutierError
from minutier.fingerprint import Fingerprint
from storage.files import durable_writer, move, remove, sync_directory, write_durably
from storage.seam import crossing
from storage.signers import read_secret

_ESCROW = "escrow.age-key"


class KeyRing:
    """Safe keys and the escrow key under one directory, wrapped keys of documents, and identities given by a caller.

    A safe whose clients hold the keys has no file here: its documents open with `holding` their identities.
    """

    def __init__(self, directory: Path, identities: Sequence[Identity] = ()) -> None:
        self._directory = directory
        self._identities = tuple(identities)

    def holding(self, identities: Sequence[Identity]) -> KeyRing:
        """Give the same keys with identities of a client, for one command and in memory only."""
        return KeyRing(self._directory, (*identities, *self._identities))

    @property
    def given(self) -> bool:
        """Say whether a caller gave identities."""
        return bool(self._identities)

    def create_safe_key(self, safe: str) -> str:
        """Make the key of a safe once; gives its age recipient."""
        return _made_once(self._safe_path(safe))

    def create_next_safe_key(self, safe: str) -> str:
        """Make, once, the key that will follow the one of a safe; both open until `retire_safe_key`."""
        return _made_once(self._next_path(safe))

    def retire_safe_key(self, safe: str, recipients: Collection[str]) -> None:
        """Leave of a safe's own keys only those in `recipients`; nothing may be wrapped for the others any more."""
        current, following = self._safe_path(safe), self._next_path(safe)
        if following.exists() and str(_identity(following).recipient) in recipients:
            move(following, current)
        for path in (current, following):
            if path.exists() and str(_identity(path).recipient) not in recipients:
                remove(path)
        if current.parent.exists():
            sync_directory(current.parent)

    def create_escrow_key(self) -> str:
        """Make the escrow key once; gives its age recipient. Its file belongs elsewhere, offline, once it is made."""
        return _made_once(self._directory / _ESCROW)

    def held_here(self) -> set[str]:
        """Give the recipients whose private half is a file of this directory."""
        folder = self._directory / "safes"
        files = [*folder.glob("*.age-key"), self._directory / _ESCROW]
        return {str(_identity(path).recipient) for path in files if path.exists()}

    def require_safe_key(self, safe: str, recipient: str) -> None:
        """Refuse to go on when the key of a safe is gone or is another one: what is deposited could not be read."""
        if recipient not in {str(_identity(path).recipient) for path in self._own(safe)}:
            raise _key_missing(safe)

    def new_document_key(self, recipients: Sequence[str]) -> tuple[str, bytes]:
        """Give a fresh document key: its recipient, and its private half wrapped for the recipients of its safe.

        It is post-quantum when they are: an ordinary one would undo them.
        """
        parsed = parse_recipients(recipients)
        with crossing("encryption", "new key"):
            identity = generate_identity(parsed[0].kind)
            return str(identity.recipient), wrap_key(identity, parsed)

    def unwrap(self, safe: str, wrapped: bytes) -> Identity:
        """Open a document key with the identities held, the safe's key, or the escrow key where it is here.

        Raises IntegrityFailureError: `KEYS_MISSING` when there is none, `KEY_DOES_NOT_OPEN` when none opens it.
        """
        escrow = self._directory / _ESCROW
        files = [*self._own(safe), *([escrow] if escrow.exists() else [])]
        holders = (*self._identities, *(_identity(path) for path in files))
        if not holders:
            raise _key_missing(safe)
        try:
            return _parse(decrypt_bytes(wrapped, holders))
        except IntegrityFailureError as error:
            raise IntegrityFailureError(
                "KEY_DOES_NOT_OPEN",
                "The document key does not open with the identities given, nor with the key of its safe.",
                remedy="Give --identity with the right file, or restore the keys directory from its backup.",
            ) from error

    def keep(self, archive_id: str, wrapped: bytes, *, replace: bool = False) -> None:
        """Keep a second copy of a wrapped key outside the database; a database lost alone loses no document.

        One that is there stays, unless it is to be replaced: whole, or as it was before.
        """
        path = self._wrapped_path(archive_id)
        if replace or not path.exists():
            write_durably(path, wrapped, mode=0o600)

    def forget(self, archive_id: str) -> None:
        """Destroy the copy of a wrapped key kept outside the database, durably."""
        path = self._wrapped_path(archive_id)
        remove(path)
        if path.parent.exists():
            sync_directory(path.parent)

    def kept(self, archive_id: str) -> bytes | None:
        """Give the wrapped key kept outside the database, if any."""
        path = self._wrapped_path(archive_id)
        return path.read_bytes() if path.exists() else None

    def _wrapped_path(self, archive_id: str) -> Path:
        # The last characters of a UUIDv7 are random: they spread the files evenly.
        return self._directory / "documents" / archive_id[-2:] / f"{archive_id}.age"

    def _own(self, safe: str) -> list[Path]:
        return [path for path in (self._safe_path(safe), self._next_path(safe)) if path.exists()]

    def _safe_path(self, safe: str) -> Path:
        return self._directory / "safes" / f"{safe}.age-key"

    def _next_path(self, safe: str) -> Path:
        # A safe's name has no point: no other safe can own this file.
        return self._directory / "safes" / f"{safe}.next.age-key"


def wrap_key(identity: Identity, recipients: Sequence[Recipient]) -> bytes:
    """Give the age file of a document key for the recipients of its safe."""
    return encrypt_bytes(identity.text().encode(), recipients)


def _parse(text: bytes) -> Identity:
    return parse_identities(text.decode("ascii", "replace"), "the wrapped key")[0]


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
    chosen = parse_recipient(recipient)
    with source.open("rb") as reader, durable_writer(target) as writer, crossing("encryption", "encrypt", target.name):
        watched = _Watched(reader, writer)
        try:
            if chosen.kind == X25519:
                encrypt_io(watched, watched, [x25519.Recipient.from_str(recipient)])
            else:
                age_stream.encrypt(watched, watched, [chosen])
        except (EncryptError, OSError) as error:
            raise watched.met or error from None
        if expected is not None and watched.fingerprint() != expected:
            raise spool_altered(source.name)


def decrypt_stream(source: BinaryIO, target: BinaryIO, identity: Identity) -> None:
    """Decrypt an age stream; IntegrityFailureError when it was altered or is for another key.

    OSError of either stream passes as it is: a full disk here says nothing about the stored bytes.
    """
    watched = _Watched(source, target)
    try:
        if identity.kind == X25519:
            decrypt_io(watched, watched, [x25519.Identity.from_str(identity.text())])
        else:
            age_stream.decrypt(watched, watched, [identity])
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


def _identity(path: Path) -> Identity:
    return parse_identities(read_secret(path).decode("ascii", "replace"), str(path))[0]


def read_identity_file(path: Path) -> tuple[Identity, ...]:
    """Read the identity file of a client; BadInputError (`FILE_MISSING`, `BAD_IDENTITY`).

    PolicyRefusedError (`KEY_READABLE_BY_OTHERS`) unless its mode is 0600.
    """
    if not path.is_file():
        raise BadInputError("FILE_MISSING", f"There is no file {path}.", remedy="Check the name.")
    return parse_identities(read_secret(path).decode("ascii", "replace"), str(path))


def _made_once(path: Path) -> str:
    if not path.exists():
        write_durably(path, generate_identity().text().encode() + b"\n", mode=0o600)
    return str(_identity(path).recipient)
