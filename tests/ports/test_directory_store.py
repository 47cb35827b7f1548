"""The directory store on a bad day: full disk, failing disk, killed writers, meddled files, a disk not mounted."""

import errno
import io
import os
import shutil
import socket
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from minutier.age import generate_identity
from minutier.age_stream import encrypt_bytes
from minutier.errors import BadInputError, PolicyRefusedError, ServiceUnavailableError
from minutier.fingerprint import fingerprint_stream
from storage import files as durable
from storage import reading
from storage.directory import DirectoryStore
from storage.keys import decrypt_stream
from storage.memory import ManualClock
from storage.ports import LockState
from storage.sweep import sweep
from tests.support.disks import room_for
from tests.support.rig import make_rig

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=7)
IDENTITY = generate_identity()


@pytest.fixture
def clock():
    return ManualClock(NOON)


@pytest.fixture
def store(tmp_path, clock):
    return DirectoryStore("directory", tmp_path / "store", create=True, clock=clock)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"bytes of a document" * 1000)
    return path


def files(store):
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())


def test_layout_and_modes(store, source):
    os.umask(before := os.umask(0))
    version = store.put("demo/a", source, LATER).version_id
    assert files(store) == [f"demo/a/{version}.bin", f"demo/a/{version}.lock.json", "store.json"]
    for path in (store.root / "demo/a").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o444 & ~before
    lock = (store.root / f"demo/a/{version}.lock.json").read_bytes()
    assert lock == (
        b'{"format":"minutier-lock/1","legal_hold":"OFF","mode":"COMPLIANCE","retain_until":"2026-03-08T12:00:00Z"}'
    )


def test_a_store_opened_again_has_everything(store, source, clock):
    version = store.put("demo/a", source, LATER)
    again = DirectoryStore("directory", store.root, clock=clock)
    assert again.versions("demo/a") == [version]
    assert again.lock_state("demo/a", version.version_id).retain_until == LATER


def test_creating_twice_keeps_what_is_there(store, source, clock):
    version = store.put("demo/a", source, LATER)
    assert DirectoryStore("again", store.root, create=True, clock=clock).versions("demo/a") == [version]


def test_newest_first_even_when_the_clock_goes_back(store, source, clock):
    first = store.put("demo/a", source, LATER)
    clock.advance(-86400)
    second = store.put("demo/a", source, LATER)
    assert store.versions("demo/a") == [second, first]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_behind(store, source, monkeypatch, code):
    before, asked = files(store), []

    def full_for_the_document(descriptor):
        asked.append(descriptor)
        if len(asked) > 2:  # the lock file and its directory still fit
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(durable.os, "fsync", full_for_the_document)
    (store.root / "demo" / "a").mkdir(parents=True)
    with pytest.raises(ServiceUnavailableError) as full:
        store.put("demo/a", source, LATER)
    assert full.value.code == "DISK_FULL"
    assert files(store) == before
    assert store.versions("demo/a") == []


def test_a_document_larger_than_the_room_leaves_nothing_behind(store, source):
    """The kernel itself cuts the write short and refuses the rest."""
    before = files(store)
    with room_for(1000), pytest.raises(ServiceUnavailableError) as full:
        store.put("demo/a", source, LATER)
    assert full.value.code == "DISK_FULL"
    assert files(store) == before


@pytest.mark.parametrize("call", ["fsync", "posix_fadvise", "open"])
def test_a_failing_disk_is_unavailable_and_keeps_nothing(store, source, monkeypatch, call):
    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, call, fail)
        with pytest.raises(ServiceUnavailableError) as failed:
            store.put("demo", source, LATER)
    assert failed.value.code == "DISK_FAILED"
    assert files(store) == ["store.json"]


def test_when_only_the_directory_sync_fails_the_outcome_is_unknown_and_consistent(store, source, monkeypatch):
    store.put("demo/a", source, LATER)
    calls = []

    def fail_second(folder):
        calls.append(folder)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync_directory", fail_second)
        with pytest.raises(ServiceUnavailableError):
            store.put("demo/a", source, LATER)
    for version in store.versions("demo/a"):
        assert store.lock_state("demo/a", version.version_id).retain_until == LATER


def test_a_disk_that_gives_back_other_bytes_is_caught_before_the_name_exists(store, source, monkeypatch):
    monkeypatch.setattr(durable, "_digest", lambda path: b"other")
    with pytest.raises(ServiceUnavailableError) as altered:
        durable.copy_durably(io.BytesIO(b"x"), store.root / "target", store.root / ".aside")
    assert altered.value.code == "DISK_ALTERED"
    assert files(store) == ["store.json"]


def test_a_writer_killed_before_the_rename_left_no_version(store, source, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(descriptor):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "fsync", kill)
        with pytest.raises(Killed):
            store.put("demo", source, LATER)
    # A lock without bytes is not a version.
    (store.root / "demo/00000000000000000001-0123456789abcdef.lock.json").write_bytes(b"{}")
    assert store.versions("demo") == []


def test_old_leftovers_are_removed_and_young_ones_kept(store, clock):
    aside = store.root / ".aside"
    (aside / "old.part").write_bytes(b"x")
    (aside / "young.part").write_bytes(b"x")
    os.utime(aside / "old.part", (time.time() - 90_000,) * 2)
    DirectoryStore("again", store.root, clock=clock)
    assert [path.name for path in aside.iterdir()] == ["young.part"]


def test_a_leftover_that_vanishes_meanwhile_is_no_error(store, clock):
    (store.root / ".aside" / "gone.part").symlink_to("nowhere")
    DirectoryStore("again", store.root, clock=clock)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"not json",
        b'{"format":"minutier-lock/2"}',
        b'{"format":"minutier-lock/1","legal_hold":"OFF","mode":"GOVERNANCE","retain_until":"2026-03-08T12:00:00Z"}',
        b'{"format":"minutier-lock/1","legal_hold":"OFF","mode":"COMPLIANCE","retain_until":"soon"}',
        b'["minutier-lock/1"]',
    ],
)
def test_an_unreadable_lock_is_not_a_lock_and_not_a_licence_to_delete(store, source, clock, content):
    version = store.put("demo/a", source, LATER).version_id
    sidecar = store.root / f"demo/a/{version}.lock.json"
    sidecar.unlink()
    if content is not None:
        sidecar.write_bytes(content)
    clock.advance(30 * 86400)
    assert store.lock_state("demo/a", version).retain_until is None
    with pytest.raises(PolicyRefusedError):
        store.delete_version("demo/a", version)
    until = clock() + timedelta(days=1)
    store.extend_lock("demo/a", version, until, legal_hold=True)  # this heals the lock
    assert store.lock_state("demo/a", version).legal_hold is True


def test_an_unknown_hold_is_a_hold(store, source):
    version = store.put("demo/a", source, LATER).version_id
    sidecar = store.root / f"demo/a/{version}.lock.json"
    text = sidecar.read_bytes().replace(b'"OFF"', b'"off"')
    sidecar.unlink()
    sidecar.write_bytes(text)
    assert store.lock_state("demo/a", version).legal_hold is True


def test_a_disk_that_is_not_mounted_is_never_an_empty_archive(store, source):
    version = store.put("demo/a", source, LATER).version_id
    store.root.rename(store.root.with_name("elsewhere"))
    acts = (
        lambda: store.put("demo/a", source, LATER),
        lambda: store.versions("demo/a"),
        lambda: list(store.list_objects("")),
        lambda: store.open("demo/a", version),
        lambda: store.lock_state("demo/a", version),
        lambda: store.extend_lock("demo/a", version, LATER, legal_hold=True),
        lambda: store.delete_version("demo/a", version),
    )
    for act in acts:
        with pytest.raises(ServiceUnavailableError) as missing:
            act()
        assert missing.value.code == "STORE_MISSING"
    assert not store.root.exists()


def test_a_store_without_its_marker_is_none_at_every_call(store, source):
    version = store.put("demo/a", source, LATER).version_id
    (store.root / "store.json").unlink()
    for act in (
        lambda: store.open("demo/a", version),
        lambda: store.lock_state("demo/a", version),
        lambda: store.versions("demo/a"),
        lambda: store.extend_lock("demo/a", version, LATER, legal_hold=True),
    ):
        with pytest.raises(ServiceUnavailableError) as missing:
            act()
        assert missing.value.code == "STORE_MISSING"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", ["directory", "loop", "pipe", "socket"])
@pytest.mark.parametrize("of", ["bytes", "lock"])
def test_what_is_no_file_is_no_version_and_is_not_waited_for(store, source, what, of, monkeypatch):
    version = store.put("demo/a", source, LATER).version_id
    monkeypatch.chdir(store.root / "demo/a")  # the name of a socket is a short one
    name = Path(f"{version}.bin" if of == "bytes" else f"{version}.lock.json")
    name.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        if what == "directory":
            name.mkdir()
        elif what == "loop":
            name.symlink_to(name)
        elif what == "pipe":
            os.mkfifo(name)
        else:
            listener.bind(str(name))
        if of == "lock":
            assert store.lock_state("demo/a", version) == LockState(None, legal_hold=False)
            with pytest.raises(PolicyRefusedError):
                store.delete_version("demo/a", version)
            with store.open("demo/a", version) as stream:
                assert stream.read() == source.read_bytes()
            return
        for act in (store.open, store.lock_state, store.delete_version):
            with pytest.raises(KeyError):
                act("demo/a", version)
        assert store.versions("demo/a") == []


def test_no_store_is_made_unless_asked_nor_among_other_files(tmp_path):
    with pytest.raises(ServiceUnavailableError):
        DirectoryStore("typo", tmp_path / "typo").versions("a")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.odt").write_bytes(b"x")
    with pytest.raises(BadInputError) as refused:
        DirectoryStore("full", tmp_path / "full", create=True)
    assert refused.value.code == "STORE_NOT_EMPTY"
    with pytest.raises(ServiceUnavailableError) as failed:
        DirectoryStore("file", tmp_path / "full" / "thesis.odt" / "x", create=True)
    assert failed.value.code == "DISK_FAILED"


def test_foreign_files_are_not_objects(store, source):
    version = store.put("demo/a", source, LATER)
    (store.root / "demo/a/notes.bin").write_bytes(b"x")
    (store.root / "demo/a/00000000000000000001-0123456789abcdef.bin").mkdir()
    (store.root / ".trash").mkdir()
    (store.root / "demo/loose").write_bytes(b"x")
    assert [found.key for found in store.list_objects("")] == ["demo/a"]
    assert store.versions("demo/a") == [version]
    assert store.versions("demo/loose") == []


def test_a_version_deleted_while_it_is_listed_is_left_out(store, source, monkeypatch):
    version = store.put("demo/a", source, LATER)
    ghost = "00000000000000000001-0123456789abcdef"
    monkeypatch.setattr("storage.directory._version_ids", lambda folder: [version.version_id, ghost])
    assert store.versions("demo/a") == [version]


def fail_at(monkeypatch, byte, root):
    """Let the disk give the first `byte` bytes of a version under `root`, and then EIO."""
    whole, given = os.readv, {}

    def read(descriptor, buffers):
        if root not in Path(f"/proc/self/fd/{descriptor}").readlink().parents:
            return whole(descriptor, buffers)
        left = byte - given.get(descriptor, 0)
        if left <= 0:
            raise OSError(errno.EIO, "Input/output error")
        count = whole(descriptor, [memoryview(buffers[0])[:left]])
        given[descriptor] = given.get(descriptor, 0) + count
        return count

    monkeypatch.setattr("storage.directory.os.readv", read)


@pytest.mark.parametrize("byte", [0, 1000, 200_000])
@pytest.mark.parametrize(
    "read",
    [
        lambda stream: stream.read(),
        lambda stream: [stream.read(1 << 16) for _ in range(9)],
        fingerprint_stream,
        lambda stream: decrypt_stream(stream, io.BytesIO(), IDENTITY),
    ],
    ids=["whole", "pieces", "digests", "decryption"],
)
def test_a_disk_that_fails_while_it_is_read_is_unavailable(store, source, monkeypatch, byte, read):
    source.write_bytes(encrypt_bytes(bytes(500_000), [IDENTITY.recipient]))
    version = store.put("demo/a", source, LATER).version_id
    fail_at(monkeypatch, byte, store.root)
    with pytest.raises(ServiceUnavailableError) as failed, store.open("demo/a", version) as stream:
        read(stream)
    assert failed.value.code == "DISK_FAILED"


def test_the_error_of_the_kernel_itself_is_unavailable(store, source):
    version = store.put("demo/a", source, LATER).version_id
    path = store.root / f"demo/a/{version}.bin"
    path.unlink()
    path.symlink_to("/proc/self/mem")  # nothing is mapped at its beginning: EIO
    with pytest.raises(ServiceUnavailableError) as failed, store.open("demo/a", version) as stream:
        stream.read()
    assert failed.value.code == "DISK_FAILED"


@pytest.mark.parametrize("byte", [0, 300])
def test_with_one_disk_that_cannot_be_read_the_archive_goes_on(
    database_url, certified_home, tmp_path, monkeypatch, byte
):
    shutil.copytree(certified_home, tmp_path / "home")
    roots = [tmp_path / name for name in ("a", "b")]

    def stores(clock):
        return [DirectoryStore(f"replica-{root.name}", root, create=True, clock=clock) for root in roots]

    with make_rig(database_url, tmp_path, stores) as rig:
        deposit = rig.deposit(bytes(100_000))
        with monkeypatch.context() as patch:
            fail_at(patch, byte, roots[0])
            reading.read(rig.archive, deposit, tmp_path / "back")
            outcomes = {(found.replica, found.outcome) for found in reading.check_copies(rig.archive, deposit)}
            rig.clock.advance(86400)
            report = sweep(rig.archive, budget=timedelta(hours=1))
        assert (tmp_path / "back").read_bytes() == bytes(100_000)
        assert outcomes == {("replica-a", "unreachable"), ("replica-b", "good")}
        assert (report.verdict, report.good, report.unreachable) == ("alarm", 3, 3)


def test_a_lock_that_stands_already_is_made_durable_again(store, source, monkeypatch):
    version = store.put("demo/a", source, LATER)
    flushed = []
    monkeypatch.setattr(durable, "sync_directory", flushed.append)
    store.extend_lock("demo/a", version.version_id, LATER, legal_hold=False)
    assert flushed == [store.root / "demo/a"]
