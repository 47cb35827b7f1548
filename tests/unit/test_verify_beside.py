"""Step 9 to the letter: certificates, lists, answers, statement and texts that come beside what was signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from minutier import proof
from minutier.certificates import WRONG_ROOT, encode_pem
from minutier.report import Verdict
from minutier.seal import seal, second_seal
from minutier.trust import Trust
from tests.support.bundle import unpack
from tests.support.findings import failed, judged, said, unreadable
from tests.support.full_bundle import FULL_JUDGED_AT, full_trust, make_full_bundle, second_signer, statement_of
from tests.support.ocsp_answers import answer, revoked, single
from tests.support.pki import (
    END,
    NOW,
    FileSigner,
    SecondSigner,
    default_pki,
    issue,
    make_crl,
    new_key,
    new_pki,
    new_second_signer,
)

PKI, SECOND = default_pki(), second_signer()
OTHER, STRANGER = new_pki("Other"), new_second_signer("Stranger")
TRUST = full_trust()
NO_CERTIFICATE = "there is no certificate in it, or one is cut"
NOT_ONCE = "a certificate comes twice, or the PEM is not in its only form"
CODES = ("CERTIFICATE_FORMAT", "CERTIFICATE_MISMATCH", "ROOT_FOREIGN", "CRL_SIGNATURE", "OCSP_SIGNATURE")


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    return unpack(make_full_bundle(tmp_path_factory.mktemp("full") / "P.zip"))


@pytest.fixture
def files(genuine):
    return dict(genuine)


# --- the certificates of the seal and of the tokens

MIDDLE_KEY = new_key()
MIDDLE = issue("Middle", MIDDLE_KEY, issuer=(PKI.root, PKI.root_key), ca=True)
LOW_KEY = new_key()
LOW = issue("Low seal", LOW_KEY, issuer=(MIDDLE, MIDDLE_KEY), non_repudiation=True)


def sealed_by(files, *embedded: x509.Certificate):
    """Give the files with a seal by the certificate under the middle one, that embeds these certificates."""
    return {**files, proof.SEAL: seal(files[proof.MANIFEST], FileSigner(LOW_KEY, embedded), NOW)}


def mismatch(path: str):
    return failed("CERTIFICATE_MISMATCH", path, f"{path} is not the certificates of the signature.")


@pytest.mark.parametrize(
    ("embedded", "beside", "fits"),
    [
        ([LOW], [LOW], True),
        ([LOW, MIDDLE], [LOW, MIDDLE], True),
        ([LOW], [LOW, MIDDLE], True),  # who issued the signer, left out of the signature
        ([LOW], [LOW, MIDDLE, PKI.root], True),
        ([LOW, MIDDLE], [LOW], False),
        ([LOW, MIDDLE], [MIDDLE, LOW], False),
        ([LOW], [MIDDLE], False),
        ([LOW], [LOW, OTHER.seal], False),
        ([LOW], [LOW, OTHER.root], False),  # a root issued itself, but nothing here
    ],
)
def test_beside_a_seal_are_its_certificates_and_their_issuers(files, tmp_path, embedded, beside, fits):
    changed = {**sealed_by(files, *embedded), proof.SEAL_CHAIN: encode_pem(beside)}
    assert said(judged(changed, tmp_path), *CODES) == ([] if fits else [mismatch(proof.SEAL_CHAIN)])


def test_beside_the_tokens_are_their_certificates(files, tmp_path):
    for beside in ([PKI.seal], [PKI.tsa, PKI.seal], [PKI.root, PKI.tsa]):
        report = judged({**files, proof.TOKEN_CHAIN: encode_pem(beside)}, tmp_path)
        assert report.findings == (mismatch(proof.TOKEN_CHAIN),)


def test_beside_a_token_whose_record_is_not_readable_are_its_certificates_too(files, tmp_path):
    files[proof.RECORD] = b"x"
    assert said(judged(files, tmp_path), *CODES) == []
    files[proof.TOKEN_CHAIN] = encode_pem([PKI.seal])
    assert said(judged(files, tmp_path), *CODES) == [mismatch(proof.TOKEN_CHAIN)]


def test_beside_a_signature_that_is_not_readable_certificates_are_only_read(files, tmp_path):
    files |= {proof.SEAL: b"x", proof.RECORD: b"x", proof.TOKEN: b"x"}
    files |= dict.fromkeys((proof.SEAL_CHAIN, proof.TOKEN_CHAIN), encode_pem([OTHER.root]))
    assert said(judged(files, tmp_path), *CODES) == []
    files |= dict.fromkeys((proof.SEAL_CHAIN, proof.TOKEN_CHAIN), b"x")
    assert said(judged(files, tmp_path), *CODES) == [
        unreadable("CERTIFICATE_FORMAT", path, NO_CERTIFICATE) for path in (proof.SEAL_CHAIN, proof.TOKEN_CHAIN)
    ]


CHAINS = (proof.SEAL_CHAIN, proof.TOKEN_CHAIN, proof.ROOTS, proof.SECOND_CHAIN)


@pytest.mark.parametrize("path", CHAINS)
def test_a_file_of_certificates_has_one_form(files, tmp_path, path):
    for data, why in (
        (b"x", NO_CERTIFICATE),
        (files[path] * 2, NOT_ONCE),
        (b"text\n" + files[path], NOT_ONCE),
        (files[path] + b"\n", NOT_ONCE),
    ):
        report = judged({**files, path: data}, tmp_path)
        expected = unreadable("CERTIFICATE_FORMAT", path, why)
        assert said(report, "CERTIFICATE_FORMAT", "CERTIFICATE_MISMATCH", "ROOT_FOREIGN") == [expected]


# --- the roots


def test_a_root_beside_that_is_not_one_of_the_verifier(files, tmp_path):
    message = "The root that comes with the proof is not one of yours. " + WRONG_ROOT
    expected = failed("ROOT_FOREIGN", proof.ROOTS, message)
    files[proof.ROOTS] = encode_pem([PKI.root, OTHER.root])
    assert judged(files, tmp_path).findings == (expected,)
    for named in ("roots", "stamp_only", "seal_only"):
        assert judged(files, tmp_path, trust=replace(TRUST, **{named: (PKI.root, OTHER.root)})).findings == ()
    assert said(judged(files, tmp_path, trust=replace(TRUST, roots=())), "ROOT_FOREIGN") == []


# --- the second seal

PAIR = "The second seal and its certificates come together."
NOT_ITS_OWN = failed("CERTIFICATE_MISMATCH", proof.SECOND_CHAIN, "These are not the certificates of the second seal.")
NO_WAY_UP = failed("CERTIFICATE_MISMATCH", proof.SECOND_CHAIN, "They do not lead to the root that comes with them.")
FOREIGN = failed(
    "ROOT_FOREIGN",
    proof.SECOND_CHAIN,
    "The root of the second seal that comes with the proof is not one of yours. " + WRONG_ROOT,
)
SAME_NAMES = new_second_signer("Second")
SECOND_MIDDLE_KEY, SECOND_LOW_KEY = mldsa.MLDSA65PrivateKey.generate(), mldsa.MLDSA65PrivateKey.generate()
SECOND_MIDDLE = issue("Second middle", SECOND_MIDDLE_KEY, issuer=(SECOND.root, SECOND.root_key), ca=True)
SECOND_LOW = issue("Second low", SECOND_LOW_KEY, issuer=(SECOND_MIDDLE, SECOND_MIDDLE_KEY), non_repudiation=True)
(LEAF,) = SECOND.chain


@pytest.mark.parametrize(
    ("absent", "left"), [(proof.SECOND_SEAL, proof.SECOND_CHAIN), (proof.SECOND_CHAIN, proof.SECOND_SEAL)]
)
def test_a_second_seal_and_its_certificates_come_together(files, tmp_path, absent, left):
    report = judged({**files, absent: None}, tmp_path)
    assert said(report, "FILE_MISSING", *CODES[:3]) == [failed("FILE_MISSING", left, PAIR)]


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ([SECOND.root], [NOT_ITS_OWN]),
        ([*STRANGER.chain, STRANGER.root], [NOT_ITS_OWN, FOREIGN]),
        ([*STRANGER.chain, SECOND.root], [NOT_ITS_OWN, NO_WAY_UP]),
        ([LEAF, STRANGER.root], [NO_WAY_UP, FOREIGN]),
        ([LEAF, SAME_NAMES.root], [NO_WAY_UP, FOREIGN]),
        ([LEAF, SECOND_MIDDLE, SECOND.root], [NOT_ITS_OWN]),
        ([SECOND.root, LEAF], [NOT_ITS_OWN, NO_WAY_UP, FOREIGN]),
        ([LEAF], [NOT_ITS_OWN, NO_WAY_UP, FOREIGN]),
    ],
)
def test_beside_a_second_seal_are_its_certificates_and_their_root(files, tmp_path, beside, expected):
    files[proof.SECOND_CHAIN] = encode_pem(beside)
    assert said(judged(files, tmp_path), *CODES[:3]) == expected
    without = [finding for finding in expected if finding.code != "ROOT_FOREIGN"]
    assert said(judged(files, tmp_path, trust=replace(TRUST, second_roots=())), *CODES[:3]) == without


@pytest.mark.parametrize(
    ("embedded", "beside", "expected"),
    [
        ([SECOND_LOW, SECOND_MIDDLE], [SECOND_LOW, SECOND_MIDDLE, SECOND.root], []),
        ([SECOND_LOW, SECOND_MIDDLE, SECOND.root], [SECOND_LOW, SECOND_MIDDLE, SECOND.root], []),
        ([SECOND_LOW, SECOND_MIDDLE], [SECOND_MIDDLE, SECOND_LOW, SECOND.root], [NOT_ITS_OWN, NO_WAY_UP]),
        ([SECOND_LOW, SECOND_MIDDLE], [SECOND_LOW, SECOND.root], [NOT_ITS_OWN, NO_WAY_UP]),
        ([SECOND_LOW], [SECOND_LOW, SECOND.root], [NO_WAY_UP]),
    ],
)
def test_a_second_seal_may_stand_under_an_authority_of_its_root(files, tmp_path, embedded, beside, expected):
    signer = SecondSigner(SECOND_LOW_KEY, tuple(embedded), SECOND.root_key, SECOND.root)
    files[proof.SECOND_SEAL] = second_seal(files[proof.MANIFEST], signer, NOW)
    files[proof.SECOND_CHAIN] = encode_pem(beside)
    assert said(judged(files, tmp_path), *CODES[:3]) == expected


def test_beside_a_second_seal_that_is_not_readable_certificates_lead_to_their_root(files, tmp_path):
    files[proof.SECOND_SEAL] = b"x"
    assert said(judged(files, tmp_path), *CODES) == []
    files[proof.SECOND_CHAIN] = encode_pem([*STRANGER.chain, SECOND.root])
    assert said(judged(files, tmp_path), *CODES) == [NO_WAY_UP]


# --- revocation lists and OCSP answers

RESPONDER_KEY = new_key()
RESPONDER = issue("Responder", RESPONDER_KEY, issuer=(PKI.root, PKI.root_key), eku=[ExtendedKeyUsageOID.OCSP_SIGNING])
LIST, ANSWER = "revocation/x.crl", "revocation/x.ocsp"
UNSIGNED_LIST = failed("CRL_SIGNATURE", LIST, f"{LIST} is not signed by an issuer of this proof.", "RFC 5280 §6.3.3")
UNSIGNED_ANSWER = failed(
    "OCSP_SIGNATURE",
    ANSWER,
    f"{ANSWER} is not signed by an issuer of this proof, nor by a responder that it appointed.",
    "RFC 6960 §4.2.2.2",
)


def der_of(crl: x509.CertificateRevocationList) -> bytes:
    return crl.public_bytes(Encoding.DER)


def test_a_list_of_an_issuer_that_nothing_names(files, tmp_path):
    files[LIST] = der_of(OTHER.crl)
    assert judged(files, tmp_path).findings == (UNSIGNED_LIST,)
    files[LIST] = der_of(new_pki("Test").crl)  # the right name
    assert judged(files, tmp_path).findings == (UNSIGNED_LIST,)


def test_a_list_of_a_root_of_the_verifier(files, tmp_path):
    files[LIST] = der_of(OTHER.crl)
    for named in ("roots", "stamp_only", "seal_only"):
        roots = (*getattr(TRUST, named), OTHER.root)
        assert judged(files, tmp_path, trust=replace(TRUST, **{named: roots})).findings == ()
    files[LIST] = der_of(make_crl(STRANGER.root, STRANGER.root_key))
    assert judged(files, tmp_path).findings == (UNSIGNED_LIST,)
    assert judged(files, tmp_path, trust=replace(TRUST, second_roots=(SECOND.root, STRANGER.root))).findings == ()


def test_lists_and_answers_of_the_roots_that_come_along(files, tmp_path):
    assert said(judged(files, tmp_path, trust=Trust(journal_keys=TRUST.journal_keys)), *CODES) == []


def test_a_list_of_an_authority_in_a_signature_or_beside_it(files, tmp_path):
    listed = {LIST: der_of(make_crl(MIDDLE, MIDDLE_KEY))}
    assert said(judged({**sealed_by(files, LOW), **listed}, tmp_path), "CRL_SIGNATURE") == [UNSIGNED_LIST]
    assert said(judged({**sealed_by(files, LOW, MIDDLE), **listed}, tmp_path), "CRL_SIGNATURE") == []
    beside = {proof.SEAL_CHAIN: encode_pem([LOW, MIDDLE])}
    assert said(judged({**sealed_by(files, LOW), **listed, **beside}, tmp_path), "CRL_SIGNATURE") == []
    signer = SecondSigner(SECOND_LOW_KEY, (SECOND_LOW, SECOND_MIDDLE), SECOND.root_key, SECOND.root)
    files[proof.SECOND_SEAL] = second_seal(files[proof.MANIFEST], signer, NOW)
    files[proof.SECOND_CHAIN] = encode_pem([SECOND_LOW, SECOND_MIDDLE, SECOND.root])
    files[LIST] = der_of(make_crl(SECOND_MIDDLE, SECOND_MIDDLE_KEY))
    assert said(judged(files, tmp_path), "CRL_SIGNATURE") == []


def test_an_answer_is_of_an_issuer_or_of_a_responder_that_it_appointed(files, tmp_path):
    files[ANSWER] = answer([single(PKI.tsa, PKI.root)], RESPONDER, RESPONDER_KEY, embedded=[RESPONDER])
    assert judged(files, tmp_path).findings == ()
    files[ANSWER] = answer([single(OTHER.tsa, OTHER.root)], OTHER.root, OTHER.root_key)
    assert judged(files, tmp_path).findings == (UNSIGNED_ANSWER,)


@pytest.mark.parametrize(("path", "code"), [(LIST, "CRL_FORMAT"), (ANSWER, "OCSP_FORMAT")])
def test_revocation_data_that_are_not_readable(files, tmp_path, path, code):
    report = judged({**files, path: b"x"}, tmp_path)
    (found,) = report.findings
    assert (found.code, found.where, found.verdict) == (code, path, Verdict.FAILED)
    assert found.message.startswith(f"{path} is not readable: ")


def test_lists_of_the_verifier_and_of_the_proof_both_count(files, tmp_path):
    gone = make_crl(PKI.root, PKI.root_key, [(PKI.seal, NOW, x509.ReasonFlags.key_compromise)])
    assert "SEAL_REVOKED" in {
        item.code for item in judged(files, tmp_path, trust=replace(TRUST, crls=(gone,))).findings
    }
    files[LIST] = der_of(gone)
    assert "SEAL_REVOKED" in {item.code for item in judged(files, tmp_path).findings}


# --- the statement

LATE = FULL_JUDGED_AT - timedelta(days=1)
NOT_ABOUT_IT = failed("STATEMENT_MISMATCH", proof.STATEMENT, "The statement is not about this document.")


def stated(files, content: bytes, moment=NOW):
    return {**files, proof.STATEMENT: content, proof.STATEMENT_SEAL: seal(content, PKI.signer, moment)}


def test_a_statement_is_a_page_about_this_manifest(files, tmp_path):
    good = statement_of(files[proof.MANIFEST])
    assert judged(stated(files, good), tmp_path).findings == ()
    for wrong in (b"\n" + good, statement_of(b"another manifest"), files[proof.MANIFEST]):
        assert judged(stated(files, wrong), tmp_path).findings == (NOT_ABOUT_IT,)


def test_a_statement_that_contradicts_itself_is_judged_for_its_seal_too(files, tmp_path):
    files = {**stated(files, b"%PDF-1.7"), proof.STATEMENT_SEAL: b"x"}
    assert [(item.code, item.where) for item in judged(files, tmp_path).findings] == [
        ("STATEMENT_MISMATCH", proof.STATEMENT), ("SEAL_DER", proof.STATEMENT_SEAL),
    ]  # fmt: skip


def test_a_proof_without_statement(files, tmp_path):
    assert judged({**files, proof.STATEMENT: None, proof.STATEMENT_SEAL: None}, tmp_path).findings == ()


@pytest.mark.parametrize("how", ["list", "answer"])
def test_the_seal_of_a_statement_is_judged_at_its_own_time(files, tmp_path, how):
    # Revoked between the deposit and the statement: the seal over the manifest stands, the statement's does not.
    when, known = NOW + timedelta(days=50), NOW + timedelta(days=60)
    if how == "list":
        gone = make_crl(PKI.root, PKI.root_key, [(PKI.seal, when, x509.ReasonFlags.superseded)], start=known)
        files[LIST] = der_of(gone)
    else:
        status = single(PKI.seal, PKI.root, revoked(when, 4), this_update=known, next_update=END)
        files[ANSWER] = answer([status], PKI.root, PKI.root_key)
    good = files[proof.STATEMENT]
    assert judged(files, tmp_path).findings == ()
    report = judged(stated(files, good, LATE), tmp_path)
    assert [(item.code, item.where) for item in report.findings] == [("SEAL_REVOKED", proof.STATEMENT_SEAL)]
    assert said(judged(stated(files, good, LATE), tmp_path, trust=replace(TRUST, roots=())), "SEAL_REVOKED") == []


# --- texts and programs


@pytest.mark.parametrize("path", [proof.README_FR, proof.README_EN, proof.SCRIPT, proof.PROGRAM])
def test_a_text_that_was_never_published(files, tmp_path, path):
    message = f"{path} is not a text of Minutier known to this version: do not run it and do not rely on it."
    assert judged({**files, path: b"x"}, tmp_path).findings == (failed("KIT_UNKNOWN", path, message),)
