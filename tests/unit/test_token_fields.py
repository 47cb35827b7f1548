"""What a token says, field by field, and what each refusal of a good token for another question says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from minutier import der
from minutier.errors import IntegrityFailureError
from minutier.timestamp import accept_response, check_token, inspect_token
from tests.support.pki import NONCE, NOW, POLICY, default_pki, make_info, make_response, make_token

PKI = default_pki()
DIGEST = bytes(range(32))
CLAUSE = "RFC 3161 §2.4.2"


def told(call) -> tuple[str, str, str]:
    with pytest.raises(IntegrityFailureError) as caught:
        call()
    return caught.value.code, caught.value.message, caught.value.clause


def of(**fields) -> bytes:
    return make_token(PKI, make_info(DIGEST, **fields))


SECONDS, MILLIS, MICROS = der.integer(3), der.tlv(0x80, b"\x03\xe7"), der.tlv(0x81, b"\x03\xe7")


@pytest.mark.parametrize(
    ("accuracy", "found"),
    [
        (b"", timedelta()),
        (der.sequence(), timedelta()),
        (der.sequence(SECONDS), timedelta(seconds=3)),
        (der.sequence(MILLIS), timedelta(milliseconds=999)),
        (der.sequence(MICROS), timedelta(microseconds=999)),
        (der.sequence(SECONDS, MILLIS, MICROS), timedelta(seconds=3, milliseconds=999, microseconds=999)),
        (der.sequence(der.integer(0), der.tlv(0x80, b"\0")), timedelta()),
        (der.sequence(der.integer(86400)), timedelta(days=1)),
    ],
)
def test_accuracies(accuracy, found):
    assert inspect_token(of(accuracy=accuracy)).accuracy == found


@pytest.mark.parametrize(
    "accuracy",
    [der.sequence(der.integer(86401)), der.sequence(der.integer(-1)), der.sequence(der.tlv(0x80, b"\x03\xe8")),
     der.sequence(der.tlv(0x81, b"\x03\xe8")), der.sequence(der.tlv(0x80, b"\xff")), der.sequence(MICROS, MILLIS)],
)  # fmt: skip
def test_accuracies_out_of_bounds(accuracy):
    code, message, clause = told(lambda: inspect_token(of(accuracy=accuracy)))
    assert (code, clause) == ("TOKEN_DER", CLAUSE)
    assert message.startswith("TSTInfo is not readable: ")


def test_a_default_is_left_out():
    assert inspect_token(of(accuracy=der.boolean(True))).accuracy == timedelta()
    assert told(lambda: inspect_token(of(accuracy=der.boolean(False)))) == (
        "TOKEN_DER", "TSTInfo is not readable: a DEFAULT value is left out in DER.", CLAUSE,
    )  # fmt: skip


@pytest.mark.parametrize("nonce", [None, 0, 1, NONCE])
def test_every_field_is_given_as_it_is(nonce):
    data = of(nonce=nonce, serial=99, policy="2.999.4")
    token = inspect_token(data)
    assert (token.der, token.gen_time, token.serial, token.policy) == (data, NOW, 99, "2.999.4")
    assert (token.imprint_algorithm, token.imprint, token.nonce) == ("sha256", DIGEST, nonce)
    assert (token.signer, token.certificates, token.digest_name) == (PKI.tsa, (PKI.tsa,), "sha256")
    assert (token.signature_algorithm, token.path, token.revocation_known) == ("1.2.840.10045.4.3.2", (), False)


@pytest.mark.parametrize(("year", "counts"), [(1, False), (1969, False), (1970, True), (9000, True), (9001, False)])
def test_years_that_a_token_may_be_of(year, counts):
    data = of(gen_time=datetime(year, 6, 1, tzinfo=UTC))
    if counts:
        assert inspect_token(data).gen_time.year == year
    else:
        message = f"TSTInfo is not readable: no authority gave a token in the year {year}."
        assert told(lambda: inspect_token(data)) == ("TOKEN_DER", message, CLAUSE)


def test_what_is_said_of_a_token_for_another_question():
    token = of()
    good = check_token(token, DIGEST, [PKI.root], [PKI.crl], POLICY)
    assert (good.path, good.revocation_known) == ((PKI.tsa, PKI.root), True)
    other = "The token is about another value than the one expected."
    assert told(lambda: check_token(token, bytes(32), [PKI.root])) == ("TOKEN_IMPRINT", other, CLAUSE)
    assert told(lambda: check_token(token, DIGEST, [PKI.root], algorithm="sha3_256")) == (
        "TOKEN_IMPRINT", other, CLAUSE,
    )  # fmt: skip
    assert told(lambda: check_token(token, DIGEST, [PKI.root], (), "2.999.2")) == (
        "TOKEN_POLICY", "The token's policy is 2.999.1, not 2.999.2.", CLAUSE,
    )  # fmt: skip
    nonce = "The token does not carry the nonce of the request."
    for asked, sent in ((NONCE + 1, NONCE), (NONCE, None), (0, None)):
        answer = make_response(of(nonce=sent))
        assert told(lambda a=answer, n=asked: accept_response(a, DIGEST, n, NOW, POLICY, [PKI.root])) == (
            "TOKEN_NONCE", nonce, CLAUSE,
        )  # fmt: skip
