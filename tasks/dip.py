"""The description of what is given back, in SEDA 2.3: `data/manifest.xml` of a bag (docs/format/seda-v1.md §5).

An `ArchiveDeliveryRequestReply`: one archive unit for each document, under one for its dossier where it has one; its
original, its rendition and its proof are data objects, each with size and digest. It is beside what it describes and
proves nothing: the proofs do.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree as Tree

from minutier.events import format_time
from minutier.fingerprint import Fingerprint
from storage.acts import Act
from storage.catalogue import Deposit

NAMESPACE = "fr:gouv:culture:archivesdefrance:seda:v2.3"
NAME = "manifest.xml"
_ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 §2.2 has no way to write."""
_PDF, _ZIP, ANY = "application/pdf", "application/zip", "application/octet-stream"


def describe(
    act: Act,
    given: Sequence[Deposit],
    missing: Sequence[Deposit],
    payload: Path,
    digests: Mapping[Path, Fingerprint],
) -> bytes:
    """Give the manifest of documents that lie in `payload/documents`, attested by `act`; its addresses are relative.

    `digests` are those of the files of the payload. What was asked for and is `missing` is named, and the code of the
    reply says so: `OK`, `WARNING` where some are missing, `KO` where all are.
    """
    root = Tree.Element("ArchiveDeliveryRequestReply", xmlns=NAMESPACE)
    _text(root, "Date", format_time(act.at))
    _text(root, "MessageIdentifier", act.act_id)
    Tree.SubElement(root, "CodeListVersions")
    package = Tree.SubElement(root, "DataObjectPackage")
    groups = [_data_objects(package, place, each, payload, digests) for place, each in enumerate(given, start=1)]
    described = Tree.SubElement(package, "DescriptiveMetadata")
    dossiers: dict[tuple[str, str], Tree.Element] = {}
    for number, deposit in enumerate(given, start=1):
        above = described
        if deposit.dossier:
            key = (deposit.safe, deposit.dossier)
            if key not in dossiers:
                dossiers[key] = _dossier(described, len(dossiers) + 1, deposit)
            above = dossiers[key]
        _unit(above, number, deposit, groups[number - 1])
    Tree.SubElement(package, "ManagementMetadata")
    _text(root, "ReplyCode", "OK" if not missing else "WARNING" if given else "KO")
    _text(root, "MessageRequestIdentifier", act.act_id)
    for deposit in (*given, *missing):
        _text(root, "UnitIdentifier", deposit.archive_id)
    for role, name in (("ArchivalAgency", "Minutier"), ("Requester", str(act.value.get("to") or "Minutier"))):
        _text(Tree.SubElement(root, role), "Identifier", name)
    Tree.indent(root)
    written: bytes = Tree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _data_objects(
    package: Tree.Element, number: int, deposit: Deposit, payload: Path, known: Mapping[Path, Fingerprint]
) -> dict[str, str]:
    """Write the data objects of a document; gives the ids of its groups: `document`, and `proof` where there is one."""
    found: defaultdict[str, list[tuple[str, Path, str]]] = defaultdict(list)
    for version, path, kind in files(deposit, payload / "documents" / deposit.archive_id):
        found["proof" if path.name == "proof.zip" else "document"].append((version, path, kind))
    ids = {}
    for name, held in found.items():
        ids[name] = f"OG-{number}-{name}"
        group = Tree.SubElement(package, "DataObjectGroup", id=ids[name])
        for place, (version, path, kind) in enumerate(held, start=1):
            item = Tree.SubElement(group, "BinaryDataObject", id=f"BD-{number}-{name}-{place}")
            _text(item, "DataObjectVersion", version)
            _text(item, "Uri", quote(path.relative_to(payload).as_posix()))
            _text(item, "MessageDigest", known[path].sha256, algorithm="SHA-256")
            _text(item, "Size", str(known[path].size))
            identified = Tree.SubElement(item, "FormatIdentification")
            _text(identified, "MimeType", kind)
            puid = str((deposit.screening or {}).get("puid") or "")
            if path.parent.name == "original" and puid and " " not in puid:
                _text(identified, "FormatId", puid)
            _text(Tree.SubElement(item, "FileInfo"), "Filename", path.name)
    return ids


def files(deposit: Deposit, folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Give what lies in the folder of a document: its version in the words of SEDA, its path, its media type."""
    stated = str((deposit.screening or {}).get("media_type") or ANY)
    for path in sorted((folder / "original").glob("*")):
        yield "BinaryMaster_1", path, stated
    for name, version, kind in (
        ("original.age", "BinaryMaster_1", ANY),
        ("rendition.pdf", "Dissemination_1", _PDF),
        ("rendition.age", "Dissemination_1", ANY),
        ("proof.zip", "BinaryMaster_1", _ZIP),
    ):
        if (folder / name).is_file():
            yield version, folder / name, kind


def _dossier(above: Tree.Element, number: int, deposit: Deposit) -> Tree.Element:
    unit = Tree.SubElement(above, "ArchiveUnit", id=f"AU-dossier-{number}")
    content = Tree.SubElement(unit, "Content")
    _text(content, "DescriptionLevel", "RecordGrp")
    _text(content, "Title", deposit.dossier)
    return unit


def _unit(above: Tree.Element, number: int, deposit: Deposit, groups: dict[str, str]) -> None:
    unit = Tree.SubElement(above, "ArchiveUnit", id=f"AU-{number}")
    content = Tree.SubElement(unit, "Content")
    _text(content, "DescriptionLevel", "Item")
    _text(content, "Title", deposit.metadata.get("title") or deposit.name or deposit.reference)
    _text(content, "SystemId", deposit.archive_id)
    _text(content, "OriginatingAgencyArchiveUnitIdentifier", deposit.reference)
    if description := deposit.metadata.get("description"):
        _text(content, "Description", description)
    _text(content, "ReceivedDate", format_time(deposit.received_at))
    if "proof" in groups:
        proof = Tree.SubElement(unit, "ArchiveUnit", id=f"AU-{number}-proof")
        about = Tree.SubElement(proof, "Content")
        _text(about, "DescriptionLevel", "Item")
        _text(about, "Title", f"Preuve / proof – {deposit.archive_id}")
        _refer(proof, groups["proof"])
    if "document" in groups:
        _refer(unit, groups["document"])


def _refer(unit: Tree.Element, group: str) -> None:
    _text(Tree.SubElement(unit, "DataObjectReference"), "DataObjectGroupReferenceId", group)


def _text(above: Tree.Element, name: str, text: str, **attributes: str) -> None:
    # The schema wants something there; a blank alone, or what XML cannot write, is said as such.
    Tree.SubElement(above, name, attributes).text = _ILLEGAL.sub("\ufffd", text).strip() or "–"
