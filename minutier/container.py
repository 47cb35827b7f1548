"""The container of a proof bundle: a ZIP with exactly one spelling (docs/format/proof-v2.md §1, as in v1).

Entries are stored without compression, sorted by path, with fixed dates and no optional field, so the same files give
the same bytes, every byte of the container is checked, and no entry can unpack to more than it weighs. Any ordinary
unzip tool opens it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minutier.errors import BadInputError, IntegrityFailureError

MAX_FILES = 512
MAX_BYTES = 0xFFFF_FFFE
MAX_SMALL_BYTES = 8 * 1024 * 1024
_PATH = re.compile(r"(?:[a-z]{1,20}/)?[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_MAX_PATH = 100
_BUFFER = 1 << 20
_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")
_VERSION, _STORED, _TIME, _DATE = 20, 0, 0, (0 << 9) | (1 << 5) | 1  # 1980-01-01 00:00
_UNIX = 3 << 8
_FIRST = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a container: its path, the place of its first byte, its size in bytes and its CRC-32."""

    path: str
    offset: int
    size: int
    crc: int


class Container:
    """An opened container whose structure has been checked; contents are read on demand."""

    def __init__(self, stream: BinaryIO, entries: dict[str, Entry]) -> None:
        self._stream = stream
        self.entries = entries

    def stream(self, path: str) -> Iterator[bytes]:
        """Give the content of one file in pieces of at most 1 MiB; KeyError when it is absent."""
        entry = self.entries[path]
        self._stream.seek(entry.offset)
        left = entry.size
        while left:
            piece = self._stream.read(min(left, _BUFFER))
            if not piece:
                raise _not_as_written("the file became shorter while it was read")
            left -= len(piece)
            yield piece

    def read(self, path: str) -> bytes | None:
        """Give a file whole, None when it is absent; only documents can be larger than `MAX_SMALL_BYTES`."""
        return b"".join(self.stream(path)) if path in self.entries else None


def is_safe_path(path: str) -> bool:
    """Say whether a path may stand in a bundle: ASCII, at most one folder, no leading dot, dash or slash."""
    return len(path) <= _MAX_PATH and _PATH.fullmatch(path) is not None


@contextmanager
def open_container(path: Path) -> Iterator[Container]:
    """Open a bundle and check its whole structure: headers, order, limits, nothing before, between or after.

    Raises IntegrityFailureError CONTAINER_NOT_CANONICAL; BadInputError BUNDLE_UNREADABLE when there is no such file.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise BadInputError(
            "BUNDLE_UNREADABLE", f"{path.name} cannot be read: {error.strerror}.", remedy="Give the path of a proof."
        ) from error
    with stream:
        if stream.read(4) != _FIRST:
            raise _refused(f"{path.name} is not a ZIP file.")
        yield Container(stream, _scan(stream))


def _scan(stream: BinaryIO) -> dict[str, Entry]:
    """Walk over the local headers from the first byte, then compare the directory with the only one possible."""
    size = stream.seek(0, 2)
    if size > MAX_BYTES:
        raise _not_as_written("it is larger than 4 GiB")
    entries: dict[str, Entry] = {}
    offset, previous = 0, ""
    while True:
        stream.seek(offset)
        header = stream.read(_LOCAL.size)
        if header[:4] == b"PK\x01\x02" and entries:
            break
        if len(header) < _LOCAL.size or len(entries) >= MAX_FILES:
            raise _not_as_written("it ends in a header, or has too many files")
        signature, *_, crc, _, length, name_length, _ = _LOCAL.unpack(header)
        try:
            name = stream.read(name_length).decode("ascii")
        except UnicodeDecodeError as error:
            raise _not_as_written("a path is not ASCII") from error
        if signature != _FIRST or not is_safe_path(name):
            raise _not_as_written("a local header is malformed, or a path is unsafe")
        if length > MAX_SMALL_BYTES and not name.startswith("document/"):
            raise _not_as_written(f"{name} is larger than {MAX_SMALL_BYTES} bytes")
        if name <= previous:
            raise _not_as_written(f"{name} comes twice or out of order")
        if header + name.encode("ascii") != _local_header(name, length, crc):
            raise _not_as_written(f"the header of {name} is not in its only form")
        entries[name] = Entry(name, offset + _LOCAL.size + name_length, length, crc)
        offset, previous = entries[name].offset + length, name
    stream.seek(offset)
    expected = _directory(entries.values(), offset)
    if stream.read(len(expected) + 1) != expected:
        raise _not_as_written("its directory does not match its files, or bytes follow it")
    return entries


def pack(files: Mapping[str, bytes | Path], target: Path) -> None:
    """Write a container at `target` (not atomically; the caller renames). A `Path` is read twice, never whole.

    ValueError for an unsafe path, too many files, or more than 4 GiB.
    """
    with target.open("wb") as stream:
        _pack(files, stream)


def _pack(files: Mapping[str, bytes | Path], stream: BinaryIO) -> None:
    if not 1 <= len(files) <= MAX_FILES or not all(is_safe_path(name) for name in files):
        raise ValueError(f"a bundle has 1 to {MAX_FILES} files with plain paths")
    entries: list[Entry] = []
    offset = 0
    for name in sorted(files):
        size, crc = _measure(files[name])
        header = _local_header(name, size, crc)
        entries.append(Entry(name, offset + len(header), size, crc))
        offset += len(header) + size
        if offset > MAX_BYTES:
            raise ValueError("a bundle holds less than 4 GiB")
        stream.write(header)
        written, written_crc = 0, 0
        for piece in _pieces(files[name]):
            stream.write(piece)
            written, written_crc = written + len(piece), zlib.crc32(piece, written_crc)
        if (written, written_crc) != (size, crc):
            raise ValueError(f"{name} changed while it was packed")
    directory = _directory(entries, offset)
    if offset + len(directory) > MAX_BYTES:
        raise ValueError("a bundle holds less than 4 GiB")
    stream.write(directory)


def _measure(source: bytes | Path) -> tuple[int, int]:
    size, crc = 0, 0
    for piece in _pieces(source):
        size, crc = size + len(piece), zlib.crc32(piece, crc)
    return size, crc


def _pieces(source: bytes | Path) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as stream:
        while piece := stream.read(_BUFFER):
            yield piece


def _local_header(name: str, size: int, crc: int) -> bytes:
    encoded = name.encode("ascii")
    fields = (_VERSION, 0, _STORED, _TIME, _DATE, crc, size, size, len(encoded), 0)
    return _LOCAL.pack(_FIRST, *fields) + encoded


def _directory(entries: Iterable[Entry], offset: int) -> bytes:
    """Write the central directory and its end record; local headers are found from the places of the contents."""
    records, count = b"", 0
    for entry in entries:
        name = entry.path.encode("ascii")
        attributes = (0o100755 if entry.path.endswith(".sh") else 0o100644) << 16
        start = entry.offset - _LOCAL.size - len(name)
        fields = (_UNIX | _VERSION, _VERSION, 0, _STORED, _TIME, _DATE, entry.crc, entry.size, entry.size)
        records += _CENTRAL.pack(b"PK\x01\x02", *fields, len(name), 0, 0, 0, 0, attributes, start) + name
        count += 1
    return records + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(records), offset, 0)


def _not_as_written(reason: str) -> IntegrityFailureError:
    again = "If another program packed it again, check the .zip as it was received."
    return _refused(f"The bundle is not as the archive wrote it: {reason}. {again}")


def _refused(message: str) -> IntegrityFailureError:
    return IntegrityFailureError(
        "CONTAINER_NOT_CANONICAL",
        message,
        remedy="Use the file as you received it: unpacking and packing it again makes another file.",
        clause="docs/format/proof-v2.md §1",
    )
