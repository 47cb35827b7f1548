"""Rendition: a PDF/A copy for reading in decades, beside the untouched original, with a verdict about it.

`render` never changes the original and never loses it: whatever goes wrong with the rendition becomes a verdict with a
reason code. Codes: NO_CONVERTER, PDFA_NOT_CHECKED, PDFA_NOT_PASSED, DRAWING_DIFFERS, XFA_DYNAMIC, ENCRYPTED, DAMAGED,
NO_PAGES, TOO_MANY_PIXELS, IMAGE_NOT_CONVERTIBLE, OFFICE_FAILED, and TIMEOUT, CPU, MEMORY, CRASH, ERROR from the
isolated child.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from tasks import formats
from tasks.isolate import IsolationFaultError, run_isolated
from tasks.limits import Limits

Verdict = Literal["passed", "failed", "not_checked"]
Rung = Literal[
    "pdfa-original", "pdfa-structural", "pdfa-image", "pdfa-office", "pdfa-forms", "pdfa-raster", "original-only"
]
_IMAGE_TYPES = frozenset(found.media_type for found in (formats.JPEG, formats.PNG, formats.TIFF))
_OFFICE_TYPES = {found.media_type: min(found.extensions) for found in (formats.DOCX, formats.ODT)}
_OFFICE_SECONDS = 30.0
"""More for an office document: its program starts anew for each."""
_PDF_CONVERTER = "tasks.pdfa:convert_pdf"
_VALIDATOR = "pikepdf.pdfa"
# Not among them: XFA_DYNAMIC, whose pages only say "please wait", and what cannot be read at all.
_MENDED_BY_RASTER = frozenset(("PDFA_NOT_CHECKED", "PDFA_NOT_PASSED", "DRAWING_DIFFERS"))


@dataclass(frozen=True, slots=True)
class RenditionReport:
    """How the rendition was made and what was verified about it.

    `verdict` speaks of the rendition: passed (validated after writing and drawing the same pages), failed, or
    not_checked (no converter for the format, or the validator meets constructs it does not know). `rung` says what the
    rendition is; with `pdfa-original` the original itself, without a second file. `flavour` is "1b", "2b", "3b" or "".
    `drawing_equal` is None where no drawing was compared exactly. `findings` are the validator's rules, at most ten.
    `difference`, of a raster rendition, is the largest one between tiles of both drawings, 0 to 255. `tools` is empty
    when no engine gave an answer.
    """

    verdict: Verdict
    rung: Rung
    flavour: str
    validators: tuple[tuple[str, str], ...]
    changes: tuple[str, ...]
    reason: str
    pages: int
    tools: tuple[tuple[str, str], ...]
    drawing_equal: bool | None
    findings: tuple[str, ...] = ()
    difference: int | None = None

    @property
    def has_file(self) -> bool:
        """Tell whether a rendition file was written."""
        return self.rung not in {"pdfa-original", "original-only"}

    def as_dict(self) -> dict[str, Any]:
        """Give the report as strings, integers, lists and objects of them, ready for the manifest."""
        compared = {None: "not_compared", True: "equal", False: "different"}
        return {
            "verdict": self.verdict,
            "rung": self.rung,
            "flavour": self.flavour,
            "validators": dict(self.validators),
            "changes": list(self.changes),
            "reason": self.reason,
            "pages": self.pages,
            "tools": dict(self.tools),
            "drawing": compared[self.drawing_equal],
            "findings": list(self.findings),
            **({} if self.difference is None else {"difference": self.difference}),
        }


def render(original: Path, media_type: str, output: Path, limits: Limits, pages: int | None = None) -> RenditionReport:
    """Make the rendition of `original` at `output` (written whole, or absent; not synced to disk).

    `pages` (from screening) sets the time allowed; without it the cap applies. The same original gives the same bytes
    under the same tool versions. Only an environment without workers raises: ServiceUnavailableError, code
    `WORKER_DOWN`, to be tried again.
    """
    output.unlink(missing_ok=True)
    converter = _converter(media_type, limits)
    if converter is None:
        return _report({"verdict": "not_checked", "rung": "original-only", "reason": "NO_CONVERTER", "pages": 0})
    function, more, longer = converter
    seconds = longer + (limits.cap_seconds if pages is None else limits.wall_seconds(pages))
    with tempfile.TemporaryDirectory(prefix=".rendition-", dir=output.parent) as directory:
        written = Path(directory) / "rendition.pdf"
        arguments: dict[str, Any] = {"original": str(original.resolve()), "output": str(written.resolve()), **more}
        answer = _isolated(function, arguments, seconds, limits)
        if function == _PDF_CONVERTER and answer["reason"] in _MENDED_BY_RASTER:
            # Its structure is not one for PDF/A: without its form it may be, and its drawing still is.
            for mended_by in ("tasks.forms:flatten_forms", "tasks.raster:rasterise"):
                mended = _isolated(mended_by, arguments, seconds, limits)
                if mended["verdict"] == "passed":
                    mended["findings"] = [*answer.get("findings", ()), *mended.get("findings", ())]
                    answer = mended
                    break
        report = _report(answer)
        if report.has_file:
            written.replace(output)
    return report


def _converter(media_type: str, limits: Limits) -> tuple[str, dict[str, Any], float] | None:
    """Give the function that converts a format, what it is told besides, and the seconds it may take more."""
    if media_type == formats.PDF.media_type:
        return _PDF_CONVERTER, {}, 0.0
    if media_type in _IMAGE_TYPES:
        return "tasks.image_pages:convert_image", {"max_pixels": limits.max_pixels}, 0.0
    if suffix := _OFFICE_TYPES.get(media_type):
        return "tasks.office:convert_office", {"suffix": suffix}, _OFFICE_SECONDS
    return None


def _isolated(function: str, arguments: dict[str, Any], seconds: float, limits: Limits) -> dict[str, Any]:
    try:
        found: dict[str, Any] = run_isolated(function, arguments, timeout=seconds, memory_bytes=limits.memory_bytes)
        return found
    except IsolationFaultError as fault:
        return {"verdict": "failed", "rung": "original-only", "reason": fault.code, "findings": [fault.message]}


def _report(answer: dict[str, Any]) -> RenditionReport:
    tools: dict[str, str] = answer.get("tools", {})
    return RenditionReport(
        verdict=cast("Verdict", answer["verdict"]),
        rung=cast("Rung", answer["rung"]),
        flavour=str(answer.get("flavour", "")),
        validators=((_VALIDATOR, tools["pikepdf"]),) if answer.get("flavour") else (),
        changes=tuple(answer.get("changes", ())),
        reason=str(answer["reason"]),
        pages=int(answer.get("pages", 0)),
        tools=tuple(sorted(tools.items())),
        drawing_equal={"equal": True, "different": False}.get(answer.get("drawing", "")),
        findings=tuple(answer.get("findings", ())),
        difference=answer.get("difference"),
    )
