"""Trace bundles: what the archive ships to its supervision (docs/format/trace-v1.md).

A bundle is text: a head in canonical JSON, the signature of the journal's key over it, then one journal entry a line.
Whether it is the next one, and true, is for the supervision to judge from what it holds itself.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from minutier import canonical
from minutier.errors import IntegrityFailureError
from minutier.events import ENTRY_FORMAT, Event, parse_time

FORMAT = "minutier-trace/1"
NIGHTLY, HEARTBEAT = "nightly", "heartbeat"
MAX_BYTES, MAX_ENTRIES = 64 << 20, 5000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MEMBERS = (
    *("number", "kind", "first", "last", "chain_before", "chain_after", "counts", "previous", "checkpoint", "at"),
)


@dataclass(frozen=True, slots=True)
class Head:
    """What a bundle says of itself. `last` is `first` - 1 when it holds no entry; digests are in hexadecimal."""

    number: int
    kind: str
    first: int
    last: int
    chain_before: str
    chain_after: str
    counts: Mapping[str, int]
    previous: str
    checkpoint: str
    at: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose form and signature were checked, and the SHA-256 of its bytes, which the next one names."""

    head: Head
    entries: tuple[bytes, ...]
    sha256: str


def count_events(entries: Sequence[bytes]) -> dict[str, int]:
    """Count journal entries by event; ValueError for what is not one."""
    counted: Counter[str] = Counter()
    for entry in entries:
        value = canonical.decode(entry)
        if not isinstance(value, dict) or value.get("format") != ENTRY_FORMAT or not isinstance(value["event"], str):
            raise ValueError("an entry is not one of the journal")
        counted[value["event"]] += 1
    return dict(sorted(counted.items()))


def documents_of(entries: Sequence[bytes]) -> dict[str, bool]:
    """Give the documents whose life begins or ends in journal entries: True when committed, False when destroyed."""
    found = {}
    for entry in entries:
        value = canonical.decode(entry)
        if value["event"] in (Event.DEPOSIT_COMMITTED, Event.DEPOSIT_DESTROYING):
            found[str(value["archive_id"])] = value["event"] == Event.DEPOSIT_COMMITTED
    return found


def encode_bundle(head: Head, entries: Sequence[bytes], sign: Callable[[bytes], bytes]) -> bytes:
    """Write a bundle; `sign` gives the Ed25519 signature of the journal's key over the line of the head."""
    line = canonical.encode({"format": FORMAT, **{name: getattr(head, name) for name in _MEMBERS}})
    return b"".join(each + b"\n" for each in (line, base64.b64encode(sign(line)), *entries))


def decode_bundle(data: bytes, key: Ed25519PublicKey) -> Bundle:
    """Read a bundle: its form, then its signature; IntegrityFailureError (`TRACE_FORMAT`, `TRACE_SIGNATURE`)."""
    lines = data.split(b"\n")
    if len(data) > MAX_BYTES or len(lines) < 3 or lines.pop() != b"":
        raise refusal("TRACE_FORMAT", "it is too large, or does not end with a whole line")
    line, signature, *entries = lines
    try:
        head = _head(canonical.decode(line))
        count_events(entries)
    except (ValueError, KeyError, TypeError) as error:
        raise refusal("TRACE_FORMAT", str(error)) from error
    if len(entries) > MAX_ENTRIES or head.last - head.first + 1 != len(entries):
        raise refusal("TRACE_FORMAT", f"it does not hold the entries {head.first} to {head.last}")
    try:
        key.verify(canonical.strict_base64(signature), line)
    except (InvalidSignature, ValueError) as error:
        raise refusal("TRACE_SIGNATURE", "the key of this archive did not sign it") from error
    return Bundle(head, tuple(entries), hashlib.sha256(data).hexdigest())


def _head(value: Any) -> Head:
    """Read a head; ValueError for other members, types or lengths."""
    if not isinstance(value, dict) or set(value) != {"format", *_MEMBERS} or value["format"] != FORMAT:
        raise ValueError(f"its head is not one of {FORMAT}")
    head = Head(**{name: value[name] for name in _MEMBERS})
    numbers = (head.number, head.first, head.last)
    if not all(type(each) is int and each >= 0 for each in numbers) or head.number < 1 or head.first < 1:
        raise ValueError("a number of its head is not one")
    digests = [head.chain_before, head.chain_after, *([head.previous] if head.previous != "" else [])]
    if not all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in digests):
        raise ValueError("a digest of its head is not one")
    if head.kind not in (NIGHTLY, HEARTBEAT) or not isinstance(head.checkpoint, str):
        raise ValueError("its kind or its checkpoint is not one")
    if not isinstance(head.counts, dict) or not all(type(each) is int for each in head.counts.values()):
        raise ValueError("its counts are not numbers")
    parse_time(head.at)
    return head


def refusal(code: str, reason: str) -> IntegrityFailureError:
    """Make the refusal of a bundle: `TRACE_…` and why."""
    return IntegrityFailureError(
        code,
        f"The trace bundle is refused: {reason}.",
        remedy="Keep the archive and the supervision as they are, and have the journal examined.",
        clause="docs/format/trace-v1.md §1",
    )
