"""Backups, drills, and infra/backup.md and infra/restore.md, whose commands are executed as they stand there."""

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from deployments import instance
from storage.settings import load_settings
from tasks.backups import backups, prune
from tasks.postgres_programs import BACKUP_ROLE, Places
from tests.support.cli import minutier

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An instance of our own: its database is destroyed here."""
    home = tmp_path_factory.mktemp("recovery") / "home"
    answer = minutier(home, "up")
    assert answer.code == 0, answer.err
    yield home
    assert minutier(home, "down").code == 0


@pytest.fixture(scope="module")
def documents(home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"document {number}\n")
    answer = minutier(home, "deposit", *(str(folder / f"{number}.txt") for number in range(3)), "--safe", "demo")
    assert answer.code == 0, answer.err
    return [each["archive_id"] for each in answer.json]


def section(page: str, begin: str = "", end: str = "\x00") -> list[str]:
    text = (ROOT / "infra" / page).read_text(encoding="utf-8")
    return BLOCK.findall(text[text.index(begin) :].partition(end)[0])


def execute(home: Path, blocks: list[str]) -> str:
    """Run the commands of a page in one shell, as a person would who stops at the first that fails."""
    assert blocks
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MINUTIER_", "PREFECT_"))}
    path = f"{ROOT / '.venv' / 'bin'}:{own['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        env=own | {"MINUTIER_HOME": str(home), "PATH": path},
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def archived(home: Path) -> dict[str, int]:
    answer = minutier(home, "count")
    assert answer.code == 0, answer.err
    return answer.json


def readable(home: Path, archive_id: str, folder: Path, text: str) -> None:
    target = folder / "given-back"
    answer = minutier(home, "read", archive_id, "-o", str(target))
    assert answer.code == 0, answer.err
    assert target.read_text() == text
    target.unlink()


def test_the_page_on_backups(home, documents):
    execute(home, section("backup.md"))
    places = Places(home)
    (backup,) = backups(places)
    assert backup.size > 1_000_000
    assert {path.name for path in (places.base / backup.name).iterdir()} == {
        "base.tar.gz", "pg_wal.tar.gz", "backup_manifest", "backup.json",
    }  # fmt: skip
    assert list(places.drills.glob("*.json"))
    assert not places.scratch.exists()
    assert (home.parent / "keys.tar.gz").stat().st_size


def test_what_status_and_doctor_say(home, documents):
    assert "restore drill: green" in minutier(home, "status").err
    found = {each["name"]: each["level"] for each in minutier(home, "doctor").json}
    assert found["backup"] == found["restore drill"] == "ok"


def test_a_drill_says_what_it_compared(home, documents):
    answer = minutier(home, "drill", "--documents", "3")
    assert answer.code == 0, answer.out
    assert (answer.json["verdict"], answer.json["documents"], answer.json["bad"]) == ("green", 3, [])
    assert answer.json["entries"] > 20


def test_a_damaged_backup_makes_a_red_drill(home, documents):
    places = Places(home)
    (backup,) = backups(places)
    archive = places.base / backup.name / "base.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2] + b"\0" * 100 + whole[len(whole) // 2 + 100 :])
    try:
        answer = minutier(home, "drill")
        assert answer.code == 1
        assert answer.json["verdict"] == "red"
        assert answer.json["trouble"]
        assert {each["name"]: each["level"] for each in minutier(home, "doctor").json}["restore drill"] == "warning"
    finally:
        archive.write_bytes(whole)


def test_a_document_that_the_stores_lost_makes_a_red_drill(home, documents):
    (stored,) = (home / "replicas" / "a" / "demo" / documents[0] / "original.age").glob("*.bin")
    whole = stored.read_bytes()
    stored.chmod(0o600)
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        answer = minutier(home, "drill", "--documents", "50")
        assert answer.code == 1
        assert [each.partition(":")[0] for each in answer.json["bad"]] == [documents[0]]
    finally:
        stored.write_bytes(whole)


def test_the_role_of_backups_enters_no_database(home, documents):
    port = next(each for each in instance.status(load_settings(home, {})) if each.name == "postgresql").address
    number = int(re.search(r":(\d+)/", port)[1])
    for database in ("minutier", "prefect", "postgres"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(Places(home).url(number, BACKUP_ROLE, database), connect_timeout=5)


def test_old_backups_go_and_what_a_week_needs_stays(tmp_path):
    places, now = Places(tmp_path), datetime.now(UTC)
    places.wal.mkdir(parents=True)
    ages = (12, 9, 8, 5, 1)
    for index, age in enumerate(ages):
        folder = places.base / f"{now - timedelta(days=age):%Y%m%dT%H%M%SZ}"
        folder.mkdir(parents=True)
        at, first = (now - timedelta(days=age)).isoformat(), f"00000001000000000000001{index}"
        (folder / "backup.json").write_text(f'{{"started_at":"{at}","first_wal":"{first}","size":1}}')
        (places.wal / f"{first}.gz").touch()
    assert len(list(prune(places, now))) == 2
    assert [(now - each.started_at).days for each in backups(places)] == [8, 5, 1]
    assert sorted(path.name[-4:] for path in places.wal.iterdir()) == ["2.gz", "3.gz", "4.gz"] or sorted(
        path.name for path in places.wal.iterdir()
    ) == [f"00000001000000000000001{index}.gz" for index in (2, 3, 4)]


def test_copies_elsewhere_are_encrypted_and_come_back(home, documents, tmp_path):
    from minutier.age import generate_identity
    from minutier.age_stream import decrypt_bytes
    from tasks.backups import ship

    identity = generate_identity()
    settings = load_settings(home, {}).model_copy(
        update={"backup_dir": tmp_path / "elsewhere", "backup_recipient": str(identity.recipient)}
    )
    now = datetime.now(UTC)
    first = ship(settings, now)
    assert first > 3
    places = Places(home)
    (backup,) = backups(places)
    copy = tmp_path / "elsewhere" / "base" / backup.name / "backup_manifest.age"
    assert decrypt_bytes(copy.read_bytes(), [identity]) == (places.base / backup.name / "backup_manifest").read_bytes()
    assert not list((tmp_path / "elsewhere").rglob("*.gz"))
    assert ship(settings, now) < first
    # A home that was made anew does not empty the place of its backups.
    emptied = settings.model_copy(update={"home": tmp_path / "anew"})
    assert ship(emptied, now + timedelta(days=400)) == 0
    assert copy.exists()


def test_the_page_on_restores_from_a_backup(home, documents, tmp_path):
    before = archived(home)
    head = len(minutier(home, "journal").json)
    execute(home, section("restore.md", "## A.", "## B."))
    assert archived(home) == before
    assert len(minutier(home, "journal").json) >= head
    readable(home, documents[1], tmp_path, "document 1\n")
    shutil.rmtree(home / "postgres" / "data.lost")


def test_the_page_on_restores_from_the_replicas(home, documents, tmp_path):
    before = archived(home)
    entries = [line["seq"] for line in minutier(home, "journal").json]
    execute(home, section("restore.md", "## B."))
    assert archived(home) == before
    readable(home, documents[2], tmp_path, "document 2\n")
    after = [line["seq"] for line in minutier(home, "journal").json]
    assert after[: len(entries) - 5] == entries[: len(entries) - 5]
    again = tmp_path / "again.txt"
    again.write_text("document 1\n")
    answer = minutier(home, "deposit", str(again), "--safe", "demo")
    assert (answer.code, answer.json[0]["archive_id"]) == (0, documents[1])
    new = tmp_path / "new.txt"
    new.write_text("a new document\n")
    answer = minutier(home, "deposit", str(new), "--safe", "demo")
    assert (answer.code, answer.json[0]["state"]) == (0, "ARCHIVED")
    assert minutier(home, "sweep", "--budget", "5m").json["verdict"] == "clean"
