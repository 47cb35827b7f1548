"""A proof with every optional part: both kinds of renewal, the journal's anchor, an OCSP answer, a sealed
statement."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from minutier import algorithms, evidence
from minutier.evidence import ArchiveTimestamp, EvidenceRecord
from minutier.proof import ProofParts, assemble
from minutier.seal import seal
from tests.support.bundle import make_parts
from tests.support.ocsp_answers import answer, single
from tests.support.pki import NOW, Pki, default_pki, make_info, make_token

STATEMENT = b"%PDF-1.7 what was verified, for people\n" * 10
STAMP_RENEWED, TREE_RENEWED = NOW + timedelta(days=100), NOW + timedelta(days=200)
FULL_JUDGED_AT = NOW + timedelta(days=201)


def digest(algorithm: str, data: bytes) -> bytes:
    return hashlib.new(algorithm, data).digest()


def stamped(pki: Pki, members: Sequence[bytes], algorithm: str, moment: datetime, serial: int) -> ArchiveTimestamp:
    """Make an archive time-stamp over a group, the second of a batch of three."""
    others = [[digest(algorithm, bytes((number,)))] for number in range(2)]
    root, paths = evidence.build_batch([others[0], list(members), others[1]], algorithm)
    imprint = algorithms.hash_identifier(algorithm)
    token = make_token(pki, make_info(root, imprint_algorithm=imprint, gen_time=moment, serial=serial))
    return ArchiveTimestamp(algorithm, tuple(tuple(level) for level in paths[1]), token)


def renewed(pki: Pki, record: EvidenceRecord, objects: Sequence[bytes]) -> EvidenceRecord:
    """Renew the time-stamp, then the hash tree with SHA3-512."""
    first = record.chains[0]
    leaf = evidence.first_list((), first, "sha256", ())
    chain = (*first, stamped(pki, leaf, "sha256", STAMP_RENEWED, 101))
    digests = [digest("sha3_512", data) for data in objects]
    members = evidence.first_list((chain,), (), "sha3_512", digests)
    return EvidenceRecord((chain, (stamped(pki, members, "sha3_512", TREE_RENEWED, 102),)))


def make_full_parts(pki: Pki | None = None, **options) -> ProofParts:
    pki = pki or default_pki()
    parts = make_parts(pki, **options)
    documents = [data for data in (parts.original, parts.rendition) if isinstance(data, bytes)]
    objects = [*documents, parts.manifest, parts.seal]
    journal = [digest("sha3_512", data) for data in (parts.entry, parts.checkpoint)]
    anchor = EvidenceRecord(((stamped(pki, journal, "sha3_512", TREE_RENEWED, 103),),))
    return replace(
        parts,
        record=evidence.encode_record(renewed(pki, evidence.decode_record(parts.record), objects)),
        anchor=evidence.encode_record(anchor),
        ocsps={"tsa": answer([single(pki.tsa, pki.root)], pki.root, pki.root_key)},
        statement=STATEMENT,
        statement_seal=seal(STATEMENT, pki.signer, NOW),
    )


def make_full_bundle(target: Path, pki: Pki | None = None, **options) -> Path:
    assemble(make_full_parts(pki, **options), target)
    return target
