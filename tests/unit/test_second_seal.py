"""The second seal, ML-DSA-65: a file of its own, judged under roots of its own, never a stand-in for the first."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from datetime import timedelta
from functools import cache
from pathlib import Path

import psycopg_binary
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import algorithms, cms, der
from minutier.errors import IntegrityFailureError
from minutier.seal import check_seal, check_second_seal, inspect_second_seal, seal, second_seal
from tests.support.pki import NOW, default_pki, issue, make_crl, new_second_signer
from tests.support.said import well_said

PKI, SIGNER = default_pki(), new_second_signer()
MANIFEST = '{"title":"façade"}\n'.encode()


@cache
def good() -> bytes:
    return second_seal(MANIFEST, SIGNER, NOW)


def refusal(signature, roots=(SIGNER.root,), at=NOW, crls=()) -> str:
    with pytest.raises(IntegrityFailureError) as caught:
        check_second_seal(MANIFEST, signature, roots, at, crls)
    return well_said(caught.value)


def test_a_good_second_seal_says_who_and_when():
    found = check_second_seal(MANIFEST, good(), [SIGNER.root], NOW, [make_crl(SIGNER.root, SIGNER.root_key)])
    assert (found.signer, found.signing_time, found.revocation_known) == (SIGNER.chain[0], NOW, True)
    assert not check_second_seal(MANIFEST, good(), [SIGNER.root], NOW).revocation_known


def test_it_is_written_as_rfc_9882_says():
    signed = cms.parse(good(), "SEAL2")
    assert (signed.digest_name, len(signed.signature), signed.content) == ("sha512", 3309, None)
    assert signed.signature_algorithm.encoded == der.sequence(der.oid("2.16.840.1.101.3.4.3.18"))


def with_parameters() -> bytes:
    plain, odd = algorithms.identifier(algorithms.ML_DSA_65), der.oid(algorithms.ML_DSA_65) + der.null()
    sealed = good()
    info = der.read(sealed).children()
    body = der.read(info[1].content).children()
    (signer,) = body[-1].children()
    fields = [item.encoded for item in signer.children()]
    assert fields[-2] == plain
    fields[-2] = der.sequence(odd)
    members = [item.encoded for item in body[:-1]]
    return der.sequence(info[0].encoded, der.context(0, der.sequence(*members, der.set_of(der.sequence(*fields)))))


def over_sha256() -> bytes:
    scheme = algorithms.Scheme("sha256", algorithms.ML_DSA_65)
    time = cms.attribute(cms.SIGNING_TIME, der.cms_time(NOW))
    return cms.build(
        cms.DATA, MANIFEST, SIGNER.chain, SIGNER.sign, detached=True, extra_attributes=[time], scheme=scheme
    )


def by_an_ec_key_named_ml_dsa() -> bytes:
    signer = dataclasses.replace(SIGNER, chain=PKI.signer.chain)
    return second_seal(MANIFEST, signer, NOW)


HOSTILE = {
    "other-content": ("SEAL2_DIGEST", lambda: second_seal(MANIFEST + b" ", SIGNER, NOW)),
    "nothing": ("SEAL2_DER", lambda: b""),
    "trailing-byte": ("SEAL2_DER", lambda: good() + b"\x00"),
    "too-large": ("SEAL2_DER", lambda: bytes(300_000)),
    "a-first-seal-in-its-place": ("SEAL2_ALGORITHM", lambda: seal(MANIFEST, PKI.signer, NOW)),
    "by-an-ec-key-named-ml-dsa": ("SEAL2_ALGORITHM", by_an_ec_key_named_ml_dsa),
    "algorithm-with-parameters": ("SEAL2_DER", with_parameters),
    "over-sha256": ("SEAL2_ALGORITHM", over_sha256),
    "signed-by-another-key": (
        "SEAL2_SIGNATURE",
        lambda: second_seal(MANIFEST, dataclasses.replace(SIGNER, key=SIGNER.root_key), NOW),
    ),
    "short-signature": (
        "SEAL2_SIGNATURE",
        lambda: cms.build(
            cms.DATA, MANIFEST, SIGNER.chain, lambda tbs: bytes(64), detached=True,
            extra_attributes=[cms.attribute(cms.SIGNING_TIME, der.cms_time(NOW))], scheme=algorithms.POST_QUANTUM,
        ),
    ),
    "under-another-root": ("SEAL2_CHAIN", lambda: second_seal(MANIFEST, new_second_signer("Rogue"), NOW)),
    "by-the-root": (
        "SEAL2_PURPOSE",
        lambda: second_seal(
            MANIFEST, dataclasses.replace(SIGNER, key=SIGNER.root_key, chain=(SIGNER.root,)), NOW
        ),
    ),
    "after-the-token": ("SEAL2_TIME", lambda: second_seal(MANIFEST, SIGNER, NOW + timedelta(minutes=6))),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_second_seal_is_refused(name):
    code, make = HOSTILE[name]
    assert refusal(make()) == code


def test_a_certificate_that_had_ended_is_refused():
    signer = new_second_signer(end=NOW - timedelta(days=1))
    assert refusal(second_seal(MANIFEST, signer, NOW), [signer.root]) == "SEAL2_CHAIN"


def test_revocation_before_the_token_refuses_and_after_it_does_not():
    reason = x509.ReasonFlags.key_compromise
    before, after = (
        make_crl(SIGNER.root, SIGNER.root_key, [(SIGNER.chain[0], NOW + timedelta(days=days), reason)])
        for days in (-1, 1)
    )
    assert refusal(good(), crls=[before]) == "SEAL2_REVOKED"
    assert check_second_seal(MANIFEST, good(), [SIGNER.root], NOW, [after]).revocation_known


def test_it_never_stands_in_the_place_of_the_first():
    with pytest.raises(IntegrityFailureError) as caught:
        check_seal(MANIFEST, good(), [SIGNER.root], NOW)
    assert caught.value.code == "SEAL_ALGORITHM"


def test_a_classical_leaf_under_the_second_root_is_no_second_seal():
    leaf = issue("EC under ML-DSA", PKI.seal_key, issuer=(SIGNER.root, SIGNER.root_key), non_repudiation=True)
    signer = dataclasses.replace(PKI.signer, chain=(leaf,))
    assert refusal(seal(MANIFEST, signer, NOW)) == "SEAL2_ALGORITHM"


@pytest.mark.parametrize("first", [0, 1, 2])
def test_any_altered_byte_is_noticed(first):
    sealed = good()
    for index in range(first, len(sealed), 7):
        spoiled = sealed[:index] + bytes((sealed[index] ^ 0x01,)) + sealed[index + 1 :]
        with pytest.raises(IntegrityFailureError):
            check_second_seal(MANIFEST, spoiled, [SIGNER.root], NOW)


def test_inspection_says_nothing_of_trust():
    assert inspect_second_seal(MANIFEST, second_seal(MANIFEST, new_second_signer("Rogue"), NOW)).signing_time == NOW


@pytest.fixture
def openssl_3_5(tmp_path) -> dict[str, str]:
    """The environment in which the system's openssl runs on the libcrypto that comes with psycopg, 3.5 or later."""
    folder = Path(psycopg_binary.__file__).parents[1] / "psycopg_binary.libs"
    for name in ("libcrypto", "libssl"):
        found = [*folder.glob(f"{name}-*.so.3")]
        if len(found) != 1:
            pytest.skip(f"psycopg brings no {name}")
        shutil.copy(found[0], tmp_path / f"{name}.so.3")
        shutil.copy(found[0], tmp_path / found[0].name)  # libssl names its libcrypto by that name
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    answer = subprocess.run(["openssl", "version"], env=environment, capture_output=True, text=True, check=False)
    if answer.returncode or "Library: OpenSSL 3.0" in answer.stdout:
        pytest.skip("no libcrypto 3.5 to run openssl on")
    return environment


def test_openssl_3_5_verifies_it_and_refuses_another_manifest(tmp_path, openssl_3_5):
    (tmp_path / "manifest.json").write_bytes(MANIFEST)
    (tmp_path / "seal").write_bytes(good())
    (tmp_path / "root.pem").write_bytes(SIGNER.root.public_bytes(Encoding.PEM))

    def verified() -> bool:
        command = [
            "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "seal", "-content", "manifest.json",
            "-CAfile", "root.pem", "-attime", str(int(NOW.timestamp())), "-out", "out",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, env=openssl_3_5, capture_output=True, text=True, check=False)
        return done.returncode == 0

    assert verified()
    (tmp_path / "manifest.json").write_bytes(MANIFEST + b" ")
    assert not verified()
