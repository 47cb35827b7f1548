"""A disk fills up under a deposit: spool, store, database. It is said, nothing partial stays, all goes on."""

import shutil
import time

import psycopg
import pytest

from deployments.embedded_postgres import cluster
from minutier.errors import ServiceUnavailableError
from storage.bootstrap import opened_archive, require_probed
from storage.files import PART
from tests.support.cli import minutier
from tests.support.disks import no_mounts, small_disk
from tests.support.machine import running_machine
from tests.support.promises import check, faults, finish, strays
from tests.support.rig import carry
from tests.support.worker import SAFE, Work, Worker, content, receive_one, told

SEED = 20261204
MEGABYTE = 1 << 20
ROOMS = range(0, 160_000, 12_000)
WAL_DISK, SEGMENT = 160 * MEGABYTE, 16 * MEGABYTE
NOBODY = "http://127.0.0.1:9/api"
"""Where no Prefect server is: a full disk is told before a run is asked for."""

pytestmark = [
    pytest.mark.skipif(no_mounts() is not None, reason=str(no_mounts())),
    pytest.mark.timeout(600),
]


def original(reference):
    return content(SEED, reference)


def unfinished_files(*folders):
    return [path for folder in folders for path in folder.rglob(f"*{PART}")]


@pytest.fixture(params=["spool", "replicas/b"])
def full(request, directory_machine):
    """An archive, and the small disk that its spool or its second store is on."""
    instance = directory_machine.instance()
    with small_disk(instance.home / request.param, 8 * MEGABYTE) as disk:
        with opened_archive(instance.settings) as archive:
            require_probed(archive)
            yield disk, archive, instance


def test_a_disk_with_less_and_less_room(full, directory_machine, tmp_path):
    disk, archive, instance = full
    work = Work(instance, (), tmp_path / "log", tmp_path / "stop", SEED)
    carry(archive, [receive_one(archive, work, "first")])
    acknowledged, codes = {}, []
    for room in ROOMS:
        reference = f"room for {room}"
        disk.leave(room)
        try:
            acknowledged[reference] = told_received(archive, work, reference)
            carry(archive, [acknowledged[reference]])
            codes.append("")
        except ServiceUnavailableError as error:
            codes.append(error.code)
            assert error.exit_code == 3
        assert unfinished_files(disk.path) == []
        disk.free()
        assert (
            faults(archive, {k: acknowledged[k] for k in [reference] if k in acknowledged}, original, alone=True) == []
        )
        (found,) = carry(archive, [receive_one(archive, work, reference)])
        assert found.archive_id == acknowledged.setdefault(reference, found.archive_id)
    assert codes[0] == "DISK_FULL"
    assert codes[-1] == ""
    assert set(codes) == {"", "DISK_FULL"}
    found = check(archive, acknowledged, original)
    found.strays += strays(directory_machine, instance)
    assert found.broken() == {}


def told_received(archive, work, reference):
    """Deliver once: a full disk is not asked again."""
    from storage.reception import Delivery, receive

    path = work.log.with_suffix(".document")
    path.write_bytes(original(reference))
    return receive(archive, Delivery(path, SAFE, "default", reference, "tests", name="file.pdf")).archive_id


def test_the_command_says_that_the_spool_is_full(directory_machine, tmp_path):
    instance = directory_machine.instance()
    (tmp_path / "file.pdf").write_bytes(original("R-1"))
    with small_disk(instance.home / "spool", MEGABYTE) as disk:
        disk.leave(8_192)
        environment = instance.environment | {"PREFECT_API_URL": NOBODY}
        arguments = ["deposit", tmp_path / "file.pdf", "--safe", SAFE, "--class", "default", "--reference", "R-1"]
        answer = minutier(instance.home, *arguments, env=environment)
        assert (answer.code, answer.error) == (3, "DISK_FULL")
        assert unfinished_files(disk.path) == []
        disk.free()
        with opened_archive(instance.settings) as archive:
            work = Work(instance, (), tmp_path / "log", tmp_path / "stop", SEED)
            (found,) = carry(archive, [receive_one(archive, work, "R-1")])
            assert faults(archive, {"R-1": found.archive_id}, original) == []


@pytest.fixture
def small_wal():
    """A machine whose database keeps its write-ahead log on a small disk."""
    with running_machine() as machine:
        machine.kill("postgresql")
        log = cluster(machine.home) / "pg_wal"
        with small_disk(machine.home / "postgres" / "wal", WAL_DISK) as disk:
            place = disk.path / "pg_wal"
            shutil.copytree(log, place)
            owner = log.stat()
            for path in (disk.path, place, *place.rglob("*")):
                shutil.chown(path, owner.st_uid, owner.st_gid)
            place.chmod(0o700)
            shutil.rmtree(log)
            log.symlink_to(place)
            machine.start("postgresql")
            yield machine, disk
            machine.kill("postgresql")


def test_the_journal_of_the_database_has_no_room(small_wal, tmp_path):
    machine, disk = small_wal
    instance = machine.instance()
    with opened_archive(instance.settings) as archive:
        require_probed(archive)
    references = tuple(f"R-{number}" for number in range(2_000))
    worker = Worker(Work(instance, references, tmp_path / "log", tmp_path / "stop", SEED))
    worker.start()
    while not any(line.event == "archived" for line in told(worker.work.log)):
        time.sleep(0.05)
    disk.leave(0)
    fill_the_log(instance)
    machine.kill("postgresql")  # what is left of it: it cannot recover on a full disk
    before = sum(line.event == "archived" for line in told(worker.work.log))
    with pytest.raises(ServiceUnavailableError) as down, opened_archive(instance.settings):
        pass
    assert (down.value.code, down.value.exit_code) == ("DATABASE_DOWN", 3)
    disk.free()
    machine.start("postgresql")
    while sum(line.event == "archived" for line in told(worker.work.log)) < before + 3:
        assert worker.alive()
        time.sleep(0.05)
    worker.work.stop.touch()
    worker.process.join()
    assert worker.ended_well(), list(told(worker.work.log))[-1]
    acknowledged = {line.reference: line.detail for line in told(worker.work.log) if line.event == "received"}
    with opened_archive(instance.settings) as archive:
        assert finish(archive) == 0
        found = check(archive, acknowledged, original)
    found.strays += strays(machine, instance)
    assert found.broken() == {}


def fill_the_log(instance):
    """Write to the database until its log has no room, which ends the server."""
    with pytest.raises(psycopg.Error):
        with psycopg.connect(instance.environment["MINUTIER_DATABASE_URL"], autocommit=True) as connection:
            connection.execute("CREATE TABLE ballast (bytes bytea)")
            for _ in range(4 * WAL_DISK // SEGMENT * 16):
                connection.execute(
                    "INSERT INTO ballast SELECT string_agg(sha512(i::text::bytea), '') FROM generate_series(1, 16384) i"
                )
