"""Random harm below real stores: one sweep finds and heals all of it, the next finds nothing, nothing is replaced."""

import os
import random
import shutil
import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest

from storage import catalogue, journal, reading, sweep
from storage.directory import DirectoryStore
from tests.support.damage import below_directory, harm_file, minio_files, pick, targets
from tests.support.rig import carry, make_rig

HOUR = timedelta(hours=1)


def swept(rig):
    rig.clock.advance(3600)
    return sweep.sweep(rig.archive, budget=HOUR)


def deposit_some(rig, count, sizes, seed=1):
    random_of = random.Random(seed)
    data = [random_of.randbytes(random_of.choice(sizes)) for _ in range(count)]
    ids = [rig.deliver(each, f"R-{seed}-{number}").archive_id for number, each in enumerate(data)]
    return carry(rig.archive, ids), data


def events(rig):
    with rig.archive.database.transaction() as connection:
        return Counter(line.event for line in journal.lines(connection))


@pytest.fixture
def directories(database_url, certified_home, tmp_path):
    shutil.copytree(certified_home, tmp_path / "home")

    def stores(clock):
        return [DirectoryStore(f"replica-{x}", tmp_path / "stores" / x, create=True, clock=clock) for x in "ab"]

    with make_rig(database_url, tmp_path, stores) as rig:
        yield rig


def harm_and_heal(rig, rounds, each, seed):
    """Harm, sweep, sweep again; gives how many copies were harmed."""
    random_of, done = random.Random(seed), 0
    for _ in range(rounds):
        harmed = list(pick(rig.archive, random_of, each))
        before = events(rig)
        for target, kind in harmed:
            below_directory(rig.archive, target, kind, random_of)
        report = swept(rig)
        names = {(target.item.archive_id, target.item.role, target.copy.replica) for target, _ in harmed}
        assert {(found.archive_id, found.role, found.replica) for found in report.findings} == names
        assert (report.verdict, report.healed, report.unhealed) == ("healed", each, 0)
        after = events(rig)
        assert after["copy:damaged"] - before["copy:damaged"] == after["copy:healed"] - before["copy:healed"] == each
        again = swept(rig)
        assert (again.verdict, again.findings, again.proofs_bad, again.stores) == ("clean", (), (), ())
        done += each
    return done


def all_given_back(rig, deposits, data):
    for deposit, expected in zip(deposits, data, strict=True):
        reading.read(rig.archive, deposit, rig.folder / "out")
        assert (rig.folder / "out").read_bytes() == expected


def test_sixty_harms_below_directories_are_healed_by_one_sweep(directories):
    deposits, data = deposit_some(directories, 32, (1, 700, 20_000))
    assert harm_and_heal(directories, 1, 60, seed=7) == 60
    all_given_back(directories, deposits, data)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_harms_below_directories_are_healed(directories):
    deposits, data = deposit_some(directories, 130, (1, 700, 20_000, 300_000))
    assert harm_and_heal(directories, 4, 250, seed=int(os.environ.get("MINUTIER_SEED", "11"))) == 1000
    all_given_back(directories, deposits, data)


def test_harm_in_both_copies_is_an_alarm_and_nothing_is_overwritten(directories):
    deposit_some(directories, 8, (700, 20_000))
    random_of = random.Random(3)
    chosen = random_of.sample(targets(directories.archive), 10)
    for copies in chosen:
        for target in copies:
            below_directory(directories.archive, target, random_of.choice(("flip", "truncate", "delete")), random_of)
    root = directories.folder / "stores"
    before = {path: path.read_bytes() for path in root.rglob("*.bin")}
    report = swept(directories)
    assert (report.verdict, report.unhealed, report.healed) == ("alarm", 20, 0)
    assert {path: path.read_bytes() for path in root.rglob("*.bin")} == before
    with directories.archive.database.transaction() as connection:
        for copies in chosen:
            owner, role = copies[0].item.archive_id, copies[0].item.role
            found = [copy for copy in catalogue.copies(connection, owner) if copy.role == role]
            assert {copy.health for copy in found} == {"damaged"}
            assert {copy.version_id for copy in found} == {target.copy.version_id for target in copies}
    assert swept(directories).verdict == "alarm"


def sweeps_under_load(rig, count):
    """Deposit without pause while `count` sweeps follow one another; gives how many documents came meanwhile."""
    stop, failed, came = threading.Event(), [], [0]

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            try:
                carry(rig.archive, [rig.deliver(os.urandom(3000), f"L-{number}-{x}").archive_id for x in range(2)])
            except Exception as error:  # noqa: BLE001 - told by the test
                failed.append(error)
                return
            came[0] += 2
            rig.clock.advance(1)  # the sweeps wait for no other clock

    writer = threading.Thread(target=write)
    writer.start()
    reports = []
    try:
        for _ in range(count):
            seen = came[0]
            while came[0] < seen + 2 and not failed:
                stop.wait(0.01)
            with rig.archive.database.transaction() as connection:
                connection.execute("DELETE FROM proof_check")  # all proofs are due, those being written too
            reports.append(sweep.sweep(rig.archive, budget=HOUR))
    finally:
        stop.set()
        writer.join()
    assert failed == []
    assert [report.verdict for report in reports] == ["clean"] * count
    assert all(report.proofs for report in reports)
    assert not {"copy:damaged", "copy:healed", "copy:relocked", "proof:broken"} & events(rig).keys()
    return came[0]


def test_no_false_alarm_under_write_load(directories):
    deposit_some(directories, 4, (700,))
    assert sweeps_under_load(directories, 2) >= 4


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_false_alarm_in_ten_sweeps_under_write_load(directories):
    deposit_some(directories, 40, (700, 20_000, 300_000))
    assert sweeps_under_load(directories, 10) >= 20


@pytest.fixture
def on_minio(database_url, certified_home, tmp_path, minio):
    shutil.copytree(certified_home, tmp_path / "home")
    name = f"sweep-{uuid.uuid4().hex}"
    made = []

    def stores(clock):
        made.append(minio.store(name, "replica-a", clock=clock))
        return [made[0], DirectoryStore("replica-b", tmp_path / "b", create=True, clock=clock)]

    with make_rig(database_url, tmp_path, stores) as rig:
        # The server's clock is the machine's, so that of the rig may not be moved: what is due is moved instead.
        yield rig, minio.credentials_file.parent / "data", name
        made[0].close()


def swept_on_minio(rig):
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE replica_copy SET checked_at = checked_at - interval '1 day', tried_at = NULL")
    return sweep.sweep(rig.archive, budget=HOUR)


@pytest.mark.minio
def test_harm_below_minio_is_healed(on_minio):
    rig, data, bucket = on_minio
    deposits, contents = deposit_some(rig, 12, (700, 30_000, 1_500_000))
    random_of, harmed = random.Random(5), 0
    mine = [next(t for t in copies if t.copy.replica == "replica-a") for copies in targets(rig.archive)]
    for target in random_of.sample(mine, 20):
        files = minio_files(data, bucket, target.item.key)
        parts = [path for path in files if path.name.startswith("part.")]
        if parts:
            harm_file(random_of.choice(parts), random_of.choice(("flip", "truncate", "delete")), random_of)
        else:  # a small object lies in the end of xl.meta, before its checksum is none of its own
            flip_in_the_end(files[0])
        harmed += 1
    report = swept_on_minio(rig)
    assert (report.verdict, report.healed, report.unhealed) == ("healed", harmed, 0), report.findings
    assert {found.outcome for found in report.findings} <= {"unreadable", "missing", "altered"}
    assert swept_on_minio(rig).verdict == "clean"
    all_given_back(rig, deposits, contents)


def flip_in_the_end(path):
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)


@pytest.mark.minio
def test_a_key_that_minio_cannot_write_any_more_is_an_alarm_until_its_folder_is_moved_away(on_minio):
    rig, data, bucket = on_minio
    deposits, contents = deposit_some(rig, 1, (700,))
    key = f"demo/{deposits[0].archive_id}/original.age"
    (meta,) = [path for path in minio_files(data, bucket, key) if path.name == "xl.meta"]
    harmed = bytearray(meta.read_bytes())
    harmed[100] ^= 1  # the list of versions itself
    meta.write_bytes(harmed)
    report = swept_on_minio(rig)
    assert (report.verdict, report.unhealed) == ("alarm", 1)
    all_given_back(rig, deposits, contents)
    shutil.rmtree(meta.parent)
    assert swept_on_minio(rig).verdict == "healed"
    assert swept_on_minio(rig).verdict == "clean"
