"""Segments of the journal: its entries as they are kept on the stores (docs/format/segment-v1.md).

A segment is text: a head in canonical JSON, the signature of the journal's key over it, then one entry a line, as it
was written. Each head names the segment before it and the ledger that goes with it, so that a chain of segments is
read and checked with nothing but the journal's public key.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from minutier import canonical, merkle
from minutier.errors import IntegrityFailureError

FORMAT = "minutier-segment/1"
START = bytes(32)
"""The chain value before the first entry."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MEMBERS = {"format", "number", "first", "last", "chain_before", "chain_after", "previous", "ledger", "rows", "at"}


@dataclass(frozen=True, slots=True)
class Head:
    """What a segment says of itself. `last` is `first` - 1 when it holds no entry, digests are in hexadecimal.

    `previous` is the SHA-256 of the segment file before it ("" for the first), `ledger` that of the ledger file as
    stored, `rows` how many rows it tells of, `at` when the segment was cut.
    """

    number: int
    first: int
    last: int
    chain_before: str
    chain_after: str
    previous: str
    ledger: str
    rows: int
    at: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that was read and checked, and the SHA-256 of its file, which the next one names."""

    head: Head
    entries: tuple[bytes, ...]
    sha256: str


def chain_after(chain: bytes, entries: Sequence[bytes]) -> bytes:
    """Give the chain value after some entries (docs/format/journal-v1.md §2)."""
    for entry in entries:
        chain = hashlib.sha256(chain + merkle.leaf_hash(entry)).digest()
    return chain


def encode_segment(head: Head, entries: Sequence[bytes], sign: Callable[[bytes], bytes]) -> bytes:
    """Write a segment; `sign` gives the Ed25519 signature of the journal's key over the line of the head."""
    line = canonical.encode({"format": FORMAT, **{name: getattr(head, name) for name in Head.__slots__}})
    return b"".join(each + b"\n" for each in (line, base64.b64encode(sign(line)), *entries))


def decode_segment(data: bytes, key: Ed25519PublicKey) -> Segment:
    """Read a segment and check signature, form, count and chain of its entries.

    Raises IntegrityFailureError (`SEGMENT_FORMAT`, `SEGMENT_SIGNATURE`, `SEGMENT_CHAIN`). Whether it follows the one
    before is for `require_follows`.
    """
    lines = data.split(b"\n")
    if len(lines) < 3 or lines.pop() != b"":
        raise _refusal("SEGMENT_FORMAT", "it does not end with a whole line")
    line, signature, *entries = lines
    try:
        key.verify(base64.b64decode(signature, validate=True), line)
    except (InvalidSignature, ValueError) as error:
        raise _refusal("SEGMENT_SIGNATURE", "the journal's key did not sign it") from error
    try:
        head = _head(canonical.decode(line))
        chain = bytes.fromhex(head.chain_before)
    except ValueError as error:
        raise _refusal("SEGMENT_FORMAT", str(error)) from error
    if head.last - head.first + 1 != len(entries) or chain_after(chain, entries).hex() != head.chain_after:
        raise _refusal("SEGMENT_CHAIN", f"its entries are not those numbered {head.first} to {head.last}")
    return Segment(head, tuple(entries), hashlib.sha256(data).hexdigest())


def require_follows(segment: Segment, before: Segment | None) -> None:
    """Raise IntegrityFailureError (`SEGMENT_CHAIN`) unless a segment continues the one before it, or is the first."""
    number, first, chain, sha256 = 1, 1, START.hex(), ""
    if before is not None:
        number, first = before.head.number + 1, before.head.last + 1
        chain, sha256 = before.head.chain_after, before.sha256
    head = segment.head
    if (head.number, head.first, head.chain_before, head.previous) != (number, first, chain, sha256):
        raise _refusal("SEGMENT_CHAIN", f"segment {head.number} does not continue segment {number - 1}")


def _head(value: Any) -> Head:
    """Read a head; ValueError for other members, types or lengths."""
    if not isinstance(value, dict) or set(value) != _MEMBERS or value["format"] != FORMAT:
        raise ValueError(f"its head is not one of {FORMAT}")
    head = Head(**{name: value[name] for name in Head.__slots__})
    numbers = (head.number, head.first, head.last, head.rows)
    digests = [head.chain_before, head.chain_after, head.ledger, *([head.previous] if head.previous != "" else [])]
    if not all(isinstance(each, int) and each >= 0 for each in numbers) or not isinstance(head.at, str):
        raise ValueError("a number of its head is not one")
    if not all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in digests):
        raise ValueError("a digest of its head is not one")
    return head


def _refusal(code: str, reason: str) -> IntegrityFailureError:
    return IntegrityFailureError(
        code,
        f"A segment of the journal is not what was stored: {reason}.",
        remedy="Another replica has the same segment; keep the stores as they are.",
    )
