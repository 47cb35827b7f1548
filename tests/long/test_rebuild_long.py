"""Five thousand documents come back from their stores, equal to the last row, in memory that stays flat."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from storage import renewal, vault
from storage.bootstrap import require_probed
from storage.rebuild import rebuild
from storage.safes import create_safe
from storage.sealing import seal_deposit, stamp_batch
from storage.segments import keep_journal
from storage.sweep import sweep
from tests.support.authority import change_authority
from tests.support.rebuilt import figures, live_url, on_database, rebuild_rig, sources
from tests.support.rig import Rig, carry, pass_screening

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

BATCH, BATCHES = 250, 20
DOCUMENTS = BATCH * BATCHES
GROWTH = 150 << 10
"""Kilobytes that the process may grow by while it rebuilds and compares: the stores of the rig are in its memory."""


def archived(rig: Rig, batch: int, pool: ThreadPoolExecutor) -> None:
    """Carry one batch to its end, its steps on several documents at once; some are refused, some left on their way."""
    archive, safe = rig.archive, ("demo", "mairie")[batch % 2]
    ids = [rig.deliver(b"%d/%d" % (batch, n), f"R-{batch}-{n}", safe=safe).archive_id for n in range(BATCH)]
    rig.deliver(b"bad %d" % batch, f"bad-{batch}", expected={"sha256": "00" * 32})
    rig.deliver(b"left %d" % batch, f"left-{batch}")

    def seal(archive_id: str) -> None:
        pass_screening(archive, archive_id)
        seal_deposit(archive, archive_id, {"minutier": "test"})

    list(pool.map(seal, ids))
    stamp_batch(archive, ids)
    list(pool.map(lambda archive_id: vault.store_deposit(archive, archive_id), ids))
    vault.commit_deposits(archive, ids)
    list(pool.map(lambda archive_id: vault.lock_deposit(archive, archive_id), ids))
    keep_journal(archive)
    vault.attest_deposits(archive, ids)


def damaged(rig: Rig, step: int) -> Iterator[str]:
    store = rig.stores[1]
    for key in sorted({version.key for version in store.list_objects("demo/")})[::step]:
        store.damage(key, store.versions(key)[0].version_id, b"what a bad disk made of it")
        yield key


def test_five_thousand_documents(rig, postgres, capsys):
    create_safe(rig.archive, "mairie", "Mairie")
    require_probed(rig.archive)
    with ThreadPoolExecutor(4) as pool:
        for batch in range(BATCHES):
            archived(rig, batch, pool)
    harmed = list(damaged(rig, 500))
    rig.clock.advance(3600)
    assert sweep(rig.archive, budget=timedelta(hours=1)).healed == len(harmed) > 5
    lasting = change_authority(rig, end=rig.clock() + timedelta(days=20 * 365)).archive
    assert renewal.renew(lasting, margin=timedelta(days=11 * 365)).tokens_renewed == BATCHES
    keep_journal(rig.archive)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    url = postgres.database()
    report, found = rebuild_rig(rig, url)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    with capsys.disabled():
        print(f"\n{report}\nmemory: {grown} kB more\n" + "\n".join(map(str, found.tables)))
    assert report.findings == ()
    assert report.documents == report.seals == DOCUMENTS
    assert figures(found) == {}
    assert found.equal
    assert sum(each.rows for each in found.tables) > 15 * DOCUMENTS
    assert grown < GROWTH

    rig.archive.database.close()
    with on_database(rig, url, rig.folder) as alive:
        again = alive.deliver(b"0/0", "R-0-0")
        assert again.state == "ARCHIVED"
        carry(alive.archive, [alive.deliver(b"left 0", "left-0", safe="demo").archive_id])
        keep_journal(alive.archive)
        assert rebuild(sources(alive), postgres.database(), rig.clock()).findings == ()
        assert live_url(alive) == url
