"""Keys are files of their owner alone; one key per document; the `age` command opens what the archive wrote."""

import io
import shutil
import subprocess

import pytest

from minutier.errors import IntegrityFailureError, PolicyRefusedError
from storage.keys import KeyRing, decrypt_stream, encrypt_file

DATA = b"bytes of a document" * 10_000


@pytest.fixture
def ring(tmp_path):
    ring = KeyRing(tmp_path / "keys")
    ring.create_safe_key("demo")
    return ring


def new_key(ring):
    """A document key wrapped for the safe and the escrow."""
    return ring.new_document_key([ring.create_safe_key("demo"), ring.create_escrow_key()])


def test_a_safe_keeps_its_key(ring):
    assert ring.create_safe_key("demo") == ring.create_safe_key("demo")
    assert ring.create_safe_key("other") != ring.create_safe_key("demo")


def test_each_document_has_a_key_of_its_own(ring, tmp_path):
    (first, wrapped), (second, _) = new_key(ring), new_key(ring)
    assert first != second
    source, target = tmp_path / "clear", tmp_path / "closed.age"
    source.write_bytes(DATA)
    encrypt_file(source, target, first)
    assert target.read_bytes().startswith(b"age-encryption.org/v1\n")
    assert DATA[:64] not in target.read_bytes()
    opened = io.BytesIO()
    decrypt_stream(io.BytesIO(target.read_bytes()), opened, ring.unwrap("demo", wrapped))
    assert opened.getvalue() == DATA
    assert str(ring.unwrap("demo", wrapped).recipient) == first


@pytest.mark.parametrize("harm", [lambda d: d[:-1], lambda d: d[:-1] + bytes((d[-1] ^ 1,)), lambda d: b"x" + d])
def test_altered_ciphertext_does_not_open(ring, tmp_path, harm):
    recipient, wrapped = new_key(ring)
    source, target = tmp_path / "clear", tmp_path / "closed.age"
    source.write_bytes(DATA)
    encrypt_file(source, target, recipient)
    with pytest.raises(IntegrityFailureError) as caught:
        decrypt_stream(io.BytesIO(harm(target.read_bytes())), io.BytesIO(), ring.unwrap("demo", wrapped))
    assert caught.value.code == "CIPHERTEXT_ALTERED"


@pytest.mark.parametrize("holder", ["safes/demo.age-key", "escrow.age-key"])
def test_the_age_command_opens_a_document_with_the_safe_or_the_escrow_key(ring, tmp_path, holder):
    if shutil.which("age") is None:
        pytest.skip("the age command is not installed: apt install age")
    recipient, wrapped = new_key(ring)
    source, target = tmp_path / "clear", tmp_path / "closed.age"
    source.write_bytes(DATA)
    encrypt_file(source, target, recipient)
    (tmp_path / "wrapped.age").write_bytes(wrapped)
    key = tmp_path / "document.key"
    opened = [
        ["age", "-d", "-i", tmp_path / "keys" / holder, "-o", key, tmp_path / "wrapped.age"],
        ["age", "-d", "-i", key, "-o", tmp_path / "out", target],
    ]
    for command in opened:
        subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "out").read_bytes() == DATA


def test_the_escrow_key_opens_what_a_lost_safe_key_held(ring, tmp_path):
    recipient, wrapped = new_key(ring)
    (tmp_path / "keys" / "safes" / "demo.age-key").unlink()
    assert str(ring.unwrap("demo", wrapped).recipient) == recipient
    (tmp_path / "keys" / "escrow.age-key").unlink()
    with pytest.raises(IntegrityFailureError) as caught:
        ring.unwrap("demo", wrapped)
    assert caught.value.code == "KEYS_MISSING"


def test_a_safe_whose_key_is_gone_or_another_takes_no_deposit(ring, tmp_path):
    recipient = ring.create_safe_key("demo")
    ring.require_safe_key("demo", recipient)
    for name in ("other", "demo"):
        with pytest.raises(IntegrityFailureError) as caught:
            ring.require_safe_key(name, ring.create_safe_key("third") if name == "demo" else recipient)
        assert caught.value.code == "KEYS_MISSING"


def test_the_second_copy_of_a_wrapped_key_is_written_once(ring):
    archive_id = "0193a2f0-7c11-7abc-8def-0123456789ab"
    assert ring.kept(archive_id) is None
    ring.keep(archive_id, b"first")
    ring.keep(archive_id, b"second")
    assert ring.kept(archive_id) == b"first"


def test_a_key_that_others_can_read_is_refused(ring, tmp_path):
    path = tmp_path / "keys" / "safes" / "demo.age-key"
    path.chmod(0o640)
    with pytest.raises(PolicyRefusedError) as caught:
        new_key(ring)
    assert (caught.value.code, str(path) in caught.value.remedy) == ("KEY_READABLE_BY_OTHERS", True)
