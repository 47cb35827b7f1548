"""`verify.sh` on the openssl of the system and on 3.5 or later, today and in 2050."""

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.bundle import make_bundle, unpack
from tests.support.pki import new_pki

# The script compares the token with the clock of the machine.
MOMENT = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
HELD, DID_NOT_HOLD = 0, 1


@pytest.fixture(params=["today", "2050-01-01"])
def clock(request) -> tuple[str, ...]:
    """What to write before a command so that it runs on that day."""
    if request.param == "today":
        return ()
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("the command faketime is not installed: the clock cannot be moved")
    return (faketime, f"{request.param} 00:00:00")


@pytest.fixture(scope="module")
def proof(tmp_path_factory):
    """A proof, unzipped, beside its root."""
    folder = tmp_path_factory.mktemp("script")
    pki = new_pki("Script", MOMENT)
    for name, data in unpack(make_bundle(folder / "P.zip", pki, moment=MOMENT)).items():
        (folder / "P" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "P" / name).write_bytes(data)
    (folder / "mine.pem").write_bytes(pki.root.public_bytes(Encoding.PEM))
    (folder / "mine.vkey").write_text(pki.note_key.vkey() + "\n")
    return folder / "P"


def run(folder, openssl, clock) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*clock, "sh", "verify.sh", "../mine.pem", "../mine.vkey"],
        cwd=folder,
        env={"PATH": f"{openssl.program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_proof_holds(proof, openssl, clock):
    found = run(proof, openssl, clock)
    assert (found.returncode, found.stderr) == (HELD, "")


@pytest.mark.parametrize("member", ["document/original.pdf", "manifest.json.p7s", "token.tst"])
def test_an_altered_proof_does_not(proof, tmp_path, openssl, clock, member):
    shutil.copytree(proof.parent, tmp_path / "copy")
    altered = tmp_path / "copy" / "P" / member
    data = bytearray(altered.read_bytes())
    data[-1] ^= 1
    altered.write_bytes(data)
    found = run(altered.parents[member.count("/")], openssl, clock)
    assert found.returncode == DID_NOT_HOLD
    assert "\nFAILED: " in f"\n{found.stdout}"
