"""Payloads of age v1 files: STREAM with ChaCha20-Poly1305 in chunks of 64 KiB, whole or by byte range.

docs/format/encryption-v1.md §4; C2SP age.md, "Payload". `encrypt` and `decrypt` are for recipients of any kind.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from minutier.age import (
    FILE_KEY_BYTES,
    MAX_HEADER,
    Identity,
    Recipient,
    Source,
    altered,
    derive,
    encode_header,
    open_header,
    read_header,
)
from minutier.errors import BadInputError, IntegrityFailureError

CHUNK = 1 << 16
TAG = 16
NONCE = 16
_SEALED = CHUNK + TAG
_FIRST_READ = 1 << 12

Fetch = Callable[[int, int], bytes]
"""Gives bytes of the encrypted file: offset and length in, exactly those bytes out."""


class Sink(Protocol):
    """What is written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


def encrypt(source: Source, target: Sink, recipients: Sequence[Recipient]) -> None:
    """Write the age file of all that `source` gives. Errors of either stream pass as they are."""
    file_key, nonce = secrets.token_bytes(FILE_KEY_BYTES), secrets.token_bytes(NONCE)
    target.write(encode_header(file_key, recipients) + nonce)
    cipher = ChaCha20Poly1305(derive(file_key, nonce, b"payload"))
    number, piece = 0, _take(source, CHUNK)
    while True:
        following = _take(source, CHUNK) if len(piece) == CHUNK else b""
        target.write(cipher.encrypt(_nonce(number, last=not following), piece, b""))
        if not following:
            return
        number, piece = number + 1, following


def decrypt(source: Source, target: Sink, identities: Sequence[Identity]) -> None:
    """Write the clear bytes of an age file to `target`, chunk by chunk, each authenticated before it is written.

    IntegrityFailureError: `KEY_DOES_NOT_OPEN`, `CIPHERTEXT_ALTERED`; the last may come after good chunks were
    written, so the caller keeps the target aside until this returns.
    """
    file_key = open_header(read_header(source), identities)
    nonce = _take(source, NONCE)
    if len(nonce) != NONCE:
        raise altered("its payload is missing")
    cipher = ChaCha20Poly1305(derive(file_key, nonce, b"payload"))
    number, piece = 0, _take(source, _SEALED)
    while True:
        following = _take(source, _SEALED) if len(piece) == _SEALED else b""
        clear = _open(cipher, number, piece, last=not following)
        if not clear and number:
            raise altered("its last chunk is empty")
        target.write(clear)
        if not following:
            return
        number, piece = number + 1, following


def encrypt_bytes(data: bytes, recipients: Sequence[Recipient]) -> bytes:
    """Give the age file of some bytes."""
    target = io.BytesIO()
    encrypt(io.BytesIO(data), target, recipients)
    return target.getvalue()


def decrypt_bytes(data: bytes, identities: Sequence[Identity]) -> bytes:
    """Give the content of an age file held in memory; errors as `decrypt`."""
    target = io.BytesIO()
    decrypt(io.BytesIO(data), target, identities)
    return target.getvalue()


@dataclass(frozen=True, slots=True)
class RangeReader:
    """An age file of which any bytes can be read: `size` clear bytes, its end proved when it was opened."""

    fetch: Fetch
    cipher: ChaCha20Poly1305
    start: int
    chunks: int
    size: int

    def read(self, first: int, last: int) -> bytes:
        """Give the clear bytes `first` to `last`, both included, cut at the end; only their chunks are read.

        BadInputError (`BAD_RANGE`) when the range is empty or begins after the end.
        """
        if not 0 <= first <= last or first >= self.size:
            raise BadInputError(
                "BAD_RANGE",
                f"There are no bytes {first} to {last}: the document has {self.size}.",
                remedy="Give A-B with A at most B, counted from 0.",
            )
        last = min(last, self.size - 1)
        begin, end = first // CHUNK, last // CHUNK
        offset = self.start + begin * _SEALED
        length = (
            self.size + self.chunks * TAG - begin * _SEALED if end == self.chunks - 1 else (end - begin + 1) * _SEALED
        )
        sealed = self.fetch(offset, length)
        clear = bytearray()
        for number in range(begin, end + 1):
            piece = sealed[(number - begin) * _SEALED : (number - begin + 1) * _SEALED]
            clear += _open(self.cipher, number, piece, last=number == self.chunks - 1)
        return bytes(clear[first - begin * CHUNK : last - begin * CHUNK + 1])


def open_range(fetch: Fetch, total: int, identities: Sequence[Identity]) -> RangeReader:
    """Open an age file of `total` bytes for reads of ranges: header and last chunk are read and checked, no more.

    IntegrityFailureError as `decrypt`.
    """
    header, file_key = _fetch_header(fetch, total, identities)
    start = header + NONCE
    payload = total - start
    chunks = -(-payload // _SEALED)
    if payload < TAG or payload - (chunks - 1) * _SEALED < TAG:
        raise altered("its payload is cut")
    cipher = ChaCha20Poly1305(derive(file_key, fetch(header, NONCE), b"payload"))
    size = payload - chunks * TAG
    # The final flag is on the last chunk only: that it opens there proves that nothing was cut off.
    at = (chunks - 1) * _SEALED
    if not _open(cipher, chunks - 1, fetch(start + at, payload - at), last=True) and chunks > 1:
        raise altered("its last chunk is empty")
    return RangeReader(fetch, cipher, start, chunks, size)


def _fetch_header(fetch: Fetch, total: int, identities: Sequence[Identity]) -> tuple[int, bytes]:
    length = min(_FIRST_READ, total)
    while True:
        try:
            header = read_header(io.BytesIO(fetch(0, length)))
            return header.size, open_header(header, identities)
        except IntegrityFailureError as error:
            # A header with many post-quantum stanzas is longer than the first read.
            if error.code != "CIPHERTEXT_ALTERED" or length >= min(total, MAX_HEADER):
                raise
            length = min(length * 8, total, MAX_HEADER)


def _open(cipher: ChaCha20Poly1305, number: int, piece: bytes, *, last: bool) -> bytes:
    if len(piece) < TAG:
        raise altered("it is cut off")
    try:
        return cipher.decrypt(_nonce(number, last=last), piece, b"")
    except InvalidTag as error:
        raise altered(f"chunk {number} is altered or out of place, or the end is missing") from error


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _take(source: Source, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end: a stream may give less than it is asked for."""
    piece = source.read(size)
    if len(piece) in (0, size):
        return piece
    whole = bytearray(piece)
    while len(whole) < size and (piece := source.read(size - len(whole))):
        whole += piece
    return bytes(whole)
