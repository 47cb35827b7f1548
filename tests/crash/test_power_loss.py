"""The power is cut at every flush of a deposit: what was acknowledged is on the disk, in spool and stores."""

import os
import random
from pathlib import Path

import pytest

import storage.files
from storage.bootstrap import opened_archive, require_probed
from tests.support import power_cut
from tests.support.power_cut import power_cut_disk
from tests.support.promises import faults
from tests.support.rig import carry
from tests.support.worker import Work, Worker, content, receive_one, told

SEED = 20261203
ACTS = ("drop", "names", "kill")
RECEPTION, SOME = 4, 3
"""How many flushes at the start of a deposit, and how many others in each kind of cut, the short run tries."""

pytestmark = [
    pytest.mark.skipif(power_cut.missing() is not None, reason=str(power_cut.missing())),
    pytest.mark.timeout(600),
]


def original(reference):
    return content(SEED, reference)


@pytest.fixture
def disk():
    with power_cut_disk() as value:
        yield value


@pytest.fixture
def archive(directory_machine, disk):
    """An archive whose home and whose two stores are on the disk, one document in it; its database is elsewhere."""
    instance = directory_machine.instance(place=disk.path)
    with opened_archive(instance.settings) as value:
        require_probed(value)
        disk.settle()
        yield value, instance


def flush(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("act", ["drop", "names"])
def test_the_disk_keeps_what_was_flushed_and_nothing_else(disk, act):
    for name in ("file", "name", "both"):
        (disk.path / f"{name}.part").write_bytes(b"document")
        if name != "name":
            flush(disk.path / f"{name}.part")
    (disk.path / "name.part").rename(disk.path / "name")
    (disk.path / "both.part").rename(disk.path / "both")
    flush(disk.path)
    (disk.path / "file.part").rename(disk.path / "file")
    disk.cut(act)
    found = {path.name: path.read_bytes() for path in disk.path.iterdir()}
    named = "file.part" if act == "drop" else "file"
    assert found == {named: b"document", "name": b"", "both": b"document"}


def cut_and_go_on(disk, archive, instance, folder, cuts):
    """Cut the power at each flush given; what was told is there before anything is delivered again, and at the end."""
    acknowledged = {}
    for number, moment, act in cuts:
        reference = f"{act} {moment} {number}"
        worker = Worker(Work(instance, (reference,), folder / f"{reference}.log", folder / "stop", SEED))
        disk.arm(number, moment, act)
        worker.start()
        worker.process.join()
        disk.arm()
        assert worker.process.exitcode == -9, reference
        received = {line.reference: line.detail for line in told(worker.work.log) if line.event == "received"}
        assert faults(archive, received, original, alone=True) == [], reference
        (found,) = carry(archive, [receive_one(archive, worker.work, reference)])
        acknowledged[reference] = found.archive_id
        assert (found.state, received.get(reference, found.archive_id)) == ("ARCHIVED", found.archive_id)
        disk.cut()
        assert faults(archive, {reference: found.archive_id}, original, alone=True) == [], reference
    assert faults(archive, acknowledged, original) == []


def all_cuts(disk, archive, instance, folder):
    """Give every flush of a whole deposit, before and after, with every kind of cut."""
    work = Work(instance, (), folder / "count.log", folder / "stop", SEED)
    for reference in ("first", "counted"):
        disk.arm()
        carry(archive, [receive_one(archive, work, reference)])
    total = disk.flushes()
    assert total > 40
    return [(number, moment, act) for act in ACTS for number in range(total) for moment in ("before", "after")]


def test_some_flushes(disk, archive, tmp_path):
    cuts = all_cuts(disk, *archive, tmp_path)
    draw = random.Random(SEED)
    chosen = [cut for cut in cuts if cut[0] < RECEPTION and cut[1:] == ("before", "drop")]
    for act in ACTS:
        chosen += draw.sample([cut for cut in cuts if cut[2] == act and cut[0] >= RECEPTION], SOME)
    cut_and_go_on(disk, *archive, tmp_path, chosen)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_flush(disk, archive, tmp_path):
    cuts = all_cuts(disk, *archive, tmp_path)
    cut_and_go_on(disk, *archive, tmp_path, cuts)
    print(f"{len(cuts)} power cuts")


def no_flush_of_files():
    """Plant: bytes are not flushed before the file takes its name."""
    storage.files.os = Unflushed(lambda descriptor: not Path(f"/proc/self/fd/{descriptor}").is_dir())


def no_flush_of_names():
    """Plant: the directory is not flushed after a file has taken its name in it."""
    real = storage.files.move

    def move(source, target):
        flushing, storage.files.sync_directory = storage.files.sync_directory, lambda _directory: None
        try:
            real(source, target)
        finally:
            storage.files.sync_directory = flushing

    storage.files.move = move


def no_flush_of_new_directories():
    """Plant: a new directory is not flushed in its parent."""
    flushing = storage.files.make_directories

    def make_directories(folder, *, mode=0o777):
        Path(folder).mkdir(mode=mode, parents=True, exist_ok=True)

    assert flushing is not make_directories
    storage.files.make_directories = make_directories
    storage.directory.make_directories = make_directories


class Unflushed:
    """The module `os`, whose `fsync` does nothing for some descriptors."""

    def __init__(self, lost):
        self._lost = lost

    def __getattr__(self, name):
        return getattr(os, name)

    def fsync(self, descriptor):
        if not self._lost(descriptor):
            os.fsync(descriptor)


PLANTS = [no_flush_of_files, no_flush_of_names, no_flush_of_new_directories]


@pytest.mark.parametrize("only_receive", [True, False], ids=["received", "archived"])
@pytest.mark.parametrize("plant", [None, *PLANTS], ids=lambda plant: plant.__name__ if plant else "nothing planted")
def test_a_flush_left_out_is_caught(disk, archive, tmp_path, plant, only_receive):
    archive, instance = archive
    work = Work(instance, ("R-1",), tmp_path / "log", tmp_path / "stop", SEED, plant=plant, only_receive=only_receive)
    worker = Worker(work)
    worker.start()
    worker.process.join()
    assert worker.ended_well()
    acknowledged = {line.reference: line.detail for line in told(work.log) if line.event in ("received", "archived")}
    assert set(acknowledged) == {"R-1"}
    disk.cut()
    assert bool(faults(archive, acknowledged, original)) == (plant is not None)
