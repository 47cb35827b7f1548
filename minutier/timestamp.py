"""Time-stamp tokens (contremarques), RFC 3161 with RFC 5816: twelve checks, each with its own code.

The checks run in this order on the stored bytes:

 1. envelope: bounded size, strict DER, no trailing bytes                              TOKEN_DER
 2. PKIStatus is granted (response only)                                               TOKEN_STATUS
 3. content type and its signed attribute are id-ct-TSTInfo                            TOKEN_CONTENT_TYPE
 4. exactly one signer, naming exactly one certificate, embedded or (if none is) given TOKEN_SIGNER
 5. messageDigest, signature, algorithms on the list            TOKEN_DIGEST, TOKEN_SIGNATURE, TOKEN_ALGORITHM
 6. ESSCertIDv2 is that certificate                                                    TOKEN_ESS
 7. extended key usage critical and timeStamping alone, not a CA                       TOKEN_PURPOSE
 8. path to a given root at genTime, revocation                TOKEN_CHAIN, TOKEN_REVOKED, TOKEN_ALGORITHM
 9. imprint algorithm and value are what was asked                                     TOKEN_IMPRINT
10. nonce is what was sent (response only)                                             TOKEN_NONCE
11. policy is the contracted one                                                       TOKEN_POLICY
12. genTime within its window, not before the previous token, serial new               TOKEN_TIME, TOKEN_SERIAL

Then rfc3161-client, an independent implementation, must agree wherever it knows the algorithms (TOKEN_SECOND_OPINION).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

import rfc3161_client
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from minutier import algorithms, certificates, cms, der
from minutier.errors import IntegrityFailureError
from minutier.ocsp import OcspResponse

TST_INFO = "1.2.840.113549.1.9.16.1.4"
MAX_RESPONSE_BYTES = 256 * 1024
_PREFIX = "TOKEN"
_GRANTED = 0
# Room on both sides for what is added to a genTime, or taken from it: `datetime` ends in 1 and 9999.
_YEARS = (1970, 9000)


@dataclass(frozen=True, slots=True)
class TimestampToken:
    """A token as it is stored (`der`) and what it says.

    `accuracy` is zero when the token does not give one. `certificates` are all those embedded, `signer` the one that
    signed (one that was given, where none is embedded). `digest_name` is the hash that its signature is over. `path`
    leads from the signer to its root, empty when not judged yet. `revocation_known` says whether usable lists or OCSP
    answers covered the whole path, `revocation_confirmed` whether some were made at or after genTime for each of its
    certificates.
    """

    der: bytes
    gen_time: datetime
    serial: int
    policy: str
    imprint_algorithm: str
    imprint: bytes
    accuracy: timedelta
    nonce: int | None
    signer: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    signature_algorithm: str
    digest_name: str
    path: tuple[x509.Certificate, ...] = ()
    revocation_known: bool = False
    revocation_confirmed: bool = False


def build_request(
    digest: bytes, nonce: int, algorithm: str = "sha256", policy: str | None = None, *, certificates_wanted: bool = True
) -> bytes:
    """Write a TimeStampReq for `digest` (RFC 3161 §2.4.1); without certificates the answer is judged with `signers`.

    `nonce` is a fresh random number of 64 bits; ValueError when the digest does not have the algorithm's length.
    """
    if len(digest) != hashlib.new(algorithm).digest_size or nonce < 0:
        raise ValueError("the digest has not the length of its algorithm, or the nonce is negative")
    return der.sequence(
        der.integer(1),
        der.sequence(algorithms.hash_identifier(algorithm), der.octets(digest)),
        der.oid(policy) if policy else b"",
        der.integer(nonce),
        der.boolean(True) if certificates_wanted else b"",
    )


def accept_response(
    response: bytes,
    digest: bytes,
    nonce: int,
    now: datetime,
    policy: str | None,
    roots: Sequence[x509.Certificate],
    intermediates: Sequence[x509.Certificate] = (),
    tolerance: timedelta = timedelta(seconds=60),
    *,
    algorithm: str = "sha256",
    crls: Sequence[x509.CertificateRevocationList] = (),
    ocsp: Sequence[OcspResponse] = (),
    signers: Sequence[x509.Certificate] = (),
    not_before: datetime | None = None,
    known_serials: Collection[int] = (),
) -> TimestampToken:
    """Judge a TimeStampResp by all twelve checks and give its token.

    `now` is our clock when the response came, `not_before` the genTime of the previous token of this authority,
    `known_serials` the serials it has already given, `signers` its certificates for a token that embeds none. Raises
    IntegrityFailureError with the codes of the module.
    """
    # 1 and 2: envelope and status; then 1, 3 to 9 and 11 on the token.
    token = check_token(
        _granted_token(response),
        digest,
        roots,
        crls,
        policy,
        intermediates=intermediates,
        algorithm=algorithm,
        ocsp=ocsp,
        signers=signers,
    )
    # 10: nonce.
    if token.nonce != nonce:
        raise _failure("NONCE", "The token does not carry the nonce of the request.", "RFC 3161 §2.4.2")
    # 12: genTime window, order and serial.
    if abs(token.gen_time - now) > token.accuracy + tolerance:
        message = f"The token says {token.gen_time:%Y-%m-%dT%H:%M:%SZ}, our clock {now:%Y-%m-%dT%H:%M:%SZ}."
        raise _failure("TIME", message, "RFC 3161 §2.4.2")
    if not_before is not None and token.gen_time + token.accuracy < not_before:
        raise _failure("TIME", "The token is older than the previous one of this authority.", "RFC 3161 §2.4.2")
    if token.serial in known_serials:
        raise _failure("SERIAL", "The authority has given this serial number before.", "RFC 3161 §2.4.2")
    return token


def check_token(
    token: bytes,
    digest: bytes,
    roots: Sequence[x509.Certificate],
    crls: Sequence[x509.CertificateRevocationList] = (),
    policy: str | None = None,
    *,
    intermediates: Sequence[x509.Certificate] = (),
    algorithm: str = "sha256",
    ocsp: Sequence[OcspResponse] = (),
    signers: Sequence[x509.Certificate] = (),
) -> TimestampToken:
    """Judge a stored token by checks 1, 3 to 9 and 11, at its own genTime: no nonce and no clock.

    `signers` are certificates of the authority, for a token that embeds none (certReq was false).

    Raises IntegrityFailureError with the codes of the module.
    """
    # 1, 3 to 7: everything that needs no anchor.
    found = inspect_token(token, signers)
    # 8: path at genTime.
    path = certificates.validate_path(
        found.signer,
        (*found.certificates, *signers, *intermediates),
        roots,
        found.gen_time,
        crls,
        prefix=_PREFIX,
        strict_reasons=True,
        ocsp=ocsp,
    )
    # 9: imprint, algorithm and value.
    if found.imprint_algorithm != algorithm or not hmac.compare_digest(found.imprint, digest):
        raise _failure("IMPRINT", "The token is about another value than the one expected.", "RFC 3161 §2.4.2")
    # 11: policy.
    if policy is not None and found.policy != policy:
        raise _failure("POLICY", f"The token's policy is {found.policy}, not {policy}.", "RFC 3161 §2.4.2")
    _second_opinion(found, digest, path)
    return replace(
        found,
        path=path.certificates,
        revocation_known=path.revocation_known,
        revocation_confirmed=path.revocation_confirmed,
    )


def check_order(
    token: TimestampToken,
    *,
    after: datetime | None = None,
    before: datetime | None = None,
    tolerance: timedelta = timedelta(seconds=60),
) -> None:
    """Place genTime between two entries of the journal: what it is about was there `after`, it was used `before`.

    `after` is when the last manifest of the batch was sealed, `before` when a token was first relied on (stamped, or
    committed): journal times, in whole seconds. Both count within accuracy + `tolerance`, for clocks differ. A token
    that an authority backdated, or that was put into a journal afterwards, falls outside. Raises IntegrityFailureError
    TOKEN_TIME.
    """
    slack = token.accuracy + tolerance
    if after is not None and token.gen_time + slack < after:
        message = f"The token is of {token.gen_time:%Y-%m-%dT%H:%M:%SZ}, before what it is about was sealed."
        raise _failure("TIME", message, "RFC 3161 §2.4.2")
    if before is not None and token.gen_time - slack > before:
        message = f"The token is of {token.gen_time:%Y-%m-%dT%H:%M:%SZ}, after the journal says that it was used."
        raise _failure("TIME", message, "RFC 3161 §2.4.2")


def inspect_token(token: bytes, signers: Sequence[x509.Certificate] = ()) -> TimestampToken:
    """Read a token and do the checks that need no anchor (1 and 3 to 7): it is whole, not yet trusted.

    `signers` are certificates of the authority, for a token that embeds none; RFC 5816 binds the right one (6).
    """
    return _inspected(token, tuple(signers))


@lru_cache(maxsize=64)
def _inspected(token: bytes, signers: tuple[x509.Certificate, ...]) -> TimestampToken:
    """Judge the same bytes once: thousands of documents share a token. A refusal is an error, and is not kept."""
    # 1: envelope. 4: one signer.
    if len(token) > MAX_RESPONSE_BYTES:
        raise _failure("DER", f"The token is larger than {MAX_RESPONSE_BYTES} bytes.", "RFC 3161 §2.4.2")
    signed = cms.parse(token, _PREFIX, signers)
    # 3: content type.
    cms.check_content_type(signed, TST_INFO, _PREFIX)
    if signed.content is None:
        raise _failure("DER", "The token holds no TSTInfo.", "RFC 3161 §2.4.2")
    # 5: messageDigest and signature.
    content_digest = algorithms.digest(signed.digest_name, signed.content)
    signature_algorithm = cms.check_signature(signed, content_digest, _PREFIX)
    # 6: ESSCertIDv2.
    cms.check_signing_certificate(signed, _PREFIX)
    # 7: purpose.
    _check_purpose(signed.signer)
    try:
        return _read_info(token, signed, signature_algorithm)
    except algorithms.AlgorithmError as error:
        raise _failure("ALGORITHM", f"Imprint: {error}.", "ETSI TS 119 312") from error
    except ValueError as error:
        raise _failure("DER", f"TSTInfo is not readable: {error}.", "RFC 3161 §2.4.2") from error


def _granted_token(response: bytes) -> bytes:
    """Give the token of a response whose status is granted (RFC 3161 §2.4.2); grantedWithMods is refused."""
    if len(response) > MAX_RESPONSE_BYTES:
        raise _failure("DER", f"The response is larger than {MAX_RESPONSE_BYTES} bytes.", "RFC 3161 §2.4.2")
    try:
        fields = der.read(response).reader()
        status = fields.next(der.SEQUENCE).reader().next().as_integer()
        token = fields.optional(der.SEQUENCE)
        fields.end()
    except der.DerError as error:
        raise _failure("DER", f"The response is not a TimeStampResp: {error}.", "RFC 3161 §2.4.2") from error
    if status != _GRANTED or token is None:
        raise _failure("STATUS", f"The authority did not grant the token (status {status}).", "RFC 3161 §2.4.2")
    return token.encoded


def _check_purpose(certificate: x509.Certificate) -> None:
    """RFC 3161 §2.3: critical extended key usage with timeStamping alone; and never a CA certificate."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        sole = usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    except x509.ExtensionNotFound:
        sole = False
    constraints = certificates.extension_value(certificate, x509.BasicConstraints)
    keys = certificates.extension_value(certificate, x509.KeyUsage)
    may_sign = keys is None or keys.digital_signature or keys.content_commitment
    if not sole or not may_sign or (constraints is not None and constraints.ca):
        message = f"{certificates.name_of(certificate)} is not a certificate for time-stamping alone."
        raise _failure("PURPOSE", message, "RFC 3161 §2.3")


def _read_info(token: bytes, signed: cms.SignedData, signature_algorithm: str) -> TimestampToken:
    fields = der.read(signed.content or b"").reader()
    if fields.next().as_integer() != 1:
        raise der.DerError("TSTInfo is version 1")
    policy = fields.next().as_oid()
    imprint = fields.next(der.SEQUENCE).reader()
    imprint_algorithm, imprint_value = algorithms.read_hash(imprint.next()), imprint.next().as_octets()
    imprint.end()
    serial = fields.next().as_integer()
    gen_time = fields.next().as_time()
    if not _YEARS[0] <= gen_time.year <= _YEARS[1]:
        raise der.DerError(f"no authority gave a token in the year {gen_time.year}")
    accuracy = _accuracy(fields.optional(der.SEQUENCE))
    ordering = fields.optional(der.BOOLEAN)
    if ordering is not None and not ordering.as_boolean():
        raise der.DerError("a DEFAULT value is left out in DER")
    nonce = fields.optional(der.INTEGER)
    fields.optional(0xA0)  # the authority's name: the certificate says who it is
    extensions = fields.optional(0xA1)
    fields.end()
    for extension in extensions.children() if extensions else ():
        parts = extension.reader()
        parts.next(der.OID)
        if parts.optional(der.BOOLEAN) is not None:
            raise der.DerError("TSTInfo has a critical extension that is not understood")
    return TimestampToken(
        der=token,
        gen_time=gen_time,
        serial=serial,
        policy=policy,
        imprint_algorithm=imprint_algorithm,
        imprint=imprint_value,
        accuracy=accuracy,
        nonce=nonce.as_integer() if nonce else None,
        signer=signed.signer,
        certificates=signed.certificates,
        signature_algorithm=signature_algorithm,
        digest_name=signed.digest_name,
    )


def _accuracy(element: der.Element | None) -> timedelta:
    """Read Accuracy: seconds, then milliseconds [0] and microseconds [1] of 1 to 999 each."""
    if element is None:
        return timedelta()
    fields = element.reader()
    seconds, millis, micros = fields.optional(der.INTEGER), fields.optional(0x80), fields.optional(0x81)
    fields.end()
    small = [item.retagged(der.INTEGER).as_integer() if item else 0 for item in (millis, micros)]
    whole = seconds.as_integer() if seconds else 0
    if not 0 <= whole <= 86400 or not all(0 <= value <= 999 for value in small):
        raise der.DerError("accuracy is out of bounds")
    return timedelta(seconds=whole, milliseconds=small[0], microseconds=small[1])


def _second_opinion(token: TimestampToken, digest: bytes, path: certificates.ValidPath) -> None:
    """Have rfc3161-client verify the same bytes; it knows RSA PKCS#1 v1.5 and ECDSA with SHA-2 only."""
    if token.signature_algorithm not in algorithms.WIDELY_VERIFIED:
        return
    granted = der.sequence(der.sequence(der.integer(_GRANTED)), token.der)
    verifier = rfc3161_client.VerifierBuilder(
        roots=[path.certificates[-1]], intermediates=list(path.certificates[1:-1]), tsa_certificate=token.signer
    ).build()
    try:
        verifier.verify(rfc3161_client.decode_timestamp_response(granted), digest)
    except (rfc3161_client.VerificationError, ValueError) as error:
        message = f"The second verifier (rfc3161-client) refuses the token: {error}."
        raise _failure("SECOND_OPINION", message, "RFC 3161 §2.2") from error


def _failure(code: str, message: str, clause: str) -> IntegrityFailureError:
    return certificates.failure(_PREFIX, code, message, clause)
