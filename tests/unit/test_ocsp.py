"""OCSP answers: read strictly, believed from the issuer or a responder that it appointed, and only about their time."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp as library
from cryptography.x509.oid import ExtendedKeyUsageOID

from minutier import der
from minutier.certificates import load_ocsp, validate_path
from minutier.errors import IntegrityFailureError
from minutier.ocsp import build_request
from tests.support.ocsp_answers import GOOD, UNKNOWN, answer, revoked, single
from tests.support.pki import END, NOW, default_pki, issue, make_crl, new_key, new_pki

PKI = default_pki()
ROOT = (PKI.root, PKI.root_key)
OCSP_SIGNING = [ExtendedKeyUsageOID.OCSP_SIGNING]
KEY = new_key()
DAY = timedelta(days=1)


def judge(*answers: bytes, at=NOW, crls=(), leaf=PKI.tsa):
    found = [load_ocsp(item) for item in answers]
    return validate_path(leaf, [], [PKI.root], at, crls, prefix="T", strict_reasons=True, ocsp=found)


def by_root(*singles: bytes, **options) -> bytes:
    return answer(singles or [single(PKI.tsa, PKI.root)], PKI.root, PKI.root_key, **options)


def responder(**options):
    options = {"issuer": ROOT, "eku": OCSP_SIGNING, "extra": [x509.OCSPNoCheck()]} | options
    return issue("Responder", KEY, **options)


def by_responder(certificate, **options) -> bytes:
    options = {"embedded": [PKI.seal, certificate]} | options
    return answer([single(PKI.tsa, PKI.root)], certificate, KEY, **options)


@pytest.mark.parametrize("by_key", [False, True])
def test_an_answer_of_the_issuer_is_believed(by_key):
    assert judge(by_root(by_key=by_key)).revocation_known
    assert judge(by_root(single(PKI.tsa, PKI.root, naming="sha256"), by_key=by_key)).revocation_known


@pytest.mark.parametrize("by_key", [False, True])
def test_an_answer_of_an_appointed_responder_is_believed(by_key):
    assert judge(by_responder(responder(), by_key=by_key)).revocation_known


def test_a_responder_without_nocheck_needs_a_list_that_covers_it():
    # Made ten days ago, under a list that had ended when the leaf was used: that list is about the responder only.
    certificate, then = responder(extra=()), NOW - 10 * DAY
    about = single(PKI.tsa, PKI.root, this_update=then)
    said = answer([about], certificate, KEY, embedded=[certificate], produced_at=then)
    span = {"start": then - DAY, "end": then + DAY}
    covers, revokes = (
        make_crl(*ROOT, gone, **span) for gone in ((), [(certificate, NOW, x509.ReasonFlags.superseded)])
    )
    assert not judge(crls=[covers]).revocation_known
    assert not judge(said).revocation_known
    assert judge(said, crls=[covers]).revocation_known
    assert not judge(said, crls=[covers, revokes]).revocation_known


def new_ca():
    other = new_pki("Other")
    return other.root, other.root_key


def test_the_edges_of_times_count():
    for span in ({"start": NOW}, {"end": NOW}):  # valid from, or until, the second in which the answer was made
        assert judge(by_responder(responder(**span))).revocation_known
    at_its_end = single(PKI.tsa, PKI.root, this_update=PKI.tsa.not_valid_after_utc, next_update=None)
    assert judge(by_root(at_its_end)).revocation_confirmed


NOT_APPOINTED = {
    "no-purpose": {"eku": None},
    "purpose-time-stamping": {"eku": [ExtendedKeyUsageOID.TIME_STAMPING]},
    "issued-by-another": {"issuer": new_ca()},
    "self-signed": {"issuer": None},
    "ended": {"end": NOW - DAY},
    "not-begun": {"start": NOW + DAY},
    "odd-critical-extension": {"odd_critical_extension": True},
    "not-for-signing": {"signs": False},
}


@pytest.mark.parametrize("name", NOT_APPOINTED)
def test_a_responder_that_was_not_appointed_says_nothing(name):
    certificate = responder(**NOT_APPOINTED[name])
    assert not judge(by_responder(certificate)).revocation_known


SAYS_NOTHING = {
    "spoiled": lambda: by_root(spoil=True),
    "signed-by-another-key": lambda: answer([single(PKI.tsa, PKI.root)], PKI.root, KEY),
    "of-an-issuer-of-the-same-name": lambda: answer(
        [single(PKI.tsa, PKI.root)], new_pki("Test").root, new_pki("Test").root_key
    ),
    "responder-not-embedded": lambda: by_responder(responder(), embedded=()),
    "about-another-certificate": lambda: by_root(single(PKI.seal, PKI.root)),
    "about-another-issuer": lambda: by_root(single(PKI.tsa, PKI.seal)),
    "status-unknown": lambda: by_root(single(PKI.tsa, PKI.root, UNKNOWN)),
    "stale": lambda: by_root(single(PKI.tsa, PKI.root, this_update=NOW - DAY, next_update=NOW - timedelta(seconds=1))),
    "without-an-end-before-the-time": lambda: by_root(single(PKI.tsa, PKI.root, next_update=None)),
    "after-the-certificate-ended": lambda: by_root(
        single(PKI.tsa, PKI.root, this_update=END + DAY, next_update=END + 2 * DAY)
    ),
    "signed-over-sha1": lambda: by_root(hashed=hashes.SHA1(), signature_algorithm="1.2.840.10045.4.1"),
    "no-certificate-at-all": lambda: answer([der.sequence()][:0], PKI.root, PKI.root_key),
}


@pytest.mark.parametrize("name", SAYS_NOTHING)
def test_an_answer_that_does_not_count_says_nothing(name):
    assert not judge(SAYS_NOTHING[name]()).revocation_known


def test_two_times():
    before = by_root(single(PKI.tsa, PKI.root, this_update=NOW - DAY, next_update=NOW))
    after = by_root(single(PKI.tsa, PKI.root, this_update=NOW, next_update=None))
    assert (judge(before).revocation_known, judge(before).revocation_confirmed) == (True, False)
    assert (judge(after).revocation_known, judge(after).revocation_confirmed) == (True, True)
    assert judge(before, after).revocation_confirmed


@pytest.mark.parametrize(
    ("days", "reason", "refused"),
    [
        (-1, 4, True),
        (0, 4, True),
        (1, 4, False),
        (1, 0, False),
        (1, 5, False),
        (1, 1, True),
        (1, None, True),
        (1, 6, True),
    ],
)
def test_a_revocation_counts_by_its_date_and_reason(days, reason, refused):
    status = revoked(NOW + days * DAY, reason)
    late = by_root(single(PKI.tsa, PKI.root, status, this_update=NOW + 2 * DAY, next_update=None))
    # What was good before does not outweigh what was learnt after.
    if refused:
        with pytest.raises(IntegrityFailureError) as caught:
            judge(by_root(), late, crls=[PKI.crl])
        assert caught.value.code == "T_REVOKED"
    else:
        assert judge(by_root(), late, crls=[PKI.crl]).revocation_confirmed


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


CRITICAL = der.context(1, der.sequence(der.sequence(der.oid("2.999.5"), der.boolean(True), der.octets(b""))))
UNREADABLE = {
    "nothing": lambda: b"",
    "cut": lambda: by_root()[:-1],
    "trailing": lambda: by_root() + b"\0",
    "try-later": lambda: der.sequence(der.tlv(der.ENUMERATED, b"\x03")),
    "another-kind-of-answer": lambda: changed(
        by_root(), der.oid("1.3.6.1.5.5.7.48.1.1"), der.oid("1.3.6.1.5.5.7.48.1.2")
    ),
    "critical-extension": lambda: by_root(extensions=CRITICAL),
    "critical-extension-of-one": lambda: by_root(single(PKI.tsa, PKI.root, extensions=CRITICAL)),
    "status-4": lambda: by_root(single(PKI.tsa, PKI.root, der.tlv(0x84))),
    "reason-7": lambda: by_root(single(PKI.tsa, PKI.root, revoked(NOW, 7))),
    "a-list": lambda: PKI.crl.public_bytes(Encoding.DER),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_answer_in_another_form_is_not_read(name):
    with pytest.raises(ValueError, match=r"."):
        load_ocsp(UNREADABLE[name]())


def test_no_altered_byte_of_an_answer_is_believed():
    # An alteration may leave it readable; then its signature, or its being about the certificate, no longer holds.
    said = by_root()
    for index in range(len(said)):
        spoiled = said[:index] + bytes((said[index] ^ 1,)) + said[index + 1 :]
        try:
            assert not judge(spoiled).revocation_known, index
        except ValueError:
            continue


def test_another_library_reads_our_request_and_answers_it():
    asked = library.load_der_ocsp_request(build_request(PKI.tsa, PKI.root))
    assert asked.serial_number == PKI.tsa.serial_number
    builder = library.OCSPResponseBuilder().add_response(
        PKI.tsa, PKI.root, hashes.SHA1(), library.OCSPCertStatus.GOOD, NOW, NOW + DAY, None, None
    )
    said = builder.responder_id(library.OCSPResponderEncoding.HASH, PKI.root).sign(PKI.root_key, hashes.SHA256())
    (one,) = said.responses
    assert (one.issuer_name_hash, one.issuer_key_hash) == (asked.issuer_name_hash, asked.issuer_key_hash)
    assert judge(said.public_bytes(Encoding.DER)).revocation_confirmed


def test_openssl_answers_our_request_and_we_believe_it(tmp_path):
    now = datetime.now(UTC).replace(microsecond=0)
    pki = new_pki("OpenSSL", around=now)
    certificate = issue("Responder", KEY, issuer=(pki.root, pki.root_key), eku=OCSP_SIGNING, extra=[x509.OCSPNoCheck()])
    for name, item in (("root", pki.root), ("responder", certificate)):
        (tmp_path / f"{name}.pem").write_bytes(item.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    end = f"{pki.tsa.not_valid_after_utc:%y%m%d%H%M%SZ}"
    gone = issue("Gone", new_key(), issuer=(pki.root, pki.root_key), start=now - 9 * DAY, end=now + 9 * DAY)
    when = f"{now - DAY:%y%m%d%H%M%SZ}"
    lines = [
        f"V\t{end}\t\t{pki.tsa.serial_number:X}\tunknown\t/CN=OpenSSL TSA",
        f"R\t{end}\t{when},superseded\t{gone.serial_number:X}\tunknown\t/CN=Gone",
    ]
    (tmp_path / "index").write_text("".join(f"{line}\n" for line in lines))
    said = []
    for leaf in (pki.tsa, gone):
        (tmp_path / "request").write_bytes(build_request(leaf, pki.root))
        command = "openssl ocsp -index index -CA root.pem -rsigner responder.pem -rkey key.pem -reqin request -ndays 1"
        done = subprocess.run(
            [*command.split(), "-respout", "answer"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(load_ocsp((tmp_path / "answer").read_bytes()))
    assert validate_path(pki.tsa, [], [pki.root], now, prefix="T", ocsp=said).revocation_known
    with pytest.raises(IntegrityFailureError) as caught:
        validate_path(gone, [], [pki.root], now, prefix="T", ocsp=said)
    assert caught.value.code == "T_REVOKED"


def test_an_answer_embeds_at_most_eight_certificates():
    crowd = [issue(f"Other {number}", new_key()) for number in range(9)]
    said = [single(PKI.tsa, PKI.root)]
    assert len(load_ocsp(answer(said, PKI.root, PKI.root_key, embedded=crowd[:8])).certificates) == 8
    with pytest.raises(ValueError, match="more than 8 certificates"):
        load_ocsp(answer(said, PKI.root, PKI.root_key, embedded=crowd))


def test_the_three_states_by_name():
    for status, name in ((GOOD, "good"), (UNKNOWN, "unknown"), (revoked(NOW, 1), "revoked")):
        (found,) = load_ocsp(answer([single(PKI.tsa, PKI.root, status)], PKI.root, PKI.root_key)).statuses
        assert found.status == name


def test_a_reason_is_an_enumerated_value():
    for wrong in (der.integer(1), der.tlv(der.ENUMERATED, b"\x07"), der.tlv(der.ENUMERATED, b"\xff")):
        status = der.tlv(0xA1, der.generalized_time(NOW), der.context(0, wrong))
        with pytest.raises(ValueError, match="the reason of a revocation is not one of"):
            load_ocsp(answer([single(PKI.tsa, PKI.root, status)], PKI.root, PKI.root_key))


def test_no_critical_extension_is_overlooked():
    critical = der.sequence(der.oid("2.999.5"), der.boolean(True), der.octets(b""))
    harmless = der.sequence(der.oid("2.999.5"), der.octets(b""))
    for extension, refused in ((harmless, False), (critical, True)):
        wrapped = der.context(1, der.sequence(extension))
        for data in (
            answer([single(PKI.tsa, PKI.root)], PKI.root, PKI.root_key, extensions=wrapped),
            answer([single(PKI.tsa, PKI.root, extensions=wrapped)], PKI.root, PKI.root_key),
        ):
            if refused:
                with pytest.raises(der.DerError, match="a critical extension is not understood"):
                    load_ocsp(data)
            else:
                assert load_ocsp(data).statuses


def test_a_request_is_that_of_another_library():
    asked = library.OCSPRequestBuilder().add_certificate(PKI.tsa, PKI.root, hashes.SHA1()).build()
    assert build_request(PKI.tsa, PKI.root) == asked.public_bytes(Encoding.DER)


def test_an_answer_keeps_its_bytes():
    assert load_ocsp(by_root()).encoded == by_root()


def rewritten(change=lambda body: body, algorithm_tag=der.SEQUENCE) -> bytes:
    """Give an answer whose fields were changed; its signature no longer verifies, and is not looked at."""
    status, carried = der.read(by_root()).children()
    kind, octets = der.read(carried.content).children()
    body, algorithm, signature = der.read(octets.as_octets()).children()
    fields = change([item.encoded for item in body.children()])
    basic = der.sequence(der.sequence(*fields), algorithm.retagged(algorithm_tag).encoded, signature.encoded)
    return der.sequence(status.encoded, der.context(0, der.sequence(kind.encoded, der.octets(basic))))


ODD_EXTENSION = der.context(1, der.sequence(der.sequence(der.integer(1), der.octets(b""))))
OTHER_FORMS = {
    "version-written": (lambda body: [der.context(0, der.integer(0)), *body], "version 1 is the default"),
    "responder-named-in-a-third-way": (lambda body: [der.tlv(0xA3, der.octets(b"key")), *body[1:]], "."),
    "statuses-in-a-set": (lambda body: [*body[:2], der.read(body[2]).retagged(der.SET).encoded], "."),
    "extension-without-name": (lambda body: [*body, ODD_EXTENSION], "."),
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_each_field_of_an_answer_has_its_tag(name):
    change, why = OTHER_FORMS[name]
    assert load_ocsp(rewritten()).statuses
    with pytest.raises(ValueError, match=why):
        load_ocsp(rewritten(change))


def test_a_signature_algorithm_is_a_sequence():
    with pytest.raises(der.DerError):
        load_ocsp(rewritten(algorithm_tag=der.SET))
