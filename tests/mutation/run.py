"""Mutation testing of the code that gives verdicts: `python tests/mutation/run.py [--jobs 2] [MODULE…]`.

mutmut makes the mutants (`[tool.mutmut]` in pyproject.toml says of what); this runs on each of them the tests of its
own module only, each mutant in a process forked from one that has the libraries loaded. A mutant is killed by a failing
test, or by more processor time than the tests ever take. Fails when the rate is under the bound.
`mutmut show NAME` prints a mutant; what survives, and why, is in `survivors.md`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".cache" / "mutants.json"
SURVIVORS = Path(__file__).with_name("survivors.md")
BOUND = 0.95
CPU_SECONDS, MEMORY = 40, 3 << 29
TESTS: dict[str, tuple[str, ...]] = {
    "algorithm_dates": ("test_algorithm_dates",),
    "algorithms": ("test_algorithms",),
    "canonical": ("test_canonical",),
    "certificates": ("test_certificates", "test_ocsp"),
    "issuance": ("test_certificates",),
    "ocsp": ("test_ocsp",),
    "revocation": ("test_revocation_data", "test_ocsp", "test_certificates", "test_timestamp"),
    "checkpoint": ("test_checkpoint",),
    "cms": ("test_cms", "test_seal", "test_token_corpus"),
    "container": ("test_container",),
    "der": ("test_der",),
    "evidence": ("test_evidence",),
    "manifest": ("test_manifest",),
    "merkle": ("test_merkle",),
    "proof": ("test_proof_files", "test_proof"),
    "report": ("test_report",),
    "seal": ("test_seal", "test_verify_seals"),
    "timestamp": ("test_token_fields", "test_timestamp", "test_token_corpus"),
    "trust": ("test_trust", "test_verify_seals", "test_verify"),
    "verification": ("test_verify_renewals",),
    "verify": ("test_verify_findings", "test_verify_beside", "test_verify", "test_verify_renewals"),
    "verify_evidence": ("test_verify_evidence", "test_verify_renewals"),
    "verify_journal": ("test_verify_renewals",),
    "verify_seals": ("test_verify_seals", "test_verify_renewals"),
}


def generate() -> None:
    """Have mutmut write the mutants of the chosen modules under `mutants/`."""
    from mutmut import __main__ as mutmut
    from mutmut.mutation.trampoline import set_mutant_under_test

    set_mutant_under_test("mutant_generation")
    shutil.rmtree(ROOT / "mutants", ignore_errors=True)  # mutmut leaves files there that have changed since
    (ROOT / "mutants").mkdir()
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    mutmut.create_mutants(2)
    del os.environ["MUTANT_UNDER_TEST"]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("minutier", "storage", "tests")]:
        del sys.modules[name]


def mutants_of(module: str) -> list[str]:
    meta = ROOT / "mutants" / "minutier" / f"{module}.py.meta"
    return list(json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"])


def preload() -> None:
    """Import once, in the parent, what every child needs: the libraries, and the code with all its mutants asleep."""
    import hypothesis

    hypothesis.settings.register_profile(
        "mutants", max_examples=40, deadline=None, derandomize=True, database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    hypothesis.settings.load_profile("mutants")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ["MUTANT_UNDER_TEST"] = "none"
    os.chdir(ROOT / "mutants")
    sys.path.insert(0, str(ROOT / "mutants"))
    for module in (
        *(f"minutier.{name}" for name in TESTS),
        "tests.support.full_bundle",
        "asn1crypto.cms",
        "pytest_timeout",
    ):
        import_module(module)
    assert str(ROOT / "mutants") in str(sys.modules["minutier.der"].__file__)
    support = sys.modules["tests.support.pki"]
    _ = (support.default_pki(), support.rsa_key(), support.rsa_key(2048))
    gc.collect()
    gc.freeze()  # what a child collects, it copies first
    gc.disable()


class Order:
    """For pytest: what killed other mutants comes first, the last killer before all, and who kills this one is told.

    Mutants of one function follow each other, and mostly fall to the same test.
    """

    def __init__(self, killers: Sequence[str], told: int) -> None:
        self.rank = {name: place for place, name in enumerate(killers)}
        self.told = told

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self.rank.get(item.nodeid, len(self.rank)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            os.write(self.told, report.nodeid.encode())


def child(mutant: str, files: Iterable[str], order: Order) -> int:
    """Run tests under a mutant, in this process, and give pytest's exit code."""
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.environ["MUTANT_UNDER_TEST"] = mutant
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    options = [
        "-x",
        "-q",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "pytest_timeout",
        "--assert=plain",
        "--tb=no",
    ]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning", "--rootdir=."]
    return int(pytest.main([*options, *files], plugins=[order]))


def fork(mutant: str, files: Iterable[str], killers: Sequence[str]) -> tuple[int, int]:
    """Give the child's number, and where it writes which test killed the mutant."""
    heard, told = os.pipe()
    pid = os.fork()
    if pid:
        os.close(told)
        return pid, heard
    code = 3
    try:
        code = child(mutant, files, Order(killers, told))
    finally:
        os._exit(code)


def existing(names: Iterable[str]) -> list[str]:
    return [f"tests/unit/{name}.py" for name in names if (ROOT / "tests" / "unit" / f"{name}.py").exists()]


def exit_codes(jobs: list[tuple[str, list[str]]], at_once: int) -> dict[str, int]:
    """Run each mutant under its tests and give the exit code or the negative signal of each."""
    codes: dict[str, int] = {}
    running: dict[int, tuple[str, int]] = {}
    killers: list[str] = []
    queue = list(reversed(jobs))
    while queue or running:
        while queue and len(running) < at_once:
            mutant, files = queue.pop()
            pid, heard = fork(mutant, files, killers)
            running[pid] = mutant, heard
        pid, status = os.wait()
        mutant, heard = running.pop(pid)
        codes[mutant] = os.waitstatus_to_exitcode(status)
        with os.fdopen(heard, "rb") as stream:
            killer = stream.read().decode()
        if killer:
            killers = [killer, *(name for name in killers if name != killer)]
    return codes


def change_of(mutant: str) -> str:
    """Give the lines that a mutant removes and adds, without blanks around them."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    os.chdir(ROOT)
    try:
        lines = get_diff_for_mutant(mutant).splitlines()
    finally:
        os.chdir(ROOT / "mutants")
    return _normal([line for line in lines if line[:1] in "+-" and line[:3] not in ("---", "+++")])


def _normal(lines: Iterable[str]) -> str:
    return "\n".join(line[:1] + " ".join(line[1:].split()) for line in lines if line.strip())


def equivalent() -> set[tuple[str, str]]:
    """Give the changes (module, lines) that survivors.md calls equivalent: no test can tell them from the code."""
    found: set[tuple[str, str]] = set()
    section = SURVIVORS.read_text(encoding="utf-8").partition("## Equivalent")[2].partition("\n## ")[0]
    for part in section.split("\n### ")[1:]:
        module = part.partition("\n")[0].strip("` ")
        found |= {(module, _normal(block.splitlines())) for block in re.findall(r"```diff\n(.*?)```", part, re.DOTALL)}
    return found


def run_module(
    module: str, at_once: int, before: dict[str, Any] | None, sample: int, draw: random.Random
) -> dict[str, Any]:
    """Run the mutants of a module (or those that survived `before`): how many, the equivalent ones, the survivors.

    `draw` chooses the sample; it is the same in every run with the same lot and modules.
    """
    mutants = mutants_of(module)
    if sample and sample < len(mutants):
        mutants = draw.sample(mutants, sample)
    tried = [name for name in mutants if before is None or name in (*before["equivalent"], *before["survivors"])]
    codes = exit_codes([(name, existing(TESTS[module])) for name in tried], at_once)
    left = [name for name in tried if codes[name] == 0]
    same = [name for name in left if (module, change_of(name)) in equivalent()]
    return {"mutants": len(mutants), "equivalent": same, "survivors": [name for name in left if name not in same]}


def told(name: str, found: list[dict[str, Any]]) -> str:
    """Write a line of the table; mutants that no test can tell from the code do not count."""
    same, left = sum(len(each["equivalent"]) for each in found), sum(len(each["survivors"]) for each in found)
    counted = sum(each["mutants"] for each in found) - same
    rate = 1 - left / max(1, counted)
    return f"{name:<16} {counted:>5} mutants ({same} equivalent ones left out) {left:>4} survive {rate:7.1%}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"some of {', '.join(TESTS)}; all without")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once")
    parser.add_argument("--sample", type=int, default=0, help="so many of each module, chosen by lot; all without")
    parser.add_argument("--lot", type=int, default=1, help="another number draws another sample")
    parser.add_argument("--again", action="store_true", help="only those that survived the last time")
    options = parser.parse_args()
    draw = random.Random(options.lot)
    if unknown := set(options.modules) - set(TESTS):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    chosen = options.modules or list(TESTS)
    os.chdir(ROOT)
    generate()
    preload()
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for module in chosen:
        if exit_codes([("none", existing(TESTS[module]))], 1) != {"none": 0}:
            print(f"{module}: the tests fail without any mutant", file=sys.stderr)
            return 2
        started = time.monotonic()
        before = known.get(module) if options.again else None
        known[module] = run_module(module, options.jobs, before, options.sample, draw)
        RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False), encoding="utf-8")
        print(told(module, [known[module]]), f"{time.monotonic() - started:6.0f} s", flush=True)
    ran = [known[module] for module in chosen]
    print(told("together", ran))
    left = [name for each in ran for name in each["survivors"]]
    print(*(f"  {name} survives:\n{change_of(name)}" for name in left), sep="\n")
    return 0 if len(left) <= (1 - BOUND) * sum(each["mutants"] for each in ran) else 1


if __name__ == "__main__":
    sys.exit(main())
