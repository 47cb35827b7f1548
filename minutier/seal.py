"""The seal (scellement) over a manifest: detached CAdES-B in DER, ECDSA P-256 with SHA-256 (docs/format/seal-v1.md).

The seal says who; when is proved by the time-stamp token over it, so the path is judged at the token's genTime and a
seal stays good after its certificate has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from minutier import algorithms, certificates, cms, der

MAX_SEAL_BYTES = 256 * 1024
_PREFIX = "SEAL"
# The seal's own clock may run ahead of the time-stamp authority's by this much.
_CLOCK_SKEW = timedelta(minutes=5)
_DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")


class Signer(Protocol):
    """A sealing key: a file, a PKCS#11 token or a KMS differ only here."""

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """Give the sealing certificate, then the certificates towards its root (the root itself may be left out)."""

    def sign(self, tbs: bytes) -> bytes:
        """Sign `tbs` with ECDSA over SHA-256 and give the DER signature; ServiceUnavailableError when it cannot."""


@dataclass(frozen=True, slots=True)
class SealInfo:
    """What a seal says: its certificate, all embedded ones, the time it claims, and whether CRLs covered the path."""

    signer: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    signing_time: datetime
    revocation_known: bool = False


def seal(content: bytes, signer: Signer, signing_time: datetime) -> bytes:
    """Seal `content` and give the detached CMS in DER (ETSI EN 319 122-1 §6, level B-B)."""
    return cms.build(
        cms.DATA,
        content,
        signer.chain,
        signer.sign,
        detached=True,
        extra_attributes=[cms.attribute(cms.SIGNING_TIME, der.cms_time(signing_time))],
    )


def inspect_seal(content: bytes, signature: bytes) -> SealInfo:
    """Check that the seal is whole and is over `content`; who stands behind it is not judged.

    Raises IntegrityFailureError SEAL_DER, SEAL_SIGNER, SEAL_CONTENT_TYPE, SEAL_DIGEST, SEAL_SIGNATURE, SEAL_ALGORITHM,
    SEAL_ESS or SEAL_PURPOSE.
    """
    return _inspected(content, signature)


@lru_cache(maxsize=4)
def _inspected(content: bytes, signature: bytes) -> SealInfo:
    """Judge the same bytes once: the steps of a verification ask more than once. A refusal is not kept."""
    if len(signature) > MAX_SEAL_BYTES:
        raise certificates.failure(_PREFIX, "DER", f"The seal is larger than {MAX_SEAL_BYTES} bytes.", "RFC 5652 §5.1")
    signed = cms.parse(signature, _PREFIX)
    cms.check_content_type(signed, cms.DATA, _PREFIX)
    if signed.content is not None:
        raise certificates.failure(_PREFIX, "DER", "The seal is not detached.", "ETSI EN 319 122-1 §4.2")
    cms.check_signature(signed, algorithms.digest(signed.digest_name, content), _PREFIX)
    cms.check_signing_certificate(signed, _PREFIX)
    _check_purpose(signed.signer)
    claimed = cms.single_attribute(signed, cms.SIGNING_TIME)
    try:
        if claimed is None:
            raise der.DerError("it is missing")
        return SealInfo(signed.signer, signed.certificates, der.read_cms_time(claimed))
    except der.DerError as error:
        raise certificates.failure(_PREFIX, "DER", f"signingTime: {error}.", "ETSI EN 319 122-1 §5.2.1") from error


def check_seal(
    content: bytes,
    signature: bytes,
    roots: Sequence[x509.Certificate],
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList] = (),
) -> SealInfo:
    """Check the seal over `content`, with the path of its certificate to one of `roots` at `at` (the token's genTime).

    Raises IntegrityFailureError as `inspect_seal`, and SEAL_TIME, SEAL_CHAIN, SEAL_REVOKED.
    """
    found = inspect_seal(content, signature)
    if found.signing_time > at + _CLOCK_SKEW:
        message = f"The seal claims {found.signing_time:%Y-%m-%dT%H:%M:%SZ}, after the token that dates it."
        raise certificates.failure(_PREFIX, "TIME", message, "ETSI EN 319 102-1 §5.5")
    path = certificates.validate_path(found.signer, found.certificates, roots, at, crls, prefix=_PREFIX)
    return SealInfo(found.signer, found.certificates, found.signing_time, path.revocation_known)


def _check_purpose(certificate: x509.Certificate) -> None:
    """Refuse a CA, a certificate for another purpose, and a key that may not sign (RFC 5280 §4.2.1.3, §4.2.1.12)."""
    keys = certificates.extension_value(certificate, x509.KeyUsage)
    constraints = certificates.extension_value(certificate, x509.BasicConstraints)
    extended = certificates.extension_value(certificate, x509.ExtendedKeyUsage)
    may_sign = keys is None or keys.digital_signature or keys.content_commitment
    right_purpose = extended is None or not {ExtendedKeyUsageOID.EMAIL_PROTECTION, _DOCUMENT_SIGNING}.isdisjoint(
        extended
    )
    if not may_sign or not right_purpose or (constraints is not None and constraints.ca):
        message = f"{certificates.name_of(certificate)} is not a certificate for sealing."
        raise certificates.failure(_PREFIX, "PURPOSE", message, "RFC 5280 §4.2.1.12")
