"""Speed of the integrity sweep, against a named baseline in the same run: hashlib over the same bytes.

    uv run python -m benchmarks.sweep --json

The sweep re-reads every copy from its store, computes both digests (SHA-256 and SHA3-512), compares, and records each
copy as checked in PostgreSQL; each replica has a thread of its own. The baseline reads the same files of the same
stores, in the same order, and computes the same two digests, one after the other. Both find the files in the memory of
the system: what is compared is the work beside the disk. Three sets: a few large documents, documents of 300 kB, and
one-page papers, whose copies are so small that opening them is the work. Proofs are judged once in thirty days, and
counted apart, in documents per second.

Then deposits, alone and while another process sweeps without pause: the ratio of both rates says what that costs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import statistics
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.rendition import papers
from benchmarks.rig import Rig, deposit, load_average, machine, running, say, scratch
from storage.archive import Archive
from storage.bootstrap import opened_archive
from storage.settings import load_settings
from storage.sweep import sweep

BASELINE = "hashlib.sha256 and hashlib.sha3_512 over the same files, in one process"
_ROUNDS = 5
_START = 5.0  # seconds for another process to import and open the archive
_BLOCK = 1 << 20
_LINE = "Numéro;Nom;Montant;{:08d}\n"


def measure(large: int, megabytes: int, middle: int, small: int) -> dict[str, Any]:
    """Sweep `large` documents of `megabytes` MB, `middle` of 300 kB and `small` one-page papers; give rates and ratios.

    Each figure is the median of five rounds, ours and the baseline taking turns.
    """
    result: dict[str, Any] = {"machine": machine(), "baseline": BASELINE}
    load = load_average()
    with scratch() as directory:
        for name, count, size in (("large", large, megabytes), ("middle", middle, 0.3), ("small", small, 0)):
            place = directory / name
            place.mkdir(mode=0o711)
            with running(place) as rig:
                say(f"sweep: depositing {count} {name} documents")
                deposit(rig.archive, papers(place, count, 1) if name == "small" else _texts(place, count, size))
                result[name] = _compare(rig.archive, place / "home" / "replicas")
                if name == "middle":
                    result["deposits"] = _deposits_beside(rig, place)
    result["load_before_and_after"] = [load, load_average()]
    return result


def _compare(archive: Archive, replicas: Path) -> dict[str, Any]:
    files = sorted(replicas.rglob("*.bin"))
    _digest(files)  # brings them into memory
    started = time.perf_counter()
    first = sweep(archive, budget=timedelta(hours=1))  # the one that judges the proofs, too
    with_proofs = time.perf_counter() - started
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
        "proofs": first.proofs,
        "proofs_per_second": round(first.proofs / max(with_proofs - mine, 1e-3), 1),
    }


def _deposits_beside(rig: Rig, place: Path) -> dict[str, Any]:
    """Deposit two batches without a sweep and two with one, taking turns; give both rates and their ratio."""
    rates: dict[str, list[float]] = {"alone": [], "beside": []}
    for number in range(1, 3):
        for name, found in rates.items():
            folder = place / f"{name}-{number}"
            folder.mkdir()
            batch = _texts(folder, 10, 0.3, f"{name}-{number}-")
            sweeper = multiprocessing.get_context("spawn").Process(target=_sweep_on, args=(_variables(rig),))
            if name == "beside":
                sweeper.start()
                time.sleep(_START)
            say(f"sweep: deposits, {name} {number} of 2")
            done = deposit(rig.archive, batch)
            found.append(done.documents / done.seconds)
            if name == "beside":
                if not sweeper.is_alive():
                    raise RuntimeError("the sweep beside the deposits ended early")
                sweeper.terminate()
                sweeper.join()
    alone, beside = (statistics.mean(each) for each in rates.values())
    return {"alone": round(alone, 2), "beside_a_sweep": round(beside, 2), "ratio": round(beside / alone, 2)}


def _variables(rig: Rig) -> dict[str, str]:
    settings = rig.archive.settings
    return {
        "MINUTIER_HOME": str(settings.home),
        "MINUTIER_DATABASE_URL": rig.database_url,
        "MINUTIER_TSA_URLS": ",".join(settings.tsa_urls or ()),
    }


def _sweep_on(variables: dict[str, str]) -> None:
    """Sweep again and again until killed."""
    with opened_archive(load_settings(None, variables)) as archive:
        while True:
            sweep(archive, budget=timedelta(hours=1))


def _digest(files: list[Path]) -> None:
    for path in files:
        first, second = hashlib.sha256(), hashlib.sha3_512()
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                first.update(block)
                second.update(block)
        first.hexdigest(), second.hexdigest()


def _texts(directory: Path, count: int, megabytes: float, prefix: str = "") -> list[Path]:
    """Write `count` different CSV files: a format that has no rendition, so that the sizes are known."""
    made = []
    for number in range(count):
        path = directory / f"{prefix}{number:04d}.csv"
        line = _LINE.format(number).encode()
        path.write_bytes(line * (int(megabytes * 1_000_000) // len(line)))
        made.append(path)
    return made


def rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Lay the result out as (what, figure, detail)."""
    large, middle, small, beside = (result[name] for name in ("large", "middle", "small", "deposits"))
    return [
        (
            "sweep, large documents",
            f"{large['minutier']['mb_per_second']:.0f} MB/s",
            f"hashlib {large['hashlib']['mb_per_second']:.0f} MB/s, ratio {large['ratio']}",
        ),
        (
            "sweep, 300 kB documents",
            f"{middle['minutier']['mb_per_second']:.0f} MB/s",
            f"hashlib {middle['hashlib']['mb_per_second']:.0f} MB/s, ratio {middle['ratio']};"
            f" {middle['proofs_per_second']:.0f} proofs/s",
        ),
        (
            "deposits beside a sweep",
            f"{beside['beside_a_sweep']:.1f}/s",
            f"alone {beside['alone']:.1f}/s, ratio {beside['ratio']}",
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
    parser.add_argument("--middle", type=int, default=300, help="documents of 300 kB (default 300)")
    parser.add_argument("--small", type=int, default=300, help="one-page papers (default 300)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    result = measure(options.large, options.megabytes, options.middle, options.small)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for what, figure, detail in rows(result):
        print(f"{what:28} {figure:>20}   {detail}")


if __name__ == "__main__":
    main()
