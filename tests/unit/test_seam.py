"""The seam: every call of a deposit to a port passes it, and what a hook raises there is met by the caller."""

import pytest

from minutier.errors import ServiceUnavailableError
from storage import seam
from storage.bootstrap import require_probed
from storage.reception import current
from tests.support.rig import carry


def test_a_deposit_passes_every_port(rig):
    require_probed(rig.archive)  # its refusals are calls that fail by themselves
    calls = []
    with seam.installed(calls.append):
        rig.deposit()
    assert {call.port for call in calls} >= {
        *("database", "files", "encryption", "signer", "tsa", "replica-a", "replica-b"),
    }
    acts = {(call.port, call.act) for call in calls}
    assert {("database", "begin"), ("database", "commit"), ("files", "write"), ("files", "move")} <= acts
    assert {("replica-a", act) for act in ("versions", "put", "open", "lock_state", "extend_lock")} <= acts
    moments = {}
    for call in calls:
        moments.setdefault(call.number, []).append(call.moment)
    assert sorted(moments) == list(range(len(moments)))
    assert all(found == [seam.BEFORE, seam.AFTER] for found in moments.values())


@pytest.mark.parametrize(("moment", "kept"), [(seam.BEFORE, False), (seam.AFTER, True)])
def test_what_a_hook_raises_is_met_before_or_after_the_commit(rig, moment, kept):
    def hook(call):
        if (call.port, call.act, call.moment) == ("database", "commit", moment):
            raise ServiceUnavailableError("PLANTED", "planted", remedy="none")

    with seam.installed(hook), pytest.raises(ServiceUnavailableError, match="planted"):
        with rig.archive.database.transaction() as connection:
            connection.execute(
                "INSERT INTO lifecycle_class (name, title, years, disposition) VALUES ('kept', 'Kept', 1, 'destroy')"
            )
    with rig.archive.database.transaction() as connection:
        found = connection.execute("SELECT * FROM lifecycle_class WHERE name = 'kept'").fetchall()
    assert bool(found) == kept


def test_a_dead_process_leaves_the_file_it_was_writing(rig):
    class Killed(BaseException):
        pass

    dead = []

    def hook(call):
        if dead or (call.port, call.act, call.moment) == ("files", "move", seam.BEFORE):
            dead.append(call)
            raise Killed

    with seam.installed(hook), pytest.raises(Killed):
        rig.deliver()
    (folder,) = rig.archive.spool.iterdir()
    (left,) = folder.iterdir()
    assert left.name.endswith(".part")
    found = rig.deposit()
    assert current(rig.archive, found.archive_id).state == "ARCHIVED"


def test_no_hook_remains_after_its_block(rig):
    calls = []
    with seam.installed(calls.append):
        pass
    carry(rig.archive, [rig.deliver().archive_id])
    assert calls == []
    seam.install(calls.append)
    rig.archive.replicas[0].clock()
    seam.install(None)
    rig.archive.replicas[0].clock()
    assert [(call.number, call.act, call.moment) for call in calls] == [(0, "clock", "before"), (0, "clock", "after")]
