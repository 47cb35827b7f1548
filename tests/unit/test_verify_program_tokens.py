"""The corpus of hostile tokens before `verify.py`, which shares no code with what they were first written against."""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import der
from tests.support.hostile_tokens import PKI, Case, read_stored
from tests.unit.test_verify_program import program

# Questions that are put to an answer when it comes, by who asked; a token in a proof has no nonce and no clock.
OF_THE_ANSWER = {"TOKEN_STATUS", "TOKEN_NONCE", "TOKEN_SERIAL", "TOKEN_POLICY", "TOKEN_TIME"}
NO_OPENSSL_FOR_IT = "ALGORITHM_UNSUPPORTED"
CASES = read_stored()


def token_of(case: Case) -> bytes | None:
    """Give the token of an answer, None when the answer is not that of a granted request."""
    try:
        items = der.read(case.response).children()
        return items[1].encoded if len(items) == 2 else None
    except (ValueError, IndexError):
        return None


def asked() -> list[str]:
    return sorted(name for name, case in CASES.items() if case.code not in OF_THE_ANSWER and token_of(case))


def judge(case: Case) -> set[str]:
    """Give the codes of the findings on a token under the root of the corpus; missing revocation data is no finding."""
    module = program()
    root = module.Certificate(PKI.root.public_bytes(Encoding.DER))
    given = argparse.Namespace(roots=[root], keys=[], time=case.clock, ends=module.ENDS)
    check = module.Check(SimpleNamespace(places={}), given, module.OpenSsl())
    check.small = {f"revocation/{number}.ocsp": data for number, data in enumerate(case.ocsp)}
    with check.guard("token.tst", "TOKEN", "DER"):
        check.lists = {str(number): module.RevocationList(data) for number, data in enumerate(case.crls)}
        pool = [module.Certificate(data) for data in (*case.signers, *case.intermediates)]
        token = module.Token(token_of(case), pool)
        if (token.imprint_hash, token.imprint) != (case.algorithm, case.digest):
            check.add("TOKEN_IMPRINT", "token.tst", "another value")
        check.trust(token, "TOKEN", "token.tst", token.time, pool)
    return {item["code"] for item in check.findings} - {"REVOCATION_UNKNOWN"}


@pytest.mark.parametrize("name", asked())
def test_a_token_is_refused_or_accepted_as_by_the_package(name):
    case = CASES[name]
    found = judge(case)
    if NO_OPENSSL_FOR_IT in found:
        pytest.skip("this openssl does not know the algorithm: no verdict, which is right")
    assert bool(found) == bool(case.code), (found, case.code)


def test_the_corpus_is_asked_nearly_whole():
    assert len(asked()) > 100
    assert sum(1 for name in asked() if not CASES[name].code) >= 8
