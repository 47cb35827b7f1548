"""A sealing key that stays in a PKCS#11 device (OASIS PKCS#11 v2.40): it signs, and is never read.

A process logs in once per token: a second login is an error in PKCS#11, and a login per signature is slow. The login
belongs to the process that made it, so a child of it opens its own.
"""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from minutier.certificates import name_of
from minutier.errors import BadInputError, MinutierError, ServiceUnavailableError

if TYPE_CHECKING:
    from pkcs11 import Attribute, Session

_logins: dict[tuple[int, str, str], Session] = {}
_keys: dict[tuple[int, str, str, str], Any] = {}  # the library's types give a private key no `sign`
_lock = threading.RLock()
_POINT = 32  # octets of each half of a P-256 signature


@dataclass(frozen=True)
class DeviceSigner:
    """An ECDSA P-256 key in a device. `sign` asks it for CKM_ECDSA over SHA-256 of `tbs` and gives DER."""

    module: Path
    token: str
    label: str
    pin: str = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    def sign(self, tbs: bytes) -> bytes:
        """Sign the bytes to be signed; the signature is verified before it is given.

        ServiceUnavailableError (`SEAL_DEVICE_DOWN`) when the device fails twice: the first time the login is renewed.
        """
        from pkcs11 import Mechanism
        from pkcs11.exceptions import PKCS11Error

        digest = hashlib.sha256(tbs).digest()
        with _lock:
            try:
                raw = _key(self).sign(digest, mechanism=Mechanism.ECDSA)
            except PKCS11Error:
                _forget(self)
                try:
                    raw = _key(self).sign(digest, mechanism=Mechanism.ECDSA)
                except PKCS11Error as error:
                    raise _down(self, error) from error
        return self._checked(raw, tbs)

    def _checked(self, raw: bytes, tbs: bytes) -> bytes:
        """Turn `r || s` into ECDSA-Sig-Value (RFC 3279 §2.2.3) and hold it against the certificate."""
        key = self.chain[0].public_key()
        if len(raw) != 2 * _POINT or not isinstance(key, ec.EllipticCurvePublicKey):
            raise _bad("SEAL_KEY", f"The key {self.label} of {self.token} is not of ECDSA P-256.", "Name another key.")
        halves = (int.from_bytes(raw[:_POINT], "big"), int.from_bytes(raw[_POINT:], "big"))
        signature = utils.encode_dss_signature(*halves)
        try:
            key.verify(signature, tbs, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise _bad(
                "SEAL_CERTIFICATE",
                f"The key {self.label} of {self.token} is not that of the certificate ({name_of(self.chain[0])}).",
                "Name the certificate of this key first in seal_certificate, or the other key.",
            ) from error
        return signature


def open_device_signer(
    module: Path, token: str, label: str, pin: str, chain: tuple[x509.Certificate, ...]
) -> DeviceSigner:
    """Log in to the token and find the key; the key is tried against the certificate with the public half it shows.

    Raises BadInputError (`SEAL_DEVICE` for an absent module, token or key, `SEAL_PIN`, `SEAL_KEY`, `SEAL_CERTIFICATE`),
    ServiceUnavailableError (`SEAL_DEVICE_DOWN`).
    """
    from pkcs11 import Attribute, KeyType
    from pkcs11.exceptions import PKCS11Error

    signer = DeviceSigner(module, token, label, pin, chain)
    with _lock:
        try:
            key = _key(signer)
            if key.key_type is not KeyType.EC:
                raise _bad("SEAL_KEY", f"The key {label} of {token} is not an ECDSA key.", "Give an ECDSA P-256 key.")
            points = [bytes(each[Attribute.EC_POINT]) for each in _session(signer).get_objects(_public(label))]
        except PKCS11Error as error:
            raise _down(signer, error) from error
    shown = chain[0].public_key()
    expected = shown.public_numbers() if isinstance(shown, ec.EllipticCurvePublicKey) else None
    # Some devices show no public half, or wrap it in another way: the first signature is held against it anyway.
    if expected and points and not any(_coordinates(expected) in point for point in points):
        raise _bad(
            "SEAL_CERTIFICATE",
            f"The key {label} of {token} is not that of the certificate ({name_of(chain[0])}).",
            "Name the certificate of this key first in seal_certificate, or the other key.",
        )
    return signer


def _public(label: str) -> dict[Attribute, Any]:
    from pkcs11 import Attribute, ObjectClass

    return {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label}


def _coordinates(numbers: ec.EllipticCurvePublicNumbers) -> bytes:
    return numbers.x.to_bytes(_POINT, "big") + numbers.y.to_bytes(_POINT, "big")


def _place(signer: DeviceSigner) -> tuple[int, str, str]:
    return os.getpid(), str(signer.module), signer.token


def _session(signer: DeviceSigner) -> Session:
    """Give the one login of this process, made on first use."""
    import pkcs11
    from pkcs11.exceptions import (
        NoSuchToken,
        PinExpired,
        PinIncorrect,
        PinInvalid,
        PinLenRange,
        PinLocked,
        TokenNotPresent,
    )

    place = _place(signer)
    if place not in _logins:
        if not signer.module.is_file():
            raise _bad("SEAL_DEVICE", f"There is no PKCS#11 module {signer.module}.", "Correct seal_pkcs11_module.")
        try:
            token = pkcs11.lib(str(signer.module)).get_token(token_label=signer.token)
            _logins[place] = token.open(user_pin=signer.pin)
        except (NoSuchToken, TokenNotPresent) as error:
            raise _bad(
                "SEAL_DEVICE", f"There is no token {signer.token} in the device.", "Insert it, or correct its label."
            ) from error
        except (PinIncorrect, PinInvalid, PinLenRange, PinLocked, PinExpired) as error:
            raise _bad(
                "SEAL_PIN",
                f"The token {signer.token} refuses the PIN ({type(error).__name__}).",
                "Correct the file of seal_pin_file before trying again: a device locks after some wrong tries.",
            ) from error
    return _logins[place]


def _key(signer: DeviceSigner) -> Any:
    """Give the key, looked for once per login."""
    from pkcs11 import Attribute, ObjectClass

    session = _session(signer)
    place = (*_place(signer), signer.label)
    if place not in _keys:
        wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: signer.label}
        found = list(session.get_objects(wanted))
        if len(found) != 1:
            message = f"{signer.token} holds {len(found)} private keys called {signer.label}, one is expected."
            raise _bad("SEAL_DEVICE", message, "Correct seal_pkcs11_label.")
        _keys[place] = found[0]
    return _keys[place]


def _forget(signer: DeviceSigner) -> None:
    from pkcs11.exceptions import PKCS11Error

    _keys.pop((*_place(signer), signer.label), None)
    session = _logins.pop(_place(signer), None)
    if session is not None:
        try:
            session.close()
        except PKCS11Error:  # a device that went away closed it
            return


def _down(signer: DeviceSigner, error: Exception) -> MinutierError:
    return ServiceUnavailableError(
        "SEAL_DEVICE_DOWN",
        f"The device with the sealing key did not sign ({type(error).__name__}, token {signer.token}).",
        remedy="Nothing is lost: check the device, then run the same command again.",
    )


def _bad(code: str, message: str, remedy: str) -> BadInputError:
    return BadInputError(code, message, remedy=remedy)
