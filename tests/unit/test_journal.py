"""The journal only grows: numbered in order of commit, chained, hashed into one tree, and any change is seen."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from minutier import merkle
from minutier.checkpoint import Checkpoint, NoteKey, sign_checkpoint
from minutier.errors import IntegrityFailureError
from minutier.events import Event
from storage import journal, proofs


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


def resident():
    """Megabytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.parametrize("read", [lambda c: sum(1 for _ in journal.lines(c)), journal.check_chain])
def test_reading_the_journal_takes_little_memory_however_long_it_is(rig, monkeypatch, read):
    with rig.archive.database.transaction() as connection:
        connection.execute(
            "INSERT INTO journal_event (event, at, entry, leaf) SELECT 'safe:created', now(), entry,"
            " sha256('\\x00'::bytea || entry) FROM (SELECT convert_to(lpad(n::text, 30000, 'x'), 'UTF8') AS entry"
            " FROM generate_series(1, 4000) AS n) AS made"
        )
    number(rig)
    peak, line_of = [], journal._line

    def watched(row):
        peak.append(resident())
        return line_of(row)

    before = resident()
    monkeypatch.setattr(journal, "_line", watched)
    with rig.archive.database.transaction() as connection:
        assert read(connection) >= 4000
    assert max(peak) - before < 100  # of 240 when all of them are fetched


def check_checkpoint(rig):
    with rig.archive.database.transaction() as connection:
        return journal.check_checkpoint(connection, rig.archive.journal_key.public_key())


@contextmanager
def below(rig):
    """Somebody with every right on the database."""
    with rig.archive.database.transaction() as connection:
        connection.execute("ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows")
        yield connection
        connection.execute("ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows")


def test_the_newest_checkpoint_is_held_against_the_journal(rig):
    assert check_checkpoint(rig) is None
    sizes = []
    for _ in range(2):
        append(rig, 3)
        with rig.archive.database.transaction() as connection:
            sizes.append(proofs.make_checkpoint(rig.archive, connection).size)
    assert sizes[0] < sizes[1] == check_checkpoint(rig)
    append(rig, 3)
    number(rig)
    assert check_checkpoint(rig) == sizes[1]


@pytest.mark.parametrize(
    "act",
    [
        "DELETE FROM journal_event WHERE seq = (SELECT max(seq) FROM journal_event)",
        "DELETE FROM journal_event",
        "UPDATE journal_checkpoint SET size = size + 1",
        "UPDATE journal_checkpoint SET root = sha256('x')",
        "UPDATE journal_checkpoint SET note = replace(note, 'minutier', 'Minutier')",
        "UPDATE journal_checkpoint SET note = ''",
    ],
)
def test_a_journal_that_its_checkpoint_does_not_cover_is_found(rig, act):
    append(rig, 3)
    with rig.archive.database.transaction() as connection:
        proofs.make_checkpoint(rig.archive, connection)
    with below(rig) as connection:
        connection.execute(act)
        journal.check_chain(connection)  # the chain that is left fits together
    with pytest.raises(IntegrityFailureError) as caught:
        check_checkpoint(rig)
    assert caught.value.code == "JOURNAL_BROKEN"


def test_a_journal_written_anew_is_found(rig):
    """Every leaf, every chain value and the root of the checkpoint fit: only the signature cannot be made again."""
    append(rig, 3)
    with rig.archive.database.transaction() as connection:
        size = proofs.make_checkpoint(rig.archive, connection).size
    with below(rig) as connection:
        connection.execute("UPDATE journal_event SET seq = NULL, chain = NULL, entry = entry || ' ' WHERE seq = 2")
        connection.execute("UPDATE journal_event SET leaf = sha256('\\x00'::bytea || entry)")
        connection.execute("UPDATE journal_event SET seq = NULL, chain = NULL")
        journal.sequence(connection)
        assert journal.check_chain(connection) == size
        root = merkle.root(journal.leaves(connection, size))
    with pytest.raises(IntegrityFailureError, match="not those that its checkpoint"):
        check_checkpoint(rig)
    stranger = ed25519.Ed25519PrivateKey.generate()
    key = NoteKey(proofs.ORIGIN, stranger.public_key().public_bytes_raw())
    note = sign_checkpoint(Checkpoint(proofs.ORIGIN, size, root), key, stranger.sign).decode()
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE journal_checkpoint SET root = %s, note = %s", (root, note))
    with pytest.raises(IntegrityFailureError, match="not signed"):
        check_checkpoint(rig)


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
