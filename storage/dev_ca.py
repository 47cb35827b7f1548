"""A certification authority for development. Its certificates say themselves that they have no legal value.

`create_development_ca(home, now)` makes, once, everything that the embedded instance signs with:

    home/pki/   root.pem root.key root.crl  tsa.pem tsa.key  seal.pem seal.key  journal.key journal.vkey
    home/trust/ root.pem journal.vkey
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minutier.checkpoint import NoteKey
from minutier.errors import IntegrityFailureError
from storage.files import sync_directory, write_durably

JOURNAL_NAME = "minutier-development-journal"
_LIFE = timedelta(days=3652)
_BACKDATED = timedelta(minutes=5)  # clocks of the machines of one developer may differ
_PRIVATE = {".key": 0o600}
# The root's own key is used once, and may be kept elsewhere.
_NEEDED = ("root.pem", "root.crl", "tsa.pem", "tsa.key", "seal.pem", "seal.key", "journal.key", "journal.vkey")


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
        """Give the sealing key."""
        return self.pki / "seal.key"

    @property
    def seal_certificate(self) -> Path:
        """Give the sealing certificate."""
        return self.pki / "seal.pem"

    @property
    def journal_key(self) -> Path:
        """Give the Ed25519 key of the journal."""
        return self.pki / "journal.key"

    @property
    def journal_vkey(self) -> Path:
        """Give the C2SP text of the journal's public key."""
        return self.pki / "journal.vkey"


def create_development_ca(directory: Path, now: datetime) -> DevelopmentCa:
    """Make the authority under an instance's home if it is not there, and give the places of its files.

    All or nothing: `pki` appears by one rename, durable; a run cut short is simply done again. Valid ten years.
    """
    places = DevelopmentCa(directory / "pki", directory / "trust")
    if not places.pki.exists():
        aside = directory / f".pki.{uuid.uuid4().hex}.tmp"
        for name, data in _authority(now).items():
            write_durably(aside / name, data, mode=_PRIVATE.get(Path(name).suffix, 0o644))
        try:
            aside.rename(places.pki)
        except OSError:
            shutil.rmtree(aside)
            if not places.pki.exists():  # else another process was first
                raise
        sync_directory(directory)
    for source in (places.root, places.journal_vkey):
        anchor = places.trust / source.name
        if not anchor.exists():
            write_durably(anchor, source.read_bytes(), mode=0o644)
    return places


def authority_of(home: Path, now: datetime, *, born: bool) -> DevelopmentCa:
    """Give the authority of an archive: made when it is not `born` yet, and never made again in silence.

    Raises IntegrityFailureError (`KEYS_MISSING`) for an archive that lives and has lost one of its keys.
    """
    missing = [name for name in _NEEDED if not (home / "pki" / name).exists()]
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
    root_name = _name("root")
    root = (
        _certificate(root_name, root_name, root_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(root_key, hashes.SHA512())
    )
    tsa = (
        _certificate(_name("time-stamp authority"), root_name, tsa_key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .sign(root_key, hashes.SHA512())
    )
    # No extended key usage: with one, plain `openssl cms -verify` calls the purpose unsuitable.
    seal = (
        _certificate(_name("seal"), root_name, seal_key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature", "content_commitment"), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root_name)
        .last_update(now - _BACKDATED)
        .next_update(now + _LIFE)
        .add_extension(x509.CRLNumber(1), critical=False)
        .sign(root_key, hashes.SHA512())
    )
    public = journal_key.public_key().public_bytes_raw()
    return {
        "root.pem": root.public_bytes(serialization.Encoding.PEM),
        "root.key": _key(root_key),
        "root.crl": crl.public_bytes(serialization.Encoding.DER),
        "tsa.pem": tsa.public_bytes(serialization.Encoding.PEM),
        "tsa.key": _key(tsa_key),
        "seal.pem": seal.public_bytes(serialization.Encoding.PEM),
        "seal.key": _key(seal_key),
        "journal.key": _key(journal_key),
        "journal.vkey": f"{NoteKey(JOURNAL_NAME, public).vkey()}\n".encode(),
    }


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(role: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Minutier development {role} — no legal value")])


def _usage(*allowed: str) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in allowed for name in names})


def _key(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
