"""`verify.sh` and `verify.py` on renewed proofs, with tokens of every kind, on the openssl of the system and on 3.5."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.bundle import ARCHIVE_ID, make_bundle, unpack
from tests.support.openssl35 import WANTED, NoOpenSslError, recent_openssl, system_openssl
from tests.support.pki import new_pki, new_second_signer, write_trust
from tests.support.renewed import DAY, Renewal, long_pki, next_tsa, renewed_files, written

OLD = datetime.now(UTC).replace(microsecond=0) - timedelta(days=700)
HELD, DID_NOT_HOLD, NO_VERDICT = 0, 1, 3
KINDS = ("ecdsa", "rsa", "rsa-pss", "ed25519")


@pytest.fixture(params=["system", "recent"])
def openssl(request):
    try:
        return system_openssl() if request.param == "system" else recent_openssl()
    except NoOpenSslError as error:
        pytest.skip(f"no libcrypto of 3.5: {error}")


@cache
def pki():
    return long_pki(OLD)


@cache
def proof_of(kind: str, folder) -> dict[str, bytes]:
    made = {"ecdsa": lambda: None, "ed25519": ed25519.Ed25519PrivateKey.generate}
    key = made.get(kind, lambda: rsa.generate_private_key(65537, 3072))()
    tsa = next_tsa(pki(), OLD + 200 * DAY, key=key)
    renewals = [
        Renewal("time", OLD + 200 * DAY, *tsa, pss=kind == "rsa-pss"),
        Renewal("tree", OLD + 400 * DAY, *next_tsa(pki(), OLD + 400 * DAY)),
    ]
    return renewed_files(folder, pki(), OLD, renewals, ARCHIVE_ID)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("kit")


@pytest.fixture(params=KINDS)
def folder(request, place, tmp_path):
    write_trust(tmp_path / "trust", pki())
    return request.param, written(proof_of(request.param, place), tmp_path / "P")


def run(folder, openssl, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{openssl.program.parent}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def expected(kind: str, openssl) -> int:
    return NO_VERDICT if kind == "ed25519" and openssl.library() < WANTED else HELD


def test_the_script(folder, openssl):
    kind, place = folder
    found = run(place, openssl, "sh", "verify.sh", "../trust/root.pem", "../trust/journal.vkey")
    assert (found.returncode, found.stderr) == (expected(kind, openssl), "")
    assert ("cannot check the algorithm of renewals/02.tst" in found.stdout) == (found.returncode == NO_VERDICT)


def test_the_program(folder, openssl):
    kind, place = folder
    anchors = ("--root", "../trust/root.pem", "--journal-key", "../trust/journal.vkey")
    found = run(place, openssl, sys.executable, "-I", "verify.py", *anchors, ".")
    assert (found.returncode, found.stderr) == (expected(kind, openssl), "")


def test_an_altered_token_is_found_by_both(folder, openssl):
    _, place = folder
    data = bytearray((place / "renewals/02.tst").read_bytes())
    data[-1] ^= 1
    (place / "renewals/02.tst").write_bytes(data)
    assert run(place, openssl, "sh", "verify.sh", "../trust/root.pem").returncode == DID_NOT_HOLD
    found = run(place, openssl, sys.executable, "-I", "verify.py", "--root", "../trust/root.pem", ".")
    assert found.returncode == DID_NOT_HOLD


@pytest.fixture(scope="module")
def twice_sealed(tmp_path_factory):
    """A proof with a second seal, unzipped, beside the roots of both."""
    place = tmp_path_factory.mktemp("second")
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    first = new_pki("Twice", moment)
    second = new_second_signer(start=moment - DAY, end=moment + 100 * DAY)
    written(unpack(make_bundle(place / "P.zip", first, moment=moment, second=second)), place / "P")
    one, other = (item.public_bytes(Encoding.PEM) for item in (first.root, second.root))
    (place / "one.pem").write_bytes(one)
    (place / "journal.vkey").write_text(first.note_key.vkey() + "\n")
    (place / "both.pem").write_bytes(one + other)
    return place / "P"


def test_a_second_seal_is_checked_by_the_openssl_that_knows_it(twice_sealed, openssl):
    knows = openssl.library() >= WANTED
    words = {
        "one.pem": "its own root is not in the file of roots" if knows else "not checked by this openssl",
        "both.pem": "second seal verified" if knows else "not checked by this openssl",
    }
    for roots, expected_words in words.items():
        found = run(twice_sealed, openssl, "sh", "verify.sh", f"../{roots}", "../journal.vkey")
        assert (found.returncode, found.stderr) == (HELD, "")
        assert expected_words in found.stdout
        found = run(twice_sealed, openssl, sys.executable, "-I", "verify.py", "--root", f"../{roots}", "--json", ".")
        codes = {item["code"] for item in json.loads(found.stdout)["findings"]}
        # With its root, the second seal is judged whole: no list of the test covers its certificate.
        assert codes == {"NO_JOURNAL_KEY"} | ({"REVOCATION_UNKNOWN"} if knows and roots == "both.pem" else set())


def test_an_altered_second_seal_is_found(twice_sealed, tmp_path, openssl):
    shutil.copytree(twice_sealed.parent, tmp_path / "copy")
    place = tmp_path / "copy" / "P"
    data = bytearray((place / "manifest.json.mldsa65.p7s").read_bytes())
    data[-1] ^= 1
    (place / "manifest.json.mldsa65.p7s").write_bytes(data)
    assert run(place, openssl, "sh", "verify.sh", "../one.pem").returncode == DID_NOT_HOLD
    found = run(place, openssl, sys.executable, "-I", "verify.py", "--root", "../one.pem", ".")
    assert found.returncode == DID_NOT_HOLD
