"""The exit rehearsal: what leaves comes in elsewhere bit for bit, and whatever does not is said."""

import json
import shutil
from dataclasses import replace

import psycopg
import pytest

from minutier.errors import ServiceUnavailableError
from storage import catalogue
from storage.dev_ca import create_development_ca
from tasks import leaving
from tasks.aside import archive_aside, carry_through
from tasks.leaving import KEPT_REPORTS, last_exit, rehearse_exit

TEXT = b"a document\n"


def databases(rig):
    with rig.archive.database.transaction() as connection:
        return {row["datname"] for row in connection.execute("SELECT datname FROM pg_database")}


def test_what_leaves_comes_in_elsewhere_and_nothing_is_left_of_it(rig):
    for number in range(3):
        rig.deposit(f"document {number}".encode(), f"R-{number}", name=f"n{number}.txt", metadata={"title": "Dupont"})
    before, files = databases(rig), {path.name for path in rig.archive.settings.home.iterdir()}
    said = []
    report = rehearse_exit(rig.archive, documents=2, progress=said.append)
    assert (report.verdict, report.documents, report.verified, report.equal, report.bad) == ("green", 2, 2, 2, ())
    assert len(said) == 3
    assert databases(rig) == before
    assert {path.name for path in rig.archive.settings.home.iterdir()} - files == {"exit-rehearsals"}
    assert last_exit(rig.archive.settings.home) == report.as_dict()
    assert "Dupont" not in json.dumps(report.as_dict())
    with rig.archive.database.transaction() as connection:
        assert catalogue.count_by_state(connection) == {"ARCHIVED": 3}


def test_an_empty_archive_has_nothing_to_rehearse(rig):
    assert rehearse_exit(rig.archive).verdict == "empty"


def test_a_document_that_no_store_has_any_more_is_red(rig):
    deposit = rig.deposit(TEXT, name="a.txt")
    for store in rig.stores:
        for entries in store._entries.values():
            entries[:] = [each for each in entries if "original" not in each.version.key]
    report = rehearse_exit(rig.archive)
    assert (report.verdict, report.documents, report.equal) == ("red", 0, 0)
    assert report.bad[0].startswith(f"{deposit.archive_id}: it cannot be given")


def test_a_proof_that_does_not_hold_is_red(rig, tmp_path):
    rig.deposit(TEXT, name="a.txt")
    other = create_development_ca(tmp_path / "other", rig.clock())
    shutil.copy(other.journal_vkey, rig.archive.settings.trust_dir / "journal.vkey")
    report = rehearse_exit(rig.archive)
    assert (report.verdict, report.verified, report.equal) == ("red", 0, 1)
    assert "its proof is" in report.bad[0]


def test_what_comes_back_with_other_bytes_is_red(rig, monkeypatch):
    deposit = rig.deposit(TEXT, name="a.txt")
    monkeypatch.setattr(leaving, "read", lambda _archive, _deposit, target: target.write_bytes(b"other"))
    report = rehearse_exit(rig.archive)
    assert (report.verdict, report.equal) == ("red", 0)
    assert report.bad == (f"{deposit.archive_id}: it comes back with other bytes",)


def test_what_is_refused_elsewhere_is_red(rig, monkeypatch):
    rig.deposit(TEXT, name="a.txt")
    monkeypatch.setattr(leaving, "_delivery", lambda *given: replace(delivery(*given), expected_size=1))
    report = rehearse_exit(rig.archive)
    assert (report.verdict, "elsewhere it ends REFUSED" in report.bad[0]) == ("red", True)


delivery = leaving._delivery


def test_reports_are_kept_for_some_years_and_no_longer(rig):
    folder = rig.archive.settings.home / "exit-rehearsals"
    folder.mkdir()
    for number in range(KEPT_REPORTS + 3):
        (folder / f"2020{number:04d}T000000Z.json").write_text("{}")
    rehearse_exit(rig.archive)
    assert len(list(folder.glob("*.json"))) == KEPT_REPORTS


def test_aside_a_document_is_archived_with_real_screening_and_a_clock_of_its_own(rig, tmp_path):
    later = rig.clock().replace(year=rig.clock().year + 1)
    (tmp_path / "a.txt").write_bytes(b"text")
    with archive_aside(rig.archive, tmp_path / "aside", lambda: later) as aside:
        delivered = leaving.receive(
            aside, leaving.Delivery(tmp_path / "a.txt", "demo", "default", "R", "t", name="a.txt")
        )
        (deposit,) = carry_through(aside, [delivered.archive_id])
        assert (deposit.state, deposit.screening["media_type"], deposit.received_at) == (
            "ARCHIVED",
            "text/plain",
            later,
        )
        assert aside.database is not rig.archive.database
    with rig.archive.database.transaction() as connection:
        assert catalogue.count_by_state(connection) == {}


def test_what_a_rehearsal_that_was_killed_left_goes_with_the_next_one(rig):
    rig.deposit(TEXT, name="a.txt")
    left = rig.archive.settings.home / ".exit-killed" / "bag"
    left.mkdir(parents=True)
    (left / "clear.txt").write_bytes(TEXT)
    with psycopg.connect(rig.archive.settings.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE minutier_aside_killed")
    before = databases(rig)
    assert rehearse_exit(rig.archive).verdict == "green"
    assert not left.parent.exists()
    assert before - databases(rig) == {"minutier_aside_killed"}


def test_an_account_that_may_make_no_database_is_told_what_to_do(rig, monkeypatch):
    def refuse(*_given):
        raise psycopg.errors.InsufficientPrivilege("permission denied to create database")

    monkeypatch.setattr("tasks.aside._run", refuse)
    rig.deposit(TEXT, name="a.txt")
    with pytest.raises(ServiceUnavailableError) as stopped:
        rehearse_exit(rig.archive)
    assert (stopped.value.code, "CREATEDB" in stopped.value.remedy) == ("NO_ASIDE", True)
