"""CMS SignedData with exactly one signer (RFC 5652), the common part of seals and time-stamp tokens.

Signed attributes are required: contentType, messageDigest and signingCertificateV2 (RFC 5035). The signer is the
embedded certificate that the SignerInfo names, or one given by the caller where none is embedded; whether it is trusted
is the caller's question.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import algorithms, certificates, der
from minutier.certificates import failure

DATA, SIGNED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
SIGNING_TIME, SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.5", "1.2.840.113549.1.9.16.2.47"


@dataclass(frozen=True, slots=True)
class SignedData:
    """A parsed SignedData whose bytes are strict DER; nothing is verified yet.

    `certificates` are those embedded, `signer` one of them or of those given. `content` is None when detached.
    `attributes` maps each signed attribute to its values.
    """

    content_type: str
    content: bytes | None
    certificates: tuple[x509.Certificate, ...]
    signer: x509.Certificate
    digest_name: str
    signature_algorithm: der.Element
    signature: bytes
    signed_attributes: bytes
    attributes: dict[str, tuple[der.Element, ...]]


def parse(data: bytes, prefix: str, given: Sequence[x509.Certificate] = ()) -> SignedData:
    """Read a ContentInfo holding SignedData; `given` certificates are looked at only where none is embedded.

    Raises IntegrityFailureError `<prefix>_DER` (not strict DER, or not this structure), `<prefix>_SIGNER` (not one
    SignerInfo that names one of these certificates) or `<prefix>_ALGORITHM`.
    """
    try:
        return _parse(data, prefix, given)
    except algorithms.AlgorithmError as error:
        raise failure(prefix, "ALGORITHM", f"{error}.", "ETSI TS 119 312") from error
    except ValueError as error:
        raise failure(prefix, "DER", f"not a CMS signature in DER: {error}.", "RFC 5652 §5.1") from error


def _parse(data: bytes, prefix: str, given: Sequence[x509.Certificate]) -> SignedData:
    info = der.read(data).reader()
    if info.next().as_oid() != SIGNED_DATA:
        raise der.DerError("ContentInfo does not hold SignedData")
    wrapped = info.next(0xA0)
    info.end()
    fields = der.read(wrapped.content).reader()
    version = fields.next().as_integer()
    listed = {algorithms.read_hash(item) for item in fields.next().set_members()}
    encapsulated = fields.next().reader()
    content_type = encapsulated.next().as_oid()
    inner = encapsulated.optional(0xA0)
    encapsulated.end()
    embedded = fields.optional(0xA0)
    fields.optional(0xA1)  # CRLs inside a token are not used: revocation data is kept beside it
    signers = fields.next().set_members()
    fields.end()
    if version not in (1, 3):
        raise der.DerError("SignedData is version 1 or 3 here")
    pool = tuple(certificates.load_certificate(item.encoded) for item in embedded.set_members(0xA0)) if embedded else ()
    if len(signers) != 1:
        raise failure(prefix, "SIGNER", f"{len(signers)} signers where exactly one is expected.", "RFC 3161 §2.4.2")
    signer = signers[0].reader()
    if signer.next().as_integer() != 1:
        raise der.DerError("SignerInfo names its certificate by issuer and serial number")
    certificate = _named_certificate(signer.next(der.SEQUENCE), pool or tuple(dict.fromkeys(given)), prefix)
    digest_name = algorithms.read_hash(signer.next())
    attributes = signer.optional(0xA0)
    signature_algorithm = signer.next(der.SEQUENCE)
    signature = signer.next().as_octets()
    signer.optional(0xA1)  # unsigned attributes prove nothing
    signer.end()
    if attributes is None:
        raise failure(prefix, "SIGNATURE", "the signed attributes are missing.", "RFC 5652 §5.3")
    if digest_name not in listed:
        raise der.DerError("digestAlgorithms does not list the signer's digest")
    return SignedData(
        content_type=content_type,
        content=der.read(inner.content).as_octets() if inner else None,
        certificates=pool,
        signer=certificate,
        digest_name=digest_name,
        signature_algorithm=signature_algorithm,
        signature=signature,
        signed_attributes=attributes.retagged(der.SET).encoded,
        attributes=_attributes(attributes),
    )


def _named_certificate(sid: der.Element, pool: Sequence[x509.Certificate], prefix: str) -> x509.Certificate:
    fields = sid.reader()
    issuer, serial = fields.next(der.SEQUENCE).encoded, fields.next().as_integer()
    fields.end()
    named = [item for item in pool if item.serial_number == serial and item.issuer.public_bytes() == issuer]
    if len(named) != 1:
        message = f"the signer names {len(named)} of the certificates embedded or given, exactly one is expected."
        raise failure(prefix, "SIGNER", message, "RFC 5652 §5.3")
    return named[0]


def _attributes(element: der.Element) -> dict[str, tuple[der.Element, ...]]:
    result: dict[str, tuple[der.Element, ...]] = {}
    for attribute in element.set_members(0xA0):
        fields = attribute.reader()
        name = fields.next().as_oid()
        if name in result:
            raise der.DerError(f"signed attribute {name} appears twice")
        result[name] = tuple(fields.next().set_members())
        fields.end()
    return result


def single_attribute(signed: SignedData, name: str) -> der.Element | None:
    """Give the one value of a signed attribute; None when it is absent or has several."""
    values = signed.attributes.get(name, ())
    return values[0] if len(values) == 1 else None


def check_content_type(signed: SignedData, expected: str, prefix: str) -> None:
    """Check that the content is of the `expected` type, both outside and in the signed attribute (RFC 5652 §11.1)."""
    attribute = single_attribute(signed, CONTENT_TYPE)
    if signed.content_type != expected or attribute is None or attribute.encoded != der.oid(expected):
        message = f"the content type or its signed attribute is not {expected}."
        raise failure(prefix, "CONTENT_TYPE", message, "RFC 5652 §11.1")


def check_signature(signed: SignedData, content_digest: bytes, prefix: str, *, post_quantum: bool = False) -> str:
    """Check messageDigest against `content_digest`, then the signature; give the dotted signature algorithm.

    ML-DSA-65 and nothing else is accepted with `post_quantum`, and is refused without it: the tools that a stranger has
    today do not know it, so it never stands in the place of a classical signature.
    """
    attribute = single_attribute(signed, MESSAGE_DIGEST)
    if attribute is None or not hmac.compare_digest(attribute.encoded, der.octets(content_digest)):
        raise failure(prefix, "DIGEST", "the signed digest is not that of the content.", "RFC 5652 §5.4")
    try:
        if algorithms.is_post_quantum(signed.signer.public_key()) is not post_quantum:
            raise algorithms.AlgorithmError(f"the key is {'not one' if post_quantum else 'one'} of ML-DSA-65")
        return algorithms.verify_signature(
            signed.signer.public_key(),
            signed.signature_algorithm,
            signed.digest_name,
            signed.signature,
            signed.signed_attributes,
        )
    except algorithms.AlgorithmError as error:
        raise failure(prefix, "ALGORITHM", f"{error}.", "ETSI TS 119 312") from error
    except der.DerError as error:
        raise failure(prefix, "DER", f"signature algorithm: {error}.", "RFC 5652 §5.3") from error
    except InvalidSignature as error:
        raise failure(prefix, "SIGNATURE", "the signature does not verify.", "RFC 5652 §5.6") from error


def check_signing_certificate(signed: SignedData, prefix: str) -> None:
    """Check that the first ESSCertIDv2 is the signer's certificate (RFC 5035 §3, §4; RFC 5816 for tokens)."""
    attribute = single_attribute(signed, SIGNING_CERTIFICATE_V2)
    if attribute is None:
        raise failure(prefix, "ESS", "signingCertificateV2 is missing.", "RFC 5035 §3")
    try:
        first = attribute.reader().next(der.SEQUENCE).children()
        fields = (first[0] if first else attribute).reader()
        algorithm = fields.optional(der.SEQUENCE)
        name = algorithms.read_hash(algorithm) if algorithm else "sha256"
        value = fields.next().as_octets()
        issuer_serial = fields.optional(der.SEQUENCE)
        fields.end()
        expected = algorithms.digest(name, signed.signer.public_bytes(Encoding.DER))
        matches = hmac.compare_digest(value, expected) and (
            issuer_serial is None or issuer_serial.encoded == _issuer_serial(signed.signer)
        )
    except ValueError as error:
        raise failure(prefix, "ESS", f"signingCertificateV2 is not readable: {error}.", "RFC 5035 §4") from error
    if not matches:
        raise failure(prefix, "ESS", "signingCertificateV2 names another certificate.", "RFC 5035 §4")


def _issuer_serial(certificate: x509.Certificate) -> bytes:
    directory_name = der.context(4, certificate.issuer.public_bytes())
    return der.sequence(der.sequence(directory_name), der.integer(certificate.serial_number))


def attribute(name: str, value: bytes) -> bytes:
    """Write an Attribute with one value."""
    return der.sequence(der.oid(name), der.set_of(value))


def build(
    content_type: str,
    content: bytes,
    chain: Sequence[x509.Certificate],
    sign: Callable[[bytes], bytes],
    *,
    detached: bool,
    extra_attributes: Sequence[bytes] = (),
    scheme: algorithms.Scheme = algorithms.CLASSICAL,
) -> bytes:
    """Write a SignedData over `content`, signed by `chain[0]` through `sign`, which signs as `scheme` says.

    The hash of the scheme names the signer's certificate too.
    An ECDSA signature is DER (RFC 5753), one of ML-DSA the 3309 bytes of FIPS 204 (RFC 9882).
    """
    signer = chain[0]
    identifier = algorithms.hash_identifier(scheme.digest)
    ess = der.sequence(
        b"" if scheme.digest == "sha256" else identifier,  # DEFAULT (RFC 5035 §4): DER leaves it out
        der.octets(algorithms.digest(scheme.digest, signer.public_bytes(Encoding.DER))),
        _issuer_serial(signer),
    )
    attributes = der.set_of(
        attribute(CONTENT_TYPE, der.oid(content_type)),
        attribute(MESSAGE_DIGEST, der.octets(algorithms.digest(scheme.digest, content))),
        attribute(SIGNING_CERTIFICATE_V2, der.sequence(der.sequence(ess))),
        *extra_attributes,
    )
    signer_info = der.sequence(
        der.integer(1),
        der.sequence(signer.issuer.public_bytes(), der.integer(signer.serial_number)),
        identifier,
        der.read(attributes).retagged(0xA0).encoded,
        algorithms.identifier(scheme.signature),
        der.octets(sign(attributes)),
    )
    encapsulated = der.oid(content_type) if detached else der.oid(content_type) + der.context(0, der.octets(content))
    signed_data = der.sequence(
        der.integer(1 if content_type == DATA else 3),
        der.set_of(identifier),
        der.sequence(encapsulated),
        der.set_of(*(item.public_bytes(Encoding.DER) for item in chain), tag=0xA0),
        der.set_of(signer_info),
    )
    return der.sequence(der.oid(SIGNED_DATA), der.context(0, signed_data))
