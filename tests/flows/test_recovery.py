"""Backups, drills, and infra/backup.md and infra/restore.md, whose commands are executed as they stand there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.backups import backups
from tasks.postgres_programs import Places
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
    log = home / "logs" / "command.log"
    told = log.read_text(errors="replace")[-3000:] if done.returncode and log.exists() else ""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{told}"
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
