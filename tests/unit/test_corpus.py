"""Real documents: each ends in a report or in a refusal; none crashes or hangs. Folder: MINUTIER_CORPUS."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from minutier.errors import RefusedDocumentError
from tasks.limits import Limits
from tasks.render import render
from tasks.screen import refusal, screen

_ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("MINUTIER_CORPUS") or _ROOT.parent / "shared" / "corpus")
FILES = sorted(path for path in CORPUS.iterdir() if path.is_file()) if CORPUS.is_dir() else []

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not FILES, reason=f"no folder of real documents at {CORPUS} (set MINUTIER_CORPUS)"),
]


def test_every_real_document_ends_in_a_report_or_a_refusal(tmp_path: Path) -> None:
    limits, seen = Limits(), Counter[str]()
    for path in FILES:
        try:
            found = screen(path, path.name, limits, None)
        except RefusedDocumentError as error:
            assert error.code == refusal(error.code).code
            seen[error.code] += 1
            continue
        output = tmp_path / "rendition.pdf"
        report = render(path, found.media_type, output, limits, found.pages)
        seen[f"{report.rung} {report.verdict}"] += 1
        assert report.reason not in {"CRASH", "TIMEOUT", "CPU", "MEMORY", "ERROR"}, (path.name, report)
        assert report.drawing_equal is not False, path.name
        assert output.exists() == report.has_file
        if report.rung == "pdfa-original":
            # The suite's own name says when a file breaks the norm: none of these may be passed through as it is.
            assert "-fail-" not in path.name
    assert sum(seen.values()) == len(FILES)
    # These documents are sound: readers open every one of them.
    assert not {"DAMAGED", "FORMAT_UNKNOWN", "FORMAT_MISMATCH", "POLYGLOT"} & set(seen), seen
    assert seen["pdfa-structural passed"] + seen["pdfa-original passed"] + seen["pdfa-image passed"] > len(FILES) // 2
