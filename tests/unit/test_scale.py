"""Ten thousand documents: one token for all, one for each renewal, no document read, and proofs that stand."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from minutier import verify
from minutier.algorithm_dates import AlgorithmDates, published_dates
from minutier.report import Verdict
from minutier.trust import load_trust
from storage import evidence_store, proofs, renewal
from tests.support.authority import change_authority
from tests.support.crowd import deposit_crowd

DOCUMENTS, WHOLE = 10_000, 5
YEAR = timedelta(days=365)


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    spent = f"{time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} s of CPU in this process"
    print(f"{what}: {spent}", file=sys.stderr)


def tokens(rig) -> int:
    with rig.archive.database.transaction() as connection:
        return connection.execute("SELECT count(*) AS n FROM token").fetchone()["n"]


def chains(rig, deposit) -> list[tuple[str, int]]:
    with rig.archive.database.transaction() as connection:
        found = evidence_store.record_of(connection, deposit).chains
    return [(chain[0].algorithm, len(chain)) for chain in found]


def judge(rig, deposit, at: datetime | None = None):
    path = rig.folder / f"{deposit.archive_id}.zip"
    path.unlink(missing_ok=True)
    proofs.export_proof(rig.archive, deposit, path)
    trust = dataclasses.replace(load_trust(rig.archive.settings.trust_dir), dates=rig.archive.dates)
    return verify.verify(path, trust, at or rig.clock())


def test_ten_thousand_documents_take_one_token_each_time_and_their_proofs_stand(rig):
    with timed(f"{DOCUMENTS} documents sealed and stamped"):
        whole, everyone = deposit_crowd(rig, DOCUMENTS, WHOLE)
    assert tokens(rig) == 1
    for deposit in whole:
        assert judge(rig, deposit).verdict is Verdict.PASSED

    owners, calls = set(everyone), []
    for store in rig.stores:
        store.fault_hook = calls.append
    rig.clock.advance(60)
    later = change_authority(rig, end=rig.clock() + 20 * YEAR)
    with timed("time-stamp renewal"):
        report = renewal.renew(later.archive, margin=11 * YEAR)
    assert (report.tokens_renewed, report.documents_rehashed, len(report.new_tokens)) == (1, 0, 1)
    assert tokens(rig) == 2

    rig.clock.advance(60)
    broken = rig.clock() + timedelta(days=30)
    dates = AlgorithmDates("a drill", {**published_dates().ends, "sha256": broken})
    strong = change_authority(later, end=rig.clock() + 20 * YEAR, strong=True)
    strong = dataclasses.replace(strong, archive=dataclasses.replace(strong.archive, dates=dates))
    with timed("hash-tree renewal"):
        report = renewal.renew(strong.archive)
    assert (report.tokens_renewed, report.documents_rehashed, len(report.new_tokens)) == (0, DOCUMENTS, 1)
    assert tokens(rig) == 3

    keys = [call.key for call in calls]
    assert keys, "the spy saw nothing: batch files at least are stored"
    assert [key for key in keys if not key.startswith("_evidence/")] == []
    assert not owners.intersection(part for key in keys for part in key.split("/"))
    for store in rig.stores:
        store.fault_hook = None
    for deposit in whole:
        found = judge(strong, deposit, broken + YEAR)
        assert found.verdict is Verdict.PASSED, found
        assert chains(rig, deposit) == [("sha256", 2), ("sha3_512", 1)]
