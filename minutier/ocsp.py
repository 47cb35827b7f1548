"""OCSP answers (RFC 6960 §4.2): read strictly, and believed only from the issuer or a responder that it appointed.

Nothing is asked here: storage carries requests and answers, the proof keeps the bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from minutier import algorithms, der
from minutier.issuance import extension_value, issued, load_certificate

BASIC = "1.3.6.1.5.5.7.48.1.1"
SHA1 = "1.3.14.3.2.26"
# SHA-1 names an issuer here, as most responders want (RFC 5019 §2.1.1); what is believed rests on the signature.
_NAMING = {
    SHA1: "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_REASONS = {
    0: x509.ReasonFlags.unspecified,
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    8: x509.ReasonFlags.remove_from_crl,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}
_MAX_CERTIFICATES = 8
_UNDERSTOOD = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE}


@dataclass(frozen=True, slots=True)
class SingleStatus:
    """What an answer says of one certificate, named by hashes of its issuer and by its serial number.

    `status` is good, revoked or unknown; `revoked_at` and `reason` go with revoked (the reason only if it is written).
    """

    naming: str
    name_hash: bytes
    key_hash: bytes
    serial: int
    status: str
    revoked_at: datetime | None
    reason: x509.ReasonFlags | None
    this_update: datetime
    next_update: datetime | None

    def is_about(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Say whether this is about `certificate`: serial number, name and key of its issuer (RFC 6960 §4.1.1)."""
        name, key = _issuer_hashes(issuer, self.naming)
        return (
            self.serial == certificate.serial_number
            and hmac.compare_digest(self.name_hash, name)
            and hmac.compare_digest(self.key_hash, key)
        )


@dataclass(frozen=True, slots=True)
class OcspResponse:
    """A successful basic answer whose bytes (`encoded`) are strict DER; its signature is not verified yet.

    The responder is named either by `responder_name` (DER of its Name) or by `responder_key` (SHA-1 of its key).
    """

    encoded: bytes
    signed: bytes
    responder_name: bytes | None
    responder_key: bytes | None
    produced_at: datetime
    statuses: tuple[SingleStatus, ...]
    signature_algorithm: der.Element
    signature: bytes
    certificates: tuple[x509.Certificate, ...]


def build_request(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """Write an OCSPRequest about one certificate (RFC 6960 §4.1.1); no nonce, answers are judged by their dates."""
    name, key = _issuer_hashes(issuer, "sha1")
    identifier = der.sequence(
        der.sequence(der.oid(SHA1), der.null()),
        der.octets(name),
        der.octets(key),
        der.integer(certificate.serial_number),
    )
    return der.sequence(der.sequence(der.sequence(der.sequence(identifier))))


def load_ocsp(data: bytes) -> OcspResponse:
    """Read one OCSPResponse in DER; ValueError when it is not a successful basic answer in strict DER."""
    outer = der.read(data).reader()
    if outer.next(der.ENUMERATED).content != b"\x00":
        raise ValueError("the responder did not answer the question")
    carried = der.read(outer.next(0xA0).content).reader()
    outer.end()
    if carried.next().as_oid() != BASIC:
        raise ValueError("not a basic OCSP answer")
    basic = der.read(carried.next().as_octets()).reader()
    carried.end()
    body, algorithm = basic.next(der.SEQUENCE), basic.next(der.SEQUENCE)
    bits = basic.next(der.BIT_STRING).content
    if bits[:1] != b"\x00":
        raise ValueError("the signature is not a whole number of octets")
    chain = basic.optional(0xA0)
    basic.end()
    members = der.read(chain.content).require(der.SEQUENCE).children() if chain else []
    if len(members) > _MAX_CERTIFICATES:
        raise ValueError(f"more than {_MAX_CERTIFICATES} certificates are embedded")
    return _response(data, body, algorithm, bits[1:], tuple(load_certificate(item.encoded) for item in members))


def _response(
    data: bytes,
    body: der.Element,
    algorithm: der.Element,
    signature: bytes,
    certificates: tuple[x509.Certificate, ...],
) -> OcspResponse:
    fields = body.reader()
    if fields.optional(0xA0) is not None:
        raise der.DerError("version 1 is the default, which DER leaves out")
    by_name = fields.optional(0xA1)
    by_key = None if by_name else fields.next(0xA2)
    produced_at = fields.next().as_time()
    statuses = tuple(_status(item) for item in fields.next(der.SEQUENCE).children())
    _refuse_critical(fields.optional(0xA1))
    fields.end()
    return OcspResponse(
        encoded=data,
        signed=body.encoded,
        responder_name=der.read(by_name.content).require(der.SEQUENCE).encoded if by_name else None,
        responder_key=der.read(by_key.content).as_octets() if by_key else None,
        produced_at=produced_at,
        statuses=statuses,
        signature_algorithm=algorithm,
        signature=signature,
        certificates=certificates,
    )


def _status(element: der.Element) -> SingleStatus:
    """Read a SingleResponse (RFC 6960 §4.2.1)."""
    fields = element.reader()
    named = fields.next(der.SEQUENCE).reader()
    hashed = named.next(der.SEQUENCE).reader()
    dotted = hashed.next().as_oid()
    hashed.optional(der.NULL)
    hashed.end()
    if dotted not in _NAMING:
        raise ValueError(f"the issuer is named with the hash {dotted}")
    name_hash, key_hash, serial = named.next().as_octets(), named.next().as_octets(), named.next().as_integer()
    named.end()
    answer = fields.next()
    revoked_at, reason = None, None
    if answer.tag == 0xA1:
        parts = answer.reader(0xA1)
        revoked_at = parts.next().as_time()
        written = parts.optional(0xA0)
        parts.end()
        if written is not None:
            reason = _REASONS[_enumerated(der.read(written.content))]
    elif answer.tag not in (0x80, 0x82) or answer.content:
        raise der.DerError("the status is good, revoked or unknown")
    this_update = fields.next().as_time()
    until = fields.optional(0xA0)
    _refuse_critical(fields.optional(0xA1))
    fields.end()
    return SingleStatus(
        naming=_NAMING[dotted],
        name_hash=name_hash,
        key_hash=key_hash,
        serial=serial,
        status={0x80: "good", 0xA1: "revoked", 0x82: "unknown"}[answer.tag],
        revoked_at=revoked_at,
        reason=reason,
        this_update=this_update,
        next_update=der.read(until.content).as_time() if until else None,
    )


def _enumerated(element: der.Element) -> int:
    number = element.retagged(der.INTEGER).as_integer() if element.tag == der.ENUMERATED else -1
    if number not in _REASONS:
        raise der.DerError("the reason of a revocation is not one of RFC 5280 §5.3.1")
    return number


def _refuse_critical(extensions: der.Element | None) -> None:
    for extension in der.read(extensions.content).children() if extensions else ():
        parts = extension.reader()
        parts.next(der.OID)
        if parts.optional(der.BOOLEAN) is not None:
            raise der.DerError("a critical extension is not understood")


def _issuer_hashes(issuer: x509.Certificate, naming: str) -> tuple[bytes, bytes]:
    return _naming_hash(naming, issuer.subject.public_bytes()), _naming_hash(naming, _key_bits(issuer))


def _naming_hash(naming: str, data: bytes) -> bytes:
    return hashlib.new(naming, data, usedforsecurity=False).digest()


def _key_bits(certificate: x509.Certificate) -> bytes:
    """Give subjectPublicKey without its tag, length and count of unused bits (RFC 6960 §4.1.1)."""
    info = der.read(certificate.tbs_certificate_bytes).reader()
    info.optional(0xA0)
    for _ in range(5):  # serialNumber, signature, issuer, validity, subject
        info.next()
    key = info.next(der.SEQUENCE).reader()
    key.next()
    return key.next(der.BIT_STRING).content[1:]


def is_signed_for(
    response: OcspResponse, issuer: x509.Certificate, not_revoked: Callable[[x509.Certificate, datetime], bool]
) -> bool:
    """Say whether the answer is signed by `issuer`, or by a responder that it appointed (RFC 6960 §4.2.2.2).

    An appointed responder has a certificate directly from `issuer` with the purpose OCSPSigning, valid when the answer
    was made, that bears id-pkix-ocsp-nocheck or that `not_revoked` knows to stand at that time.
    """
    if _names(response, issuer):
        return _verifies(response, issuer)
    for candidate in response.certificates:
        if _names(response, candidate) and _appointed(candidate, issuer, response.produced_at, not_revoked):
            return _verifies(response, candidate)
    return False


def _names(response: OcspResponse, certificate: x509.Certificate) -> bool:
    if response.responder_name is not None:
        return response.responder_name == certificate.subject.public_bytes()
    found = _naming_hash("sha1", _key_bits(certificate))
    return response.responder_key is not None and hmac.compare_digest(response.responder_key, found)


def _appointed(
    candidate: x509.Certificate,
    issuer: x509.Certificate,
    at: datetime,
    not_revoked: Callable[[x509.Certificate, datetime], bool],
) -> bool:
    if not issued(candidate, issuer) or not candidate.not_valid_before_utc <= at <= candidate.not_valid_after_utc:
        return False
    purposes, usage = extension_value(candidate, x509.ExtendedKeyUsage), extension_value(candidate, x509.KeyUsage)
    if purposes is None or ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        return False
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        return False
    if any(item.critical and item.oid not in _UNDERSTOOD for item in candidate.extensions):
        return False
    return extension_value(candidate, x509.OCSPNoCheck) is not None or not_revoked(candidate, at)


def _verifies(response: OcspResponse, responder: x509.Certificate) -> bool:
    key = responder.public_key()
    try:
        algorithms.check_key(key, response.produced_at)
        digest_name = algorithms.hash_of_signature(response.signature_algorithm)
        algorithms.verify_signature(key, response.signature_algorithm, digest_name, response.signature, response.signed)
    except (ValueError, InvalidSignature):
        return False
    return True
