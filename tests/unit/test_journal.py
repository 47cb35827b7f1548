"""The journal only grows: numbered in order of commit, chained, hashed into one tree, and any change is seen."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from minutier import merkle
from minutier.errors import IntegrityFailureError
from minutier.events import Event
from storage import journal


def append(rig, count=1, **more):
    with rig.archive.database.transaction() as connection:
        for _ in range(count):
            journal.append(connection, Event.SAFE_CREATED, rig.clock(), safe="demo", **more)


def number(rig, limit=5000):
    with rig.archive.database.transaction() as connection:
        return journal.sequence(connection, limit=limit)


def lines(rig):
    with rig.archive.database.transaction() as connection:
        return list(journal.lines(connection))


def test_entries_are_numbered_without_gap_and_chained_as_the_format_says(rig):
    append(rig, 7)
    waiting = len(lines(rig))
    assert all(line.seq is None for line in lines(rig))
    assert number(rig, limit=3) == 3
    assert number(rig) == waiting - 3
    assert number(rig) == 0
    chain = bytes(32)
    for position, line in enumerate(lines(rig), 1):
        assert line.seq == position
        assert line.leaf == hashlib.sha256(b"\0" + line.entry).digest()
        chain = hashlib.sha256(chain + line.leaf).digest()
        assert line.chain == chain
    with rig.archive.database.transaction() as connection:
        assert journal.check_chain(connection) == waiting
        assert journal.head(connection) == (waiting, chain)
        assert merkle.root(journal.leaves(connection, waiting)) == merkle.root([line.leaf for line in lines(rig)])


def test_an_entry_whose_act_is_rolled_back_never_was(rig):
    before = len(lines(rig))
    with pytest.raises(RuntimeError), rig.archive.database.transaction() as connection:
        journal.append(connection, Event.SAFE_CREATED, rig.clock(), safe="demo")
        raise RuntimeError("crash before commit")
    append(rig)
    number(rig)
    assert [line.seq for line in lines(rig)] == list(range(1, before + 2))


def test_writers_and_sequencers_at_once_leave_no_gap(rig):
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(append, rig) for _ in range(20)] + [pool.submit(number, rig) for _ in range(10)]:
            done.result()
    number(rig)
    with rig.archive.database.transaction() as connection:
        assert journal.check_chain(connection) == len(lines(rig))


@pytest.mark.parametrize(
    "act",
    [
        "UPDATE journal_event SET entry = 'x' WHERE seq = 1",
        "UPDATE journal_event SET chain = 'x' WHERE seq = 1",
        "DELETE FROM journal_event WHERE seq = 1",
        "UPDATE journal_event SET entry = 'x' WHERE seq IS NULL",
        "DELETE FROM journal_event WHERE seq IS NULL",
    ],
)
def test_the_database_itself_refuses_to_change_an_entry(rig, act):
    append(rig, 2)
    number(rig)
    append(rig)
    with pytest.raises(psycopg.errors.RaiseException), rig.archive.database.transaction() as connection:
        connection.execute(act)


@pytest.mark.parametrize(
    "act",
    [
        "UPDATE journal_event SET entry = entry || ' ' WHERE seq = 2",
        "UPDATE journal_event SET leaf = decode(repeat('00', 32), 'hex') WHERE seq = 2",
        "UPDATE journal_event SET chain = decode(repeat('00', 32), 'hex') WHERE seq = 2",
        "DELETE FROM journal_event WHERE seq = 2",
        "UPDATE journal_event SET seq = seq + 100 WHERE seq = 2",
    ],
)
def test_a_change_below_the_database_is_found(rig, act):
    append(rig, 3)
    number(rig)
    with rig.archive.database.transaction() as connection:
        connection.execute("ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows")
        connection.execute(act)
        connection.execute("ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows")
    with pytest.raises(IntegrityFailureError) as caught, rig.archive.database.transaction() as connection:
        journal.check_chain(connection)
    assert caught.value.code == "JOURNAL_BROKEN"


def test_a_document_has_exactly_one_commit_entry(rig):
    deposit = rig.deposit()
    with rig.archive.database.transaction() as connection:
        line = journal.committed_line(connection, deposit.archive_id)
        assert (line.event, line.archive_id) == ("deposit:committed", deposit.archive_id)
        assert line.seq is not None
        journal.append(connection, Event.DEPOSIT_COMMITTED, rig.clock(), archive_id=deposit.archive_id)
        with pytest.raises(IntegrityFailureError) as caught:
            journal.committed_line(connection, deposit.archive_id)
    assert caught.value.code == "JOURNAL_ENTRY_COUNT"


def test_the_life_of_a_document_reads_in_order(rig):
    deposit = rig.deposit()
    with rig.archive.database.transaction() as connection:
        events = [line.event for line in journal.lines(connection, deposit.archive_id)]
    steps = "received screened rendered sealed stamped stored committed locked archived"
    assert events == [f"deposit:{step}" for step in steps.split()]
