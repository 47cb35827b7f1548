"""The end of a document: what keeps it, how it goes, what stays of it."""

import json
from datetime import timedelta

import pytest

from minutier.errors import BadInputError, MinutierError, PolicyRefusedError, ServiceUnavailableError
from minutier.seal import check_seal
from storage import acts, catalogue, classes, disposal, healing, holds, reading, seam
from storage.classes import LifecycleClass, create_class
from storage.destruction import Decision, begun, certificate, destroy, go_on
from storage.memory import Fault
from storage.reception import current
from storage.segments import keep_journal
from storage.sweep import sweep
from tests.support.rig import Killed, break_call

WHY = Decision("end of its class", "archivist-1")


def later(rig, years=6):
    """Let years pass, for the archive and its stores."""
    rig.clock.advance(timedelta(days=366 * years).total_seconds())


def refused(call):
    with pytest.raises(PolicyRefusedError) as stopped:
        call()
    return stopped.value.code


def left(rig, deposit):
    """Count the versions that lie under a document's name, on all stores."""
    return sum(len(list(store.list_objects(f"{deposit.safe}/{deposit.archive_id}/"))) for store in rig.stores)


def rows(rig, query, *values):
    with rig.archive.database.transaction() as connection:
        return connection.execute(query, values).fetchall()


def events(rig, archive_id):
    found = rows(rig, "SELECT entry FROM journal_event WHERE archive_id = %s ORDER BY event_id", archive_id)
    return [json.loads(bytes(row["entry"])) for row in found]


def test_a_document_goes_at_its_term_and_leaves_its_certificate(rig):
    deposit = rig.deposit()
    later(rig)
    paper = destroy(rig.archive, deposit.archive_id, WHY)
    assert left(rig, deposit) == 0
    assert rig.archive.keys.kept(deposit.archive_id) is None
    value = paper.value
    assert (value["act"], value["archive_id"], value["fingerprint"]) == (
        "destruction",
        deposit.archive_id,
        deposit.fingerprint,
    )
    assert [each["answer"] for each in value["versions"]] == ["deleted"] * 4
    assert {each["replica"] for each in value["versions"]} == {"replica-a", "replica-b"}
    check_seal(paper.body, paper.seal, rig.archive.seal_roots, paper.at, rig.archive.crls)
    assert certificate(rig.archive, deposit.archive_id) == paper
    named = [each["details"].get("act_id") for each in events(rig, deposit.archive_id)]
    assert named.count(paper.act_id) == 1


def test_the_tombstone_names_the_document_and_says_nothing_of_its_content(rig):
    deposit = rig.deposit(metadata={"title": "Dupont"}, name="dupont.pdf", dossier="D-1")
    later(rig)
    destroy(rig.archive, deposit.archive_id, WHY)
    stone = current(rig.archive, deposit.archive_id)
    assert (stone.state, stone.reference, stone.dossier, stone.fingerprint) == (
        "DESTROYED",
        "R-1",
        "D-1",
        deposit.fingerprint,
    )
    assert (stone.name, stone.metadata, stone.manifest, stone.seal, stone.screening) == ("", {}, None, None, None)
    for table in ("document_key", "object", "replica_copy", "evidence_chain"):
        assert rows(rig, f"SELECT 1 FROM {table} WHERE archive_id = %s", deposit.archive_id) == []


def test_a_destroyed_document_is_read_by_nobody_and_its_reference_is_free(rig, tmp_path):
    deposit = rig.deposit()
    later(rig)
    destroy(rig.archive, deposit.archive_id, WHY)
    for identifier in (deposit.archive_id, deposit.fingerprint):
        found = reading.find(rig.archive, identifier)
        assert refused(lambda found=found: reading.read(rig.archive, found, tmp_path / "out")) == "DESTROYED"
    again = rig.deposit()
    assert (again.state, again.archive_id != deposit.archive_id) == ("ARCHIVED", True)
    assert reading.find(rig.archive, deposit.fingerprint).archive_id == again.archive_id


def test_nothing_goes_a_second_before_its_term(rig):
    deposit = rig.deposit()
    rig.clock.advance((deposit.retain_until - rig.clock()).total_seconds() - 1)
    with pytest.raises(PolicyRefusedError, match="its class is default") as stopped:
        destroy(rig.archive, deposit.archive_id, WHY)
    assert stopped.value.code == "RETENTION"
    assert current(rig.archive, deposit.archive_id).state == "ARCHIVED"
    rig.clock.advance(1)
    destroy(rig.archive, deposit.archive_id, WHY)


def test_a_lock_longer_than_the_class_keeps_the_document_alive(rig):
    deposit = rig.deposit()
    store = rig.stores[1]
    version = next(store.list_objects(f"demo/{deposit.archive_id}/"))
    store.extend_lock(version.key, version.version_id, deposit.retain_until + timedelta(days=900), legal_hold=True)
    later(rig)
    assert refused(lambda: destroy(rig.archive, deposit.archive_id, WHY)) == "RETENTION"
    assert (current(rig.archive, deposit.archive_id).state, left(rig, deposit)) == ("ARCHIVED", 4)


def test_a_hold_keeps_a_document_until_it_is_released(rig):
    deposit = rig.deposit()
    later(rig)
    hold, placed = holds.place_hold(rig.archive, deposit.archive_id, "case 12/345", "clerk")
    assert placed
    assert holds.place_hold(rig.archive, deposit.archive_id, "case 12/345", "clerk") == (hold, False)
    assert refused(lambda: destroy(rig.archive, deposit.archive_id, WHY)) == "HELD"
    assert disposal.list_due(rig.archive, "archivist-1") is None
    (released,) = holds.release_holds(rig.archive, deposit.archive_id, "case closed", "clerk")
    assert (released.hold_id, released.release_reason) == (hold.hold_id, "case closed")
    assert holds.release_holds(rig.archive, deposit.archive_id, "case closed", "clerk") == []
    destroy(rig.archive, deposit.archive_id, WHY)
    assert refused(lambda: holds.place_hold(rig.archive, deposit.archive_id, "too late", "clerk")) == "CANNOT_HOLD"


def test_of_two_holds_the_one_to_release_is_named(rig):
    deposit = rig.deposit()
    first, _ = holds.place_hold(rig.archive, deposit.archive_id, "one", "clerk")
    second, _ = holds.place_hold(rig.archive, deposit.archive_id, "two", "clerk")
    for hold_id, code in (("", "SEVERAL_HOLDS"), ("no such", "UNKNOWN_HOLD")):
        with pytest.raises(BadInputError) as stopped:
            holds.release_holds(rig.archive, deposit.archive_id, "done", "clerk", hold_id)
        assert stopped.value.code == code
    holds.release_holds(rig.archive, deposit.archive_id, "done", "clerk", first.hold_id)
    with rig.archive.database.transaction() as connection:
        assert holds.all_standing(connection) == [second]


def test_a_reason_stays_out_of_the_journal(rig):
    deposit = rig.deposit()
    later(rig)
    holds.place_hold(rig.archive, deposit.archive_id, "complaint of Dupont", "clerk")
    holds.release_holds(rig.archive, deposit.archive_id, "Dupont withdrew", "clerk")
    destroy(rig.archive, deposit.archive_id, Decision("Dupont asked", "archivist-1"))
    assert "Dupont" not in json.dumps(events(rig, deposit.archive_id))


@pytest.mark.parametrize(
    ("lifecycle", "visa", "code"),
    [
        (LifecycleClass("for-ever", "t", 1, disposition="keep"), "V-1", "KEPT"),
        (LifecycleClass("sorted", "t", 1, disposition="sort"), "", "VISA_NEEDED"),
        (LifecycleClass("with-visa", "t", 1, visa=True), "", "VISA_NEEDED"),
        (LifecycleClass("sorted", "t", 1, disposition="sort"), "V-1", ""),
        (LifecycleClass("with-visa", "t", 1, visa=True), "V-1", ""),
    ],
    ids=["kept", "sort-without", "visa-without", "sort-with", "visa-with"],
)
def test_a_class_decides_what_goes(rig, lifecycle, visa, code):
    create_class(rig.archive, lifecycle)
    deposit = rig.deposit(lifecycle_class=lifecycle.name)
    later(rig)
    decision = Decision("its class", "archivist-1", visa=visa)
    if code:
        assert refused(lambda: destroy(rig.archive, deposit.archive_id, decision)) == code
        assert current(rig.archive, deposit.archive_id).state == "ARCHIVED"
    else:
        assert destroy(rig.archive, deposit.archive_id, decision).value["visa"] == visa


def test_a_registration_file_ends_with_the_fifth_calendar_year(rig):
    deposit = rig.deposit(lifecycle_class="siv")
    end = deposit.retain_until
    assert (end.year, end.month, end.day, end.hour) == (deposit.received_at.year + 6, 1, 1, 0)


def test_only_what_is_archived_can_be_destroyed(rig):
    archive_id = rig.deliver().archive_id
    later(rig)
    assert refused(lambda: destroy(rig.archive, archive_id, WHY)) == "NOT_ARCHIVED"
    assert refused(lambda: go_on(rig.archive, archive_id)) == "NOT_DESTROYED"
    assert refused(lambda: certificate(rig.archive, archive_id)) == "NOT_DESTROYED"


def test_versions_that_nothing_points_to_go_too(rig):
    deposit = rig.deposit()
    store = rig.stores[0]
    version = next(store.list_objects(f"demo/{deposit.archive_id}/"))
    stray = rig.folder / "stray"
    stray.write_bytes(b"an earlier write")
    store.put(version.key, stray, rig.clock() + timedelta(days=1))
    later(rig)
    assert len(destroy(rig.archive, deposit.archive_id, WHY).value["versions"]) == 5
    assert left(rig, deposit) == 0


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNANSWERED, Killed], ids=["lost", "unanswered", "killed"])
def test_broken_at_any_call_to_a_store_it_is_ended_by_running_again(rig, fault):
    deposits = [rig.deposit(str(number).encode(), f"R-{number}") for number in range(60)]
    later(rig)
    for number, deposit in enumerate(deposits):
        break_call(rig, number, fault)
        try:
            destroy(rig.archive, deposit.archive_id, WHY)
            whole = True
        except (ServiceUnavailableError, Killed):
            whole = False
        for store in rig.stores:
            store.fault_hook = None
        before = current(rig.archive, deposit.archive_id)
        if before.state == "ARCHIVED":
            assert left(rig, deposit) == 4
            assert rig.archive.keys.kept(deposit.archive_id)
        value = destroy(rig.archive, deposit.archive_id, WHY).value
        assert {each["answer"] for each in value["versions"]} <= {"deleted", "absent"}
        assert len(value["versions"]) == 4
        assert left(rig, deposit) == 0
        assert current(rig.archive, deposit.archive_id).state == "DESTROYED"
        if whole:
            break
    assert whole
    assert number > 20


def test_killed_at_every_call_to_the_database_it_ends_once(rig):
    deposits = [rig.deposit(str(number).encode(), f"R-{number}") for number in range(60)]
    later(rig)
    for number, deposit in enumerate(deposits):

        def kill(call, at=number):
            if call.number == at:
                raise Killed

        try:
            with seam.installed(kill):
                destroy(rig.archive, deposit.archive_id, WHY)
            whole = True
        except Killed:
            whole = False
        paper = destroy(rig.archive, deposit.archive_id, WHY)
        assert left(rig, deposit) == 0
        papers = rows(rig, "SELECT certificate_id FROM destruction WHERE archive_id = %s", deposit.archive_id)
        assert [str(row["certificate_id"]) for row in papers] == [paper.act_id]
        kinds = [each["event"] for each in events(rig, deposit.archive_id)]
        assert (kinds.count("deposit:destroying"), kinds.count("deposit:destroyed")) == (1, 1)
        if whole:
            break
    assert whole
    assert number > 20


def test_a_store_that_is_away_leaves_it_unreadable_and_waiting(rig, tmp_path):
    deposit = rig.deposit()
    later(rig)
    away = rig.stores[1]
    deletions = []

    def hook(call):
        if call.act == "delete_version":
            deletions.append(call)
            return Fault.LOST
        return None

    away.fault_hook = hook
    with pytest.raises(ServiceUnavailableError):
        destroy(rig.archive, deposit.archive_id, WHY)
    with rig.archive.database.transaction() as connection:
        assert begun(connection) == [deposit.archive_id]
    found = current(rig.archive, deposit.archive_id)
    assert refused(lambda: reading.read(rig.archive, found, tmp_path / "out")) == "DESTROYED"
    (waiting,) = disposal.go_on_all(rig.archive)
    assert (waiting.outcome, len(deletions)) == ("STORE_UNANSWERED", 2)
    away.fault_hook = None
    (ended,) = disposal.go_on_all(rig.archive)
    assert ended.outcome == "destroyed"
    assert disposal.go_on_all(rig.archive) == []


def test_a_key_file_that_came_back_goes_again(rig):
    deposit = rig.deposit()
    wrapped = rig.archive.keys.kept(deposit.archive_id)
    later(rig)
    destroy(rig.archive, deposit.archive_id, WHY)
    rig.archive.keys.keep(deposit.archive_id, wrapped)
    disposal.go_on_all(rig.archive)
    assert rig.archive.keys.kept(deposit.archive_id) is None


def test_what_is_destroyed_while_it_is_mended_is_not_pointed_to_again(rig, monkeypatch):
    deposit = rig.deposit()
    later(rig)
    (version,) = rig.stores[0].versions(f"demo/{deposit.archive_id}/original.age")
    rig.stores[0].damage(version.key, version.version_id, b"rotten")
    real = healing.place

    def place(*arguments, **more):
        placed = real(*arguments, **more)
        destroy(rig.archive, deposit.archive_id, WHY)
        return placed

    monkeypatch.setattr(healing, "place", place)
    monkeypatch.setattr("storage.destruction.require_allowed", lambda *_: None)
    sweep(rig.archive, budget=timedelta(hours=1))
    assert rows(rig, "SELECT 1 AS one FROM replica_copy WHERE archive_id = %s", deposit.archive_id) == []


def test_sweep_and_segments_know_what_was_destroyed(rig):
    kept, gone = rig.deposit(b"kept", "R-1"), rig.deposit(b"gone", "R-2")
    keep_journal(rig.archive)
    later(rig)
    destroy(rig.archive, gone.archive_id, WHY)
    keep_journal(rig.archive)
    report = sweep(rig.archive, budget=timedelta(hours=1))
    assert report.as_dict()["findings"] == []
    assert current(rig.archive, kept.archive_id).state == "ARCHIVED"
    assert left(rig, kept) == 4


def test_a_list_goes_only_when_another_person_approves_it(rig):
    due = [rig.deposit(str(n).encode(), f"R-{n}") for n in range(3)]
    assert disposal.list_due(rig.archive, "archivist-1") is None
    later(rig)
    fresh = rig.deposit(b"fresh", "R-9")
    paper = disposal.list_due(rig.archive, "archivist-1")
    listed = [each["archive_id"] for each in paper.value["documents"]]
    assert sorted(listed) == sorted(each.archive_id for each in due)
    assert disposal.list_due(rig.archive, "archivist-1") == paper
    assert refused(lambda: disposal.approve(rig.archive, paper.act_id, "Archivist-1", "yearly")) == "SAME_PERSON"
    assert refused(lambda: disposal.execute(rig.archive, paper.act_id)) == "NOT_APPROVED"
    holds.place_hold(rig.archive, listed[1], "case", "clerk")
    for _ in range(2):
        disposal.approve(rig.archive, paper.act_id, "director", "yearly")
    assert refused(lambda: disposal.approve(rig.archive, paper.act_id, "other", "yearly")) == "ALREADY_APPROVED"
    seen = []
    outcomes = disposal.execute(rig.archive, paper.act_id, lambda done, of: seen.append((done, of)))
    assert [each.outcome for each in outcomes] == ["destroyed", "HELD", "destroyed"]
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    states = [current(rig.archive, each).state for each in (*listed, fresh.archive_id)]
    assert states == ["DESTROYED", "ARCHIVED", "DESTROYED", "ARCHIVED"]
    value = certificate(rig.archive, listed[0]).value
    assert (value["requested_by"], value["approved_by"], value["list_id"]) == ("archivist-1", "director", paper.act_id)
    again = disposal.execute(rig.archive, paper.act_id)
    assert [each.outcome for each in again] == ["destroyed", "HELD", "destroyed"]


def test_a_list_with_what_needs_a_visa_wants_it(rig):
    create_class(rig.archive, LifecycleClass("with-visa", "t", 5, visa=True))
    rig.deposit(lifecycle_class="with-visa")
    rig.deposit(b"2", "R-2")
    later(rig)
    paper = disposal.list_due(rig.archive, "archivist-1")
    assert refused(lambda: disposal.approve(rig.archive, paper.act_id, "director", "yearly")) == "VISA_NEEDED"
    disposal.approve(rig.archive, paper.act_id, "director", "yearly", "AD-2042-7")
    visas = {each.archive_id for each in disposal.execute(rig.archive, paper.act_id)}
    papers = [certificate(rig.archive, archive_id).value for archive_id in visas]
    assert {each["class"]: each["visa"] for each in papers} == {"with-visa": "AD-2042-7", "default": ""}


def test_a_paper_altered_in_the_database_is_not_given(rig):
    deposit = rig.deposit()
    later(rig)
    paper = destroy(rig.archive, deposit.archive_id, WHY)
    altered = paper.body.replace(b"end of its class", b"END of its class")
    rows(rig, "UPDATE sealed_act SET body = %s WHERE act_id = %s RETURNING 1 AS one", altered, paper.act_id)
    with pytest.raises(MinutierError) as stopped:
        certificate(rig.archive, deposit.archive_id)
    assert stopped.value.code == "ACT_ALTERED"
    with pytest.raises(BadInputError) as unknown:
        acts.get(rig.archive, "no such")
    assert unknown.value.code == "UNKNOWN_ACT"


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501], ids=["empty", "blank", "lines", "long"])
def test_a_reason_is_one_line(rig, reason):
    deposit = rig.deposit()
    with pytest.raises(BadInputError) as stopped:
        holds.place_hold(rig.archive, deposit.archive_id, reason, "clerk")
    assert stopped.value.code == "BAD_REASON"


def test_classes_say_their_fate(rig):
    with rig.archive.database.transaction() as connection:
        found = {each.name: each for each in classes.all_classes(connection)}
    assert set(found) == {"default", "siv", "planning-keep", "planning-sort", "planning-destroy"}
    assert found["siv"].words() == "5 years to the 1 January after that, then destroyed"
    assert found["planning-destroy"].words() == "10 years from the deposit, then destroyed, with a visa"
    assert catalogue.DESTROYED_STATES == ("DESTROYING", "DESTROYED")
