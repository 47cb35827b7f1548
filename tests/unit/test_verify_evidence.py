"""Steps 5 and 6 to the letter: what each finding says, what a token rests on, what is taken from beside it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519

from minutier import algorithms, evidence, proof
from minutier.algorithm_dates import AlgorithmDates, published_dates
from minutier.report import Finding, Verdict
from minutier.timestamp import check_token, inspect_token
from minutier.verify import verify
from minutier.verify_evidence import certificate_algorithms, rests_on, token_algorithms
from tests.support.bundle import ARCHIVE_ID, make_bundle, make_parts, repack, trust_of, unpack
from tests.support.ocsp_answers import answer, single
from tests.support.pki import (
    NOW,
    TIME_STAMPING,
    default_pki,
    issue,
    make_crl,
    make_info,
    make_token,
    new_key,
    rsa_key,
)
from tests.support.renewed import DAY, Renewal, long_pki, next_tsa, renewed_files

PKI = default_pki()
LATER = NOW + timedelta(days=1)
DIGEST = hashlib.sha256(b"root").digest()


def judged(place, at: datetime = LATER, pki=PKI, **trust):
    return verify(place, replace(trust_of(pki), **trust), at)


def test_a_file_that_the_record_is_not_about_is_named(tmp_path):
    files = unpack(make_bundle(tmp_path / "P.zip"))
    files["document/original.pdf"] += b"x"
    report = judged(repack(files, tmp_path / "Q.zip"))
    message = "The evidence record is not about this document/original.pdf."
    assert Finding("EVIDENCE_FILE", "document/original.pdf", message, "RFC 4998 §4.3") in report.findings
    assert [item.where for item in report.findings if item.code == "EVIDENCE_FILE"] == ["document/original.pdf"]


def test_the_first_chain_is_of_sha256(tmp_path):
    parts = make_parts()
    objects = [parts.original, parts.rendition, parts.manifest, parts.seal]
    members = [hashlib.sha3_512(data).digest() for data in objects if isinstance(data, bytes)]
    root, (path,) = evidence.build_batch([members], "sha3_512")
    token = make_token(PKI, make_info(root, imprint_algorithm=algorithms.hash_identifier("sha3_512")))
    record = evidence.encode_record(evidence.initial_record(path, token, "sha3_512"))
    proof.assemble(replace(parts, record=record), tmp_path / "P.zip")
    message = "The first chain of a document is of sha256."
    assert judged(tmp_path / "P.zip").findings == (
        Finding("EVIDENCE_FORMAT", proof.RECORD, message, "docs/format/proof-v2.md"),
    )


def renewed_once(tmp_path, **options):
    pki, moment = long_pki(NOW), NOW + 200 * DAY
    renewal = Renewal("time", moment, *next_tsa(pki, moment), **options)
    return pki, renewal, renewed_files(tmp_path, pki, NOW, [renewal], ARCHIVE_ID)


def test_one_renewal_is_among_the_facts_and_data_after_it_settles_it(tmp_path):
    pki, renewal, files = renewed_once(tmp_path)
    at = renewal.moment + 2 * DAY
    report = judged(repack(files, tmp_path / "P.zip"), at, pki)
    assert report.verdict is Verdict.PASSED
    assert report.facts["renewed_at"] == f"{renewal.moment:%Y-%m-%dT%H:%M:%SZ}"
    assert report.facts["time_stamp_certificate_until"] == f"{renewal.tsa.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert report.facts["revocation"] == "not settled by data made after the last token"
    after = make_crl(pki.root, pki.root_key, start=renewal.moment + DAY, end=renewal.moment + 9 * DAY)
    report = judged(tmp_path / "P.zip", at, pki, crls=(after,))
    assert report.facts["revocation"] == "settled by data made after the last token"


def test_a_certificate_that_a_token_leaves_out_is_taken_from_beside_it(tmp_path):
    pki, renewal, files = renewed_once(tmp_path, bare=True)
    at = renewal.moment + DAY
    assert judged(repack(files, tmp_path / "P.zip"), at, pki).findings == ()
    first = unpack(make_bundle(tmp_path / "F.zip", pki, moment=NOW))
    bare = make_token(pki, make_info(DIGEST, gen_time=NOW), embedded=[])
    broken = {**first, proof.RECORD: b"\x30\x00", proof.TOKEN: bare}
    codes = {finding.code for finding in judged(repack(broken, tmp_path / "B.zip"), at, pki).findings}
    assert "EVIDENCE_FORMAT" in codes
    assert "TOKEN_SIGNER" not in codes


def test_an_ocsp_answer_covers_a_token_that_no_list_covers(tmp_path):
    parts = make_parts()
    answers = {name: answer([single(item, PKI.root)], PKI.root, PKI.root_key) for name, item in
               (("tsa", PKI.tsa), ("seal", PKI.seal))}  # fmt: skip
    proof.assemble(replace(parts, crls={}, ocsps=answers), tmp_path / "P.zip")
    assert judged(tmp_path / "P.zip").findings == ()
    proof.assemble(replace(parts, crls={}, ocsps={"seal": answers["seal"]}), tmp_path / "Q.zip")
    assert [(item.code, item.where) for item in judged(tmp_path / "Q.zip").findings] == [
        ("REVOCATION_UNKNOWN", proof.TOKEN)
    ]


def test_every_algorithm_that_ended_is_named(tmp_path):
    dates = published_dates()
    ended = AlgorithmDates("ours", {**dates.ends, "ecdsa": LATER - timedelta(hours=1), "sha256": LATER})
    findings = judged(make_bundle(tmp_path / "P.zip"), dates=ended).findings
    message = "ecdsa, sha256 no longer counted at 2026-11-24, and nothing later stands in."
    clause = "ETSI EN 319 102-1 §5.2.8, ETSI TS 119 312"
    assert Finding("ALGORITHM_ENDED", proof.TOKEN, message, clause, Verdict.INDETERMINATE) in findings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ecdsa", {"sha256", "ecdsa"}),
        ("rsa", {"sha256", "ecdsa", "rsa-pkcs1"}),
        ("old-rsa", {"sha256", "ecdsa", "rsa-pkcs1", "rsa-2048"}),
        ("ed25519", {"sha256", "ecdsa", "ed25519"}),
        ("hash-of-the-certificate", {"sha256", "sha512", "ecdsa"}),
    ],
)
def test_what_a_token_rests_on(name, expected):
    keys = {"rsa": rsa_key(), "old-rsa": rsa_key(2048), "ed25519": ed25519.Ed25519PrivateKey.generate()}
    key = keys.get(name) or new_key()
    hashed = hashes.SHA512() if name == "hash-of-the-certificate" else None
    certificate = issue("TSA", key, issuer=(PKI.root, PKI.root_key), eku=TIME_STAMPING, hashed=hashed)
    token = inspect_token(make_token(PKI, make_info(DIGEST), certificate=certificate, key=key))
    assert token_algorithms(token) == expected
    stamp = evidence.initial_record([[DIGEST, DIGEST]], b"", "sha3_512").first
    assert rests_on(stamp, token) == {"sha3_512", *expected}


def test_a_judged_token_rests_on_the_path_to_its_root_but_not_on_the_signature_of_the_root():
    middle_key, key = rsa_key(2048), new_key()
    root_key = new_key()
    root = issue("Root", root_key, ca=True, hashed=hashes.SHA384())
    middle = issue("Middle", middle_key, issuer=(root, root_key), ca=True, hashed=hashes.SHA512())
    certificate = issue("TSA", key, issuer=(middle, middle_key), eku=TIME_STAMPING)
    token = make_token(
        PKI, make_info(DIGEST, gen_time=NOW), certificate=certificate, key=key, embedded=[certificate, middle, root]
    )
    whole = inspect_token(token)
    assert token_algorithms(whole) == {"sha256", "sha512", "ecdsa", "rsa-pkcs1", "rsa-2048"}
    strong = issue("Middle", rsa_key(), issuer=(root, root_key), ca=True, hashed=hashes.SHA512())
    above = issue("TSA", key, issuer=(strong, rsa_key()), eku=TIME_STAMPING)
    token = make_token(PKI, make_info(DIGEST), certificate=above, key=key, embedded=[above])
    judged_token = check_token(token, DIGEST, [root], intermediates=[strong])
    assert token_algorithms(inspect_token(token)) == {"sha256", "ecdsa", "rsa-pkcs1"}
    assert token_algorithms(judged_token) == {"sha256", "sha512", "ecdsa", "rsa-pkcs1"}


def test_the_names_of_a_signature_on_a_certificate():
    assert certificate_algorithms(PKI.tsa) == {"sha256", "ecdsa"}
    key = ed25519.Ed25519PrivateKey.generate()
    assert certificate_algorithms(issue("Root", key, ca=True)) == {"ed25519"}
    assert certificate_algorithms(issue("Root", rsa_key(), ca=True, hashed=hashes.SHA384())) == {"sha384", "rsa-pkcs1"}
