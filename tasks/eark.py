"""The payload of a bag as an E-ARK package: `data/METS.xml` (CSIP and DIP 2.1.0; docs/format/seda-v1.md §5).

It names every file of the payload with its size and digest, for those who take packages so. It is beside what it
describes and proves nothing: the proofs do.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree as Tree

from minutier.events import format_time
from minutier.fingerprint import Fingerprint
from storage.acts import Act
from tasks import dip

NAME = "METS.xml"
DOCUMENTATION, SCHEMAS = "documentation", "schemas"
_METS, _XLINK = "http://www.loc.gov/METS/", "http://www.w3.org/1999/xlink"
_CSIP = "https://DILCIS.eu/XML/METS/CSIPExtensionMETS"
_PROFILE = "https://earkdip.dilcis.eu/profile/E-ARK-DIP-v2-1-0.xml"
_CONTENT = {
    f"{{{_CSIP}}}CONTENTINFORMATIONTYPE": "OTHER",
    f"{{{_CSIP}}}OTHERCONTENTINFORMATIONTYPE": "minutier-restitution-v1",
}
_KINDS = {".age": "application/octet-stream"}
SCHEMAS_PAGE = f"""\
METS.xml       METS ({_METS}), Common Specification for Information Packages and E-ARK DIP 2.1.0
manifest.xml   SEDA 2.3 ({dip.NAMESPACE}), message ArchiveDeliveryRequestReply
proof.zip      format proof-v2, which the README inside each one describes

The schemas are published by their authors (Library of Congress, DILCIS Board, Archives de France).
Les schémas sont publiés par leurs auteurs.
"""


def describe(act: Act, payload: Path, digests: Mapping[Path, Fingerprint], kinds: Mapping[Path, str]) -> bytes:
    """Give the METS document of a payload attested by `act`.

    `digests` are those of its files, METS.xml aside; `kinds` the media types of those whose name does not tell it.
    """
    for prefix, name in (("", _METS), ("csip", _CSIP), ("xlink", _XLINK)):
        Tree.register_namespace(prefix, name)
    root = Tree.Element(_name("mets"), _root_attributes(act))
    _header(root, act)
    proofs = [path for path in digests if path.name == "proof.zip"]
    listing = payload / dip.NAME
    described = Tree.SubElement(root, _name("dmdSec"), ID="dmd-1", CREATED=_written(listing), STATUS="CURRENT")
    _reference(described, listing, payload, digests, "SEDA 2.3", "application/xml")
    if proofs:
        administered = Tree.SubElement(root, _name("amdSec"))
        for number, path in enumerate(proofs, start=1):
            proof = Tree.SubElement(administered, _name("digiprovMD"), ID=f"proof-{number}", STATUS="CURRENT")
            _reference(proof, path, payload, digests, "Minutier proof", "application/zip")
    _files(root, payload, {path: each for path, each in digests.items() if path not in {*proofs, listing}}, kinds)
    _structure(root, act, len(proofs))
    Tree.indent(root)
    written: bytes = Tree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _root_attributes(act: Act) -> dict[str, str]:
    return {
        "OBJID": act.act_id,
        "LABEL": f"Restitution {act.act_id}",
        "TYPE": "Mixed",
        "PROFILE": _PROFILE,
    } | _CONTENT


def _header(root: Tree.Element, act: Act) -> None:
    at = format_time(act.at)
    package = {"CREATEDATE": at, "LASTMODDATE": at, f"{{{_CSIP}}}OAISPACKAGETYPE": "DIP"}
    header = Tree.SubElement(root, _name("metsHdr"), package)
    agent = Tree.SubElement(header, _name("agent"), ROLE="CREATOR", TYPE="OTHER", OTHERTYPE="SOFTWARE")
    Tree.SubElement(agent, _name("name")).text = "Minutier"
    note = Tree.SubElement(agent, _name("note"), {f"{{{_CSIP}}}NOTETYPE": "SOFTWARE VERSION"})
    note.text = version("minutier")


def _files(root: Tree.Element, payload: Path, digests: Mapping[Path, Fingerprint], kinds: Mapping[Path, str]) -> None:
    section = Tree.SubElement(root, _name("fileSec"), ID="files")
    groups = {
        use: Tree.SubElement(section, _name("fileGrp"), {"ID": f"files-{use.lower()}", "USE": use} | _CONTENT)
        for use in ("Documentation", "Schemas", "Representations")
    }
    for number, (path, digest) in enumerate(digests.items(), start=1):
        first = path.relative_to(payload).parts[0]
        use = {DOCUMENTATION: "Documentation", SCHEMAS: "Schemas"}.get(first, "Representations")
        item = Tree.SubElement(
            groups[use],
            _name("file"),
            {"ID": f"file-{number}", "MIMETYPE": _kind(path, kinds)} | _facts(path, digest),
        )
        Tree.SubElement(item, _name("FLocat"), _location(path, payload))


def _structure(root: Tree.Element, act: Act, proofs: int) -> None:
    structure = Tree.SubElement(root, _name("structMap"), ID="structure", TYPE="PHYSICAL", LABEL="CSIP")
    top = Tree.SubElement(structure, _name("div"), ID="package", LABEL=act.act_id)
    told = {"ADMID": " ".join(f"proof-{number}" for number in range(1, proofs + 1))} if proofs else {}
    Tree.SubElement(top, _name("div"), {"ID": "metadata", "LABEL": "Metadata", "DMDID": "dmd-1", **told})
    for use in ("Documentation", "Schemas", "Representations"):
        part = Tree.SubElement(top, _name("div"), ID=use.lower(), LABEL=use)
        Tree.SubElement(part, _name("fptr"), FILEID=f"files-{use.lower()}")


def _reference(
    above: Tree.Element, path: Path, payload: Path, digests: Mapping[Path, Fingerprint], kind: str, media_type: str
) -> None:
    told = {"MDTYPE": "OTHER", "OTHERMDTYPE": kind, "MIMETYPE": media_type}
    Tree.SubElement(above, _name("mdRef"), _location(path, payload) | told | _facts(path, digests[path]))


def _kind(path: Path, kinds: Mapping[Path, str]) -> str:
    return kinds.get(path) or _KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or dip.ANY


def _facts(path: Path, digest: Fingerprint) -> dict[str, str]:
    return {
        "SIZE": str(digest.size),
        "CREATED": _written(path),
        "CHECKSUM": digest.sha256,
        "CHECKSUMTYPE": "SHA-256",
    }


def _location(path: Path, payload: Path) -> dict[str, str]:
    href = quote(path.relative_to(payload).as_posix())
    return {"LOCTYPE": "URL", f"{{{_XLINK}}}type": "simple", f"{{{_XLINK}}}href": href}


def _written(path: Path) -> str:
    return format_time(datetime.fromtimestamp(path.stat().st_mtime, UTC))


def _name(name: str) -> str:
    return f"{{{_METS}}}{name}"
