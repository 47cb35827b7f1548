"""Chaos: services and workers are killed with SIGKILL at random while documents are deposited.

    python -m tests.crash.chaos --kills N --seed S [--stores directory|minio] [--prefect]

Eight workers deliver documents without a pause. The seed draws who is killed, after how long, and for how long a
service stays away; the moment within a deposit is the kernel's. At the end everything runs again, what was received is
carried on, and every document is looked at whole (tests/support/promises.py). Exit code 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from storage.bootstrap import opened_archive, require_probed
from tests.crash.commands import Depositor
from tests.support.machine import BASIC, Instance, Machine, running_machine
from tests.support.promises import Findings, check, finish, strays
from tests.support.worker import Work, Worker, content, told

WORKERS = 8
# One in so many kills is of a service: workers die in every step, services take seconds to come back.
WEIGHTS = {"worker": 30, "postgresql": 2, "minio": 2, "tsa": 1, "prefect": 1, "command": 2}
PAUSE = (0.02, 0.4)
AWAY = (0.0, 1.0)
"""Seconds, at least and at most: between two kills, and of a service's absence."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Strike:
    """One kill of the schedule."""

    kind: str
    pause: float
    away: float
    victim: int


@dataclass
class Outcome:
    """What was done to the archive, and what it did."""

    kills: Counter[str] = field(default_factory=Counter)
    deliveries: int = 0
    acknowledged: int = 0
    troubles: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    seconds: float = 0.0

    @property
    def broken(self) -> dict[str, list[str]]:
        """Everything that may not be: broken promises, and errors that no depositor should be told."""
        return self.findings.broken() | ({"troubles": self.troubles} if self.troubles else {})

    def table(self) -> str:
        """Give the figures, a line each."""
        found = self.findings
        rows = [(f"killed: {kind}", times) for kind, times in sorted(self.kills.items())]
        rows += [("killed in all", self.kills.total()), ("deliveries", self.deliveries)]
        rows += [("acknowledged documents", self.acknowledged), ("documents", found.documents)]
        rows += [("copies read whole", found.copies), ("lost", len(found.lost)), ("altered", len(found.altered))]
        rows += [("duplicates", len(found.duplicates)), ("strays", len(found.strays))]
        rows += [("errors that should not be", len(self.troubles)), ("seconds", round(self.seconds))]
        return "\n".join(f"{name:<28}{value:>10}" for name, value in rows)


def schedule(seed: int, kinds: list[str]) -> Iterator[Strike]:
    """Draw kills without end; the same seed gives the same ones."""
    draw = random.Random(seed)
    weights = [WEIGHTS[kind] for kind in kinds]
    while True:
        (kind,) = draw.choices(kinds, weights)
        yield Strike(kind, draw.uniform(*PAUSE), draw.uniform(*AWAY), draw.randrange(10**6))


class Chaos:
    """One archive under load. `lists` gives each worker its deliveries; without it they have no end."""

    def __init__(
        self, machine: Machine, instance: Instance, seed: int, lists: list[list[str]] | None = None, say: Say = print
    ) -> None:
        self.machine, self.instance, self.seed, self.say = machine, instance, seed, say
        self.outcome, folder = Outcome(), instance.home.with_name(f"{instance.home.name}-chaos")
        folder.mkdir()
        self.stop = folder / "stop"
        endless = lists is None
        lists = lists or [[f"{worker}-{number}" for number in range(100_000)] for worker in range(WORKERS)]
        self.workers = [
            Worker(Work(instance, tuple(each), folder / f"{number}.log", self.stop, seed))
            for number, each in enumerate(lists)
        ]
        self.endless = endless
        self.depositor: Depositor | None = None
        if "prefect" in machine.names:
            self.depositor = Depositor(instance, folder, seed)

    def run(self, kills: int) -> Outcome:
        """Kill `kills` times under load, or until the lists end; let the load end; check."""
        started = time.monotonic()
        with opened_archive(self.instance.settings) as archive:
            require_probed(archive)
        for worker in self.workers:
            worker.start()
        self._kill(kills)
        if self.endless:
            self.stop.touch()
        self._let_end()
        self.say(f"the load ends after {time.monotonic() - started:.0f} s")
        self._check()
        self.outcome.seconds = time.monotonic() - started
        return self.outcome

    def _kill(self, kills: int) -> None:
        kinds = ["worker", *self.machine.names, *(["command"] if self.depositor else [])]
        strikes = schedule(self.seed, kinds)
        while (done := self.outcome.kills.total()) < kills and (self.endless or self._working()):
            strike = next(strikes)
            time.sleep(strike.pause)
            if self._strike(strike):
                self.outcome.kills[strike.kind] += 1
                if (done + 1) % 25 == 0:
                    self.say(f"{done + 1} kills; {self._archived()} deliveries archived")
            self._tend()
            self._let_work(kills)

    def _let_work(self, kills: int) -> None:
        """Spread the kills over lists that end: so much of the work is done before the next one."""
        total = 0 if self.endless else sum(len(worker.work.references) for worker in self.workers)
        while self._archived() < total * self.outcome.kills.total() // kills and self._working():
            time.sleep(0.1)

    def _strike(self, strike: Strike) -> bool:
        if strike.kind == "worker":
            living = [worker for worker in self.workers if worker.alive()]
            return bool(living) and living[strike.victim % len(living)].kill()
        if strike.kind == "command":
            assert self.depositor is not None
            return self.depositor.kill()
        self.machine.kill(strike.kind)
        time.sleep(strike.away)
        # The Prefect server takes many seconds; the others are killed meanwhile.
        self.machine.start(strike.kind, wait=strike.kind != "prefect")
        return True

    def _tend(self) -> None:
        """Give the rest of a killed worker's list to another one; the command is given again too."""
        for worker in self.workers:
            if worker.process is None or (not worker.alive() and worker.process.exitcode == -9):
                worker.start()
        if self.depositor is not None:
            self.depositor.tend()

    def _working(self) -> bool:
        return any(worker.alive() for worker in self.workers)

    def _archived(self) -> int:
        return sum(line.event == "archived" for worker in self.workers for line in told(worker.work.log))

    def _let_end(self) -> None:
        self._tend()
        for worker in self.workers:
            assert worker.process is not None
            worker.process.join()
            if not worker.ended_well():
                self.outcome.troubles.append(f"worker {worker.work.log.stem} ended with {worker.process.exitcode}")
        if self.depositor is not None:
            self.outcome.troubles += self.depositor.finish()

    def _check(self) -> None:
        lines = [line for worker in self.workers for line in told(worker.work.log)]
        self.outcome.troubles += [f"{line.reference}: {line.detail}" for line in lines if line.event == "trouble"]
        self.outcome.deliveries = sum(line.event == "begun" for line in lines)
        acknowledged: dict[str, str] = {}
        for line in lines:
            answered = line.event in ("received", "archived")
            if answered and acknowledged.setdefault(line.reference, line.detail) != line.detail:
                self.outcome.findings.duplicates.append(f"{line.reference} was told two archive_ids")
        made = partial(content, self.seed)
        known = self.depositor.contents() if self.depositor else {}
        if self.depositor is not None:
            acknowledged |= self.depositor.acknowledged
        self.outcome.acknowledged = len(acknowledged)
        twice = self.outcome.findings.duplicates
        with opened_archive(self.instance.settings) as archive:
            self.say(f"{finish(archive)} received deposits carried on; every document is looked at")
            found = check(archive, acknowledged, lambda name: known[name] if name in known else made(name))
        found.duplicates += twice
        found.strays += strays(self.machine, self.instance)
        self.outcome.findings = found


def chaos(kills: int, seed: int, *, stores: str = "directory", prefect: bool = False, say: Say = print) -> Outcome:
    """Run one storm on a machine of its own."""
    names = [*BASIC, *(["prefect"] if prefect else [])]
    with running_machine(names, minio=stores == "minio") as machine:
        if stores == "minio" and machine.minio is None:
            sys.exit("there is no MinIO server here: run infra/minio.sh")
        return Chaos(machine, machine.instance(prefect=prefect), seed, say=say).run(kills)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stores", choices=("directory", "minio"), default="directory")
    parser.add_argument(
        "--prefect", action="store_true", help="also deposit by the command, and kill it and its server"
    )
    options = parser.parse_args()
    outcome = chaos(options.kills, options.seed, stores=options.stores, prefect=options.prefect)
    print(outcome.table())
    for name, broken in outcome.broken.items():
        print(f"\n{name}:", *broken, sep="\n  ")
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
