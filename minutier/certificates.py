"""Certification paths at a moment in the past (RFC 5280 §6, the part that signatures and tokens need).

Anchors are given by the caller, never taken from a bundle or a token. Revocation is judged from lists and OCSP answers
kept with the proof: nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from minutier import algorithms, revocation
from minutier.issuance import (
    encode_pem,
    extension_value,
    failure,
    issued,
    load_certificate,
    load_crl,
    load_pem,
    name_of,
    signed_by,
)
from minutier.ocsp import OcspResponse, load_ocsp

__all__ = [
    "WRONG_ROOT",
    "ValidPath",
    "encode_pem",
    "extension_value",
    "failure",
    "issued",
    "load_certificate",
    "load_crl",
    "load_ocsp",
    "load_pem",
    "name_of",
    "signed_by",
    "validate_path",
]

WRONG_ROOT = "Or the root given is not the one of this archive: check it first."
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


@dataclass(frozen=True, slots=True)
class ValidPath:
    """A path from a leaf to an anchor.

    `revocation_known`: a usable list or OCSP answer covers every certificate below the anchor. `revocation_confirmed`:
    and for each of them one was made at or after the moment judged, so that a late revocation would be in it.
    """

    certificates: tuple[x509.Certificate, ...]
    revocation_known: bool
    revocation_confirmed: bool = False


def validate_path(
    leaf: x509.Certificate,
    intermediates: Iterable[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList] = (),
    *,
    prefix: str,
    strict_reasons: bool = False,
    ocsp: Sequence[OcspResponse] = (),
) -> ValidPath:
    """Find a path from `leaf` to one of `roots` that was valid at `at`.

    With `strict_reasons`, a revocation for key compromise (or without a reason) counts whatever its date (RFC 3161
    §4). Raises IntegrityFailureError `<prefix>_CHAIN`, `<prefix>_REVOKED` or `<prefix>_ALGORITHM`.
    """
    pool = list(intermediates)[:_MAX_CERTIFICATES]
    path = _climb(leaf, pool, roots)
    if path is None:
        message = f"{name_of(leaf)} does not lead to any trusted root. {WRONG_ROOT}"
        raise failure(prefix, "CHAIN", message, "RFC 5280 §6.1")
    for depth, certificate in enumerate(path):
        _check_certificate(certificate, depth, at, prefix)
    known = confirmed = True
    for certificate, issuer in pairwise(path):
        covered = revocation.check(certificate, issuer, at, crls, ocsp, prefix=prefix, strict_reasons=strict_reasons)
        known &= covered.known
        confirmed &= covered.confirmed
    return ValidPath(path, known, confirmed)


def _climb(
    leaf: x509.Certificate, pool: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...] | None:
    """Give a shortest path. Each certificate is climbed from once, so that many that issue each other cost little."""
    paths: list[tuple[x509.Certificate, ...]] = [(leaf,)]
    seen = {leaf}
    for path in paths:
        for root in roots:
            if root not in path and issued(path[-1], root):
                return (*path, root)
        if len(path) < _MAX_DEPTH:
            found = [item for item in dict.fromkeys(pool) if item not in seen and issued(path[-1], item)]
            seen.update(found)
            paths.extend((*path, item) for item in found)
    return None


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
