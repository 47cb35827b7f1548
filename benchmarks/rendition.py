"""Speed of the rendition step, against a named baseline: the `ocrmypdf` command on the same files in the same run.

    uv run python -m benchmarks.rendition --documents 40 --json

Both sides make PDF/A-2b without OCR from generated born-digital papers, one document at a time, and validate what they
wrote (`ocrmypdf --pdfa-backend internal` rests on the same validator). Ours runs in its isolated child, warm. The
papers lack the empty slide-show key that reportlab writes and the baseline refuses, so that both do the same work.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pikepdf

from benchmarks.rig import load_average, machine, say, scratch
from tasks.limits import Limits
from tasks.render import render
from tasks.samples.paper import Paper, draw

_SENTENCE = "Le présent document atteste la remise des pièces du dossier, dont la liste figure ci-dessus. "


def papers(directory: Path, count: int, pages: int) -> list[Path]:
    """Write `count` different papers of about `pages` pages."""
    files = []
    for number in range(count):
        text = f"Dossier n° {number}. " + _SENTENCE * (6 if pages == 1 else 44 * pages)
        paper = Paper("Service des essais", f"Attestation {number}", "", (("Numéro", str(number)),), (("Objet", text),))
        path = directory / f"{number:04d}.pdf"
        with pikepdf.open(io.BytesIO(draw(paper))) as pdf:
            for page in pdf.pages:
                if "/Trans" in page.obj:
                    del page.obj["/Trans"]
            pdf.save(path)
        files.append(path)
    return files


def archival_papers(directory: Path, count: int, kilobytes: int) -> list[Path]:
    """Write `count` different PDF/A-2b papers: a page of text with one image of `kilobytes` kB, never the same."""
    side, files = int((1000 * kilobytes) ** 0.5), []
    (paper,) = papers(directory, 1, 1)
    with pikepdf.open(paper) as pdf:
        image = pikepdf.Stream(pdf, bytes(side * side))
        image.Type, image.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
        image.Width = image.Height = side
        image.ColorSpace, image.BitsPerComponent = pikepdf.Name.DeviceGray, 8
        name = pdf.pages[0].add_resource(image, pikepdf.Name.XObject)
        pdf.pages[0].contents_add(f"q 200 0 0 200 300 60 cm {name} Do Q".encode())
        pdf.save(directory / "drawn.pdf")
    converted, first = directory / "converted.pdf", random.Random(0).randbytes(side * side)
    render(directory / "drawn.pdf", "application/pdf", converted, Limits(), 1)
    with pikepdf.open(converted) as pdf:
        pdf.pages[0].images[name].write(first)  # without a filter: others take its place byte for byte
        pdf.save(paper, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)
    report = render(paper, "application/pdf", converted, Limits(), 1)
    if report.rung != "pdfa-original":
        raise RuntimeError(f"the paper is not PDF/A: {report.verdict} {report.reason} {report.findings}")
    before, after = paper.read_bytes().split(first)
    for number in range(count):
        path = directory / f"{number:06d}.pdf"
        path.write_bytes(before + random.Random(number).randbytes(side * side) + after)
        files.append(path)
    return files


def timed(call: Callable[[Path], None], files: list[Path]) -> list[float]:
    """Call once per file; give the wall seconds of each."""
    times = []
    for path in files:
        started = time.perf_counter()
        call(path)
        times.append(time.perf_counter() - started)
    return times


def _ours(path: Path) -> None:
    report = render(path, "application/pdf", path.with_suffix(".ours"), Limits(), 1)
    if report.verdict != "passed":
        raise SystemExit(f"{path.name}: {report.verdict} {report.reason}")


def _baseline(program: str, path: Path) -> None:
    command = [program, "--quiet", "--mode", "skip", "--ocr-engine", "none", "--output-type", "pdfa-2"]
    command += ["--pdfa-backend", "internal", "--optimize", "0", "-j", "1", str(path), str(path.with_suffix(".theirs"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise SystemExit(f"ocrmypdf ended with {done.returncode}: {done.stderr[-300:]}")


def _rate(times: list[float]) -> dict[str, float]:
    return {
        "documents_per_second": round(len(times) / sum(times), 2),
        "median_ms": round(1000 * statistics.median(times), 1),
        "p95_ms": round(1000 * sorted(times)[max(0, int(len(times) * 0.95) - 1)], 1),
    }


def ocrmypdf_command() -> str | None:
    """Find ocrmypdf and what it needs; None, with a sentence for the reader, when something is absent."""
    program = Path(sys.executable).with_name("ocrmypdf")
    command = str(program) if program.exists() else shutil.which("ocrmypdf")
    absent = [name for name in ("tesseract", "gs") if shutil.which(name) is None]
    if command is None:
        say("rendition: no baseline, ocrmypdf is absent (uv sync installs it)")
        return None
    if absent:
        say(f"rendition: no baseline, {' and '.join(absent)} absent (apt-get install tesseract-ocr ghostscript)")
        return None
    return command


def measure(documents: int, baseline: int, pages: int) -> dict[str, Any]:
    """Run both sides and give their rates and the ratio ours/baseline (None without the baseline)."""
    command = ocrmypdf_command() if baseline else None
    load = load_average()
    with scratch() as directory:
        say(f"rendition: {documents} documents of {pages} page(s)")
        files = papers(directory, documents, pages)
        _ours(files[0])  # starts and warms the worker
        ours = _rate(timed(_ours, files))
        theirs = None
        if command:
            say(f"rendition: {min(baseline, documents)} documents by ocrmypdf")
            _baseline(command, files[0])
            theirs = _rate(timed(lambda path: _baseline(command, path), files[:baseline]))
    ratio = ours["documents_per_second"] / theirs["documents_per_second"] if theirs else None
    return {
        "machine": machine(),
        "load_before_and_after": [load, load_average()],
        "documents": documents,
        "pages": pages,
        "minutier": ours,
        "baseline": "ocrmypdf command, mode skip, no OCR, pdfa-2, internal back end",
        "baseline_documents": min(baseline, documents) if theirs else 0,
        "ocrmypdf": theirs,
        "ratio": round(ratio, 1) if ratio else None,
    }


def rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Lay the result out as (what, figure, detail)."""
    lines = []
    for name, what in (("minutier", "rendition"), ("ocrmypdf", "baseline: ocrmypdf command")):
        rate = result[name]
        if rate:
            detail = f"median {rate['median_ms']:.0f} ms, 95 % under {rate['p95_ms']:.0f} ms"
            if name == "ocrmypdf":
                detail += f", ratio {result['ratio']}"
            lines.append((what, f"{rate['documents_per_second']:.1f} documents/s", detail))
    return lines


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=40, help="documents rendered by us (default 40)")
    parser.add_argument("--baseline", type=int, default=5, help="of these, rendered by ocrmypdf too; 0 skips it")
    parser.add_argument("--pages", type=int, default=1, help="pages per document, about (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    result = measure(options.documents, options.baseline, options.pages)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for what, figure, detail in rows(result):
        print(f"{what:28} {figure:>20}   {detail}")


if __name__ == "__main__":
    main()
