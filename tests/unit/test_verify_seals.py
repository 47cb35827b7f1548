"""The second seal inside a proof: optional until the verifier's policy asks for it, never bad without FAILED."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import proof
from minutier.certificates import encode_pem
from minutier.errors import BadInputError
from minutier.proof import assemble
from minutier.report import Verdict
from minutier.seal import second_seal
from minutier.trust import load_trust
from minutier.verify import verify
from tests.support.bundle import make_bundle, make_parts, repack, trust_of, unpack
from tests.support.pki import NOW, default_pki, make_crl, new_second_signer, write_trust
from tests.support.renewed import ocsp_answer

PKI, SIGNER = default_pki(), new_second_signer()
LATER = NOW + timedelta(days=1)
LIST = make_crl(SIGNER.root, SIGNER.root_key)
TRUST = dataclasses.replace(trust_of(PKI), second_roots=(SIGNER.root,), crls=(LIST,))
BLIND = trust_of(PKI)


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "proof.zip", second=SIGNER)


def judged(bundle, trust=TRUST):
    report = verify(bundle, trust, LATER)
    return report.verdict, {finding.code for finding in report.findings}


def altered(bundle, **changes):
    """Give the bundle with files replaced, or left out (None), under an index that fits."""
    files = {**unpack(bundle), **{getattr(proof, name): data for name, data in changes.items()}}
    return repack({path: data for path, data in files.items() if data is not None}, bundle.with_name("altered.zip"))


def test_both_seals_are_verified(bundle):
    report = verify(bundle, TRUST, LATER)
    assert (report.verdict, report.findings) == (Verdict.PASSED, ())
    assert report.facts["second_sealed_by"] == "CN=Second seal"
    assert report.facts["sealed_by"] == "CN=Test seal"


@pytest.mark.parametrize(("days", "codes"), [(2, {"SEAL_REVOKED"}), (-2, set())])
def test_an_answer_about_the_certificate_of_the_seal_counts(tmp_path, days, codes):
    answer = ocsp_answer(PKI, PKI.seal, NOW + timedelta(days=3), revoked=NOW - timedelta(days=days))
    assemble(dataclasses.replace(make_parts(), ocsps={"seal": answer}), tmp_path / "P.zip")
    assert judged(tmp_path / "P.zip", BLIND)[1] == codes


def test_without_a_root_for_it_the_second_seal_is_checked_and_its_signer_left_open(bundle):
    report = verify(bundle, BLIND, LATER)
    assert report.verdict is Verdict.PASSED
    assert "not judged" in report.facts["second_sealed_by"]


def test_the_policy_asks_for_it_from_a_year_on(bundle, tmp_path):
    single = make_bundle(tmp_path / "single.zip")
    for year, wanted in ((2026, {"SEAL2_MISSING"}), (2025, {"SEAL2_MISSING"}), (2027, set()), (None, set())):
        trust = dataclasses.replace(TRUST, second_seal_from=year)
        assert judged(single, trust)[1] == wanted
        assert judged(bundle, trust) == (Verdict.PASSED, set())
    assert judged(single, dataclasses.replace(TRUST, second_seal_from=2026))[0] is Verdict.FAILED


def test_asked_for_and_without_a_root_it_is_indeterminate(bundle):
    trust = dataclasses.replace(BLIND, second_seal_from=2026)
    assert judged(bundle, trust) == (Verdict.INDETERMINATE, {"NO_TRUST_ANCHOR"})


@pytest.mark.parametrize("trust", [TRUST, BLIND, dataclasses.replace(TRUST, second_seal_from=2027)])
def test_a_bad_one_always_fails(tmp_path, trust):
    for content in (b"{}", b""):
        parts = make_parts(second=SIGNER)
        bad = dataclasses.replace(parts, second_seal=second_seal(content, SIGNER, NOW) if content else b"none")
        assemble(bad, tmp_path / "bad.zip")
        verdict, codes = judged(tmp_path / "bad.zip", trust)
        assert verdict is Verdict.FAILED
        assert codes & {"SEAL2_DIGEST", "SEAL2_DER"}


def test_one_of_another_root_fails_where_the_root_is_known(tmp_path):
    rogue = new_second_signer("Rogue")
    bundle = make_bundle(tmp_path / "rogue.zip", second=rogue)
    assert judged(bundle) == (Verdict.FAILED, {"SEAL2_CHAIN", "ROOT_FOREIGN"})


def test_a_root_of_first_seals_does_not_judge_it(bundle):
    trust = dataclasses.replace(TRUST, second_roots=(PKI.root,))
    assert "SEAL2_CHAIN" in judged(bundle, trust)[1]


def test_a_revoked_one_fails_and_one_that_no_list_covers_is_indeterminate(bundle):
    gone = make_crl(SIGNER.root, SIGNER.root_key, [(SIGNER.chain[0], NOW, x509.ReasonFlags.key_compromise)])
    assert judged(bundle, dataclasses.replace(TRUST, crls=(gone,))) == (Verdict.FAILED, {"SEAL2_REVOKED"})
    assert judged(bundle, dataclasses.replace(TRUST, crls=())) == (Verdict.INDETERMINATE, {"REVOCATION_UNKNOWN"})


def test_its_list_may_come_with_the_proof(tmp_path):
    parts = make_parts(second=SIGNER)
    lists = {**parts.crls, "second": LIST.public_bytes(Encoding.DER)}
    assemble(dataclasses.replace(parts, crls=lists), tmp_path / "proof.zip")
    for trust in (dataclasses.replace(TRUST, crls=()), BLIND):
        assert judged(tmp_path / "proof.zip", trust) == (Verdict.PASSED, set())


def test_it_cannot_be_taken_out_of_a_proof(bundle):
    verdict, codes = judged(altered(bundle, SECOND_SEAL=None, SECOND_CHAIN=None))
    assert verdict is Verdict.FAILED
    assert any(code.startswith("EVIDENCE") for code in codes)


def test_it_cannot_be_put_into_a_proof_afterwards(tmp_path):
    single = make_bundle(tmp_path / "single.zip")
    files = unpack(single)
    made = second_seal(files[proof.MANIFEST], SIGNER, NOW)
    verdict, codes = judged(altered(single, SECOND_SEAL=made, SECOND_CHAIN=encode_pem([*SIGNER.chain, SIGNER.root])))
    assert verdict is Verdict.FAILED
    assert "EVIDENCE_FILE" in codes


@pytest.mark.parametrize("name", ["SECOND_SEAL", "SECOND_CHAIN"])
def test_it_comes_with_its_certificates(bundle, name):
    assert "FILE_MISSING" in judged(altered(bundle, **{name: None}))[1]


def test_the_certificates_beside_it_are_its_own(bundle):
    other = new_second_signer("Other")
    for chain, code in (
        ([*other.chain, SIGNER.root], "CERTIFICATE_MISMATCH"),
        ([SIGNER.root], "CERTIFICATE_MISMATCH"),
        ([*SIGNER.chain, other.root], "ROOT_FOREIGN"),
        ([*SIGNER.chain, *other.chain, SIGNER.root], "CERTIFICATE_MISMATCH"),
    ):
        verdict, codes = judged(altered(bundle, SECOND_CHAIN=encode_pem(chain)))
        assert verdict is Verdict.FAILED
        assert code in codes
    assert judged(altered(bundle, SECOND_CHAIN=b"none"))[1] == {"CERTIFICATE_FORMAT"}


def test_without_a_root_the_certificates_beside_it_lead_to_the_root_that_comes_along(bundle):
    other = new_second_signer("Second")  # the same names, other keys
    for chain in ([*SIGNER.chain, other.root], [*SIGNER.chain, SIGNER.chain[0]], [*SIGNER.chain, PKI.root]):
        assert judged(altered(bundle, SECOND_CHAIN=encode_pem(chain)), BLIND)[0] is Verdict.FAILED


def test_a_trust_directory_tells_its_roots_apart_and_holds_the_policy(tmp_path):
    folder = write_trust(tmp_path / "trust", PKI)
    (folder / "second.pem").write_bytes(encode_pem([SIGNER.root]))
    trust = load_trust(folder)
    assert (trust.roots, trust.second_roots, trust.second_seal_from) == ((PKI.root,), (SIGNER.root,), None)
    (folder / "policy.toml").write_text("second_seal_required_from = 2030\n")
    assert load_trust(folder).second_seal_from == 2030
    for text in ("", "second_seal_required_from = true", "second_seal_required_from = '2030'", "other = 1", "x",
                 "second_seal_required_from = 30", "second_seal_required_from = 2030\nother = 1", "\xff"):  # fmt: skip
        (folder / "policy.toml").write_bytes(text.encode("latin-1"))
        with pytest.raises(BadInputError) as caught:
            load_trust(folder)
        assert caught.value.code == "TRUST_UNREADABLE"
