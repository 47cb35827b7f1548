"""The judgement on a trace bundle: it is the next one of the only history that was told, or it is refused.

`judge` is pure: the head that the supervision keeps, the bundle, the clock; it gives the next head. Steps are numbered
as on docs/format/trace-v1.md §1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from minutier import merkle
from minutier.checkpoint import NoteKey, verify_checkpoint
from minutier.errors import IntegrityFailureError
from minutier.events import parse_time
from minutier.trace_bundle import Bundle, count_events, decode_bundle, refusal

AHEAD = timedelta(minutes=5)
"""How far a clock of the archive may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the supervision holds of one archive: the end of the history that it was told, enough to go on from."""

    number: int = 0
    last: int = 0
    chain: str = "00" * 32
    sha256: str = ""
    at: str = ""
    subtrees: tuple[bytes, ...] = field(default=())


def judge(head: Head, data: bytes, key: NoteKey, now: datetime) -> tuple[Head, Bundle]:
    """Judge a bundle that was not taken before; gives the head after it, and the bundle.

    Raises IntegrityFailureError (`TRACE_…`).
    """
    # 1, 2: form, signature.
    bundle = decode_bundle(data, Ed25519PublicKey.from_public_bytes(key.public))
    told = bundle.head
    # 3: other bytes than those that were taken under this number.
    if told.number <= head.number:
        raise refusal("TRACE_FORK", f"another bundle {told.number} was told before, under the same signature")
    # 4: strictly next.
    if (told.number, told.first, told.previous) != (head.number + 1, head.last + 1, head.sha256):
        raise refusal(
            "TRACE_GAP",
            f"it is bundle {told.number} from entry {told.first}; bundle {head.number + 1} from entry"
            f" {head.last + 1} is the next one",
        )
    # 5: it continues the history that was taken.
    if told.chain_before != head.chain:
        raise refusal("TRACE_FORK", "it continues another history than the one that was told before")
    return _recomputed(head, bundle, key, now), bundle


def _recomputed(head: Head, bundle: Bundle, key: NoteKey, now: datetime) -> Head:
    told, chain = bundle.head, bytes.fromhex(head.chain)
    frontier = merkle.Frontier(head.last, head.subtrees)
    for entry in bundle.entries:
        leaf = merkle.leaf_hash(entry)
        chain = hashlib.sha256(chain + leaf).digest()
        frontier.append(leaf)
    # 6: chain.
    if chain.hex() != told.chain_after:
        raise refusal("TRACE_CHAIN", "its entries do not give the chain value that it says")
    # 7: counts.
    if count_events(bundle.entries) != dict(told.counts):
        raise refusal("TRACE_COUNTS", "it does not hold as many entries of each event as it says")
    # 8: checkpoint.
    try:
        signed = verify_checkpoint(told.checkpoint.encode(), [key])
    except IntegrityFailureError as error:
        raise refusal("TRACE_CHECKPOINT", error.message) from error
    if (signed.origin, signed.size) != (key.name, told.last):
        raise refusal("TRACE_CHECKPOINT", f"its checkpoint is over {signed.size} entries, not {told.last}")
    # 9: root.
    if signed.root != frontier.root():
        raise refusal("TRACE_ROOT", "the root that it signed is not the one of the entries that were told")
    # 10: clock.
    at = parse_time(told.at)
    if head.at and at < parse_time(head.at):
        raise refusal("TRACE_CLOCK", f"its time {told.at} is before that of the bundle before, {head.at}")
    if at > now + AHEAD:
        raise refusal("TRACE_CLOCK", f"its time {told.at} lies ahead of the clock of the supervision")
    return Head(told.number, told.last, told.chain_after, bundle.sha256, told.at, frontier.subtrees)
