"""Fingerprint (empreinte): Hash1 + Hash2 of a document, taken in one pass.

SHA-256 and SHA3-512 have different designs, so one cryptanalytic advance does not hit both, and SHA3-512 is already
the successor algorithm for hash-tree renewal (ETSI TS 119 312 lists both without end date).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BUFFER = 1 << 17  # larger ones cost their clearing, for every small file
_PATTERN = re.compile(r"sha256:([0-9a-f]{64})\+sha3-512:([0-9a-f]{128})\Z")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Two digests in lower-case hexadecimal and the size in bytes of what they cover."""

    sha256: str
    sha3_512: str
    size: int

    def __str__(self) -> str:
        return f"sha256:{self.sha256}+sha3-512:{self.sha3_512}"


def parse_fingerprint(text: str) -> tuple[str, str]:
    """Split `sha256:<hex>+sha3-512:<hex>` into its two hexadecimal digests; ValueError on any other form."""
    match = _PATTERN.match(text)
    if match is None:
        raise ValueError("a fingerprint is sha256:<64 hex>+sha3-512:<128 hex>, in lower case")
    return match.group(1), match.group(2)


class Digesting:
    """A fingerprint being made of bytes that come piece by piece."""

    def __init__(self) -> None:
        self._first, self._second, self._size = hashlib.sha256(), hashlib.sha3_512(), 0

    def update(self, piece: bytes | memoryview) -> None:
        """Take in the next bytes."""
        self._first.update(piece)
        self._second.update(piece)
        self._size += len(piece)

    def fingerprint(self) -> Fingerprint:
        """Give the fingerprint of all that came so far."""
        return Fingerprint(self._first.hexdigest(), self._second.hexdigest(), self._size)


def fingerprint_stream(stream: BinaryIO) -> Fingerprint:
    """Read `stream` to its end, once, in pieces of 128 KiB, and give its fingerprint."""
    made, buffer = Digesting(), memoryview(bytearray(_BUFFER))
    readinto = getattr(stream, "readinto", None)
    while True:
        piece = buffer[: readinto(buffer)] if readinto is not None else memoryview(stream.read(_BUFFER))
        if not piece:
            return made.fingerprint()
        made.update(piece)


def fingerprint_bytes(data: bytes) -> Fingerprint:
    """Give the fingerprint of bytes held in memory."""
    return Fingerprint(hashlib.sha256(data).hexdigest(), hashlib.sha3_512(data).hexdigest(), len(data))


def fingerprint_file(path: Path) -> Fingerprint:
    """Give the fingerprint of a file; OSError when it cannot be read."""
    with path.open("rb", buffering=0) as stream:
        return fingerprint_stream(stream)
