"""Evidence records, RFC 4998: one time-stamp token for a batch, a short path to it for each document, and renewals.

Each document is a data group of at least two objects (original, rendition, manifest, seals), so that no single-hash
case arises, about which verifiers differ. Rules (docs/format/evidence-v1.md, evidence-v2.md):

1. leaf = H(member hashes in ascending byte order, concatenated); the lone hash of a renewed token goes up as it is;
2. node = H(children in ascending order, concatenated), no prefix; an odd node is promoted and adds no list;
3. reducedHashtree[0] is exactly the hashes of the group, then one list per level holding the sibling;
4. digestAlgorithm is always written, and equals the algorithm of the imprint;
5. time-stamp renewal: same chain, same H, over H(DER of the previous timeStamp ContentInfo);
6. hash-tree renewal: new chain, new H, each member is H(H(object) || ha), ha = H(DER of all older chains).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from minutier import algorithms, der
from minutier.errors import IntegrityFailureError

MAX_RECORD_BYTES = 512 * 1024
SIZES = {"sha256": 32, "sha3_512": 64}  # the hashes of trees, and their octets
_MAX_CHAINS, _MAX_STAMPS, _MAX_LEVELS, _MAX_MEMBERS = 8, 32, 64, 64

HashPath = list[list[bytes]]
Chain = tuple["ArchiveTimestamp", ...]


@dataclass(frozen=True, slots=True)
class ArchiveTimestamp:
    """One archive time-stamp: the hash of its tree, the lists of its reduced hash tree, its token in DER."""

    algorithm: str
    path: tuple[tuple[bytes, ...], ...]
    token: bytes

    @property
    def root(self) -> bytes:
        """Give the value that the token must be about."""
        return path_root(self.path, self.algorithm)


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """Chains of archive time-stamps, oldest first; each chain has one hash algorithm."""

    chains: tuple[Chain, ...]

    @property
    def stamps(self) -> tuple[ArchiveTimestamp, ...]:
        """Give every archive time-stamp, oldest first."""
        return tuple(stamp for chain in self.chains for stamp in chain)

    @property
    def first(self) -> ArchiveTimestamp:
        """Give the one that dates the document."""
        return self.chains[0][0]


def initial_record(path: Sequence[Sequence[bytes]], token: bytes, algorithm: str = "sha256") -> EvidenceRecord:
    """Make the record of a document that was never renewed."""
    return EvidenceRecord(((ArchiveTimestamp(algorithm, tuple(tuple(item) for item in path), token),),))


def build_batch(groups: Sequence[Sequence[bytes]], algorithm: str = "sha256") -> tuple[bytes, list[HashPath]]:
    """Build the tree over data groups: its root, and for each group its reduced hash tree.

    `groups` holds the hash of each member of each document, or the one hash of a renewed token. With one group, the
    root is its value. ValueError for an empty batch, an empty or too large group, or a hash of another length.
    """
    if not groups:
        raise ValueError("a batch has at least one document")
    size = _size(algorithm)
    for group in groups:
        if not 1 <= len(group) <= _MAX_MEMBERS or any(len(member) != size for member in group):
            raise ValueError(f"a data group has 1 to {_MAX_MEMBERS} {algorithm} hashes")
    paths: list[HashPath] = [[sorted(group)] for group in groups]
    level = [_list_value(group, algorithm) for group in groups]
    below = [[index] for index in range(len(groups))]
    while len(level) > 1:
        parents, owners = [], []
        for left in range(0, len(level) - 1, 2):
            for child, sibling in ((left, left + 1), (left + 1, left)):
                for group_index in below[child]:
                    paths[group_index].append([level[sibling]])
            parents.append(_combine(level[left : left + 2], algorithm))
            owners.append(below[left] + below[left + 1])
        if len(level) % 2:
            parents.append(level[-1])
            owners.append(below[-1])
        level, below = parents, owners
    return level[0], paths


def renewal_leaf(token: bytes, algorithm: str) -> bytes:
    """Give the one hash of a time-stamp renewal: that of the old timeStamp ContentInfo in DER (RFC 4998 §5.2)."""
    return hashlib.new(algorithm, token).digest()


def rehash_member(digest: bytes, older: bytes, algorithm: str) -> bytes:
    """Give H(H(object) || ha): a member of a hash-tree renewal (RFC 4998 §5.2). `older` is ha."""
    return hashlib.new(algorithm, digest + older).digest()


def older_hash(chains: Sequence[Chain], algorithm: str) -> bytes:
    """Give ha: the hash, by the new algorithm, of the DER of the sequence of all older chains."""
    return hashlib.new(algorithm, encode_sequence(chains)).digest()


def first_list(
    older: Sequence[Chain], chain: Sequence[ArchiveTimestamp], algorithm: str, digests: Sequence[bytes]
) -> list[bytes]:
    """Give the first list that the next archive time-stamp must have.

    `older` are the chains before its own, `chain` the stamps before it in its own, `digests` the hash of each member
    by `algorithm`.
    """
    if chain:
        return [renewal_leaf(chain[-1].token, algorithm)]
    if not older:
        return sorted(digests)
    ha = older_hash(older, algorithm)
    return sorted(rehash_member(digest, ha, algorithm) for digest in digests)


def path_root(path: Sequence[Sequence[bytes]], algorithm: str = "sha256") -> bytes:
    """Compute the root a reduced hash tree leads to (RFC 4998 §4.3)."""
    result = _list_value(path[0], algorithm)
    for hashes in path[1:]:
        result = _combine([result, *hashes], algorithm)
    return result


def path_text(path: Sequence[Sequence[bytes]]) -> str:
    """Write a path for people and shell tools: a line per list, lower-case hexadecimal, blanks between hashes."""
    return "".join(" ".join(item.hex() for item in hashes) + "\n" for hashes in path)


def encode_sequence(chains: Sequence[Chain]) -> bytes:
    """Write the ArchiveTimeStampSequence in DER."""
    return der.sequence(*(der.sequence(*(_encode_stamp(stamp) for stamp in chain)) for chain in chains))


def encode_record(record: EvidenceRecord) -> bytes:
    """Write the EvidenceRecord in DER (RFC 4998 §3.1)."""
    used = dict.fromkeys(stamp.algorithm for stamp in record.stamps)
    listed = der.sequence(*(algorithms.hash_identifier(name) for name in used))
    return der.sequence(der.integer(1), listed, encode_sequence(record.chains))


def decode_record(data: bytes) -> EvidenceRecord:
    """Read a record of this profile; IntegrityFailureError EVIDENCE_FORMAT on any other."""
    try:
        record = _decode(data)
        if encode_record(record) != data:
            raise ValueError("it is not in its only form")
    except ValueError as error:
        raise _failure("FORMAT", f"The evidence record is not readable: {error}.") from error
    return record


def check_record(record: EvidenceRecord, digests: Mapping[str, Sequence[bytes]]) -> None:
    """Check that each archive time-stamp is about exactly these files, or renews the one before it.

    `digests` gives, for each algorithm of trees, the hash of each member. The roots and tokens are judged elsewhere.
    Raises IntegrityFailureError EVIDENCE_GROUP or EVIDENCE_RENEWAL.
    """
    for number, chain in enumerate(record.chains):
        for index, stamp in enumerate(chain):
            known = digests[stamp.algorithm]
            expected = first_list(record.chains[:number], chain[:index], stamp.algorithm, known)
            if hmac.compare_digest(b"".join(expected), b"".join(stamp.path[0])):
                continue
            if index:
                raise _failure("RENEWAL", "A time-stamp renewal is about another token than the one before it.")
            raise _failure("GROUP", "The evidence record is about other files than those of this proof.")


def _encode_stamp(stamp: ArchiveTimestamp) -> bytes:
    lists = b"".join(der.sequence(*(der.octets(item) for item in hashes)) for hashes in stamp.path)
    return der.sequence(_tagged(stamp.algorithm), der.context(2, lists), stamp.token)


@lru_cache(maxsize=8)
def _tagged(algorithm: str) -> bytes:
    """Write digestAlgorithm [0]: the same few octets in every archive time-stamp of a batch."""
    return der.read(algorithms.hash_identifier(algorithm)).retagged(0xA0).encoded


def _decode(data: bytes) -> EvidenceRecord:
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError("it is too large")
    fields = der.read(data).reader()
    if fields.next().as_integer() != 1:
        raise ValueError("version 1 is expected")
    fields.next(der.SEQUENCE)  # digestAlgorithms: written again from the chains, and compared, by the caller
    chains = fields.next(der.SEQUENCE).children()
    fields.end()
    if not 1 <= len(chains) <= _MAX_CHAINS:
        raise ValueError(f"1 to {_MAX_CHAINS} chains are expected")
    decoded: list[Chain] = []
    for chain in chains:
        stamps = chain.require(der.SEQUENCE).children()
        if not 1 <= len(stamps) <= _MAX_STAMPS:
            raise ValueError(f"1 to {_MAX_STAMPS} archive time-stamps are expected in a chain")
        found = tuple(_decode_stamp(stamp, renews=index > 0) for index, stamp in enumerate(stamps))
        if any(stamp.algorithm != found[0].algorithm for stamp in found):
            raise ValueError("a chain has one algorithm")
        if decoded and decoded[-1][0].algorithm == found[0].algorithm:
            raise ValueError("a new chain has a new algorithm")
        decoded.append(found)
    return EvidenceRecord(tuple(decoded))


def _decode_stamp(element: der.Element, *, renews: bool) -> ArchiveTimestamp:
    stamp = element.reader()
    algorithm = algorithms.read_hash(stamp.next(0xA0).retagged(der.SEQUENCE))
    size = _size(algorithm)
    lists = stamp.next(0xA2).children()
    token = stamp.next(der.SEQUENCE).encoded
    stamp.end()
    path = tuple(tuple(item.as_octets() for item in hashes.require(der.SEQUENCE).children()) for hashes in lists)
    if not 1 <= len(path) <= _MAX_LEVELS:
        raise ValueError(f"1 to {_MAX_LEVELS} lists are expected")
    if len(path[0]) != 1 if renews else not 2 <= len(path[0]) <= _MAX_MEMBERS:
        raise ValueError("the first list holds the hashes of the data group, or that of the renewed token")
    if any(len(hashes) != 1 for hashes in path[1:]) or any(len(item) != size for hashes in path for item in hashes):
        raise ValueError("a list above the first holds one sibling, and each hash has the length of its algorithm")
    if list(path[0]) != sorted(path[0]):
        raise ValueError("the first list is not sorted")
    return ArchiveTimestamp(algorithm, path, token)


def _size(algorithm: str) -> int:
    if algorithm not in SIZES:
        raise ValueError(f"{algorithm} is not a hash of evidence records")
    return SIZES[algorithm]


def _list_value(hashes: Sequence[bytes], algorithm: str) -> bytes:
    return hashes[0] if len(hashes) == 1 else _combine(hashes, algorithm)


def _combine(hashes: Sequence[bytes], algorithm: str) -> bytes:
    return hashlib.new(algorithm, b"".join(sorted(hashes))).digest()


def _failure(code: str, message: str) -> IntegrityFailureError:
    remedy = "Ask the archive for the proof again, and compare both."
    return IntegrityFailureError(f"EVIDENCE_{code}", message, remedy=remedy, clause="RFC 4998 §4.3, §5.3")
