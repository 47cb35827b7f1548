"""Families of schedules: what is tried whole, and what is drawn. A worker of several takes its share of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from tests.simulation.play import Played, play
from tests.simulation.schedule import (
    CLOCKS,
    CRASH,
    ERROR,
    RIVALS,
    Event,
    Schedule,
    at_every_call,
    drawn,
    hostile_objects,
    single_faults,
)
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a family that one of several workers takes, and the seed from which the drawn ones are counted."""

    job: int = 0
    jobs: int = 1
    seed: int = 0

    def takes(self, number: int) -> bool:
        return number % self.jobs == self.job


Family = Callable[[World, Share], Iterator[Played]]


def singles(world: World, share: Share) -> Iterator[Played]:
    """Every single fault, of one document and of two that are carried together."""
    for documents in (1, 2):
        events = list(single_faults(_calls(world, documents).seen[0], 0))
        yield from _each(world, share, (Schedule((event,), documents) for event in events))


def doubles(world: World, share: Share) -> Iterator[Played]:
    """Every single fault, and with each every single fault of the attempt that follows; in an order that is drawn."""
    firsts = list(single_faults(_calls(world).seen[0], 0))
    random.Random(share.seed).shuffle(firsts)
    for number, first in enumerate(firsts):
        if share.takes(number):
            played = play(world, Schedule((first,)), watch_calls=True)
            yield played
            retry = played.seen[1] if len(played.seen) > 1 else []
            for second in single_faults(retry, 1):
                yield play(world, Schedule((first, second)))


def some_doubles(world: World, share: Share) -> Iterator[Played]:
    """Doubles drawn without end: a first fault, then one at any call of the retry, each as likely as another."""
    rng = random.Random(f"{share.seed} {share.job}")
    firsts = list(single_faults(_calls(world).seen[0], 0))
    retries: dict[Event, list[Event]] = {}
    while True:
        first = rng.choice(firsts)
        if first not in retries:
            played = play(world, Schedule((first,)), watch_calls=True)
            yield played
            retries[first] = list(single_faults(played.seen[1], 1)) if len(played.seen) > 1 else []
        if retries[first]:
            yield play(world, Schedule((first, rng.choice(retries[first]))))


def rivals(world: World, share: Share) -> Iterator[Played]:
    """Each kind of rival, started at each call."""
    events = at_every_call(_calls(world).seen[0], RIVALS)
    yield from _each(world, share, (Schedule((event,)) for event in events))


def clocks(world: World, share: Share) -> Iterator[Played]:
    """Each wrong clock, and a week asleep, at each call, with the collector run at that moment."""
    events = at_every_call(_calls(world).seen[0], CLOCKS)
    yield from _each(world, share, (Schedule((event,)) for event in events))


def hostile(world: World, share: Share) -> Iterator[Played]:
    """Each hostile object at each key, alone, and with a death or a silence just after it."""
    events = list(hostile_objects(_calls(world).seen[0]))
    schedules = [Schedule((event,)) for event in events]
    for event in events:
        for what in (CRASH, ERROR):
            schedules += [
                Schedule((event, Event(0, event.number + later, "after", what))) for later in (1, 2, 3)
            ]  # fmt: skip
    yield from _each(world, share, iter(schedules))


def random_ones(world: World, share: Share) -> Iterator[Played]:
    """Schedules drawn from the seeds that follow `share.seed`, without end."""
    for seed in count(share.seed):
        if share.takes(seed):
            yield play(world, drawn(seed))


FAMILIES: dict[str, Family] = {
    "singles": singles,
    "rivals": rivals,
    "clocks": clocks,
    "hostile": hostile,
    "doubles": doubles,
    "some-doubles": some_doubles,
    "random": random_ones,
}


def _calls(world: World, documents: int = 1) -> Played:
    """Play nothing, to see which calls there are: the families follow the code, whatever it calls."""
    return play(world, Schedule(documents=documents), watch_calls=True)


def _each(world: World, share: Share, schedules: Iterator[Schedule]) -> Iterator[Played]:
    for number, schedule in enumerate(schedules):
        if share.takes(number):
            yield play(world, schedule)
