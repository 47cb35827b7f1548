"""Evidence records, RFC 4998: one time-stamp token for a batch, a short path to it for each document.

Each document is a data group of at least two objects (original, rendition, manifest, seal), so that no single-hash
case arises, about which verifiers differ. Rules (docs/format/evidence-v1.md):

1. leaf = H(member hashes in ascending byte order, concatenated);
2. node = H(children in ascending order, concatenated), no prefix; an odd node is promoted and adds no list;
3. reducedHashtree[0] is exactly the group's member hashes, then one list per level holding the sibling;
4. digestAlgorithm is always written, and equals the algorithm of the imprint.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from minutier import algorithms, der
from minutier.errors import IntegrityFailureError

MAX_RECORD_BYTES = 512 * 1024
_ALGORITHM = "sha256"
_SIZE = 32
_MAX_LEVELS = 64
_MAX_MEMBERS = 64

HashPath = list[list[bytes]]


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """The one archive time-stamp of a record: its hash lists, its token in DER, and the algorithm of both."""

    path: tuple[tuple[bytes, ...], ...]
    token: bytes
    algorithm: str = _ALGORITHM

    @property
    def members(self) -> tuple[bytes, ...]:
        """Give the hashes of the data group."""
        return self.path[0]

    @property
    def root(self) -> bytes:
        """Give the value that the token must be about."""
        return path_root(self.path)


def build_batch(groups: Sequence[Sequence[bytes]]) -> tuple[bytes, list[HashPath]]:
    """Build the tree over data groups: its root, and for each group its reduced hash tree.

    `groups` holds the SHA-256 of each member of each document. With one group, the root is its group hash. ValueError
    for an empty batch, a group of less than two members, or a hash of another length.
    """
    if not groups:
        raise ValueError("a batch has at least one document")
    for group in groups:
        if not 2 <= len(group) <= _MAX_MEMBERS or any(len(member) != _SIZE for member in group):
            raise ValueError(f"a data group has 2 to {_MAX_MEMBERS} SHA-256 hashes")
    paths: list[HashPath] = [[sorted(group)] for group in groups]
    level = [_combine(group) for group in groups]
    below = [[index] for index in range(len(groups))]
    while len(level) > 1:
        parents, owners = [], []
        for left in range(0, len(level) - 1, 2):
            for child, sibling in ((left, left + 1), (left + 1, left)):
                for group_index in below[child]:
                    paths[group_index].append([level[sibling]])
            parents.append(_combine(level[left : left + 2]))
            owners.append(below[left] + below[left + 1])
        if len(level) % 2:
            parents.append(level[-1])
            owners.append(below[-1])
        level, below = parents, owners
    return level[0], paths


def path_root(path: Sequence[Sequence[bytes]]) -> bytes:
    """Compute the root a reduced hash tree leads to (RFC 4998 §4.3)."""
    result = _combine(path[0])
    for hashes in path[1:]:
        result = _combine([result, *hashes])
    return result


def path_text(path: Sequence[Sequence[bytes]]) -> str:
    """Write a path for people and shell tools: a line per list, lower-case hexadecimal, blanks between hashes."""
    return "".join(" ".join(item.hex() for item in hashes) + "\n" for hashes in path)


def encode_record(path: Sequence[Sequence[bytes]], token: bytes) -> bytes:
    """Write the EvidenceRecord in DER: one chain of one archive time-stamp."""
    lists = b"".join(der.sequence(*(der.octets(item) for item in hashes)) for hashes in path)
    algorithm = algorithms.hash_identifier(_ALGORITHM)
    stamp = der.sequence(der.read(algorithm).retagged(0xA0).encoded, der.context(2, lists), token)
    return der.sequence(der.integer(1), der.sequence(algorithm), der.sequence(der.sequence(stamp)))


def decode_record(data: bytes) -> EvidenceRecord:
    """Read a record written by `encode_record`'s rules; IntegrityFailureError EVIDENCE_FORMAT on any other.

    A renewed record (several archive time-stamps) is another format version and is refused here.
    """
    try:
        record = _decode(data)
    except ValueError as error:
        raise _failure("FORMAT", f"The evidence record is not readable: {error}.") from error
    return record


def check_record(record: EvidenceRecord, members: Sequence[bytes]) -> bytes:
    """Check that the record is about exactly these member hashes, and give the root its token must be about.

    Raises IntegrityFailureError EVIDENCE_GROUP.
    """
    expected = sorted(members)
    same = len(expected) == len(record.members) and all(
        hmac.compare_digest(left, right) for left, right in zip(expected, record.members, strict=True)
    )
    if not same:
        raise _failure("GROUP", "The evidence record is about other files than those of this proof.")
    return record.root


def _decode(data: bytes) -> EvidenceRecord:
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError("it is too large")
    fields = der.read(data).reader()
    version = fields.next().as_integer()
    listed = [algorithms.read_hash(item) for item in fields.next(der.SEQUENCE).children()]
    chains = fields.next(der.SEQUENCE).children()
    fields.end()
    if version != 1 or len(chains) != 1:
        raise ValueError("version 1 with one chain is expected")
    stamps = chains[0].require(der.SEQUENCE).children()
    if len(stamps) != 1:
        raise ValueError("one archive time-stamp is expected")
    stamp = stamps[0].reader()
    algorithm = algorithms.read_hash(stamp.next(0xA0).retagged(der.SEQUENCE))
    lists = stamp.next(0xA2).children()
    token = stamp.next(der.SEQUENCE).encoded
    stamp.end()
    path = tuple(tuple(item.as_octets() for item in hashes.require(der.SEQUENCE).children()) for hashes in lists)
    if algorithm != _ALGORITHM or listed != [_ALGORITHM]:
        raise ValueError("SHA-256 throughout is expected")
    if not 1 <= len(path) <= _MAX_LEVELS or not 2 <= len(path[0]) <= _MAX_MEMBERS:
        raise ValueError("the first list holds the hashes of the data group")
    if any(len(hashes) != 1 for hashes in path[1:]) or any(len(item) != _SIZE for hashes in path for item in hashes):
        raise ValueError("a list above the first holds one sibling, and each hash has 32 octets")
    if list(path[0]) != sorted(path[0]):
        raise ValueError("the first list is not sorted")
    return EvidenceRecord(path, token)


def _combine(hashes: Sequence[bytes]) -> bytes:
    return hashlib.sha256(b"".join(sorted(hashes))).digest()


def _failure(code: str, message: str) -> IntegrityFailureError:
    remedy = "Ask the archive for the proof again, and compare both."
    return IntegrityFailureError(f"EVIDENCE_{code}", message, remedy=remedy, clause="RFC 4998 §4.3")
