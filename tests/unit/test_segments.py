"""The journal on the stores: everything once, locked, and never two segments for the same entries."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from minutier import segment
from minutier.errors import IntegrityFailureError, MinutierError
from storage import journal, ledger, segments
from storage.comparison import NOT_COMPARED, TRANSIENT
from storage.memory import Fault, MemoryStore
from storage.segments import extend_segments, keep_journal
from storage.sweep import sweep
from tests.support.rebuilt import live_url, on_database
from tests.support.rig import Killed, break_call


def contents(store):
    """Every content under each key of the journal, each once."""
    found = {}
    for version in store.list_objects(segments.PREFIX):
        with store.open(version.key, version.version_id) as stream:
            found.setdefault(version.key, set()).add(stream.read())
    return found


def read(rig, number, store=0):
    (data,) = contents(rig.stores[store])[segments.segment_key(number, segments.ROLE)]
    return segment.decode_segment(data, rig.archive.journal_key.public_key())


def lines(rig, number):
    (data,) = contents(rig.stores[0])[segments.segment_key(number, segments.LEDGER)]
    with rig.archive.database.transaction() as connection:
        return list(ledger.decode(rig.archive.keys.open_ledger(data), number, ledger.tables(connection)))


def test_what_was_kept_is_not_kept_again(rig):
    rig.deposit()
    assert keep_journal(rig.archive) == 1
    assert keep_journal(rig.archive) == 0
    assert [set(contents(store)) for store in rig.stores] == [
        {"_journal/000000000001/segment.txt", "_journal/000000000001/ledger.age"}
    ] * 2
    assert contents(rig.stores[0]) == contents(rig.stores[1])


def test_segments_hold_every_entry_in_its_order_and_follow_one_another(rig):
    for number in range(3):
        rig.deposit(b"document %d" % number, f"R-{number}")
        keep_journal(rig.archive)
    found = [read(rig, number) for number in (1, 2, 3)]
    for before, each in zip([None, *found], found, strict=False):
        segment.require_follows(each, before)
    with rig.archive.database.transaction() as connection:
        assert [line.entry for line in journal.lines(connection)] == [e for each in found for e in each.entries]


def test_a_long_journal_is_cut_in_several(rig, monkeypatch):
    monkeypatch.setattr(segments, "ENTRIES", 4)
    monkeypatch.setattr(segments, "ROWS", 7)
    rig.deposit()
    cut = keep_journal(rig.archive)
    assert cut > 3
    assert all(len(read(rig, number).entries) <= 4 for number in range(1, cut + 1))
    assert keep_journal(rig.archive) == 0


def test_both_files_are_locked_with_the_legal_hold_to_the_end_of_a_year(rig):
    deposit = rig.deposit()
    keep_journal(rig.archive)
    for store in rig.stores:
        for version in store.list_objects(segments.PREFIX):
            lock = store.lock_state(version.key, version.version_id)
            assert lock.legal_hold
            assert lock.retain_until == datetime(deposit.retain_until.year + 1, 1, 1, tzinfo=UTC)


def test_the_sweep_reads_and_heals_them_too(rig):
    rig.deposit()
    keep_journal(rig.archive)
    store, key = rig.stores[1], segments.segment_key(1, segments.ROLE)
    store.damage(key, store.versions(key)[0].version_id, b"other bytes")
    rig.clock.advance(timedelta(hours=1).total_seconds())
    report = sweep(rig.archive, budget=timedelta(hours=1))
    assert (report.verdict, report.healed) == ("healed", 1)
    assert (
        read(rig, 1, 0).sha256
        == segment.decode_segment(
            store.open(key, store.versions(key)[0].version_id).read(), rig.archive.journal_key.public_key()
        ).sha256
    )


def test_older_segments_are_locked_as_long_as_a_newer_document(rig):
    rig.deposit()
    keep_journal(rig.archive)
    assert extend_segments(rig.archive) == 0
    rig.clock.advance(timedelta(days=400).total_seconds())
    later = rig.deposit(b"a later document", "R-2")
    assert extend_segments(rig.archive) == 1
    assert extend_segments(rig.archive) == 0
    for store in rig.stores:
        for version in store.list_objects(segments.PREFIX):
            assert store.lock_state(version.key, version.version_id).retain_until >= later.retain_until


def test_no_personal_value_and_no_fingerprint_is_readable_on_the_stores(rig):
    deposit = rig.deposit(
        reference="DUPONT-1", depositor="Garage Martin", dossier="VP-7", metadata={"holder": "Jeanne Dupont"}
    )
    keep_journal(rig.archive)
    secrets = ("DUPONT-1", "Garage Martin", "VP-7", "Jeanne Dupont", "file.pdf", deposit.sha256, deposit.sha3_512)
    for store in rig.stores:
        stored = b"".join(each for every in contents(store).values() for each in every)
        assert [text for text in secrets if text.encode() in stored] == []


def test_a_ledger_says_nothing_of_a_document_that_its_sealed_record_says(rig):
    deposit = rig.deposit(reference="DUPONT-1", depositor="Garage Martin", metadata={"holder": "Jeanne Dupont"})
    keep_journal(rig.archive)
    told = {line.table: line for line in lines(rig, 1) if line.key.get("archive_id") == deposit.archive_id}
    assert "Dupont" not in str(told["deposit"].row)
    assert deposit.sha256 not in str(told["deposit"].row)
    assert {"manifest", "seal", "reference", "depositor", "metadata", "sha256"} <= set(told["deposit"].elsewhere)
    # Destroying the wrapped key must still erase the document.
    assert "wrapped" not in told["document_key"].row


def test_a_deposit_on_its_way_is_told_whole(rig):
    received = rig.deliver(reference="R-9")
    keep_journal(rig.archive)
    (told,) = [line for line in lines(rig, 1) if line.table == "deposit"]
    assert (told.row["archive_id"], told.row["reference"], told.elsewhere) == (received.archive_id, "R-9", ())


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNANSWERED, Killed])
def test_whatever_dies_the_next_run_places_the_very_same_segment(rig, fault):
    rig.deposit()
    keep_journal(rig.archive)
    before = sum(store.calls for store in rig.stores)
    rig.deliver(b"x", "R-x")
    keep_journal(rig.archive)
    total = sum(store.calls for store in rig.stores) - before
    assert total > 10
    for broken in range(total):
        rig.deliver(b"document %d" % broken, f"R-{fault}-{broken}")
        break_call(rig, broken, fault)
        with pytest.raises((MinutierError, Killed)):
            keep_journal(rig.archive)
        for store in rig.stores:
            store.fault_hook = None
        keep_journal(rig.archive)
    first, second = (contents(store) for store in rig.stores)
    assert first == second
    assert all(len(each) == 1 for each in first.values())
    assert len(first) == 2 * (total + 2)


def test_an_older_state_of_the_database_writes_no_second_segment(rig, postgres):
    rig.deposit()
    keep_journal(rig.archive)
    rig.archive.database.close()
    copied = postgres.database(like=live_url(rig))
    with on_database(rig, live_url(rig), rig.folder) as living:
        living.deliver(b"after the backup", "R-2")
        assert keep_journal(living.archive) == 1
    with on_database(rig, copied, rig.folder) as restored:
        restored.deliver(b"another history", "R-3")
        with pytest.raises(IntegrityFailureError) as caught:
            keep_journal(restored.archive)
    assert caught.value.code == "SEGMENT_FORK"
    assert all(len(each) == 1 for store in rig.stores for each in contents(store).values())


def test_junk_under_the_key_of_a_segment_is_no_segment(rig):
    path = rig.folder / "junk"
    path.write_bytes(b"not a segment\n")
    for store in rig.stores:
        store.put(segments.segment_key(1, segments.ROLE), path, rig.clock() + timedelta(days=1))
    assert keep_journal(rig.archive) == 1
    assert all(len(contents(store)[segments.segment_key(1, segments.ROLE)]) == 2 for store in rig.stores)


def test_every_table_is_kept_or_known_to_be_transient(rig):
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
        every = {row["name"] for row in rows}
        kept = {table.name for table in ledger.tables(connection)}
        columns = connection.execute(
            "SELECT table_name AS name, column_name AS part FROM information_schema.columns"
            " WHERE table_schema = 'public'"
        )
        known = {(row["name"], row["part"]) for row in columns}
    assert every - kept - set(TRANSIENT) == {"journal_event", "journal_segment"}
    assert not kept & set(TRANSIENT)
    assert set(NOT_COMPARED) <= known


def test_parents_come_before_those_that_refer_to_them(rig):
    with rig.archive.database.transaction() as connection:
        order = [table.name for table in ledger.tables(connection)]
        rows = connection.execute(
            "SELECT conrelid::regclass::text AS child, confrelid::regclass::text AS parent FROM pg_constraint"
            " WHERE contype = 'f' AND conrelid <> confrelid"
        ).fetchall()
    assert rows
    told = [row for row in rows if row["child"] not in TRANSIENT]
    assert [row for row in told if order.index(row["parent"]) > order.index(row["child"])] == []


def test_a_sweep_that_finds_nothing_changes_no_row_that_is_kept(rig):
    rig.deposit()
    sweep(rig.archive, budget=timedelta(hours=1))
    keep_journal(rig.archive)
    rig.clock.advance(timedelta(days=1).total_seconds())
    sweep(rig.archive, budget=timedelta(hours=1))
    with rig.archive.database.transaction() as connection:
        names = {row["name"] for row in connection.execute("SELECT name FROM ledger_change")}
    assert names == {"sweep"}


def test_an_archive_without_its_own_key_makes_one_and_the_escrow_opens_too(rig):
    rig.deposit()
    keep_journal(rig.archive)
    own = rig.archive.settings.home / "keys" / "archive.age-key"
    assert own.stat().st_mode & 0o777 == 0o600
    shutil.move(own, rig.folder / "elsewhere")
    assert lines(rig, 1)
    escrow = rig.archive.settings.home / "keys" / "escrow.age-key"
    escrow.unlink()
    with pytest.raises(IntegrityFailureError) as caught:
        lines(rig, 1)
    assert caught.value.code == "KEYS_MISSING"
    assert isinstance(rig.stores[0], MemoryStore)
