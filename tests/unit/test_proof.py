"""The container has one spelling, and the same parts give the same bundle."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minutier import container, proof
from minutier.container import is_safe_path, open_container, pack
from minutier.errors import BadInputError, IntegrityFailureError
from tests.support.bundle import make_bundle, make_parts, unpack

NAMES = st.from_regex(r"(?:[a-z]{1,4}/)?[A-Za-z0-9][a-z]{0,3}(?:\.[a-z]{1,3})?", fullmatch=True)
FILES = {"a.txt": b"first", "b/c.txt": b"", "verify.sh": b"#!/bin/sh\n"}


def refused(data: bytes, place) -> str:
    place.write_bytes(data)
    with pytest.raises(IntegrityFailureError) as caught, open_container(place):
        pass
    assert caught.value.code == "CONTAINER_NOT_CANONICAL"
    return caught.value.message


@pytest.fixture
def packed(tmp_path):
    pack(FILES, tmp_path / "P.zip")
    return tmp_path / "P.zip"


@settings(max_examples=40)
@given(files=st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=8))
def test_files_there_and_back(files, tmp_path_factory):
    place = tmp_path_factory.mktemp("zip") / "P.zip"
    pack(files, place)
    assert unpack(place) == files
    with zipfile.ZipFile(place) as reader:
        assert reader.testzip() is None
        assert {name: reader.read(name) for name in reader.namelist()} == files


def test_ordinary_tools_see_dates_and_modes(packed):
    with zipfile.ZipFile(packed) as reader:
        infos = {info.filename: info for info in reader.infolist()}
    assert list(infos) == sorted(FILES)
    assert {info.date_time for info in infos.values()} == {(1980, 1, 1, 0, 0, 0)}
    assert infos["verify.sh"].external_attr >> 16 == 0o100755
    assert infos["a.txt"].external_attr >> 16 == 0o100644


def test_files_on_disk_are_packed_as_bytes_are(packed, tmp_path):
    (tmp_path / "first").write_bytes(b"first")
    pack({**FILES, "a.txt": tmp_path / "first"}, tmp_path / "Q.zip")
    assert (tmp_path / "Q.zip").read_bytes() == packed.read_bytes()


def test_any_altered_byte_is_found(packed, tmp_path):
    data = packed.read_bytes()
    for index in range(len(data)):
        spoiled = data[:index] + bytes((data[index] ^ 0x20,)) + data[index + 1 :]
        (tmp_path / "Q.zip").write_bytes(spoiled)
        try:
            with open_container(tmp_path / "Q.zip") as opened:
                found = {name: b"".join(opened.stream(name)) for name in opened.entries}
                changed = [name for name, entry in opened.entries.items() if zlib.crc32(found[name]) != entry.crc]
            assert changed, index
        except IntegrityFailureError:
            continue


@pytest.mark.parametrize("cut", [0, 1, 29, 30, 40, -1, -22])
def test_a_cut_container_is_refused(packed, tmp_path, cut):
    refused(packed.read_bytes()[:cut], tmp_path / "Q.zip")


def test_bytes_around_are_refused(packed, tmp_path):
    data = packed.read_bytes()
    for spoiled in (data + b"\x00", b"\x00" + data, data + data):
        refused(spoiled, tmp_path / "Q.zip")


def test_a_container_without_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    refused((tmp_path / "empty.zip").read_bytes(), tmp_path / "Q.zip")


def test_a_compressed_container_is_refused(tmp_path):
    # Also the zip bomb: nothing here is ever inflated.
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("document/original.pdf", bytes(50_000_000))
    assert "only form" in refused((tmp_path / "bomb.zip").read_bytes(), tmp_path / "Q.zip")


def foreign(path, *names: str) -> bytes:
    """Write a container with names that `pack` refuses, in the same form otherwise."""
    entries, body = [], b""
    for name in names:
        header = container._local_header(name, 1, zlib.crc32(b"x"))
        entries.append(container.Entry(name, len(body) + len(header), 1, zlib.crc32(b"x")))
        body += header + b"x"
    return body + container._directory(entries, len(body))


@pytest.mark.parametrize(
    "names",
    [
        ("../evil",), ("/etc/passwd",), ("a/../b",), ("a/b/c",), (".hidden",), ("-rf",), ("a\\b",), ("a\nb",), ("",),
        ("C:evil",), ("a//b",), ("a.txt", "a.txt"), ("b", "a"), ("x" * 101,), ("dir/",), ("a b",),
    ],
)  # fmt: skip
def test_unsafe_double_and_unsorted_names_are_refused(tmp_path, names):
    refused(foreign(tmp_path, *names), tmp_path / "Q.zip")


def test_too_many_files_are_refused(tmp_path):
    names = [f"f{number:03}" for number in range(container.MAX_FILES + 1)]
    refused(foreign(tmp_path, *names), tmp_path / "Q.zip")
    with pytest.raises(ValueError, match="512"):
        pack(dict.fromkeys(names, b""), tmp_path / "R.zip")
    with pytest.raises(ValueError, match="plain"):
        pack({"../evil": b""}, tmp_path / "R.zip")


def test_a_length_beyond_the_end_is_refused(packed, tmp_path):
    data = bytearray(packed.read_bytes())
    struct.pack_into("<II", data, 18, 0xFFFFFFF0, 0xFFFFFFF0)
    refused(bytes(data), tmp_path / "Q.zip")


def test_only_documents_may_be_large(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "MAX_SMALL_BYTES", 4)
    pack({"document/original.pdf": b"12345"}, tmp_path / "P.zip")
    assert unpack(tmp_path / "P.zip")
    pack({"manifest.json": b"12345"}, tmp_path / "P.zip")
    assert "larger" in refused((tmp_path / "P.zip").read_bytes(), tmp_path / "Q.zip")


def test_four_gibibytes_are_refused(tmp_path, monkeypatch):
    # One file named "a" takes 100 bytes besides its content: 31 of header, 47 of directory, 22 of end record.
    monkeypatch.setattr(container, "MAX_BYTES", 100)
    pack({"a": b""}, tmp_path / "P.zip")
    assert (tmp_path / "P.zip").stat().st_size == 100
    assert unpack(tmp_path / "P.zip") == {"a": b""}
    for content in (b"x", bytes(69), bytes(70), bytes(100)):  # too large with, then already without, the directory
        with pytest.raises(ValueError, match="4 GiB"):
            pack({"a": content}, tmp_path / "Q.zip")
    assert "4 GiB" in refused(b"PK\x03\x04" + bytes(97), tmp_path / "Q.zip")


def test_a_missing_bundle_is_bad_input(tmp_path):
    with pytest.raises(BadInputError), open_container(tmp_path / "none.zip"):
        pass


def test_a_file_that_changes_while_packed_is_noticed(tmp_path):
    class Changing(type(tmp_path)):
        opened = 0

        def open(self, *arguments, **options):
            Changing.opened += 1
            self.write_bytes(b"x" * Changing.opened) if "b" in str(arguments) and "w" not in str(arguments) else None
            return super().open(*arguments, **options)

    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(ValueError, match="changed"):
        pack({"a": Changing(tmp_path / "f")}, tmp_path / "P.zip")


def test_the_same_parts_give_the_same_bundle(tmp_path):
    parts = make_parts()
    first = proof.assemble(parts, tmp_path / "P.zip")
    assert first == proof.assemble(parts, tmp_path / "Q.zip")
    assert first == hashlib.sha256((tmp_path / "P.zip").read_bytes()).hexdigest()
    assert (tmp_path / "P.zip").read_bytes() == (tmp_path / "Q.zip").read_bytes()


def test_the_index_lists_every_other_file(tmp_path):
    files = unpack(make_bundle(tmp_path / "P.zip"))
    index = json.loads(files.pop(proof.INDEX))
    assert index["files"] == [
        {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for path, data in sorted(files.items())
    ]
    assert set(proof.REQUIRED[proof.FORMAT]) <= {*files, proof.INDEX}
    assert all(is_safe_path(path) for path in files)


@pytest.mark.parametrize(
    ("extension", "path"),
    [("pdf", "document/original.pdf"), (".PDF", "document/original.pdf"), ("", "document/original"),
     ("../x", "document/original"), ("tar.gz", "document/original"), ("é", "document/original")],
)  # fmt: skip
def test_the_path_of_the_original(extension, path):
    assert proof.original_path(extension) == path
    assert proof.is_original(path)
