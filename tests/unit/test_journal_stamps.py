"""The daily time-stamp of the journal: one a day, judged again each night, read by openssl over the very note."""

import subprocess
from datetime import timedelta

import pytest

from minutier.errors import IntegrityFailureError, ServiceUnavailableError
from storage.journal_stamps import check_last, last, stamp_journal
from storage.sweep import sweep


def stamps(rig):
    with rig.archive.database.transaction() as connection:
        return connection.execute("SELECT * FROM journal_stamp ORDER BY size").fetchall()


def test_each_day_has_its_stamp_even_without_a_document(rig):
    first = stamp_journal(rig.archive)
    assert stamp_journal(rig.archive) is None, "that of today is there"
    rig.clock.advance(timedelta(hours=19).total_seconds())
    assert stamp_journal(rig.archive) is None
    rig.clock.advance(timedelta(hours=2).total_seconds())
    second = stamp_journal(rig.archive)
    assert second.size > first.size
    assert second.gen_time - first.gen_time >= timedelta(hours=20)
    assert [row["size"] for row in stamps(rig)] == [first.size, second.size]
    with rig.archive.database.transaction() as connection:
        assert check_last(rig.archive, connection) == second
        rows = connection.execute("SELECT event FROM journal_event WHERE event = 'journal:stamped'").fetchall()
    assert len(rows) == 2
    assert sweep(rig.archive, budget=timedelta(minutes=1)).verdict == "clean"


def test_openssl_reads_it_over_the_note(rig, tmp_path):
    made = stamp_journal(rig.archive)
    with rig.archive.database.transaction() as connection:
        row = connection.execute("SELECT note FROM journal_checkpoint WHERE size = %s", (made.size,)).fetchone()
    (tmp_path / "checkpoint.txt").write_bytes(row["note"].encode())
    (tmp_path / "stamp.der").write_bytes(made.token)
    roots = [path.read_text() for path in rig.archive.settings.trust_dir.glob("*.pem")]
    (tmp_path / "roots.pem").write_text("".join(roots))
    command = ["openssl", "ts", "-verify", "-data", "checkpoint.txt", "-in", "stamp.der", "-token_in"]
    done = subprocess.run([*command, "-CAfile", "roots.pem"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Verification: OK" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE journal_checkpoint SET note = replace(note, 'minutier', 'minutiae')",
        "UPDATE journal_stamp SET token = token || '\\x00'",
        "UPDATE journal_stamp SET token = overlay(token placing '\\xff' from 200)",
    ],
)
def test_a_stamp_that_is_not_over_the_journal_is_found(rig, forged):
    stamp_journal(rig.archive)
    with rig.archive.database.transaction() as connection:
        connection.execute(forged.encode())
    with rig.archive.database.transaction() as connection, pytest.raises(IntegrityFailureError) as caught:
        check_last(rig.archive, connection)
    assert caught.value.code == "JOURNAL_BROKEN"
    with pytest.raises(IntegrityFailureError):
        sweep(rig.archive, budget=timedelta(minutes=1))


def test_an_authority_that_is_down_leaves_the_day_to_the_next_run(rig, monkeypatch):
    def down(*_arguments, **_named):
        raise ServiceUnavailableError("TSA_DOWN", "down", remedy="")

    monkeypatch.setattr(type(rig.archive.tsa), "stamp", down)
    with pytest.raises(ServiceUnavailableError):
        stamp_journal(rig.archive)
    monkeypatch.undo()
    assert stamp_journal(rig.archive) is not None
    with rig.archive.database.transaction() as connection:
        assert last(connection) is not None
