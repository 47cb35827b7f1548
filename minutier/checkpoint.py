"""Checkpoints of the journal: C2SP tlog-checkpoint in a C2SP signed note, Ed25519 (docs/format/checkpoint-v1.md).

A note is signed by the journal's key; witnesses add cosignatures (C2SP tlog-cosignature, cosignature/v1). Signature
lines of unknown keys are ignored, as the specification asks: they prove nothing and cost nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from minutier.errors import IntegrityFailureError

MAX_NOTE_BYTES = 64 * 1024
_ED25519, _COSIGNATURE = 0x01, 0x04
_NAME = re.compile(r"[^\s+]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_EM_DASH = "—"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is signed: the journal's name (origin), its number of entries and its RFC 6962 root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """Give the signed bytes: three lines, no extension lines."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n".encode()


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key of a note: its name, its type octet (0x01 note, 0x04 cosignature) and 32 octets of Ed25519."""

    name: str
    public: bytes
    kind: int = _ED25519

    @property
    def key_id(self) -> bytes:
        """Give the 4 octets that mark its signature lines."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes((self.kind,)) + self.public).digest()[:4]

    def vkey(self) -> str:
        """Write the C2SP text of the key: name+id+base64."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes((self.kind,)) + self.public)}"


def parse_vkey(text: str) -> NoteKey:
    """Read a C2SP verifier key; ValueError when it is malformed or its id is not its own."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    material = _unbase64(encoded)
    if not _NAME.fullmatch(name) or len(material) != 33 or material[0] not in (_ED25519, _COSIGNATURE):
        raise ValueError("not a C2SP Ed25519 verifier key (name+id+base64)")
    key = NoteKey(name, material[1:], material[0])
    if key.key_id.hex() != key_id:
        raise ValueError("the id in the verifier key is not that of its bytes")
    return key


def sign_checkpoint(checkpoint: Checkpoint, key: NoteKey, sign: Callable[[bytes], bytes]) -> bytes:
    """Write the signed note; `sign` gives the 64-octet Ed25519 signature. ValueError when the origin is unusable."""
    if not _NAME.fullmatch(checkpoint.origin) or len(checkpoint.root) != 32 or checkpoint.size < 0:
        raise ValueError("a checkpoint has an origin without blank or '+', a size and 32 octets of root")
    text = checkpoint.text()
    return text + b"\n" + _signature_line(key, sign(text))


def parse_checkpoint(note: bytes) -> tuple[Checkpoint, tuple[tuple[str, bytes, bytes], ...]]:
    """Read a note: the checkpoint and its signature lines (name, key id, signature); nothing is verified.

    Raises IntegrityFailureError CHECKPOINT_FORMAT.
    """
    try:
        return _parse(note)
    except ValueError as error:
        raise _failure("FORMAT", f"The checkpoint is not a C2SP signed note: {error}.") from error


def verify_checkpoint(note: bytes, keys: Sequence[NoteKey]) -> Checkpoint:
    """Give the checkpoint when one of `keys` signed it; witnesses alone (cosignature keys) are not enough.

    A line that claims a known key and does not verify refuses the note. Raises IntegrityFailureError
    CHECKPOINT_FORMAT, CHECKPOINT_SIGNATURE or CHECKPOINT_COSIGNATURE.
    """
    checkpoint, lines = parse_checkpoint(note)
    signers = 0
    for key in keys:
        for name, key_id, signature in lines:
            if (name, key_id) != (key.name, key.key_id):
                continue
            if key.kind == _COSIGNATURE:
                if _cosigned_at(checkpoint, key, signature) is None:
                    raise _failure("COSIGNATURE", f"The cosignature of {key.name} does not verify.")
            elif not _verifies(key, signature, checkpoint.text()):
                raise _failure("SIGNATURE", f"The signature of {key.name} does not verify.")
            else:
                signers += 1
    if not signers:
        raise _failure("SIGNATURE", "No trusted journal key signed the checkpoint.")
    return checkpoint


def cosign(note: bytes, key: NoteKey, sign: Callable[[bytes], bytes], now: datetime) -> bytes:
    """Add a witness's cosignature/v1 line to a note that the witness has verified (C2SP tlog-cosignature)."""
    checkpoint, _ = parse_checkpoint(note)
    seconds = int(now.timestamp())
    signature = sign(_cosigned(checkpoint, seconds))
    return note + _signature_line(key, seconds.to_bytes(8, "big") + signature)


def verify_cosignature(note: bytes, key: NoteKey) -> datetime:
    """Give the time at which the witness `key` cosigned the note; IntegrityFailureError CHECKPOINT_COSIGNATURE."""
    checkpoint, lines = parse_checkpoint(note)
    for name, key_id, value in lines:
        if key.kind == _COSIGNATURE and (name, key_id) == (key.name, key.key_id):
            seconds = _cosigned_at(checkpoint, key, value)
            if seconds is not None:
                return datetime.fromtimestamp(seconds, UTC)
    raise _failure("COSIGNATURE", f"{key.name} did not cosign the checkpoint.")


def _parse(note: bytes) -> tuple[Checkpoint, tuple[tuple[str, bytes, bytes], ...]]:
    if len(note) > MAX_NOTE_BYTES:
        raise ValueError("it is too large")
    body, separator, signatures = note.decode("utf-8").partition("\n\n")
    lines = body.split("\n")
    if not separator or len(lines) != 3 or not signatures.endswith("\n"):
        raise ValueError("three lines, an empty one and signature lines are expected")
    origin, size, encoded = lines
    root = _unbase64(encoded)
    if not _NAME.fullmatch(origin) or not _SIZE.fullmatch(size) or len(root) != 32:
        raise ValueError("origin, size or root is malformed")
    found = []
    for line in signatures[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        material = _unbase64(value)
        if dash != _EM_DASH or not _NAME.fullmatch(name) or len(material) < 5:
            raise ValueError("a signature line is malformed")
        found.append((name, material[:4], material[4:]))
    return Checkpoint(origin, int(size), root), tuple(found)


def _verifies(key: NoteKey, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _cosigned_at(checkpoint: Checkpoint, key: NoteKey, value: bytes) -> int | None:
    """Give the POSIX seconds of a cosignature (8 octets, then 64 of Ed25519), None when it does not verify."""
    seconds = int.from_bytes(value[:8], "big")
    # 36 bits of seconds end in the year 4147: what follows is not a date that `datetime` is asked to hold.
    if len(value) != 72 or seconds >= 1 << 36:
        return None
    return seconds if _verifies(key, value[8:], _cosigned(checkpoint, seconds)) else None


def _cosigned(checkpoint: Checkpoint, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n".encode() + checkpoint.text()


def _signature_line(key: NoteKey, signature: bytes) -> bytes:
    return f"{_EM_DASH} {key.name} {_base64(key.key_id + signature)}\n".encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes:
    """Read base64 in its one canonical spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if _base64(data) != text:
        raise ValueError("base64 is not canonical")
    return data


def _failure(code: str, message: str) -> IntegrityFailureError:
    remedy = "Compare with the copies of the checkpoint that supervision and other proofs hold."
    return IntegrityFailureError(f"CHECKPOINT_{code}", message, remedy=remedy, clause="C2SP tlog-checkpoint")
