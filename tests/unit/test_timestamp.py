"""Time-stamp tokens: good ones accepted, each kind of bad one refused by the check that is about it."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import rfc3161_client
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from minutier import algorithms, der
from minutier.errors import IntegrityFailureError
from minutier.timestamp import accept_response, build_request, check_order, check_token, inspect_token
from storage.dev_tsa import issue_token
from tests.support.pki import (
    END,
    NONCE,
    NOW,
    POLICY,
    PSS_SHA256,
    START,
    TIME_STAMPING,
    default_pki,
    issue,
    make_crl,
    make_info,
    make_response,
    make_token,
    new_key,
    new_pki,
    rsa_key,
)
from tests.support.said import well_said

DIGEST = hashlib.sha256(b"root of a batch").digest()
PKI = default_pki()


def accept(token: bytes, *, status: int = 0, **options):
    options.setdefault("policy", POLICY)
    options.setdefault("roots", [PKI.root])
    options.setdefault("now", NOW)
    return accept_response(make_response(token, status), DIGEST, NONCE, **options)


def refusal(call) -> str:
    with pytest.raises(IntegrityFailureError) as caught:
        call()
    return well_said(caught.value)


def leaf(key=None, **options):
    key = key or new_key()
    options.setdefault("eku", TIME_STAMPING)
    options.setdefault("issuer", (PKI.root, PKI.root_key))
    return {"certificate": issue("Odd TSA", key, **options), "key": key}


# --- good tokens


def test_a_good_token_is_accepted_with_what_it_says():
    token = accept(make_token(PKI, make_info(DIGEST)), crls=[PKI.crl])
    assert (token.gen_time, token.serial, token.policy, token.nonce) == (NOW, 7, POLICY, NONCE)
    assert (token.imprint_algorithm, token.imprint) == ("sha256", DIGEST)
    assert token.accuracy == timedelta(seconds=1)
    assert token.revocation_known
    assert check_token(token.der, DIGEST, [PKI.root], [PKI.crl], POLICY) == token


def test_without_revocation_lists_the_token_says_so():
    assert not accept(make_token(PKI, make_info(DIGEST))).revocation_known


@pytest.mark.parametrize(
    ("key", "options"),
    [
        (rsa_key(), {}),
        (rsa_key(), {"signature_algorithm": PSS_SHA256}),
        (
            ed25519.Ed25519PrivateKey.generate(),
            {"digest_algorithm": "2.16.840.1.101.3.4.2.3", "hashed": hashes.SHA512()},
        ),
        (
            ec.generate_private_key(ec.SECP384R1()),
            {
                "signature_algorithm": algorithms.identifier("1.2.840.10045.4.3.3"),
                "digest_algorithm": "2.16.840.1.101.3.4.2.2",
                "hashed": hashes.SHA384(),
            },
        ),
        (
            ec.generate_private_key(ec.SECP256R1()),
            {
                "signature_algorithm": algorithms.identifier("2.16.840.1.101.3.4.3.10"),
                "digest_algorithm": "2.16.840.1.101.3.4.2.8",
                "hashed": hashes.SHA3_256(),
            },
        ),
    ],
    ids=["rsa-3072", "rsa-pss", "ed25519", "p384-sha384", "p256-sha3"],
)
def test_other_listed_algorithms_are_accepted(key, options):
    accept(make_token(PKI, make_info(DIGEST), **leaf(key), **options))


def test_an_intermediate_may_stand_between():
    key = new_key()
    intermediate = issue("Intermediate", key, issuer=(PKI.root, PKI.root_key), ca=True, path_length=0)
    signer = leaf(issuer=(intermediate, key))
    both = make_token(PKI, make_info(DIGEST), **signer, embedded=[signer["certificate"], intermediate])
    assert accept(both).signer == signer["certificate"]
    accept(make_token(PKI, make_info(DIGEST), **signer), intermediates=[intermediate])


def test_a_certificate_that_has_ended_since_still_counts():
    signer = leaf(end=NOW + timedelta(days=1))
    check_token(make_token(PKI, make_info(DIGEST), **signer), DIGEST, [PKI.root])


def test_a_fraction_of_a_second_and_a_detailed_accuracy():
    accuracy = der.sequence(der.integer(0), der.tlv(0x80, b"\x05"), der.tlv(0x81, b"\x01\xf4"))
    when = NOW + timedelta(milliseconds=250)
    token = accept(make_token(PKI, make_info(DIGEST, gen_time=when, accuracy=accuracy)))
    assert (token.gen_time, token.accuracy) == (when, timedelta(microseconds=5500))


def test_an_accuracy_that_is_not_given_counts_as_zero():
    assert accept(make_token(PKI, make_info(DIGEST, accuracy=b""))).accuracy == timedelta()
    late = make_info(DIGEST, accuracy=b"", gen_time=NOW + timedelta(seconds=61))
    assert refusal(lambda: accept(make_token(PKI, late))) == "TOKEN_TIME"


def test_an_extension_that_is_not_critical_is_passed_over():
    extension = der.context(1, der.sequence(der.oid("2.999.5"), der.octets(b"")))
    accept(make_token(PKI, make_info(DIGEST, extensions=extension)))


def test_both_verifiers_must_agree(monkeypatch):
    token = make_token(PKI, make_info(DIGEST))

    def refuse(*_):
        raise rfc3161_client.VerificationError("another opinion")

    class Builder:
        def __init__(self, **_):
            pass

        def build(self):
            return type("Refusing", (), {"verify": staticmethod(refuse)})

    monkeypatch.setattr(rfc3161_client, "VerifierBuilder", Builder)
    assert refusal(lambda: accept(token)) == "TOKEN_SECOND_OPINION"


def test_the_development_authority_answers_a_request():
    response = issue_token(build_request(DIGEST, NONCE), PKI.tsa_key, [PKI.tsa], NOW, 99)
    token = accept_response(response, DIGEST, NONCE, NOW, None, [PKI.root])
    assert (token.serial, token.gen_time) == (99, NOW)


# --- refusals that one token shows in several ways; the corpus has a token for each (test_token_corpus.py)

ROGUE = new_pki("Rogue")
TWIN_ROOT = new_pki("Test")  # the same names as the trusted PKI, other keys


def test_the_size_of_a_response_is_bounded():
    huge = der.sequence(der.sequence(der.integer(0)), der.octets(bytes(300_000)))
    assert refusal(lambda: accept_response(huge, DIGEST, NONCE, NOW, None, [PKI.root])) == "TOKEN_DER"
    assert refusal(lambda: check_token(huge, DIGEST, [PKI.root])) == "TOKEN_DER"


def test_without_roots_nothing_is_accepted():
    assert refusal(lambda: accept(make_token(PKI, make_info(DIGEST)), roots=[])) == "TOKEN_CHAIN"


def test_the_previous_token_bounds_the_next_one():
    token = make_token(PKI, make_info(DIGEST))
    assert refusal(lambda: accept(token, not_before=NOW + timedelta(seconds=2))) == "TOKEN_TIME"
    assert refusal(lambda: accept(token, known_serials={7})) == "TOKEN_SERIAL"
    accept(token, not_before=NOW, known_serials={6})


@pytest.mark.parametrize(
    ("days", "reason", "refused"),
    [
        (-1, x509.ReasonFlags.superseded, True),
        (+1, x509.ReasonFlags.superseded, False),
        (+1, x509.ReasonFlags.cessation_of_operation, False),
        (+1, x509.ReasonFlags.key_compromise, True),
        (+1, None, True),
    ],
)
def test_revocation_counts_by_its_date_and_reason(days, reason, refused):
    # RFC 3161 §4: a compromise, or no reason, takes away every token.
    crl = make_crl(PKI.root, PKI.root_key, [(PKI.tsa, NOW + timedelta(days=days), reason)], start=NOW)
    token = make_token(PKI, make_info(DIGEST))
    if refused:
        assert refusal(lambda: accept(token, crls=[PKI.crl, crl])) == "TOKEN_REVOKED"
    else:
        assert accept(token, crls=[PKI.crl, crl]).revocation_known


@pytest.mark.parametrize(
    "crl",
    [
        make_crl(ROGUE.root, ROGUE.root_key),
        make_crl(TWIN_ROOT.root, TWIN_ROOT.root_key),
        make_crl(PKI.root, PKI.root_key, end=NOW - timedelta(days=1)),
        make_crl(PKI.root, PKI.root_key, start=END + timedelta(days=1), end=END + timedelta(days=9)),
    ],
    ids=["another-issuer", "another-issuer-of-the-same-name", "ended-before", "made-after-the-certificate-ended"],
)
def test_a_list_that_does_not_cover_the_certificate_says_nothing(crl):
    assert not accept(make_token(PKI, make_info(DIGEST)), crls=[crl]).revocation_known


def test_requests_are_checked_before_they_are_sent():
    with pytest.raises(ValueError, match="length"):
        build_request(DIGEST[:20], NONCE)
    assert build_request(DIGEST, NONCE, policy=POLICY).count(der.oid(POLICY)) == 1


# --- other programs


@pytest.fixture
def files(tmp_path):
    (tmp_path / "root.pem").write_bytes(PKI.root.public_bytes(Encoding.PEM))
    return tmp_path


def openssl(files, *arguments):
    return subprocess.run(["openssl", *arguments], cwd=files, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("maker", ["by-hand", "development-authority"])
def test_openssl_accepts_our_tokens(files, maker):
    if maker == "by-hand":
        token = make_token(PKI, make_info(DIGEST))
    else:
        response = issue_token(build_request(DIGEST, NONCE), PKI.tsa_key, [PKI.tsa], NOW, 99)
        token = der.read(response).children()[1].encoded
    (files / "token.tst").write_bytes(token)
    moment = str(int(NOW.timestamp()))
    found = openssl(
        files, "ts", "-verify", "-digest", DIGEST.hex(), "-token_in", "-in", "token.tst", "-CAfile", "root.pem",
        "-attime", moment,
    )  # fmt: skip
    assert "Verification: OK" in found.stdout, found.stderr
    found = openssl(
        files, "cms", "-verify", "-inform", "DER", "-in", "token.tst", "-purpose", "timestampsign", "-CAfile",
        "root.pem", "-attime", moment, "-out", "info.der",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_we_accept_the_tokens_of_openssl(files):
    # A real `openssl ts -reply`, dated by the clock of this machine.
    now = datetime.now(UTC)
    key = new_key()
    signer = issue(
        "OpenSSL TSA", key, issuer=(PKI.root, PKI.root_key), eku=TIME_STAMPING, start=START - timedelta(days=3650),
        end=now + timedelta(days=30),
    )  # fmt: skip
    root = issue("Test root", PKI.root_key, ca=True, start=START - timedelta(days=3650), end=now + timedelta(days=30))
    (files / "tsa.pem").write_bytes(signer.public_bytes(Encoding.PEM))
    (files / "tsa.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (files / "serial").write_text("01\n")
    (files / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa=one\n[one]\nserial=serial\ncrypto_device=builtin\nsigner_digest=sha256\n"
        f"default_policy={POLICY}\ndigests=sha256\nordering=no\ntsa_name=no\ness_cert_id_chain=no\n"
        "ess_cert_id_alg=sha256\naccuracy=secs:1\n"
    )
    (files / "request.tsq").write_bytes(build_request(DIGEST, NONCE))
    found = openssl(
        files, "ts", "-reply", "-config", "tsa.cnf", "-section", "one", "-queryfile", "request.tsq", "-signer",
        "tsa.pem", "-inkey", "tsa.key", "-out", "reply.tsr",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    response = (files / "reply.tsr").read_bytes()
    token = accept_response(response, DIGEST, NONCE, datetime.now(UTC), POLICY, [root])
    assert token.imprint == DIGEST


# --- certificates given, OCSP, order in the journal


def test_a_token_without_certificate_is_judged_by_the_one_that_is_given():
    bare = make_token(PKI, make_info(DIGEST), embedded=[])
    token = accept(bare, signers=[PKI.seal, PKI.tsa, PKI.tsa], crls=[PKI.crl])
    assert (token.signer, token.certificates, token.path) == (PKI.tsa, (), (PKI.tsa, PKI.root))
    assert inspect_token(bare, [PKI.tsa]).signer == PKI.tsa
    assert refusal(lambda: inspect_token(bare)) == "TOKEN_SIGNER"
    assert check_token(bare, DIGEST, [PKI.root], signers=[PKI.tsa]).imprint == DIGEST


def test_a_request_may_ask_for_no_certificate():
    assert build_request(DIGEST, NONCE).endswith(b"\x01\x01\xff")
    assert not build_request(DIGEST, NONCE, certificates_wanted=False).endswith(b"\x01\x01\xff")


def test_revocation_is_confirmed_by_what_was_made_at_or_after_the_token():
    token = make_token(PKI, make_info(DIGEST))
    before, late = (make_crl(PKI.root, PKI.root_key, start=moment) for moment in (NOW - timedelta(seconds=1), NOW))
    assert not accept(token, crls=[before]).revocation_confirmed
    assert accept(token, crls=[before, late]).revocation_confirmed


@pytest.mark.parametrize(
    ("after", "before", "stands"),
    [
        (NOW, NOW, True),
        (None, None, True),
        (NOW + timedelta(seconds=61), None, True),
        (NOW + timedelta(seconds=62), None, False),
        (None, NOW - timedelta(seconds=61), True),
        (None, NOW - timedelta(seconds=62), False),
    ],
)
def test_a_token_has_its_place_in_the_journal(after, before, stands):
    token = accept(make_token(PKI, make_info(DIGEST)))  # accuracy one second, tolerance sixty
    if stands:
        check_order(token, after=after, before=before)
    else:
        assert refusal(lambda: check_order(token, after=after, before=before)) == "TOKEN_TIME"
