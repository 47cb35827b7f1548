"""The algorithms that count as proof (after ETSI TS 119 312), by object identifier. MD5 and SHA-1 are not here.

What is absent is refused: there is no default and no fall-back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from minutier import der

SHA256 = "2.16.840.1.101.3.4.2.1"
ECDSA_SHA256, ECDSA_SHA512 = "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.4"
ML_DSA_65 = "2.16.840.1.101.3.4.3.18"
_RSA, _PSS, _MGF1 = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "1.2.840.113549.1.1.8"
_ED25519 = "1.3.101.112"

_HASHES: dict[str, tuple[str, Callable[[], hashes.HashAlgorithm]]] = {
    SHA256: ("sha256", hashes.SHA256),
    "2.16.840.1.101.3.4.2.2": ("sha384", hashes.SHA384),
    "2.16.840.1.101.3.4.2.3": ("sha512", hashes.SHA512),
    "2.16.840.1.101.3.4.2.8": ("sha3_256", hashes.SHA3_256),
    "2.16.840.1.101.3.4.2.9": ("sha3_384", hashes.SHA3_384),
    "2.16.840.1.101.3.4.2.10": ("sha3_512", hashes.SHA3_512),
}
_OIDS = {name: dotted for dotted, (name, _) in _HASHES.items()}
# Signature identifiers that fix their own hash: family and hash name.
_SIGNATURES = {
    ECDSA_SHA256: ("ecdsa", "sha256"),
    "1.2.840.10045.4.3.3": ("ecdsa", "sha384"),
    ECDSA_SHA512: ("ecdsa", "sha512"),
    "2.16.840.1.101.3.4.3.10": ("ecdsa", "sha3_256"),
    "2.16.840.1.101.3.4.3.11": ("ecdsa", "sha3_384"),
    "2.16.840.1.101.3.4.3.12": ("ecdsa", "sha3_512"),
    "1.2.840.113549.1.1.11": ("rsa", "sha256"),
    "1.2.840.113549.1.1.12": ("rsa", "sha384"),
    "1.2.840.113549.1.1.13": ("rsa", "sha512"),
}
_FAMILIES = {
    "rsa": "rsa-pkcs1",
    _RSA: "rsa-pkcs1",
    _PSS: "rsa-pss",
    _ED25519: "ed25519",
    "1.3.101.113": "ed448",
    ML_DSA_65: "ml-dsa-65",
}
_CURVES = {"secp256r1", "secp384r1", "secp521r1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1"}
_RSA_BITS, _OLD_RSA_BITS = 3000, 2048
# ETSI TS 119 312 V2.1.1: RSA below 3000 bits counted until this day.
_OLD_RSA_END = datetime(2026, 4, 1, tzinfo=UTC)
# SHA-2 signatures that the second verifier of tokens (rfc3161-client, on OpenSSL PKCS#7) also understands.
WIDELY_VERIFIED = frozenset(
    {_RSA, *(dotted for dotted, (_, name) in _SIGNATURES.items() if not name.startswith("sha3"))},
)


class AlgorithmError(ValueError):
    """The algorithm, its parameters or the key size is not on the list."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a CMS signature is written: the `hashlib` name of its digest, and the dotted signature algorithm."""

    digest: str
    signature: str


CLASSICAL = Scheme("sha256", ECDSA_SHA256)
# For a token that shall rest on no SHA-256.
STRONGER = Scheme("sha512", ECDSA_SHA512)
# ML-DSA signs the attributes themselves; the digest is the one over the content (RFC 9882 §3.3: SHA-512 for every set).
POST_QUANTUM = Scheme("sha512", ML_DSA_65)


def is_post_quantum(key: CertificatePublicKeyTypes) -> bool:
    """Say whether a public key is one of ML-DSA-65 (FIPS 204), the only post-quantum kind on the list."""
    return isinstance(key, mldsa.MLDSA65PublicKey)


def identifier(dotted: str) -> bytes:
    """Write an AlgorithmIdentifier without parameters (RFC 5754 §2, RFC 5758 §3.2)."""
    return der.sequence(der.oid(dotted))


def hash_identifier(name: str) -> bytes:
    """Write the AlgorithmIdentifier of a hash named as in `hashlib`."""
    if name not in _OIDS:
        raise AlgorithmError(f"hash {name} is not on the list")
    return identifier(_OIDS[name])


def read_hash(algorithm: der.Element) -> str:
    """Read an AlgorithmIdentifier of a hash and give its `hashlib` name; parameters are absent or NULL."""
    fields = algorithm.reader()
    dotted = fields.next().as_oid()
    fields.optional(der.NULL)
    fields.end()
    if dotted not in _HASHES:
        raise AlgorithmError(f"hash {dotted} is not on the list")
    return _HASHES[dotted][0]


def digest(name: str, data: bytes) -> bytes:
    """Hash `data` with a listed algorithm."""
    if name not in _OIDS:
        raise AlgorithmError(f"hash {name} is not on the list")
    return hashlib.new(name, data).digest()


def check_certificate_hash(algorithm: hashes.HashAlgorithm | None) -> None:
    """Refuse a certificate or CRL signed over a hash that is not on the list; None is EdDSA's own."""
    if algorithm is not None and algorithm.name.replace("-", "_") not in _OIDS:
        raise AlgorithmError(f"{algorithm.name} signs a certificate or a CRL")


def check_key(key: CertificatePublicKeyTypes, at: datetime) -> None:
    """Refuse a public key whose kind, curve or size did not count at the given time."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise AlgorithmError(f"curve {key.curve.name} is not on the list")
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < (_OLD_RSA_BITS if at < _OLD_RSA_END else _RSA_BITS):
            raise AlgorithmError(f"an RSA key of {key.key_size} bits no longer counts at {at:%Y-%m-%d}")
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | mldsa.MLDSA65PublicKey):
        raise AlgorithmError(f"{type(key).__name__} is not on the list")


def key_names(key: CertificatePublicKeyTypes, signature_algorithm: str) -> set[str]:
    """Give the names under which a signature and its key have an end (docs/format/algorithm-dates-v1.md).

    `signature_algorithm` is the dotted one that `verify_signature` gave.
    """
    return {signature_name(signature_algorithm)} | size_names(key)


def signature_name(signature_algorithm: str) -> str:
    """Give the name under which a dotted signature algorithm has an end; the dotted one itself when it has none."""
    family, _ = _SIGNATURES.get(signature_algorithm, (signature_algorithm, ""))
    return _FAMILIES.get(family, family)


def size_names(key: CertificatePublicKeyTypes) -> set[str]:
    """Give `rsa-2048` for an RSA key below 3000 bits, else nothing."""
    return {"rsa-2048"} if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS else set()


def verify_signature(
    key: CertificatePublicKeyTypes, algorithm: der.Element, digest_name: str, signature: bytes, message: bytes
) -> str:
    """Check a CMS signature over `message` and give the dotted signature algorithm.

    `digest_name` is the SignerInfo's digestAlgorithm: the signature must use the same one. Raises AlgorithmError, or
    cryptography's InvalidSignature.
    """
    fields = algorithm.reader()
    dotted = fields.next().as_oid()
    parameters = None
    if dotted == _PSS:
        parameters = fields.next(der.SEQUENCE)
    elif dotted not in (_ED25519, ML_DSA_65):
        fields.optional(der.NULL)
    fields.end()
    family, hash_name = _SIGNATURES.get(dotted, (dotted, digest_name))
    if hash_name != digest_name:
        raise AlgorithmError("the signature and the digest use different hashes")
    algorithm_of_hash = _HASHES[_OIDS[digest_name]][1]()
    try:
        if family == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(algorithm_of_hash))
        elif family in ("rsa", _RSA) and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), algorithm_of_hash)
        elif family == _PSS and isinstance(key, rsa.RSAPublicKey) and parameters is not None:
            scheme = padding.PSS(padding.MGF1(algorithm_of_hash), _pss_salt(parameters, digest_name))
            key.verify(signature, message, scheme, algorithm_of_hash)
        elif (family == _ED25519 and isinstance(key, ed25519.Ed25519PublicKey)) or (
            family == ML_DSA_65 and isinstance(key, mldsa.MLDSA65PublicKey)
        ):
            key.verify(signature, message)
        else:
            raise AlgorithmError(f"signature algorithm {dotted} is not on the list, or is not the key's")
    except UnsupportedAlgorithm as error:
        raise AlgorithmError(str(error)) from error
    except ValueError as error:
        if isinstance(error, AlgorithmError):
            raise
        raise InvalidSignature(str(error)) from error
    return dotted


def hash_of_signature(algorithm: der.Element) -> str:
    """Give the hash that a signature algorithm names by itself, where nothing beside it does (certificates, OCSP).

    Raises AlgorithmError for one that is not on the list, DerError for parameters in another form.
    """
    fields = algorithm.reader()
    dotted = fields.next().as_oid()
    if dotted == _ED25519:
        return "sha512"  # RFC 8410: its own
    if dotted == _PSS:
        hashed = fields.next(der.SEQUENCE).reader().optional(0xA0)
        if hashed is None:
            raise AlgorithmError("RSASSA-PSS says its hash: its default is SHA-1")
        return read_hash(der.read(hashed.content))
    if dotted not in _SIGNATURES:
        raise AlgorithmError(f"signature algorithm {dotted} is not on the list")
    return _SIGNATURES[dotted][1]


def _pss_salt(parameters: der.Element, digest_name: str) -> int:
    """Give the salt length of RSASSA-PSS-params (RFC 4055 §3.1); hash and mask hash must be the digest's."""
    fields = parameters.reader()
    hashed, mask, salt = (fields.optional(tag) for tag in (0xA0, 0xA1, 0xA2))
    fields.end()
    if hashed is None or mask is None or salt is None:
        raise AlgorithmError("RSASSA-PSS says its hash, mask and salt: its defaults are SHA-1")
    mask_fields = der.read(mask.content).reader()
    if mask_fields.next().as_oid() != _MGF1:
        raise AlgorithmError("RSASSA-PSS takes MGF1")
    if not read_hash(der.read(hashed.content)) == read_hash(mask_fields.next()) == digest_name:
        raise AlgorithmError("RSASSA-PSS takes one hash throughout")
    length = der.read(salt.content).as_integer()
    if not 0 <= length <= 512:
        raise AlgorithmError("RSASSA-PSS salt length is out of bounds")
    return length
