"""How a deposit ends: abandoned on purpose and in plain sight, or attested in the same bytes each time."""

import json
from contextlib import contextmanager
from datetime import timedelta

import pytest

from deployments import commands_deposits
from deployments.cli import run
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, RefusedDocumentError
from minutier.seal import check_seal
from storage import outbox, vault, waiting
from storage.abandoning import abandon
from storage.reception import current, refuse_deposit
from storage.sealing import seal_deposit, stamp_batch
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


def test_what_is_in_the_archive_or_was_refused_is_not_abandoned(rig):
    archived, refused = rig.deposit(b"one", "R-1").archive_id, rig.deliver(b"two", "R-2")
    refuse_deposit(rig.archive, refused, RefusedDocumentError("DAMAGED", "Cut.", "Tronqué."))
    committed = staged(rig, "R-3")
    vault.commit_deposit(rig.archive, committed)
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


def test_an_abandoned_document_does_not_lengthen_the_lock_of_its_token(rig):
    ids = [rig.deliver(name, name.decode()).archive_id for name in (b"a", b"b")]
    for archive_id in ids:
        pass_screening(rig.archive, archive_id)
        seal_deposit(rig.archive, archive_id, {})
    with rig.archive.database.transaction() as connection:
        connection.execute(
            "UPDATE deposit SET retain_until = retain_until + interval '20 years' WHERE archive_id = %s", (ids[1],)
        )
    token = stamp_batch(rig.archive, ids)
    abandon(rig.archive, ids[1], "sent by mistake")
    (kept,) = carry(rig.archive, ids[:1])
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
    check_seal(seal, body, rig.archive.roots, rig.clock())
    assert command("attestation", found.archive_id, "-o", tmp_path / "nowhere")[0] == 2
    assert command("attestation", rig.deliver(b"live", "R-2").archive_id, "-o", tmp_path)[0] == 2


def test_an_altered_attestation_is_not_given(rig):
    found = rig.deposit()
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE outbox SET body = body || ' '::bytea")
    with pytest.raises(IntegrityFailureError) as caught:
        outbox.attestation(rig.archive, found)
    assert caught.value.code == "ATTESTATION_ALTERED"


def test_a_lock_that_is_late_by_a_day_is_an_alarm(rig):
    archive_id = staged(rig, "R-1")
    vault.commit_deposit(rig.archive, archive_id)
    rig.clock.advance(23 * 3600)

    def told():
        with rig.archive.database.transaction() as connection:
            return waiting.unlocked(connection, rig.clock()), waiting.alarm(connection, rig.clock())

    assert told() == ([], "")
    rig.clock.advance(2 * 3600)
    late, sentence = told()
    assert late == [archive_id]
    assert sentence.startswith("ALARM: 1 deposit is committed for more than 24 hours")
    carry(rig.archive, [archive_id])
    assert told() == ([], "")
