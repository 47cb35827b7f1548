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
from cryptography.x509.oid import ExtendedKeyUsageOID

from minutier import algorithms, der
from minutier.errors import IntegrityFailureError
from minutier.timestamp import accept_response, build_request, check_token
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
    ess_value,
    issue,
    make_crl,
    make_info,
    make_response,
    make_token,
    new_key,
    new_pki,
    rsa_key,
)

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
    assert caught.value.clause
    assert caught.value.remedy
    return caught.value.code


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


# --- hostile tokens: name, code, and what is done

RSA_2048 = rsa_key(2048)
CA_KEY = new_key()
CA_FOR_STAMPS = issue(
    "CA that stamps", CA_KEY, issuer=(PKI.root, PKI.root_key), ca=True, eku=TIME_STAMPING, non_repudiation=True
)
END_ENTITY_KEY = new_key()
END_ENTITY = issue("Not a CA", END_ENTITY_KEY, issuer=(PKI.root, PKI.root_key))
SHORT_KEY = new_key()
NO_ROOM_KEY = new_key()
NO_ROOM = issue("No room below", NO_ROOM_KEY, issuer=(PKI.root, PKI.root_key), ca=True, path_length=0)
BELOW_KEY = new_key()
BELOW = issue("Below", BELOW_KEY, issuer=(NO_ROOM, NO_ROOM_KEY), ca=True)
NOT_SIGNING_KEY = new_key()
NOT_SIGNING = issue("CA not for signing", NOT_SIGNING_KEY, issuer=(PKI.root, PKI.root_key), ca=True, cert_sign=False)
ROGUE = new_pki("Rogue")
SELF_SIGNED_KEY = new_key()
TWIN_ROOT = new_pki("Test")  # the same names as the trusted PKI, other keys
SHA1 = algorithms.identifier("1.3.14.3.2.26")
CRITICAL = der.context(1, der.sequence(der.oid("2.999.5"), der.boolean(True), der.octets(b"")))
V1_ESS = der.sequence(der.sequence(der.sequence(der.octets(hashlib.sha1(PKI.tsa.public_bytes(Encoding.DER)).digest()))))
WRONG_ISSUER_SERIAL = der.sequence(
    der.sequence(der.context(4, PKI.tsa.issuer.public_bytes())), der.integer(PKI.tsa.serial_number + 1)
)


def below(issuer, key, middle=None):
    signer = leaf(issuer=(issuer, key))
    return signer | {"embedded": [signer["certificate"], issuer, *([middle] if middle else [])]}


def with_version(token, version):
    kind, wrapped = der.read(token).children()
    _, *rest = (item.encoded for item in der.read(wrapped.content).children())
    return der.sequence(kind.encoded, der.context(0, der.sequence(der.integer(version), *rest)))


def unused_bits(token):
    """Say that the last bit of the certificate's signature is unused: nothing signs that count."""
    encoded = PKI.tsa.public_bytes(Encoding.DER)
    body, algorithm, signature = (item.encoded for item in der.read(encoded).children())
    other = der.sequence(body, algorithm, signature[:2] + b"\x01" + signature[3:])
    assert len(other) == len(encoded)
    assert token.count(encoded) == 1
    return token.replace(encoded, other)


HOSTILE = {
    # 1 envelope
    "trailing-byte-after-the-token": ("TOKEN_DER", lambda: make_token(PKI, make_info(DIGEST)) + b"\x00"),
    "token-cut-short": ("TOKEN_DER", lambda: make_token(PKI, make_info(DIGEST))[:-1]),
    "not-signed-data": ("TOKEN_DER", lambda: der.sequence(der.oid("1.2.840.113549.1.7.1"), der.context(0, der.null()))),
    "content-detached": ("TOKEN_DER", lambda: make_token(PKI, make_info(DIGEST), detached=True)),
    "info-version-2": ("TOKEN_DER", lambda: make_token(PKI, make_info(DIGEST, version=2))),
    "critical-extension-unknown": ("TOKEN_DER", lambda: make_token(PKI, make_info(DIGEST, extensions=CRITICAL))),
    "time-with-trailing-zero": (
        "TOKEN_DER",
        lambda: make_token(PKI, make_info(DIGEST, time=der.tlv(der.GENERALIZED_TIME, b"20261123100000.10Z"))),
    ),
    "time-without-zone": (
        "TOKEN_DER",
        lambda: make_token(PKI, make_info(DIGEST, time=der.tlv(der.GENERALIZED_TIME, b"20261123100000"))),
    ),
    "ordering-written-though-false": (
        "TOKEN_DER",
        lambda: make_token(PKI, make_info(DIGEST, accuracy=der.sequence(der.integer(1)) + der.boolean(False))),
    ),
    "accuracy-of-1000-milliseconds": (
        "TOKEN_DER",
        lambda: make_token(PKI, make_info(DIGEST, accuracy=der.sequence(der.tlv(0x80, b"\x03\xe8")))),
    ),
    "signed-data-version-2": ("TOKEN_DER", lambda: with_version(make_token(PKI, make_info(DIGEST)), 2)),
    "certificate-with-unused-bits": ("TOKEN_DER", lambda: unused_bits(make_token(PKI, make_info(DIGEST)))),
    "accuracy-of-a-year": (
        "TOKEN_DER",
        lambda: make_token(PKI, make_info(DIGEST, accuracy=der.sequence(der.integer(31_536_000)))),
    ),
    # 3 content type
    "content-type-data": (
        "TOKEN_CONTENT_TYPE",
        lambda: make_token(PKI, make_info(DIGEST), content_type="1.2.840.113549.1.7.1"),
    ),
    "no-content-type-attribute": (
        "TOKEN_CONTENT_TYPE",
        lambda: make_token(PKI, make_info(DIGEST), content_type_attribute=None),
    ),
    "content-type-attribute-other": (
        "TOKEN_CONTENT_TYPE",
        lambda: make_token(PKI, make_info(DIGEST), content_type_attribute="1.2.840.113549.1.7.1"),
    ),
    # 4 signer
    "two-signers": ("TOKEN_SIGNER", lambda: make_token(PKI, make_info(DIGEST), signers=2)),
    "no-signer": ("TOKEN_DER", lambda: make_token(PKI, make_info(DIGEST), signers=0)),
    "no-certificate-embedded": ("TOKEN_SIGNER", lambda: make_token(PKI, make_info(DIGEST), embedded=[])),
    "another-certificate-embedded": ("TOKEN_SIGNER", lambda: make_token(PKI, make_info(DIGEST), embedded=[PKI.seal])),
    # 5 digest, signature, algorithms
    "signature-spoiled": ("TOKEN_SIGNATURE", lambda: make_token(PKI, make_info(DIGEST), spoil_signature=True)),
    "signed-by-another-key": ("TOKEN_SIGNATURE", lambda: make_token(PKI, make_info(DIGEST), key=new_key())),
    "digest-of-other-content": ("TOKEN_DIGEST", lambda: make_token(PKI, make_info(DIGEST), message_digest=DIGEST)),
    "no-signed-attributes": ("TOKEN_SIGNATURE", lambda: make_token(PKI, make_info(DIGEST), attributes=False)),
    "sha1-throughout": (
        "TOKEN_ALGORITHM",
        lambda: make_token(PKI, make_info(DIGEST), digest_algorithm="1.3.14.3.2.26", hashed=hashes.SHA1()),
    ),
    "md5-throughout": (
        "TOKEN_ALGORITHM",
        lambda: make_token(PKI, make_info(DIGEST), digest_algorithm="1.2.840.113549.2.5", hashed=hashes.MD5()),
    ),
    "sha1-signature-over-sha256-digest": (
        "TOKEN_ALGORITHM",
        lambda: make_token(PKI, make_info(DIGEST), signature_algorithm=algorithms.identifier("1.2.840.10045.4.1")),
    ),
    "signature-hash-differs-from-digest": (
        "TOKEN_ALGORITHM",
        lambda: make_token(PKI, make_info(DIGEST), signature_algorithm=algorithms.identifier("1.2.840.10045.4.3.4")),
    ),
    "algorithm-of-another-key-kind": (
        "TOKEN_ALGORITHM",
        lambda: make_token(PKI, make_info(DIGEST), signature_algorithm=algorithms.identifier("1.2.840.113549.1.1.11")),
    ),
    # 6 signing certificate
    "no-signing-certificate": ("TOKEN_ESS", lambda: make_token(PKI, make_info(DIGEST), ess=None)),
    "signing-certificate-is-another": ("TOKEN_ESS", lambda: make_token(PKI, make_info(DIGEST), ess=PKI.seal)),
    "signing-certificate-by-sha1": ("TOKEN_ESS", lambda: make_token(PKI, make_info(DIGEST), ess=V1_ESS)),
    "signing-certificate-with-another-serial": (
        "TOKEN_ESS",
        lambda: make_token(PKI, make_info(DIGEST), ess=ess_value(PKI.tsa, issuer_serial=WRONG_ISSUER_SERIAL)),
    ),
    "signing-certificate-unreadable": ("TOKEN_ESS", lambda: make_token(PKI, make_info(DIGEST), ess=der.null())),
    # 7 purpose
    "sealing-certificate-stamps": (
        "TOKEN_PURPOSE",
        lambda: make_token(PKI, make_info(DIGEST), certificate=PKI.seal, key=PKI.seal_key),
    ),
    "purpose-not-critical": ("TOKEN_PURPOSE", lambda: make_token(PKI, make_info(DIGEST), **leaf(eku_critical=False))),
    "purpose-with-a-second-one": (
        "TOKEN_PURPOSE",
        lambda: make_token(PKI, make_info(DIGEST), **leaf(eku=[*TIME_STAMPING, ExtendedKeyUsageOID.EMAIL_PROTECTION])),
    ),
    "purpose-code-signing": (
        "TOKEN_PURPOSE",
        lambda: make_token(PKI, make_info(DIGEST), **leaf(eku=[ExtendedKeyUsageOID.CODE_SIGNING])),
    ),
    "a-ca-stamps": (
        "TOKEN_PURPOSE",
        lambda: make_token(PKI, make_info(DIGEST), certificate=CA_FOR_STAMPS, key=CA_KEY),
    ),
    # 8 path
    "rogue-self-signed-authority": (
        "TOKEN_CHAIN",
        lambda: make_token(
            PKI,
            make_info(DIGEST),
            certificate=issue("Test TSA", SELF_SIGNED_KEY, eku=TIME_STAMPING),
            key=SELF_SIGNED_KEY,
        ),
    ),
    "rogue-root-embedded": (
        "TOKEN_CHAIN",
        lambda: make_token(
            PKI, make_info(DIGEST), certificate=ROGUE.tsa, key=ROGUE.tsa_key, embedded=[ROGUE.tsa, ROGUE.root]
        ),
    ),
    "rogue-root-with-the-name-of-the-trusted-one": (
        "TOKEN_CHAIN",
        lambda: make_token(
            PKI,
            make_info(DIGEST),
            certificate=TWIN_ROOT.tsa,
            key=TWIN_ROOT.tsa_key,
            embedded=[TWIN_ROOT.tsa, TWIN_ROOT.root],
        ),
    ),
    "certificate-ended-before": (
        "TOKEN_CHAIN",
        lambda: make_token(PKI, make_info(DIGEST), **leaf(end=NOW - timedelta(seconds=1))),
    ),
    "certificate-not-begun": (
        "TOKEN_CHAIN",
        lambda: make_token(PKI, make_info(DIGEST), **leaf(start=NOW + timedelta(seconds=1))),
    ),
    "issued-by-an-end-entity": (
        "TOKEN_CHAIN",
        lambda: make_token(PKI, make_info(DIGEST), **below(END_ENTITY, END_ENTITY_KEY)),
    ),
    "path-longer-than-allowed": (
        "TOKEN_CHAIN",
        lambda: make_token(PKI, make_info(DIGEST), **below(BELOW, BELOW_KEY, NO_ROOM)),
    ),
    "issued-by-a-ca-not-for-signing": (
        "TOKEN_CHAIN",
        lambda: make_token(PKI, make_info(DIGEST), **below(NOT_SIGNING, NOT_SIGNING_KEY)),
    ),
    "unknown-critical-extension-in-the-certificate": (
        "TOKEN_CHAIN",
        lambda: make_token(PKI, make_info(DIGEST), **leaf(odd_critical_extension=True)),
    ),
    "rsa-2048-after-its-end": ("TOKEN_ALGORITHM", lambda: make_token(PKI, make_info(DIGEST), **leaf(RSA_2048))),
    "p224-curve": (
        "TOKEN_ALGORITHM",
        lambda: make_token(PKI, make_info(DIGEST), **leaf(ec.generate_private_key(ec.SECP224R1()))),
    ),
    # 9 imprint
    "imprint-of-another-value": (
        "TOKEN_IMPRINT",
        lambda: make_token(PKI, make_info(hashlib.sha256(b"other").digest())),
    ),
    "imprint-renamed-sha3": (
        "TOKEN_IMPRINT",
        lambda: make_token(PKI, make_info(DIGEST, imprint_algorithm=algorithms.hash_identifier("sha3_256"))),
    ),
    "imprint-renamed-sha1": ("TOKEN_ALGORITHM", lambda: make_token(PKI, make_info(DIGEST, imprint_algorithm=SHA1))),
    # 10 to 12
    "nonce-of-another-request": ("TOKEN_NONCE", lambda: make_token(PKI, make_info(DIGEST, nonce=NONCE + 1))),
    "no-nonce": ("TOKEN_NONCE", lambda: make_token(PKI, make_info(DIGEST, nonce=None))),
    "another-policy": ("TOKEN_POLICY", lambda: make_token(PKI, make_info(DIGEST, policy="2.999.2"))),
    "400-days-in-the-future": (
        "TOKEN_CHAIN",
        lambda: make_token(PKI, make_info(DIGEST, gen_time=NOW + timedelta(days=400))),
    ),
    "62-seconds-in-the-future": (
        "TOKEN_TIME",
        lambda: make_token(PKI, make_info(DIGEST, gen_time=NOW + timedelta(seconds=62))),
    ),
    "an-hour-old": ("TOKEN_TIME", lambda: make_token(PKI, make_info(DIGEST, gen_time=NOW - timedelta(hours=1)))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_token_is_refused(name):
    code, make = HOSTILE[name]
    assert refusal(lambda: accept(make())) == code


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5])
def test_a_token_under_any_status_but_granted_is_refused(status):
    assert refusal(lambda: accept(make_token(PKI, make_info(DIGEST)), status=status)) == "TOKEN_STATUS"


def test_a_rejection_without_token_is_refused():
    response = der.sequence(der.sequence(der.integer(2)))
    assert refusal(lambda: accept_response(response, DIGEST, NONCE, NOW, None, [PKI.root])) == "TOKEN_STATUS"


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
