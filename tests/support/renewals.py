"""Batches of documents through the years: stamped, time-stamps and hash trees renewed, under certificates that end.

The tokens come from the archive's own development authority, with the clock moved; no token is asked of a network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from minutier import algorithms, der
from minutier.evidence import (
    ArchiveTimestamp,
    Chain,
    EvidenceRecord,
    build_batch,
    encode_record,
    older_hash,
    rehash_member,
    renewal_leaf,
)
from storage.dev_tsa import issue_token
from tests.support.pki import TIME_STAMPING, issue, make_crl, new_key
from tests.support.verifiers import Question

YEAR = timedelta(days=365)
STAMPED = datetime(2026, 11, 1, 10, tzinfo=UTC)
RENEWED = STAMPED + 0.9 * YEAR  # the certificate of the first authority ends a year after STAMPED
RENEWED_AGAIN = STAMPED + 2 * YEAR  # and that of the second, 2.2 years after
LATER = timedelta(days=200)
OLD, NEW = "sha256", "sha3_512"
# The stages of a batch, as `stages` makes them.
NAMES = (
    "at first",
    "time-stamp renewed",
    "time-stamp renewed alone",
    "time-stamp renewed twice",
    "hash tree renewed",
    "time-stamp then hash tree renewed",
    "hash tree then time-stamp renewed",
)


@dataclass(frozen=True)
class Authority:
    """A time-stamp authority for some years."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def token(self, digest: bytes, algorithm: str, moment: datetime) -> bytes:
        """Issue a token over a digest."""
        imprint = der.sequence(algorithms.hash_identifier(algorithm), der.octets(digest))
        request = der.sequence(der.integer(1), imprint, der.integer(1 << 62))
        serial = int(moment.timestamp()) + 1
        return der.read(issue_token(request, self.key, [self.certificate], moment, serial)).children()[1].encoded


@dataclass(frozen=True)
class Century:
    """A root for thirty years, and one authority after another under it."""

    root_key: ec.EllipticCurvePrivateKey
    root: x509.Certificate
    authorities: tuple[Authority, ...]

    def authority(self, start: datetime, end: datetime, **options) -> Authority:
        """Certify one more authority."""
        key = new_key()
        options = {"eku": TIME_STAMPING, **options}
        return Authority(key, issue("TSA", key, issuer=(self.root, self.root_key), start=start, end=end, **options))

    def lists(self, moments: Sequence[datetime], judged: datetime) -> tuple[x509.CertificateRevocationList, ...]:
        """Give the revocation lists of an archive that collects one right after each token, and one when judged."""
        issued = [moment + timedelta(minutes=5) for moment in moments] + [judged - timedelta(hours=1)]
        return tuple(
            make_crl(self.root, self.root_key, start=moment, end=moment + timedelta(days=30)) for moment in issued
        )

    def question(
        self, name: str, record: EvidenceRecord | bytes, data: Sequence[bytes], moments: Sequence[datetime], **changes
    ) -> Question:
        """Ask about a record with tokens of these moments, 200 days after the last."""
        judged = moments[-1] + LATER
        subject = record if isinstance(record, bytes) else encode_record(record)
        values = {"moment": judged, "roots": (self.root,), "crls": self.lists(moments, judged), **changes}
        return Question(name, "record", subject, tuple(data), **values)


@cache
def century() -> Century:
    """Give the authorities that tests share."""
    root_key = new_key()
    root = issue("Root", root_key, ca=True, start=STAMPED - YEAR, end=STAMPED + 30 * YEAR)
    bare = Century(root_key, root, ())
    spans = [(-0.1, 1.0), (0.8, 2.2), (1.9, 4.0)]
    made = [bare.authority(STAMPED + start * YEAR, STAMPED + end * YEAR) for start, end in spans]
    return Century(root_key, root, tuple(made))


def hashed(algorithm: str, *parts: bytes) -> bytes:
    return hashlib.new(algorithm, b"".join(parts)).digest()


@dataclass(frozen=True)
class Batch:
    """Documents of three to five members, stamped together, and their records after each kind of renewal."""

    documents: tuple[tuple[bytes, ...], ...]

    @cached_property
    def stamped(self) -> list[tuple[Chain, ...]]:
        """One token for all."""
        groups = [[hashed(OLD, item) for item in document] for document in self.documents]
        root, paths = build_batch(groups)
        token = century().authorities[0].token(root, OLD, STAMPED)
        return [((_stamp(OLD, path, token),),) for path in paths]

    def time_stamps_renewed(
        self, chains: list[tuple[Chain, ...]], moment: datetime, authority: int, neighbours: int = 2
    ) -> list[tuple[Chain, ...]]:
        """Renew the one token of the batch, in a batch with tokens of `neighbours` other batches."""
        last = chains[0][-1][-1]
        leaves = [[hashed(last.algorithm, b"another token %d" % number)] for number in range(neighbours)]
        leaves.insert(neighbours // 2, [renewal_leaf(last.token, last.algorithm)])
        root, paths = build_batch(leaves, last.algorithm)
        token = century().authorities[authority].token(root, last.algorithm, moment)
        stamp = _stamp(last.algorithm, paths[neighbours // 2], token)
        return [(*older, (*chain, stamp)) for *older, chain in chains]

    def hash_trees_renewed(
        self, chains: list[tuple[Chain, ...]], moment: datetime, authority: int
    ) -> list[tuple[Chain, ...]]:
        """Begin a chain by SHA3-512 for each document, under one token."""
        groups = []
        for document, older in zip(self.documents, chains, strict=True):
            ha = older_hash(older, NEW)
            groups.append([rehash_member(hashed(NEW, item), ha, NEW) for item in document])
        root, paths = build_batch(groups, NEW)
        token = century().authorities[authority].token(root, NEW, moment)
        return [(*older, (_stamp(NEW, path, token),)) for older, path in zip(chains, paths, strict=True)]


def _stamp(algorithm: str, path: Sequence[Sequence[bytes]], token: bytes) -> ArchiveTimestamp:
    return ArchiveTimestamp(algorithm, tuple(tuple(item) for item in path), token)


@cache
def batch(size: int) -> Batch:
    """Give a batch of distinct small documents."""
    return Batch(
        tuple(
            tuple(b"document %d member %d" % (number, member) for member in range(3 + number % 3))
            for number in range(size)
        )
    )


@dataclass(frozen=True)
class Stage:
    """The records of a batch after some renewals, and when its tokens were made."""

    records: list[EvidenceRecord]
    moments: tuple[datetime, ...]


def stages(made: Batch) -> dict[str, Stage]:
    """Give every stage of a batch by name."""
    first = made.stamped
    again = made.time_stamps_renewed(first, RENEWED, 1)
    rehashed = made.hash_trees_renewed(first, RENEWED, 1)
    chains = {
        "at first": (first, (STAMPED,)),
        "time-stamp renewed": (again, (STAMPED, RENEWED)),
        "time-stamp renewed alone": (made.time_stamps_renewed(first, RENEWED, 1, 0), (STAMPED, RENEWED)),
        "time-stamp renewed twice": (
            made.time_stamps_renewed(again, RENEWED_AGAIN, 2), (STAMPED, RENEWED, RENEWED_AGAIN),
        ),
        "hash tree renewed": (rehashed, (STAMPED, RENEWED)),
        "time-stamp then hash tree renewed": (
            made.hash_trees_renewed(again, RENEWED_AGAIN, 2), (STAMPED, RENEWED, RENEWED_AGAIN),
        ),
        "hash tree then time-stamp renewed": (
            made.time_stamps_renewed(rehashed, RENEWED_AGAIN, 2), (STAMPED, RENEWED, RENEWED_AGAIN),
        ),
    }  # fmt: skip
    return {name: Stage([EvidenceRecord(each) for each in found], moments) for name, (found, moments) in chains.items()}
