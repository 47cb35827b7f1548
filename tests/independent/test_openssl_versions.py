"""`openssl` judges seals and tokens, first and renewed: as the system has it, and on a libcrypto of 3.5 or later."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from minutier.algorithms import digest
from minutier.timestamp import inspect_token
from tests.support import pki, planted_seals
from tests.support.openssl35 import WANTED, system_openssl
from tests.support.plants import flipped, tst_info
from tests.support.renewals import NAMES, STAMPED, batch, century, stages
from tests.support.verifiers import Question

# The stages of a batch, and how many tokens a record has then.
TOKENS = [(name, number) for name, count in zip(NAMES, (1, 2, 2, 3, 2, 3, 3), strict=True) for number in range(count)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "root.pem").write_bytes(century().root.public_bytes(Encoding.PEM))
    (tmp_path / "other.pem").write_bytes(pki.default_pki().root.public_bytes(Encoding.PEM))
    return tmp_path


def test_the_two_are_what_they_are_called(openssl35):
    assert system_openssl().library() >= (3, 0)
    assert openssl35.library() >= WANTED


def trusted(root: str = "root.pem", moment=STAMPED) -> list[str]:
    return ["-CAfile", root, "-no-CApath", "-no-CAstore", "-attime", str(int(moment.timestamp()))]


# --- seals


def seal_verifies(openssl, folder, question: Question, *more: str, root: str = "root.pem") -> bool:
    """Judge a seal at the moment of the question, under the root and the lists that it gives."""
    (data,) = question.data
    (folder / "seal.p7s").write_bytes(question.subject)
    (folder / "manifest.json").write_bytes(data)
    lists = b"".join(crl.public_bytes(Encoding.PEM) for crl in question.crls)
    (folder / "trusted.pem").write_bytes((folder / root).read_bytes() + lists)
    found = openssl.run(
        folder, "cms", "-verify", "-binary", "-inform", "DER", "-in", "seal.p7s", "-content", "manifest.json",
        *trusted("trusted.pem", question.moment), "-crl_check", "-out", "out", *more,
    )  # fmt: skip
    return found.returncode == 0


def test_a_seal_verifies(openssl, folder):
    assert seal_verifies(openssl, folder, planted_seals.ask_seal(planted_seals.good_seal()))
    assert (folder / "out").read_bytes() == planted_seals.MANIFEST
    assert seal_verifies(openssl, folder, planted_seals.ask_seal(planted_seals.good_seal()), "-cades")


def test_a_seal_under_another_root_is_refused(openssl, folder):
    assert not seal_verifies(openssl, folder, planted_seals.ask_seal(planted_seals.good_seal()), root="other.pem")


@pytest.mark.parametrize("name", planted_seals.SEALS)
def test_a_planted_seal_is_refused(openssl, folder, name):
    # As the verifiers in Java, it reads the first object of the file: the evidence record covers the rest.
    accepted = name == "a byte follows the seal"
    assert seal_verifies(openssl, folder, planted_seals.SEALS[name].make(), "-cades") == accepted


# --- tokens


def token_verifies(openssl, folder, token: bytes, imprint: bytes, moment, root: str = "root.pem") -> tuple[bool, bool]:
    """Give what `cms -verify` and `ts -verify` say."""
    (folder / "token.tst").write_bytes(token)
    cms = openssl.run(
        folder, "cms", "-verify", "-inform", "DER", "-in", "token.tst", "-purpose", "timestampsign",
        *trusted(root, moment), "-out", "info.der",
    )  # fmt: skip
    attime = ["-attime", str(int(moment.timestamp()))]
    ts = openssl.run(
        folder, "ts", "-verify", "-token_in", "-in", "token.tst", "-digest", imprint.hex(), "-CAfile", root, *attime
    )
    return cms.returncode == 0, ts.returncode == 0


@pytest.mark.parametrize(("stage", "number"), TOKENS)
def test_every_token_of_every_stage_verifies(openssl, folder, stage, number):
    stamp = stages(batch(3))[stage].records[-1].stamps[number]
    moment = inspect_token(stamp.token).gen_time
    assert token_verifies(openssl, folder, stamp.token, stamp.root, moment) == (True, True)
    assert tst_info(stamp.token) == (folder / "info.der").read_bytes()
    other = digest(stamp.algorithm, b"other")
    assert token_verifies(openssl, folder, stamp.token, other, moment) == (True, False)
    assert token_verifies(openssl, folder, stamp.token, stamp.root, moment, "other.pem") == (False, False)
    for at in (-1, stamp.token.index(stamp.root)):
        altered = flipped(stamp.token, at)
        assert token_verifies(openssl, folder, altered, stamp.root, moment) == (False, False)


def test_there_are_tokens_of_both_hashes():
    found = [stamp for stage in stages(batch(3)).values() for stamp in stage.records[-1].stamps]
    assert len(found) == len(TOKENS)
    assert {stamp.algorithm for stamp in found} == {"sha256", "sha3_512"}


@pytest.mark.parametrize("name", ["a token under another root", "a token by a seal certificate"])
def test_a_planted_token_is_refused(openssl, folder, name):
    question = planted_seals.TOKENS[name].make()
    (data,) = question.data
    assert token_verifies(openssl, folder, question.subject, digest("sha256", data), STAMPED) == (False, False)
