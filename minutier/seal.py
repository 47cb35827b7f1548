"""The seal (scellement) over a manifest: detached CAdES-B in DER, ECDSA P-256 with SHA-256 (docs/format/seal-v1.md).

The seal says who; when is proved by the time-stamp token over it, so the path is judged at the token's genTime and a
seal stays good after its certificate has ended. A second seal, ML-DSA-65, may stand beside it in a file of its own:
two signers in one CMS would make OpenSSL 3.0 refuse both.
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
from minutier.ocsp import OcspResponse

MAX_SEAL_BYTES = 256 * 1024
SEAL_PREFIX, SECOND_PREFIX = "SEAL", "SEAL2"
# The seal's own clock may run ahead of the time-stamp authority's by this much.
_CLOCK_SKEW = timedelta(minutes=5)
_DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")


class Signer(Protocol):
    """A sealing key: a file, a PKCS#11 token or a KMS differ only here."""

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """Give the sealing certificate, then the certificates towards its root (the root itself may be left out)."""

    def sign(self, tbs: bytes) -> bytes:
        """Sign `tbs` and give the signature; ServiceUnavailableError when the key's device cannot.

        ECDSA over SHA-256 in DER for a P-256 certificate, pure ML-DSA-65 without context (FIPS 204) for such a one.
        """


@dataclass(frozen=True, slots=True)
class SealInfo:
    """What a seal says: its certificate, all embedded ones, its claimed time; and whether its path was covered."""

    signer: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    signing_time: datetime
    revocation_known: bool = False


def seal(content: bytes, signer: Signer, signing_time: datetime) -> bytes:
    """Seal `content` and give the detached CMS in DER (ETSI EN 319 122-1 §6, level B-B)."""
    return _seal(content, signer, signing_time, algorithms.CLASSICAL)


def second_seal(content: bytes, signer: Signer, signing_time: datetime) -> bytes:
    """Seal `content` with ML-DSA-65 and give the detached CMS in DER (RFC 9882); the first seal stays as it is."""
    return _seal(content, signer, signing_time, algorithms.POST_QUANTUM)


def _seal(content: bytes, signer: Signer, signing_time: datetime, scheme: algorithms.Scheme) -> bytes:
    return cms.build(
        cms.DATA,
        content,
        signer.chain,
        signer.sign,
        detached=True,
        extra_attributes=[cms.attribute(cms.SIGNING_TIME, der.cms_time(signing_time))],
        scheme=scheme,
    )


def inspect_seal(content: bytes, signature: bytes) -> SealInfo:
    """Check that the seal is whole and is over `content`; who stands behind it is not judged.

    Raises IntegrityFailureError SEAL_DER, SEAL_SIGNER, SEAL_CONTENT_TYPE, SEAL_DIGEST, SEAL_SIGNATURE, SEAL_ALGORITHM,
    SEAL_ESS or SEAL_PURPOSE.
    """
    return _inspect(content, signature, SEAL_PREFIX)


def inspect_second_seal(content: bytes, signature: bytes) -> SealInfo:
    """Check that a second seal is whole, is of ML-DSA-65 and is over `content`; errors as `inspect_seal`, SEAL2_*."""
    return _inspect(content, signature, SECOND_PREFIX)


@lru_cache(maxsize=8)
def _inspect(content: bytes, signature: bytes, prefix: str) -> SealInfo:
    """Judge the same bytes once: the steps of a verification ask more than once. A refusal is not kept."""
    if len(signature) > MAX_SEAL_BYTES:
        raise certificates.failure(prefix, "DER", f"The seal is larger than {MAX_SEAL_BYTES} bytes.", "RFC 5652 §5.1")
    signed = cms.parse(signature, prefix)
    cms.check_content_type(signed, cms.DATA, prefix)
    if signed.content is not None:
        raise certificates.failure(prefix, "DER", "The seal is not detached.", "ETSI EN 319 122-1 §4.2")
    digest = algorithms.digest(signed.digest_name, content)
    cms.check_signature(signed, digest, prefix, post_quantum=prefix == SECOND_PREFIX)
    if prefix == SECOND_PREFIX and signed.digest_name != algorithms.POST_QUANTUM.digest:
        message = f"The second seal is over {signed.digest_name}, sha512 is expected."
        raise certificates.failure(prefix, "ALGORITHM", message, "RFC 9882 §3.3")
    cms.check_signing_certificate(signed, prefix)
    _check_purpose(signed.signer, prefix)
    claimed = cms.single_attribute(signed, cms.SIGNING_TIME)
    try:
        if claimed is None:
            raise der.DerError("it is missing")
        return SealInfo(signed.signer, signed.certificates, der.read_cms_time(claimed))
    except der.DerError as error:
        raise certificates.failure(prefix, "DER", f"signingTime: {error}.", "ETSI EN 319 122-1 §5.2.1") from error


def check_seal(
    content: bytes,
    signature: bytes,
    roots: Sequence[x509.Certificate],
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList] = (),
    ocsp: Sequence[OcspResponse] = (),
) -> SealInfo:
    """Check the seal over `content`, with the path of its certificate to one of `roots` at `at` (the token's genTime).

    Raises IntegrityFailureError as `inspect_seal`, and SEAL_TIME, SEAL_CHAIN, SEAL_REVOKED.
    """
    return _check(content, signature, roots, at, crls, ocsp, SEAL_PREFIX)


def check_second_seal(
    content: bytes,
    signature: bytes,
    roots: Sequence[x509.Certificate],
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList] = (),
    ocsp: Sequence[OcspResponse] = (),
) -> SealInfo:
    """Check a second seal over `content` as `check_seal` does the first, under roots of its own; errors SEAL2_*."""
    return _check(content, signature, roots, at, crls, ocsp, SECOND_PREFIX)


def _check(
    content: bytes,
    signature: bytes,
    roots: Sequence[x509.Certificate],
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList],
    ocsp: Sequence[OcspResponse],
    prefix: str,
) -> SealInfo:
    found = _inspect(content, signature, prefix)
    if found.signing_time > at + _CLOCK_SKEW:
        message = f"The seal claims {found.signing_time:%Y-%m-%dT%H:%M:%SZ}, after the token that dates it."
        raise certificates.failure(prefix, "TIME", message, "ETSI EN 319 102-1 §5.5")
    path = certificates.validate_path(found.signer, found.certificates, roots, at, crls, prefix=prefix, ocsp=ocsp)
    return SealInfo(found.signer, found.certificates, found.signing_time, path.revocation_known)


def check_sealing_chain(
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList] = (),
    *,
    prefix: str = SEAL_PREFIX,
) -> None:
    """Check, before a key is used, that seals made with it at `at` will be accepted under `roots`.

    Raises IntegrityFailureError `<prefix>_PURPOSE`, `<prefix>_CHAIN`, `<prefix>_REVOKED` or `<prefix>_ALGORITHM`.
    """
    _check_purpose(chain[0], prefix)
    certificates.validate_path(chain[0], chain[1:], roots, at, crls, prefix=prefix)


def _check_purpose(certificate: x509.Certificate, prefix: str) -> None:
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
        raise certificates.failure(prefix, "PURPOSE", message, "RFC 5280 §4.2.1.12")
