"""Sweeps read every copy, heal what one good copy can heal, and write nothing when none is good."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from minutier.errors import IntegrityFailureError, PolicyRefusedError, RefusedDocumentError, ServiceUnavailableError
from storage import catalogue, journal, reading, reception, sweep, vault
from storage.abandoning import abandon
from storage.batches import STAGING
from storage.collector import clean_spool, collect_strays
from storage.ports import LockState
from storage.proofs import make_checkpoint
from storage.sealing import seal_deposit, stamp_batch
from tests.support.rig import pass_screening

HOUR = timedelta(hours=1)
ROLES = ("original", "record")


def run(rig, budget=HOUR):
    rig.clock.advance(86400)
    return sweep.sweep(rig.archive, budget=budget)


def version_of(rig, deposit, role, index):
    store, key = rig.stores[index], f"demo/{deposit.archive_id}/{role}.age"
    return store, key, store.versions(key)[0].version_id


def alter(rig, deposit, role, index):
    store, key, version = version_of(rig, deposit, role, index)
    data = store.open(key, version).read()
    store.damage(key, version, data[:-1] + bytes((data[-1] ^ 1,)))


def truncate(rig, deposit, role, index):
    store, key, version = version_of(rig, deposit, role, index)
    store.damage(key, version, store.open(key, version).read()[:-7])


def lose(rig, deposit, role, index):
    store, key, _ = version_of(rig, deposit, role, index)
    del store._entries[key]


def events(rig):
    with rig.archive.database.transaction() as connection:
        return [line.event for line in journal.lines(connection)]


def test_a_clean_archive_is_read_whole(rig):
    for number in range(3):
        rig.deposit(f"document {number}".encode(), f"R-{number}")
    steps = []
    rig.clock.advance(86400)
    report = sweep.sweep(rig.archive, budget=HOUR, progress=lambda done, left: steps.append((done, left)))
    assert (report.verdict, report.copies, report.good, report.remaining) == ("clean", 18, 18, 0)
    assert report.bytes_read > 0
    assert steps[-1] == (18, 0)
    assert report.as_dict()["verdict"] == "clean"
    assert run(rig).copies == 18


@pytest.mark.parametrize("harm", [alter, truncate, lose])
@pytest.mark.parametrize("index", [0, 1])
def test_a_bad_copy_on_either_replica_is_healed_and_the_second_sweep_is_clean(rig, harm, index):
    deposit = rig.deposit()
    for role in ROLES:
        harm(rig, deposit, role, index)
    report = run(rig)
    assert (report.verdict, report.healed, report.good) == ("healed", 2, 4)
    assert {finding.outcome for finding in report.findings} == {"missing" if harm is lose else "altered"}
    assert events(rig).count("copy:damaged") == events(rig).count("copy:healed") == 2
    assert run(rig).verdict == "clean"
    for role in ROLES:
        store, key, version = version_of(rig, deposit, role, index)
        lock = store.lock_state(key, version)
        assert lock.legal_hold
        assert lock.retain_until >= deposit.retain_until - timedelta(seconds=1)
    reading.read(rig.archive, deposit, rig.folder / "out")


def test_two_bad_copies_raise_the_alarm_and_nothing_is_written(rig):
    deposit = rig.deposit()
    alter(rig, deposit, "original", 0)
    truncate(rig, deposit, "original", 1)
    before = [store.calls for store in rig.stores]
    report = run(rig)
    assert (report.verdict, report.unhealed, report.good) == ("alarm", 2, 4)
    assert all(len(store.versions(f"demo/{deposit.archive_id}/original.age")) == 1 for store in rig.stores)
    assert before != [store.calls for store in rig.stores]
    with rig.archive.database.transaction() as connection:
        health = {c.health for c in catalogue.copies(connection, deposit.archive_id) if c.role == "original"}
    assert health == {"damaged"}
    assert run(rig).verdict == "alarm"


def test_a_store_that_does_not_answer_is_an_alarm_and_not_a_damage(rig):
    rig.deposit()

    def down(_call):
        raise ServiceUnavailableError("STORE_UNANSWERED", "down", remedy="")

    rig.stores[1].fault_hook = down
    report = run(rig)
    assert (report.verdict, report.unreachable, report.good) == ("alarm", 3, 3)
    assert "copy:damaged" not in events(rig)
    rig.stores[1].fault_hook = None
    assert run(rig).verdict == "clean"


def test_a_replica_taken_out_of_the_settings_is_an_alarm(rig):
    rig.deposit()
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE replica_copy SET replica = 'replica-z' WHERE replica = 'replica-b'")
    assert run(rig).unreachable == 3


def test_a_store_that_cannot_be_healed_stays_in_the_report(rig):
    deposit = rig.deposit()
    alter(rig, deposit, "record", 0)
    store, put = rig.stores[0], rig.stores[0].put

    def lying(key, source, until):
        version = put(key, source, until)
        store.damage(key, version.version_id, b"x" * version.size)
        return version

    store.put = lying
    report = run(rig)
    assert (report.verdict, report.unhealed) == ("alarm", 1)
    store.put = put
    assert run(rig).verdict == "healed"


def test_an_answer_lost_while_healing_is_found_the_next_night(rig):
    deposit = rig.deposit()
    alter(rig, deposit, "record", 0)
    store, put = rig.stores[0], rig.stores[0].put

    def unanswered(key, source, until):
        put(key, source, until)
        raise ServiceUnavailableError("STORE_UNANSWERED", "no answer", remedy="")

    store.put = unanswered
    assert run(rig).unhealed == 1
    store.put = put
    assert run(rig).verdict == "healed"
    assert len(store.versions(f"demo/{deposit.archive_id}/record.age")) == 2


def test_a_budget_that_is_spent_leaves_a_debt_and_the_next_sweep_begins_there(rig, monkeypatch):
    for number in range(2):
        rig.deposit(f"document {number}".encode(), f"R-{number}")
    read, judge = [0], sweep.judge

    def a_second_each(archive, subject):
        read[0] += 1
        return judge(archive, subject)

    monkeypatch.setattr(sweep, "judge", a_second_each)
    monkeypatch.setattr(sweep.time, "monotonic", lambda: read[0])
    report = run(rig, timedelta(seconds=6))
    # A tenth is kept for proofs; each replica has a reader, which ends the copy in its hands.
    assert 6 <= report.copies <= 7
    assert report.remaining == 12 - report.copies
    monkeypatch.undo()
    assert run(rig).copies == 12


def test_a_spent_budget_reads_nothing(rig):
    rig.deposit()
    report = run(rig, timedelta(0))
    assert (report.copies, report.remaining) == (0, 6)


def test_an_altered_journal_stops_the_sweep(rig):
    rig.deposit()
    with rig.archive.database.transaction() as connection:
        connection.execute("ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows")
        connection.execute("UPDATE journal_event SET entry = entry || ' ' WHERE seq = 3")
        connection.execute("ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows")
    with pytest.raises(IntegrityFailureError) as caught:
        run(rig)
    assert (caught.value.code, "entry 3" in caught.value.message) == ("JOURNAL_BROKEN", True)


@pytest.mark.parametrize("loss", ["hold", "term"])
def test_a_copy_without_its_lock_is_locked_again(rig, loss):
    deposit = rig.deposit()
    store, key, version = version_of(rig, deposit, "original", 0)
    entry = store._find(key, version)
    term = entry.lock.retain_until
    entry.lock = LockState(term, False) if loss == "hold" else LockState(rig.clock() + timedelta(days=7), True)
    report = run(rig)
    assert (report.verdict, report.healed) == ("healed", 1)
    assert [finding.outcome for finding in report.findings] == ["unlocked"]
    assert store.lock_state(key, version) == LockState(term, True)
    assert "copy:relocked" in events(rig)
    assert run(rig).verdict == "clean"


def test_a_copy_that_another_mended_after_the_list_was_made_is_read_once(rig, monkeypatch, tmp_path):
    deposit = rig.deposit()
    store, key, version = version_of(rig, deposit, "original", 0)
    (tmp_path / "whole").write_bytes(store.open(key, version).read())
    lock, judge, mended = store.lock_state(key, version), sweep.judge, []

    def judge_what_was_mended(archive, subject):
        if subject.copy.version_id == version:
            mended.append(store.put(key, tmp_path / "whole", lock.retain_until).version_id)
            store.extend_lock(key, mended[0], lock.retain_until, legal_hold=True)
            store.damage(key, version, b"rotten")
            with rig.archive.database.transaction() as connection:
                query = "UPDATE replica_copy SET version_id = %s WHERE version_id = %s AND archive_id = %s"
                connection.execute(query, (mended[0], version, deposit.archive_id))
        return judge(archive, subject)

    monkeypatch.setattr(sweep, "judge", judge_what_was_mended)
    report = run(rig)
    assert (report.verdict, report.copies, report.good, report.findings, len(mended)) == ("clean", 6, 6, (), 1)


def test_a_heal_that_cannot_lock_points_to_nothing_weak(rig):
    deposit = rig.deposit()
    alter(rig, deposit, "record", 0)
    store, extend = rig.stores[0], rig.stores[0].extend_lock

    def refused(*_args, **_more):
        raise ServiceUnavailableError("STORE_UNANSWERED", "no answer", remedy="")

    store.extend_lock = refused
    assert run(rig).verdict == "alarm"
    store.extend_lock = extend
    assert run(rig).verdict == "healed"
    with rig.archive.database.transaction() as connection:
        (copy,) = [
            c
            for c in catalogue.copies(connection, deposit.archive_id)
            if (c.role, c.replica) == ("record", "replica-a")
        ]
    assert store.lock_state(f"demo/{deposit.archive_id}/record.age", copy.version_id).legal_hold
    assert copy.locked_until == deposit.retain_until


def test_a_damage_past_the_term_is_healed_too(rig):
    deposit = rig.deposit()
    rig.clock.advance(6 * 366 * 86400)
    assert run(rig).verdict == "clean"
    alter(rig, deposit, "original", 0)
    assert run(rig).verdict == "healed"
    assert run(rig).verdict == "clean"


def test_strays_go_after_their_seven_days_and_nothing_else_does(rig):
    deposit, live = rig.deposit(), rig.deliver(b"live", "R-2")
    store, key, version = version_of(rig, deposit, "original", 0)
    stray = rig.folder / "stray"
    stray.write_bytes(b"an earlier attempt")
    planted = store.put(key, stray, rig.clock() + timedelta(days=7))
    waiting = store.put(f"demo/{live.archive_id}/original.age", stray, rig.clock() + timedelta(days=7))
    store.put(f"demo/{live.archive_id}/original.age", stray, rig.clock() + timedelta(days=7))
    unknown = store.put("demo/0193a2f0-7c11-7abc-8def-0123456789ab/original.age", stray, rig.clock() + HOUR)
    store.put("demo/0193a2f0-7c11-7abc-8def-0123456789ab/original.age", stray, rig.clock() + HOUR)
    odd = store.put("demo/odd", stray, rig.clock() + HOUR)
    store.put("demo/odd", stray, rig.clock() + HOUR)
    assert run(rig).strays == 0
    rig.clock.advance(8 * 86400)
    assert run(rig).strays == 1
    left = {found.version_id for found in store.list_objects("demo/")}
    assert planted.version_id not in left
    assert {version, waiting.version_id, unknown.version_id, odd.version_id} <= left
    assert "stray:deleted" in events(rig)
    assert run(rig).strays == 0


def test_no_stray_goes_while_the_copy_that_counts_is_bad(rig):
    deposit = rig.deposit()
    store, key, _ = version_of(rig, deposit, "original", 0)
    stray = rig.folder / "stray"
    stray.write_bytes(b"an earlier attempt")
    store.put(key, stray, rig.clock() + HOUR)
    rig.clock.advance(86400)
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE replica_copy SET health = 'damaged'")
    assert collect_strays(rig.archive) == 0
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE replica_copy SET health = 'good'")

    def down(_call):
        raise ServiceUnavailableError("STORE_UNANSWERED", "down", remedy="")

    store.fault_hook = down
    assert collect_strays(rig.archive) == 0
    store.fault_hook = None
    assert collect_strays(rig.archive) == 1


def test_what_an_abandoned_deposit_staged_goes_after_its_short_lock(rig):
    other = rig.deposit(b"kept", "R-0")
    archive_id = rig.deliver(b"given up", "R-1").archive_id
    pass_screening(rig.archive, archive_id)
    seal_deposit(rig.archive, archive_id, {})
    stamp_batch(rig.archive, [archive_id])
    vault.store_deposit(rig.archive, archive_id)
    with rig.archive.database.exclusive(f"deposit {archive_id}"), pytest.raises(ServiceUnavailableError) as caught:
        abandon(rig.archive, archive_id, "never mind")
    assert caught.value.code == "BUSY"
    assert abandon(rig.archive, archive_id, "never mind").state == "ABANDONED"
    assert (rig.archive.quarantine / archive_id / "original").read_bytes() == b"given up"
    assert events(rig)[-1] == "deposit:abandoned"
    assert run(rig).strays == 0
    rig.clock.advance(8 * 86400)
    with rig.archive.database.exclusive(f"deposit {archive_id}"):
        assert collect_strays(rig.archive) == 2  # its batch file, on two replicas
    assert run(rig).strays == 2 * len(ROLES)
    for store in rig.stores:
        held = {version.key.split("/")[1] for version in store.list_objects("")} - {"replica-a", "replica-b"}
        assert held & {archive_id, other.archive_id, other.token_id} == {other.archive_id, other.token_id}
        assert len(list(store.list_objects("_evidence/"))) == 1
    assert rig.deposit(b"given up", "R-1").archive_id != archive_id


def test_a_twin_of_a_batch_file_goes_and_the_one_that_counts_stays(rig):
    token = rig.deposit().token_id
    store, key, stray = rig.stores[0], f"_evidence/{token}/batch.json", rig.folder / "stray"
    stray.write_bytes(b"an earlier attempt")
    (kept,) = store.versions(key)
    store.put(key, stray, rig.clock() + HOUR)
    rig.clock.advance(86400)
    assert collect_strays(rig.archive) == 1
    assert store.versions(key) == [kept]


def test_a_folder_of_tokens_that_is_none_hinders_no_other(rig):
    token = rig.deposit().token_id
    store, stray = rig.stores[0], rig.folder / "stray"
    stray.write_bytes(b"an earlier attempt")
    for key in ("_evidence/0-odd/batch.json", f"_evidence/{token}/batch.json"):
        store.put(key, stray, rig.clock() + HOUR)
        store.put(key, stray, rig.clock() + HOUR)
    rig.clock.advance(86400)
    assert collect_strays(rig.archive) == 2
    assert len(store.versions("_evidence/0-odd/batch.json")) == 2


@pytest.mark.parametrize("error", [PolicyRefusedError("STORE_REFUSED", "no", remedy=""), KeyError("gone")])
def test_a_version_that_the_store_never_lets_go_hinders_no_other(rig, monkeypatch, error):
    deposit = rig.deposit()
    store, key, _ = version_of(rig, deposit, "original", 0)
    stray = rig.folder / "stray"
    stray.write_bytes(b"an earlier attempt")
    planted = [store.put(key, stray, rig.clock() + HOUR).version_id for _ in range(3)]
    real = store.delete_version

    def stubborn(key, version_id):
        if version_id == stuck:
            raise error
        real(key, version_id)

    order = [version.version_id for version in store.list_objects("demo/") if version.version_id in planted]
    stuck = order[0]
    monkeypatch.setattr(store, "delete_version", stubborn)
    rig.clock.advance(86400)
    assert collect_strays(rig.archive) == 2
    assert {version.version_id for version in store.versions(key)} & {*planted} == {stuck}
    assert events(rig).count("stray:deleted") == 2


def test_a_spool_folder_that_goes_while_it_is_looked_at_hinders_no_other(rig, monkeypatch):
    ended = rig.deposit()
    left = rig.archive.spool / ended.archive_id
    left.mkdir()
    old = rig.clock().timestamp() - 2 * 86400
    os.utime(left, (old, old))
    gone, real = rig.archive.spool / "gone", Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: iter([gone, *real(path)]))
    assert clean_spool(rig.archive) == 1
    assert not left.exists()


def test_a_journal_cut_short_of_its_last_checkpoint_is_found(rig):
    rig.deposit()
    with rig.archive.database.transaction() as connection:
        make_checkpoint(rig.archive, connection)
    with rig.archive.database.transaction() as connection:
        connection.execute("ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows")
        connection.execute("DELETE FROM journal_event WHERE seq > 4")
        connection.execute("ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows")
    with pytest.raises(IntegrityFailureError) as caught:
        run(rig)
    assert caught.value.code == "JOURNAL_BROKEN"


def test_the_folder_of_batch_files_on_their_way_is_no_deposit_of_nobody(rig):
    rig.deposit()
    rig.clock.advance(2 * 86400)
    assert clean_spool(rig.archive) == 0
    assert [path.name for path in rig.archive.spool.iterdir()] == ["batches"]
    assert not rig.archive.quarantine.exists() or not list(rig.archive.quarantine.iterdir())


def test_the_spool_is_cleared_of_what_nobody_claims(rig):
    live, refused = rig.deliver(b"live", "R-1"), rig.deliver(b"refused", "R-2")
    ended = rig.deposit(b"ended", "R-3")
    orphan = rig.archive.spool / "0193a2f0-7c11-7abc-8def-0123456789ab"
    for folder in (orphan, rig.archive.spool / ended.archive_id):
        folder.mkdir()
        (folder / "original").write_bytes(b"bytes")
    (rig.archive.spool / "a-file").write_bytes(b"")
    keep = reception.quarantine
    reception.quarantine = lambda *_: None  # a crash before the bytes went to quarantine
    try:
        reception.refuse_deposit(rig.archive, refused, RefusedDocumentError("DAMAGED", "Cut.", "Tronqué."))
    finally:
        reception.quarantine = keep
    assert clean_spool(rig.archive) == 0
    old = rig.clock().timestamp() - 2 * 86400
    for folder in rig.archive.spool.iterdir():
        os.utime(folder, (old, old))
    assert clean_spool(rig.archive) == 1
    assert {path.name for path in rig.archive.spool.iterdir()} == {live.archive_id, STAGING}
    assert (rig.archive.quarantine / f"unclaimed-{orphan.name}" / "original").read_bytes() == b"bytes"
    assert (rig.archive.quarantine / refused.archive_id / "original").read_bytes() == b"refused"
