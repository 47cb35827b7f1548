"""Office documents laid out by LibreOffice, then written as PDF/A. These functions run in the isolated child only.

A process of its own for each document: a listener would be quicker, and would let one hostile document see the next.
Macros are off, links are never followed, and the sandbox has no network. What LibreOffice lays out is a reading of the
document, not the document: the report says which version made it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tasks import sandbox
from tasks.pdfa import answer, denied, drop_private, save_pdfa

PROGRAM = "soffice"
_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema">
{items}
</oor:items>
"""
_CHOSEN = (
    ("Common/Security/Scripting", "DisableMacrosExecution", "true"),
    ("Common/Security/Scripting", "MacroSecurityLevel", "3"),
    ("Common/Security/Scripting", "DisableActiveContent", "true"),
    ("Common/Security/Scripting", "BlockUntrustedRefererLinks", "true"),
    ("Writer/Content/Update", "Link", "0"),
    ("Writer/Content/Update", "Field", "false"),
)
_MOMENTS = ("/CreationDate", "/ModDate")


def convert_office(original: str, output: str, suffix: str) -> dict[str, Any]:
    """Lay the document out, then write it as PDF/A-2b; "failed" with a reason when either does not succeed."""
    import pikepdf
    from pikepdf import pdfa

    if not sandbox.version_of(PROGRAM):
        return answer("not_checked", "original-only", "NO_CONVERTER", pages=0)
    with tempfile.TemporaryDirectory(prefix=".office-", dir=Path(output).parent) as directory:
        folder = Path(directory)
        shutil.copyfile(original, folder / f"document{suffix}")
        _write_settings(folder / "profile" / "user")
        done = sandbox.run_program(_command(folder, suffix), folder)
        laid = folder / "document.pdf"
        if not laid.is_file() or laid.stat().st_size == 0:
            told = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-200:]
            return _with_engine(answer("failed", "original-only", "OFFICE_FAILED", pages=0, findings=[told]))
        try:
            with pikepdf.open(laid, attempt_recovery=False, suppress_warnings=True) as pdf:
                pages = len(pdf.pages)
                changes = [_sentence(), *drop_private(pdf)]
                for key in _MOMENTS:  # the moment of the laying out, which is no date of the document
                    if key in pdf.docinfo:
                        del pdf.docinfo[key]
                if "/ID" in pdf.trailer:  # drawn anew each time
                    del pdf.trailer["/ID"]
                prepared = save_pdfa(pdf, Path(output), "2b")
        except pdfa.PdfaError as error:
            return _with_engine(denied(error.report, "original-only", "2b") | {"pages": pages})
        except pikepdf.PdfError:
            return _with_engine(answer("failed", "original-only", "OFFICE_FAILED", pages=0))
    passed = answer("passed", "pdfa-office", flavour="2b", pages=pages, changes=[*changes, *prepared])
    return _with_engine(passed)


def _command(folder: Path, suffix: str) -> list[str]:
    place = sandbox.WORK if sandbox.walls() != "limits only" else str(folder)
    kind = "writer_pdf_Export"
    options = [f"-env:UserInstallation=file://{place}/profile", "--headless", "--norestore", "--nolockcheck"]
    return [PROGRAM, *options, "--convert-to", f"pdf:{kind}", f"document{suffix}"]


def _write_settings(folder: Path) -> None:
    folder.mkdir(parents=True)
    items = "\n".join(
        f'<item oor:path="/org.openoffice.Office.{path}"><prop oor:name="{name}" oor:op="fuse">'
        f"<value>{value}</value></prop></item>"
        for path, name, value in _CHOSEN
    )
    (folder / "registrymodifications.xcu").write_text(_SETTINGS.format(items=items), encoding="utf-8")


def _sentence() -> str:
    version = sandbox.version_of(PROGRAM)
    return f"Laid out by LibreOffice {version}: another program may break lines and pages elsewhere."


def _with_engine(found: dict[str, Any]) -> dict[str, Any]:
    found["tools"] = {**found["tools"], "libreoffice": sandbox.version_of(PROGRAM), "sandbox": sandbox.walls()}
    return found
