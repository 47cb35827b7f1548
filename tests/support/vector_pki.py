"""Keys and certificates that are always the same, for vectors that a stranger can make again bit for bit.

Each key is SHA-256 of a text, so nothing here is secret and nothing signed with it is worth anything. ECDSA signatures
take the nonce of RFC 6979. Tokens are written here in full, so that no change of another helper changes a vector.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minutier import algorithms, cms, der
from minutier.checkpoint import NoteKey
from minutier.timestamp import TST_INFO

POLICY = "2.999.1"
_HASHES = {
    "sha256": (hashes.SHA256(), algorithms.ECDSA_SHA256),
    "sha512": (hashes.SHA512(), "1.2.840.10045.4.3.4"),
}
_CURVE_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-5, P-256


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def secret(name: str) -> bytes:
    """Give the 32 octets of a test key: the private scalar of P-256, or the seed of Ed25519."""
    return hashlib.sha256(f"minutier test key, worth nothing: {name}".encode()).digest()


def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(secret(name)) % (_CURVE_ORDER - 1) + 1, ec.SECP256R1())


def note_key(name: str, kind: int) -> tuple[NoteKey, ed25519.Ed25519PrivateKey]:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(secret(name))
    return NoteKey(f"{name}.example", key.public_key().public_bytes_raw(), kind), key


def key_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


@dataclass(frozen=True)
class Holder:
    """A certificate and its key; `hash_name` is what it signs with. It is a `seal.Signer` too."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    hash_name: str = "sha256"

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        return (self.certificate,)

    def sign(self, tbs: bytes) -> bytes:
        return self.key.sign(tbs, ec.ECDSA(_HASHES[self.hash_name][0], deterministic_signing=True))


def make_root(name: str, start: datetime, end: datetime) -> Holder:
    key = ec_key(name)
    return Holder(name, key, _certificate(name, key, None, 1, start, end, "sha256", []))


def make_holder(
    root: Holder, name: str, serial: int, start: datetime, end: datetime, *, hash_name: str = "sha256", tsa: bool
) -> Holder:
    """Issue a certificate for sealing or for time-stamping, signed over `hash_name`."""
    key = ec_key(name)
    usage = [ExtendedKeyUsageOID.TIME_STAMPING] if tsa else []
    return Holder(name, key, _certificate(name, key, root, serial, start, end, hash_name, usage), hash_name)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: Holder | None,
    serial: int,
    start: datetime,
    end: datetime,
    hash_name: str,
    usage: list[x509.ObjectIdentifier],
) -> x509.Certificate:
    subject = _name(name)
    ca, issuer_key = issuer is None, issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(_key_usage(ca=ca, seal=not ca and not usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=True)
    return builder.sign(issuer_key, _HASHES[hash_name][0], ecdsa_deterministic=True)


def _name(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Minutier test vectors, no legal value"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _key_usage(*, ca: bool, seal: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=seal,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def make_list(root: Holder, number: int, start: datetime, end: datetime, hash_name: str = "sha256") -> bytes:
    """Write an empty revocation list in DER."""
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.certificate.subject)
        .last_update(start)
        .next_update(end)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key()), critical=False)
        .sign(root.key, _HASHES[hash_name][0], ecdsa_deterministic=True)
    )
    return crl.public_bytes(serialization.Encoding.DER)


def make_token(tsa: Holder, root: bytes, algorithm: str, serial: int, moment: datetime) -> bytes:
    """Write the token of an RFC 3161 authority over `root`, the value of a tree made with `algorithm`."""
    info = der.sequence(
        der.integer(1),
        der.oid(POLICY),
        der.sequence(algorithms.hash_identifier(algorithm), der.octets(root)),
        der.integer(serial),
        der.generalized_time(moment),
        der.sequence(der.integer(1)),
    )
    digest_name, (_, signature_algorithm) = tsa.hash_name, _HASHES[tsa.hash_name]
    encoded = tsa.certificate.public_bytes(serialization.Encoding.DER)
    default = digest_name == "sha256"  # ESSCertIDv2: the default is left out (RFC 5035 §4)
    ess = der.sequence(
        b"" if default else algorithms.hash_identifier(digest_name), der.octets(algorithms.digest(digest_name, encoded))
    )
    attributes = der.set_of(
        cms.attribute(cms.CONTENT_TYPE, der.oid(TST_INFO)),
        cms.attribute(cms.MESSAGE_DIGEST, der.octets(algorithms.digest(digest_name, info))),
        cms.attribute(cms.SIGNING_CERTIFICATE_V2, der.sequence(der.sequence(ess))),
    )
    signer = der.sequence(
        der.integer(1),
        der.sequence(tsa.certificate.issuer.public_bytes(), der.integer(tsa.certificate.serial_number)),
        algorithms.hash_identifier(digest_name),
        der.read(attributes).retagged(0xA0).encoded,
        algorithms.identifier(signature_algorithm),
        der.octets(tsa.sign(attributes)),
    )
    signed = der.sequence(
        der.integer(3),
        der.set_of(algorithms.hash_identifier(digest_name)),
        der.sequence(der.oid(TST_INFO), der.context(0, der.octets(info))),
        der.set_of(encoded, tag=0xA0),
        der.set_of(signer),
    )
    return der.sequence(der.oid(cms.SIGNED_DATA), der.context(0, signed))
