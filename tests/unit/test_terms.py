"""Terms that run from an event: nothing goes before it is declared, and what was declared is never shortened."""

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta

import pytest

from minutier.algorithm_dates import AlgorithmDates, published_dates
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from storage import catalogue, disposal, healing, renewal, seam, terms, texts
from storage.batches import EVIDENCE
from storage.classes import LifecycleClass, create_class
from storage.destruction import Decision, certificate, destroy
from storage.memory import Fault
from storage.ports import LockState
from storage.reception import current
from storage.segments import extend_segments, keep_journal
from storage.sweep import sweep
from tasks.coherence import judge
from tests.support.authority import change_authority
from tests.support.rig import Killed, break_call, carry

WHY = Decision("end of the contract", "archivist-1")
CONTRACT = LifecycleClass("contract", "Contrats", 2, active_years=1, starts="event")


@pytest.fixture
def signed(rig):
    create_class(rig.archive, CONTRACT)
    return rig.deposit(b"contract\n", "R-1", lifecycle_class="contract")


def later(rig, days):
    rig.clock.advance(timedelta(days=days).total_seconds())


def term(rig, deposit):
    with rig.archive.database.transaction() as connection:
        return terms.term_of(connection, current(rig.archive, deposit.archive_id), rig.clock())


def begin(rig, deposit, on=None, reason="the contract ended"):
    return terms.begin(rig.archive, deposit.archive_id, on or rig.clock().date(), reason, "clerk-1")


def locks(rig, deposit):
    """Give the locks of all that a document rests on, on every replica."""
    found = [f"demo/{deposit.archive_id}/", f"{EVIDENCE}/{current(rig.archive, deposit.archive_id).token_id}/"]
    return [
        store.lock_state(version.key, version.version_id)
        for store in rig.stores
        for prefix in found
        for version in store.list_objects(prefix)
    ]


def events(rig):
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT entry FROM journal_event WHERE event = 'term:begun' ORDER BY event_id")
        return [json.loads(bytes(row["entry"])) for row in rows]


def test_a_life_goes_through_its_phases(rig, signed):
    seen = [term(rig, signed).phase]
    for days in (366, 366):
        later(rig, days)
        seen.append(term(rig, signed).phase)
    assert seen == ["active", "active", "awaiting"]
    assert term(rig, signed).ends is None
    begin(rig, signed)
    seen = [term(rig, signed).phase]
    for days in (367, 366):
        later(rig, days)
        seen.append(term(rig, signed).phase)
    assert seen == ["active", "intermediate", "ended"]


def test_a_class_without_active_years_is_intermediate_from_the_start(rig):
    create_class(rig.archive, LifecycleClass("papers", "t", 2, starts="event"))
    create_class(rig.archive, LifecycleClass("files", "t", 2, active_years=1))
    papers, files = (rig.deposit(name.encode(), name, lifecycle_class=name) for name in ("papers", "files"))
    seen = [(term(rig, papers).phase, term(rig, files).phase)]
    for days in (366, 366):
        later(rig, days)
        seen.append((term(rig, papers).phase, term(rig, files).phase))
    assert seen == [("intermediate", "active"), ("intermediate", "intermediate"), ("awaiting", "ended")]


@pytest.mark.parametrize(
    ("on", "kind", "end"),
    [
        (date(2026, 11, 27), "deposit", datetime(2028, 11, 28, tzinfo=UTC)),
        (date(2026, 2, 28), "deposit", datetime(2028, 3, 1, tzinfo=UTC)),
        (date(2028, 2, 29), "deposit", datetime(2030, 3, 1, tzinfo=UTC)),
        (date(2026, 12, 31), "deposit", datetime(2029, 1, 1, tzinfo=UTC)),
        (date(2026, 12, 31), "calendar", datetime(2029, 1, 1, tzinfo=UTC)),
        (date(2027, 1, 1), "calendar", datetime(2030, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_years_owe_the_whole_day_of_their_end(on, kind, end):
    assert LifecycleClass("x", "t", 2, term=kind, starts="event").retain_after(on) == end


def test_nothing_goes_before_its_event(rig, signed):
    later(rig, 800)
    with pytest.raises(PolicyRefusedError) as refused:
        destroy(rig.archive, signed.archive_id, WHY)
    assert refused.value.code == "EVENT_AWAITED"
    assert disposal.list_due(rig.archive, "archivist-1") is None
    assert current(rig.archive, signed.archive_id).state == "ARCHIVED"


def test_it_goes_once_the_term_of_its_event_is_over_and_the_papers_say_that_day(rig, signed):
    later(rig, 800)
    begun, new = begin(rig, signed)
    day = begun.event_on.replace(year=begun.event_on.year + 2) + timedelta(days=1)
    assert (new, begun.until) == (True, datetime(day.year, day.month, day.day, tzinfo=UTC))
    later(rig, 700)
    with pytest.raises(PolicyRefusedError) as refused:
        destroy(rig.archive, signed.archive_id, WHY)
    assert (refused.value.code, f"{begun.until:%Y-%m-%d}" in refused.value.message) == ("RETENTION", True)
    assert disposal.list_due(rig.archive, "archivist-1") is None
    later(rig, 32)
    paper = disposal.list_due(rig.archive, "archivist-1")
    assert [each["retained_until"] for each in paper.value["documents"]] == [f"{begun.until:%Y-%m-%dT%H:%M:%SZ}"]
    disposal.approve(rig.archive, paper.act_id, "director", "yearly")
    (gone,) = disposal.execute(rig.archive, paper.act_id)
    assert gone.outcome == "destroyed"
    assert certificate(rig.archive, signed.archive_id).value["retained_until"] == f"{begun.until:%Y-%m-%dT%H:%M:%SZ}"


def test_every_lock_is_extended_and_the_night_finds_nothing_to_say(rig, signed):
    before = {(lock.retain_until, lock.legal_hold) for lock in locks(rig, signed)}
    later(rig, 400)
    begun, _ = begin(rig, signed)
    after = locks(rig, signed)
    assert len(after) == 2 * 3
    assert {(lock.retain_until, lock.legal_hold) for lock in after} == {(begun.until, True)} != before
    assert sweep(rig.archive, budget=timedelta(minutes=1)).verdict == "clean"
    keep_journal(rig.archive)
    extend_segments(rig.archive)
    assert judge(rig.archive).broken == []
    (entry,) = events(rig)
    assert entry["details"] == {
        "event_on": begun.event_on.isoformat(),
        "until": f"{begun.until:%Y-%m-%dT%H:%M:%SZ}",
    }
    assert (entry["archive_id"], "contract ended" in json.dumps(entry)) == (signed.archive_id, False)


def test_the_term_that_was_sealed_is_the_least(rig, signed):
    sealed = current(rig.archive, signed.archive_id).retain_until
    begun, _ = begin(rig, signed, on=date(2001, 1, 1))
    assert begun.until == sealed == current(rig.archive, signed.archive_id).retain_until


def test_declared_again_it_is_the_same_later_it_grows_earlier_it_is_refused(rig, signed):
    first, _ = begin(rig, signed)
    assert begin(rig, signed, on=first.event_on, reason="another word") == (first, False)
    later(rig, 30)
    second, new = begin(rig, signed)
    assert (new, second.until > first.until) == (True, True)
    with pytest.raises(PolicyRefusedError) as refused:
        begin(rig, signed, on=first.event_on)
    assert (refused.value.code, term(rig, signed)) == ("TERM_SHORTENED", second)
    assert len(events(rig)) == 2


@pytest.mark.parametrize(
    ("on", "reason", "code"),
    [(date(2999, 1, 1), "ended", "BAD_DATE"), (date(2020, 1, 1), " ", "BAD_REASON")],
)
def test_what_cannot_be_is_said(rig, signed, on, reason, code):
    with pytest.raises(BadInputError) as refused:
        begin(rig, signed, on=on, reason=reason)
    assert (refused.value.code, events(rig)) == (code, [])


def test_a_class_that_waits_for_nothing_takes_no_event(rig):
    deposit = rig.deposit(b"one", "R-2")
    with pytest.raises(BadInputError) as refused:
        begin(rig, deposit, on=date(2020, 1, 1))
    assert refused.value.code == "NO_EVENT_AWAITED"


def test_a_document_that_went_has_no_term_any_more(rig, signed):
    begin(rig, signed)
    later(rig, 800)
    destroy(rig.archive, signed.archive_id, WHY)
    with pytest.raises(PolicyRefusedError) as refused:
        begin(rig, signed)
    assert refused.value.code == "NOT_ARCHIVED"


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNANSWERED, Killed], ids=["lost", "unanswered", "killed"])
def test_broken_at_any_call_no_lock_is_short_and_run_again_it_ends(rig, fault):
    create_class(rig.archive, CONTRACT)
    for number in range(100):
        deposit = rig.deposit(b"contract %d\n" % number, f"R-{number}", lifecycle_class="contract")
        break_call(rig, number, fault)
        try:
            begin(rig, deposit, on=rig.clock().date())
            whole = True
        except (ServiceUnavailableError, Killed):
            whole = False
        for store in rig.stores:
            store.fault_hook = None
        kept = current(rig.archive, deposit.archive_id).kept_until
        assert all(lock.retain_until >= kept for lock in locks(rig, deposit))
        assert sweep(rig.archive, budget=timedelta(minutes=1)).verdict == "clean"
        begin(rig, deposit, on=rig.clock().date())
        assert len(events(rig)) == number + 1
        if whole and number > 20:
            break
    assert number > 20


def test_killed_at_any_step_it_is_whole_or_not_there(rig, signed):
    later(rig, 400)
    on, known = rig.clock().date(), current(rig.archive, signed.archive_id)

    for number in range(200):

        def hook(call, last=number):
            if call.number >= last:
                raise Killed

        try:
            with seam.installed(hook):
                begin(rig, signed, on=on)
            break
        except Killed:
            begun = term(rig, signed).event_on is not None
            assert begun or (current(rig.archive, signed.archive_id), events(rig)) == (known, [])
            kept = current(rig.archive, signed.archive_id).kept_until
            assert all(lock.legal_hold and lock.retain_until >= kept for lock in locks(rig, signed))
    assert (number > 20, term(rig, signed).event_on, len(events(rig))) == (True, on, 1)


def test_a_store_that_is_away_leaves_the_term_as_it_was(rig, signed):
    later(rig, 400)

    def hook(_call):
        return Fault.LOST

    rig.stores[1].fault_hook = hook
    with pytest.raises(ServiceUnavailableError):
        begin(rig, signed)
    assert (term(rig, signed).event_on, events(rig)) == (None, [])


def test_a_copy_that_is_gone_is_mended_before_its_lock_is_extended(rig, signed):
    later(rig, 400)
    (version,) = rig.stores[0].versions(f"demo/{signed.archive_id}/original.age")
    rig.stores[0].damage(version.key, version.version_id, b"rotten")
    with pytest.raises(IntegrityFailureError) as stopped:
        begin(rig, signed)
    assert (stopped.value.code, term(rig, signed).event_on, events(rig)) == ("COPY_DAMAGED", None, [])
    assert sweep(rig.archive, budget=timedelta(minutes=1)).healed == 1
    begun, _ = begin(rig, signed)
    assert {lock.retain_until for lock in locks(rig, signed)} >= {begun.until}


def test_a_store_that_left_the_settings_is_named(rig, signed):
    with pytest.raises(ServiceUnavailableError) as stopped:
        terms.begin(
            dataclasses.replace(rig.archive, replicas=rig.archive.replicas[:1]),
            signed.archive_id, rig.clock().date(), "it ended", "clerk",
        )  # fmt: skip
    assert (stopped.value.code, events(rig)) == ("STORE_UNKNOWN", [])


@pytest.fixture
def read_by_machine(rig, signed):
    """A document with its recognised text, which was deposited later and has a later term of its own."""
    later(rig, 40)
    text = rig.deposit(b"the words\n", "T-1", lifecycle_class="contract", depositor="minutier")
    say_text(rig, signed, text)
    return signed, text


def say_text(rig, source, text):
    with rig.archive.database.transaction() as connection:
        texts.keep(connection, source.archive_id, rig.clock(), "", text.archive_id)


def kept(rig, deposit):
    return current(rig.archive, deposit.archive_id).kept_until


def test_the_text_of_a_document_is_kept_as_long(rig, read_by_machine):
    source, text = read_by_machine
    later(rig, 400)
    begun, _ = begin(rig, source)
    assert {kept(rig, each) for each in read_by_machine} == {begun.until}
    assert {term(rig, each).event_on for each in read_by_machine} == {begun.event_on}
    later(rig, 730)
    assert disposal.list_due(rig.archive, "archivist-1") is None
    later(rig, 2)
    paper = disposal.list_due(rig.archive, "archivist-1")
    assert [each["archive_id"] for each in paper.value["documents"]] == [text.archive_id, source.archive_id]


def test_a_term_that_is_longer_already_is_not_shortened_by_that_of_another(rig, read_by_machine):
    source, text = read_by_machine
    sealed = kept(rig, text)
    begun, _ = begin(rig, source, on=date(2001, 1, 1))
    assert (kept(rig, source), kept(rig, text), begun.until < sealed) == (begun.until, sealed, True)
    assert all(lock.retain_until >= sealed for lock in locks(rig, text))
    assert judge(rig.archive).broken == []


def test_an_event_is_not_declared_on_a_text(rig, read_by_machine):
    source, text = read_by_machine
    with pytest.raises(BadInputError) as refused:
        begin(rig, text)
    assert (refused.value.code, source.archive_id in refused.value.remedy) == ("NO_EVENT_AWAITED", True)
    assert events(rig) == []


def test_a_text_still_on_its_way_stays_as_long_as_its_source(rig, signed):
    text = rig.deliver(b"the words\n", "T-1", lifecycle_class="contract", depositor="minutier")
    say_text(rig, signed, text)
    later(rig, 400)
    begun, _ = begin(rig, signed)
    (text,) = carry(rig.archive, [text.archive_id])
    # As where it was sealed before the day of the event: its own term is shorter.
    with rig.archive.database.transaction() as connection:
        connection.execute(
            "UPDATE deposit SET retain_until = %s WHERE archive_id = %s",
            (begun.until - timedelta(days=30), text.archive_id),
        )
    assert (kept(rig, text) < begun.until, term(rig, text).ends) == (True, begun.until)
    later(rig, 720)
    assert disposal.list_due(rig.archive, "archivist-1") is None
    with pytest.raises(PolicyRefusedError) as refused:
        destroy(rig.archive, text.archive_id, WHY)
    assert refused.value.code == "RETENTION"
    again, new = begin(rig, signed, on=begun.event_on)
    assert (again.until, again.event_on, new) == (begun.until, begun.event_on, False)
    assert kept(rig, text) == begun.until
    assert all(lock.retain_until >= begun.until for lock in locks(rig, text))
    later(rig, 12)
    paper = disposal.list_due(rig.archive, "archivist-1")
    assert [each["archive_id"] for each in paper.value["documents"]] == [text.archive_id, signed.archive_id]


def test_a_text_that_is_being_destroyed_is_not_touched(rig, read_by_machine):
    source, text = read_by_machine
    with rig.archive.database.exclusive(f"deposit {text.archive_id}"):
        with pytest.raises(ServiceUnavailableError) as stopped:
            begin(rig, source)
    assert (stopped.value.code, events(rig)) == ("BUSY", [])


@pytest.mark.parametrize("renewed", ["time-stamp", "hash-tree"])
def test_the_locks_of_renewals_are_extended_too(rig, signed, renewed):
    rig = change_authority(rig, end=rig.clock() + timedelta(days=365 * 20), strong=True)
    if renewed == "hash-tree":
        dates = published_dates()
        ends = {**dates.ends, "sha256": rig.clock() + timedelta(days=100)}
        rig = dataclasses.replace(
            rig, archive=dataclasses.replace(rig.archive, dates=AlgorithmDates("a drill", ends))
        )  # fmt: skip
    renewal.renew(rig.archive, margin=timedelta(days=365 * 11))
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT token_id FROM token WHERE leaves IS NOT NULL").fetchall()
    tokens = {str(row["token_id"]) for row in rows}
    assert len(tokens) > 1
    later(rig, 400)
    begun, _ = begin(rig, signed)
    files = [
        store.lock_state(version.key, version.version_id).retain_until
        for store in rig.stores
        for token in tokens
        for version in store.list_objects(f"{EVIDENCE}/{token}/")
    ]
    assert (len(files) >= 2 * len(tokens), min(files) >= begun.until) == (True, True)
    assert judge(rig.archive).broken == []
    with rig.archive.database.transaction() as connection:
        connection.execute(
            "UPDATE object SET retain_until = %s WHERE archive_id = ANY(%s) AND archive_id <> %s",
            (begun.until - timedelta(days=1), list(tokens), signed.token_id),
        )
    assert [each.name for each in judge(rig.archive).broken] == ["token-file-locked"]


def heal_one(rig, deposit):
    (version, *_) = rig.stores[0].versions(f"demo/{deposit.archive_id}/original.age")
    rig.stores[0].damage(version.key, version.version_id, b"rotten")
    assert sweep(rig.archive, budget=timedelta(minutes=1)).healed == 1


def whole(rig, deposit):
    until = kept(rig, deposit)
    with rig.archive.database.transaction() as connection:
        copies = catalogue.copies(connection, deposit.archive_id)
        keys = {role: item.key for role, item in catalogue.objects(connection, deposit.archive_id).items()}
    for copy in copies:
        lock = rig.archive.replica(copy.replica).lock_state(keys[copy.role], copy.version_id)
        assert lock.retain_until >= until <= copy.locked_until, copy
    assert judge(rig.archive).broken == []


def test_a_copy_mended_while_its_lock_is_extended_is_not_left_behind(rig, signed, monkeypatch):
    later(rig, 400)
    lock = terms._lock

    def lock_then_heal(archive, deposit, until):
        found = lock(archive, deposit, until)
        heal_one(rig, deposit)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(terms, "_lock", lock_then_heal)
        with pytest.raises(ServiceUnavailableError) as stopped:
            begin(rig, signed)
    assert (stopped.value.code, events(rig), term(rig, signed).event_on) == ("STATE_MOVED", [], None)
    begin(rig, signed)
    whole(rig, signed)


@pytest.mark.parametrize("bad", ["damaged", "unlocked"])
def test_a_term_that_begins_while_a_copy_is_mended_is_its_term(rig, signed, monkeypatch, bad):
    later(rig, 400)
    lock, begun = healing.lock_version, []

    def lock_then_begin(*args):
        lock(*args)
        if not begun:
            begun.append(begin(rig, signed))

    monkeypatch.setattr(healing, "lock_version", lock_then_begin)
    if bad == "damaged":
        with rig.archive.database.transaction() as connection:
            item = catalogue.objects(connection, signed.archive_id)["original"]
            (copy,) = [
                each
                for each in catalogue.copies(connection, signed.archive_id)
                if (each.role, each.replica) == ("original", rig.stores[0].name)
            ]
        assert healing.heal(rig.archive, item, copy)
    else:
        (version,) = rig.stores[0].versions(f"demo/{signed.archive_id}/original.age")
        entry = rig.stores[0]._find(version.key, version.version_id)
        entry.lock = LockState(entry.lock.retain_until - timedelta(days=1), legal_hold=True)
        assert sweep(rig.archive, budget=timedelta(minutes=1)).healed == 1
    assert len(begun) == 1
    whole(rig, signed)
