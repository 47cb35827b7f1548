"""The second seal, ML-DSA-65: openssl 3.5 verifies it, and an older one refuses it and goes on taking the first."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import seal as seals
from tests.support import pki
from tests.support.openssl35 import WANTED, system_openssl
from tests.support.pki import NOW, default_pki, make_crl
from tests.support.plants import flipped
from tests.support.verifiers import Question

MANIFEST = b'{"format":"minutier-manifest/1"}'
FIRST, SECOND = default_pki(), pki.new_second_signer()


def verifies(openssl, folder, sealed: bytes, root, manifest: bytes = MANIFEST) -> bool:
    (folder / "seal.p7s").write_bytes(sealed)
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    found = openssl.run(
        folder, "cms", "-verify", "-binary", "-inform", "DER", "-in", "seal.p7s", "-content", "manifest.json",
        "-CAfile", "root.pem", "-no-CApath", "-no-CAstore", "-attime", str(int(NOW.timestamp())), "-out", "out",
    )  # fmt: skip
    return found.returncode == 0


def test_a_recent_openssl_verifies_it(openssl35, tmp_path):
    sealed = seals.second_seal(MANIFEST, SECOND, NOW)
    assert verifies(openssl35, tmp_path, sealed, SECOND.root)
    assert not verifies(openssl35, tmp_path, sealed, SECOND.root, MANIFEST + b" ")
    assert not verifies(openssl35, tmp_path, sealed, pki.new_second_signer("Another").root)
    for at in (-1, -2000, sealed.index(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05") + 14):
        assert not verifies(openssl35, tmp_path, flipped(sealed, at), SECOND.root)


def test_an_older_openssl_refuses_it_and_takes_the_first(tmp_path):
    openssl = system_openssl()
    assert verifies(openssl, tmp_path, seals.seal(MANIFEST, FIRST.signer, NOW), FIRST.root)
    if openssl.library() >= WANTED:
        pytest.skip("the openssl of the system knows ML-DSA")
    assert not verifies(openssl, tmp_path, seals.second_seal(MANIFEST, SECOND, NOW), SECOND.root)


# EU DSS 6.4 and Bouncy Castle 1.72 do not know the algorithm; the newer Bouncy Castle that DSS brings does.
TAKEN_BY = {"bouncy-castle-recent"}


def test_who_else_takes_it(judges, tmp_path):
    moment = NOW + timedelta(days=30)
    crl = make_crl(SECOND.root, SECOND.root_key, start=NOW, end=moment + timedelta(days=1))
    sealed = seals.second_seal(MANIFEST, SECOND, NOW)
    asked = [
        Question(name, "seal", subject, (MANIFEST,), moment, (SECOND.root,), (crl,))
        for name, subject in (("good", sealed), ("altered", flipped(sealed)))
    ]
    answers = {name: judge.answers(asked, tmp_path) for name, judge in judges.items()}
    assert {name for name, found in answers.items() if found["good"].accepted} == TAKEN_BY
    assert not any(found["altered"].accepted for found in answers.values())
