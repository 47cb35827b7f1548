"""Renewal: one token for all, no document read, and proofs that stand after certificates and hashes have ended."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from minutier import canonical, evidence, proof, verify
from minutier.algorithm_dates import AlgorithmDates, parse_dates, published_dates
from minutier.errors import MinutierError, PolicyRefusedError, ServiceUnavailableError
from minutier.report import Verdict
from minutier.trust import Trust, load_trust
from storage import batches, catalogue, evidence_store, journal, proofs, reading, renewal, sweep
from storage.memory import Fault
from tests.support.authority import change_authority
from tests.support.bundle import unpack
from tests.support.rig import carry

YEAR = timedelta(days=365)


def deposit_some(rig, count=5, prefix="R"):
    ids = [rig.deliver(b"document %d" % number, f"{prefix}-{number}").archive_id for number in range(count)]
    return carry(rig.archive, ids)


def trust_of(rig, dates=None):
    found = load_trust(rig.archive.settings.trust_dir)
    return dataclasses.replace(found, dates=dates or rig.archive.dates)


def judge(rig, deposit, *, at=None, dates=None):
    path = rig.folder / f"{deposit.archive_id}.zip"
    path.unlink(missing_ok=True)
    proofs.export_proof(rig.archive, deposit, path)
    return verify.verify(path, trust_of(rig, dates), at or rig.clock())


def record(rig, deposit):
    with rig.archive.database.transaction() as connection:
        return evidence_store.record_of(connection, deposit)


def ending(name: str, day: datetime) -> AlgorithmDates:
    dates = published_dates()
    return AlgorithmDates("a drill", {**dates.ends, name: day})


def test_nothing_is_renewed_before_its_time(rig):
    deposit_some(rig, 2)
    report = renewal.renew(rig.archive)
    assert (report.tokens_renewed, report.documents_rehashed, report.new_tokens) == (0, 0, ())
    assert report.next_due is not None
    assert report.next_due > rig.clock()


def test_a_time_stamp_renewal_takes_one_token_for_all_and_stands(rig):
    first, second = deposit_some(rig, 3), deposit_some(rig, 2, "S")
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR)
    report = renewal.renew(rig.archive, margin=11 * YEAR)
    assert (report.tokens_renewed, len(report.new_tokens), report.documents_rehashed) == (2, 1, 0)
    for deposit in (*first, *second):
        found = judge(rig, deposit)
        assert found.verdict is Verdict.PASSED, found
        assert found.facts["renewed_at"]
        assert [len(chain) for chain in record(rig, deposit).chains] == [2]
    again = renewal.renew(rig.archive, margin=11 * YEAR)
    assert again.new_tokens == ()


def test_a_token_that_ends_as_soon_is_not_kept(rig):
    (deposit,) = deposit_some(rig, 1)
    with pytest.raises(PolicyRefusedError) as caught:
        renewal.renew(rig.archive, margin=11 * YEAR)
    assert caught.value.code == "RENEWAL_GAINS_NOTHING"
    assert len(record(rig, deposit).stamps) == 1


def test_the_drill_sha256_is_declared_broken_and_one_run_carries_every_proof_over(rig):
    deposits = deposit_some(rig, 5)
    broken = rig.clock() + timedelta(days=30)
    dates = ending("sha256", broken)
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR, strong=True)
    rig = dataclasses.replace(rig, archive=dataclasses.replace(rig.archive, dates=dates))
    # Not carried over in time, no proof stands after that day; and it says so.
    before = judge(rig, deposits[0], at=broken + YEAR)
    assert before.verdict is Verdict.INDETERMINATE
    assert {finding.code for finding in before.findings} == {"ALGORITHM_ENDED", "JOURNAL_ALGORITHM_ENDED"}

    report = renewal.renew(rig.archive)
    assert (report.documents_rehashed, len(report.new_tokens), report.tokens_renewed) == (5, 1, 0)
    assert report.reasons == (f"sha256 ends on {broken:%Y-%m-%d}",)
    for deposit in deposits:
        found = judge(rig, deposit, at=broken + YEAR)
        assert found.verdict is Verdict.PASSED, found
        chains = record(rig, deposit).chains
        assert [chain[0].algorithm for chain in chains] == ["sha256", "sha3_512"]
    assert renewal.renew(rig.archive).new_tokens == ()


def test_both_renewals_follow_one_another(rig):
    (deposit,) = deposit_some(rig, 1)
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR)
    renewal.renew(rig.archive, margin=11 * YEAR)
    rig.clock.advance(86400)
    broken = rig.clock() + timedelta(days=30)
    rig = change_authority(rig, end=rig.clock() + 21 * YEAR, strong=True)
    rig = dataclasses.replace(rig, archive=dataclasses.replace(rig.archive, dates=ending("sha256", broken)))
    renewal.renew(rig.archive)
    rig.clock.advance(86400)
    rig = change_authority(rig, end=rig.clock() + 40 * YEAR, strong=True)
    renewal.renew(rig.archive, margin=22 * YEAR)
    assert [len(chain) for chain in record(rig, deposit).chains] == [2, 2]
    found = judge(rig, deposit, at=broken + YEAR)
    assert found.verdict is Verdict.PASSED, found
    files = unpack(rig.folder / f"{deposit.archive_id}.zip")
    assert {path for path in files if path.startswith("renewals/")} == {
        f"renewals/{number:02}.{kind}" for number in (2, 3, 4) for kind in ("path.txt", "tst")
    }
    assert proof.ANCHOR in files


def test_a_renewed_chain_that_was_closed_does_not_change_when_others_of_its_token_are_renewed(rig):
    first, second = deposit_some(rig, 2)
    with rig.archive.database.transaction() as connection:  # one of the two is not archived yet when trees are renewed
        connection.execute("UPDATE deposit SET state = 'LOCKED' WHERE archive_id = %s", (second.archive_id,))
    broken = rig.clock() + timedelta(days=30)
    strong = change_authority(rig, end=rig.clock() + 20 * YEAR, strong=True)
    drilled = dataclasses.replace(strong.archive, dates=ending("sha256", broken))
    assert renewal.renew(drilled).documents_rehashed == 1
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE deposit SET state = 'ARCHIVED' WHERE archive_id = %s", (second.archive_id,))
    rig.clock.advance(60)
    later = change_authority(rig, end=rig.clock() + 20 * YEAR)
    assert renewal.renew(later.archive, margin=11 * YEAR).tokens_renewed == 1
    assert [len(chain) for chain in record(rig, first).chains] == [1, 1]
    assert [len(chain) for chain in record(rig, second).chains] == [2]
    for deposit in (first, second):
        assert judge(rig, deposit).verdict is Verdict.PASSED


def test_a_chain_that_was_closed_meanwhile_stops_the_batch_and_nothing_of_it_is_kept(rig):
    deposits = deposit_some(rig, 3)
    strong = change_authority(rig, end=rig.clock() + 20 * YEAR, strong=True)
    answer = strong.archive.tsa.answer

    def close_one_and_answer(request: bytes) -> bytes:
        with rig.archive.database.transaction() as connection:
            closed = "UPDATE evidence_chain SET renewals = 0 WHERE archive_id = %s"
            connection.execute(closed, (deposits[1].archive_id,))
        return answer(request)

    tsa = dataclasses.replace(strong.archive.tsa, answer=close_one_and_answer)
    dates = ending("sha256", rig.clock() + timedelta(days=30))
    with pytest.raises(MinutierError) as caught:
        renewal.renew(dataclasses.replace(strong.archive, tsa=tsa, dates=dates))
    assert caught.value.code == "EVIDENCE_MOVED"
    assert [len(record(rig, deposit).chains) for deposit in deposits] == [1, 1, 1]
    with rig.archive.database.transaction() as connection:
        assert connection.execute("SELECT count(*) AS n FROM token").fetchone()["n"] == 1


def test_no_document_is_read(rig):
    deposits = deposit_some(rig, 4)
    calls = []
    for store in rig.stores:
        store.fault_hook = calls.append
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR, strong=True)
    dates = ending("sha256", rig.clock() + timedelta(days=30))
    renewal.renew(dataclasses.replace(rig.archive, dates=dates))
    assert calls
    assert not [call for call in calls if any(deposit.archive_id in str(call) for deposit in deposits)]


def test_the_batch_file_rebuilds_the_path_of_a_document(rig):
    deposits = deposit_some(rig, 5)
    token_id = deposits[0].token_id
    with rig.archive.database.transaction() as connection:
        data = batches.encode_batch(connection, token_id)
    for store in rig.stores:
        (version,) = store.versions(f"_evidence/{token_id}/batch.json")
        assert store.open(version.key, version.version_id).read() == data
        assert store.lock_state(version.key, version.version_id).legal_hold
    found = canonical.decode(data)
    leaves = [[bytes.fromhex(leaf)] for leaf in found["leaves"]]
    root, paths = evidence.build_batch(leaves)
    places = {owner["id"]: owner["leaf"] for owner in found["owners"]}
    for deposit in deposits:
        stamp = record(rig, deposit).first
        assert [list(level) for level in stamp.path[1:]] == paths[places[deposit.archive_id]][1:]
        assert stamp.root == root
    assert not any(deposit.sha256 in data.decode() for deposit in deposits)


def test_a_batch_file_is_swept_and_healed(rig):
    (deposit,) = deposit_some(rig, 1)
    key = f"_evidence/{deposit.token_id}/batch.json"
    store = rig.stores[0]
    version = store.versions(key)[0]
    store.damage(key, version.version_id, b"{}")
    rig.clock.advance(86400)
    report = sweep.sweep(rig.archive, budget=timedelta(hours=1))
    assert (report.verdict, report.healed) == ("healed", 1)
    healed = store.versions(key)[0]
    lock = store.lock_state(key, healed.version_id)
    assert lock.legal_hold
    assert lock.retain_until >= deposit.retain_until - timedelta(seconds=1)


def test_with_no_authority_nothing_changes_and_the_next_run_does_it(rig):
    (deposit,) = deposit_some(rig, 1)
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR)
    rig.archive.tsa.down.append(True)
    with pytest.raises(ServiceUnavailableError):
        renewal.renew(rig.archive, margin=11 * YEAR)
    rig.archive.tsa.down.clear()
    assert renewal.renew(rig.archive, margin=11 * YEAR).tokens_renewed == 1
    assert judge(rig, deposit).verdict is Verdict.PASSED


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNANSWERED])
def test_a_store_that_fails_during_a_renewal_is_made_good_by_the_next_run(rig, fault):
    (deposit,) = deposit_some(rig, 1)
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR)
    for broken in range(60):
        numbers = iter(range(10**6))
        for store in rig.stores:
            store.fault_hook = lambda _call, numbers=numbers, broken=broken: fault if next(numbers) == broken else None
        try:
            renewal.renew(rig.archive, margin=11 * YEAR)
            reached = next(numbers) <= broken
        except MinutierError:
            reached = False
        for store in rig.stores:
            store.fault_hook = None
        report = renewal.renew(rig.archive, margin=11 * YEAR)
        assert report.new_tokens == ()
        with rig.archive.database.transaction() as connection:
            tokens = [str(row["token_id"]) for row in connection.execute("SELECT token_id FROM token")]
            copies = [copy for token in tokens for copy in catalogue.copies(connection, token)]
        assert all(copy.locked_until for copy in copies)
        assert len(copies) == 2 * len(tokens)
        assert judge(rig, deposit).verdict is Verdict.PASSED
        if reached:
            break
        rig.clock.advance(60)
        rig = change_authority(rig, end=rig.clock() + (21 + broken) * YEAR)
        with rig.archive.database.transaction() as connection:
            connection.execute("UPDATE token SET stands_until = now()")
    else:
        pytest.fail("the renewal has more calls than were tried")


def test_a_renewal_is_in_the_journal(rig):
    deposit_some(rig, 2)
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR)
    (token_id,) = renewal.renew(rig.archive, margin=11 * YEAR).new_tokens
    with rig.archive.database.transaction() as connection:
        (line,) = [line for line in journal.lines(connection) if line.event == "evidence:renewed"]
    assert json.loads(line.entry)["details"] == {
        "algorithm": "sha256", "kind": "time-stamp", "token": token_id, "tokens": 1,
    }  # fmt: skip


def test_records_of_an_earlier_release_are_taken_over(rig):
    deposits = deposit_some(rig, 3)
    with rig.archive.database.transaction() as connection:
        for deposit in deposits:
            whole = evidence.encode_record(evidence_store.record_of(connection, deposit))
            connection.execute("DELETE FROM evidence_chain WHERE archive_id = %s", (deposit.archive_id,))
            connection.execute("UPDATE deposit SET evidence = %s WHERE archive_id = %s", (whole, deposit.archive_id))
        connection.execute("UPDATE token SET leaves = NULL, stands_until = NULL, rests_on = NULL")
        assert evidence_store.adopt_whole_records(connection) == 3
        assert evidence_store.adopt_whole_records(connection) == 0
    for deposit in deposits:
        assert judge(rig, deposit).verdict is Verdict.PASSED
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR)
    assert renewal.renew(rig.archive, margin=11 * YEAR).tokens_renewed == 1
    assert judge(rig, deposits[0]).verdict is Verdict.PASSED


def test_a_late_renewal_is_said(rig):
    rig = change_authority(rig, end=rig.clock() + timedelta(days=10))
    (deposit,) = deposit_some(rig, 1)
    rig.clock.advance(20 * 86400)
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR)
    renewal.renew(rig.archive)
    found = judge(rig, deposit)
    assert found.verdict is Verdict.INDETERMINATE
    assert {finding.code for finding in found.findings} == {"RENEWAL_LATE"}


def test_dates_are_data_that_the_verifier_brings(rig, tmp_path):
    dates = parse_dates(
        json.dumps(
            {"format": "minutier-algorithm-dates/1", "source": "ours", "ends": {"sha256": "2031-01-02"}}
        ).encode()
    )
    assert dates.end_of(["sha256"]) == datetime(2031, 1, 2, tzinfo=UTC)
    assert dates.ended(["sha256", "ecdsa"], datetime(2030, 1, 1, tzinfo=UTC)) == ["ecdsa"]
    assert Trust().dates.ended(["sha256", "sha3_512", "ecdsa"], datetime(2090, 1, 1, tzinfo=UTC)) == []
    for wrong in (b"[]", b"{}", b'{"format": "x", "source": "", "ends": {}}'):
        with pytest.raises(ValueError, match="format"):
            parse_dates(wrong)


def test_a_reading_after_a_renewal_still_checks_the_seal_at_the_first_token(rig):
    (deposit,) = deposit_some(rig, 1)
    rig = change_authority(rig, end=rig.clock() + 20 * YEAR)
    renewal.renew(rig.archive, margin=11 * YEAR)
    reading.read(rig.archive, deposit, rig.folder / "out")
    assert hashlib.sha256((rig.folder / "out").read_bytes()).hexdigest() == deposit.sha256


def test_nothing_is_stamped_with_a_hash_that_has_ended(rig):
    dates = ending("sha256", rig.clock() - timedelta(days=1))
    archive = dataclasses.replace(rig.archive, dates=dates)
    deposit = rig.deliver()
    with pytest.raises(PolicyRefusedError) as caught:
        carry(archive, [deposit.archive_id])
    assert caught.value.code == "HASH_ENDED"
    with rig.archive.database.transaction() as connection:
        assert catalogue.get(connection, deposit.archive_id).state == "SEALED"
