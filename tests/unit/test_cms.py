"""SignedData there and back: with its content and without, under each scheme."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256, sha512

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import algorithms, cms, der
from minutier.errors import IntegrityFailureError
from tests.support.pki import default_pki
from tests.support.said import well_said

PKI = default_pki()
CONTENT = b"what is signed"
TYPE = "2.999.7"


def stronger(tbs: bytes) -> bytes:
    return PKI.seal_key.sign(tbs, ec.ECDSA(hashes.SHA512()))


def built(*, detached: bool, scheme: algorithms.Scheme = algorithms.CLASSICAL) -> bytes:
    sign = stronger if scheme is algorithms.STRONGER else PKI.signer.sign
    return cms.build(TYPE, CONTENT, [PKI.seal], sign, detached=detached, scheme=scheme)


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize(
    ("scheme", "name", "hashed"), [(algorithms.CLASSICAL, "sha256", sha256), (algorithms.STRONGER, "sha512", sha512)]
)
def test_there_and_back(detached, scheme, name, hashed):
    signed = cms.parse(built(detached=detached, scheme=scheme), "T")
    assert (signed.content_type, signed.content) == (TYPE, None if detached else CONTENT)
    assert (signed.certificates, signed.signer, signed.digest_name) == ((PKI.seal,), PKI.seal, name)
    cms.check_content_type(signed, TYPE, "T")
    assert cms.check_signature(signed, hashed(CONTENT).digest(), "T") == scheme.signature
    cms.check_signing_certificate(signed, "T")
    # ESSCertIDv2 leaves out SHA-256, its default, and names any other hash (RFC 5035 §4).
    value = cms.single_attribute(signed, cms.SIGNING_CERTIFICATE_V2)
    assert value is not None
    fields = [item.encoded for item in value.children()[0].children()[0].children()]
    digest = der.octets(hashed(PKI.seal.public_bytes(Encoding.DER)).digest())
    assert fields[:-1] == ([digest] if name == "sha256" else [algorithms.hash_identifier("sha512"), digest])


def test_another_content_or_type_is_refused():
    signed = cms.parse(built(detached=True), "T")
    for call, code in (
        (lambda: cms.check_signature(signed, sha256(b"other").digest(), "T"), "T_DIGEST"),
        (lambda: cms.check_content_type(signed, cms.DATA, "T"), "T_CONTENT_TYPE"),
        (lambda: cms.parse(b"x", "T"), "T_DER"),
    ):
        with pytest.raises(IntegrityFailureError) as caught:
            call()
        assert well_said(caught.value) == code


def test_odd_parameters_of_the_signature_algorithm_are_refused():
    odd = der.sequence(der.oid(algorithms.ECDSA_SHA256), der.integer(1))
    signed = cms.parse(built(detached=True), "T")
    with pytest.raises(IntegrityFailureError) as caught:
        cms.check_signature(replace(signed, signature_algorithm=der.read(odd)), sha256(CONTENT).digest(), "T")
    assert (well_said(caught.value), caught.value.clause) == ("T_DER", "RFC 5652 §5.3")
