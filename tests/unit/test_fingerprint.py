"""Hash1 + Hash2 in one pass, checked against hashlib."""

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minutier.fingerprint import fingerprint_bytes, fingerprint_file, fingerprint_stream, parse_fingerprint


class OnlyRead:
    """A stream without `readinto`, as HTTP bodies are, that gives short reads."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._inner.read(min(size, 7))


@given(st.binary(max_size=4096))
def test_one_pass_equals_two_separate_digests(data):
    fingerprint = fingerprint_stream(io.BytesIO(data))
    assert fingerprint.sha256 == hashlib.sha256(data).hexdigest()
    assert fingerprint.sha3_512 == hashlib.sha3_512(data).hexdigest()
    assert fingerprint.size == len(data)
    assert fingerprint == fingerprint_bytes(data) == fingerprint_stream(OnlyRead(data))


def test_a_file_larger_than_the_buffer(tmp_path):
    data = bytes(range(256)) * 12289
    (tmp_path / "f").write_bytes(data)
    assert fingerprint_file(tmp_path / "f") == fingerprint_bytes(data)


def test_the_text_form_goes_there_and_back():
    fingerprint = fingerprint_bytes(b"acte")
    assert parse_fingerprint(str(fingerprint)) == (fingerprint.sha256, fingerprint.sha3_512)


@pytest.mark.parametrize(
    "text", ["", "sha256:00", str(fingerprint_bytes(b"")).upper(), str(fingerprint_bytes(b"")) + "\n"]
)
def test_other_text_forms_are_refused(text):
    with pytest.raises(ValueError, match="a fingerprint is"):
        parse_fingerprint(text)
