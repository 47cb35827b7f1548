"""Certification paths at a moment in the past (RFC 5280 §6, the part that signatures and tokens need).

Anchors are given by the caller, never taken from a bundle or a token. Revocation is judged from CRLs kept with the
proof: nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from minutier import algorithms, der
from minutier.errors import IntegrityFailureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_MAX_DEPTH = 6
_MAX_CERTIFICATES = 64
# Critical extensions that this module or its callers act on; any other one refuses the certificate.
_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
}
# RFC 3161 §4: after these, tokens made before the revocation stay valid; after any other, none does.
_HARMLESS = {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
}


@dataclass(frozen=True, slots=True)
class ValidPath:
    """A path from a leaf to an anchor, and whether usable CRLs covered every certificate below the anchor."""

    certificates: tuple[x509.Certificate, ...]
    revocation_known: bool


def load_certificate(data: bytes) -> x509.Certificate:
    """Read one DER certificate; ValueError when it is not a strict version 3 certificate with a positive serial."""
    fields = der.read(data).reader()
    body = fields.next(der.SEQUENCE).reader()
    if body.next(0xA0).content != der.integer(2):
        raise ValueError("not an X.509 version 3 certificate")
    if body.next().as_integer() <= 0:
        raise ValueError("the serial number of the certificate is not positive")
    _check_signature_form(fields)
    certificate = x509.load_der_x509_certificate(data)
    try:
        _ = (certificate.extensions, certificate.subject, certificate.issuer, certificate.public_key())
    except (UnsupportedAlgorithm, x509.DuplicateExtension, TypeError) as error:  # the last for an odd type in a name
        raise ValueError(str(error)) from error
    return certificate


def load_pem(data: bytes) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file, in its order; ValueError when there is none or one is unusable."""
    return tuple(load_certificate(item.public_bytes(Encoding.DER)) for item in x509.load_pem_x509_certificates(data))


def load_crl(data: bytes) -> x509.CertificateRevocationList:
    """Read one DER certificate revocation list; ValueError when it is not one."""
    fields = der.read(data).reader()
    fields.next(der.SEQUENCE)
    _check_signature_form(fields)
    try:
        crl = x509.load_der_x509_crl(data)
        _ = (crl.extensions, crl.issuer, crl.signature_hash_algorithm, crl.last_update_utc, crl.next_update_utc)
    except (UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise ValueError(str(error)) from error
    return crl


def _check_signature_form(fields: der.Reader) -> None:
    """Refuse a signature that is not whole octets: its count of unused bits is not signed, and parsers overlook it."""
    fields.next(der.SEQUENCE)
    if fields.next(der.BIT_STRING).content[:1] != b"\x00":
        raise ValueError("the signature is not a whole number of octets")
    fields.end()


def encode_pem(chain: Iterable[x509.Certificate]) -> bytes:
    """Write a PEM file of certificates in the one spelling that a proof may hold: no text around, 64 columns."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)


def validate_path(
    leaf: x509.Certificate,
    intermediates: Iterable[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList] = (),
    *,
    prefix: str,
    strict_reasons: bool = False,
) -> ValidPath:
    """Find a path from `leaf` to one of `roots` that was valid at `at`.

    With `strict_reasons`, a revocation for key compromise (or without a reason) counts whatever its date (RFC 3161
    §4). Raises IntegrityFailureError `<prefix>_CHAIN`, `<prefix>_REVOKED` or `<prefix>_ALGORITHM`.
    """
    pool = list(intermediates)[:_MAX_CERTIFICATES]
    path = _climb((leaf,), pool, roots)
    if path is None:
        raise failure(prefix, "CHAIN", f"{name_of(leaf)} does not lead to any trusted root.", "RFC 5280 §6.1")
    for depth, certificate in enumerate(path):
        _check_certificate(certificate, depth, at, prefix)
    known = True
    for certificate, issuer in pairwise(path):
        known &= _check_revocation(certificate, issuer, at, crls, prefix=prefix, strict_reasons=strict_reasons)
    return ValidPath(path, known)


def name_of(certificate: x509.Certificate) -> str:
    """Give the subject for people, with control characters escaped."""
    text = certificate.subject.rfc4514_string()
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def _climb(
    path: tuple[x509.Certificate, ...], pool: list[x509.Certificate], roots: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...] | None:
    for root in roots:
        if root not in path and issued(path[-1], root):
            return (*path, root)
    if len(path) >= _MAX_DEPTH:
        return None
    for candidate in pool:
        if candidate not in path and issued(path[-1], candidate):
            longer = _climb((*path, candidate), pool, roots)
            if longer is not None:
                return longer
    return None


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether a certificate is in the name of an issuer and signed by its key; a root is issued by itself."""
    if certificate.issuer != issuer.subject:
        return False
    try:
        algorithms.check_certificate_hash(certificate.signature_hash_algorithm)
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_certificate(certificate: x509.Certificate, depth: int, at: datetime, prefix: str) -> None:
    """Check dates, key and extensions of the certificate that has `depth` certificates below it."""
    name = name_of(certificate)
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise failure(prefix, "CHAIN", f"{name} was not valid at {at:%Y-%m-%dT%H:%M:%SZ}.", "RFC 5280 §6.1.3 (a)(2)")
    try:
        algorithms.check_key(certificate.public_key(), at)
    except algorithms.AlgorithmError as error:
        raise failure(prefix, "ALGORITHM", f"{name}: {error}.", "ETSI TS 119 312") from error
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            message = f"{name} has the critical extension {extension.oid.dotted_string}, which is not understood."
            raise failure(prefix, "CHAIN", message, "RFC 5280 §4.2")
    if depth == 0:
        return
    constraints = extension_value(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise failure(prefix, "CHAIN", f"{name} issued a certificate but is not a CA.", "RFC 5280 §6.1.4 (k)")
    if constraints.path_length is not None and depth - 1 > constraints.path_length:
        raise failure(prefix, "CHAIN", f"{name} does not allow a path this long.", "RFC 5280 §6.1.4 (m)")
    usage = extension_value(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise failure(prefix, "CHAIN", f"{name} may not sign certificates.", "RFC 5280 §6.1.4 (n)")


def extension_value(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Give the value of an extension, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_revocation(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList],
    *,
    prefix: str,
    strict_reasons: bool,
) -> bool:
    """Say whether a usable CRL covers the certificate; refuse when one says it was revoked."""
    known = False
    for crl in crls:
        if not _usable(crl, certificate, issuer, at):
            continue
        known = True
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is None:
            continue
        when = entry.revocation_date_utc
        if when <= at or (strict_reasons and _reason(entry) not in _HARMLESS):
            message = f"{name_of(certificate)} was revoked on {when:%Y-%m-%dT%H:%M:%SZ}."
            raise failure(prefix, "REVOKED", message, "RFC 5280 §6.3, RFC 3161 §4")
    return known


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, ValueError):
        return None


def _usable(
    crl: x509.CertificateRevocationList, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> bool:
    """RFC 5280 §6.3.3: signed by the issuer, complete for this certificate, and still standing at `at`."""
    if crl.next_update_utc is None or crl.next_update_utc < at:
        return False
    # Expired certificates may leave the list (RFC 5280 §3.3): a later CRL says nothing about them.
    if crl.last_update_utc > certificate.not_valid_after_utc:
        return False
    usage = extension_value(issuer, x509.KeyUsage)
    if (usage is not None and not usage.crl_sign) or any(item.critical for item in crl.extensions):
        return False
    return signed_by(crl, issuer)


def signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Say whether a revocation list is in the name of `issuer` and its signature verifies under that key."""
    if crl.issuer != issuer.subject:
        return False
    key = issuer.public_key()
    if isinstance(key, x25519.X25519PublicKey | x448.X448PublicKey):
        return False
    try:
        algorithms.check_certificate_hash(crl.signature_hash_algorithm)
        return crl.is_signature_valid(cast("CertificateIssuerPublicKeyTypes", key))
    except (ValueError, TypeError):
        return False


def failure(prefix: str, code: str, message: str, clause: str) -> IntegrityFailureError:
    """Make the error of a check that did not hold, with a code that begins with `prefix`."""
    remedy = "Do not rely on this signature; ask the archive for another proof."
    return IntegrityFailureError(f"{prefix}_{code}", message[:1].upper() + message[1:], remedy=remedy, clause=clause)
