"""Durable writing: what is on the disk after each kind of interruption, and the words for a full disk."""

import errno
import io
import os
import stat
import subprocess
import sys

import pytest

from minutier.age import HYBRID, X25519, generate_identity
from minutier.age_stream import decrypt_bytes
from minutier.errors import IntegrityFailureError, ServiceUnavailableError
from storage import files
from storage.files import PART, copy_durably, durable_writer, make_directories, settle, write_durably
from storage.keys import decrypt_stream, encrypt_file
from tests.support.disks import room_for

BIG = b"bytes of a document" * 100_000


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """The order in which the disk is asked."""
    seen = []
    make_directories(tmp_path)  # what is above is known to be durable from here on

    def spy(name, describe):
        real = getattr(os, name)

        def call(*arguments, **options):
            seen.append((name, describe(*arguments)))
            return real(*arguments, **options)

        monkeypatch.setattr(files.os, name, call)

    def kind(descriptor):
        return "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"

    spy("fsync", kind)
    real = files.Path.replace
    monkeypatch.setattr(
        files.Path, "replace", lambda path, target: seen.append(("rename", "file")) or real(path, target)
    )
    real_digest = files._digest
    monkeypatch.setattr(files, "_digest", lambda path: seen.append(("read", "file")) or real_digest(path))
    return seen


def test_a_small_file_is_flushed_before_its_name_and_its_name_too(tmp_path, calls):
    write_durably(tmp_path / "state.json", b"{}")
    assert calls == [("fsync", "file"), ("rename", "file"), ("fsync", "directory")]
    assert (tmp_path / "state.json").read_bytes() == b"{}"
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_a_copy_is_read_back_between_the_flush_and_the_name(tmp_path, calls):
    assert copy_durably(io.BytesIO(BIG), tmp_path / "copy", tmp_path) == len(BIG)
    assert calls == [("fsync", "file"), ("read", "file"), ("rename", "file"), ("fsync", "directory")]
    assert (tmp_path / "copy").read_bytes() == BIG


def test_a_directory_made_on_the_way_is_durable_in_its_parent(tmp_path, calls):
    write_durably(tmp_path / "a" / "b" / "state.json", b"{}")
    assert calls[:2] == [("fsync", "directory")] * 2
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    calls.clear()
    make_directories(tmp_path / "a" / "b")
    assert calls == []


def test_a_directory_that_another_process_made_is_made_durable_once(tmp_path, calls):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").mkdir()
    make_directories(tmp_path / "a" / "b")
    assert calls == [("fsync", "directory")] * 2
    make_directories(tmp_path / "a" / "b")
    assert len(calls) == 2


def test_the_name_of_a_file_is_settled_with_its_directory(tmp_path, calls):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "key").write_bytes(b"")
    settle(tmp_path / "a" / "key")
    assert calls == [("fsync", "directory")] * 2


def test_a_replaced_file_is_the_old_one_until_it_is_the_new_one(tmp_path):
    target = tmp_path / "state.json"
    write_durably(target, b"old")
    with pytest.raises(ValueError, match="cut short"), durable_writer(target) as stream:
        stream.write(b"half of the n")
        stream.flush()
        assert target.read_bytes() == b"old"
        raise ValueError("cut short")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["state.json"]


def test_no_room_is_said_and_leaves_the_old_file(tmp_path):
    target = tmp_path / "document"
    write_durably(target, b"old")
    with room_for(1000), pytest.raises(ServiceUnavailableError) as full:
        write_durably(target, BIG)
    assert (full.value.code, full.value.retryable) == ("DISK_FULL", True)
    assert str(tmp_path) in full.value.message
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["document"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_at_the_flush_is_said_too(tmp_path, monkeypatch, code):
    def fail(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(ServiceUnavailableError) as full:
        write_durably(tmp_path / "document", b"x")
    assert full.value.code == "DISK_FULL"
    assert names(tmp_path) == []


def test_a_device_without_room_is_said(tmp_path, monkeypatch):
    """`/dev/full` answers ENOSPC to every write, when the buffer is flushed."""
    real = os.open
    monkeypatch.setattr(
        files.os, "open", lambda path, *rest: real("/dev/full", os.O_WRONLY) if PART in str(path) else real(path, *rest)
    )
    with pytest.raises(ServiceUnavailableError) as full:
        write_durably(tmp_path / "document", b"x")
    assert full.value.code == "DISK_FULL"


def test_another_error_of_the_system_passes_as_it_is(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        write_durably(tmp_path / "file" / "below", b"x")
    with pytest.raises(FileNotFoundError), durable_writer(tmp_path / "new") as stream:
        stream.write((tmp_path / "absent").read_bytes())
    assert names(tmp_path) == ["file"]


def test_bytes_altered_on_the_disk_do_not_get_the_name(tmp_path, monkeypatch):
    real = files._digest

    def altered(path):
        path.write_bytes(b"other")
        return real(path)

    monkeypatch.setattr(files, "_digest", altered)
    with pytest.raises(ServiceUnavailableError) as found:
        copy_durably(io.BytesIO(b"x"), tmp_path / "copy", tmp_path)
    assert found.value.code == "DISK_ALTERED"
    assert names(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file_and_a_part(tmp_path):
    target = tmp_path / "document"
    write_durably(target, b"old")
    program = (
        "import sys, time, pathlib\nfrom storage.files import durable_writer\n"
        "with durable_writer(pathlib.Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'x' * 100000)\n    print('written', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, target], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"written\n"
        writer.kill()
    assert target.read_bytes() == b"old"
    assert [path.suffix for path in tmp_path.iterdir() if path != target] == [PART]


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    write_durably(tmp_path / ("n" * 255), b"x")
    assert names(tmp_path) == ["n" * 255]


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "document"
    path.write_bytes(BIG)
    return path


@pytest.fixture(params=[X25519, HYBRID])
def kind(request):
    return request.param


def test_an_encrypted_file_is_durable_and_opens(tmp_path, document, calls, kind):
    identity = generate_identity(kind)
    encrypt_file(document, tmp_path / "document.age", str(identity.recipient))
    assert calls == [("fsync", "file"), ("rename", "file"), ("fsync", "directory")]
    assert decrypt_bytes((tmp_path / "document.age").read_bytes(), [identity]) == BIG


def test_encrypting_onto_a_full_disk_says_so_and_leaves_nothing(tmp_path, document, kind):
    recipient = str(generate_identity(kind).recipient)
    with room_for(100_000), pytest.raises(ServiceUnavailableError) as full:
        encrypt_file(document, tmp_path / "document.age", recipient)
    assert full.value.code == "DISK_FULL"
    assert names(tmp_path) == ["document"]


def test_decrypting_onto_a_full_disk_accuses_the_disk_and_not_the_stored_bytes(tmp_path, document, kind):
    identity = generate_identity(kind)
    encrypt_file(document, tmp_path / "document.age", str(identity.recipient))
    with (
        room_for(100_000),
        pytest.raises(ServiceUnavailableError) as full,
        (tmp_path / "document.age").open("rb") as source,
        durable_writer(tmp_path / "clear") as target,
    ):
        decrypt_stream(source, target, identity)
    assert full.value.code == "DISK_FULL"
    assert not (tmp_path / "clear").exists()


def test_a_disk_that_fails_while_read_does_not_accuse_the_stored_bytes(tmp_path, document, kind):
    identity = generate_identity(kind)
    encrypt_file(document, tmp_path / "document.age", str(identity.recipient))

    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 100_000:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    with pytest.raises(OSError, match="Input/output") as failed:
        decrypt_stream(Failing((tmp_path / "document.age").read_bytes()), io.BytesIO(), identity)
    assert failed.value.errno == errno.EIO


@pytest.mark.parametrize(
    "alter",
    [
        lambda data: b"",
        lambda data: b"X" + data[1:],
        lambda data: data[:60],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
        lambda data: data[: len(data) // 2],
        lambda data: data + b"more",
    ],
    ids=["empty", "first byte", "header cut", "last byte", "a byte inside", "cut in two", "longer"],
)
def test_altered_bytes_are_accused(tmp_path, document, alter, kind):
    identity = generate_identity(kind)
    encrypt_file(document, tmp_path / "document.age", str(identity.recipient))
    altered = alter((tmp_path / "document.age").read_bytes())
    with pytest.raises(IntegrityFailureError) as found:
        decrypt_stream(io.BytesIO(altered), io.BytesIO(), identity)
    assert found.value.code == "CIPHERTEXT_ALTERED"


def test_bytes_for_another_key_are_accused(tmp_path, document, kind):
    encrypt_file(document, tmp_path / "document.age", str(generate_identity(kind).recipient))
    with pytest.raises(IntegrityFailureError), (tmp_path / "document.age").open("rb") as source:
        decrypt_stream(source, io.BytesIO(), generate_identity(kind))
