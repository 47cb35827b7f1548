"""Proofs whose signatures all hold and whose signed values are hostile: what an authority that was captured can make.

The first byte of an input chooses which part the rest of it stands for; everything else is made to fit and signed with
the forger's keys. Judged twice: under the anchors of the seeds nothing of it may pass, under the forger's own root
nothing may raise.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import algorithms, cms, der, evidence, merkle, proof
from minutier.certificates import encode_pem, load_certificate
from minutier.checkpoint import Checkpoint, sign_checkpoint
from minutier.evidence import ArchiveTimestamp, EvidenceRecord
from minutier.ocsp import BASIC, load_ocsp
from minutier.report import Verdict
from tests.fuzz.fuzz_bundle import judge, scratch
from tests.fuzz.mutators import Plain, change_der, change_json
from tests.fuzz.seeds import anchors, proofs
from tests.support.bundle import repack, trust_of
from tests.support.ocsp_answers import answer, single
from tests.support.pki import END, NOW, START, TIME_STAMPING, Pki, issue, make_crl, make_info, make_token

ROOT_HASH, MANIFEST_HASH = b"R" * 32, b"M" * 64
"""Where these stand in an input, the value that fits is put: the root of the evidence, the digest of the manifest."""


class Part(IntEnum):
    """What the input stands for."""

    INFO = 0
    RENEWAL_INFO = 1
    MANIFEST = 2
    ENTRY = 3
    INCLUSION = 4
    SIGNING_TIME = 5
    CRL = 6
    TSA_CERTIFICATE = 7
    SEAL_CERTIFICATE = 8
    STRANGER = 9
    OCSP = 10


TEXTS = (Part.MANIFEST, Part.ENTRY, Part.INCLUSION)


@cache
def forger() -> Pki:
    """Give the forger's keys, the same in every run."""
    root_key, tsa_key, seal_key = (ec.derive_private_key(1000 + n, ec.SECP256R1()) for n in range(3))
    root = issue("Forger root", root_key, ca=True, serial=1)
    tsa = issue("Forger TSA", tsa_key, issuer=(root, root_key), eku=TIME_STAMPING, serial=2)
    seal = issue("Forger seal", seal_key, issuer=(root, root_key), non_repudiation=True, serial=3)
    journal = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    crl = make_crl(root, root_key, start=START, end=END)
    return Pki(root_key, root, tsa_key, tsa, seal_key, seal, journal, crl)


def signed_by_forger(body: bytes) -> bytes:
    """Sign the body of a certificate or of a revocation list."""
    signature = forger().root_key.sign(body, ec.ECDSA(_sha256()))
    algorithm = algorithms.identifier(algorithms.ECDSA_SHA256)
    return der.sequence(body, algorithm, der.tlv(der.BIT_STRING, b"\x00", signature))


def _sha256():
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _certificate(part: Part, chosen: Part, body: bytes, default: x509.Certificate) -> x509.Certificate:
    return load_certificate(signed_by_forger(body)) if part is chosen else default


def _stamp(info: bytes, leaf: list[bytes], certificate: x509.Certificate, more: list[x509.Certificate]):
    root = evidence.path_root([leaf])
    token = make_token(forger(), info.replace(ROOT_HASH, root), certificate=certificate, embedded=[certificate, *more])
    return ArchiveTimestamp("sha256", (tuple(leaf),), token)


def build(part: Part, body: bytes) -> dict[str, bytes]:
    """Make the files of a proof around one hostile part; ValueError when no certificate can be made of it."""
    pki, files = forger(), dict(proofs()[1])
    tsa = _certificate(part, Part.TSA_CERTIFICATE, body, pki.tsa)
    sealer = _certificate(part, Part.SEAL_CERTIFICATE, body, pki.seal)
    more = [load_certificate(body)] if part is Part.STRANGER else []
    manifest = body if part is Part.MANIFEST else files[proof.MANIFEST]
    moment = body if part is Part.SIGNING_TIME else der.cms_time(NOW)
    sealed = cms.build(
        cms.DATA, manifest, [sealer], pki.signer.sign, detached=True,
        extra_attributes=[cms.attribute(cms.SIGNING_TIME, moment)],
    )  # fmt: skip
    objects = (files["document/original.pdf"], manifest, sealed)
    info = body if part is Part.INFO else make_info(ROOT_HASH)
    stamps = [_stamp(info, sorted(sha256(data).digest() for data in objects), tsa, more)]
    if part is Part.RENEWAL_INFO:
        stamps.append(_stamp(body, [sha256(stamps[0].token).digest()], tsa, more))
    record = EvidenceRecord((tuple(stamps),))
    fitting = sha256(manifest).hexdigest().encode()
    entry = body if part is Part.ENTRY else files[proof.ENTRY].replace(_digest_in(files), MANIFEST_HASH)
    entry = entry.replace(MANIFEST_HASH, fitting)
    root = merkle.leaf_hash(entry)
    crl = signed_by_forger(body) if part is Part.CRL else pki.crl.public_bytes(Encoding.DER)
    return {
        **files,
        **proof.evidence_files(record),
        proof.MANIFEST: manifest,
        proof.SEAL: sealed,
        proof.RECORD: evidence.encode_record(record),
        proof.ENTRY: entry,
        proof.INCLUSION: body if part is Part.INCLUSION else proof.encode_inclusion(0, 1, root, []),
        proof.CHECKPOINT: sign_checkpoint(Checkpoint(pki.note_key.name, 1, root), pki.note_key, pki.journal_key.sign),
        proof.SEAL_CHAIN: encode_pem([sealer]),
        proof.TOKEN_CHAIN: encode_pem([tsa, *more]),
        proof.ROOTS: encode_pem([pki.root]),
        "revocation/root.crl": crl,
        **({"revocation/tsa.ocsp": _answer(body)} if part is Part.OCSP else {}),
    }


def _answer(body: bytes) -> bytes:
    """Sign the ResponseData of an OCSP answer (RFC 6960 §4.2.1)."""
    basic = der.sequence(der.oid(BASIC), der.octets(signed_by_forger(body)))
    return der.sequence(der.tlv(der.ENUMERATED, b"\x00"), der.context(0, basic))


def _digest_in(files: dict[str, bytes]) -> bytes:
    return sha256(files[proof.MANIFEST]).hexdigest().encode()


def check(data: bytes) -> None:
    part, body = Part(data[0] % len(Part)) if data else Part.INFO, data[1:]
    try:
        files = build(part, body)
        bundle = repack(files, scratch()).read_bytes()
    except ValueError:
        return
    assert judge(bundle, anchors()).verdict is Verdict.FAILED, "a proof by strangers did not fail"
    judge(bundle, trust_of(forger()))


def seeds() -> dict[str, bytes]:
    """Give an input that passes under the forger's root for each part."""
    pki, files = forger(), proofs()[1]
    parts: dict[Part, bytes] = {
        Part.INFO: make_info(ROOT_HASH),
        Part.RENEWAL_INFO: make_info(ROOT_HASH),
        Part.MANIFEST: files[proof.MANIFEST],
        Part.ENTRY: files[proof.ENTRY].replace(_digest_in(files), MANIFEST_HASH),
        Part.INCLUSION: files[proof.INCLUSION],
        Part.SIGNING_TIME: der.cms_time(NOW),
        Part.CRL: pki.crl.tbs_certlist_bytes,
        Part.TSA_CERTIFICATE: pki.tsa.tbs_certificate_bytes,
        Part.SEAL_CERTIFICATE: pki.seal.tbs_certificate_bytes,
        Part.STRANGER: pki.seal.public_bytes(Encoding.DER),
        Part.OCSP: load_ocsp(answer([single(pki.tsa, pki.root)], pki.root, pki.root_key)).signed,
    }
    return {part.name.lower(): bytes((part,)) + body for part, body in parts.items()}


def change(data: bytes, dice: random.Random, plain: Plain) -> bytes:
    """Change the part, in its own shape."""
    if len(data) < 2:
        return bytes((dice.randrange(len(Part)),)) + plain(data)
    way: Callable[[bytes, random.Random, Plain], bytes]
    way = change_json if data[0] % len(Part) in TEXTS else change_der
    return data[:1] + (way(data[1:], dice, plain) if dice.randrange(4) else plain(data[1:]))
