"""Any order of deposits, holds, events, years, visas, lists, destructions, restitutions and crashes.

What must stay stays readable; what went is told by a certificate, a tombstone and the journal.
"""

import itertools
import shutil
from contextlib import ExitStack
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from minutier.errors import MinutierError
from minutier.retention import retain_until
from minutier.seal import check_seal
from storage import disposal, holds, reading, seam, terms
from storage.classes import LifecycleClass, create_class
from storage.destruction import Decision, certificate, destroy
from storage.reception import current
from storage.sweep import sweep
from tasks.restituting import restitute
from tests.support.rig import Killed, make_rig

CLASSES = {
    "one-year": LifecycleClass("one-year", "t", 1),
    "calendar": LifecycleClass("calendar", "t", 1, term="calendar"),
    "with-visa": LifecycleClass("with-visa", "t", 1, visa=True),
    "for-ever": LifecycleClass("for-ever", "t", 1, disposition="keep"),
    "on-event": LifecycleClass("on-event", "t", 1, starts="event"),
}
# At which call the process dies, if it does.
DEATHS = st.one_of(st.none(), st.integers(0, 60))
VISAS = st.sampled_from(("", "AD-1"))


class Machine(RuleBasedStateMachine):
    """The model: of each document its class, whether a hold stands, and whether it may have gone."""

    given = Bundle("given")

    def __init__(self, make):
        super().__init__()
        self.close = ExitStack()
        self.rig = self.close.enter_context(make())
        self.archive = self.rig.archive
        self.held, self.classes, self.numbers = set(), {}, itertools.count()
        self.decided = set()
        self.declared = {}
        for each in CLASSES.values():
            create_class(self.archive, each)

    def dying(self, act, death):
        def hook(call):
            if death is not None and call.number >= death:
                raise Killed

        try:
            with seam.installed(hook):
                return act()
        except (Killed, MinutierError):
            return None

    def may_go(self, archive_id, visa):
        lifecycle, deposit = CLASSES[self.classes[archive_id]], current(self.archive, archive_id)
        day = self.declared.get(archive_id)
        ends = [deposit.retain_until]
        if day:
            ends.append(retain_until(datetime.combine(day + timedelta(days=1), time(), UTC), 1))
        return (
            archive_id not in self.held
            and lifecycle.disposition != "keep"
            and (lifecycle.starts == "deposit" or day is not None)
            and self.rig.clock() >= max(ends)
            and bool(visa or not lifecycle.needs_visa)
        )

    def left(self, archive_id):
        return sum(len(list(store.list_objects(f"demo/{archive_id}/"))) for store in self.rig.stores)

    @rule(target=given, name=st.sampled_from(sorted(CLASSES)))
    def deposit(self, name):
        number = next(self.numbers)
        found = self.rig.deposit(b"document %d" % number, f"R-{number}", lifecycle_class=name)
        self.classes[found.archive_id] = name
        return found.archive_id

    @rule(archive_id=given)
    def hold(self, archive_id):
        if archive_id not in self.decided:
            holds.place_hold(self.archive, archive_id, "case", "clerk")
            self.held.add(archive_id)

    @rule(archive_id=given)
    def release(self, archive_id):
        holds.release_holds(self.archive, archive_id, "closed", "clerk")
        self.held.discard(archive_id)

    @rule(archive_id=given, ago=st.sampled_from((0, 100, 5000)), death=DEATHS)
    def declare(self, archive_id, ago, death):
        day = (self.rig.clock() - timedelta(days=ago)).date()
        before = self.declared.get(archive_id)
        may = CLASSES[self.classes[archive_id]].starts == "event" and archive_id not in self.decided
        done = self.dying(lambda: terms.begin(self.archive, archive_id, day, "it ended", "clerk"), death)
        if death is None:
            assert (done is not None) == (may and (before is None or before <= day))
        with self.archive.database.transaction() as connection:
            found = terms.term_of(connection, current(self.archive, archive_id), self.rig.clock())
        if found is not None and found.event_on != before:
            assert (found.event_on, before is None or before < day) == (day, True)
            self.declared[archive_id] = day

    @rule(days=st.sampled_from((1, 200, 367)))
    def time_passes(self, days):
        # Not past the end of the development certificates.
        if next(self.numbers) < 15:
            self.rig.clock.advance(timedelta(days=days).total_seconds())

    @rule(archive_id=given, visa=VISAS, death=DEATHS)
    def destroy_one(self, archive_id, visa, death):
        allowed = self.may_go(archive_id, visa)
        self.dying(lambda: destroy(self.archive, archive_id, Decision("term", "a", visa=visa)), death)
        if allowed or archive_id in self.decided:
            self.decided |= {archive_id} if current(self.archive, archive_id).state != "ARCHIVED" else set()
        else:
            assert current(self.archive, archive_id).state == "ARCHIVED"

    @rule(visa=VISAS, death=DEATHS)
    def purge(self, visa, death):
        allowed = {archive_id for archive_id in self.classes if self.may_go(archive_id, visa)}

        def both():
            paper = disposal.list_due(self.archive, "archivist")
            if paper is not None:
                disposal.approve(self.archive, paper.act_id, "director", "yearly", visa)
                disposal.execute(self.archive, paper.act_id)

        self.dying(both, death)
        self.decided |= {each for each in allowed if current(self.archive, each).state != "ARCHIVED"}

    @rule(archive_id=given, death=DEATHS)
    def give_back(self, archive_id, death):
        place = self.rig.folder / "bag"
        shutil.rmtree(place, ignore_errors=True)
        found = current(self.archive, archive_id)
        done = self.dying(lambda: restitute(self.archive, [found], place), death)
        assert done is None or archive_id not in self.decided

    @rule()
    def sweep_all(self):
        report = sweep(self.archive, budget=timedelta(minutes=1))
        assert (report.findings, report.proofs_bad) == ([], []) or report.as_dict()["verdict"] == "clean"

    @invariant()
    def what_must_stay_stays_and_what_went_is_told(self):
        for archive_id in self.classes:
            state = current(self.archive, archive_id).state
            if archive_id not in self.decided:
                assert (state, self.left(archive_id)) == ("ARCHIVED", 4)
                assert self.archive.keys.kept(archive_id) is not None
            else:
                assert state in ("DESTROYING", "DESTROYED")
                assert archive_id not in self.held
            if state == "DESTROYED":
                assert self.left(archive_id) == 0
                assert self.archive.keys.kept(archive_id) is None

    def teardown(self):
        """End what had begun; read what stays; check every certificate."""
        disposal.go_on_all(self.archive)
        for archive_id in self.classes:
            found = current(self.archive, archive_id)
            target = self.rig.folder / "given-back"
            if archive_id in self.decided:
                paper = certificate(self.archive, archive_id)
                assert paper.value["fingerprint"] == found.fingerprint
                check_seal(paper.body, paper.seal, self.archive.seal_roots, paper.at, self.archive.crls)
                with pytest.raises(MinutierError):
                    reading.read(self.archive, found, target)
            else:
                reading.read(self.archive, found, target)
        self.close.close()


def run_machines(postgres, certified_home, folder, count, steps, **more):
    numbers = itertools.count()

    def make():
        place = folder / str(next(numbers))
        place.mkdir()
        shutil.copytree(certified_home, place / "home")
        return make_rig(postgres.database(), place)

    run_state_machine_as_test(
        lambda: Machine(make),
        settings=settings(
            max_examples=count,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )


def test_a_few_lives(postgres, certified_home, tmp_path):
    run_machines(postgres, certified_home, tmp_path, 4, 15, derandomize=True, phases=[Phase.generate])


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_lives(postgres, certified_home, tmp_path):
    run_machines(postgres, certified_home, tmp_path, 300, 30)
