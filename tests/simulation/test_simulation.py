"""A slice of the simulation, small enough for every run; the whole of it is `python -m tests.simulation.run`."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.simulation.families import FAMILIES, Share
from tests.simulation.planted import PLANTED, planted
from tests.simulation.play import play
from tests.simulation.schedule import Schedule, drawn, parse
from tests.simulation.world import World, simulated_world

# Of each family: how many schedules of it are played, spread over the whole.
SLICE = {"singles": 40, "rivals": 12, "clocks": 10, "hostile": 12}
LONG = {"doubles": 20_000, "random": 100_000}
_TRIES = 60


@pytest.fixture(scope="module")
def world():
    with simulated_world() as made:
        yield made


def share_of(name: str, wanted: int) -> Share:
    """Every n-th schedule of a family, so that `wanted` of them are about what is played."""
    sizes = {"singles": 550, "rivals": 1050, "clocks": 1225, "hostile": 390}
    return Share(job=0, jobs=max(1, sizes[name] // wanted))


def test_nothing_need_go_wrong(world):
    for documents in (1, 3):
        played = play(world, Schedule(documents=documents), watch_calls=True)
        assert (played.broken, played.attempts) == ([], 1)
    calls = played.seen[0]
    assert {each.call.port for each in calls} >= {"database", "files", "encryption", "signer", "tsa", "replica-a"}
    assert 0 < sum(each.lasting for each in calls) < len(calls)


@pytest.mark.parametrize("name", SLICE)
def test_a_slice_of_each_family(world, name):
    played = list(islice(FAMILIES[name](world, share_of(name, SLICE[name])), 2 * SLICE[name]))
    assert len(played) >= SLICE[name] // 2
    assert [(str(each.schedule), each.broken) for each in played if each.broken] == []


def test_drawn_schedules(world):
    played = list(islice(FAMILIES["random"](world, Share()), 40))
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


def test_there_are_enough_planted_bugs():
    assert len({bug.name for bug in PLANTED}) == len(PLANTED) >= 12


@pytest.mark.long
@pytest.mark.timeout(8 * 3600)
@pytest.mark.parametrize("name", [*SLICE, *LONG])
def test_the_whole_of_a_family(world, name):
    played = islice(FAMILIES[name](world, Share()), LONG.get(name))
    assert [(str(each.schedule), each.broken) for each in played if each.broken] == []
