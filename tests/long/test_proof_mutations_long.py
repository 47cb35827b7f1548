"""Ten thousand single-byte changes of a whole proof with every optional part: each is noticed, and its place named.

Two kinds of change: in the file as it is (the CRC-32 of the container tells), and by a careful forger, who packs the
files again with an index and checksums that fit. `MINUTIER_MUTATIONS` and `MINUTIER_SEED` choose how many and which.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from minutier import proof
from minutier.container import open_container
from minutier.report import Report, Verdict
from minutier.verify import verify
from tests.support.bundle import make_bundle, repack, unpack
from tests.support.full_bundle import FULL_JUDGED_AT, full_trust, make_full_bundle
from tests.support.pki import default_pki, write_trust

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3600),
    # The library warns of odd names and serial numbers in altered certificates, and goes on.
    pytest.mark.filterwarnings("ignore:Attribute's length must be:UserWarning"),
    pytest.mark.filterwarnings("ignore:Parsed a"),
]

COUNT = int(os.environ.get("MINUTIER_MUTATIONS", "12000"))
SEED = int(os.environ.get("MINUTIER_SEED", "2050"))
TRUST = full_trust()
KIT = (proof.README_FR, proof.README_EN, proof.SCRIPT, proof.PROGRAM)
# A careful forger's change may be found by what another file says of it; that file is then named.
NAMED_INSTEAD = {
    proof.ENTRY: {proof.INCLUSION},
    proof.MANIFEST: {proof.SEAL},
    proof.STATEMENT: {proof.STATEMENT_SEAL},
    proof.RECORD: {proof.PATH_TEXT, proof.TOKEN, *(path for n in (2, 3) for path in proof.renewal_paths(n))},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("long")


@pytest.fixture(scope="module")
def good(place) -> Path:
    return make_full_bundle(place / "good.zip")


@pytest.fixture(scope="module")
def files(good) -> dict[str, bytes]:
    return unpack(good)


def judge(path: Path) -> Report:
    return verify(path, TRUST, FULL_JUDGED_AT)


def flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


def places(files: dict[str, bytes], count: int) -> list[tuple[str, int, int]]:
    """Choose `count` changes: the first and last bytes of each file, the rest spread over the files by turns."""
    dice = random.Random(SEED)
    chosen = [(path, at, dice.randrange(1, 256)) for path, data in files.items() for at in {0, 1, len(data) - 1}]
    paths = sorted(files)
    while len(chosen) < count:
        path = paths[len(chosen) % len(paths)]
        # Half of them change one bit, which most resembles the right byte.
        mask = dice.choice((1 << dice.randrange(8), dice.randrange(1, 256)))
        chosen.append((path, dice.randrange(len(files[path])), mask))
    return chosen


def named(report: Report) -> set[str]:
    return {finding.where for finding in report.findings}


def test_the_proof_has_every_part_and_passes(good, files):
    assert judge(good).verdict is Verdict.PASSED
    parts = {
        *proof.REQUIRED[proof.FORMAT],
        proof.ANCHOR,
        proof.STATEMENT,
        proof.STATEMENT_SEAL,
        proof.RENDITION,
        proof.SECOND_SEAL,
    }
    assert parts | {"renewals/02.tst", "renewals/03.tst", "revocation/root.crl", "revocation/tsa.ocsp"} <= set(files)
    assert COUNT >= 10_000 or "MINUTIER_MUTATIONS" in os.environ


def test_any_changed_byte_of_the_file_fails_and_its_place_is_named(good, files, place):
    whole = good.read_bytes()
    with open_container(good) as container:
        entries = dict(container.entries)
    for path, at, mask in places(files, COUNT // 2):
        (place / "altered.zip").write_bytes(flipped(whole, entries[path].offset + at, mask))
        report = judge(place / "altered.zip")
        assert report.verdict is Verdict.FAILED, (path, at, mask)
        assert path in named(report), (path, at, mask)


def test_any_changed_byte_between_the_files_fails(good, place):
    whole = good.read_bytes()
    with open_container(good) as container:
        content = {at for entry in container.entries.values() for at in range(entry.offset, entry.offset + entry.size)}
    dice = random.Random(SEED)
    for at in sorted(set(range(len(whole))) - content):
        (place / "altered.zip").write_bytes(flipped(whole, at, dice.randrange(1, 256)))
        assert judge(place / "altered.zip").verdict is Verdict.FAILED, at


def test_any_changed_byte_fails_when_index_and_checksums_fit(files, place):
    tried: Counter[str] = Counter()
    unnamed: dict[str, tuple[int, int, set[str]]] = {}
    for path, at, mask in places(files, COUNT - COUNT // 2):
        altered = {**files, path: flipped(files[path], at, mask)}
        report = judge(repack(altered, place / "altered.zip", reindex=path != proof.INDEX))
        assert report.verdict is Verdict.FAILED, (path, at, mask)
        tried[path] += 1
        # A digest in the index contradicts the file that it is of.
        others = set(files) if path == proof.INDEX else NAMED_INSTEAD.get(path, set())
        if not named(report) & {path, *others}:
            unnamed[path] = (at, mask, named(report))
    assert unnamed == {}
    assert set(tried) == set(files)
    assert min(tried.values()) >= COUNT // 2 // len(files) // 2


def test_the_script_of_a_proof_refuses_a_sample_of_them(place):
    """`verify.sh`, which is not of our code at run time; it says itself that it does not check everything."""
    files = unpack(make_bundle(place / "plain.zip"))
    root = write_trust(place / "trust", default_pki()) / "root.pem"
    judged = (proof.MANIFEST, proof.SEAL, proof.TOKEN, "document/original.pdf", proof.RENDITION, proof.PATH_TEXT)

    def run(altered: dict[str, bytes]) -> int:
        folder = place / "unzipped"
        for path, data in altered.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        command = ["sh", "verify.sh", str(root), str(root.with_name("journal.vkey"))]
        return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode

    assert run(files) == 0
    dice = random.Random(SEED)
    for path in judged:
        for _ in range(max(2, COUNT // 1000)):
            at, mask = dice.randrange(len(files[path])), dice.randrange(1, 256)
            assert run({**files, path: flipped(files[path], at, mask)}) == 1, (path, at, mask)


def test_the_program_of_the_proof_refuses_a_sample_of_careful_forgeries(files, place):
    """`verify.py`, a second verifier; its notes say what it leaves to openssl 3.5 and what it does not judge."""
    trust = write_trust(place / "anchors", default_pki())
    program = place / "verify.py"
    program.write_bytes(files[proof.PROGRAM])
    left = {proof.SECOND_SEAL, proof.SECOND_CHAIN, "revocation/second.crl", *KIT}

    def run(bundle: Path) -> int:
        anchors = ("--root", str(trust / "root.pem"), "--journal-key", str(trust / "journal.vkey"))
        command = ["python3", str(program), str(bundle), *anchors, "--at", f"{FULL_JUDGED_AT:%Y-%m-%dT%H:%M:%SZ}"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert run(repack(files, place / "altered.zip")) == 0
    dice = random.Random(SEED)
    for path in sorted(set(files) - left):
        for _ in range(max(2, COUNT // 2000)):
            at, mask = dice.randrange(len(files[path])), dice.randrange(1, 256)
            altered = {**files, path: flipped(files[path], at, mask)}
            assert run(repack(altered, place / "altered.zip", reindex=path != proof.INDEX)) == 1, (path, at, mask)
