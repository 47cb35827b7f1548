"""Every measurement, one after the other: `uv run python -m benchmarks [--json] [--quick] [--prefect]`.

Each compares with a named baseline measured in the same run. Progress goes to the standard error. Figures taken on a
loaded machine say little: the load before the run is part of the result.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks import deposit, evidence, ocr, rendition, sweep
from benchmarks.rig import machine


def main() -> None:
    """Parse the arguments, measure, print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--quick", action="store_true", help="a fifth of the documents: an idea, not a figure")
    parser.add_argument("--prefect", action="store_true", help="the deposit also through a Prefect server")
    options = parser.parse_args()
    share = 5 if options.quick else 1
    results: dict[str, Any] = {"machine": machine()}
    results["rendition"] = rendition.measure(40 // share, 6 // share, 1)
    results["ocr"] = ocr.measure(10 // share)
    results["sweep"] = sweep.measure(4, 32 // share, 300 // share, 300 // share)
    results["evidence"] = evidence.measure(10_000 // share, 1000 // share, 20 // share)
    results["deposit"] = deposit.measure(100 // share, 30 // share, prefect=options.prefect)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    found = results["machine"]
    print(f"{found['cores']} cores, {found['memory_gb']} GB, {found['system']}, Python {found['python']}")
    for module in (deposit, sweep, rendition, ocr, evidence):
        measured = results[module.__name__.rpartition(".")[2]]
        if measured is None:
            continue
        before, after = measured["load_before_and_after"]
        print(f"\nload {before} before, {after} after")
        for what, figure, detail in module.rows(measured):
            print(f"{what:28} {figure:>20}   {detail}".rstrip())


if __name__ == "__main__":
    main()
