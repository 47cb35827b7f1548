"""The morning report: green only if every line holds, and a run that did not come is a line that does not hold."""

import json
import shutil
import smtplib
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from psycopg.types.json import Jsonb

from minutier.errors import BadInputError, ServiceUnavailableError
from minutier.events import format_time
from storage import holds
from storage.bootstrap import probe_store
from storage.classes import LifecycleClass, create_class
from storage.journal_stamps import stamp_journal
from storage.settings import load_settings
from storage.sweep import sweep
from tasks import clamd, morning, telling
from tasks.leaving import rehearse_exit
from tasks.morning import BAD, GOOD, LOOK, as_markdown, as_text, last_morning, morning_report
from tasks.night_files import keep_report
from tests.unit.test_supervision import mail_sink


def coherence(rig, *broken):
    rules = [{"name": name, "ok": name not in broken} for name in ("one", "two")]
    keep_report(
        rig.archive, rig.clock(), "coherence", {"at": format_time(rig.clock()), "ok": not broken, "rules": rules}, {}
    )


def acknowledge(rig):
    """Note a bundle as the supervision's acknowledgement would."""
    with rig.archive.database.transaction() as connection:
        connection.execute(
            "INSERT INTO trace_bundle (number, kind, first_seq, last_seq, chain, sha256, made_at, body,"
            " acknowledged_at, note) VALUES (1, 'nightly', 1, 1, '', '', %s, NULL, %s, '')",
            (rig.clock(), rig.clock()),
        )


@pytest.fixture
def night(rig, monkeypatch):
    """An archive after a good night, on a machine that has all it wants."""
    rig.deposit(b"a document", name="a.txt")
    for store in rig.archive.replicas:
        probe_store(rig.archive, store.name)
    stamp_journal(rig.archive)
    sweep(rig.archive, budget=timedelta(minutes=1))
    coherence(rig)
    rehearse_exit(rig.archive)
    acknowledge(rig)
    changed = {"supervision_url": "https://supervision.test/v1/archives/a", "clamd": "clamd.test:3310"}
    rig.archive = replace(rig.archive, settings=rig.archive.settings.model_copy(update=changed))
    monkeypatch.setattr(clamd, "signatures_of", lambda _address: rig.clock())
    monkeypatch.setattr(morning, "stand_ins", lambda _settings: [])
    monkeypatch.setattr(morning, "embedded_port", lambda _settings: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(total=100, free=50))
    return rig


def levels(rig):
    return {(line.about, line.level) for line in morning_report(rig.archive).lines if line.level != GOOD}


def test_after_a_good_night_every_line_holds(night):
    report = morning_report(night.archive)
    assert [line for line in report.lines if line.level != GOOD] == []
    assert (report.verdict, report.headline()) == ("green", "All is well: every line holds.")
    assert {line.about for line in report.lines} == {name for name, _ in morning._LINES}
    assert as_text(report).startswith("GREEN")
    assert "### Does not hold" not in as_markdown(report)


def test_a_night_that_did_not_come_is_red_line_by_line(night):
    night.clock.advance(timedelta(hours=27).total_seconds())
    assert levels(night) == {("copies", BAD), ("copies", LOOK), ("tables", BAD), ("stores", BAD), ("journal", BAD)}
    report = morning_report(night.archive)
    assert report.verdict == "red"
    assert all(line.remedy for line in report.lines if line.level != GOOD)
    assert as_markdown(report).index("Does not hold") < as_markdown(report).index("### Holds")


def test_a_new_archive_has_had_no_night(rig):
    assert {("copies", BAD), ("tables", BAD), ("stores", BAD), ("journal", BAD), ("exit", LOOK)} <= levels(rig)


def sql(statement, *values):
    def do(rig, _monkeypatch):
        with rig.archive.database.transaction() as connection:
            connection.execute(statement, values)

    return do


def setting(**changed):
    def do(rig, _monkeypatch):
        rig.archive = replace(rig.archive, settings=rig.archive.settings.model_copy(update=changed))

    return do


def patch(target, name, value):
    return lambda _rig, monkeypatch: monkeypatch.setattr(target, name, value)


def spoil_exit(rig, _monkeypatch):
    (path,) = (rig.archive.settings.home / "exit-rehearsals").iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"verdict": "red"}))


def down(_address):
    raise ServiceUnavailableError("CLAMD_DOWN", "It does not answer.", remedy="Start it.")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (sql("UPDATE sweep SET report = report || %s", Jsonb({"verdict": "alarm"})), ("copies", BAD)),
        (sql("UPDATE replica_copy SET health = 'damaged'"), ("copies", BAD)),
        (lambda rig, _: coherence(rig, "two"), ("tables", BAD)),
        (sql("UPDATE store_probe SET ok = false WHERE replica = 'replica-a'"), ("stores", BAD)),
        (sql("DELETE FROM store_probe WHERE replica = 'replica-b'"), ("stores", BAD)),
        (setting(supervision_url=None), ("journal", LOOK)),
        (sql("UPDATE trace_bundle SET acknowledged_at = acknowledged_at - interval '1 hour'"), ("journal", BAD)),
        (sql("DELETE FROM trace_bundle"), ("journal", BAD)),
        (patch(morning, "embedded_port", lambda _settings: 1), ("backups", BAD)),
        (spoil_exit, ("exit", BAD)),
        (setting(clamd=None), ("antivirus", LOOK)),
        (patch(clamd, "signatures_of", lambda _address: None), ("antivirus", LOOK)),
        (patch(clamd, "signatures_of", down), ("antivirus", BAD)),
        (patch(morning, "stand_ins", lambda _settings: ["a", "b"]), ("machine", LOOK)),
        (patch(shutil, "disk_usage", lambda _path: SimpleNamespace(total=100, free=10)), ("machine", LOOK)),
        (patch(shutil, "disk_usage", lambda _path: SimpleNamespace(total=100, free=1)), ("machine", BAD)),
        (patch(morning, "_ENDS_SOON", timedelta(days=36500)), ("evidence", LOOK)),
        (patch(morning.waiting, "alarm", lambda *_: "a deposit waits too long"), ("deposits", BAD)),
        (patch(morning.waiting, "summary", lambda *_: "a deposit waits"), ("deposits", LOOK)),
    ],
)  # fmt: skip
def test_each_thing_that_does_not_hold_has_its_line(night, monkeypatch, spoil, expected):
    night.clock.advance(1)
    spoil(night, monkeypatch)
    assert expected in levels(night)
    assert {about for about, _ in levels(night)} == {expected[0]}


def test_it_counts_what_came_to_its_term_and_what_is_held_and_names_nobody(night):
    deposit = night.deposit(b"x", "Dupont-1", name="dupont.txt", depositor="Dupont")
    holds.place_hold(night.archive, deposit.archive_id, "a case", "me")
    text = as_text(morning_report(night.archive))
    assert "0 documents have come to their term, 1 are under legal hold." in text
    assert "upont" not in text


def test_what_waits_for_an_event_is_not_forgotten(night):
    create_class(night.archive, LifecycleClass("contract", "Contrats", 1, starts="event"))
    night.deposit(b"x", "C-1", lifecycle_class="contract")
    assert "wait for their event" not in as_text(morning_report(night.archive))
    night.clock.advance(timedelta(days=367).total_seconds())
    text = as_text(morning_report(night.archive))
    assert "0 documents have come to their term, 0 are under legal hold, 1 wait for their event." in text


def test_the_last_report_is_read_again_as_it_was(night):
    assert last_morning(night.archive.settings.home) is None
    report = morning_report(night.archive)
    keep_report(night.archive, report.at, "morning", report.as_dict(), {})
    assert last_morning(night.archive.settings.home) == report


def test_it_is_mailed_to_a_real_relay():
    with mail_sink() as (address, mails):
        telling.send_mail(address, "Minutier: green", "✓ copies: tout va bien\n", "2026")
    assert len(mails) == 1
    assert all(word in str(mails[0]) for word in ("operator@example.org", "Minutier: green", "2026"))


def test_a_relay_that_is_away_is_said(monkeypatch):
    with pytest.raises(ServiceUnavailableError) as stopped:
        telling.send_mail("smtp://127.0.0.1:1/a@b.example", "x", "y", "z")
    assert stopped.value.code == "MAIL_DOWN"

    class Refusing:
        def __init__(self, *_given, **_named):
            raise smtplib.SMTPConnectError(554, "no")

    monkeypatch.setattr(smtplib, "SMTP", Refusing)
    with pytest.raises(ServiceUnavailableError):
        telling.send_mail("smtp://relay.test:25/a@b.example", "x", "y", "z")


@pytest.mark.parametrize("value", ["operator@example.org", "https://mail.test/a@b.c", "smtp://mail.test:25/nobody"])
def test_where_the_report_goes_is_an_smtp_address(tmp_path, value):
    with pytest.raises(BadInputError):
        load_settings(tmp_path, {"MINUTIER_REPORT_MAIL": value})
