"""Ten thousand documents: one token for all, one for each renewal, no document read, and proofs that stand.

Each stage is reached once; what was exported at it is then judged by us, and by the verifiers that are not ours.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import evidence, proof, verify
from minutier.report import Verdict
from minutier.trust import Trust, load_trust
from storage import proofs, renewal
from storage.dev_ca import create_development_ca
from tests.independent.test_exported_proofs import judged, later, questions
from tests.support.bundle import unpack
from tests.support.crowd import deposit_crowd
from tests.support.openssl35 import NoOpenSslError, recent_openssl, system_openssl
from tests.support.rig import make_rig
from tests.support.verifiers import NAMES

DOCUMENTS, WHOLE = 10_000, 4
YEAR = timedelta(days=365)
STAGES = ("at first", "time-stamp renewed", "hash tree renewed")
CHAINS = {
    "at first": [("sha256", 1)],
    "time-stamp renewed": [("sha256", 2)],
    "hash tree renewed": [("sha256", 2), ("sha3_512", 1)],
}


@dataclass
class Life:
    """What was seen of ten thousand documents on their way through the stages."""

    everyone: set[str] = field(default_factory=set)
    tokens: dict[str, int] = field(default_factory=dict)
    reports: dict[str, renewal.RenewalReport] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    proofs: dict[str, list[Path]] = field(default_factory=dict)
    trust: dict[str, Trust] = field(default_factory=dict)
    moments: dict[str, datetime] = field(default_factory=dict)


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    spent = f"{time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} s of CPU in this process"
    print(f"{what}: {spent}", file=sys.stderr)


def reached(life: Life, rig, stage: str, whole) -> None:
    """Count the tokens, and export a few proofs."""
    with rig.archive.database.transaction() as connection:
        life.tokens[stage] = connection.execute("SELECT count(*) AS n FROM token").fetchone()["n"]
    life.moments[stage] = rig.clock()
    found = load_trust(rig.archive.settings.trust_dir)
    life.trust[stage] = dataclasses.replace(found, dates=rig.archive.dates)
    life.proofs[stage] = []
    for deposit in whole:
        target = rig.folder / f"{stage} {deposit.reference}.zip"
        proofs.export_proof(rig.archive, deposit, target)
        life.proofs[stage].append(target)


def watched(life: Life, rig, stage: str, **options) -> None:
    """Renew, with a spy on every store."""
    for store in rig.stores:
        store.fault_hook = lambda call: life.keys.append(call.key)
    with timed(stage):
        life.reports[stage] = renewal.renew(rig.archive, **options)
    for store in rig.stores:
        store.fault_hook = None


@pytest.fixture(scope="module")
def life(postgres, tmp_path_factory):
    """Begin three weeks ago: the script of a proof compares its tokens with the clock of the machine."""
    folder, found = tmp_path_factory.mktemp("ten-thousand"), Life()
    create_development_ca(folder / "home", datetime.now(UTC) - timedelta(days=30))
    with make_rig(postgres.database(), folder) as rig:
        rig.clock.advance(-timedelta(days=21).total_seconds())
        with timed(f"{DOCUMENTS} documents sealed and stamped"):
            whole, everyone = deposit_crowd(rig, DOCUMENTS, WHOLE)
        found.everyone = set(everyone)
        reached(found, rig, "at first", whole)
        renewed = later(rig, years=20)
        watched(found, renewed, "time-stamp renewed", margin=11 * YEAR)
        reached(found, renewed, "time-stamp renewed", whole)
        renewed = later(renewed, years=21, sha256_ends_in=timedelta(days=30))
        watched(found, renewed, "hash tree renewed")
        reached(found, renewed, "hash tree renewed", whole)
        yield found


def test_one_token_dates_them_and_each_renewal_takes_one(life):
    assert len(life.everyone) == DOCUMENTS
    assert list(life.tokens.values()) == [1, 2, 3]
    first, second = life.reports["time-stamp renewed"], life.reports["hash tree renewed"]
    assert (first.tokens_renewed, first.documents_rehashed, len(first.new_tokens)) == (1, 0, 1)
    assert (second.tokens_renewed, second.documents_rehashed, len(second.new_tokens)) == (0, DOCUMENTS, 1)


def test_no_object_of_a_document_is_touched_by_a_renewal(life):
    assert life.keys, "the spy saw nothing: batch files at least are stored"
    assert [key for key in life.keys if not key.startswith("_evidence/")] == []
    assert not life.everyone.intersection(part for key in life.keys for part in key.split("/"))


@pytest.mark.parametrize("stage", STAGES)
def test_proofs_stand(life, stage):
    assert len(life.proofs[stage]) == WHOLE
    for path in life.proofs[stage]:
        found = verify.verify(path, life.trust[stage], life.moments[stage])
        assert found.verdict is Verdict.PASSED, found
        record = evidence.decode_record(unpack(path)[proof.RECORD])
        assert [(chain[0].algorithm, len(chain)) for chain in record.chains] == CHAINS[stage]
        assert len(record.first.path) in (14, 15)  # the group, and a sibling for each of 13 or 14 levels


def test_proofs_of_renewed_trees_stand_when_sha256_has_ended(life):
    trust, long_after = life.trust["hash tree renewed"], life.moments["hash tree renewed"] + 10 * YEAR
    assert trust.dates.ended(["sha256"], long_after) == ["sha256"]
    for path in life.proofs["hash tree renewed"]:
        assert verify.verify(path, trust, long_after).verdict is Verdict.PASSED
    for path in life.proofs["time-stamp renewed"]:
        assert verify.verify(path, trust, long_after).verdict is Verdict.INDETERMINATE


def test_other_verifiers_accept_them(life, judges, tmp_path):
    asked = []
    for stage in STAGES:
        (root,) = life.trust[stage].roots
        for path in life.proofs[stage]:
            asked += questions(unpack(path), path.stem, root, life.moments[stage] + timedelta(days=30))
    assert len(asked) == 3 * len(STAGES) * WHOLE
    assert judged(judges, asked, tmp_path) == {judge: {} for judge in NAMES}


def unfolded(life: Life, stage: str, path: Path, folder: Path) -> Path:
    """Unzip a proof beside the root and the journal key that its reader was given."""
    (root,) = life.trust[stage].roots
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "journal.vkey").write_text(life.trust[stage].journal_keys[0].vkey() + "\n")
    place = folder / path.stem.replace(" ", "-")
    for name, data in unpack(path).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


@pytest.mark.parametrize("stage", STAGES)
def test_the_programs_inside_the_proofs_accept_them(life, stage, tmp_path):
    for path in life.proofs[stage]:
        folder = unfolded(life, stage, path, tmp_path)
        keys = ["--root", "../root.pem", "--journal-key", "../journal.vkey"]
        program = [sys.executable, proof.PROGRAM, *keys, str(path)]
        for call in (["sh", proof.SCRIPT, "../root.pem"], program):
            done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("library", [system_openssl, recent_openssl], ids=["system", "recent"])
@pytest.mark.parametrize("day", ["today", "2050-01-01"])
@pytest.mark.parametrize("stage", STAGES)
def test_the_script_accepts_them_on_each_openssl_today_and_in_2050(life, stage, day, library, tmp_path):
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("the command faketime is not installed: the clock cannot be moved")
    try:
        openssl = library()
    except NoOpenSslError as error:
        pytest.skip(f"no libcrypto of 3.5: {error}")
    before = [] if day == "today" else [faketime, f"{day} 00:00:00"]
    folder = unfolded(life, stage, life.proofs[stage][0], tmp_path)
    done = subprocess.run(
        [*before, "sh", proof.SCRIPT, "../root.pem", "../journal.vkey"],
        cwd=folder,
        env={"PATH": f"{openssl.program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
