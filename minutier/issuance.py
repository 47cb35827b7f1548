"""Certificates and revocation lists one at a time: read strictly, named for people, checked against their issuer."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import algorithms, der
from minutier.errors import IntegrityFailureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
# What cryptography raises, besides ValueError, when it comes to read a field; TypeError for a name of the wrong type.
_UNREADABLE = (UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion, TypeError)


def load_certificate(data: bytes) -> x509.Certificate:
    """Read one DER certificate; ValueError when it is not a strict version 3 certificate with a positive serial."""
    return _loaded(data)


@lru_cache(maxsize=128)
def _loaded(data: bytes) -> x509.Certificate:
    """Read the same bytes once: every proof of an archive holds the same few certificates. A refusal is not kept."""
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
        _ = (certificate.signature_hash_algorithm, certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except _UNREADABLE as error:
        raise ValueError(str(error)) from error
    return certificate


def load_pem(data: bytes) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file, in its order; ValueError when there is none or one is unusable."""
    # Not by the library's own reader: it would parse what the strict check of `load_certificate` has not seen.
    found = _PEM.findall(data)
    if not found or len(found) != data.count(b"-----BEGIN CERTIFICATE-----"):
        raise ValueError("there is no certificate in it, or one is cut")
    return tuple(load_certificate(base64.b64decode(b"".join(block.split()), validate=True)) for block in found)


def load_crl(data: bytes) -> x509.CertificateRevocationList:
    """Read one DER certificate revocation list; ValueError when it is not one."""
    fields = der.read(data).reader()
    fields.next(der.SEQUENCE)
    _check_signature_form(fields)
    try:
        crl = x509.load_der_x509_crl(data)
        _ = (crl.extensions, crl.issuer, crl.signature_hash_algorithm, crl.last_update_utc, crl.next_update_utc)
    except _UNREADABLE as error:
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


def name_of(certificate: x509.Certificate) -> str:
    """Give the subject for people, with control characters escaped."""
    text = certificate.subject.rfc4514_string()
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def extension_value(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Give the value of an extension, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether `issuer` signed the certificate, over a listed hash, and is named as its issuer."""
    if certificate.issuer != issuer.subject:
        return False
    try:
        algorithms.check_certificate_hash(certificate.signature_hash_algorithm)
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


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
