"""What was refused: how long it waits, who gets it back, and what an instance says of its stand-ins."""

import json
from contextlib import contextmanager
from datetime import timedelta

import pytest

from deployments import commands_quarantine
from deployments.cli import run
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, RefusedDocumentError
from storage import quarantine
from storage.abandoning import abandon
from storage.production import require_production, stand_ins
from storage.reception import refuse_deposit
from storage.settings import load_settings
from storage.sweep import sweep


def refused(rig, reference="R-1", data=b"refused bytes"):
    deposit = rig.deliver(data, reference)
    error = RefusedDocumentError("MALWARE", "It is bad.", "Il est mauvais.", remedy="-")
    refuse_deposit(rig.archive, deposit, error)
    return deposit.archive_id


def events(rig, kind):
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT entry FROM journal_event WHERE event = %s ORDER BY event_id", (kind,))
        return [json.loads(bytes(row["entry"])) for row in rows]


def test_refused_and_abandoned_bytes_wait_and_say_until_when(rig):
    bad = refused(rig)
    rig.clock.advance(60)
    given_up = rig.deliver(b"given up", "R-2").archive_id
    abandon(rig.archive, given_up, "sent by mistake")
    first, second = quarantine.waiting(rig.archive)
    assert (first.name, first.code, first.reference, first.bytes) == (bad, "MALWARE", "R-1", 13)
    assert (second.name, second.code) == (given_up, "ABANDONED")
    assert second.until - second.since == timedelta(days=35)


def test_bytes_are_given_back_as_they_came_and_stay(rig, tmp_path):
    bad = refused(rig)
    quarantine.release(rig.archive, bad, tmp_path / "out", "the depositor asked")
    assert (tmp_path / "out").read_bytes() == b"refused bytes"
    assert [each.name for each in quarantine.waiting(rig.archive)] == [bad]
    assert [each["archive_id"] for each in events(rig, "quarantine:released")] == [bad]
    (rig.archive.quarantine / bad / "original").write_bytes(b"altered")
    with pytest.raises(IntegrityFailureError):
        quarantine.release(rig.archive, bad, tmp_path / "again", "once more")
    assert not (tmp_path / "again").exists()


def test_deleted_it_is_gone_and_said_so(rig):
    bad = refused(rig)
    quarantine.delete(rig.archive, bad, "known to be harmful")
    assert quarantine.waiting(rig.archive) == []
    assert [each["details"] for each in events(rig, "quarantine:deleted")] == [{"ground": "operator"}]
    with pytest.raises(BadInputError) as stopped:
        quarantine.delete(rig.archive, bad, "twice")
    assert stopped.value.code == "NOT_IN_QUARANTINE"


def test_a_sweep_deletes_what_waited_long_enough_and_nothing_else(rig):
    bad = refused(rig)
    unclaimed = rig.archive.quarantine / "unclaimed-0193a2f0-7c11-7abc-8def-0123456789ab"
    unclaimed.mkdir()
    (unclaimed / "original").write_bytes(b"the only copy, perhaps")
    rig.clock.advance(timedelta(days=35).total_seconds() - 1)
    sweep(rig.archive, budget=timedelta(hours=1))
    assert [each.name for each in quarantine.waiting(rig.archive)] == [bad, unclaimed.name]
    rig.clock.advance(1)
    sweep(rig.archive, budget=timedelta(hours=1))
    (left,) = quarantine.waiting(rig.archive)
    assert (left.name, left.until) == (unclaimed.name, None)
    assert [each["details"] for each in events(rig, "quarantine:deleted")] == [{"ground": "term"}]


@pytest.mark.parametrize("name", ["../spool", "unclaimed-x", "0193a2f0-7c11-7abc-8def-0123456789ab", ""])
def test_nothing_else_is_reached(rig, tmp_path, name):
    rig.deposit(b"archived", "R-9")
    with pytest.raises(BadInputError) as stopped:
        quarantine.release(rig.archive, name, tmp_path / "out", "why")
    assert stopped.value.code == "NOT_IN_QUARANTINE"


def test_the_commands(rig, monkeypatch, capsys, tmp_path):
    @contextmanager
    def running():
        yield rig.archive

    monkeypatch.setattr(commands_quarantine, "running_archive", running)

    def call(*arguments):
        code = run(["--json", "quarantine", *(str(each) for each in arguments)])
        return code, json.loads(capsys.readouterr().out)

    assert call("list") == (0, [])
    bad = refused(rig)
    assert [each["name"] for each in call("list")[1]] == [bad]
    assert call("release", bad, "--reason", "asked", "-o", tmp_path / "out")[0] == 0
    assert call("release", bad, "--reason", " ", "-o", tmp_path / "out")[1]["error"]["code"] == "BAD_REASON"
    assert call("delete", bad, "--reason", "harmful") == (0, {"archive_id": bad, "deleted": True})
    code, value = call("delete", bad, "--reason", "harmful")
    assert (code, value["error"]["code"]) == (2, "NOT_IN_QUARANTINE")


REAL = {
    "MINUTIER_CLAMD": "unix:/run/clamd",
    "MINUTIER_SEAL_CERTIFICATE": "seal.pem",
    "MINUTIER_SEAL_KEY": "seal.key",
    "MINUTIER_TSA_URLS": "https://tsa.example.org/",
    "MINUTIER_REPLICAS": "s3+https://a.example.org/one,s3+https://b.example.org/two",
    "MINUTIER_PRODUCTION": "true",
}


def settings_of(home, environment):
    replicas = environment["MINUTIER_REPLICAS"].split(",")
    credentials = ",".join("" if replica.startswith("dir:") else "store.credentials" for replica in replicas)
    return load_settings(home, environment | {"MINUTIER_REPLICA_CREDENTIALS": credentials})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MINUTIER_CLAMD", None, "no antivirus"),
        ("MINUTIER_SEAL_CERTIFICATE", None, "the seal of the development authority"),
        ("MINUTIER_TSA_URLS", "http://127.0.0.1:3180/", "development time-stamp authority"),
        ("MINUTIER_TSA_URLS", "http://localhost/,https://tsa.example.org/", "development time-stamp authority"),
        ("MINUTIER_REPLICAS", "dir:a,s3+https://b.example.org/two", "a directory as a replica"),
        ("MINUTIER_REPLICAS", "s3+https://b.example.org/two", "one replica only"),
        ("MINUTIER_REPLICAS", "s3+http://a.example.org/one,s3+https://b.example.org/two", "in clear"),
    ],
    ids=["antivirus", "seal", "tsa", "one-local-tsa", "directory", "one", "clear"],
)
def test_production_refuses_each_stand_in(tmp_path, name, value, words):
    environment = {key: text for key, text in (REAL | {name: value}).items() if text is not None}
    if name == "MINUTIER_SEAL_CERTIFICATE":
        environment.pop("MINUTIER_SEAL_KEY")
    with pytest.raises(PolicyRefusedError) as stopped:
        require_production(settings_of(tmp_path, environment))
    assert stopped.value.code == "NOT_FOR_PRODUCTION"
    assert words in stopped.value.message


def test_production_takes_the_real_ones_and_a_trial_takes_all(tmp_path):
    real = settings_of(tmp_path, REAL)
    require_production(real)
    assert stand_ins(real) == []
    trial = load_settings(tmp_path, {})
    require_production(trial)
    assert len(stand_ins(trial)) == 4
