"""Another time-stamp authority for a rig, under the root of its home: with another end, or without any SHA-256."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minutier import algorithms, der
from minutier.certificates import load_pem
from tests.support.pki import TIME_STAMPING, Pki, ess_value, issue, make_info, make_response, make_token, new_key
from tests.support.rig import Rig

_SERIALS = iter(range(10**6, 10**9))
SHA512, ECDSA_SHA512 = "2.16.840.1.101.3.4.2.3", "1.2.840.10045.4.3.4"


def change_authority(rig: Rig, *, end: datetime, strong: bool = False, start: datetime | None = None) -> Rig:
    """Give the rig with an authority whose certificate lasts until `end`; a strong one rests on SHA-512 and SHA-3."""
    pki = rig.archive.settings.home / "pki"
    root = load_pem((pki / "root.pem").read_bytes())[0]
    root_key = serialization.load_pem_private_key((pki / "root.key").read_bytes(), None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    key = new_key()
    hashed = hashes.SHA512() if strong else hashes.SHA256()
    certificate = issue(
        f"TSA until {end:%Y}", key, issuer=(root, root_key), eku=TIME_STAMPING, hashed=hashed,
        start=start or rig.clock(), end=end,
    )  # fmt: skip
    answer = answering(certificate, key, rig.clock, _SERIALS, strong=strong)
    tsa = dataclasses.replace(rig.archive.tsa, urls=(f"http://tsa-{end:%Y}.test/",), answer=answer)
    return dataclasses.replace(rig, archive=dataclasses.replace(rig.archive, tsa=tsa))


def answering(
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    clock: Callable[[], datetime],
    serials: Iterator[int],
    *,
    strong: bool,
) -> Callable[[bytes], bytes]:
    """Answer RFC 3161 requests."""

    def answer(request: bytes) -> bytes:
        fields = der.read(request).reader()
        fields.next()
        imprint = fields.next(der.SEQUENCE).reader()
        algorithm, digest = imprint.next().encoded, imprint.next().as_octets()
        fields.optional(der.OID)
        nonce = fields.next(der.INTEGER).as_integer()
        info = make_info(
            digest, nonce=nonce, serial=next(serials), gen_time=clock(), imprint_algorithm=algorithm
        )  # fmt: skip
        pki = Pki(key, certificate, key, certificate, key, certificate, None, None)  # type: ignore[arg-type] # only the authority is used
        if not strong:
            return make_response(make_token(pki, info))
        token = make_token(
            pki, info, digest_algorithm=SHA512, hashed=hashes.SHA512(),
            signature_algorithm=algorithms.identifier(ECDSA_SHA512), ess=ess_value(certificate, algorithm="sha512"),
        )  # fmt: skip
        return make_response(token)

    return answer
