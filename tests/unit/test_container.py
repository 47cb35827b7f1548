"""The container of a proof, byte by byte: what is written, every bound, and what each refusal says."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import replace

import pytest

from minutier import container
from minutier.container import Container, Entry, is_safe_path, open_container, pack
from minutier.errors import BadInputError, IntegrityFailureError

FILES = {"a.txt": b"first", "b/c.txt": b"", "verify.sh": b"#!/bin/sh\n"}
EXAMPLE = (
    "504b0304140000000000000021000000000000000000000000000100000061504b010214031400000000000000210000000000000000"
    "0000000000010000000000000000000000a4810000000061504b050600000000010001002f0000001f0000000000"
)


def reason(data: bytes, place) -> str:
    """Give why a file is refused, and check that the refusal says all that it must."""
    (place / "Q.zip").write_bytes(data)
    with pytest.raises(IntegrityFailureError) as caught, open_container(place / "Q.zip"):
        pass
    error = caught.value
    start = "The bundle is not as the archive wrote it: "
    assert (error.code, error.clause) == ("CONTAINER_NOT_CANONICAL", "docs/format/proof-v2.md §1")
    assert error.message.startswith(start)
    end = ". If another program packed it again, check the .zip as it was received."
    assert error.message.endswith(end)
    assert error.remedy == "Use the file as you received it: unpacking and packing it again makes another file."
    return error.message.removeprefix(start).removesuffix(end)


def entry(name: str, data: bytes, offset: int) -> tuple[Entry, bytes]:
    header = container._local_header(name, len(data), zlib.crc32(data))
    return Entry(name, offset + len(header), len(data), zlib.crc32(data)), header + data


def written(*names: str, data: bytes = b"x") -> bytes:
    """Write files in the given order, whatever their names."""
    entries, body = [], b""
    for name in names:
        found, piece = entry(name, data, len(body))
        entries.append(found)
        body += piece
    return body + container._directory(entries, len(body))


def packed(place, files=FILES) -> bytes:
    pack(files, place / "P.zip")
    return (place / "P.zip").read_bytes()


def test_the_example_of_the_format_page(tmp_path):
    assert packed(tmp_path, {"a": b""}).hex() == EXAMPLE


def test_the_places_of_the_files(tmp_path):
    data = packed(tmp_path)
    with open_container(tmp_path / "P.zip") as opened:
        assert list(opened.entries) == sorted(FILES)
        for name, found in opened.entries.items():
            assert found == Entry(
                name, data.index(name.encode()) + len(name), len(FILES[name]), zlib.crc32(FILES[name])
            )
            assert opened.read(name) == FILES[name]
        assert opened.read("none") is None
        with pytest.raises(KeyError):
            list(opened.stream("none"))


def test_contents_come_in_pieces(tmp_path, monkeypatch):
    assert container._BUFFER == 1024 * 1024
    monkeypatch.setattr(container, "_BUFFER", 4)
    packed(tmp_path, {"a": b"0123456789", "b": b"4567"})
    with open_container(tmp_path / "P.zip") as opened:
        assert list(opened.stream("a")) == [b"0123", b"4567", b"89"]
        assert list(opened.stream("b")) == [b"4567"]
    (tmp_path / "long").write_bytes(b"0123456789")
    assert list(container._pieces(tmp_path / "long")) == [b"0123", b"4567", b"89"]
    assert container._measure(tmp_path / "long") == (10, zlib.crc32(b"0123456789"))
    assert container._measure(b"0123456789") == (10, zlib.crc32(b"0123456789"))
    pack({"a": tmp_path / "long"}, tmp_path / "R.zip")
    with open_container(tmp_path / "R.zip") as opened:
        assert opened.read("a") == b"0123456789"


def test_a_file_that_becomes_shorter_while_it_is_read_is_noticed(tmp_path):
    packed(tmp_path)
    with open_container(tmp_path / "P.zip") as opened:
        longer = Container(opened._stream, {"a.txt": replace(opened.entries["a.txt"], size=10**6)})
        with pytest.raises(IntegrityFailureError, match=r"wrote it: the file became shorter while it was read\."):
            longer.read("a.txt")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a", "a"), "a comes twice or out of order"),
        (("b", "a"), "a comes twice or out of order"),
        (("../a",), "a local header is malformed, or a path is unsafe"),
        (("",), "a local header is malformed, or a path is unsafe"),
    ],
)
def test_paths_are_safe_and_in_order(tmp_path, names, said):
    assert reason(written(*names), tmp_path) == said


@pytest.mark.parametrize(
    "data", [b"", b"P", b"A note.", b"PK\x01\x02" + bytes(50), b"PK\x03\x05" + bytes(50), b"PK\x05\x06" + bytes(18)]
)
def test_what_is_no_zip_file_is_said(tmp_path, data):
    (tmp_path / "note.txt").write_bytes(data)
    with pytest.raises(IntegrityFailureError) as caught, open_container(tmp_path / "note.txt"):
        pass
    assert (caught.value.code, caught.value.message) == ("CONTAINER_NOT_CANONICAL", "note.txt is not a ZIP file.")


def test_a_bundle_packed_again_is_said(tmp_path):
    packed(tmp_path)
    with zipfile.ZipFile(tmp_path / "R.zip", "w", zipfile.ZIP_DEFLATED) as again:
        again.writestr("document/", b"")
        for name in sorted(FILES):
            again.writestr(name, FILES[name])
    assert reason((tmp_path / "R.zip").read_bytes(), tmp_path) == "a local header is malformed, or a path is unsafe"


def test_what_is_no_container_is_told_apart(tmp_path):
    data = packed(tmp_path)
    cut = "it ends in a header, or has too many files"
    for size in (4, 29, data.index(b"PK\x01\x02") - 1):
        assert reason(data[:size], tmp_path) in (cut, "a local header is malformed, or a path is unsafe")
    assert reason(data[:29], tmp_path) == cut
    second = data.index(b"PK\x03\x04", 4)
    later = data[:second] + b"PK\x03\x05" + data[second + 4 :]
    assert reason(later, tmp_path) == "a local header is malformed, or a path is unsafe"
    assert reason(data[:30] + b"\xe9" + data[31:], tmp_path) == "a path is not ASCII"
    directory = "its directory does not match its files, or bytes follow it"
    for spoiled in (data[:-1], data + b"\0", data[:-1] + b"\1", data[:-22]):
        assert reason(spoiled, tmp_path) == directory
    version = data[:4] + b"\x15" + data[5:]
    assert reason(version, tmp_path) == "the header of a.txt is not in its only form"


def test_there_are_at_most_512_files(tmp_path):
    assert container.MAX_FILES == 512
    names = [f"f{number:03}" for number in range(513)]
    packed(tmp_path, dict.fromkeys(names[:512], b""))
    with open_container(tmp_path / "P.zip") as opened:
        assert list(opened.entries) == names[:512]
    assert reason(written(*names), tmp_path) == "it ends in a header, or has too many files"
    for files in ({}, dict.fromkeys(names, b""), {"../a": b"", "b": b""}):
        with pytest.raises(ValueError, match="a bundle has 1 to 512 files with plain paths"):
            packed(tmp_path, files)


def test_only_documents_are_larger_than_eight_mebibytes(tmp_path, monkeypatch):
    assert container.MAX_SMALL_BYTES == 8 * 1024 * 1024
    monkeypatch.setattr(container, "MAX_SMALL_BYTES", 4)
    for files in ({"a": b"1234"}, {"document/original.pdf": b"12345"}):
        packed(tmp_path, files)
        with open_container(tmp_path / "P.zip") as opened:
            assert {name: opened.read(name) for name in opened.entries} == files
    for name in ("a", "documents/a", "journal/document.a"):
        assert reason(packed(tmp_path, {name: b"12345"}), tmp_path) == f"{name} is larger than 4 bytes"


def test_the_whole_is_less_than_four_gibibytes(tmp_path, monkeypatch):
    assert container.MAX_BYTES == 2**32 - 2
    # A file named "a" takes 31 octets before its content and 69 after.
    monkeypatch.setattr(container, "MAX_BYTES", 110)
    assert len(packed(tmp_path, {"a": bytes(10)})) == 110
    with open_container(tmp_path / "P.zip") as opened:
        assert opened.read("a") == bytes(10)
    for size in (11, 79, 80, 81):
        with pytest.raises(ValueError, match="a bundle holds less than 4 GiB"):
            packed(tmp_path, {"a": bytes(size)})
    assert reason(b"PK\x03\x04" + bytes(107), tmp_path) == "it is larger than 4 GiB"
    assert reason(b"PK\x03\x04" + bytes(106), tmp_path) != "it is larger than 4 GiB"


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("a", True), ("A9", True), ("a/b", True), ("z" * 20 + "/b", True), ("z" * 21 + "/b", False), ("a/b/c", False),
        ("A/b", False), ("a1/b", False), ("a-b_c.d-e_f", True), ("a..b", False), ("a.", False), (".a", False),
        ("-a", False), ("_a", False), ("a/-b", False), ("a/.b", False), ("a b", False), ("é", False), ("a\n", False),
        ("x" * 100, True), ("x" * 101, False), ("", False), ("/a", False), ("a/", False),
    ],
)  # fmt: skip
def test_which_paths_are_safe(path, safe):
    assert is_safe_path(path) is safe


def test_the_directory_says_what_ordinary_tools_show(tmp_path):
    data = packed(tmp_path)
    at = data.index(b"PK\x01\x02")
    found = []
    for name, content in sorted(FILES.items()):
        fields = struct.unpack("<4s6H3I5H2I", data[at : at + 46])
        mode = 0o100755 if name == "verify.sh" else 0o100644
        start = data.index(name.encode()) - 30
        expected = (b"PK\x01\x02", 0x0314, 20, 0, 0, 0, 0x21, zlib.crc32(content), len(content), len(content))
        assert fields == (*expected, len(name), 0, 0, 0, 0, mode << 16, start)
        at += 46 + len(name)
        found.append(name)
    start = data.index(b"PK\x01\x02")
    assert struct.unpack("<4s4H2IH", data[at:]) == (b"PK\x05\x06", 0, 0, 3, 3, at - start, start, 0)


def test_a_missing_bundle_is_bad_input_and_says_why(tmp_path):
    with pytest.raises(BadInputError) as caught, open_container(tmp_path / "none.zip"):
        pass
    assert (caught.value.code, caught.value.message, caught.value.remedy) == (
        "BUNDLE_UNREADABLE", "none.zip cannot be read: No such file or directory.", "Give the path of a proof.",
    )  # fmt: skip


def test_a_file_that_changes_while_it_is_packed_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"one")
    for second in (b"two", b"three"):
        turns = iter((b"one", second))
        monkeypatch.setattr(container, "_pieces", lambda source, turns=turns: iter((next(turns),)))
        with pytest.raises(ValueError, match="a changed while it was packed"):
            packed(tmp_path, {"a": tmp_path / "f"})
