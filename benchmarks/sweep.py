"""Speed of the integrity sweep, against a named baseline in the same run: hashlib over the same bytes.

    uv run python -m benchmarks.sweep --json

The sweep re-reads every copy from its store, computes both digests (SHA-256 and SHA3-512), compares, and records each
copy as checked in PostgreSQL. The baseline reads the same files of the same stores, in the same order, and computes
the same two digests, one after the other. Both find the files in the memory of the system: what is compared is the
work beside the disk. Two sets: a few large documents (MB/s) and many small papers (copies per second).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.rendition import papers
from benchmarks.rig import deposit, load_average, machine, running, say, scratch
from storage.archive import Archive
from storage.sweep import sweep

BASELINE = "hashlib.sha256 and hashlib.sha3_512 over the same files, in one process"
_ROUNDS = 3
_BLOCK = 1 << 20
_LINE = "Numéro;Nom;Montant;{:08d}\n"


def measure(large: int, megabytes: int, small: int) -> dict[str, Any]:
    """Sweep `large` text documents of `megabytes` MB, then `small` one-page papers; give rates and ratios.

    Each figure is the median of three rounds, ours and the baseline taking turns.
    """
    result: dict[str, Any] = {"machine": machine(), "baseline": BASELINE}
    load = load_average()
    with scratch() as directory:
        for name, count in (("large", large), ("small", small)):
            place = directory / name
            place.mkdir(mode=0o711)
            with running(place) as rig:
                say(f"sweep: depositing {count} {name} documents")
                made = papers(place, count, 1) if name == "small" else _texts(place, count, megabytes)
                deposit(rig.archive, made)
                result[name] = _compare(rig.archive, place / "home" / "replicas")
    result["load_before_and_after"] = [load, load_average()]
    return result


def _compare(archive: Archive, replicas: Path) -> dict[str, Any]:
    files = sorted(replicas.rglob("*.bin"))
    _digest(files)  # brings them into memory
    ours, theirs = [], []
    copies = read = 0
    for round_number in range(1, _ROUNDS + 1):
        say(f"sweep: round {round_number} of {_ROUNDS}")
        started = time.perf_counter()
        report = sweep(archive, budget=timedelta(hours=1))
        ours.append(time.perf_counter() - started)
        if report.verdict != "clean" or report.remaining:
            raise RuntimeError(f"the sweep ended {report.verdict}, {report.remaining} copies not read")
        copies, read = report.copies, report.bytes_read
        started = time.perf_counter()
        _digest(files)
        theirs.append(time.perf_counter() - started)
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "copies": copies,
        "megabytes": round(read / 1e6, 1),
        "minutier": {"mb_per_second": round(read / 1e6 / mine, 1), "copies_per_second": round(copies / mine, 1)},
        "hashlib": {"mb_per_second": round(read / 1e6 / other, 1), "copies_per_second": round(copies / other, 1)},
        "ratio": round(other / mine, 2),
    }


def _digest(files: list[Path]) -> None:
    for path in files:
        first, second = hashlib.sha256(), hashlib.sha3_512()
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                first.update(block)
                second.update(block)
        first.hexdigest(), second.hexdigest()


def _texts(directory: Path, count: int, megabytes: int) -> list[Path]:
    """Write `count` different CSV files: a format that has no rendition, so that the sizes are known."""
    made = []
    for number in range(count):
        path = directory / f"{number:04d}.csv"
        line = _LINE.format(number).encode()
        path.write_bytes(line * (megabytes * 1_000_000 // len(line)))
        made.append(path)
    return made


def rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Lay the result out as (what, figure, detail)."""
    large, small = result["large"], result["small"]
    return [
        (
            "sweep, large documents",
            f"{large['minutier']['mb_per_second']:.0f} MB/s",
            f"hashlib {large['hashlib']['mb_per_second']:.0f} MB/s, ratio {large['ratio']}",
        ),
        (
            "sweep, one-page papers",
            f"{small['minutier']['copies_per_second']:.0f} copies/s",
            f"hashlib {small['hashlib']['copies_per_second']:.0f} copies/s, ratio {small['ratio']}",
        ),
    ]


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=4, help="large documents (default 4)")
    parser.add_argument("--megabytes", type=int, default=32, help="size of each, in MB (default 32)")
    parser.add_argument("--small", type=int, default=40, help="one-page papers (default 40)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    result = measure(options.large, options.megabytes, options.small)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for what, figure, detail in rows(result):
        print(f"{what:28} {figure:>20}   {detail}")


if __name__ == "__main__":
    main()
