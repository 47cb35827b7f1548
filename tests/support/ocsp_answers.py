"""OCSP answers written by hand (RFC 6960 §4.2.1), so that they can be wrong in one chosen way."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minutier import algorithms, der
from minutier.ocsp import BASIC, SHA1
from tests.support.pki import NOW

GOOD, UNKNOWN = der.tlv(0x80), der.tlv(0x82)


def revoked(when: datetime, reason: int | None = None) -> bytes:
    """Write the status revoked."""
    written = b"" if reason is None else der.context(0, der.tlv(der.ENUMERATED, bytes((reason,))))
    return der.tlv(0xA1, der.generalized_time(when), written)


def key_hash(certificate: x509.Certificate, hashed: str = "sha1") -> bytes:
    public = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    if hashed == "sha1":
        return public.digest
    info = der.read(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).children()
    return hashlib.new(hashed, info[1].content[1:]).digest()


def single(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    status: bytes = GOOD,
    *,
    this_update: datetime = NOW - timedelta(hours=1),
    next_update: datetime | None = NOW + timedelta(days=1),
    naming: str = "sha1",
    extensions: bytes = b"",
) -> bytes:
    """Write a SingleResponse."""
    identifier = SHA1 if naming == "sha1" else algorithms.SHA256
    named = der.sequence(
        der.sequence(der.oid(identifier), der.null()),
        der.octets(hashlib.new(naming, issuer.subject.public_bytes()).digest()),
        der.octets(key_hash(issuer, naming)),
        der.integer(certificate.serial_number),
    )
    until = b"" if next_update is None else der.context(0, der.generalized_time(next_update))
    return der.sequence(named, status, der.generalized_time(this_update), until, extensions)


def answer(
    singles: Sequence[bytes],
    responder: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    *,
    embedded: Sequence[x509.Certificate] = (),
    by_key: bool = False,
    produced_at: datetime = NOW,
    spoil: bool = False,
    hashed: hashes.HashAlgorithm | None = None,
    signature_algorithm: str = algorithms.ECDSA_SHA256,
    extensions: bytes = b"",
) -> bytes:
    """Write a successful OCSPResponse signed by `key` in the name of `responder`."""
    named = (
        der.context(2, der.octets(key_hash(responder))) if by_key else der.context(1, responder.subject.public_bytes())
    )
    body = der.sequence(named, der.generalized_time(produced_at), der.sequence(*singles), extensions)
    signature = key.sign(body, ec.ECDSA(hashed or hashes.SHA256(), deterministic_signing=True))
    if spoil:
        signature = signature[:-1] + bytes((signature[-1] ^ 1,))
    certificates = [item.public_bytes(Encoding.DER) for item in embedded]
    basic = der.sequence(
        body,
        algorithms.identifier(signature_algorithm),
        der.tlv(der.BIT_STRING, b"\x00" + signature),
        der.context(0, der.sequence(*certificates)) if certificates else b"",
    )
    carried = der.sequence(der.oid(BASIC), der.octets(basic))
    return der.sequence(der.tlv(der.ENUMERATED, b"\x00"), der.context(0, carried))
