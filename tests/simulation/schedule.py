"""Schedules: what happens to a deposit, and at which call of which attempt; each is one line of text.

`1.40a=crash` means: in attempt 1 (from 0), at call 40 (from 0), after it was made, the process dies.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from storage import seam

CRASH, ERROR = "crash", "error"
RIVALS = (
    "rival:carry",
    "rival:unlocked",
    "rival:redeliver",
    "rival:collect",
    "rival:sweep",
    "rival:abandon",
    "rival:mend",
)
"""Another worker starts at that call, on its own connection, and ends or dies before the first goes on: it carries the
same deposit, asking for its lock or not; delivers it again; collects; sweeps; abandons it; delivers it again after its
waiting files were lost."""
JUMPS = tuple(f"{whose}:{days}" for whose in ("app", "store", "all") for days in ("-400d", "+2200d"))
"""A clock is wrong until the attempt ends: the archive's, those of the stores, or both. The collector runs at once."""
CLOCKS = ("later:+7d", *JUMPS)
"""`later:+7d`: the worker slept for a week and an hour, by all clocks, and the collector ran meanwhile."""
PLANTS = ("plant:foreign", "plant:corrupt", "plant:lapsed", "plant:held", "plant:twin", "plant:marker", "plant:bitrot")
"""What lies at the key that the call is about: bytes of somebody else; the right ones with a wrong one among them; the
right ones with no lock, with a hold and a lock of ten years, with the same lock; a delete marker. `bitrot` alters what
the store has just taken."""
WIDEST = 220
"""Calls of an attempt that random schedules draw from; a call that never comes is a schedule with one event less."""

_EVENT = re.compile(r"(\d+)\.(\d+)([ab])=([a-z]+(?::[+a-z0-9-]+)?)(?:/(\d+))?\Z")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens. `dies_at` is for rivals: the number of its own call at which it dies, or -1."""

    attempt: int
    number: int
    moment: str
    what: str
    dies_at: int = -1

    def __str__(self) -> str:
        end = f"/{self.dies_at}" if self.dies_at >= 0 else ""
        return f"{self.attempt}.{self.number}{self.moment[0]}={self.what}{end}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """What happens while some documents (1 or more, carried together) are delivered until they are archived."""

    events: tuple[Event, ...] = ()
    documents: int = 1
    again: bool = False
    """Whether the depositor sends everything again at each attempt, acknowledged or not."""

    def __str__(self) -> str:
        head = [f"documents={self.documents}", *(["again"] if self.again else [])]
        return " ".join([*head, *(str(event) for event in self.events)])


def parse(text: str) -> Schedule:
    """Read a schedule as it is printed; ValueError."""
    events, documents, again = [], 1, False
    for word in text.split():
        if word.startswith("documents="):
            documents = int(word.partition("=")[2])
            continue
        if word == "again":
            again = True
            continue
        match = _EVENT.match(word)
        if match is None:
            raise ValueError(f"{word!r} is not an event")
        moment = seam.BEFORE if match[3] == "b" else seam.AFTER
        events.append(Event(int(match[1]), int(match[2]), moment, match[4], int(match[5] or -1)))
    return Schedule(tuple(events), documents, again)


def drawn(seed: int) -> Schedule:
    """Draw a schedule: one to four events of any kind, in any of the first attempts."""
    rng = random.Random(seed)
    kinds = [CRASH] * 6 + [ERROR] * 6 + [*RIVALS] * 2 + [*CLOCKS, *PLANTS]
    events = []
    for _ in range(rng.choice((1, 2, 2, 3, 3, 4))):
        what = rng.choice(kinds)
        events.append(
            Event(
                rng.choice((0, 0, 0, 1, 1, 2)),
                rng.randrange(WIDEST),
                rng.choice((seam.BEFORE, seam.AFTER)),
                what,
                rng.randrange(WIDEST) if what in RIVALS and rng.random() < 0.5 else -1,
            )
        )
    return Schedule(tuple(sorted(events, key=str)), 2 if rng.random() < 0.2 else 1, rng.random() < 0.3)


@dataclass(frozen=True, slots=True)
class Seen:
    """A call that an attempt made, and whether something lasting may have changed by it."""

    call: seam.Call
    lasting: bool


def single_faults(seen: Sequence[Seen], attempt: int) -> Iterator[Event]:
    """Give every single fault of an attempt that is not the same as another one.

    What lasts changes only at calls that are `lasting`: to die anywhere between two of them is to die before the
    second, and an error of any other call is the same whether it was made or not.
    """
    for each in seen:
        yield Event(attempt, each.call.number, seam.BEFORE, ERROR)
        if each.lasting:
            yield Event(attempt, each.call.number, seam.BEFORE, CRASH)
            yield Event(attempt, each.call.number, seam.AFTER, ERROR)
    if seen:
        yield Event(attempt, seen[-1].call.number, seam.AFTER, CRASH)


def at_every_call(seen: Sequence[Seen], kinds: Sequence[str]) -> Iterator[Event]:
    """Give each kind of event at each call of the first attempt: what was read before the call is stale after it."""
    for each in seen:
        for what in kinds:
            yield Event(0, each.call.number, seam.BEFORE, what)


def hostile_objects(seen: Sequence[Seen]) -> Iterator[Event]:
    """Give each hostile object at each key, when the archive first looks at it, and each damage after a put."""
    for each in seen:
        if each.call.act == "versions":
            yield from (Event(0, each.call.number, seam.BEFORE, what) for what in PLANTS[:-1])
        if each.call.act == "put":
            yield Event(0, each.call.number, seam.AFTER, PLANTS[-1])
