"""The seal: CAdES-B that openssl verifies, and each kind of bad seal refused."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import timedelta

import pytest
from asn1crypto import cms as asn1_cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from minutier import cms, der
from minutier.errors import IntegrityFailureError
from minutier.seal import check_seal, check_sealing_chain, inspect_seal, seal
from tests.support.pki import NOW, FileSigner, default_pki, issue, make_crl, new_key, new_pki
from tests.support.said import well_said

PKI = default_pki()
MANIFEST = '{"title":"façade"}\n'.encode()


def refusal(content, signature, roots=(PKI.root,), at=NOW, crls=()) -> str:
    with pytest.raises(IntegrityFailureError) as caught:
        check_seal(content, signature, roots, at, crls)
    return well_said(caught.value)


def odd_signer(key=None, **options) -> FileSigner:
    key = key or new_key()
    return FileSigner(key, (issue("Odd seal", key, issuer=(PKI.root, PKI.root_key), **options),))


def test_a_good_seal_says_who_and_when():
    found = check_seal(MANIFEST, seal(MANIFEST, PKI.signer, NOW), [PKI.root], NOW, [PKI.crl])
    assert (found.signer, found.signing_time, found.revocation_known) == (PKI.seal, NOW, True)
    assert not check_seal(MANIFEST, seal(MANIFEST, PKI.signer, NOW), [PKI.root], NOW).revocation_known


@pytest.mark.parametrize(
    "eku", [None, [ExtendedKeyUsageOID.EMAIL_PROTECTION], [ObjectIdentifier("1.3.6.1.5.5.7.3.36")]]
)
def test_purposes_of_a_sealing_certificate(eku):
    check_seal(MANIFEST, seal(MANIFEST, odd_signer(eku=eku), NOW), [PKI.root], NOW)


def test_a_seal_outlives_its_certificate():
    # It is judged at the token's genTime, whatever the date today.
    signer = odd_signer(end=NOW + timedelta(hours=1))
    check_seal(MANIFEST, seal(MANIFEST, signer, NOW), [PKI.root], NOW + timedelta(minutes=1))


def test_signed_attributes_as_another_reader_sees_them():
    info = asn1_cms.ContentInfo.load(seal(MANIFEST, PKI.signer, NOW), strict=True)
    signer = info["content"]["signer_infos"][0]
    names = {attribute["type"].dotted for attribute in signer["signed_attrs"]}
    assert names == {cms.CONTENT_TYPE, cms.MESSAGE_DIGEST, cms.SIGNING_TIME, cms.SIGNING_CERTIFICATE_V2}
    assert info["content"]["encap_content_info"]["content"].native is None


HOSTILE = {
    "other-content": ("SEAL_DIGEST", lambda: seal(MANIFEST + b" ", PKI.signer, NOW)),
    "nothing": ("SEAL_DER", lambda: b""),
    "trailing-byte": ("SEAL_DER", lambda: seal(MANIFEST, PKI.signer, NOW) + b"\x00"),
    "too-large": ("SEAL_DER", lambda: bytes(300_000)),
    "not-detached": (
        "SEAL_DER",
        lambda: cms.build(cms.DATA, MANIFEST, PKI.signer.chain, PKI.signer.sign, detached=False),
    ),
    "no-signing-time": (
        "SEAL_DER",
        lambda: cms.build(cms.DATA, MANIFEST, PKI.signer.chain, PKI.signer.sign, detached=True),
    ),
    "another-content-type": (
        "SEAL_CONTENT_TYPE",
        lambda: cms.build("2.999.4", MANIFEST, PKI.signer.chain, PKI.signer.sign, detached=True),
    ),
    "signed-by-another-key": (
        "SEAL_SIGNATURE",
        lambda: seal(MANIFEST, FileSigner(new_key(), (PKI.seal,)), NOW),
    ),
    "signature-is-not-one": (
        "SEAL_SIGNATURE",
        lambda: cms.build(
            cms.DATA, MANIFEST, PKI.signer.chain, lambda tbs: hashlib.sha256(tbs).digest(), detached=True,
            extra_attributes=[cms.attribute(cms.SIGNING_TIME, der.cms_time(NOW))],
        ),
    ),
    "by-the-time-stamp-authority": (
        "SEAL_PURPOSE",
        lambda: seal(MANIFEST, FileSigner(PKI.tsa_key, (PKI.tsa,)), NOW),
    ),
    "by-the-root": ("SEAL_PURPOSE", lambda: seal(MANIFEST, FileSigner(PKI.root_key, (PKI.root,)), NOW)),
    "under-another-root": ("SEAL_CHAIN", lambda: seal(MANIFEST, new_pki("Rogue").signer, NOW)),
    "after-the-token": ("SEAL_TIME", lambda: seal(MANIFEST, PKI.signer, NOW + timedelta(minutes=6))),
    "certificate-ended": (
        "SEAL_CHAIN",
        lambda: seal(MANIFEST, odd_signer(end=NOW - timedelta(days=1)), NOW),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_seal_is_refused(name):
    code, make = HOSTILE[name]
    assert refusal(MANIFEST, make()) == code


def test_revocation_before_the_token_refuses_and_after_it_does_not():
    sealed = seal(MANIFEST, PKI.signer, NOW)
    reason = x509.ReasonFlags.key_compromise
    before = make_crl(PKI.root, PKI.root_key, [(PKI.seal, NOW - timedelta(days=1), reason)])
    after = make_crl(PKI.root, PKI.root_key, [(PKI.seal, NOW + timedelta(days=1), reason)])
    assert refusal(MANIFEST, sealed, crls=[before]) == "SEAL_REVOKED"
    assert check_seal(MANIFEST, sealed, [PKI.root], NOW, [after]).revocation_known


def test_any_altered_byte_of_a_seal_is_noticed_or_harmless():
    # Harmless: none. Every octet of a seal is structure, signed, or the signature itself.
    sealed = seal(MANIFEST, PKI.signer, NOW)
    for index in range(len(sealed)):
        spoiled = sealed[:index] + bytes((sealed[index] ^ 0x01,)) + sealed[index + 1 :]
        with pytest.raises(IntegrityFailureError):
            check_seal(MANIFEST, spoiled, [PKI.root], NOW)


def test_openssl_verifies_the_seal(tmp_path):
    (tmp_path / "manifest.json").write_bytes(MANIFEST)
    (tmp_path / "manifest.json.p7s").write_bytes(seal(MANIFEST, PKI.signer, NOW))
    (tmp_path / "root.pem").write_bytes(PKI.root.public_bytes(Encoding.PEM))

    def verified(*more: str) -> bool:
        command = [
            "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "manifest.json.p7s", "-content",
            "manifest.json", "-CAfile", "root.pem", "-attime", str(int(NOW.timestamp())), "-out", "out", *more,
        ]  # fmt: skip
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0

    assert verified()
    assert verified("-cades")
    (tmp_path / "manifest.json").write_bytes(MANIFEST + b" ")
    assert not verified()


def test_inspection_says_nothing_of_trust():
    assert inspect_seal(MANIFEST, seal(MANIFEST, new_pki("Rogue").signer, NOW)).signing_time == NOW


def chain_refusal(chain, roots=(PKI.root,), at=NOW, crls=(), **options) -> str:
    with pytest.raises(IntegrityFailureError) as caught:
        check_sealing_chain(chain, roots, at, crls, **options)
    return well_said(caught.value)


def test_a_chain_is_judged_before_its_key_is_used():
    middle_key, key = new_key(), new_key()
    middle = issue("Middle", middle_key, issuer=(PKI.root, PKI.root_key), ca=True)
    leaf = issue("Seal below", key, issuer=(middle, middle_key), non_repudiation=True)
    check_sealing_chain([leaf, middle], [PKI.root], NOW)
    check_sealing_chain([PKI.seal], [PKI.root], NOW, [PKI.crl])
    assert chain_refusal([leaf]) == "SEAL_CHAIN"
    assert chain_refusal([leaf, middle], [new_pki("Rogue").root]) == "SEAL_CHAIN"
    assert chain_refusal([leaf, middle], at=NOW + timedelta(days=400)) == "SEAL_CHAIN"
    assert chain_refusal([PKI.tsa]) == "SEAL_PURPOSE"
    assert chain_refusal([PKI.tsa], prefix="SEAL2") == "SEAL2_PURPOSE"
    assert chain_refusal([leaf], prefix="SEAL2") == "SEAL2_CHAIN"
    revoked = make_crl(PKI.root, PKI.root_key, [(PKI.seal, NOW - timedelta(days=1), None)])
    assert chain_refusal([PKI.seal], crls=[revoked]) == "SEAL_REVOKED"


def test_a_key_that_may_not_sign_seals_nothing():
    assert refusal(MANIFEST, seal(MANIFEST, odd_signer(signs=False), NOW)) == "SEAL_PURPOSE"
    check_seal(MANIFEST, seal(MANIFEST, odd_signer(signs=False, non_repudiation=True), NOW), [PKI.root], NOW)
    check_seal(MANIFEST, seal(MANIFEST, odd_signer(), NOW), [PKI.root], NOW)


def test_an_authority_seals_nothing():
    assert refusal(MANIFEST, seal(MANIFEST, odd_signer(ca=True, non_repudiation=True), NOW)) == "SEAL_PURPOSE"


def test_clocks_may_differ_by_five_minutes():
    last = NOW + timedelta(minutes=5)
    assert check_seal(MANIFEST, seal(MANIFEST, PKI.signer, last), [PKI.root], NOW).signing_time == last
    assert refusal(MANIFEST, seal(MANIFEST, PKI.signer, last + timedelta(seconds=1))) == "SEAL_TIME"


def test_a_seal_that_is_only_read_is_refused_by_the_same_codes():
    with pytest.raises(IntegrityFailureError) as caught:
        inspect_seal(b"another", seal(MANIFEST, PKI.signer, NOW))
    assert well_said(caught.value) == "SEAL_DIGEST"
