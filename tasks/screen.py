"""Screening: what is this file, is it whole, is it harmless, may it be archived?

`screen` gives a `ScreenReport` or raises `RefusedDocumentError` with one of the codes EMPTY, TOO_LARGE, MALWARE,
DAMAGED, ENCRYPTED, NO_PAGES, FORMAT_UNKNOWN, FORMAT_MISMATCH, POLYGLOT and a sentence in English and in French.
The file itself is never changed. Parsing happens in the isolated child.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from minutier.errors import RefusedDocumentError, ServiceUnavailableError
from tasks import clamd as antivirus
from tasks import formats, pdf_bytes, pronom
from tasks.formats import Format
from tasks.isolate import IsolationFaultError, run_isolated
from tasks.limits import Limits
from tasks.malware import file_carries_test_signature

NO_ANTIVIRUS = "none-configured"
_PATIENCE = 3  # wall time allowed per second of CPU time, on a machine that does other things too
_IMAGES = (formats.JPEG, formats.PNG, formats.TIFF)
_PACKAGES = (formats.DOCX, formats.ODT)


@dataclass(frozen=True, slots=True)
class ScreenReport:
    """What screening found in an accepted document.

    `puid` is its PRONOM identifier, several with blanks between where FIDO cannot tell, "" where it knows none.
    `antivirus` is "none-configured" or "clamav <engine>/<signatures>". `flags` are among signed, javascript,
    attachments, encrypted-owner (usage restrictions only), xfa, macros. `pages` is 0 for formats without pages.
    """

    media_type: str
    format: str
    antivirus: str
    flags: tuple[str, ...]
    pages: int
    size: int
    puid: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give the report as strings, integers and lists, ready for the manifest."""
        return {
            "media_type": self.media_type,
            "format": self.format,
            "antivirus": self.antivirus,
            "flags": list(self.flags),
            "pages": self.pages,
            "size": self.size,
            "puid": self.puid,
        }


@dataclass(frozen=True, slots=True)
class _Sentence:
    en: str
    fr: str
    remedy: str


# The `{detail}` of a refusal is an English fragment meant for engineers; the French sentence stands without it.
_SENTENCES = {
    "EMPTY": _Sentence("The file is empty.", "Le fichier est vide (zéro octet).", "Send the file again."),
    "TOO_LARGE": _Sentence(
        "The file goes beyond the limits of a deposit: {detail}.",
        "Le fichier dépasse les limites d’un dépôt (taille, nombre de pages ou de pixels, contenu compressé).",
        "Split the document or lower the resolution of the scan.",
    ),
    "MALWARE": _Sentence(
        "The antivirus found malicious content: {detail}.",
        "Un contenu malveillant a été trouvé dans ce fichier.",
        "Clean the machine the file comes from, then send a healthy copy.",
    ),
    "DAMAGED": _Sentence(
        "The file is damaged or cut off: {detail}.",
        "Le fichier est endommagé ou incomplet ; il ne peut pas être lu jusqu’au bout.",
        "Open the file, save or export it again, and send the new copy.",
    ),
    "ENCRYPTED": _Sentence(
        "The file is protected: {detail}.",
        "Le fichier est protégé par un mot de passe : personne ne pourrait plus le lire dans quelques années.",
        "Send a copy without a password.",
    ),
    "NO_PAGES": _Sentence(
        "The document has no page.", "Le document ne contient aucune page.", "Export the document again."
    ),
    "FORMAT_UNKNOWN": _Sentence(
        "The format is not accepted: {detail}.",
        "Le format du fichier n’est pas reconnu ou n’est pas accepté "
        "(acceptés : PDF, JPEG, PNG, TIFF, DOCX, ODT, XML, CSV, texte).",
        "Convert the document to one of the accepted formats, preferably PDF.",
    ),
    "FORMAT_MISMATCH": _Sentence(
        "The name and the content disagree: {detail}.",
        "L’extension du nom ne correspond pas au contenu du fichier.",
        "Give the file the extension of its real format, or send the right file.",
    ),
    "POLYGLOT": _Sentence(
        "The file can be read as two different formats: {detail}.",
        "Le fichier peut être lu comme deux formats différents, donc comme deux documents différents.",
        "Export the document again with ordinary software.",
    ),
}


def refusal(code: str, detail: str = "") -> RefusedDocumentError:
    """Build the refusal of `code`; `detail` is an English fragment without a final stop."""
    sentence = _SENTENCES[code]
    return RefusedDocumentError(
        code, sentence.en.format(detail=detail or "no detail"), sentence.fr, remedy=sentence.remedy
    )


def screen(path: Path, name: str, limits: Limits, clamd: str | None) -> ScreenReport:
    """Screen the file at `path`, which the depositor calls `name`; `clamd` is the daemon's address or None.

    Raises RefusedDocumentError (see the module); ServiceUnavailableError with code `ANTIVIRUS_DOWN`,
    `ANTIVIRUS_LIMIT`, `WORKER_DOWN` or `WORKER_SLOW` (try again; the document is neither accepted nor refused);
    OSError when the file cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        raise refusal("EMPTY")
    if size > limits.max_bytes:
        raise refusal("TOO_LARGE", f"it has {size} bytes, the limit is {limits.max_bytes}")
    if file_carries_test_signature(path):
        raise refusal("MALWARE", "the antivirus test signature (EICAR)")
    engine = _scan(path, clamd)
    found = _identify(path, name)
    facts = _inspect(path, found, limits, clamd)
    return ScreenReport(
        media_type=found.media_type,
        format=str(facts.get("format", found.name)),
        antivirus=engine,
        flags=tuple(facts["flags"]),
        pages=int(facts["pages"]),
        size=size,
        puid=_puid(path, found, limits),
    )


def _scan(path: Path, clamd: str | None) -> str:
    if not clamd:
        return NO_ANTIVIRUS
    engine = antivirus.version(clamd)
    found = antivirus.scan(path, clamd).found
    if found:
        raise refusal("MALWARE", found)
    return engine


def _identify(path: Path, name: str) -> Format:
    sniffed = formats.sniff(path)
    found = sniffed.format
    extension = PurePath(name).suffix.lower()
    if found is None:
        raise refusal("FORMAT_UNKNOWN", "its content is none of the known formats")
    if sniffed.second:
        raise refusal("POLYGLOT", f"{found.name} and {sniffed.second}")
    if not formats.agrees(name, found):
        raise refusal("FORMAT_MISMATCH", f"the name ends in {extension}, the content is {found.name}")
    if not found.accepted:
        raise refusal("FORMAT_UNKNOWN", f"{found.name} is not in the list of accepted formats")
    if found is formats.PDF:
        reason = pdf_bytes.damage(path)
        if reason:
            raise refusal("DAMAGED", reason.rstrip("."))
    return formats.settle(name, found)


def _inspect(path: Path, found: Format, limits: Limits, clamd: str | None) -> dict[str, Any]:
    """Parse the document in the isolated child; with an antivirus, also scan what the child extracted."""
    if found in (formats.TEXT, formats.CSV):
        return {"pages": 0, "flags": []}
    if not clamd:
        return _facts(*_inspector(path, found, limits, ""), limits)
    with tempfile.TemporaryDirectory(prefix="minutier-screen-") as extract:
        facts = _facts(*_inspector(path, found, limits, extract), limits)
        for part in sorted(Path(extract).iterdir()):
            hidden = antivirus.scan(part, clamd).found
            if hidden:
                raise refusal("MALWARE", f"{hidden} inside the document")
    return facts


def _puid(path: Path, found: Format, limits: Limits) -> str:
    """Ask for the PRONOM identifier; a document on which FIDO stumbles has none, and is no worse for it."""
    if (known := pronom.known_without_reading(found)) is not None:
        return known
    try:
        puid: str = run_isolated(
            "tasks.pronom:identify",
            {"path": str(path.resolve()), "format_name": found.name},
            timeout=_PATIENCE * limits.base_seconds,
            cpu_seconds=limits.base_seconds,
            memory_bytes=limits.memory_bytes,
        )
    except IsolationFaultError:
        return ""
    return puid


def _facts(function: str, arguments: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Parse in the child. Using up its CPU time or memory is the document's doing; the mere clock is the machine's."""
    try:
        facts: dict[str, Any] = run_isolated(
            function,
            arguments,
            timeout=_PATIENCE * limits.base_seconds,
            cpu_seconds=limits.base_seconds,
            memory_bytes=limits.memory_bytes,
        )
    except IsolationFaultError as fault:
        if fault.code == "TIMEOUT":
            raise ServiceUnavailableError(
                "WORKER_SLOW",
                "The machine is too busy to read this document in time.",
                remedy="Nothing is lost: the document waits. Try again when the load is lower.",
            ) from fault
        code = "TOO_LARGE" if fault.code in {"CPU", "MEMORY"} else "DAMAGED"
        raise refusal(code, f"reading it did not end well ({fault.code})") from fault
    if "refused" in facts:
        raise refusal(str(facts["refused"]), str(facts["detail"]))
    return facts


def _inspector(path: Path, found: Format, limits: Limits, extract: str) -> tuple[str, dict[str, Any]]:
    file = str(path.resolve())
    if found is formats.PDF:
        arguments: dict[str, Any] = {
            "path": file,
            "max_pages": limits.max_pages,
            "max_bytes": limits.max_bytes,
            "extract": extract,
        }
        return "tasks.inspection:inspect_pdf", arguments
    if found in _IMAGES:
        arguments = {"path": file, "max_pages": limits.max_pages, "max_pixels": limits.max_pixels}
        return "tasks.inspection:inspect_image", arguments
    if found in _PACKAGES:
        arguments = {
            "path": file,
            "format_name": found.name,
            "max_bytes": limits.max_bytes,
            "max_expansion": limits.max_expansion,
            "max_members": limits.max_members,
        }
        return "tasks.inspection:inspect_package", arguments
    return "tasks.inspection:inspect_xml", {"path": file}
