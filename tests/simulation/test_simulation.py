"""A slice of the simulation, small enough for every run; the whole of it is `python -m tests.simulation.run`."""

from __future__ import annotations

import os
from itertools import islice

import pytest

from tests.simulation import run
from tests.simulation.families import FAMILIES, Share
from tests.simulation.planted import PLANTED, planted
from tests.simulation.play import play
from tests.simulation.schedule import Schedule, drawn, parse
from tests.simulation.world import World, simulated_world

# Of each family every n-th schedule is played.
SLICE = {"singles": 17, "rivals": 97, "clocks": 113, "hostile": 47}
WHOLE = [*SLICE, "doubles"]
DRAWN = 100_000
_TRIES = 60


@pytest.fixture(scope="module")
def world():
    with simulated_world() as made:
        yield made


def test_nothing_need_go_wrong(world):
    for documents in (1, 3):
        played = play(world, Schedule(documents=documents), watch_calls=True)
        assert (played.broken, played.attempts) == ([], 1)
    calls = played.seen[0]
    assert {each.call.port for each in calls} >= {"database", "files", "encryption", "signer", "tsa", "replica-a"}
    assert 0 < sum(each.lasting for each in calls) < len(calls)


@pytest.mark.parametrize("name", SLICE)
def test_a_slice_of_each_family(world, name):
    played = list(FAMILIES[name](world, Share(jobs=SLICE[name])))
    assert len(played) > 5
    assert [(str(each.schedule), each.broken) for each in played if each.broken] == []


def test_drawn_schedules(world):
    played = list(islice(FAMILIES["random"](world, Share()), 25))
    assert [(str(each.schedule), each.broken) for each in played if each.broken] == []


def test_a_schedule_is_its_own_text():
    for seed in range(300):
        assert parse(str(drawn(seed))) == drawn(seed)
        assert drawn(seed) == drawn(seed)
    assert len({str(drawn(seed)) for seed in range(300)}) > 290
    for text in ("0.1=crash", "0.1b=", "nonsense", "0.1c=crash"):
        with pytest.raises(ValueError, match="not an event"):
            parse(text)


def caught(world: World, bug) -> str:
    """Give the schedule that catches a planted bug, "" when none of those tried does."""
    with planted(bug):
        calls = play(world, Schedule(), watch_calls=True)
        if calls.broken and not bug.look.kinds:
            return str(calls.schedule)
        for events in islice(bug.look.events(calls.seen[0]), _TRIES):
            if play(world, found := Schedule(events)).broken:
                return str(found)
    return ""


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(world, bug):
    found = caught(world, bug)
    assert found, f"{bug.name} breaks no promise that the simulation checks"
    assert play(world, parse(found)).broken == [], "the same schedule holds without the bug"


@pytest.mark.parametrize(
    "text",
    [
        "documents=1 0.5b=rival:sweep 1.107b=error 1.58b=crash",
        "documents=1 0.4a=rival:collect/88 1.58a=error",
        "documents=1 0.131a=error 0.169b=later:+7d 0.3b=rival:sweep 1.77b=app:-400d",
    ],
)
def test_a_sweep_never_takes_what_is_being_received(world, text):
    """Not even where the clock of the archive is weeks ahead of that of its files, so that every file looks old."""
    world.time.advance(28 * 86400)
    assert play(world, parse(text)).broken == []


def test_there_are_enough_planted_bugs():
    assert len({bug.name for bug in PLANTED}) == len(PLANTED) >= 12


@pytest.mark.long
@pytest.mark.timeout(8 * 3600)
@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_of_a_family(name):
    assert run.main(["--family", name, "--jobs", str(os.cpu_count() or 1)]) == 0


@pytest.mark.long
@pytest.mark.timeout(8 * 3600)
def test_many_drawn_schedules():
    drawn_ones = ["--family", "random", "--limit", str(DRAWN)]
    assert run.main([*drawn_ones, "--jobs", str(os.cpu_count() or 1)]) == 0
