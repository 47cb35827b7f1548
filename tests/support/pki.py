"""A small PKI for tests, and time-stamp tokens written by hand, so that they can be wrong in one chosen way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minutier import algorithms, cms, der
from minutier.checkpoint import NoteKey
from minutier.timestamp import TST_INFO

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
START, END = NOW - timedelta(days=30), NOW + timedelta(days=365)
POLICY = "2.999.1"
NONCE = 0x8000_0000_0000_0001
TIME_STAMPING = [ExtendedKeyUsageOID.TIME_STAMPING]
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | mldsa.MLDSA65PrivateKey
NO_HASH = (ed25519.Ed25519PrivateKey, mldsa.MLDSA65PrivateKey)


@dataclass(frozen=True)
class Pki:
    """A root, a time-stamp authority, a sealing certificate and a journal key; all ECDSA P-256 and Ed25519."""

    root_key: ec.EllipticCurvePrivateKey
    root: x509.Certificate
    tsa_key: ec.EllipticCurvePrivateKey
    tsa: x509.Certificate
    seal_key: ec.EllipticCurvePrivateKey
    seal: x509.Certificate
    journal_key: ed25519.Ed25519PrivateKey
    crl: x509.CertificateRevocationList

    @property
    def signer(self) -> FileSigner:
        return FileSigner(self.seal_key, (self.seal,))

    @property
    def note_key(self) -> NoteKey:
        return NoteKey("journal.example", self.journal_key.public_key().public_bytes_raw())


@dataclass(frozen=True)
class FileSigner:
    """A `seal.Signer` over a key in memory."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    def sign(self, tbs: bytes) -> bytes:
        return self.key.sign(tbs, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True)
class SecondSigner:
    """A `seal.Signer` over an ML-DSA-65 key in memory, and the root that it stands under."""

    key: mldsa.MLDSA65PrivateKey
    chain: tuple[x509.Certificate, ...]
    root_key: mldsa.MLDSA65PrivateKey
    root: x509.Certificate

    def sign(self, tbs: bytes) -> bytes:
        return self.key.sign(tbs)


def new_second_signer(name: str = "Second", **options) -> SecondSigner:
    root_key, key = mldsa.MLDSA65PrivateKey.generate(), mldsa.MLDSA65PrivateKey.generate()
    root = issue(f"{name} root", root_key, ca=True)
    leaf = issue(f"{name} seal", key, issuer=(root, root_key), non_repudiation=True, **options)
    return SecondSigner(key, (leaf,), root_key, root)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(bits: int = 3072) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def default_pki() -> Pki:
    """Give the PKI that tests share; it is frozen, and made once."""
    return new_pki()


def new_pki(name: str = "Test", around: datetime = NOW) -> Pki:
    """Make a PKI valid from 30 days before `around` to a year after."""
    span = {"start": around - (NOW - START), "end": around + (END - NOW)}
    root_key, tsa_key, seal_key = new_key(), new_key(), new_key()
    root = issue(f"{name} root", root_key, ca=True, **span)
    tsa = issue(f"{name} TSA", tsa_key, issuer=(root, root_key), eku=TIME_STAMPING, **span)
    seal = issue(f"{name} seal", seal_key, issuer=(root, root_key), non_repudiation=True, **span)
    journal_key = ed25519.Ed25519PrivateKey.generate()
    return Pki(root_key, root, tsa_key, tsa, seal_key, seal, journal_key, make_crl(root, root_key, **span))


def issue(
    name: str,
    key: Key,
    *,
    issuer: tuple[x509.Certificate, Key] | None = None,
    ca: bool = False,
    path_length: int | None = None,
    eku: Sequence[x509.ObjectIdentifier] | None = None,
    eku_critical: bool = True,
    non_repudiation: bool = False,
    cert_sign: bool | None = None,
    start: datetime = START,
    end: datetime = END,
    odd_critical_extension: bool = False,
    serial: int | None = None,
    hashed: hashes.HashAlgorithm | None = None,
    signs: bool = True,
    extra: Sequence[x509.ExtensionType] = (),
) -> x509.Certificate:
    """Make a certificate; self-signed without `issuer`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_name, issuer_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca and signs,
                content_commitment=non_repudiation,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=ca if cert_sign is None else cert_sign,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if eku is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=eku_critical)
    for value in extra:
        builder = builder.add_extension(value, critical=False)
    if odd_critical_extension:
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.999.77"), der.null())
        builder = builder.add_extension(odd, critical=True)
    used = None if isinstance(issuer_key, NO_HASH) else hashed or hashes.SHA256()
    # Deterministic ECDSA (RFC 6979): the stored vectors are made again byte for byte.
    return builder.sign(issuer_key, used, ecdsa_deterministic=repeatable(issuer_key))


def make_crl(
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey,
    revoked: Sequence[tuple[x509.Certificate, datetime, x509.ReasonFlags | None]] = (),
    *,
    start: datetime = START,
    end: datetime = END,
) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(start).next_update(end)
    for certificate, when, reason in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(when)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    used = None if isinstance(key, NO_HASH) else hashes.SHA256()
    return builder.sign(key, used, ecdsa_deterministic=repeatable(key))


def make_response(token: bytes, status: int = 0) -> bytes:
    return der.sequence(der.sequence(der.integer(status)), token)


def make_info(
    digest: bytes,
    *,
    gen_time: datetime = NOW,
    nonce: int | None = NONCE,
    serial: int = 7,
    policy: str = POLICY,
    version: int = 1,
    imprint_algorithm: bytes | None = None,
    accuracy: bytes = der.sequence(der.integer(1)),
    time: bytes | None = None,
    extensions: bytes = b"",
) -> bytes:
    """Write a TSTInfo."""
    return der.sequence(
        der.integer(version),
        der.oid(policy),
        der.sequence(imprint_algorithm or algorithms.hash_identifier("sha256"), der.octets(digest)),
        der.integer(serial),
        time or der.generalized_time(gen_time),
        accuracy,
        b"" if nonce is None else der.integer(nonce),
        extensions,
    )


def make_token(
    pki: Pki,
    info: bytes,
    *,
    certificate: x509.Certificate | None = None,
    key: Key | None = None,
    embedded: Sequence[x509.Certificate] | None = None,
    content_type: str = TST_INFO,
    content_type_attribute: str | None = TST_INFO,
    message_digest: bytes | None = None,
    ess: x509.Certificate | bytes | bool | None = True,
    digest_algorithm: str = algorithms.SHA256,
    signature_algorithm: bytes | None = None,
    hashed: hashes.HashAlgorithm | None = None,
    attributes: bool = True,
    signers: int = 1,
    detached: bool = False,
    spoil_signature: bool = False,
) -> bytes:
    """Write a token over `info`; every argument is a way to make it another or a wrong one.

    `ess` is the certificate that ESSCertIDv2 names (True: the signer's), the raw attribute value, or None for none.
    """
    certificate, key = certificate or pki.tsa, key or pki.tsa_key
    hashed = hashed or hashes.SHA256()
    digest = hashes.Hash(hashed)
    digest.update(info)
    values = []
    if content_type_attribute:
        values.append(cms.attribute(cms.CONTENT_TYPE, der.oid(content_type_attribute)))
    values.append(cms.attribute(cms.MESSAGE_DIGEST, der.octets(message_digest or digest.finalize())))
    if ess is not None:
        named = certificate if ess is True else ess
        value = named if isinstance(named, bytes) else ess_value(named)
        values.append(cms.attribute(cms.SIGNING_CERTIFICATE_V2, value))
    signed_attributes = der.set_of(*values)
    signature = sign(key, signed_attributes if attributes else info, hashed, pss=signature_algorithm == PSS_SHA256)
    if spoil_signature:
        signature = signature[:-1] + bytes((signature[-1] ^ 1,))
    defaults = {
        ec.EllipticCurvePrivateKey: algorithms.ECDSA_SHA256,
        rsa.RSAPrivateKey: "1.2.840.113549.1.1.11",
        ed25519.Ed25519PrivateKey: "1.3.101.112",
    }
    family = next(dotted for kind, dotted in defaults.items() if isinstance(key, kind))
    signer = der.sequence(
        der.integer(1),
        der.sequence(certificate.issuer.public_bytes(), der.integer(certificate.serial_number)),
        algorithms.identifier(digest_algorithm),
        der.read(signed_attributes).retagged(0xA0).encoded if attributes else b"",
        signature_algorithm or algorithms.identifier(family),
        der.octets(signature),
    )
    copies = [signer]
    for number in range(1, signers):
        fields = [item.encoded for item in der.read(signer).children()]
        copies.append(der.sequence(*fields[:-1], der.octets(signature + bytes((number,)))))
    pool = [certificate] if embedded is None else list(embedded)
    certificates = der.set_of(*(item.public_bytes(Encoding.DER) for item in pool), tag=0xA0) if pool else b""
    body = der.sequence(
        der.integer(3),
        der.set_of(algorithms.identifier(digest_algorithm)),
        der.sequence(der.oid(content_type), b"" if detached else der.context(0, der.octets(info))),
        certificates,
        der.tlv(der.SET) if signers == 0 else der.set_of(*copies),
    )
    return der.sequence(der.oid(cms.SIGNED_DATA), der.context(0, body))


def ess_value(certificate: x509.Certificate, *, algorithm: str = "sha256", issuer_serial: bytes = b"") -> bytes:
    """Write a SigningCertificateV2 that names a certificate."""
    value = der.octets(algorithms.digest(algorithm, certificate.public_bytes(Encoding.DER)))
    identifier = b"" if algorithm == "sha256" else algorithms.hash_identifier(algorithm)
    return der.sequence(der.sequence(der.sequence(identifier, value, issuer_serial)))


def repeatable(key: object) -> bool | None:
    """Say whether a key signs deterministically; None for kinds that have no such choice."""
    return True if isinstance(key, ec.EllipticCurvePrivateKey) else None


def sign(key: Key, data: bytes, hashed: hashes.HashAlgorithm, *, pss: bool = False) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hashed, deterministic_signing=repeatable(key) or False))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PSS(padding.MGF1(hashed), 32) if pss else padding.PKCS1v15(), hashed)
    return key.sign(data)


def _pss(digest: str) -> bytes:
    hashed = algorithms.hash_identifier(digest)
    parameters = der.sequence(
        der.context(0, hashed),
        der.context(1, der.sequence(der.oid("1.2.840.113549.1.1.8"), hashed)),
        der.context(2, der.integer(32)),
    )
    return der.sequence(der.oid("1.2.840.113549.1.1.10"), parameters)


PSS_SHA256 = _pss("sha256")


def write_trust(directory: Path, pki: Pki, *, journal: bool = True) -> Path:
    """Write a trust directory for `pki`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "root.pem").write_bytes(pki.root.public_bytes(Encoding.PEM))
    if journal:
        (directory / "journal.vkey").write_text(pki.note_key.vkey() + "\n")
    return directory
