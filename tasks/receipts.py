"""What a depositor gets back at the door: the receipt of each line, and the report on its dossiers and its rules.

Neither is signed: the attestation is. A folder that cannot be written stops nothing, and is said in the report.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minutier.errors import ServiceUnavailableError
from storage.catalogue import Deposit
from storage.files import write_durably

_STATES = {"ARCHIVED": "archivé", "REFUSED": "refusé", "ABANDONED": "abandonné"}


def receipt_line(number: int, deposit: Deposit) -> dict[str, str | int]:
    """Give the answer to one line of a manifest (docs/format/bordereau-v1.md §2)."""
    return {
        "ligne": number,
        "reference": deposit.reference,
        "etat": _STATES.get(deposit.state, "en cours"),
        "archive_id": deposit.archive_id,
        "empreinte": deposit.fingerprint,
        "motif": deposit.refusal_code or "",
        "explication": deposit.refusal_fr or "",
    }


def write_receipt(path: Path, lines: list[dict[str, str | int]]) -> str:
    """Write the receipt of a batch; gives why it could not be, or nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else ["ligne"], delimiter=";")
    writer.writeheader()
    # A cell that begins like a formula would be run by a spreadsheet.
    writer.writerows({k: f"'{v}" if str(v)[:1] in "=+-@\t\r" and v else v for k, v in line.items()} for line in lines)
    return _write(path, text.getvalue().encode("utf-8-sig"))


def write_report(path: Path, report: Mapping[str, Any]) -> str:
    """Write what a batch found for its depositor, in French then in English; gives why it could not be, or nothing.

    Dossiers, then rules that lines break. It names lines, fields and rules, and repeats no value.
    """
    parts = []
    for language, title, heading, none in (
        ("fr", "RAPPORT DU LOT", "Lignes à corriger ou à vérifier", "Aucune remarque."),
        ("en", "REPORT ON THE BATCH", "Lines to correct or to check", "Nothing to say."),
    ):
        parts += [f"{title} {report['batch']}", "", "Dossiers"]
        for each in report.get("dossiers", ()):
            parts.append(f"  {each['dossier']} ({each['operation']}) : {each[language]}")
        parts += ["", heading]
        parts += [_finding_words(each, language) for each in report["findings"]] or [f"  {none}"]
        parts += ["", ""]
    return _write(path, "\n".join(parts).encode("utf-8"))


def _finding_words(finding: Mapping[str, Any], language: str) -> str:
    refused = finding["level"] == "refuse"
    if not finding["line"]:  # about the batch as a whole
        return f"  {'whole batch' if language == 'en' else 'lot entier'}, {finding['rule']} : {finding[language]}"
    if language == "en":
        act = "REFUSED, correct and send again" if refused else "taken, to be checked"
        return f"  line {finding['line']}, field {finding['field']}, rule {finding['rule']}: {finding['en']} [{act}]"
    act = "REFUSÉE, à corriger et à renvoyer" if refused else "acceptée, à vérifier"
    return f"  ligne {finding['line']}, champ {finding['field']}, règle {finding['rule']} : {finding['fr']} [{act}]"


def _write(path: Path, data: bytes) -> str:
    try:
        write_durably(path, data, mode=0o644)
    except ServiceUnavailableError as error:
        return f"not written: {error.message}"
    except OSError as error:
        return f"not written: {error.strerror}"
    return ""
