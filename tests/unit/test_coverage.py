"""Sweeps that go on where they were killed, the order of their reading, and what is left unverified."""

from datetime import timedelta

import pytest

from minutier.errors import ServiceUnavailableError
from storage import catalogue, coverage, journal, sweep
from storage.ports import LockState
from tests.support.rig import carry

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class KilledError(BaseException):
    """The process is gone."""


def some(rig, count, prefix="R"):
    return carry(rig.archive, [rig.deliver(b"%d" % n, f"{prefix}-{n}").archive_id for n in range(count)])


def swept(rig, budget=HOUR):
    return sweep.sweep(rig.archive, budget=budget)


def debt(rig):
    with rig.archive.database.transaction() as connection:
        return coverage.debt(connection, rig.clock())


def entries(rig, event):
    with rig.archive.database.transaction() as connection:
        return [line for line in journal.lines(connection) if line.event == event]


def test_a_killed_sweep_goes_on_where_it_was_and_reads_nothing_twice(rig, monkeypatch):
    some(rig, 4)
    rig.clock.advance(60)
    monkeypatch.setattr(sweep, "_SLICE", 4)
    judge, seen = sweep.judge, []

    def fatal(archive, subject):
        if len(seen) == 9:
            raise KilledError
        seen.append((subject.copy.archive_id, subject.copy.role, subject.copy.replica))
        return judge(archive, subject)

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "judge", fatal)
        with pytest.raises(KilledError):
            swept(rig)
    read_before = seen[:8]  # two slices were recorded, the third was not
    rig.clock.advance(600)
    seen.clear()
    monkeypatch.setattr(sweep, "judge", lambda archive, subject: (
        seen.append((subject.copy.archive_id, subject.copy.role, subject.copy.replica)), judge(archive, subject))[1]
    )  # fmt: skip
    report = swept(rig)
    assert report.resumed
    assert (report.verdict, report.remaining) == ("clean", 0)
    assert not set(read_before) & set(seen)
    assert report.copies == len(read_before) + len(seen) == debt(rig).copies
    first, second = entries(rig, "sweep:started")
    assert b'"resumed":0' in first.entry
    assert b'"resumed":1' in second.entry
    assert report.sweep_id.encode() in first.entry
    assert not swept(rig).resumed


def test_findings_of_a_killed_sweep_are_in_the_report_of_the_one_that_goes_on(rig, monkeypatch):
    (document,) = some(rig, 1)
    store, key = rig.stores[0], f"demo/{document.archive_id}/original.age"
    version = store.versions(key)[0]
    store.damage(key, version.version_id, b"x" * version.size)
    rig.clock.advance(60)

    def fatal(archive):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "watch_stores", fatal)
        with pytest.raises(KilledError):
            swept(rig)
    report = swept(rig)
    assert (report.resumed, report.healed, report.verdict) == (True, 1, "healed")
    assert [found.outcome for found in report.findings] == ["altered"]


def test_a_sweep_killed_more_than_a_day_ago_is_not_taken_up(rig, monkeypatch):
    some(rig, 1)
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "judge", lambda *_: (_ for _ in ()).throw(KilledError()))
        rig.clock.advance(60)
        with pytest.raises(KilledError):
            swept(rig)
    rig.clock.advance(90000)
    report = swept(rig)
    assert not report.resumed
    assert report.copies == debt(rig).copies


def test_two_sweeps_do_not_run_at_once(rig):
    with rig.archive.database.exclusive("sweep"), pytest.raises(ServiceUnavailableError) as busy:
        swept(rig)
    assert busy.value.code == "BUSY"


def test_what_was_never_read_comes_first_then_what_waits_longest(rig):
    old, young = some(rig, 2)
    rig.clock.advance(60)
    swept(rig)
    with rig.archive.database.transaction() as connection:
        connection.execute(
            "UPDATE replica_copy SET swept_at = swept_at - interval '5 days' WHERE archive_id = %s", (old.archive_id,)
        )
    (new,) = some(rig, 1, "N")
    rig.clock.advance(60)
    with rig.archive.database.transaction() as connection:
        order = [each.copy.archive_id for each in coverage.copies_to_check(connection, rig.clock(), 100)]
    documents = list(dict.fromkeys(each for each in order if each in {d.archive_id for d in (old, young, new)}))
    assert documents == [new.archive_id, old.archive_id, young.archive_id]


def test_debt_begins_a_day_after_the_writing_and_thirty_days_after_the_reading(rig):
    some(rig, 2)
    copies = debt(rig).copies
    assert (debt(rig).late, debt(rig).new, debt(rig).proofs) == (False, 0, 0)
    rig.clock.advance(86400 + 60)
    late = debt(rig)
    assert (late.late, late.new, late.old, late.proofs) == (True, copies, 0, 2)
    assert late.late_bytes > 0
    assert late.oldest == late.covered_since == rig.clock() - DAY - timedelta(seconds=60)
    report = swept(rig)
    assert (report.debt.late, report.debt.new, report.debt.proofs) == (False, 0, 0)
    assert report.debt.covered_since == rig.clock()
    assert report.as_dict()["debt"]["late"] is False
    assert "no debt" in report.debt.sentence()
    rig.clock.advance(30 * 86400 + 60)
    late = debt(rig)
    assert (late.new, late.old, late.proofs) == (0, copies, 2)
    assert f"{copies} copies not read for 30 days" in late.sentence()


def test_a_replica_out_of_reach_adds_to_the_debt_and_does_not_eat_the_night(rig):
    some(rig, 6)
    rig.clock.advance(2 * 86400)
    calls = [0]

    def down(call):
        calls[0] += 1
        raise ServiceUnavailableError("STORE_UNANSWERED", "down", remedy="")

    rig.stores[1].fault_hook = down
    report = swept(rig)
    each = report.debt.copies // 2
    assert (report.verdict, report.good, report.unreachable) == ("alarm", each, each)
    assert report.debt.new == each
    assert calls[0] < 2 * each
    rig.stores[1].fault_hook = None
    rig.clock.advance(60)
    assert swept(rig).debt.new == 0


def test_a_copy_that_was_healed_is_among_the_first_of_the_next_night(rig):
    (document,) = some(rig, 1)
    store, key = rig.stores[0], f"demo/{document.archive_id}/original.age"
    version = store.versions(key)[0]
    store.damage(key, version.version_id, b"x" * version.size)
    rig.clock.advance(60)
    assert swept(rig).verdict == "healed"
    rig.clock.advance(60)
    with rig.archive.database.transaction() as connection:
        first = coverage.copies_to_check(connection, rig.clock(), 100)[0]
    assert (first.copy.archive_id, first.copy.role, first.copy.replica) == (
        document.archive_id,
        "original",
        "replica-a",
    )


def test_a_clock_set_back_does_not_make_a_sweep_read_for_ever(rig, monkeypatch):
    some(rig, 1)
    rig.clock.advance(60)
    judge = sweep.judge

    def back(archive, subject):
        rig.clock.advance(-3600)
        return judge(archive, subject)

    monkeypatch.setattr(sweep, "judge", back)
    report = swept(rig)
    assert report.copies == report.debt.copies


def test_a_pointer_that_moves_while_its_copy_is_read_is_no_finding(rig, monkeypatch):
    (document,) = some(rig, 1)
    store, key = rig.stores[0], f"demo/{document.archive_id}/original.age"
    (old,) = store.versions(key)
    with store.open(key, old.version_id) as stream:
        source = rig.folder / "same"
        source.write_bytes(stream.read())
    store.damage(key, old.version_id, b"x" * old.size)
    rig.clock.advance(60)
    with rig.archive.database.transaction() as connection:
        (subject,) = [
            each
            for each in coverage.copies_to_check(connection, rig.clock(), 100)
            if (each.copy.role, each.copy.replica) == ("original", "replica-a")
        ]
    new = store.put(key, source, rig.clock() + HOUR)
    store._find(key, new.version_id).lock = LockState(document.retain_until, True)
    with rig.archive.database.transaction() as connection:
        catalogue.put_copy(connection, subject.item, "replica-a", new.version_id, rig.clock())
    finding = sweep.judge(rig.archive, subject)
    assert finding.outcome == "moved"
    assert sweep.act_on(rig.archive, subject, finding) == "moved"
    assert entries(rig, "copy:damaged") == []
    with rig.archive.database.transaction() as connection:
        coverage.mark(connection, [(subject.copy, "unhealed")], rig.clock())
    assert debt(rig).damaged == 0


def test_copies_that_agree_against_the_catalogue_are_not_called_damaged(rig):
    (document,) = some(rig, 1)
    rig.clock.advance(60)
    with rig.archive.database.transaction() as connection:
        connection.execute(
            "UPDATE object SET sha256 = repeat('0', 64) WHERE archive_id = %s AND role = 'original'",
            (document.archive_id,),
        )
    before = [len(store.versions(f"demo/{document.archive_id}/original.age")) for store in rig.stores]
    report = swept(rig)
    assert report.verdict == "alarm"
    assert [found.outcome for found in report.findings] == ["catalogue", "catalogue"]
    assert len(entries(rig, "catalogue:differs")) == 2
    assert entries(rig, "copy:damaged") == []
    assert before == [len(store.versions(f"demo/{document.archive_id}/original.age")) for store in rig.stores]
