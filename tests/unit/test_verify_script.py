"""`verify.sh` as a stranger runs it: in the unzipped folder, with sh, openssl and coreutils and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import kit, proof
from tests.support.bundle import ARCHIVE_ID, make_bundle, unpack
from tests.support.pki import make_crl, new_pki

# The script compares the token with the clock of the machine: the proof is made two minutes ago.
MOMENT = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
PROGRAMS = ("openssl", "basenc", "cat", "date", "mktemp", "rm", "sort", "tail", "tr", "wc")
HELD, DID_NOT_HOLD, NOT_YET_A_PROOF = 0, 1, 3


@cache
def pki():
    return new_pki("Script", MOMENT)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("script") / "P.zip", pki(), moment=MOMENT)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    """A PATH that leads to openssl and ten programs of coreutils: no python, grep, sed, awk, unzip."""
    programs = tmp_path_factory.mktemp("programs")
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found, f"{name} is not installed"
        (programs / name).symlink_to(found)
    return str(programs)


@pytest.fixture
def folder(bundle, tmp_path) -> Path:
    for name, data in unpack(bundle).items():
        (tmp_path / "P" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "P" / name).write_bytes(data)
    (tmp_path / "mine.pem").write_bytes(pki().root.public_bytes(Encoding.PEM))
    return tmp_path / "P"


def run(folder: Path, path: str, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("sh")
    assert shell
    return subprocess.run(
        [*before, shell, "verify.sh", *arguments],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def fingerprint() -> str:
    found = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"],
        input=pki().root.public_bytes(Encoding.PEM),
        capture_output=True,
        check=True,
    )
    return found.stdout.decode().strip().partition("=")[2]


def test_with_the_root_every_check_holds(folder, path):
    found = run(folder, path, "../mine.pem")
    assert (found.returncode, found.stderr) == (HELD, "")
    assert [line.split()[:2] for line in found.stdout.splitlines()[:8]] == [["ok", f"{n}/8"] for n in range(1, 9)]
    assert f"SHA-256: {fingerprint()}" in found.stdout
    assert f"document {ARCHIVE_ID} existed, as it is here, on {MOMENT:%Y-%m-%dT%H:%M:%SZ}." in found.stdout


def test_without_a_root_it_prints_the_fingerprint_and_does_not_say_passed(folder, path):
    found = run(folder, path)
    assert (found.returncode, found.stderr) == (NOT_YET_A_PROOF, "")
    assert f"SHA-256: {fingerprint()}" in found.stdout
    assert "PASSED" not in found.stdout
    assert "NOT YET A PROOF" in found.stdout


def test_without_a_rendition_it_holds_too(tmp_path, path):
    for name, data in unpack(make_bundle(tmp_path / "P.zip", pki(), moment=MOMENT, rendition=None, batch=1)).items():
        (tmp_path / "P" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "P" / name).write_bytes(data)
    (tmp_path / "mine.pem").write_bytes(pki().root.public_bytes(Encoding.PEM))
    assert run(tmp_path / "P", path, "../mine.pem").returncode == HELD


# verify.sh cannot be its own judge: an altered script may say anything. The reader of the .zip looks at it.
COVERED = sorted(
    {*proof.REQUIRED[proof.FORMAT], proof.RENDITION, "document/original.pdf", "revocation/root.crl"} - {proof.SCRIPT}
)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0], ids=["first", "middle", "last"])
@pytest.mark.parametrize("member", COVERED)
def test_one_altered_byte_of_any_file_is_found(folder, path, member, fraction):
    data = bytearray((folder / member).read_bytes())
    data[min(len(data) - 1, int(len(data) * fraction))] ^= 1
    (folder / member).write_bytes(data)
    found = run(folder, path, "../mine.pem")
    assert found.returncode == DID_NOT_HOLD
    assert found.stderr.startswith("FAILED: ")
    assert "PASSED" not in found.stdout


@pytest.mark.parametrize("member", COVERED)
def test_a_missing_file_is_found(folder, path, member):
    (folder / member).unlink()
    found = run(folder, path, "../mine.pem")
    assert found.returncode == DID_NOT_HOLD
    assert "FAILED: " in found.stderr


def test_an_altered_script_is_found_by_the_index_that_another_copy_of_it_reads(folder, path):
    script = folder / proof.SCRIPT
    script.write_bytes(script.read_bytes() + b"\n# altered\n")
    (folder.parent / "trusted.sh").write_text(kit.VERIFY_SH)
    shell = shutil.which("sh")
    assert shell
    found = subprocess.run(
        [shell, "../trusted.sh", "../mine.pem"],
        cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (DID_NOT_HOLD, "FAILED: verify.sh was altered\n")


def test_a_stray_document_is_found(folder, path):
    (folder / "document/annex.pdf").write_bytes(b"x")
    assert run(folder, path, "../mine.pem").returncode == DID_NOT_HOLD


def test_another_root_is_refused(folder, path):
    (folder.parent / "other.pem").write_bytes(new_pki("Script", MOMENT).root.public_bytes(Encoding.PEM))
    found = run(folder, path, "../other.pem")
    assert (found.returncode, found.stderr) == (
        DID_NOT_HOLD, "FAILED: the time-stamp does not verify under this root\n",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["../none.pem", "proof.json", "-root.pem"])
def test_a_root_that_is_no_certificate_is_refused(folder, path, name):
    found = run(folder, path, name)
    assert found.returncode == DID_NOT_HOLD
    assert "the root" in found.stderr


def test_outside_the_folder_it_says_where_to_run(folder, path):
    (folder.parent / "verify.sh").write_text(kit.VERIFY_SH)
    found = run(folder.parent, path, "mine.pem")
    assert found.returncode == DID_NOT_HOLD
    assert "run this inside the unzipped folder" in found.stderr


# --- careful forgers: the index fits


def forged(tmp_path: Path, path: str, **changes: bytes) -> subprocess.CompletedProcess[str]:
    files = unpack(make_bundle(tmp_path / "P.zip", pki(), moment=MOMENT))
    files |= {name.replace("__", "/").replace("_", "."): data for name, data in changes.items()}
    del files[proof.INDEX]
    files[proof.INDEX] = proof.encode_index(ARCHIVE_ID, files)
    for name, data in files.items():
        (tmp_path / "P" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "P" / name).write_bytes(data)
    (tmp_path / "mine.pem").write_bytes(pki().root.public_bytes(Encoding.PEM))
    return run(tmp_path / "P", path, "../mine.pem")


def test_a_replaced_document_is_found(tmp_path, path):
    found = forged(tmp_path, path, document__original_pdf=b"another")
    assert (found.returncode, found.stderr) == (1, "FAILED: manifest.json does not describe document/original.pdf\n")


def test_a_revoked_seal_is_found(tmp_path, path):
    crl = make_crl(
        pki().root, pki().root_key, [(pki().seal, MOMENT - timedelta(days=1), None)], start=MOMENT - timedelta(days=1),
        end=MOMENT + timedelta(days=90),
    )  # fmt: skip
    found = forged(tmp_path, path, revocation__root_crl=crl.public_bytes(Encoding.DER))
    assert (found.returncode, found.stderr) == (
        1, "FAILED: the seal's certificate is revoked, or no list covers it\n",
    )  # fmt: skip


def test_a_journal_entry_that_is_not_in_the_tree_is_found(tmp_path, path):
    files = unpack(make_bundle(tmp_path / "Q.zip", pki(), moment=MOMENT))
    entry = files[proof.ENTRY].replace(b'"objects":4', b'"objects":5')
    assert entry != files[proof.ENTRY]
    found = forged(tmp_path, path, journal__entry_json=entry)
    assert (found.returncode, found.stderr) == (1, "FAILED: the journal entry is not in the journal\n")


# --- long after


@pytest.mark.parametrize("day", ["2050-01-01", "2099-12-31"])
def test_it_holds_long_after_the_certificates_have_ended(folder, path, day):
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("the command faketime is not installed: the clock cannot be moved")
    before = (faketime, f"{day} 00:00:00")
    said = subprocess.run([*before, "date", "-u", "+%Y"], capture_output=True, text=True, check=True).stdout.strip()
    assert said in (day[:4], str(int(day[:4]) - 1))
    found = run(folder, path, "../mine.pem", before=before)
    assert (found.returncode, found.stderr) == (HELD, "")


def test_a_clock_before_the_token_is_said(folder, path):
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("the command faketime is not installed: the clock cannot be moved")
    found = run(folder, path, "../mine.pem", before=(faketime, "2020-01-01 00:00:00"))
    assert found.returncode == DID_NOT_HOLD
    assert "check the clock" in found.stderr
