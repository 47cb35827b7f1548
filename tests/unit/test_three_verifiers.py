"""Proofs that the archive itself exports and renews, before the three verifiers: the package, verify.py, verify.sh."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

from minutier import proof
from minutier.algorithm_dates import AlgorithmDates, published_dates
from minutier.certificates import encode_pem
from minutier.report import Verdict
from minutier.trust import load_trust
from minutier.verify import verify
from storage import proofs, renewal
from tasks.statement import make_statement
from tests.support.authority import change_authority
from tests.support.bundle import repack, unpack
from tests.support.renewed import written

YEAR = timedelta(days=365)


@dataclasses.dataclass(frozen=True)
class Case:
    """One exported proof: the file, its folder, and the anchors beside them."""

    path: Path
    folder: Path
    dates: AlgorithmDates
    roots: tuple
    keys: tuple

    def package(self, trust_dir: Path, at: datetime) -> tuple[Verdict, set[str]]:
        trust = dataclasses.replace(load_trust(trust_dir), dates=self.dates)
        report = verify(self.path, trust, at)
        return report.verdict, {finding.code for finding in report.findings}

    def program(self, at: datetime) -> tuple[Verdict, set[str]]:
        done = subprocess.run(
            [
                sys.executable, "-I", str(self.folder / "verify.py"), "--root", "root.pem", "--journal-key",
                "journal.vkey", "--algorithms", "algorithms.json", "--at", at.isoformat(), "--json", str(self.path),
            ],
            cwd=self.path.parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        found = json.loads(done.stdout)
        return Verdict(found["verdict"]), {item["code"] for item in found["findings"]}

    def script(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "verify.sh", "../root.pem", "../journal.vkey"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


def export(rig, deposit, dates: AlgorithmDates | None = None) -> Case:
    place = rig.folder / f"case-{deposit.archive_id}-{len(list(rig.folder.iterdir()))}"
    place.mkdir()
    proofs.export_proof(rig.archive, deposit, place / "P.zip", make_statement)
    dates = dates or published_dates()
    trust = load_trust(rig.archive.settings.trust_dir)
    (place / "root.pem").write_bytes(encode_pem(trust.roots))
    (place / "journal.vkey").write_text(trust.journal_keys[0].vkey() + "\n")
    ends = {name: f"{end:%Y-%m-%d}" if end else None for name, end in dates.ends.items()}
    (place / "algorithms.json").write_text(json.dumps({"ends": ends}))
    folder = written(unpack(place / "P.zip"), place / "P")
    return Case(place / "P.zip", folder, dates, trust.roots, trust.journal_keys)


def assert_all_pass(rig, case: Case, at: datetime) -> None:
    assert case.package(rig.archive.settings.trust_dir, at) == (Verdict.PASSED, set())
    assert case.program(at) == (Verdict.PASSED, set())
    found = case.script()
    assert (found.returncode, found.stderr) == (0, "")
    assert "accompanying files; statement sealed by the archive" in found.stdout


def test_a_proof_with_its_page_for_people(rig):
    case = export(rig, rig.deposit())
    assert {proof.STATEMENT, proof.STATEMENT_SEAL, proof.PROGRAM} <= set(unpack(case.path))
    assert_all_pass(rig, case, rig.clock())


def test_the_statement_of_another_document_is_not_taken(rig):
    first, second = rig.deposit(), rig.deposit(b"%PDF-1.7 another document\n", "R-2")
    case, other = export(rig, first), unpack(export(rig, second).path)
    swapped = unpack(case.path) | {path: other[path] for path in (proof.STATEMENT, proof.STATEMENT_SEAL)}
    repack(swapped, case.path)
    written(unpack(case.path), case.folder)
    wanted = (Verdict.FAILED, {"STATEMENT_MISMATCH"})
    assert case.package(rig.archive.settings.trust_dir, rig.clock()) == wanted
    assert case.program(rig.clock()) == wanted
    found = case.script()
    assert (found.returncode, found.stdout.splitlines()[-1]) == (1, "FAILED: statement.pdf is about another document")


def test_a_proof_whose_time_stamp_was_renewed(rig):
    deposit = rig.deposit()
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR)
    renewal.renew(rig.archive, margin=11 * YEAR)
    case = export(rig, deposit)
    assert "renewals/02.tst" in unpack(case.path)
    assert_all_pass(rig, case, rig.clock())


def test_a_proof_carried_over_when_sha256_ended(rig):
    deposit = rig.deposit()
    broken = rig.clock() + timedelta(days=30)
    dates = AlgorithmDates("a drill", {**published_dates().ends, "sha256": broken})
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR, strong=True)
    rig = dataclasses.replace(rig, archive=dataclasses.replace(rig.archive, dates=dates))
    stale = export(rig, deposit, dates)
    wanted = (Verdict.INDETERMINATE, {"ALGORITHM_ENDED", "JOURNAL_ALGORITHM_ENDED"})
    assert stale.package(rig.archive.settings.trust_dir, broken + YEAR) == wanted
    assert stale.program(broken + YEAR) == wanted
    renewal.renew(rig.archive)
    case = export(rig, deposit, dates)
    assert {"renewals/02.tst", proof.ANCHOR} <= set(unpack(case.path))
    assert case.package(rig.archive.settings.trust_dir, broken + YEAR) == (Verdict.PASSED, set())
    assert case.program(broken + YEAR) == (Verdict.PASSED, set())
    found = case.script()
    assert (found.returncode, found.stderr) == (0, "")
    assert "hash tree renewed by 02: sha3-512" in found.stdout
    assert "journal/anchor.ers not checked here" in found.stdout
    # An anchor that came when SHA-256 had ended carries nothing over.
    ended = rig.clock() - timedelta(days=2)
    late = dataclasses.replace(case, dates=AlgorithmDates("earlier", {**dates.ends, "sha256": ended}))
    ends = {name: f"{end:%Y-%m-%d}" if end else None for name, end in late.dates.ends.items()}
    (case.path.parent / "algorithms.json").write_text(json.dumps({"ends": ends}))
    assert late.package(rig.archive.settings.trust_dir, broken + YEAR) == wanted
    assert late.program(broken + YEAR) == wanted
