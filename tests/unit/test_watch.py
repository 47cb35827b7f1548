"""What somebody else did to the stores: markers, foreign versions, settings, clocks. It harms nothing, and is said."""

from dataclasses import replace
from datetime import timedelta

import pytest

from storage import journal, reading, sweep
from storage.ports import NOTHING_SET
from storage.probe import weaknesses
from storage.segments import LEDGER, ROLE, keep_journal, segment_key
from storage.watch import watch_stores
from tests.support.damage import targets
from tests.support.rig import carry

HOUR = timedelta(hours=1)
ANYBODY = '{"Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": "s3:GetObject"}]}'


def kinds(found):
    return [(each.replica, each.kind, each.alarm) for each in found]


def put(rig, store, key, data=b"other bytes"):
    source = rig.folder / "source"
    source.write_bytes(data)
    return store.put(key, source, rig.clock() + HOUR)


def test_markers_on_a_hundred_objects_hide_nothing_and_are_all_reported(rig):
    data = [b"document %d" % number for number in range(33)]
    documents = carry(rig.archive, [rig.deliver(each, f"R-{n}").archive_id for n, each in enumerate(data)])
    keys = {copies[0].item.key for copies in targets(rig.archive)}
    more = 100 - len(keys)
    for key in keys:
        rig.stores[0].hide(key)
    for n in range(more):  # whatever the number of objects of a document is
        document = rig.deposit(b"more %d" % n, f"M-{n}")
        rig.stores[0].hide(f"demo/{document.archive_id}/original.age")
    rig.clock.advance(7200)
    rig.stores[1].fault_hook = None
    for document, expected in zip(documents, data, strict=True):
        reading.read(rig.archive, document, rig.folder / "out")
        assert (rig.folder / "out").read_bytes() == expected
    report = sweep.sweep(rig.archive, budget=HOUR)
    assert (report.verdict, report.good, report.findings) == ("alarm", report.copies, ())
    markers = [found for found in report.stores if found.kind == "marker"]
    assert len(markers) == len(report.stores) == max(100, len(keys))
    assert {found.where for found in markers} >= keys


def test_a_newer_version_with_other_bytes_is_an_alarm_and_a_twin_is_not(rig):
    document = rig.deposit()
    key = f"demo/{document.archive_id}/original.age"
    store = rig.stores[1]
    with store.open(key, store.versions(key)[0].version_id) as stream:
        put(rig, store, key, stream.read())
    foreign = put(rig, rig.stores[0], key)
    assert watch_stores(rig.archive) == ()  # not settled: its writer may be on the way to the catalogue
    rig.clock.advance(7200)
    (found,) = watch_stores(rig.archive)
    assert (found.replica, found.kind, found.where, found.alarm) == ("replica-a", "foreign", key, True)
    assert foreign.version_id in found.detail
    reading.read(rig.archive, document, rig.folder / "out")
    assert sweep.sweep(rig.archive, budget=HOUR).verdict == "alarm"


def test_what_is_left_of_healing_and_of_a_deposit_on_its_way_is_known(rig):
    document, waiting = rig.deposit(), rig.deliver(b"on its way", "R-2")
    key = f"demo/{document.archive_id}/original.age"
    version = rig.stores[0].versions(key)[0]
    rig.stores[0].damage(key, version.version_id, b"x" * version.size)
    put(rig, rig.stores[0], f"demo/{waiting.archive_id}/original.age")
    rig.clock.advance(60)
    assert sweep.sweep(rig.archive, budget=HOUR).verdict == "healed"
    rig.clock.advance(7200)
    assert "foreign" not in {found.kind for found in watch_stores(rig.archive)}


def test_a_key_that_the_catalogue_does_not_know_is_a_warning(rig):
    rig.deposit()
    key = "demo/0193a2f0-7c11-7abc-8def-0123456789ab/original.age"
    put(rig, rig.stores[0], key)
    put(rig, rig.stores[0], "demo/odd")
    rig.clock.advance(7200)
    assert {(found.kind, found.where, found.alarm) for found in watch_stores(rig.archive)} == {
        ("unclaimed", key, False),
        ("unclaimed", "demo/odd", False),
    }
    assert sweep.sweep(rig.archive, budget=HOUR).verdict == "clean"


def test_segments_of_the_journal_are_watched_like_documents(rig):
    rig.deposit()
    keep_journal(rig.archive)
    first, ledger = segment_key(1, ROLE), segment_key(1, LEDGER)
    rig.clock.advance(7200)
    assert watch_stores(rig.archive) == ()
    rig.stores[0].hide(first)
    put(rig, rig.stores[1], ledger)
    put(rig, rig.stores[1], segment_key(2, ROLE))
    rig.clock.advance(7200)
    assert {(found.replica, found.kind, found.where, found.alarm) for found in watch_stores(rig.archive)} == {
        ("replica-a", "marker", first, True),
        ("replica-b", "foreign", ledger, True),
        ("replica-b", "unclaimed", segment_key(2, ROLE), False),
    }


def test_settings_that_change_are_journaled_and_those_that_weaken_are_an_alarm_each_night(rig):
    rig.deposit()
    store = rig.stores[0]
    store.told = replace(NOTHING_SET, default_lock="COMPLIANCE 1826")
    assert watch_stores(rig.archive) == ()  # the first look
    store.told = replace(store.told, policy='{"Statement": []}')
    assert kinds(watch_stores(rig.archive)) == [("replica-a", "settings", True)]
    assert watch_stores(rig.archive) == ()
    store.told = replace(store.told, lifecycle=("expire (Enabled)",), default_lock="GOVERNANCE 1")
    first = watch_stores(rig.archive)
    assert [each.kind for each in first] == ["weak", "weak", "settings"]
    assert first[-1].where == "default_lock, lifecycle"
    assert [each.kind for each in watch_stores(rig.archive)] == ["weak", "weak"]
    with rig.archive.database.transaction() as connection:
        changed = [line for line in journal.lines(connection) if line.event == "store:changed"]
        kept = str([row["told"] for row in connection.execute("SELECT told FROM store_settings")])
    assert len(changed) == 2
    assert "Statement" not in kept  # a policy may name people


@pytest.mark.parametrize(("seconds", "found"), [(5, []), (6, [("replica-a", "clock", False)])])
def test_a_clock_apart_is_a_warning(rig, monkeypatch, seconds, found):
    rig.deposit()
    clock = rig.stores[0].clock
    monkeypatch.setattr(rig.stores[0], "clock", lambda: clock() + timedelta(seconds=seconds))
    assert kinds(watch_stores(rig.archive)) == found


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (NOTHING_SET, []),
        (replace(NOTHING_SET, versioning=None, lifecycle=None, default_lock=None, policy=None), []),
        (replace(NOTHING_SET, default_lock="COMPLIANCE 30"), []),
        (replace(NOTHING_SET, policy='{"Statement": {"Effect": "Deny", "Principal": "*"}}'), []),
        (replace(NOTHING_SET, versioning=False), ["versioning"]),
        (replace(NOTHING_SET, default_lock="GOVERNANCE 30"), ["GOVERNANCE"]),
        (replace(NOTHING_SET, lifecycle=("old",)), ["lifecycle"]),
        (replace(NOTHING_SET, policy=ANYBODY), ["anybody"]),
        (replace(NOTHING_SET, policy="not json"), ["anybody"]),
    ],
)
def test_what_weakens_a_store(told, words):
    found = weaknesses(told)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))
