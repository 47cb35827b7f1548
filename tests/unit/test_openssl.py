"""The real `openssl` command accepts the parts of a proof as they are, and refuses them once altered.

It shares no code with this archive: what it accepts, a stranger can check in thirty years without us.
"""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minutier import evidence, proof
from minutier.checkpoint import parse_checkpoint
from tests.support.bundle import make_bundle, unpack
from tests.support.pki import NOW, default_pki, new_pki

PKI = default_pki()
AT = ["-attime", str(int(NOW.timestamp()))]
ROOT = ["-CAfile", "certificates/root.pem", "-no-CApath", "-no-CAstore"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A proof, unzipped."""
    files = unpack(make_bundle(tmp_path / "P.zip"))
    for path, data in files.items():
        (tmp_path / "P" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "P" / path).write_bytes(data)
    return tmp_path / "P"


def openssl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def flip(path: Path, at: int, mask: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)


# --- digests


@pytest.mark.parametrize("path", ["document/original.pdf", "document/rendition.pdf"])
def test_dgst_gives_both_digests_of_the_manifest(folder, path):
    described = {item["role"]: item for item in json.loads((folder / proof.MANIFEST).read_bytes())["objects"]}
    item = described[Path(path).stem]

    def digests() -> tuple[str, ...]:
        found = [openssl(folder, "dgst", f"-{name}", "-r", path) for name in ("sha256", "sha3-512")]
        assert [run.returncode for run in found] == [0, 0]
        return tuple(run.stdout.split()[0] for run in found)

    assert digests() == (item["sha256"], item["sha3_512"])
    flip(folder / path, 0)
    assert all(left != right for left, right in zip(digests(), (item["sha256"], item["sha3_512"]), strict=True))


def test_dgst_gives_the_digests_of_the_index(folder):
    listed = {item["path"]: item["sha256"] for item in json.loads((folder / proof.INDEX).read_bytes())["files"]}
    found = openssl(folder, "dgst", "-sha256", "-r", *listed)
    assert {line.split(" *")[1]: line.split(" *")[0] for line in found.stdout.splitlines()} == listed


# --- the seal


def seal_verifies(folder: Path, *more: str) -> bool:
    found = openssl(
        folder, "cms", "-verify", "-binary", "-inform", "DER", "-in", proof.SEAL, "-content", proof.MANIFEST, *ROOT,
        *AT, "-out", "sealed", *more,
    )  # fmt: skip
    return found.returncode == 0


def test_cms_verifies_the_seal_over_the_manifest(folder):
    assert seal_verifies(folder)
    assert (folder / "sealed").read_bytes() == (folder / proof.MANIFEST).read_bytes()
    assert seal_verifies(folder, "-cades")


@pytest.mark.parametrize("at", [0, 100, -1])
def test_cms_refuses_the_seal_over_an_altered_manifest(folder, at):
    flip(folder / proof.MANIFEST, at)
    assert not seal_verifies(folder)


@pytest.mark.parametrize("at", [0, 60, -1], ids=["structure", "certificate", "signature"])
def test_cms_refuses_an_altered_seal(folder, at):
    flip(folder / proof.SEAL, at)
    assert not seal_verifies(folder, "-cades")


def test_cms_refuses_the_seal_under_another_root_and_at_another_time(folder):
    assert not seal_verifies(folder, "-attime", "2000000000")
    (folder / "certificates/root.pem").write_bytes(new_pki("Rogue").root.public_bytes(Encoding.PEM))
    assert not seal_verifies(folder)


# --- the token


def token_verifies(folder: Path, digest: bytes) -> bool:
    found = openssl(
        folder, "ts", "-verify", "-digest", digest.hex(), "-token_in", "-in", proof.TOKEN, "-CAfile",
        "certificates/root.pem", *AT,
    )  # fmt: skip
    assert (found.returncode == 0) == ("Verification: OK" in found.stdout)
    return found.returncode == 0


def token_is_for_stamping(folder: Path, *more: str) -> bool:
    found = openssl(
        folder, "cms", "-verify", "-inform", "DER", "-in", proof.TOKEN, "-purpose", "timestampsign", *ROOT, *AT,
        "-out", "info.der", *more,
    )  # fmt: skip
    return found.returncode == 0


def batch_root(folder: Path) -> bytes:
    return evidence.decode_record((folder / proof.RECORD).read_bytes()).first.root


def test_ts_and_cms_verify_the_token_over_the_root_of_the_batch(folder):
    assert token_verifies(folder, batch_root(folder))
    assert token_is_for_stamping(folder)
    assert batch_root(folder) in (folder / "info.der").read_bytes()


def test_ts_refuses_the_token_for_another_root(folder):
    assert not token_verifies(folder, bytes(32))


@pytest.mark.parametrize("at", [0, 80, -1], ids=["structure", "content", "signature"])
def test_ts_and_cms_refuse_an_altered_token(folder, at):
    flip(folder / proof.TOKEN, at)
    assert not token_verifies(folder, batch_root(folder))
    assert not token_is_for_stamping(folder)


def test_cms_refuses_the_seal_as_a_token(folder):
    # The sealing certificate has no extended key usage: it may not stamp.
    (folder / proof.TOKEN).write_bytes((folder / proof.SEAL).read_bytes())
    assert not token_is_for_stamping(folder, "-content", proof.MANIFEST)


def test_asn1parse_finds_the_token_at_the_end_of_the_record(folder):
    record, token = (folder / proof.RECORD).read_bytes(), (folder / proof.TOKEN).read_bytes()
    assert record.endswith(token)
    found = openssl(folder, "asn1parse", "-inform", "DER", "-in", proof.RECORD)
    assert (found.returncode, found.stdout.splitlines()[1].split(":")[-1]) == (0, "01")
    offset = str(len(record) - len(token))
    found = openssl(
        folder, "asn1parse", "-inform", "DER", "-in", proof.RECORD, "-strparse", offset, "-noout", "-out", "cut"
    )
    assert found.returncode == 0
    # -strparse gives the contents of the element at the offset, without its header.
    assert token.endswith((folder / "cut").read_bytes())


# --- the checkpoint


def checkpoint_verifies(folder: Path) -> bool:
    note = (folder / proof.CHECKPOINT).read_text()
    _, signatures = parse_checkpoint(note.encode())
    (folder / "text").write_text(note.partition("\n\n")[0] + "\n")
    (folder / "signature").write_bytes(signatures[0][2])
    public = PKI.journal_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "journal.pem").write_bytes(public)
    found = openssl(
        folder, "pkeyutl", "-verify", "-pubin", "-inkey", "journal.pem", "-rawin", "-in", "text", "-sigfile",
        "signature",
    )  # fmt: skip
    return found.returncode == 0


def test_pkeyutl_verifies_the_checkpoint(folder):
    assert checkpoint_verifies(folder)


def test_pkeyutl_refuses_a_checkpoint_of_another_size_root_or_signature(folder):
    path = folder / proof.CHECKPOINT
    note = path.read_text()
    origin, size, root, _, signature, _ = note.split("\n")
    name, encoded = signature.removeprefix("— ").split(" ")
    spoiled = bytearray(base64.b64decode(encoded))
    spoiled[-1] ^= 1
    for altered in (
        note.replace(f"\n{size}\n", "\n8\n"),
        note.replace(root, base64.b64encode(bytes(32)).decode()),
        note.replace(origin + "\n" + size, origin + ".other\n" + size),
        note.replace(encoded, base64.b64encode(bytes(spoiled)).decode()),
    ):
        assert altered != note
        path.write_text(altered)
        assert not checkpoint_verifies(folder)
    assert name == PKI.note_key.name


# --- revocation


def test_verify_reads_the_revocation_list(folder):
    found = openssl(
        folder, "crl", "-inform", "DER", "-in", "revocation/root.crl", "-CAfile", "certificates/root.pem", "-noout"
    )
    assert (found.returncode, found.stderr.strip()) == (0, "verify OK")
    flip(folder / "revocation/root.crl", -1)
    found = openssl(
        folder, "crl", "-inform", "DER", "-in", "revocation/root.crl", "-CAfile", "certificates/root.pem", "-noout"
    )
    assert "verify OK" not in found.stderr
