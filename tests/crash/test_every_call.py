"""A deposit that dies at any call to a store or at any commit is completed by the same path, run again.

Each write is tried as lost, as done but unanswered, and as the last thing a killed process did.
"""

from contextlib import contextmanager
from datetime import timedelta

import pytest

from minutier.errors import MinutierError
from storage import journal
from storage.bootstrap import require_probed
from storage.database import Database
from storage.memory import Fault
from storage.reception import current
from tests.support.rig import Killed, break_call, carry

FAULTS = [Fault.LOST, Fault.UNANSWERED, Killed]


def wholeness(rig, archive_id):
    """What holds whatever happened: archived once, journaled once, nothing left that outlives its seven days."""
    with rig.archive.database.transaction() as connection:
        while journal.sequence(connection):
            pass
        journal.check_chain(connection)
        journal.committed_line(connection, archive_id)
        rows = connection.execute("SELECT replica, version_id FROM replica_copy").fetchall()
        assert len(connection.execute("SELECT * FROM outbox").fetchall()) == 1
    deposit = current(rig.archive, archive_id)
    assert deposit.state == "ARCHIVED"
    claimed = {(row["replica"], row["version_id"]) for row in rows}
    assert len(claimed) == 6
    for store in rig.stores:
        for version in store.list_objects(""):
            lock = store.lock_state(version.key, version.version_id)
            if (store.name, version.version_id) in claimed:
                assert lock.legal_hold
                assert lock.retain_until >= deposit.retain_until - timedelta(seconds=1)
            else:
                assert not lock.legal_hold
                assert lock.retain_until <= rig.clock() + timedelta(days=7)


def test_every_call_to_a_store(rig):
    require_probed(rig.archive)
    before = sum(store.calls for store in rig.stores)
    rig.deposit(b"counted", "R-count")
    total = sum(store.calls for store in rig.stores) - before
    assert total > 30
    for fault in FAULTS:
        for broken in range(total):
            archive_id = rig.deliver(b"a document", f"R-{fault}-{broken}").archive_id
            break_call(rig, broken, fault)
            with pytest.raises((MinutierError, Killed)):
                carry(rig.archive, [archive_id])
            for store in rig.stores:
                store.fault_hook = None
            carry(rig.archive, [archive_id])
            whole_alone(rig, archive_id)


def whole_alone(rig, archive_id):
    """Check one deposit, then clear the table for the next."""
    owners = [archive_id, current(rig.archive, archive_id).token_id]
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM outbox WHERE archive_id <> %s", (archive_id,))
        connection.execute("DELETE FROM replica_copy WHERE archive_id <> ALL(%s::uuid[])", (owners,))
    for store in rig.stores:
        for key in [key for key in store._entries if key.split("/")[1] not in owners]:
            del store._entries[key]
    wholeness(rig, archive_id)


class BrokenCommits:
    """Every transaction of the archive, one of which breaks: rolled back, or committed without an answer."""

    def __init__(self, monkeypatch):
        self.number, self.broken, self.after = 0, -1, False
        monkeypatch.setattr(Database, "transaction", self.wrap(Database.transaction))

    def arm(self, broken, *, after):
        self.number, self.broken, self.after = 0, broken, after

    def wrap(self, real):
        @contextmanager
        def transaction(database):
            number, self.number = self.number, self.number + 1
            with real(database) as connection:
                yield connection
                if number == self.broken and not self.after:
                    raise Killed
            if number == self.broken:
                raise Killed

        return transaction


@pytest.fixture
def commits(rig, monkeypatch):
    require_probed(rig.archive)
    return BrokenCommits(monkeypatch)


@pytest.mark.parametrize("after", [False, True], ids=["lost", "unanswered"])
def test_every_commit_of_a_deposit(rig, commits, after):
    counted = rig.deliver(b"counted", "R-count")
    commits.arm(-1, after=after)
    carry(rig.archive, [counted.archive_id])
    total = commits.number
    assert total > 30
    for broken in range(total):
        archive_id = rig.deliver(b"a document", f"R-{broken}").archive_id
        commits.arm(broken, after=after)
        with pytest.raises(Killed):
            carry(rig.archive, [archive_id])
        commits.arm(-1, after=after)
        carry(rig.archive, [archive_id])
        whole_alone(rig, archive_id)


@pytest.mark.parametrize("after", [False, True], ids=["lost", "unanswered"])
def test_every_commit_of_a_reception(rig, commits, after):
    commits.arm(-1, after=after)
    rig.deliver(b"counted", "R-count")
    total = commits.number
    assert total > 2
    for broken in range(total):
        data, reference = b"%d" % broken, f"R-{broken}"
        commits.arm(broken, after=after)
        with pytest.raises(Killed):
            rig.deliver(data, reference)
        commits.arm(-1, after=after)
        found = rig.deliver(data, reference)
        assert rig.archive.spooled(found.archive_id, "original").read_bytes() == data
        with rig.archive.database.transaction() as connection:
            rows = connection.execute("SELECT * FROM deposit WHERE reference = %s", (reference,)).fetchall()
        assert len(rows) == 1
