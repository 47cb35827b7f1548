"""How a deposit ends: abandoned on purpose and in plain sight, or attested in the same bytes each time."""

import json
import shutil
from contextlib import contextmanager
from datetime import timedelta

import pytest

from deployments import commands_deposits
from deployments.cli import run
from flows.deposit import final_state
from minutier.errors import (
    BadInputError,
    IntegrityFailureError,
    PolicyRefusedError,
    RefusedDocumentError,
    ServiceUnavailableError,
)
from minutier.seal import check_seal
from minutier.timestamp import inspect_token
from storage import outbox, reception, seam, vault, waiting
from storage.abandoning import abandon
from storage.evidence_store import record_of
from storage.reception import current, refuse_deposit
from storage.sealing import seal_deposit, stamp_batch
from storage.sweep import sweep
from tasks import sweeping
from tests.support.rig import carry, pass_screening


@pytest.fixture
def command(rig, monkeypatch, capsys):
    @contextmanager
    def running():
        yield rig.archive

    monkeypatch.setattr(commands_deposits, "running_archive", running)

    def call(*arguments):
        code = run(["--json", *(str(each) for each in arguments)])
        return code, json.loads(capsys.readouterr().out)

    return call


def staged(rig, reference):
    """Bring one deposit to STORED."""
    archive_id = rig.deliver(reference.encode(), reference).archive_id
    pass_screening(rig.archive, archive_id)
    seal_deposit(rig.archive, archive_id, {})
    stamp_batch(rig.archive, [archive_id])
    vault.store_deposit(rig.archive, archive_id)
    return archive_id


def entries(rig, archive_id, event):
    with rig.archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT entry FROM journal_event WHERE archive_id = %s AND event = %s", (archive_id, event)
        ).fetchall()
    return [json.loads(bytes(row["entry"]))["details"] for row in rows]


def test_abandoning_is_journaled_once_and_leads_nowhere(rig):
    archive_id = rig.deliver(b"one", "R-1").archive_id
    for _ in range(2):
        assert abandon(rig.archive, archive_id, "sent by mistake").state == "ABANDONED"
    assert entries(rig, archive_id, "deposit:abandoned") == [{"from": "RECEIVED", "reason": "sent by mistake"}]
    assert (rig.archive.quarantine / archive_id / "original").read_bytes() == b"one"
    assert carry(rig.archive, [archive_id])[0].state == "ABANDONED"
    again = rig.deposit(b"one", "R-1")
    assert (again.state, again.archive_id != archive_id) == ("ARCHIVED", True)


def test_a_run_that_meets_what_was_abandoned_waits_for_nothing():
    assert final_state({"ABANDONED": 1}, None).name == "Abandoned"
    both = final_state({"ABANDONED": 1, "ARCHIVED": 2}, None)
    assert (both.name, both.message) == ("Archived", "2 archived, 0 refused, 0 waiting, 1 abandoned")


@pytest.mark.parametrize(("code", "named"), [("TSA_DOWN", True), ("TOKEN_OLD", True), ("DATABASE_DOWN", False)])
def test_only_a_time_stamp_that_lacks_is_waited_for(code, named):
    error = ServiceUnavailableError(code, "Not now.", remedy="")
    if named:
        assert final_state({"SEALED": 1}, None, no_token=error).name == "WaitingForTimestamp"
    else:
        with pytest.raises(ServiceUnavailableError) as caught:
            final_state({"SEALED": 1}, None, no_token=error)
        assert caught.value is error


def test_what_is_in_the_archive_or_was_refused_is_not_abandoned(rig):
    archived, refused = rig.deposit(b"one", "R-1").archive_id, rig.deliver(b"two", "R-2")
    refuse_deposit(rig.archive, refused, RefusedDocumentError("DAMAGED", "Cut.", "Tronqué."))
    committed = staged(rig, "R-3")
    vault.commit_deposits(rig.archive, [committed])
    for archive_id in (archived, refused.archive_id, committed):
        state = current(rig.archive, archive_id).state
        with pytest.raises(PolicyRefusedError) as caught:
            abandon(rig.archive, archive_id, "no")
        assert caught.value.code == "CANNOT_ABANDON"
        assert current(rig.archive, archive_id).state == state


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501])
def test_a_reason_is_one_line(rig, reason):
    archive_id = rig.deliver().archive_id
    with pytest.raises(BadInputError, match="one line"):
        abandon(rig.archive, archive_id, reason)
    assert current(rig.archive, archive_id).state == "RECEIVED"


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_abandoned_document_does_not_lengthen_the_lock_of_its_token(rig, when):
    ids = [rig.deliver(name, name.decode()).archive_id for name in (b"a", b"b")]
    for archive_id in ids:
        pass_screening(rig.archive, archive_id)
        seal_deposit(rig.archive, archive_id, {})
    with rig.archive.database.transaction() as connection:
        connection.execute(
            "UPDATE deposit SET retain_until = retain_until + interval '20 years' WHERE archive_id = %s", (ids[1],)
        )
    token = stamp_batch(rig.archive, ids)
    if when == "before":
        abandon(rig.archive, ids[1], "sent by mistake")
    (kept,) = carry(rig.archive, ids[:1])
    if when == "after":
        abandon(rig.archive, ids[1], "sent by mistake")
    for store in rig.stores:
        (version,) = store.list_objects(f"_evidence/{token}")
        assert store.lock_state(version.key, version.version_id).retain_until <= kept.retain_until + timedelta(
            seconds=1
        )


def test_the_command_says_how_it_ended(rig, command):
    archive_id, archived = rig.deliver(b"one", "R-1").archive_id, rig.deposit(b"two", "R-2").archive_id
    assert command("abandon", archive_id, "--reason", "sent by mistake") == (
        0,
        {"archive_id": archive_id, "reference": "R-1", "state": "ABANDONED"},
    )
    for arguments, code in (
        ((archived, "--reason", "no"), 4),
        ((archive_id, "--reason", " "), 2),
        (("0193a2f0-7c11-7abc-8def-0123456789ab", "--reason", "no"), 2),
        ((archive_id,), 2),
    ):
        assert command("abandon", *arguments)[0] == code


def test_an_attestation_is_the_same_bytes_each_time(rig, command, tmp_path):
    found = rig.deposit()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        code, answer = command("attestation", found.archive_id, "-o", tmp_path / name)
        assert (code, len(answer["files"])) == (0, 2)
    body, seal = (
        (tmp_path / "first" / f"{found.archive_id}.attestation.json{end}").read_bytes() for end in ("", ".p7s")
    )
    assert (tmp_path / "second" / f"{found.archive_id}.attestation.json").read_bytes() == body
    assert (tmp_path / "second" / f"{found.archive_id}.attestation.json.p7s").read_bytes() == seal
    assert json.loads(body)["archive_id"] == found.archive_id
    check_seal(body, seal, rig.archive.roots, rig.clock())
    assert command("attestation", found.archive_id, "-o", tmp_path / "nowhere")[0] == 2
    assert command("attestation", rig.deliver(b"live", "R-2").archive_id, "-o", tmp_path)[0] == 2


def test_two_workers_that_attest_leave_one_attestation(rig):
    archive_id = staged(rig, "R-1")
    vault.commit_deposits(rig.archive, [archive_id])
    vault.lock_deposit(rig.archive, archive_id)

    def rival(call):
        if (call.act, call.key, call.moment) == ("sign", "attestation", seam.AFTER):
            seam.install(None)
            vault.attest_deposits(rig.archive, [archive_id])

    with seam.installed(rival), pytest.raises(ServiceUnavailableError) as caught:
        vault.attest_deposits(rig.archive, [archive_id])
    assert caught.value.code == "STATE_MOVED"
    assert len(entries(rig, archive_id, "deposit:archived")) == 1
    outbox.attestation(rig.archive, current(rig.archive, archive_id))


def test_a_token_asked_for_before_a_deposit_began_again_is_not_taken(rig):
    archive_id = rig.deliver(b"one", "R-1").archive_id

    def seal():
        pass_screening(rig.archive, archive_id)
        seal_deposit(rig.archive, archive_id, {})

    def rival(call):
        if (call.port, call.moment) == ("tsa", seam.AFTER):
            seam.install(None)
            shutil.rmtree(rig.archive.spool / archive_id)
            assert rig.deliver(b"one", "R-1").state == "RECEIVED"
            seal()

    seal()
    with seam.installed(rival), pytest.raises(ServiceUnavailableError) as caught:
        stamp_batch(rig.archive, [archive_id])
    assert caught.value.code == "STATE_MOVED"
    (found,) = carry(rig.archive, [archive_id])
    with rig.archive.database.transaction() as connection:
        (stamp,) = record_of(connection, found).stamps
    assert stamp.root == inspect_token(stamp.token).imprint


@pytest.mark.parametrize(
    "at", [("encryption", "new key", ""), ("files", "write", "objects/record.age")], ids=["key", "bytes"]
)
def test_a_worker_that_lost_its_lock_changes_nothing_of_what_another_one_archived(rig, monkeypatch, at):
    archive_id = rig.deliver().archive_id

    def rival(call):
        if (call.port, call.act, call.key) == at:
            seam.install(None)
            with monkeypatch.context() as unlocked:
                unlocked.setattr(reception, "lock", lambda *_given, **_named: None)
                carry(rig.archive, [archive_id])

    with seam.installed(rival), pytest.raises((ServiceUnavailableError, FileNotFoundError, IntegrityFailureError)):
        carry(rig.archive, [archive_id])
    assert current(rig.archive, archive_id).state == "ARCHIVED"
    rig.clock.advance(86400)
    assert sweep(rig.archive, budget=timedelta(minutes=1)).verdict == "clean"
    rig.clock.advance(8 * 86400)
    assert sweep(rig.archive, budget=timedelta(minutes=1)).verdict == "clean"
    assert all(len(list(store.list_objects("demo/"))) == 2 for store in rig.stores)


def test_waiting_bytes_that_vanish_are_said_to_be_altered_and_can_be_sent_again(rig):
    def hook(call):
        if (call.act, call.moment) == ("move", seam.AFTER):
            shutil.rmtree(rig.archive.spool)
            rig.archive.spool.mkdir()

    with seam.installed(hook), pytest.raises(IntegrityFailureError) as caught:
        rig.deliver()
    assert caught.value.code == "SPOOL_ALTERED"
    assert rig.deposit().state == "ARCHIVED"


def test_an_altered_attestation_is_not_given(rig):
    found = rig.deposit()
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE outbox SET body = body || ' '::bytea")
    with pytest.raises(IntegrityFailureError) as caught:
        outbox.attestation(rig.archive, found)
    assert caught.value.code == "ATTESTATION_ALTERED"


def test_an_attestation_under_another_seal_is_not_given(rig):
    found, other = rig.deposit(b"one", "R-1"), rig.deposit(b"two", "R-2")
    with rig.archive.database.transaction() as connection:
        connection.execute(
            "UPDATE outbox SET seal = (SELECT seal FROM outbox WHERE archive_id = %s) WHERE archive_id = %s",
            (other.archive_id, found.archive_id),
        )
    with pytest.raises(IntegrityFailureError) as caught:
        outbox.attestation(rig.archive, found)
    assert caught.value.code.startswith("SEAL_")
    assert outbox.attestation(rig.archive, other).seal


@pytest.mark.parametrize("entry", [b"{", b"[]", b"{}", b'{"details":{}}', b'{"details":null}'])
def test_an_altered_entry_names_no_attestation(rig, entry):
    found = rig.deposit()
    with rig.archive.database.transaction() as connection:
        connection.execute("ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows")
        connection.execute("UPDATE journal_event SET entry = %s WHERE event = 'deposit:archived'", (entry,))
        connection.execute("ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows")
    with pytest.raises(IntegrityFailureError) as caught:
        outbox.attestation(rig.archive, found)
    assert caught.value.code == "ATTESTATION_ALTERED"


def test_a_lock_that_is_late_by_a_day_is_an_alarm(rig, monkeypatch):
    archive_id = staged(rig, "R-1")
    vault.commit_deposits(rig.archive, [archive_id])
    rig.clock.advance(23 * 3600)

    def told():
        with rig.archive.database.transaction() as connection:
            return waiting.unlocked(connection, rig.clock()), waiting.alarm(connection, rig.clock())

    assert told() == ([], "")
    rig.clock.advance(2 * 3600)
    late, sentence = told()
    assert late == [archive_id]
    monkeypatch.setattr(sweeping, "current_archive", lambda: rig.archive)
    assert sweeping.find_late_locks.fn() == sentence
    assert sentence.startswith("ALARM: 1 deposit is committed for more than 24 hours")
    carry(rig.archive, [archive_id])
    assert told() == ([], "")
