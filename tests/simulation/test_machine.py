"""Anything in any order: deliveries, conflicts, carrying, abandoning, collecting, time, deaths and silences anywhere.

Hypothesis draws the order and shrinks what breaks a promise to the few steps that do.
"""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from minutier.errors import MinutierError, ServiceUnavailableError
from storage import seam
from storage.abandoning import abandon
from storage.collector import clean_spool, collect_strays
from storage.reception import Delivery, current, receive
from storage.sweep import sweep
from tests.simulation.play import Killed
from tests.simulation.promises import Delivered, broken_at_the_end, broken_now
from tests.simulation.world import simulated_world
from tests.support.rig import carry

REFERENCES = [f"{safe}-{number}" for safe in ("demo", "town") for number in range(3)]
CONTENTS = [b"one content", b"another content"]
# Where, before or after, and whether the process dies; most steps meet nothing.
FAULTS = st.one_of(st.none(), st.tuples(st.integers(0, 180), st.sampled_from((seam.BEFORE, seam.AFTER)), st.booleans()))
FINISHED = ("ARCHIVED", "REFUSED", "ABANDONED")


class Machine(RuleBasedStateMachine):
    """The model: for each reference, the deposits that were answered, and the content of the one that lives."""

    given = Bundle("given")

    def __init__(self, world):
        super().__init__()
        self.world = world
        world.fresh()
        self.prefix = world.reference()
        self.case = Delivered({f"{self.prefix} {name}": b"" for name in REFERENCES})
        self.lost = False

    def faulty(self, act, fault):
        """Do it with a fault on the way; None when it was stopped by that or by an expected error."""
        dead = False

        def hook(call):
            nonlocal dead
            if fault is not None and (call.number, call.moment) == fault[:2]:
                dead = fault[2]
                if not dead:
                    raise ServiceUnavailableError("PLANTED", "no answer", remedy="Try again.")
            if dead:
                raise Killed

        try:
            with seam.installed(hook):
                return act()
        except (Killed, MinutierError):
            return None
        except FileNotFoundError:
            assert self.lost
            return None

    def live(self):
        rows = self.world.watch.execute(
            "SELECT archive_id, reference, state FROM deposit WHERE reference = ANY(%s)"
            " AND state NOT IN ('REFUSED', 'ABANDONED')",
            (list(self.case.data),),
        )
        return {row["reference"]: (str(row["archive_id"]), row["state"]) for row in rows}

    @rule(target=given, name=st.sampled_from(REFERENCES), content=st.sampled_from(CONTENTS), fault=FAULTS)
    def deliver(self, name, content, fault):
        reference = f"{self.prefix} {name}"
        before, path = self.live().get(reference), self.world.file(content)
        delivery = Delivery(path, name.partition("-")[0], "default", reference, "tests", name="file.pdf")
        found = self.faulty(lambda: receive(self.world.archive, delivery), fault)
        now = self.live().get(reference)
        if before is None:
            if now is not None:
                self.case.data[reference] = content
        elif content == self.case.data[reference]:
            assert now[0] == before[0]
            assert found is None or found.archive_id == before[0]
        else:
            assert now == before
            assert found is None or (found.state, found.refusal_code) == ("REFUSED", "REFERENCE_CONFLICT")
        return now[0] if now else ""

    @rule(archive_id=given, fault=FAULTS)
    def carry_one(self, archive_id, fault):
        if archive_id:
            self.faulty(lambda: carry(self.world.archive, [archive_id]), fault)

    @rule(fault=FAULTS)
    def carry_all(self, fault):
        ids = [archive_id for archive_id, _ in self.live().values()]
        self.faulty(lambda: carry(self.world.archive, ids), fault)

    @rule(archive_id=given, fault=FAULTS)
    def abandon_one(self, archive_id, fault):
        if not archive_id:
            return
        before = current(self.world.archive, archive_id).state
        found = self.faulty(lambda: abandon(self.world.archive, archive_id, "given up"), fault)
        after = current(self.world.archive, archive_id).state
        if before in ("COMMITTED", "LOCKED", "ARCHIVED", "REFUSED"):
            assert (found, after) == (None, before)
        elif fault is None:
            assert after == "ABANDONED"

    @rule(fault=FAULTS)
    def collect(self, fault):
        self.faulty(lambda: (collect_strays(self.world.archive), clean_spool(self.world.archive)), fault)

    @rule()
    def sweep_all(self):
        report = sweep(self.world.archive, budget=timedelta(minutes=1))
        assert report.verdict == "clean", report

    @rule(hours=st.sampled_from((1, 25, 8 * 24)))
    def time_passes(self, hours):
        self.world.time.advance(hours * 3600)

    @precondition(lambda self: not self.lost)
    @rule(archive_id=given)
    def waiting_files_are_lost(self, archive_id):
        if archive_id and current(self.world.archive, archive_id).state not in FINISHED:
            self.lost = True
            shutil.rmtree(self.world.archive.spool / archive_id, ignore_errors=True)

    @invariant()
    def every_promise_holds(self):
        assert broken_now(self.world, self.case) == []

    def teardown(self):
        """Send what lives once more, carry all to the end, and read it."""
        live = self.live()
        self.case.data = {reference: self.case.data[reference] for reference in live}
        for reference, content in self.case.data.items():
            safe = reference.split()[1].partition("-")[0]
            delivery = Delivery(self.world.file(content), safe, "default", reference, "tests", name="file.pdf")
            assert receive(self.world.archive, delivery).archive_id == live[reference][0]
        states = [found.state for found in carry(self.world.archive, [archive_id for archive_id, _ in live.values()])]
        assert set(states) <= {"ARCHIVED"}
        assert broken_now(self.world, self.case) == []
        assert broken_at_the_end(self.world, self.case) == []


def run_machines(count, steps, **more):
    with simulated_world() as world:
        run_state_machine_as_test(
            lambda: Machine(world),
            settings=settings(
                max_examples=count,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                **more,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_a_few_machines():
    # Nothing is shrunk here, for that may take minutes: what fails fails in the long run too, and is shrunk there.
    run_machines(6, 12, derandomize=True, phases=[Phase.generate])


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_many_machines():
    run_machines(2000, 45)
