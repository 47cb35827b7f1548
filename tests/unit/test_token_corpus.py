"""The corpus of time-stamp answers: each hostile one refused by the check it is about, each good one accepted.

Judged as made now, and as stored in tests/vectors/tokens; with `openssl` and rfc3161ng as other opinions.
"""

from __future__ import annotations

import json
import subprocess

import pytest
import rfc3161ng
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import algorithms
from minutier.certificates import load_pem
from minutier.errors import IntegrityFailureError
from tests.support.fixed_pki import TOKENS
from tests.support.hostile_tokens import PKI, cases, index_entry, read_stored
from tests.support.pki import NONCE
from tests.support.said import well_said

MADE, STORED = cases(), read_stored()
GOOD = [name for name, case in MADE.items() if not case.code]
HOSTILE = [name for name, case in MADE.items() if case.code]
# What OpenSSL 3.0 cannot read, or needs to be told in another way.
NOT_FOR_TS = {"rsa-pss", "ed25519", "no-certificate-the-right-one-given"}
NOT_FOR_CMS = {"ed25519", "intermediate-given"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_refused_by_its_check(name):
    for case in (MADE[name], STORED[name]):
        with pytest.raises(IntegrityFailureError) as caught:
            case.judge()
        assert well_said(caught.value) == case.code
        assert caught.value.clause
        assert caught.value.remedy
        assert caught.value.message.endswith(".")


@pytest.mark.parametrize("name", GOOD)
def test_a_good_answer_is_accepted(name):
    for case in (MADE[name], STORED[name]):
        token = case.judge()
        assert token.der == case.token
        assert (token.imprint, token.imprint_algorithm, token.nonce) == (case.digest, case.algorithm, case.nonce)
        assert token.path[0] == token.signer
        assert token.path[-1] == PKI.root


def test_each_check_has_its_hostile_answers():
    codes = {case.code for case in MADE.values()}
    assert codes == {
        "", "TOKEN_DER", "TOKEN_STATUS", "TOKEN_CONTENT_TYPE", "TOKEN_SIGNER", "TOKEN_DIGEST", "TOKEN_SIGNATURE",
        "TOKEN_ALGORITHM", "TOKEN_ESS", "TOKEN_PURPOSE", "TOKEN_CHAIN", "TOKEN_REVOKED", "TOKEN_IMPRINT",
        "TOKEN_NONCE", "TOKEN_POLICY", "TOKEN_TIME", "TOKEN_SERIAL", "TOKEN_SECOND_OPINION",
    }  # fmt: skip
    assert len(HOSTILE) >= 100
    assert len(GOOD) >= 20


def test_the_stored_files_are_those_that_the_generator_writes():
    index = json.loads((TOKENS / "index.json").read_text(encoding="utf-8"))
    assert index["cases"] == [index_entry(case) for case in MADE.values()]
    assert {path.stem for path in TOKENS.glob("*.der")} == set(MADE)
    assert load_pem((TOKENS / index["root"]).read_bytes()) == (PKI.root,)
    different = [name for name, case in MADE.items() if case.response != STORED[name].response]
    assert set(different) <= {name for name, case in MADE.items() if not case.repeatable}
    assert sum(path.stat().st_size for path in TOKENS.rglob("*") if path.is_file()) < 400_000


def test_no_cut_of_a_good_answer_is_accepted():
    case = MADE["ecdsa-p256"]
    for length in range(0, len(case.response), 7):
        cut = type(case)("cut", "", case.response[:length])
        with pytest.raises(IntegrityFailureError) as caught:
            cut.judge()
        assert caught.value.code == "TOKEN_DER"


# --- other opinions


def openssl(folder, *arguments):
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "root.pem").write_bytes(PKI.root.public_bytes(Encoding.PEM))
    return tmp_path


def arguments_for(case, folder):
    (folder / "token.tst").write_bytes(case.token)
    chain = [*case.judge().path[:-1]]
    (folder / "chain.pem").write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in chain))
    return ["-CAfile", "root.pem", "-attime", str(int(case.judge().gen_time.timestamp()))]


@pytest.mark.parametrize("name", [name for name in GOOD if name not in NOT_FOR_TS])
def test_openssl_ts_accepts_the_good_ones(name, folder):
    case = STORED[name]
    common = arguments_for(case, folder)
    found = openssl(
        folder, "ts", "-verify", "-digest", case.digest.hex(), "-token_in", "-in", "token.tst", "-untrusted",
        "chain.pem", *common,
    )  # fmt: skip
    assert "Verification: OK" in found.stdout, found.stderr


@pytest.mark.parametrize("name", [name for name in GOOD if name not in NOT_FOR_CMS])
def test_openssl_cms_accepts_the_good_ones(name, folder):
    case = STORED[name]
    common = arguments_for(case, folder)
    found = openssl(
        folder, "cms", "-verify", "-inform", "DER", "-in", "token.tst", "-purpose", "timestampsign", "-certfile",
        "chain.pem", "-out", "info.der", *common,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_rfc3161ng_accepts_the_rsa_one_with_its_certificate_and_not_for_another_digest():
    case = STORED["rsa-3072"]
    token = case.judge()
    assert token.signature_algorithm == "1.2.840.113549.1.1.11"
    pem = token.signer.public_bytes(Encoding.PEM)
    options = {"certificate": pem, "hashname": "sha256", "nonce": NONCE}
    assert rfc3161ng.check_timestamp(case.token, digest=case.digest, **options)
    with pytest.raises(ValueError, match="Message imprint mismatch"):
        rfc3161ng.check_timestamp(case.token, digest=algorithms.digest("sha256", b""), **options)
