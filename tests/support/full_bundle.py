"""A proof with every optional part: both kinds of renewal, a second seal, the journal's anchor, an OCSP answer,
a sealed statement."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from minutier import algorithms, evidence
from minutier.evidence import ArchiveTimestamp, EvidenceRecord
from minutier.proof import ProofParts, assemble, statement_mark
from minutier.seal import seal
from minutier.trust import Trust
from tests.support.bundle import make_parts, trust_of
from tests.support.ocsp_answers import answer, single
from tests.support.pki import (
    NOW,
    Pki,
    SecondSigner,
    default_pki,
    make_crl,
    make_info,
    make_token,
    new_second_signer,
)

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


@cache
def second_signer() -> SecondSigner:
    """Give the second seal's key that tests share."""
    return new_second_signer()


def full_trust(pki: Pki | None = None, second: SecondSigner | None = None) -> Trust:
    return replace(trust_of(pki or default_pki()), second_roots=((second or second_signer()).root,))


def statement_of(manifest: bytes) -> bytes:
    """Stand in for the page for people: what binds it to its proof is all that a verifier reads."""
    return b"%PDF-1.7 what was verified, for people\n" * 10 + statement_mark(manifest)


def make_full_parts(pki: Pki | None = None, second: SecondSigner | None = None, **options) -> ProofParts:
    pki, second = pki or default_pki(), second or second_signer()
    parts = make_parts(pki, second=second, **options)
    listed = (parts.original, parts.rendition, parts.manifest, parts.seal, parts.second_seal)
    objects = [data for data in listed if isinstance(data, bytes)]
    journal = [digest("sha3_512", data) for data in (parts.entry, parts.checkpoint)]
    anchor = EvidenceRecord(((stamped(pki, journal, "sha3_512", TREE_RENEWED, 103),),))
    return replace(
        parts,
        record=evidence.encode_record(renewed(pki, evidence.decode_record(parts.record), objects)),
        anchor=evidence.encode_record(anchor),
        ocsps={"tsa": answer([single(pki.tsa, pki.root)], pki.root, pki.root_key)},
        crls={**parts.crls, "second": make_crl(second.root, second.root_key).public_bytes(Encoding.DER)},
        statement=statement_of(parts.manifest),
        statement_seal=seal(statement_of(parts.manifest), pki.signer, NOW),
    )


def make_full_bundle(target: Path, pki: Pki | None = None, second: SecondSigner | None = None, **options) -> Path:
    assemble(make_full_parts(pki, second, **options), target)
    return target
