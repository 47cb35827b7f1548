"""Backups of the embedded PostgreSQL and the drill that restores them, on a cluster of its own, without the engine."""

import shutil
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
import pytest
from prefect.states import Failed

from deployments import commands_recovery, doctor
from minutier.age import generate_identity
from minutier.age_stream import decrypt_bytes
from minutier.errors import BadInputError, ServiceUnavailableError
from storage import catalogue
from storage.segments import keep_journal
from storage.settings import load_settings
from tasks.backups import _take, back_up, backups, in_use, prune, require_archived, ship
from tasks.drill import drill, last_drill
from tasks.postgres_programs import BACKUP_ROLE, Places, embedded_port
from tests.support.postgres import postgres_server
from tests.support.rig import carry, make_rig

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def guarded(certified_home):
    """An archive whose database is the embedded one of its home, with three documents and one base backup."""
    with postgres_server(archive=True) as server:
        home = server.home
        for name in ("pki", "trust"):
            shutil.copytree(certified_home / name, home / name)
        (home / "logs").mkdir()
        with make_rig(Places(home).url(server.port, "minutier", "minutier"), home.parent, home=home) as rig:
            carry(rig.archive, [rig.deliver(b"document %d" % n, f"R-{n}").archive_id for n in range(3)])
            keep_journal(rig.archive)
            assert back_up(rig.archive.settings, rig.clock()) is not None
            yield rig


def places(rig):
    return Places(rig.archive.settings.home)


def archive_log(rig):
    """Have all that the log holds until now archived, and the next minute of it begin.

    Only the superuser, whom no connection reaches, may end a segment that is not full: so this one is filled.
    """
    with rig.archive.database.transaction() as connection:
        name = connection.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn()) AS name").fetchone()["name"]
        connection.execute("CREATE TABLE filling AS SELECT md5(n::text) FROM generate_series(1, 300000) AS n")
        connection.execute("DROP TABLE filling")
    wait_archived(rig, name)


def wait_archived(rig, name):
    """Wait until a segment that was ended is archived: the server does that when it comes to it."""
    deadline = time.monotonic() + 60
    while not list(places(rig).wal.glob(f"{name}*.gz")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(places(rig).wal.glob(f"{name}*.gz"))


def test_a_backup_is_whole_and_says_where_its_log_begins(guarded):
    (backup,) = backups(places(guarded))
    assert {path.name for path in (places(guarded).base / backup.name).iterdir()} == {
        "base.tar.gz", "pg_wal.tar.gz", "backup_manifest", "backup.json",
    }  # fmt: skip
    assert backup.size > 1_000_000
    assert len(backup.first_wal) == 24
    wait_archived(guarded, backup.first_wal)


def test_what_came_after_the_backup_comes_back_by_the_log(guarded):
    with guarded.archive.database.transaction() as connection:
        before = connection.execute("SELECT max(seq) AS seq FROM journal_event").fetchone()["seq"]
    guarded.deposit(b"after the backup", "R-after")
    keep_journal(guarded.archive)
    archived = len(list(places(guarded).wal.glob("*.gz")))
    # A segment that is not full is archived after a minute: this one is.
    deadline = time.monotonic() + 150
    while len(list(places(guarded).wal.glob("*.gz"))) == archived and time.monotonic() < deadline:
        time.sleep(1)
    assert len(list(places(guarded).wal.glob("*.gz"))) > archived
    report = drill(guarded.archive, documents=10)
    assert (report.verdict, report.trouble, report.bad) == ("green", "", ())
    assert report.entries > before
    assert (report.lacks, report.documents) == (0, 4)
    assert last_drill(places(guarded))["verdict"] == "green"
    assert not places(guarded).scratch.exists()


def test_entries_that_should_be_in_the_log_and_are_not_make_it_red(guarded, monkeypatch):
    wal = places(guarded).wal
    aside = wal.with_name("wal-aside")
    guarded.clock.now = datetime.now(UTC)
    (backup,) = backups(places(guarded))
    shutil.copytree(wal, aside)
    try:
        # The log is cut before the deposit that came after the backup, ten minutes ago for this clock.
        for path in wal.glob("*.gz"):
            path.unlink()
        guarded.clock.advance(600)
        report = drill(guarded.archive)
        assert report.behind > 0
        assert report.verdict == "red"
    finally:
        for path in aside.iterdir():
            if not (wal / path.name).exists():
                shutil.copy2(path, wal / path.name)
        shutil.rmtree(aside)
    assert backup.name == report.backup


def test_a_damaged_backup_is_red(guarded):
    (backup,) = backups(places(guarded))
    archive = places(guarded).base / backup.name / "base.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    try:
        report = drill(guarded.archive)
        assert report.verdict == "red"
        assert report.trouble
    finally:
        archive.write_bytes(whole)


def test_a_journal_that_was_written_anew_since_is_red(guarded):
    # What a restore sees ends where the archived log ends: here before the first change, then after the last one.
    archive_log(guarded)
    with guarded.archive.database.transaction() as connection:
        connection.execute("ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows")
        connection.execute("UPDATE journal_event SET chain = sha256(chain)")
    try:
        report = drill(guarded.archive, documents=0)
        assert "not the beginning" in report.trouble
    finally:
        with guarded.archive.database.transaction() as connection:
            chain = bytes(32)
            for row in connection.execute("SELECT seq, leaf FROM journal_event WHERE seq > 0 ORDER BY seq").fetchall():
                query = "UPDATE journal_event SET chain = sha256(%s) WHERE seq = %s RETURNING chain"
                chain = bytes(connection.execute(query, (chain + bytes(row["leaf"]), row["seq"])).fetchone()["chain"])
            connection.execute("ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows")
        archive_log(guarded)


def test_a_copy_that_the_stores_lost_is_red(guarded):
    store = guarded.stores[0]
    # One that the backup has: what came since may be in no segment of the log yet.
    with guarded.archive.database.transaction() as connection:
        (first,) = catalogue.find_by_reference(connection, "demo", "R-0")
    (version,) = store.versions(f"demo/{first.archive_id}/original.age")
    with store.open(version.key, version.version_id) as stream:
        whole = stream.read()
    store.damage(version.key, version.version_id, b"what a bad disk made of it")
    try:
        report = drill(guarded.archive, documents=50)
        assert [each.partition(":")[0] for each in report.bad] == [version.key.split("/")[1]]
    finally:
        store.damage(version.key, version.version_id, whole)


def test_the_role_of_backups_enters_no_database(guarded):
    port = embedded_port(guarded.archive.settings)
    for database in ("minutier", "prefect", "postgres"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(places(guarded).url(port, BACKUP_ROLE, database), connect_timeout=5)


def test_copies_elsewhere_are_encrypted_and_come_back(guarded, tmp_path):
    identity = generate_identity()
    settings = guarded.archive.settings.model_copy(
        update={"backup_dir": tmp_path / "elsewhere", "backup_recipient": str(identity.recipient)}
    )
    now = datetime.now(UTC)
    with pytest.raises(ServiceUnavailableError) as caught:
        ship(settings, now)
    assert caught.value.code == "BACKUP_DIR_MISSING"
    (tmp_path / "elsewhere").mkdir()
    first = ship(settings, now)
    assert first > 4
    (backup,) = backups(places(guarded))
    (cluster,) = (tmp_path / "elsewhere").iterdir()
    copy = cluster / "base" / backup.name / "backup_manifest.age"
    original = places(guarded).base / backup.name / "backup_manifest"
    assert decrypt_bytes(copy.read_bytes(), [identity]) == original.read_bytes()
    assert not list((tmp_path / "elsewhere").rglob("*.gz"))
    assert ship(settings, now) < first
    # A home that was made anew does not empty the place of its backups.
    emptied = settings.model_copy(update={"home": tmp_path / "anew"})
    assert ship(emptied, now + timedelta(days=400)) == 0
    assert copy.exists()


def test_another_cluster_has_a_place_of_its_own_elsewhere(tmp_path):
    shipped = list[int]()
    (tmp_path / "elsewhere").mkdir()
    given = {"MINUTIER_BACKUP_DIR": str(tmp_path / "elsewhere")}
    given["MINUTIER_BACKUP_RECIPIENT"] = str(generate_identity().recipient)
    for number in (7, 8):
        there = Places(tmp_path / str(number))
        there.wal.mkdir(parents=True)
        (there.wal / "000000010000000000000001.gz").write_bytes(b"log of %d" % number)
        (there.cluster / "global").mkdir(parents=True)
        (there.cluster / "global" / "pg_control").write_bytes(number.to_bytes(8, sys.byteorder) + bytes(100))
        shipped += [ship(load_settings(there.home, given), datetime.now(UTC)) for _ in range(2)]
    assert shipped == [1, 0, 1, 0]
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {"7", "8"}


def test_a_backup_that_is_being_taken_is_none_yet(guarded):
    (whole,) = backups(places(guarded))
    part = places(guarded).base / f".{whole.name}.part"
    shutil.copytree(places(guarded).base / whole.name, part)
    assert backups(places(guarded)) == [whole]
    shutil.rmtree(part)


def test_a_backup_that_fails_removes_nothing(guarded):
    settings = guarded.archive.settings
    before = backups(places(guarded))
    passfile = places(guarded).passfile(BACKUP_ROLE)
    kept = passfile.read_bytes()
    passfile.write_bytes(kept[:-5] + b"none\n")
    try:
        with pytest.raises(ServiceUnavailableError) as caught:
            back_up(settings, guarded.clock() + timedelta(days=400))
        assert caught.value.code == "BACKUP_FAILED"
    finally:
        passfile.write_bytes(kept)
    assert backups(places(guarded)) == before


def test_a_log_that_is_not_archived_stops_backups_and_is_said(guarded):
    settings, wal = guarded.archive.settings, places(guarded).wal
    require_archived(settings.database_url)
    assert doctor._database_log(settings.database_url).level == "ok"
    aside = wal.rename(wal.with_name("wal-aside"))
    try:
        # A base backup ends the segment that is being written.
        _take(places(guarded), embedded_port(settings), datetime.now(UTC) + timedelta(days=1))
        deadline, found = time.monotonic() + 90, doctor._database_log(settings.database_url)
        while found.level == "ok" and time.monotonic() < deadline:
            time.sleep(0.2)
            found = doctor._database_log(settings.database_url)
        assert (found.level, "is not archived" in found.detail) == ("warning", True)
        with pytest.raises(ServiceUnavailableError) as caught:
            back_up(settings, datetime.now(UTC))
        assert caught.value.code == "WAL_NOT_ARCHIVED"
    finally:
        aside.rename(wal)


def test_a_server_of_your_own_is_left_alone(rig):
    assert back_up(rig.archive.settings, rig.clock()) is None
    assert drill(rig.archive) is None


def kept_backups(home):
    """Give the places of five backups, of which two are older than a week needs, and the time."""
    there, now = Places(home), datetime.now(UTC)
    there.wal.mkdir(parents=True)
    for index, age in enumerate((12, 9, 8, 5, 1)):
        folder = there.base / f"{now - timedelta(days=age):%Y%m%dT%H%M%SZ}"
        folder.mkdir(parents=True)
        at, first = (now - timedelta(days=age)).isoformat(), f"00000001000000000000001{index}"
        (folder / "backup.json").write_text(f'{{"started_at":"{at}","first_wal":"{first}","size":1}}')
        (there.wal / f"{first}.gz").touch()
    return there, now


def test_old_backups_go_and_what_a_week_needs_stays(tmp_path):
    there, now = kept_backups(tmp_path)
    assert len(list(prune(there, now))) == 2
    assert [(now - each.started_at).days for each in backups(there)] == [8, 5, 1]
    assert sorted(path.name for path in there.wal.iterdir()) == [
        f"00000001000000000000001{index}.gz" for index in (2, 3, 4)
    ]


def test_settings_of_backups_are_resolved_and_checked(tmp_path):
    given = {"MINUTIER_BACKUP_DIR": "elsewhere", "MINUTIER_BACKUP_RECIPIENT": str(generate_identity().recipient)}
    assert load_settings(tmp_path, given).backup_dir == tmp_path / "elsewhere"
    with pytest.raises(BadInputError, match="Setting backup_dir: backup_dir needs backup_recipient"):
        load_settings(tmp_path, {"MINUTIER_BACKUP_DIR": "elsewhere"})


def test_a_drill_that_dies_shows_no_report_of_another_day(tmp_path, monkeypatch):
    there = Places(tmp_path)
    there.drills.mkdir()
    (there.drills / "20261119T040000Z.json").write_text('{"at": "2026-11-19T04:00:00Z", "verdict": "green"}')
    monkeypatch.setattr(commands_recovery, "settings", lambda: load_settings(tmp_path, {}))
    monkeypatch.setattr("deployments.instance.connected", lambda chosen: chosen)
    monkeypatch.setattr("tasks.postgres_programs.embedded_port", lambda _chosen: 1)
    monkeypatch.setattr(commands_recovery, "running_archive", nullcontext)
    died = Failed(message="no room", data=ServiceUnavailableError("DISK_FULL", "No room.", remedy="Make some."))
    monkeypatch.setattr("flows.drill.rehearse", lambda _documents, *, return_state: died)
    with pytest.raises(ServiceUnavailableError) as caught:
        commands_recovery.drill(20)
    assert caught.value.code == "DISK_FULL"


def test_backups_stay_while_a_restore_is_rehearsed(tmp_path):
    there, now = kept_backups(tmp_path)
    with in_use(there), in_use(there):
        assert list(prune(there, now)) == []
    assert len(list(prune(there, now))) == 2


def test_a_hundred_reports_of_drills_stay(tmp_path, monkeypatch):
    there = Places(tmp_path)
    there.base.mkdir(parents=True)
    there.drills.mkdir()
    for number in range(105):
        (there.drills / f"2020{number:04d}T000000Z.json").write_text("{}")
    settings = SimpleNamespace(home=tmp_path)
    monkeypatch.setattr("tasks.drill.embedded_port", lambda settings: 5432)
    drill(SimpleNamespace(settings=settings, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)))
    left = sorted(path.name for path in there.drills.iterdir())
    assert len(left) == 100 and left[-1] == "20260101T000000Z.json" and left[0] == "20200006T000000Z.json"
