"""Keys and headers of age v1 files (docs/format/encryption-v1.md; C2SP age.md): X25519 and hybrid MLKEM768-X25519.

Written here, and not left to pyrage, for what it does not offer: post-quantum recipients, and the file key that a read
of a byte range needs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from minutier import bech32
from minutier.errors import BadInputError, IntegrityFailureError

VERSION = b"age-encryption.org/v1\n"
MAX_HEADER = 1 << 20
FILE_KEY_BYTES = 16
X25519, HYBRID = "X25519", "mlkem768x25519"
_COLUMNS = 64
_BODY = FILE_KEY_BYTES + 16
_SHARE, _ENCAPSULATED, _MLKEM_KEY, _MLKEM_SEED = 32, 1120, 1184, 64
_HYBRID_INFO = b"age-encryption.org/mlkem768x25519"
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
# Prefixes of the text forms: recipient, identity.
_PREFIXES = {X25519: ("age", "AGE-SECRET-KEY-"), HYBRID: ("age1pq", "AGE-SECRET-KEY-PQ-")}


@dataclass(frozen=True, slots=True)
class Stanza:
    """One wrapping of the file key: type and arguments, body."""

    arguments: tuple[str, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """A header as read: `signed` is what the MAC covers, `size` how many bytes the whole header has."""

    stanzas: tuple[Stanza, ...]
    signed: bytes
    mac: bytes
    size: int


class Source(Protocol):
    """What a header is read from."""

    def read(self, size: int, /) -> bytes:
        """Give at most `size` bytes, none at the end."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A public key that files are encrypted to: `kind` is X25519 or mlkem768x25519."""

    kind: str
    public: bytes

    def __str__(self) -> str:
        return bech32.encode(_PREFIXES[self.kind][0], self.public)

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap a file key for this recipient, with fresh randomness."""
        if self.kind == HYBRID:
            sealed = _SUITE.encrypt(file_key, _hybrid_public(self.public), _HYBRID_INFO)
            return Stanza((HYBRID, _base64(sealed[:_ENCAPSULATED])), sealed[_ENCAPSULATED:])
        ephemeral = x25519.X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(x25519.X25519PublicKey.from_public_bytes(self.public))
        body = _wrap_cipher(shared, share, self.public).encrypt(bytes(12), file_key, b"")
        return Stanza((X25519, _base64(share)), body)


@dataclass(frozen=True)
class Identity:
    """A private key: 32 bytes of secret, never shown."""

    kind: str
    secret: bytes = field(repr=False)

    @cached_property
    def recipient(self) -> Recipient:
        """The public half."""
        if self.kind == HYBRID:
            first, second = _hybrid_private(self.secret)
            public = first.public_key().public_bytes_raw() + second.public_key().public_bytes_raw()
            return Recipient(HYBRID, public)
        key = x25519.X25519PrivateKey.from_private_bytes(self.secret)
        return Recipient(X25519, key.public_key().public_bytes_raw())

    def text(self) -> str:
        """Give the secret as the line of an identity file."""
        return bech32.encode(_PREFIXES[self.kind][1].lower(), self.secret).upper()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Give the file key, None when the stanza is for another key; IntegrityFailureError for a malformed one."""
        if stanza.arguments[0] != self.kind:
            return None
        share = _base64_of(stanza.arguments[1]) if len(stanza.arguments) == 2 else b""
        if len(share) != (_ENCAPSULATED if self.kind == HYBRID else _SHARE) or len(stanza.body) != _BODY:
            raise altered(f"a stanza {self.kind} is malformed")
        try:
            return self._open(share, stanza.body)
        except InvalidTag:
            return None
        except ValueError as error:  # a share of low order, which gives a secret of zeros
            raise altered("a key share is not usable") from error

    def _open(self, share: bytes, body: bytes) -> bytes:
        if self.kind == HYBRID:
            return _SUITE.decrypt(
                share + body, hpke.MLKEM768X25519PrivateKey(*_hybrid_private(self.secret)), _HYBRID_INFO
            )
        key = x25519.X25519PrivateKey.from_private_bytes(self.secret)
        shared = key.exchange(x25519.X25519PublicKey.from_public_bytes(share))
        return _wrap_cipher(shared, share, self.recipient.public).decrypt(bytes(12), body, b"")


def generate_identity(kind: str = X25519) -> Identity:
    """Make a fresh identity of a kind."""
    return Identity(kind, secrets.token_bytes(32))


def parse_recipient(text: str) -> Recipient:
    """Read `age1…` or `age1pq1…`; BadInputError (`BAD_RECIPIENT`) for anything else."""
    for kind, (prefix, _) in _PREFIXES.items():
        found = bech32.decode(text)
        size = _MLKEM_KEY + _SHARE if kind == HYBRID else _SHARE
        if found is not None and found[0] == prefix and len(found[1]) == size and text == text.lower():
            recipient = Recipient(kind, found[1])
            _require_usable(recipient)
            return recipient
    raise _bad_recipient(text)


def parse_recipients(texts: Iterable[str]) -> tuple[Recipient, ...]:
    """Read recipients of one file: each once, all of one kind; BadInputError (`MIXED_RECIPIENTS`) otherwise."""
    found = tuple(parse_recipient(text) for text in dict.fromkeys(texts))
    if len({recipient.kind for recipient in found}) > 1:
        raise BadInputError(
            "MIXED_RECIPIENTS",
            "Post-quantum (age1pq1…) and ordinary (age1…) recipients are given together.",
            remedy="Use one kind, the escrow included: the weaker kind would open what the stronger protects.",
            clause="C2SP age.md, MLKEM768-X25519",
        )
    return found


def parse_identities(text: str, where: str) -> tuple[Identity, ...]:
    """Read an identity file (lines, `#` comments); BadInputError (`BAD_IDENTITY`) naming `where`, never the content."""
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(_identity(line) for line in lines if line and not line.startswith("#"))
    usable = tuple(identity for identity in found if identity is not None)
    if not usable or len(usable) != len(found):
        raise BadInputError(
            "BAD_IDENTITY",
            f"{where} is not a file of age identities.",
            remedy="Give the file that age-keygen wrote: lines AGE-SECRET-KEY-1… or AGE-SECRET-KEY-PQ-1….",
        )
    return usable


def encode_header(file_key: bytes, recipients: Sequence[Recipient]) -> bytes:
    """Give the header that wraps `file_key` for the recipients."""
    text = bytearray(VERSION)
    for stanza in (recipient.wrap(file_key) for recipient in recipients):
        body = _base64(stanza.body)
        lines = [body[at : at + _COLUMNS] for at in range(0, len(body) + 1, _COLUMNS)]
        text += "\n".join([" ".join(("->", *stanza.arguments)), *lines, ""]).encode()
    text += b"---"
    return bytes(text) + b" " + _base64(_header_mac(file_key, bytes(text))).encode() + b"\n"


def read_header(source: Source) -> Header:
    """Read a header and nothing after it; IntegrityFailureError (`CIPHERTEXT_ALTERED`) when it is not one."""
    reader = _Lines(source)
    if reader.line() != VERSION[:-1]:
        raise altered("it does not begin like an age file")
    stanzas: list[Stanza] = []
    while True:
        before = reader.size
        line = reader.line()
        if line.startswith(b"---"):
            break
        stanzas.append(_stanza(line, reader))
    mac = _base64_of(line[4:].decode("ascii", "replace")) if line[3:4] == b" " else b""
    if not stanzas or len(mac) != 32:
        raise altered("its header has no stanza or no MAC")
    return Header(tuple(stanzas), bytes(reader.seen[: before + 3]), mac, reader.size)


def open_header(header: Header, identities: Iterable[Identity]) -> bytes:
    """Give the file key, its header authenticated.

    IntegrityFailureError: `KEY_DOES_NOT_OPEN` when no stanza is for these identities, `CIPHERTEXT_ALTERED`.
    """
    for identity in identities:
        for stanza in header.stanzas:
            file_key = identity.unwrap(stanza)
            if file_key is None:
                continue
            if not hmac.compare_digest(_header_mac(file_key, header.signed), header.mac):
                raise altered("the MAC of its header is wrong")
            return file_key
    raise IntegrityFailureError(
        "KEY_DOES_NOT_OPEN", "None of the keys given opens this file.", remedy="Give the identity it was encrypted for."
    )


def derive(key: bytes, salt: bytes | None, info: bytes) -> bytes:
    """HKDF-SHA-256 to 32 bytes."""
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def altered(why: str) -> IntegrityFailureError:
    """Give the error for stored bytes that are not what an age writer wrote."""
    return IntegrityFailureError(
        "CIPHERTEXT_ALTERED",
        f"The stored bytes do not decrypt: {why}.",
        remedy="Run `minutier sweep`: it heals a damaged copy from a good one.",
    )


class _Lines:
    """Reads lines one byte at a time, so that nothing after the header is taken."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.seen = bytearray()

    @property
    def size(self) -> int:
        return len(self.seen)

    def line(self) -> bytes:
        start = len(self.seen)
        while byte := self._source.read(1):
            self.seen += byte
            if byte == b"\n":
                return bytes(self.seen[start:-1])
            if len(self.seen) > MAX_HEADER:
                break
        raise altered("its header does not end")


def _stanza(line: bytes, reader: _Lines) -> Stanza:
    mark, *arguments = line.split(b" ")
    plain = all(argument and all(0x21 <= byte <= 0x7E for byte in argument) for argument in arguments)
    if mark != b"->" or not arguments or not plain:
        raise altered("a line of its header is malformed")
    body = bytearray()
    while True:
        piece = reader.line()
        body += piece
        if len(piece) > _COLUMNS:
            raise altered("a line of its header is too long")
        if len(piece) < _COLUMNS:
            break
    return Stanza(
        tuple(argument.decode("ascii") for argument in arguments), _base64_of(body.decode("ascii", "replace"))
    )


def _header_mac(file_key: bytes, signed: bytes) -> bytes:
    return hmac.digest(derive(file_key, None, b"header"), signed, "sha256")


def _wrap_cipher(shared: bytes, share: bytes, public: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(shared, share + public, b"age-encryption.org/v1/X25519"))


def _hybrid_private(secret: bytes) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
    expanded = hashlib.shake_256(secret).digest(_MLKEM_SEED + _SHARE)
    return (
        mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED]),
        x25519.X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED:]),
    )


def _hybrid_public(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    return hpke.MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_KEY]),
        x25519.X25519PublicKey.from_public_bytes(public[_MLKEM_KEY:]),
    )


def _require_usable(recipient: Recipient) -> None:
    """Refuse at once a public key that nothing can be encrypted to: a point of low order, a key out of range."""
    try:
        recipient.wrap(bytes(FILE_KEY_BYTES))
    except ValueError as error:
        raise _bad_recipient(str(recipient)) from error


def _bad_recipient(text: str) -> BadInputError:
    shown = text if len(text) <= 80 else f"{text[:77]}…"
    return BadInputError(
        "BAD_RECIPIENT", f"{shown!r} is not an age recipient.", remedy="Give age1… or age1pq1…, as age-keygen says it."
    )


def _identity(line: str) -> Identity | None:
    found = bech32.decode(line)
    for kind, (_, prefix) in _PREFIXES.items():
        if found is not None and found[0] == prefix.lower() and len(found[1]) == 32 and line == line.upper():
            return Identity(kind, found[1])
    return None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _base64_of(text: str) -> bytes:
    """Decode canonical base64 without padding; IntegrityFailureError for any other text."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise altered("base64 in its header is malformed") from error
    if _base64(data) != text:
        raise altered("base64 in its header is not canonical")
    return data
