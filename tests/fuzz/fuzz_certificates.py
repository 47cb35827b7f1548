"""Certificates, revocation lists, OCSP answers, and the path between them."""

from __future__ import annotations

from contextlib import suppress

from minutier import revocation
from minutier.certificates import (
    load_certificate,
    load_crl,
    load_ocsp,
    load_pem,
    name_of,
    signed_by,
    validate_path,
)
from minutier.errors import IntegrityFailureError
from minutier.ocsp import is_signed_for
from minutier.verify_evidence import certificate_algorithms
from tests.fuzz.seeds import JUDGED_AT, anchors


def check(data: bytes) -> None:
    roots = anchors().roots
    with suppress(ValueError):
        crl = load_crl(data)
        signed_by(crl, roots[0])
        for root in roots:
            with suppress(IntegrityFailureError):
                validate_path(root, (), roots, JUDGED_AT, [crl], prefix="TOKEN", strict_reasons=True)
    with suppress(ValueError):
        answer = load_ocsp(data)
        assert answer.encoded == data
        for issuer in (*answer.certificates, *roots):
            is_signed_for(answer, issuer, lambda _responder, _at: True)
            with suppress(IntegrityFailureError):
                revocation.check(issuer, roots[0], JUDGED_AT, (), [answer], prefix="TOKEN", strict_reasons=True)
    certificates = []
    with suppress(ValueError):
        certificates = [load_certificate(data)]
    with suppress(ValueError):
        certificates = list(load_pem(data))
    for certificate in certificates:
        assert name_of(certificate).isprintable()
        certificate_algorithms(certificate)
        with suppress(IntegrityFailureError):
            validate_path(certificate, certificates, roots, JUDGED_AT, prefix="TOKEN")
        with suppress(IntegrityFailureError):
            validate_path(certificate, certificates, [certificate], JUDGED_AT, prefix="SEAL")
