"""Later sealing keys of the development authority, its revocations, and the authority of second seals.

A folder (`pki/`, and `pki/mldsa65/` for second seals) holds `root.pem`, `root.key`, `root.crl`, `seal.pem` and the key
of `seal.pem`; beside them, `seal-<digits>.pem` is the certificate of a former key. Nothing here has legal value.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.serialization import Encoding

from minutier.errors import IntegrityFailureError, PolicyRefusedError
from storage import dev_ca
from storage.dev_ca import DevelopmentCa, SealingKey, later_name
from storage.files import write_durably

SECOND_FOLDER = "mldsa65"
_SECOND_FILES = ("root.pem", "root.crl", "seal.pem")


def second_authority_of(places: DevelopmentCa, now: datetime, *, born: bool) -> Path:
    """Give the folder of the authority of second seals: made when it was never `born`, never made again in silence.

    Raises IntegrityFailureError (`KEYS_MISSING`) when one lived and has lost a part.
    """
    folder = places.pki / SECOND_FOLDER
    needed = (*_SECOND_FILES, dev_ca.key_in_use(folder).name)
    missing = [name for name in needed if not (folder / name).exists()]
    if missing and (born or folder.exists()):
        raise IntegrityFailureError(
            "KEYS_MISSING",
            f"Keys and certificates of the second seal are not in {folder}: {', '.join(missing)}.",
            remedy="Restore that directory from its backup; nothing was changed.",
        )
    if missing:
        dev_ca.make_folder(folder, _second_authority(now))
    dev_ca.publish_anchor(folder / "root.pem", places.trust / f"root-{SECOND_FOLDER}.pem")
    return folder


def _second_authority(now: datetime) -> dict[str, bytes]:
    root_key, key = mldsa.MLDSA65PrivateKey.generate(), mldsa.MLDSA65PrivateKey.generate()
    name = dev_ca.development_name("root of second seals")
    root = (
        dev_ca.certificate_builder(name, name, root_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(dev_ca.key_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(root_key, None)
    )
    return {
        "root.pem": root.public_bytes(Encoding.PEM),
        "root.key": dev_ca.private_pem(root_key),
        "root.crl": dev_ca.revocation_list(root, root_key, now, 1).public_bytes(Encoding.DER),
        "seal.pem": dev_ca.sealing_certificate(key, root, root_key, now).public_bytes(Encoding.PEM),
        "seal.key": dev_ca.private_pem(key),
    }


def key_of(folder: Path) -> Path:
    """Give the file of the key in use in a folder."""
    return dev_ca.key_in_use(folder)


def issue(folder: Path, now: datetime) -> x509.Certificate:
    """Make the next sealing key of a folder and put its certificate in `seal.pem`; the former certificate is kept.

    Raises PolicyRefusedError (`ROOT_KEY_ABSENT`) when the key of the root is kept elsewhere.
    """
    root, root_key = _root(folder)
    second = isinstance(root_key, mldsa.MLDSA65PrivateKey)
    key: SealingKey = mldsa.MLDSA65PrivateKey.generate() if second else ec.generate_private_key(ec.SECP256R1())
    certificate = dev_ca.sealing_certificate(key, root, root_key, now)
    current = folder / "seal.pem"
    (former,) = x509.load_pem_x509_certificates(current.read_bytes())
    write_durably(folder / later_name(former, ".pem"), current.read_bytes(), mode=0o644)
    write_durably(folder / later_name(certificate, ".key"), dev_ca.private_pem(key), mode=0o600)
    write_durably(current, certificate.public_bytes(Encoding.PEM), mode=0o644)
    return certificate


def drop_former_keys(folder: Path) -> None:
    """Delete the private keys that are not in use: they would serve a thief alone. Certificates stay."""
    kept = dev_ca.key_in_use(folder)
    for path in (folder / "seal.key", *folder.glob("seal-*.key")):
        if path != kept:
            path.unlink(missing_ok=True)


def issued(folder: Path, certificate: x509.Certificate) -> bool:
    """Say whether the authority of a folder issued a certificate."""
    if not (folder / "root.pem").exists():
        return False
    (root,) = x509.load_pem_x509_certificates((folder / "root.pem").read_bytes())
    return certificate.issuer == root.subject


def revoke(
    folder: Path, certificate: x509.Certificate, at: datetime, reason: x509.ReasonFlags, anchor: Path
) -> datetime:
    """Put a certificate on the revocation list of a folder, once; gives the date that the list says.

    `anchor` is the copy of the list in the trust directory. Raises PolicyRefusedError (`ROOT_KEY_ABSENT`).
    """
    path = folder / "root.crl"
    known = x509.load_der_x509_crl(path.read_bytes())
    entry = known.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is None:
        root, root_key = _root(folder)
        number = known.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(certificate.serial_number)
            .revocation_date(at)
            .add_extension(x509.CRLReason(reason), critical=False)
            .build()
        )
        made = dev_ca.revocation_list(root, root_key, at, number, [*known, entry])
        write_durably(path, made.public_bytes(Encoding.DER), mode=0o644)
    write_durably(anchor, path.read_bytes(), mode=0o644)
    return entry.revocation_date_utc


def _root(folder: Path) -> tuple[x509.Certificate, SealingKey]:
    (root,) = x509.load_pem_x509_certificates((folder / "root.pem").read_bytes())
    try:
        key = serialization.load_pem_private_key((folder / "root.key").read_bytes(), None)
    except FileNotFoundError as error:
        raise PolicyRefusedError(
            "ROOT_KEY_ABSENT",
            f"The key of the development root is not in {folder}.",
            remedy=f"Put {folder / 'root.key'} back for this act, or name a sealing key of your own in the settings.",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey):
        raise IntegrityFailureError(
            "KEYS_MISSING", f"{folder / 'root.key'} is not the key of the root.", remedy="Restore it from its backup."
        )
    return root, key
