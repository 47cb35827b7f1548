"""SEDA: transfers as other archives and their tools write them (docs/format/seda-v1.md).

A SIP is `manifest.xml` (ArchiveTransfer, SEDA 2.1 to 2.3) beside the folder `content/`, or both in one ZIP file. The
spreadsheet form is `metadata.csv` beside the files. Each binary object is a line: one that cannot be used is refused
and stops no other. No DTD, no entity, no path out of the package, and no more than a package may hold.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from tasks.bordereau import RECEIPT, REPORT, Batch, Line, OtherRow, bad_line, bad_manifest

MANIFEST, CONTENT, TABLE = "manifest.xml", "content", "metadata.csv"
_NAMESPACE = re.compile(r"\{fr:gouv:culture:archivesdefrance:seda:v2\.[123]\}(\w+)")
_LARGEST_MANIFEST = 64 << 20
_LARGEST_PACKAGE = 8 << 30
_MOST_MEMBERS, _MOST_RATIO = 20_000, 200
_DIGESTS = {"SHA-256": "sha256", "SHA-512": "sha512"}
# What the reader of ZIP files raises on those that are none, or are damaged.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_UNUSABLE = re.compile(r"[^A-Za-z0-9 ._/-]+")
_COLUMNS = ("File", "Content.Title")
_OURS = frozenset((RECEIPT, REPORT))


def read_sip(folder: Path) -> Batch:
    """Read the manifest of an unpacked SIP; BadInputError (`BAD_MANIFEST`) when it cannot be read as a whole."""
    path = folder / MANIFEST
    if path.stat().st_size > _LARGEST_MANIFEST:
        raise bad_manifest(folder, f"it is larger than {_LARGEST_MANIFEST} bytes", MANIFEST)
    return _batch(folder, path.read_bytes())


def read_package(path: Path) -> Batch:
    """Read the manifest of a SIP in a ZIP file, without unpacking it.

    BadInputError (`BAD_MANIFEST`) when it is no such package, or holds what no package may.
    """
    try:
        with zipfile.ZipFile(path) as package:
            members = _members(path, package)
            if MANIFEST not in members:
                raise bad_manifest(path, f"there is no {MANIFEST} in it", MANIFEST)
            if members[MANIFEST].file_size > _LARGEST_MANIFEST:
                raise bad_manifest(path, f"it is larger than {_LARGEST_MANIFEST} bytes", MANIFEST)
            data = package.read(MANIFEST)
    except (*_UNREADABLE, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    return replace(_batch(path, data), package=path)


def is_whole(path: Path) -> bool:
    """Say whether a ZIP file has its directory, which is written last."""
    try:
        return zipfile.is_zipfile(path)
    except OSError:
        return False


@contextmanager
def unpacked(batch: Batch, place: Path) -> Iterator[Batch]:
    """Give a batch whose files can be read: of a package, from a folder in `place` that is removed afterwards."""
    if batch.package is None:
        yield batch
        return
    folder = place / f".package-{batch.manifest_sha256[:16]}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        (folder / CONTENT).mkdir(parents=True, mode=0o700)
        _unpack(batch, batch.package, folder)
        yield replace(batch, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(batch: Batch, path: Path, folder: Path) -> None:
    """Write the listed files of a package to a folder."""
    wanted = {line.row.fichier for line in batch.lines if line.row is not None}
    try:
        with zipfile.ZipFile(path) as package:
            for name, member in _members(path, package).items():
                inside = PurePosixPath(name)
                if inside.parent == PurePosixPath(CONTENT) and inside.name in wanted:
                    with package.open(member) as source, (folder / CONTENT / inside.name).open("wb") as target:
                        shutil.copyfileobj(source, target)
    except (*_UNREADABLE, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> Exception:
    """Give the error of a package that cannot be read; what a disk does is said as it is."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place outside the file
        return error
    return bad_manifest(path, f"the package is damaged, or no ZIP file ({type(error).__name__})")


def _members(path: Path, package: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Give the files of a package by name; refuses doubles, links, encryption, bombs and names that lead out of it."""
    members: dict[str, zipfile.ZipInfo] = {}
    entries = [each for each in package.infolist() if not each.is_dir()]
    if len(entries) > _MOST_MEMBERS:
        raise bad_manifest(path, f"the package has more than {_MOST_MEMBERS} files")
    if sum(each.file_size for each in entries) > _LARGEST_PACKAGE:
        raise bad_manifest(path, f"the package holds more than {_LARGEST_PACKAGE >> 30} GiB")
    for each in entries:
        name = PurePosixPath(each.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in each.filename or each.filename in members:
            raise bad_manifest(path, "the package has a file name that is not allowed, or twice the same")
        if stat.S_ISLNK(each.external_attr >> 16) or each.flag_bits & 1:
            raise bad_manifest(path, "the package has a link or an encrypted file")
        if each.file_size > 1 << 20 and each.file_size > _MOST_RATIO * max(each.compress_size, 1):
            raise bad_manifest(path, "the package has a file that unpacks to more than it may")
        members[each.filename] = each
    return members


def _batch(folder: Path, data: bytes) -> Batch:
    root = _parsed(folder, data)
    if _name(root) != "ArchiveTransfer":
        raise bad_manifest(folder, "it is not an ArchiveTransfer of SEDA 2.1 to 2.3", MANIFEST)
    identifier = _text(root, "MessageIdentifier")
    units = _units(root)
    lines = tuple(
        _line(number, element, units, identifier) for number, element in enumerate(_all(root, "BinaryDataObject"), 1)
    )
    if not lines:
        raise bad_manifest(folder, "it lists no binary object", MANIFEST)
    digest = hashlib.sha256(data).hexdigest()
    return Batch(folder.name, folder, digest, lines, manifest=Path(MANIFEST), files=Path(CONTENT))


def _parsed(folder: Path, data: bytes) -> Any:
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        where = getattr(error, "lineno", None)
        raise bad_manifest(folder, f"it is not XML (line {where})" if where else "it is not XML", MANIFEST) from None
    if root.getroottree().docinfo.doctype:
        raise bad_manifest(folder, "it has a DTD, which is not allowed", MANIFEST)
    return root


def _name(element: Any) -> str:
    match = _NAMESPACE.fullmatch(str(element.tag))
    return match[1] if match else ""


def _all(root: Any, name: str) -> list[Any]:
    return [each for each in root.iter() if isinstance(each.tag, str) and _name(each) == name]


def _child(element: Any, name: str) -> Any | None:
    return next((each for each in element if isinstance(each.tag, str) and _name(each) == name), None)


def _text(element: Any, *names: str) -> str:
    found: Any | None = element
    for name in names:
        found = None if found is None else _child(found, name)
    return _CONTROL.sub(" ", (found.text or "") if found is not None else "").strip()


def _units(root: Any) -> dict[str, tuple[Any, str]]:
    """Give the archive unit of each object or group of objects, and the title of the unit that it lies in."""
    found = {}
    for unit in _all(root, "ArchiveUnit"):
        above = unit.getparent()
        title = _text(above, "Content", "Title") if above is not None and _name(above) == "ArchiveUnit" else ""
        for reference in (each for each in unit if isinstance(each.tag, str) and _name(each) == "DataObjectReference"):
            for name in ("DataObjectGroupReferenceId", "DataObjectReferenceId"):
                if wanted := _text(reference, name):
                    found[wanted] = (unit, title)
    return found


def _line(number: int, element: Any, units: Mapping[str, tuple[Any, str]], message: str) -> Line:
    own = str(element.get("id") or "")
    group = element.getparent()
    group_id = str(group.get("id") or "") if group is not None else ""
    group_id = group_id or _text(element, "DataObjectGroupId") or _text(element, "DataObjectGroupReferenceId")
    unit, above = units.get(own) or units.get(group_id) or (None, "")
    reference = _usable(f"{message}/{own}")
    uri = PurePosixPath(_text(element, "Uri"))
    if uri.parent != PurePosixPath(CONTENT):
        return Line(number, None, bad_line(number, f"Uri: it must be {CONTENT}/NAME", MANIFEST), reference)
    stated = _child(element, "MessageDigest")
    algorithm = str(stated.get("algorithm") or "").upper() if stated is not None else ""
    if algorithm not in _DIGESTS:
        return Line(number, None, bad_line(number, "MessageDigest: it must be SHA-256 or SHA-512", MANIFEST), reference)
    title = _text(unit, "Content", "Title") if unit is not None else ""
    attributes = {
        "seda_object": own,
        "seda_message": message,
        "seda_version": _text(element, "DataObjectVersion"),
        "seda_format": _text(element, "FormatIdentification", "FormatId"),
        "original_name": _text(element, "FileInfo", "Filename"),
        "description": _text(unit, "Content", "Description") if unit is not None else "",
        "originating_agency": _text(unit, "Content", "OriginatingAgency", "Identifier") if unit is not None else "",
    }
    values: dict[str, Any] = {
        "dossier": _usable(above) or _usable(message) or "SEDA",
        "reference": reference,
        "piece": _usable(_text(unit, "Content", "DocumentType") if unit is not None else "") or "SEDA",
        "titre": (title or uri.name)[:300],
        "fichier": uri.name,
        "taille": _text(element, "Size"),
        "date": _day(unit),
        _DIGESTS[algorithm]: _text(element, "MessageDigest").lower(),
        "attributes": {name: value for name, value in attributes.items() if value},
    }
    return _row(number, values, MANIFEST)


def _day(unit: Any | None) -> str:
    """Give the date of a unit's document: its first date that is one, else today."""
    for name in ("CreatedDate", "TransactedDate", "StartDate", "ReceivedDate", "RegisteredDate"):
        text = _text(unit, "Content", name)[:10] if unit is not None else ""
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            continue
    return datetime.now(UTC).date().isoformat()


def _usable(text: str) -> str:
    """Give a text in the characters of references: others become a blank."""
    return " ".join(_UNUSABLE.sub(" ", text).split()).strip(" ._/-")[:120]


def _row(number: int, values: Mapping[str, Any], source: str) -> Line:
    reference = str(values.get("reference", ""))
    try:
        return Line(number, OtherRow.model_validate(values), reference=reference)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Line(number, None, bad_line(number, f"{first['loc'][0]}: {first['msg']}", source), reference)


def read_table(folder: Path) -> Batch:
    """Read the spreadsheet form of a SIP: `metadata.csv`, semicolons, UTF-8 or Windows-1252, one line a unit.

    A line with a `File` is a document; one without is a folder, whose title names the dossier of what lies in it.
    """
    path = folder / TABLE
    if path.stat().st_size > _LARGEST_MANIFEST:
        raise bad_manifest(folder, f"it is larger than {_LARGEST_MANIFEST} bytes", TABLE)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";", strict=True)
    try:
        rows = [
            (
                reader.line_num,
                {str(name): value.strip() if isinstance(value, str) else "" for name, value in row.items()},
            )
            for row in reader
        ]
    except csv.Error as error:
        raise bad_manifest(folder, f"it is not a semicolon CSV ({error})", TABLE) from error
    absent = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if absent:
        raise bad_manifest(folder, f"it lacks the column {absent[0]}", TABLE)
    titles = {row.get("Id") or row["File"]: row["Content.Title"] for _, row in rows}
    lines = tuple(
        _table_line(folder, number, row, titles) for number, row in rows if not (folder / row["File"]).is_dir()
    )
    return Batch(folder.name, folder, hashlib.sha256(data).hexdigest(), lines, manifest=Path(TABLE), announced=False)


def _table_line(folder: Path, number: int, row: Mapping[str, str], titles: Mapping[str, str]) -> Line:
    name = row["File"].replace("\\", "/").removeprefix("./")
    identity = row.get("Id") or name
    reference = _usable(f"{folder.name}/{identity}")
    if "/" in name:
        # Only the folder itself is looked into: a listed file never becomes a path.
        return Line(number, None, bad_line(number, "File: it must lie in the folder itself", TABLE), reference)
    day = next((row[each][:10] for each in ("Content.CreatedDate", "Content.StartDate") if row.get(each)), "")
    values: dict[str, Any] = {
        "dossier": _usable(titles.get(row.get("ParentId", ""), "")) or _usable(folder.name) or "SEDA",
        "reference": reference,
        "piece": _usable(row.get("Content.DocumentType", "")) or "SEDA",
        "titre": (row["Content.Title"] or name)[:300],
        "fichier": name,
        "taille": _size(folder / name),
        "date": day or datetime.now(UTC).date().isoformat(),
        "attributes": {each: value for each, value in row.items() if value and each.startswith(("Content.", "Mana"))},
    }
    return _row(number, values, TABLE)


def _size(path: Path) -> str:
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return "0"
    return str(found.st_size) if stat.S_ISREG(found.st_mode) else "0"


def read_bare(folder: Path) -> Batch:
    """Read a folder without manifest: every plain file is a document, named by the folder and its own name.

    Raises BadInputError (`BAD_MANIFEST`) for a folder within it: what lies there would be left out unsaid.
    """
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    inside = [name for name in names if (folder / name).is_dir()]
    if inside:
        raise bad_manifest(
            folder, "there is a folder in it; without a manifest, files lie in the folder itself", "list"
        )
    today = datetime.now(UTC).date().isoformat()
    lines = []
    for number, name in enumerate((each for each in names if each not in _OURS), 1):
        values: dict[str, Any] = {
            "dossier": _usable(folder.name) or "sans nom",
            "reference": _usable(f"{folder.name}/{name}"),
            "piece": "sans bordereau",
            "titre": name[:300],
            "fichier": name,
            "taille": _size(folder / name),
            "date": today,
        }
        lines.append(_row(number, values, "list"))
    listed = "\n".join(f"{line.row.fichier} {line.row.taille}" for line in lines if line.row)
    digest = hashlib.sha256(listed.encode()).hexdigest()
    return Batch(folder.name, folder, digest, tuple(lines), manifest=Path(), announced=False)
