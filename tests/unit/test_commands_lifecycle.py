"""The commands on the end of life: one JSON document each, exit codes of the contract, the same call twice."""

import json
from contextlib import contextmanager
from datetime import timedelta

import pytest

from deployments import commands_lifecycle, commands_reading, commands_restitution, commands_safes
from deployments.cli import run
from minutier.errors import ServiceUnavailableError
from minutier.seal import check_seal
from storage import terms
from storage.reception import current


@pytest.fixture
def command(rig, monkeypatch, capsys):
    @contextmanager
    def running():
        yield rig.archive

    for module in (commands_lifecycle, commands_reading, commands_restitution, commands_safes):
        monkeypatch.setattr(module, "running_archive", running)

    def call(*arguments):
        code = run(["--json", *(str(each) for each in arguments)])
        return code, json.loads(capsys.readouterr().out)

    return call


def years_later(rig):
    rig.clock.advance(timedelta(days=366 * 6).total_seconds())


def test_a_hold_from_its_placing_to_its_release(rig, command):
    archive_id = rig.deposit().archive_id
    code, placed = command("hold", archive_id, "--reason", "case 1", "--by", "clerk")
    assert (code, placed["new"], placed["placed_by"]) == (0, True, "clerk")
    assert command("hold", archive_id, "--reason", "case 1", "--by", "clerk")[1]["new"] is False
    _, listed = command("holds")
    assert [each["hold_id"] for each in listed] == [placed["hold_id"]]
    years_later(rig)
    code, refused = command("destroy", archive_id, "--reason", "term")
    assert (code, refused["error"]["code"]) == (4, "HELD")
    code, value = command("release", archive_id, "--reason", "closed")
    assert (code, value) == (0, {"archive_id": archive_id, "released": [placed["hold_id"]], "standing": 0})
    assert command("release", archive_id, "--reason", "closed")[1]["released"] == []


def test_an_event_begins_the_term_of_a_dossier(rig, command):
    code, made = command("class", "create", "contract", "--years", 2, "--on-event", "--active-years", 1)
    assert (code, made["starts"], made["active_years"]) == (0, "event", 1)
    assert command("class", "create", "contract", "--years", 2, "--on-event")[1]["error"]["code"] == "CLASS_EXISTS"
    assert command("class", "create", "other", "--years", 2, "--active-years", 3)[1]["error"]["code"] == "BAD_CLASS"
    given = sorted(
        rig.deposit(b"%d" % n, f"R-{n}", dossier="C-1", lifecycle_class="contract").archive_id for n in range(2)
    )
    other = rig.deposit(b"of another class", "R-8", dossier="C-1").archive_id
    rig.deposit(b"beside", "R-9", dossier="C-2", lifecycle_class="contract")
    years_later(rig)
    code, refused = command("destroy", given[0], "--reason", "term")
    assert (code, refused["error"]["code"]) == (4, "EVENT_AWAITED")
    on = rig.clock().date().isoformat()
    code, begun = command("begin-term", "--dossier", "C-1", "--on", on, "--reason", "it ended", "--by", "clerk")
    assert (code, [each["archive_id"] for each in begun]) == (0, given)
    assert {(each["new"], each["event_on"], each["phase"]) for each in begun} == {(True, on, "active")}
    code, again = command("begin-term", given[0], "--on", on, "--reason", "it ended")
    assert (code, again) == (0, [begun[0] | {"new": False}])
    for wrong, code in (
        ((given[0], "--on", "soon"), "BAD_DATE"),
        ((given[0], "--on", "2020-W10-1"), "BAD_DATE"),
        ((given[0], "--on", "20200101"), "BAD_DATE"),
        (("--on", on, "--dossier", "none"), "NOTHING_NAMED"),
        (("--on", on, other), "NO_EVENT_AWAITED"),
    ):
        assert command("begin-term", *wrong, "--reason", "r")[1]["error"]["code"] == code


def test_a_document_that_cannot_take_the_event_keeps_it_from_all(rig, command):
    command("class", "create", "contract", "--years", 2, "--on-event")
    first = rig.deposit(b"one", "R-1", lifecycle_class="contract").archive_id
    other = rig.deposit(b"two", "R-2").archive_id
    code, refused = command("begin-term", first, other, "--on", "2020-01-01", "--reason", "it ended")
    assert (code, refused["error"]["code"]) == (2, "NO_EVENT_AWAITED")
    with rig.archive.database.transaction() as connection:
        found = terms.term_of(connection, current(rig.archive, first), rig.clock())
    assert found.event_on is None


def test_a_store_that_fails_midway_is_said_with_what_was_done(rig, command, monkeypatch):
    command("class", "create", "contract", "--years", 2, "--on-event")
    given = [rig.deposit(b"%d" % n, f"R-{n}", lifecycle_class="contract").archive_id for n in range(2)]
    begin, calls = terms.begin, iter((True, False))

    def begin_once(*args):
        if next(calls):
            return begin(*args)
        raise ServiceUnavailableError("STORE_DOWN", "The store is away.", remedy="Wait.")

    monkeypatch.setattr(terms, "begin", begin_once)
    code, stopped = command("begin-term", *given, "--on", "2020-01-01", "--reason", "it ended")
    assert (code, "1 of 2 documents" in stopped["error"]["message"]) == (3, True)


def test_destruction_and_its_certificate(rig, command, tmp_path):
    deposit = rig.deposit()
    code, early = command("destroy", deposit.fingerprint, "--reason", "asked")
    assert (code, early["error"]["code"]) == (4, "RETENTION")
    assert deposit.retain_until.strftime("%Y-%m-%d") in early["error"]["message"]
    code, none_yet = command("certificate", deposit.archive_id, "-o", tmp_path)
    assert (code, none_yet["error"]["code"]) == (4, "NOT_DESTROYED")
    years_later(rig)
    code, value = command("destroy", deposit.archive_id, "--reason", "term", "--by", "archivist")
    assert (code, value["state"], value["certificate"]["requested_by"]) == (0, "DESTROYED", "archivist")
    assert command("destroy", deposit.archive_id, "--reason", "term", "--by", "archivist") == (code, value)
    code, written = command("certificate", deposit.archive_id, "-o", tmp_path)
    body, seal = ((tmp_path / f"{deposit.archive_id}.destruction.json{end}").read_bytes() for end in ("", ".p7s"))
    assert (code, len(written["files"]), json.loads(body)) == (0, 2, value["certificate"])
    check_seal(body, seal, rig.archive.seal_roots, rig.clock(), rig.archive.crls)
    code, gone = command("read", deposit.archive_id, "-o", tmp_path / "out")
    assert (code, gone["error"]["code"]) == (4, "DESTROYED")
    assert command("check", deposit.archive_id)[0] == 4


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("hold", "nosuch", "--reason", "r"), "UNKNOWN_ID"),
        (("hold", "ID", "--reason", " "), "BAD_REASON"),
        (("hold", "ID", "--reason", "r", "--by", "x" * 81), "BAD_PERSON"),
        (("destroy", "ID"), "USAGE"),
        (("certificate", "ID", "-o", "/no/such"), "BAD_OUTPUT"),
        (("restitute", "-o", "bag"), "USAGE"),
        (("restitute", "ID", "--safe", "demo", "-o", "bag"), "USAGE"),
        (("restitute", "--safe", "nosuch", "-o", "bag"), "UNKNOWN_SAFE"),
        (("empty", "nosuch", "--reason", "r"), "UNKNOWN_SAFE"),
        (("class", "create", "c", "--years", "5", "--fate", "burn"), "BAD_CLASS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value)[:24].strip(),
)
def test_wrong_calls_say_what_is_wrong(rig, command, arguments, code):
    archive_id = rig.deposit().archive_id
    found, value = command(*(archive_id if each == "ID" else each for each in arguments))
    assert (found, value["error"]["code"]) == (2, code)
    assert value["error"]["remedy"]


def test_restitution_of_a_dossier_and_of_documents(rig, command, tmp_path):
    one, two = rig.deposit(b"1", "R-1", dossier="A"), rig.deposit(b"2", "R-2", dossier="B")
    code, value = command("restitute", "--safe", "demo", "--dossier", "A", "-o", tmp_path / "a", "--to", "garage")
    assert (code, value["given"], value["missing"]) == (0, [one.archive_id], [])
    code, value = command("restitute", two.fingerprint, one.archive_id, "-o", tmp_path / "both")
    assert (code, value["given"]) == (0, [two.archive_id, one.archive_id])
    for store in rig.stores:
        (version,) = store.versions(f"demo/{two.archive_id}/original.age")
        store.damage(version.key, version.version_id, b"rotten")
    code, value = command("restitute", "--safe", "demo", "-o", tmp_path / "all")
    assert (code, value["missing"]) == (1, [{"archive_id": two.archive_id, "code": "NO_GOOD_COPY"}])


def test_a_safe_is_emptied_or_what_stays_is_said(rig, command):
    deposit = rig.deposit()
    code, value = command("empty", "demo", "--reason", "end of contract")
    assert (code, value["empty"], value["left"][0]["outcome"]) == (4, False, "RETENTION")
    years_later(rig)
    code, value = command("empty", "demo", "--reason", "end of contract")
    assert (code, value) == (0, {"safe": "demo", "empty": True, "destroyed": [deposit.archive_id], "left": []})
    assert current(rig.archive, deposit.archive_id).state == "DESTROYED"


def test_classes_are_made_with_their_fate(rig, command):
    code, made = command("class", "create", "plans", "--years", "10", "--fate", "sort", "--calendar")
    assert (code, made["fate"], made["term"]) == (0, "sort", "calendar")
    _, listed = command("class", "list")
    (found,) = [each for each in listed if each["name"] == "plans"]
    assert (found["disposition"], found["needs_visa"]) == ("sort", True)
    code, other = command("class", "create", "plans", "--years", "10")
    assert (code, other["error"]["code"]) == (2, "CLASS_EXISTS")
