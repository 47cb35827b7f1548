"""Run the simulation: `python -m tests.simulation.run [--family NAME…] [--limit N] [--minutes M] [--jobs J]`.

Replay one: `--seed N` for a drawn schedule, `--schedule "documents=1 0.40b=crash"` for any. Exit 1 when a promise
broke.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from tests.simulation.families import FAMILIES, Share
from tests.simulation.play import Played, play
from tests.simulation.schedule import Schedule, drawn, parse
from tests.simulation.world import simulated_world

_SHOWN = 20
_WHOLE = ("singles", "rivals", "clocks", "hostile")
Result = tuple[str, str, tuple[str, ...]]
"""Name of the family ("" when a worker has done all), the schedule, and the promises that it broke."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--family", action="append", choices=FAMILIES, help=f"default: {', '.join(_WHOLE)} and random")
    parser.add_argument("--limit", type=int, default=1000, help="schedules of each family without end (default 1000)")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="stop after this time")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--from", dest="first", type=int, default=0, help="first seed of what is drawn")
    parser.add_argument("--seed", type=int, help="replay the schedule drawn from this seed")
    parser.add_argument("--schedule", help="replay this schedule")
    options = parser.parse_args(arguments)
    if options.seed is not None or options.schedule is not None:
        return _replay(drawn(options.seed) if options.seed is not None else parse(options.schedule))
    return _run(options)


def _replay(schedule: Schedule) -> int:
    print(schedule)
    with simulated_world() as world:
        played = play(world, schedule)
    for number, calls in enumerate(played.seen):
        for event in schedule.events:
            if event.attempt == number and event.number < len(calls):
                call = calls[event.number].call
                print(f"  {event}: {event.moment} {call.port} {call.act} {call.key}")
    print(f"{played.attempts} attempts", *(played.broken or ["every promise held"]), sep="\n")
    return 1 if played.broken else 0


def _run(options: argparse.Namespace) -> int:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[Result] = context.Queue()
    families = options.family or [*_WHOLE, "random"]
    deadline = time.time() + options.minutes * 60
    workers = [
        context.Process(
            target=_work, args=(families, Share(job, options.jobs, options.first), options.limit, deadline, results)
        )
        for job in range(options.jobs)
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        for worker in workers:
            worker.start()
        counts, broken, died = _gather(results, workers)
    finally:
        for worker in workers:
            if sys.exc_info()[0] is not None:
                worker.terminate()
            worker.join()
    total = sum(counts.values())
    print(f"{total} schedules, {len(broken)} broke a promise:", dict(counts), flush=True)
    for family, schedule, promises in broken[:_SHOWN]:
        print(f"  {family}: --schedule {schedule!r}: {'; '.join(promises)}")
    return 1 if broken or died else 0


def _work(
    families: list[str], share: Share, limit: int, deadline: float, results: multiprocessing.Queue[Result]
) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # its server and its folder go with it
    with simulated_world() as world:
        for name in families:
            most = limit // share.jobs if name in ("random", "some-doubles") else None
            for played in islice(FAMILIES[name](world, share), most):
                results.put(_result(name, played))
                if time.time() > deadline:
                    break
    results.put(("", "", ()))


def _result(family: str, played: Played) -> Result:
    return family, str(played.schedule), tuple(played.broken)


def _gather(
    results: multiprocessing.Queue[Result], workers: Sequence[multiprocessing.process.BaseProcess]
) -> tuple[Counter[str], list[Result], bool]:
    counts: Counter[str] = Counter()
    broken: list[Result] = []
    done, told, started = 0, time.monotonic(), time.monotonic()
    while done < len(workers):
        try:
            found = results.get(timeout=5)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                print("a worker died", file=sys.stderr)
                return counts, broken, True
            continue
        if not found[0]:
            done += 1
            continue
        counts[found[0]] += 1
        if found[2]:
            broken.append(found)
            print(f"BROKEN {found[0]}: --schedule {found[1]!r}: {'; '.join(found[2])}", flush=True)
        if time.monotonic() - told > 15:
            told, total = time.monotonic(), sum(counts.values())
            each = 1000 * (told - started) / total
            print(f"{total} schedules, {each:.0f} ms each, {len(broken)} broken: {dict(counts)}", file=sys.stderr)
    return counts, broken, False


if __name__ == "__main__":
    sys.exit(main())
