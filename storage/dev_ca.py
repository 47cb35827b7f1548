"""A certification authority for development. Its certificates say themselves that they have no legal value.

`create_development_ca(home, now)` makes, once, everything that the embedded instance signs with:

    home/pki/   root.pem root.key root.crl  tsa.pem tsa.key  seal.pem seal.key  journal.key journal.vkey
    home/trust/ root.pem journal.vkey

`storage/dev_keys.py` makes later sealing keys, and revokes them.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minutier.checkpoint import NoteKey
from minutier.errors import IntegrityFailureError
from storage.files import sync_directory, write_durably

JOURNAL_NAME = "minutier-development-journal"
SealingKey = ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey
LIFE = timedelta(days=3652)
BACKDATED = timedelta(minutes=5)  # clocks of the machines of one developer may differ
PRIVATE = {".key": 0o600}
# The root's own key is used to make and to revoke sealing keys, and may be kept elsewhere meanwhile.
_NEEDED = ("root.pem", "root.crl", "tsa.pem", "tsa.key", "seal.pem", "journal.key", "journal.vkey")


@dataclass(frozen=True, slots=True)
class DevelopmentCa:
    """Where each file is. Keys are PKCS#8 PEM with mode 0600; `root_crl` is DER."""

    pki: Path
    trust: Path

    @property
    def root(self) -> Path:
        """Give the root certificate."""
        return self.pki / "root.pem"

    @property
    def root_crl(self) -> Path:
        """Give the revocation list signed by the root."""
        return self.pki / "root.crl"

    @property
    def tsa_key(self) -> Path:
        """Give the key of the time-stamp authority."""
        return self.pki / "tsa.key"

    @property
    def tsa_certificate(self) -> Path:
        """Give the certificate of the time-stamp authority."""
        return self.pki / "tsa.pem"

    @property
    def seal_key(self) -> Path:
        """Give the sealing key in use."""
        return key_in_use(self.pki)

    @property
    def seal_certificate(self) -> Path:
        """Give the certificate of the sealing key in use."""
        return self.pki / "seal.pem"

    @property
    def journal_key(self) -> Path:
        """Give the Ed25519 key of the journal."""
        return self.pki / "journal.key"

    @property
    def journal_vkey(self) -> Path:
        """Give the C2SP text of the journal's public key."""
        return self.pki / "journal.vkey"


def key_in_use(folder: Path) -> Path:
    """Give the file of the key that `seal.pem` in `folder` is for: a later key is named after its certificate.

    The certificate is the switch: it is replaced by one rename, after the key that it names is there.
    """
    try:
        (certificate,) = x509.load_pem_x509_certificates((folder / "seal.pem").read_bytes())
    except (OSError, ValueError):  # absent or damaged: what opens the key says so
        return folder / "seal.key"
    later = folder / later_name(certificate, ".key")
    return later if later.exists() else folder / "seal.key"


def later_name(certificate: x509.Certificate, suffix: str) -> str:
    """Name a file after the certificate that it belongs to."""
    return f"seal-{certificate.fingerprint(hashes.SHA256()).hex()[:16]}{suffix}"


def create_development_ca(directory: Path, now: datetime) -> DevelopmentCa:
    """Make the authority under an instance's home if it is not there, and give the places of its files.

    All or nothing: `pki` appears by one rename, durable; a run cut short is simply done again. Valid ten years.
    """
    places = DevelopmentCa(directory / "pki", directory / "trust")
    if not places.pki.exists():
        make_folder(places.pki, _authority(now))
    for source in (places.root, places.journal_vkey):
        publish_anchor(source, places.trust / source.name)
    return places


def make_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder with its files by one rename, or leave the one that another process made first."""
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    for name, data in files.items():
        write_durably(aside / name, data, mode=PRIVATE.get(Path(name).suffix, 0o644))
    try:
        aside.rename(folder)
    except OSError:
        shutil.rmtree(aside)
        if not folder.exists():
            raise
    sync_directory(folder.parent)


def publish_anchor(source: Path, anchor: Path) -> None:
    """Put a copy of a public file in the trust directory, unless one is there."""
    if not anchor.exists():
        write_durably(anchor, source.read_bytes(), mode=0o644)


def authority_of(home: Path, now: datetime, *, born: bool) -> DevelopmentCa:
    """Give the authority of an archive: made when it is not `born` yet, and never made again in silence.

    Raises IntegrityFailureError (`KEYS_MISSING`) for an archive that lives and has lost one of its keys.
    """
    needed = (*_NEEDED, key_in_use(home / "pki").name)
    missing = [name for name in needed if not (home / "pki" / name).exists()]
    if missing and (born or (home / "pki").exists()):
        raise IntegrityFailureError(
            "KEYS_MISSING",
            f"Keys and certificates of this archive are not in {home / 'pki'}: {', '.join(missing)}.",
            remedy="Restore that directory from its backup; nothing was changed.",
        )
    return create_development_ca(home, now)


def _authority(now: datetime) -> dict[str, bytes]:
    root_key, tsa_key, seal_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    journal_key = ed25519.Ed25519PrivateKey.generate()
    # SHA-512 on the path of tokens: one over SHA3-512 then rests on no SHA-256 (docs/format/timestamp-v1.md).
    root_name = development_name("root")
    root = (
        certificate_builder(root_name, root_name, root_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(root_key, hashes.SHA512())
    )
    tsa = (
        certificate_builder(development_name("time-stamp authority"), root_name, tsa_key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .sign(root_key, hashes.SHA512())
    )
    seal = sealing_certificate(seal_key, root, root_key, now)
    crl = revocation_list(root, root_key, now, 1)
    public = journal_key.public_key().public_bytes_raw()
    return {
        "root.pem": root.public_bytes(serialization.Encoding.PEM),
        "root.key": private_pem(root_key),
        "root.crl": crl.public_bytes(serialization.Encoding.DER),
        "tsa.pem": tsa.public_bytes(serialization.Encoding.PEM),
        "tsa.key": private_pem(tsa_key),
        "seal.pem": seal.public_bytes(serialization.Encoding.PEM),
        "seal.key": private_pem(seal_key),
        "journal.key": private_pem(journal_key),
        "journal.vkey": f"{NoteKey(JOURNAL_NAME, public).vkey()}\n".encode(),
    }


def sealing_certificate(
    key: SealingKey,
    root: x509.Certificate,
    root_key: SealingKey,
    now: datetime,
) -> x509.Certificate:
    """Make the certificate of a sealing key. No extended key usage: plain `openssl cms -verify` refuses one."""
    kind = "second seal" if isinstance(key, mldsa.MLDSA65PrivateKey) else "seal"
    return (
        certificate_builder(development_name(kind), root.subject, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage("digital_signature", "content_commitment"), critical=True)
        .sign(root_key, hash_of(root_key))
    )


def revocation_list(
    root: x509.Certificate,
    root_key: SealingKey,
    now: datetime,
    number: int,
    entries: Sequence[x509.RevokedCertificate] = (),
) -> x509.CertificateRevocationList:
    """Sign a revocation list that stands as long as the root may."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.subject)
        .last_update(now - BACKDATED if number == 1 else now)
        .next_update(now + LIFE)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(root_key, hash_of(root_key))


def hash_of(key: SealingKey) -> hashes.SHA512 | None:
    """Give the hash that a key signs certificates over; ML-DSA has its own inside."""
    return None if isinstance(key, mldsa.MLDSA65PrivateKey) else hashes.SHA512()


def certificate_builder(
    subject: x509.Name, issuer: x509.Name, key: SealingKey, now: datetime
) -> x509.CertificateBuilder:
    """Begin a certificate of ten years for a key."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def development_name(role: str) -> x509.Name:
    """Name a certificate so that whoever reads it sees what it is worth."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Minutier development {role} — no legal value")])


def key_usage(*allowed: str) -> x509.KeyUsage:
    """Allow these uses of a key, and no other (RFC 5280 §4.2.1.3)."""
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in allowed for name in names})


def private_pem(key: SealingKey | ed25519.Ed25519PrivateKey) -> bytes:
    """Write a private key in PEM, in clear."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
