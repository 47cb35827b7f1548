"""Go's own libraries for transparency logs read our proof of one line, and refuse it when it was changed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.test_tiles import NAMED, small_proof

SOURCE = Path(__file__).with_name("go")

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("go") is None, reason="Go is absent: it builds the MinIO server of the tests, too"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    target = tmp_path_factory.mktemp("go") / "tlogproof"
    command = ["go", "build", "-mod=readonly", "-o", str(target), "."]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=500)
    if done.returncode:
        pytest.fail(f"the verifier could not be built: {done.stderr[-500:]}")
    return target


def judged(program, folder, data, vkey):
    (folder / "line.tlog-proof").write_bytes(data)
    (folder / "journal.vkey").write_text(vkey)
    return subprocess.run(
        [program, folder / "line.tlog-proof", folder / "journal.vkey"], capture_output=True, check=False, timeout=60
    )


def test_go_reads_the_line(program, tmp_path):
    done = judged(program, tmp_path, small_proof(), NAMED.vkey())
    assert (done.returncode, done.stdout) == (0, b"entry 4"), done.stderr


@pytest.mark.parametrize("part", ["extra", "index", "path", "root", "signature"])
def test_go_refuses_what_was_changed(program, tmp_path, part):
    lines = small_proof().decode().split("\n")
    number = {"extra": 1, "index": 2, "path": 3, "root": 9, "signature": 11}[part]
    place = len(lines[number]) - 6 if part != "index" else len(lines[number]) - 1
    changed = "A" if lines[number][place] != "A" else "B"
    lines[number] = lines[number][:place] + ("5" if part == "index" else changed) + lines[number][place + 1 :]
    assert judged(program, tmp_path, "\n".join(lines).encode(), NAMED.vkey()).returncode == 1
