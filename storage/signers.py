"""Sealing keys behind the port `minutier.seal.Signer`: files, encrypted or not, and PKCS#11 devices.

Secrets are files of their owner alone. A key is taken only when it is of the kind that its seal needs and when its
certificate is its own. `minutier doctor` opens it, so that a mistake need not be found by a document that waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minutier.certificates import load_pem, name_of
from minutier.errors import BadInputError, PolicyRefusedError
from minutier.seal import Signer
from storage.files import write_durably
from storage.pkcs11_signer import open_device_signer
from storage.settings import Settings


@dataclass(frozen=True)
class FileSigner:
    """A sealing key read from a file. `sign` gives an ECDSA signature (DER) over SHA-256 of `tbs`."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    def sign(self, tbs: bytes) -> bytes:
        """Sign the bytes to be signed."""
        return self.key.sign(tbs, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True)
class MlDsaSigner:
    """A key of second seals read from a file. `sign` gives a pure ML-DSA-65 signature (FIPS 204), 3309 bytes."""

    key: mldsa.MLDSA65PrivateKey
    chain: tuple[x509.Certificate, ...]

    def sign(self, tbs: bytes) -> bytes:
        """Sign the bytes to be signed."""
        return self.key.sign(tbs)


def open_signer(settings: Settings, key_file: Path, certificate_file: Path) -> Signer:
    """Open the sealing key that the settings name, else the one in `key_file` and `certificate_file`.

    Raises BadInputError (`SEAL_KEY`, `SEAL_CERTIFICATE`, `SEAL_PASSPHRASE`, `SEAL_DEVICE`, `SEAL_PIN`),
    PolicyRefusedError (`KEY_READABLE_BY_OTHERS`), ServiceUnavailableError (`SEAL_DEVICE_DOWN`).
    """
    if settings.seal_certificate is None:
        return load_signer(key_file, certificate_file)
    if settings.seal_key is not None:
        return load_signer(settings.seal_key, settings.seal_certificate, settings.seal_passphrase_file)
    module, token, pin_file = settings.seal_pkcs11_module, settings.seal_pkcs11_token, settings.seal_pin_file
    if module is None or token is None or pin_file is None:  # the settings refuse this
        raise _bad(
            "SEAL_KEY", "seal_certificate is set, and no key.", "Set seal_key, or the four seal_pkcs11 settings."
        )
    chain = load_chain(settings.seal_certificate)
    _require_curve(chain[0].public_key(), settings.seal_certificate)
    pin, memory = _secret_line(pin_file), settings.home / "run" / "refused-pin"
    _require_untried(pin_file, memory)
    try:
        signer = open_device_signer(module, token, settings.seal_pkcs11_label or "", pin, chain)
    except BadInputError as error:
        if error.code == "SEAL_PIN":
            write_durably(memory, _state_of(pin_file), mode=0o600)
        raise
    memory.unlink(missing_ok=True)
    return signer


def _require_untried(pin_file: Path, memory: Path) -> None:
    """Refuse a PIN that the device refused before: scheduled runs that try again and again would lock the device."""
    if memory.exists() and memory.read_bytes() == _state_of(pin_file):
        raise _bad(
            "SEAL_PIN",
            f"The device refused the PIN in {pin_file}, and the file has not changed since: it is not tried again.",
            f"Correct the PIN. If it was right (the device was locked, and is no more), delete {memory}.",
        )


def _state_of(pin_file: Path) -> bytes:
    found = pin_file.stat()
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}\n".encode()


def load_signer(key_file: Path, certificate_file: Path, passphrase_file: Path | None = None) -> FileSigner:
    """Read an ECDSA P-256 key (PEM, PKCS#8 encrypted or not) and its certificate chain, leaf first."""
    key = _private_key(key_file, passphrase_file)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _bad("SEAL_KEY", f"{key_file} is not an ECDSA key.", "Give an ECDSA P-256 key.")
    _require_curve(key.public_key(), key_file)
    return FileSigner(key, _own_chain(key.public_key(), certificate_file))


def load_second_signer(key_file: Path, certificate_file: Path) -> MlDsaSigner:
    """Read an ML-DSA-65 key (PEM, PKCS#8) and its certificate chain, leaf first."""
    key = _private_key(key_file, None)
    if not isinstance(key, mldsa.MLDSA65PrivateKey):
        raise _bad("SEAL_KEY", f"{key_file} is not an ML-DSA-65 key.", "Give an ML-DSA-65 key for second seals.")
    return MlDsaSigner(key, _own_chain(key.public_key(), certificate_file))


def load_journal_key(key_file: Path) -> ed25519.Ed25519PrivateKey:
    """Read the Ed25519 key that signs checkpoints."""
    key = _private_key(key_file, None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise _bad("JOURNAL_KEY", f"{key_file} is not an Ed25519 key.", "Give an Ed25519 key.")
    return key


def load_chain(certificate_file: Path) -> tuple[x509.Certificate, ...]:
    """Read a certificate chain in PEM, leaf first; BadInputError (`SEAL_CERTIFICATE`) when it is not one."""
    try:
        return load_pem(certificate_file.read_bytes())
    except (ValueError, OSError) as error:
        raise _bad(
            "SEAL_CERTIFICATE",
            f"{certificate_file} cannot be read as certificates in PEM: {error}.",
            "Give the sealing certificate first, then those of its issuers, without the root.",
        ) from error


def _own_chain(key: CertificatePublicKeyTypes, certificate_file: Path) -> tuple[x509.Certificate, ...]:
    chain = load_chain(certificate_file)
    if _spki(chain[0].public_key()) != _spki(key):
        raise _bad(
            "SEAL_CERTIFICATE",
            f"{certificate_file} begins with the certificate of another key ({name_of(chain[0])}).",
            "Put the certificate of this key first in the file, or name the other key.",
        )
    return chain


def _private_key(path: Path, passphrase_file: Path | None) -> object:
    data = _secret(path)
    passphrase = _secret_line(passphrase_file).encode() if passphrase_file else None
    try:
        return serialization.load_pem_private_key(data, passphrase)
    except TypeError as error:  # a passphrase that is missing, or one for a key in clear
        given = "is not encrypted: remove seal_passphrase_file" if passphrase else "is encrypted"
        remedy = "Name the file with its passphrase in seal_passphrase_file, or take that setting away."
        raise _bad("SEAL_PASSPHRASE", f"{path} {given}.", remedy) from error
    except ValueError as error:
        if passphrase is None:
            raise _bad("SEAL_KEY", f"{path} is not a private key in PEM.", "Give a PKCS#8 key in PEM.") from error
        raise _bad(
            "SEAL_PASSPHRASE",
            f"{path} does not open with the passphrase in {passphrase_file}.",
            "Correct the passphrase: one line, no blank around it.",
        ) from error


def _secret_line(path: Path) -> str:
    try:
        text = _secret(path).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _bad(
            "SEAL_PASSPHRASE", f"{path} is not text in UTF-8.", "Write the secret alone, on one line."
        ) from error
    if not text or "\n" in text:
        raise _bad("SEAL_PASSPHRASE", f"{path} does not hold exactly one line.", "Write the secret alone, on one line.")
    return text


def _secret(path: Path) -> bytes:
    try:
        return read_secret(path)
    except OSError as error:
        raise _bad(
            "SEAL_KEY", f"{path} cannot be read: {error.strerror}.", "Check its path in the settings."
        ) from error


def read_secret(path: Path) -> bytes:
    """Read a secret file; PolicyRefusedError (`KEY_READABLE_BY_OTHERS`) unless it is its owner's alone, OSError."""
    if path.stat().st_mode & 0o077:
        raise PolicyRefusedError(
            "KEY_READABLE_BY_OTHERS", f"{path} can be read by other users.", remedy=f"Run: chmod 600 {path}"
        )
    return path.read_bytes()


def _require_curve(key: CertificatePublicKeyTypes, where: Path) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        kind = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__
        raise _bad("SEAL_KEY", f"{where} is for a key of another kind ({kind}).", "Give an ECDSA P-256 key.")


def _spki(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _bad(code: str, message: str, remedy: str) -> BadInputError:
    return BadInputError(code, message, remedy=remedy)
