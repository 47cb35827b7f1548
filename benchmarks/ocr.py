"""Speed of text recognition, against a named baseline in the same run: the `ocrmypdf` command on the same pages.

    uv run python -m benchmarks.ocr --pages 10 --json

Both sides take one-page scans (300 dpi grey JPEG of generated French papers, laid on a page) and give PDF/A-2 with a
text layer, tesseract with its French data, one core. Recall: of the words that the paper was drawn with, the share
that its text layer holds. Ours runs in its isolated child and in the sandbox, warm, and compares every page with its
source.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pypdfium2

from benchmarks.rendition import ocrmypdf_command, papers, timed
from benchmarks.rig import load_average, machine, say, scratch
from tasks.isolate import run_isolated
from tasks.limits import Limits
from tasks.render import render

BASELINE = "ocrmypdf command, one job, French, pdfa-2, internal back end, no optimisation"
_WORD = re.compile(r"\w{2,}")


def scans(directory: Path, count: int) -> list[tuple[Path, Counter[str]]]:
    """Write `count` scans; gives each with the words that it was drawn with."""
    made = []
    for path in papers(directory, count, 1):
        page = pypdfium2.PdfDocument(path)[0]
        words = _words(page)
        picture = path.with_suffix(".jpg")
        page.render(scale=300 / 72, grayscale=True).to_pil().save(picture, "JPEG", quality=85, dpi=(300, 300))
        scan = path.with_suffix(".scan.pdf")
        if render(picture, "image/jpeg", scan, Limits(), 1).verdict != "passed":
            raise SystemExit(f"{picture.name} could not be laid on a page")
        made.append((scan, words))
    return made


def _words(page: Any) -> Counter[str]:
    return Counter(_WORD.findall(page.get_textpage().get_text_bounded().casefold()))


def _recall(made: Path, drawn: Counter[str]) -> float:
    return (_words(pypdfium2.PdfDocument(made)[0]) & drawn).total() / drawn.total()


def _ours(path: Path) -> None:
    arguments = {"original": str(path), "output": str(path.with_suffix(".ours"))}
    answer = run_isolated("tasks.ocr:recognise", arguments, timeout=120)
    if answer["verdict"] != "passed":
        raise SystemExit(f"{path.name}: {answer['reason']}")


def _theirs(program: str, path: Path) -> None:
    command = [program, "--quiet", "-l", "fra", "-j", "1", "--output-type", "pdfa-2", "--pdfa-backend", "internal"]
    command += ["--optimize", "0", str(path), str(path.with_suffix(".theirs"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise SystemExit(f"ocrmypdf ended with {done.returncode}: {done.stderr[-300:]}")


def measure(pages: int) -> dict[str, Any] | None:
    """Recognise so many pages by both sides, taking turns; None, with a sentence, where the baseline is absent."""
    command, load = ocrmypdf_command(), load_average()
    if command is None:
        return None
    with scratch() as directory:
        say(f"ocr: drawing {pages} scans")
        made = scans(directory, pages + 1)
        _ours(made[0][0])  # starts and warms the worker
        ours, theirs = [], []
        for number, (path, _) in enumerate(made[1:], 1):
            ours += timed(_ours, [path])
            theirs += timed(lambda path: _theirs(command, path), [path])
            say(f"ocr: page {number} of {pages}")
        recalls = {
            side: sum(_recall(path.with_suffix(f".{side}"), drawn) for path, drawn in made[1:]) / pages
            for side in ("ours", "theirs")
        }
    return {
        "machine": machine(),
        "load_before_and_after": [load, load_average()],
        "pages": pages,
        "baseline": BASELINE,
        "minutier": {"seconds_per_page": round(sum(ours) / pages, 2), "recall": round(recalls["ours"], 4)},
        "ocrmypdf": {"seconds_per_page": round(sum(theirs) / pages, 2), "recall": round(recalls["theirs"], 4)},
        "ratio": round(sum(theirs) / sum(ours), 2),
    }


def rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Lay the result out as (what, figure, detail)."""
    return [
        (what, f"{result[name]['seconds_per_page']:.2f} s a page", f"recall {result[name]['recall']:.1%}{more}")
        for name, what, more in (
            ("minutier", "recognised text", ""),
            ("ocrmypdf", "baseline: ocrmypdf command", f", ratio {result['ratio']}"),
        )
    ]


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=10, help="pages for each side (default 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    result = measure(options.pages)
    if result is None:
        raise SystemExit(2)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for what, figure, detail in rows(result):
        print(f"{what:28} {figure:>20}   {detail}")


if __name__ == "__main__":
    main()
