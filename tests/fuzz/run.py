"""Fuzz targets for a time, some at once: `python -m tests.fuzz.run --seconds 600 [--jobs 2] [TARGET…]`.

Fails on a crash, on an input that takes more than 10 seconds of processor time, and on more than 1 GiB of memory. What
it finds is kept in `.cache/fuzz/`: `corpus/TARGET/` for what reaches new code, `found/TARGET/` for what fails.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATE = ROOT / ".cache" / "fuzz"
NAMES = ("token", "seal", "manifest", "record", "bundle", "forged", "checkpoint", "blind", "certificates", "trace")
INPUT_SECONDS, HANG_SECONDS, MEMORY_MIB = 10, 120, 1024
LARGEST = {"bundle": 64 * 1024}


def run_target(name: str, seconds: int) -> bool:
    """Fuzz one target, say what came of it, and give whether it held."""
    corpus, found = STATE / "corpus" / name, STATE / "found" / name
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}", f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}",
        f"-max_len={LARGEST.get(name, 8192)}", f"-artifact_prefix={found}/", "-print_final_stats=1", "-close_fd_mask=1",
    ]  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.one",
        name,
        *options,
        str(corpus),
        str(ROOT / "tests/fuzz/corpus" / name),
    ]
    started = time.monotonic()
    with (STATE / f"{name}.log").open("wb") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    text = (STATE / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    figures = {key: int(value) for key, value in re.findall(r"stat::(\w+):\s+(\d+)", text)}
    # A run that ended for another reason than its time has not fuzzed: its figures are missing.
    runs = figures.get("number_of_executed_units", 0)
    held = code == 0 and runs > 0
    memory = figures.get("peak_rss_mb", 0)
    outcome = "ok" if held else f"FAILED (exit {code}), see {STATE.relative_to(ROOT)}/{name}.log"
    print(f"{name:<13} {runs:>10} runs  {time.monotonic() - started:6.0f} s  {memory:>5} MiB  {outcome}", flush=True)
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(NAMES)}; all without")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at once")
    options = parser.parse_args()
    unknown = set(options.targets) - set(NAMES)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    with ThreadPoolExecutor(options.jobs) as pool:
        held = list(pool.map(lambda name: run_target(name, options.seconds), options.targets or NAMES))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
