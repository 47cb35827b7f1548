"""Speed of the deposit: documents per second, against a named baseline in the same run: a shell script.

    uv run python -m benchmarks.deposit --json

Ours is the real path of flows/deposit.py on the embedded parts, its steps called as plain functions, one document
after the other; `--prefect` also measures the same through the Prefect server. The baseline
(benchmarks/baseline_deposit.sh) does per document what openssl, cp, sync and psql can do. It neither screens, renders,
encrypts, locks, journals nor attests: two ratios are given, of the whole journey and without screening and rendering.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import through_prefect
from benchmarks.rendition import papers
from benchmarks.rig import Journey, Rig, deposit, load_average, machine, running, say, scratch
from tasks import postgres_programs

BATCHES = (1, 10, 100)
BASELINE = "baseline_deposit.sh: openssl dgst ×2, openssl cms, openssl ts, cp ×2 + sync + cmp, psql; one token each"
_SCRIPT = Path(__file__).with_name("baseline_deposit.sh")
_AT_ONCE = 4  # as in flows/deposit.py


def measure(documents: int, baseline: int, *, prefect: bool = False) -> dict[str, Any]:
    """Deposit in batches of each size, then by four threads, then by the script; give rates and ratios.

    `documents` is the size of the greatest batch. The ratios compare the script with batches of the greatest size and
    of one document; they are None when `baseline` is 0 or openssl is not there.
    """
    sizes = sorted({min(size, documents) for size in BATCHES})
    slices = _slices(baseline, len(sizes))
    load = load_average()
    with scratch() as directory, running(directory) as rig:
        say("deposit: writing the papers")
        wanted = sum(max(size, min(documents, 20)) for size in sizes) + documents + baseline + 2
        files = iter(papers(directory, wanted, 1))
        deposit(rig.archive, [next(files)])  # warms the isolated worker, the pool and every import
        script = Script(rig, directory, next(files)) if any(slices) else None
        batches = {}
        for size, part in zip(sizes, slices, strict=True):
            total = Journey()
            while total.documents < max(size, min(documents, 20)):
                total.add(deposit(rig.archive, [next(files) for _ in range(size)]))
                if total.documents % 10 == 0:
                    say(f"deposit: {total.documents} documents in batches of {size}")
            batches[str(size)] = total.as_dict()
            if script and part:
                script.run([next(files) for _ in range(part)])
        together = _four_at_once(rig, [next(files) for _ in range(documents)])
        say(f"deposit: {documents} documents by {_AT_ONCE} threads")
    greatest = batches[str(sizes[-1])]
    theirs = script.as_dict() if script else None
    result: dict[str, Any] = {
        "machine": machine(),
        "load_before_and_after": [load, load_average()],
        "batches": batches,
        "four_threads": together,
        "baseline": BASELINE,
        "script": theirs,
        "ratio": _ratio(greatest["ms_per_document"], theirs),
        "ratio_one_by_one": _ratio(batches["1"]["ms_per_document"], theirs),
        "ratio_without_screen_and_render": _ratio(_without(greatest), theirs),
    }
    if prefect:
        result["prefect"] = through_prefect.measure(documents)
    return result


def _without(found: dict[str, Any]) -> float:
    steps = found["steps_ms_per_document"]
    return float(found["ms_per_document"]) - float(steps["screen"]) - float(steps["render"])


def _ratio(ours: float, script: dict[str, Any] | None) -> float | None:
    """Give how many times faster than the script (under 1: slower); both in milliseconds per document."""
    return round(script["ms_per_document"] / ours, 2) if script else None


def _four_at_once(rig: Rig, files: list[Path]) -> dict[str, Any]:
    """Four threads, each with a batch of its own, as four deposit runs at once would be."""
    parts = [files[start::_AT_ONCE] for start in range(_AT_ONCE)]
    started = time.perf_counter()
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        done = sum(found.documents for found in threads.map(lambda part: deposit(rig.archive, part), parts))
    seconds = time.perf_counter() - started
    return {"documents": done, "documents_per_second": round(done / seconds, 2), "threads": _AT_ONCE}


def _slices(baseline: int, parts: int) -> list[int]:
    """Split the script's documents between the sizes of batch, so that both sides meet the same load."""
    if baseline and shutil.which("openssl") is None:
        say("deposit: no baseline, the openssl command is absent (Debian, Ubuntu: apt-get install openssl)")
        return [0] * parts
    return [baseline // parts + (number < baseline % parts) for number in range(parts)]


class Script:
    """The shell script, short or whole, on the same kind of papers, disk, PostgreSQL and certificates."""

    def __init__(self, rig: Rig, directory: Path, first: Path, ocrmypdf: str | None = None) -> None:
        """`ocrmypdf` names the command: the script then makes renditions and encrypts, too (`SERVICE=whole`)."""
        self._ocrmypdf = ocrmypdf
        self._work = directory / ("baseline-whole" if ocrmypdf else "baseline")
        self._work.mkdir()
        self._url = rig.database_url
        authority = rig.authority
        for source in (authority.root, authority.seal_certificate, authority.seal_key):
            shutil.copy(source, self._work / source.name)
        for source in (authority.tsa_certificate, authority.tsa_key):
            shutil.copy(source, self._work / source.name)
        self._documents, self._seconds = 0, 0.0
        self._call([first])  # makes its table, fills the caches of the system

    def run(self, files: list[Path]) -> float:
        """Archive some files and count the time; gives the seconds."""
        say(f"deposit: {len(files)} documents by the shell script")
        started = time.perf_counter()
        self._call(files)
        seconds = time.perf_counter() - started
        self._seconds += seconds
        self._documents += len(files)
        return seconds

    def as_dict(self) -> dict[str, Any]:
        """Give the rates of all runs together."""
        return {
            "documents": self._documents,
            "documents_per_second": round(self._documents / self._seconds, 2),
            "ms_per_document": round(1000 * self._seconds / self._documents, 1),
        }

    def _call(self, files: list[Path]) -> None:
        command = ["bash", str(_SCRIPT), str(self._work), self._url, *map(str, files)]
        environment = dict(os.environ) | {"PSQL": str(postgres_programs.program("psql"))}
        if self._ocrmypdf:
            environment |= {"SERVICE": "whole", "OCRMYPDF": self._ocrmypdf}
        subprocess.run(command, env=environment, check=True, timeout=3600)


def rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Lay the result out as (what, figure, detail)."""
    lines = [
        (
            f"deposit, batches of {size}",
            f"{found['documents_per_second']:.1f} documents/s",
            f"{found['ms_per_document']:.0f} ms each",
        )
        for size, found in result["batches"].items()
    ]
    four = result["four_threads"]
    lines.append((f"deposit, {four['threads']} threads", f"{four['documents_per_second']:.1f} documents/s", ""))
    if result.get("prefect"):
        through = result["prefect"]
        lines.append(("deposit, through Prefect", f"{through['documents_per_second']:.1f} documents/s", ""))
    script = result["script"]
    if script:
        detail = (
            f"ratio {result['ratio']} (one by one {result['ratio_one_by_one']}, "
            f"without screening and rendering {result['ratio_without_screen_and_render']})"
        )
        lines.append(("baseline: shell script", f"{script['documents_per_second']:.1f} documents/s", detail))
    return lines


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100, help="documents of the greatest batch (default 100)")
    parser.add_argument("--baseline", type=int, default=30, help="documents of the script; 0 skips it (default 30)")
    parser.add_argument("--prefect", action="store_true", help="also through the Prefect server (a minute more)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    result = measure(options.documents, options.baseline, prefect=options.prefect)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for what, figure, detail in rows(result):
        print(f"{what:28} {figure:>20}   {detail}")


if __name__ == "__main__":
    main()
