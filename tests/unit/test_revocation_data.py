"""What lists and OCSP answers say of one certificate: which count, for which moment, and how a revocation is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from minutier.certificates import load_ocsp
from minutier.errors import IntegrityFailureError
from minutier.revocation import Coverage, answer_speaks, check, list_speaks
from tests.support.ocsp_answers import UNKNOWN, answer, revoked, single
from tests.support.pki import NOW, default_pki, issue, make_crl, new_key, new_pki

PKI = default_pki()
ROOT = (PKI.root, PKI.root_key)
END = PKI.tsa.not_valid_after_utc
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
NOTHING, STOOD, CONFIRMED = Coverage(False, False), Coverage(True, False), Coverage(True, True)
COMPROMISE, SUPERSEDED = x509.ReasonFlags.key_compromise, x509.ReasonFlags.superseded


def judged(crls=(), answers=(), *, strict=True, certificate=PKI.tsa, issuer=PKI.root) -> Coverage:
    read = [load_ocsp(data) for data in answers]
    return check(certificate, issuer, NOW, crls, read, prefix="T", strict_reasons=strict)


def listed(start=NOW - DAY, end=NOW + DAY, *, when=None, reason=None):
    """Make a list of the root, in which the authority is revoked at a time if one is given."""
    return make_crl(*ROOT, [(PKI.tsa, when, reason)] if when else (), start=start, end=end)


def answered(start=NOW - DAY, end=NOW + DAY, **options):
    return answer([single(PKI.tsa, PKI.root, this_update=start, next_update=end, **options)], *ROOT)


def refusal(*arguments, **options) -> tuple[str, str, str]:
    with pytest.raises(IntegrityFailureError) as caught:
        judged(*arguments, **options)
    return caught.value.code, caught.value.message, caught.value.clause


# Made at the first time, to be made again by the second.
TIMES = [
    (NOW - DAY, NOW + DAY, STOOD),
    (NOW - DAY, NOW, STOOD),
    (NOW - DAY, NOW - SECOND, NOTHING),
    (NOW - SECOND, NOW + DAY, STOOD),
    (NOW, NOW + DAY, CONFIRMED),
    (NOW + DAY, NOW + 2 * DAY, CONFIRMED),
    (END, END + DAY, CONFIRMED),
    (END + SECOND, END + DAY, NOTHING),  # who has ended may leave the list
]


@pytest.mark.parametrize(("start", "end", "expected"), TIMES)
def test_data_count_that_stood_at_the_moment_or_came_after_it(start, end, expected):
    assert judged([listed(start, end)]) == expected
    assert judged([], [answered(start, end)]) == expected


def test_an_answer_without_end_counts_for_what_came_before_it():
    assert judged([], [answered(NOW - SECOND, None)]) == NOTHING
    assert judged([], [answered(NOW, None)]) == CONFIRMED


def test_one_is_enough_wherever_it_stands():
    stood, after, past = listed(), listed(NOW), listed(NOW - 2 * DAY, NOW - DAY)
    assert judged([past, stood]) == STOOD
    assert judged([past, stood, after]) == judged([after, stood, past]) == CONFIRMED
    assert judged([past], [answered(NOW - 2 * DAY, NOW - DAY), answered()]) == STOOD
    assert judged([stood], [answered(NOW)]) == judged([after], [answered()]) == CONFIRMED
    assert judged() == NOTHING


BEFORE, AFTER = NOW - SECOND, NOW + SECOND


@pytest.mark.parametrize(
    ("when", "reason", "strict", "refused"),
    [
        (BEFORE, SUPERSEDED, True, True),
        (NOW, SUPERSEDED, True, True),
        (AFTER, SUPERSEDED, True, False),
        (AFTER, x509.ReasonFlags.unspecified, True, False),
        (AFTER, x509.ReasonFlags.affiliation_changed, True, False),
        (AFTER, x509.ReasonFlags.cessation_of_operation, True, False),
        (AFTER, x509.ReasonFlags.certificate_hold, True, True),
        (AFTER, x509.ReasonFlags.ca_compromise, True, True),
        (AFTER, COMPROMISE, True, True),
        (AFTER, None, True, True),
        (AFTER, COMPROMISE, False, False),
        (AFTER, None, False, False),
        (NOW, None, False, True),
    ],
)
def test_a_revocation_in_a_list_counts_by_its_date_and_where_that_is_asked_by_its_reason(when, reason, strict, refused):
    gone = listed(when=when, reason=reason)
    if not refused:
        assert judged([gone], strict=strict) == STOOD
        return
    message = f"CN=Test TSA was revoked on {when:%Y-%m-%dT%H:%M:%SZ}."
    expected = ("T_REVOKED", message, "RFC 5280 §6.3, RFC 3161 §4")
    assert refusal([gone], strict=strict) == expected
    assert refusal([listed(), listed(NOW), gone], strict=strict) == expected


def test_a_revocation_in_an_answer_counts_whatever_else_is_good():
    gone = answered(status=revoked(NOW, 1))
    expected = ("T_REVOKED", "CN=Test TSA was revoked on 2026-11-23T10:00:00Z.", "RFC 5280 §6.3, RFC 3161 §4")
    assert refusal([listed()], [answered(), gone]) == expected
    assert refusal([], [answered(status=revoked(AFTER, 1))])[0] == "T_REVOKED"
    assert judged([], [answered(status=revoked(AFTER, 1))], strict=False) == STOOD
    assert judged([], [answered(status=revoked(AFTER, 4))]) == STOOD


def test_a_list_that_is_not_whole_or_not_of_the_issuer_says_nothing():
    builder = x509.CertificateRevocationListBuilder().issuer_name(PKI.root.subject)
    builder = builder.last_update(NOW - DAY).next_update(NOW + DAY)
    part = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)  # of users' certificates only
    number = builder.add_extension(x509.CRLNumber(3), critical=False)
    assert judged([number.sign(PKI.root_key, hashes.SHA256())]) == STOOD
    partial = number.add_extension(part, critical=True).sign(PKI.root_key, hashes.SHA256())
    namesake = new_pki("Test")
    assert judged([partial, PKI.crl]) == STOOD
    for said in (partial, namesake.crl, new_pki("Other").crl):
        assert judged([said]) == NOTHING


def test_an_issuer_that_may_not_sign_lists_says_nothing():
    for options, expected in (({"cert_sign": True}, STOOD), ({"cert_sign": True, "ca": False}, NOTHING)):
        key = new_key()
        above = issue("Above", key, **{"ca": True, **options})
        below = issue("Below", new_key(), issuer=(above, key))
        assert judged([make_crl(above, key)], certificate=below, issuer=above) == expected


def test_an_answer_counts_for_its_certificate_when_it_knows_it():
    both = answer([single(PKI.seal, PKI.root, revoked(NOW, 1)), single(PKI.tsa, PKI.root)], *ROOT)
    assert judged([], [both]) == STOOD
    for said in (
        single(PKI.seal, PKI.root),
        single(PKI.tsa, PKI.seal),
        single(PKI.tsa, PKI.root, UNKNOWN),
    ):
        assert judged([], [answer([said], *ROOT)]) == NOTHING
        assert judged([], [answer([said], *ROOT), answered()]) == STOOD
    other = new_pki("Test")
    assert judged([], [answer([single(PKI.tsa, PKI.root)], PKI.root, other.root_key)]) == NOTHING


KEY = new_key()
RESPONDER = issue("Responder", KEY, issuer=ROOT, eku=[ExtendedKeyUsageOID.OCSP_SIGNING])
DELEGATED = answer([single(PKI.tsa, PKI.root)], RESPONDER, KEY, embedded=[RESPONDER])
# Lists of ten days ago stood when nothing else here did: they are about the responder of an answer of that time only.
THEN = NOW - 10 * DAY
OLD = answer(
    [single(PKI.tsa, PKI.root, this_update=THEN)], RESPONDER, KEY, embedded=[RESPONDER], produced_at=THEN
)  # fmt: skip


def about_responder(*revocations):
    return make_crl(*ROOT, [(RESPONDER, *each) for each in revocations], start=THEN - DAY, end=THEN + DAY)


def test_a_responder_must_be_on_a_list_that_does_not_revoke_it():
    assert judged([], [OLD]) == NOTHING
    assert judged([about_responder()], [OLD]) == STOOD
    # Whatever the date and the reason of the revocation: what it signed may be of whoever took the key.
    for gone in (about_responder((NOW + DAY, SUPERSEDED)), about_responder((THEN, COMPROMISE))):
        assert judged([gone], [OLD]) == NOTHING
        assert judged([about_responder(), gone], [OLD]) == judged([gone, about_responder()], [OLD]) == NOTHING


# --- which data speak of a path, whatever they say

MIDDLE_KEY = new_key()
MIDDLE = issue("Middle", MIDDLE_KEY, issuer=ROOT, ca=True)
LEAF = issue("Leaf", new_key(), issuer=(MIDDLE, MIDDLE_KEY))
PATH = (LEAF, MIDDLE, PKI.root)


def test_a_list_speaks_of_a_path_when_it_counts_for_one_of_its_certificates():
    for speaks in (make_crl(MIDDLE, MIDDLE_KEY), PKI.crl, make_crl(*ROOT, [(MIDDLE, NOW, COMPROMISE)])):
        assert list_speaks(PATH, NOW, speaks) is True
    for silent in (new_pki("Other").crl, make_crl(*ROOT, start=NOW - 2 * DAY, end=NOW - DAY)):
        assert list_speaks(PATH, NOW, silent) is False
    assert list_speaks(PATH, NOW - 2 * DAY, make_crl(*ROOT, start=NOW - 3 * DAY, end=NOW - DAY))
    assert list_speaks((LEAF, MIDDLE), NOW, PKI.crl) is False
    assert list_speaks(PATH[-1:], NOW, PKI.crl) is False


def test_an_answer_speaks_of_a_path_when_it_counts_for_one_of_its_certificates():
    middle = (MIDDLE, MIDDLE_KEY)
    for speaks in (
        answer([single(LEAF, MIDDLE)], *middle),
        answer([single(MIDDLE, PKI.root, revoked(NOW, 1))], *ROOT),
    ):
        assert answer_speaks(PATH, NOW, load_ocsp(speaks), []) is True
    for silent in (answered(), answer([single(LEAF, MIDDLE)], *ROOT), answer([single(PKI.root, PKI.root)], *ROOT)):
        assert answer_speaks(PATH, NOW, load_ocsp(silent), []) is False
    past = answer([single(MIDDLE, PKI.root, next_update=NOW - SECOND)], *ROOT)
    assert answer_speaks(PATH, NOW, load_ocsp(past), []) is False
    assert answer_speaks(PATH, NOW - SECOND, load_ocsp(past), []) is True


def test_an_answer_of_a_responder_speaks_when_a_list_stands_behind_it():
    path, said = (PKI.tsa, PKI.root), load_ocsp(DELEGATED)
    assert answer_speaks(path, NOW, said, []) is False
    assert answer_speaks(path, NOW, said, [PKI.crl]) is True
    assert answer_speaks(path, NOW, said, [make_crl(*ROOT, [(RESPONDER, NOW, SUPERSEDED)])]) is False
