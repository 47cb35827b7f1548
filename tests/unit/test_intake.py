"""The folder feed: nothing that came is missed, nothing that is wrong with one batch or line holds back another."""

import csv
import errno
import hashlib
import os
import shutil
import time
import traceback
from pathlib import Path

import pytest

from deployments import demo
from flows import intake as flow
from minutier.errors import BadInputError, ServiceUnavailableError
from storage import catalogue
from storage.reception import refuse_deposit
from tasks import door as at_door
from tasks import intake, receipts
from tasks.bordereau import COLUMNS, MANIFEST, RECEIPT, REPORT
from tasks.door import inbox, seconds_to_wait, waiting_batches
from tasks.intake import finish_batch, receive_batch
from tasks.samples.profiles import profiled_batch

NAMES = ("dupont-carte.txt", "martin-permis.txt")


@pytest.fixture
def door(tmp_path):
    folder = tmp_path / "door"
    folder.mkdir()
    return folder


def content(name):
    return f"the whole text of {name}\n".encode()


def deliver(door, name="2026-03-02", files=NAMES, leave_out=(), old=True):
    """Put a batch at a door, with dates of an hour ago; `leave_out` is listed and does not come."""
    folder = door / name
    folder.mkdir()
    rows = [";".join(COLUMNS)]
    for number, file in enumerate(files, start=1):
        data = content(file)
        digest = hashlib.sha256(data).hexdigest()
        rows.append(f"D-1;{name}/{number};piece;title;{file};{len(data)};{digest};2026-03-02")
        if file not in leave_out:
            (folder / file).write_bytes(data)
    (folder / MANIFEST).write_text("\r\n".join(rows) + "\r\n", "utf-8")
    if old:
        for path in (*folder.iterdir(), folder):
            os.utime(path, (time.time() - 3600,) * 2)
    return folder


def visit(rig, door):
    """Take what waits, as the flow does without carrying the documents on; gives the motifs of each batch taken."""
    rig.clock.advance(1)
    batches, unreadable = waiting_batches(rig.archive, "garage", door)
    taken = {}
    for batch in batches:
        report = finish_batch(rig.archive, batch, receive_batch(rig.archive, "garage", batch))
        taken[batch.name] = [line["motif"] for line in report["lines"]]
    return taken, [error.message for error in unreadable]


def receipt(folder):
    text = (folder / RECEIPT).read_text("utf-8-sig")
    return list(csv.DictReader(text.splitlines(), delimiter=";"))


def deposits(rig):
    with rig.archive.database.transaction() as connection:
        return catalogue.list_deposits(connection, "garage")


@pytest.fixture
def hurried(monkeypatch):
    """What is missing is missing at once."""
    monkeypatch.setattr(at_door, "QUIET_SECONDS", -1.0)


def test_a_whole_batch_is_taken_at_once_and_only_once(rig, door):
    folder = deliver(door, old=False)
    assert visit(rig, door) == ({"2026-03-02": ["", ""]}, [])
    assert visit(rig, door) == ({}, [])
    shutil.rmtree(folder)
    assert visit(rig, door) == ({}, [])


def test_a_manifest_that_kept_an_old_date_does_not_make_its_batch_quiet(rig, door):
    folder = deliver(door, leave_out=NAMES[1:])
    assert visit(rig, door) == ({}, [])
    assert 25 < seconds_to_wait(rig.archive, "garage", door) <= 30
    (folder / NAMES[1]).write_bytes(content(NAMES[1]))
    assert visit(rig, door)[0] == {"2026-03-02": ["", ""]}
    assert seconds_to_wait(rig.archive, "garage", door) == 0


def test_a_date_ahead_of_the_clock_is_not_waited_for(rig, door):
    folder = deliver(door, leave_out=NAMES[1:])
    os.utime(folder / MANIFEST, (time.time() + 10**7,) * 2)
    assert seconds_to_wait(rig.archive, "garage", door) <= 30


@pytest.mark.parametrize("moved", [".", MANIFEST, NAMES[0]])
def test_a_batch_in_which_anything_moved_is_not_quiet(rig, door, monkeypatch, moved):
    folder = deliver(door, leave_out=NAMES[1:])
    monkeypatch.setattr(at_door, "QUIET_SECONDS", 1000.0)
    newest = max((folder / each).stat().st_ctime for each in (".", MANIFEST, NAMES[0]))
    monkeypatch.setattr(at_door.time, "time", lambda: newest + 1001)
    assert seconds_to_wait(rig.archive, "garage", door) <= 0
    os.utime(folder / moved, (newest + 500,) * 2)
    assert 498 <= seconds_to_wait(rig.archive, "garage", door) <= 500


def test_a_file_that_comes_late_is_taken_and_the_receipt_written_anew(rig, door, hurried):
    folder = deliver(door, leave_out=NAMES[1:])
    assert visit(rig, door)[0] == {"2026-03-02": ["", "FILE_MISSING"]}
    assert [line["motif"] for line in receipt(folder)] == ["", "FILE_MISSING"]
    assert visit(rig, door) == ({}, [])
    (folder / NAMES[1]).write_bytes(content(NAMES[1]))
    os.utime(folder / NAMES[1], (1, 1))
    assert visit(rig, door)[0] == {"2026-03-02": ["", ""]}
    assert [line["motif"] for line in receipt(folder)] == ["", ""]
    assert visit(rig, door) == ({}, [])
    assert sorted(item.state for item in deposits(rig)) == ["RECEIVED", "RECEIVED", "REFUSED"]


def test_a_file_that_grew_after_its_refusal_is_taken(rig, door, hurried):
    folder = deliver(door)
    (folder / NAMES[1]).write_bytes(content(NAMES[1])[:5])
    assert visit(rig, door)[0] == {"2026-03-02": ["", "DIGEST_MISMATCH"]}
    assert visit(rig, door) == ({}, [])
    (folder / NAMES[1]).write_bytes(content(NAMES[1]))
    assert visit(rig, door)[0] == {"2026-03-02": ["", ""]}
    assert visit(rig, door) == ({}, [])


def test_a_batch_taken_again_and_again_adds_no_line_and_comes_to_rest(rig, door, hurried):
    folder = deliver(door, leave_out=NAMES[1:])
    visit(rig, door)
    late = folder / NAMES[1]
    late.write_bytes(b"wrong")
    assert visit(rig, door)[0] == {"2026-03-02": ["", "DIGEST_MISMATCH"]}
    late.unlink()
    visit(rig, door)
    assert visit(rig, door) == ({}, [])
    late.mkdir()
    assert visit(rig, door) == ({}, [])
    late.rmdir()
    os.utime(folder / NAMES[0])
    assert visit(rig, door) == ({}, [])
    assert sorted(item.refusal_code or "" for item in deposits(rig)) == ["", "DIGEST_MISMATCH", "FILE_MISSING"]


def test_a_document_that_came_is_not_missing_when_its_file_was_tidied_away(rig, door, hurried):
    folder = deliver(door)
    (batch,), _ = waiting_batches(rig.archive, "garage", door)
    receive_batch(rig.archive, "garage", batch)
    for name in NAMES:
        (folder / name).unlink()
    assert visit(rig, door)[0] == {"2026-03-02": ["", ""]}
    assert {line["archive_id"] for line in receipt(folder)} == {item.archive_id for item in deposits(rig)}
    assert {item.state for item in deposits(rig)} == {"RECEIVED"}


def test_a_document_that_came_keeps_its_answer_whatever_lies_in_its_place(rig, door, hurried):
    folder = deliver(door)
    (batch,), _ = waiting_batches(rig.archive, "garage", door)
    receive_batch(rig.archive, "garage", batch)
    live, refused = sorted(deposits(rig), key=lambda item: item.reference)
    refuse_deposit(rig.archive, refused, intake.RefusedDocumentError("DAMAGED", "It is damaged.", "Il est abîmé."))
    (folder / NAMES[0]).write_bytes(b"another text")
    (folder / NAMES[1]).unlink()
    assert visit(rig, door)[0] == {"2026-03-02": ["", "DAMAGED"]}
    assert [line["archive_id"] for line in receipt(folder)] == [live.archive_id, refused.archive_id]


@pytest.mark.parametrize(
    ("old", "new", "motif"),
    [
        (hashlib.sha256(content(NAMES[0])).hexdigest(), "0" * 64, "FILE_MISSING"),
        (";title;", ";another title;", ""),
        ("\r\n", "\n", ""),
    ],
    ids=["other-content", "its-first-description-stays", "the-same-document"],
)
def test_only_the_very_document_stands_for_a_missing_file(rig, door, hurried, old, new, motif):
    deliver(door, files=NAMES[:1])
    visit(rig, door)
    other = door / "other"
    other.mkdir()
    data = (door / "2026-03-02" / MANIFEST).read_bytes()
    (other / MANIFEST).write_bytes(data.replace(old.encode(), new.encode()))
    assert visit(rig, door)[0] == {"other": [motif]}


def test_a_link_is_refused_and_not_followed(rig, door, hurried):
    folder = deliver(door, leave_out=NAMES[1:])
    (folder.parent / "elsewhere").write_bytes(content(NAMES[1]))
    (folder / NAMES[1]).symlink_to(folder.parent / "elsewhere")
    assert visit(rig, door)[0] == {"2026-03-02": ["", "FILE_MISSING"]}


def failing(monkeypatch, method, name, error):
    """Make a method of Path fail on every file of a name: as root, no right is ever missing."""
    real = getattr(Path, method)

    def refused(self, *arguments, **more):
        if self.name == name:
            raise OSError(error, os.strerror(error), str(self))
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, method, refused)


def test_a_file_that_may_not_be_read_refuses_its_line_and_is_taken_once_it_may(rig, door, monkeypatch):
    folder = deliver(door)
    with monkeypatch.context() as patch:
        failing(patch, "open", NAMES[1], errno.EACCES)
        assert visit(rig, door)[0] == {"2026-03-02": ["", "NOT_READABLE"]}
        assert "n’a pas le droit de le lire" in receipt(folder)[1]["explication"]
        assert visit(rig, door) == ({}, [])
    (folder / NAMES[1]).chmod(0o640)
    assert visit(rig, door)[0] == {"2026-03-02": ["", ""]}


def test_a_file_that_goes_away_while_it_is_read_is_missing(rig, door, monkeypatch):
    deliver(door)
    with monkeypatch.context() as patch:
        failing(patch, "is_file", NAMES[0], errno.ENOENT)
        failing(patch, "open", NAMES[1], errno.ENOENT)
        assert visit(rig, door)[0] == {"2026-03-02": ["FILE_MISSING", "FILE_MISSING"]}


def test_a_failed_disk_stops_the_batch_and_tells_no_file_name(rig, door, monkeypatch):
    deliver(door)
    (batch,), _ = waiting_batches(rig.archive, "garage", door)
    failing(monkeypatch, "open", NAMES[1], errno.EIO)
    with pytest.raises(ServiceUnavailableError) as caught:
        receive_batch(rig.archive, "garage", batch)
    assert caught.value.code == "DISK_FAILED"
    assert not any(name in "".join(traceback.format_exception(caught.value)) for name in NAMES)


@pytest.mark.parametrize("file", ["é" * 190, "é" * 127 + "x", "é" * 128], ids=["380-bytes", "255-bytes", "256-bytes"])
def test_a_name_longer_than_a_file_system_takes_refuses_its_line(rig, door, hurried, file):
    deliver(door, files=(NAMES[0], file), leave_out=(file,))
    deliver(door, "later")
    code = "FILE_MISSING" if len(file.encode()) <= 255 else "MANIFEST_LINE_BAD"
    assert visit(rig, door) == ({"2026-03-02": ["", code], "later": ["", ""]}, [])


def test_a_name_too_long_for_this_disk_is_a_missing_file(rig, door, hurried, monkeypatch):
    deliver(door, leave_out=NAMES[1:])
    failing(monkeypatch, "lstat", NAMES[1], errno.ENAMETOOLONG)
    assert visit(rig, door)[0] == {"2026-03-02": ["", "FILE_MISSING"]}


def test_a_folder_whose_name_is_not_text_holds_back_no_other(rig, door):
    deliver(door).rename(door / "caf\udce9\n")
    deliver(door, "later")
    taken, (said,) = visit(rig, door)
    assert taken == {"later": ["", ""]}
    assert "caf\\udce9\\n cannot be read: the name of its folder is not UTF-8" in said
    said.encode()


@pytest.mark.parametrize(
    ("method", "name"),
    [("is_file", MANIFEST), ("stat", MANIFEST), ("read_bytes", MANIFEST), ("lstat", NAMES[0])],
    ids=["folder-closed", "folder-closed-later", "manifest-closed", "files-closed"],
)
def test_a_batch_that_may_not_be_read_holds_back_no_other(rig, door, monkeypatch, method, name):
    deliver(door)
    deliver(door, "later", files=("other.txt",))
    real = getattr(Path, method)

    def closed(self, *arguments, **more):
        if self.name == name and self.parent.name == "2026-03-02":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, method, closed)
    taken, (said,) = visit(rig, door)
    assert taken == {"later": [""]}
    assert said == f"The {MANIFEST} of batch 2026-03-02 cannot be read: Permission denied."


def test_a_value_that_nothing_foresaw_holds_back_no_other(rig, door, monkeypatch):
    deliver(door)
    deliver(door, "later")
    real = at_door.is_taken

    def broken(archive, feed, batch):
        if batch.name == "2026-03-02":
            raise ValueError(NAMES[0])
        return real(archive, feed, batch)

    monkeypatch.setattr(at_door, "is_taken", broken)
    taken, (said,) = visit(rig, door)
    assert taken == {"later": ["", ""]}
    assert NAMES[0] not in said


def test_what_root_keeps_on_a_disk_is_no_batch(rig, door):
    shutil.move(deliver(door), door / "lost+found")
    assert visit(rig, door) == ({}, [])


def test_a_door_that_may_not_be_read_is_said(rig, door, monkeypatch):
    failing(monkeypatch, "iterdir", door.name, errno.EACCES)
    with pytest.raises(BadInputError) as caught:
        waiting_batches(rig.archive, "garage", door)
    assert caught.value.code == "NOT_READABLE"


@pytest.mark.parametrize("feed", ["../../../evil", "Évil", "", "a/b", "-x"])
def test_a_feed_that_cannot_name_a_safe_makes_nothing(rig, door, feed):
    before = sorted(rig.folder.rglob("*"))
    for directory in (None, str(door)):
        with pytest.raises(BadInputError) as caught:
            inbox(rig.archive, feed, directory)
        assert caught.value.code == "BAD_NAME"
    assert sorted(rig.folder.rglob("*")) == before


@pytest.mark.parametrize(
    "error",
    [
        ServiceUnavailableError("DISK_FULL", "No room is left.", remedy="Free some."),
        PermissionError(errno.EACCES, "Permission denied"),
    ],
    ids=["full", "closed"],
)
def test_a_folder_that_takes_no_receipt_holds_back_no_other(rig, door, monkeypatch, error):
    first, later = deliver(door), deliver(door, "later")
    real = receipts.write_durably

    def full(path, data, **more):
        if path.parent == first:
            raise error
        real(path, data, **more)

    monkeypatch.setattr(receipts, "write_durably", full)
    assert visit(rig, door)[0] == {"2026-03-02": ["", ""], "later": ["", ""]}
    assert ((first / RECEIPT).exists(), (later / RECEIPT).exists()) == (False, True)
    with rig.archive.database.transaction() as connection:
        told = [row["report"]["receipt"] for row in connection.execute("SELECT report FROM batch ORDER BY name")]
    assert (told[0][:12], told[1]) == ("not written:", RECEIPT)
    assert visit(rig, door) == ({}, [])


class Ended:
    """The state of a step, as far as the flow looks at it."""

    def __init__(self, value=None, *, error=None):
        self.value, self.error = value, error

    def is_completed(self):
        return self.error is None

    def result(self, *, raise_on_failure=True):
        if self.error is not None and raise_on_failure:
            raise self.error
        return self.error or self.value


def test_a_batch_that_could_not_be_judged_is_answered_all_the_same_and_says_so(rig, door, monkeypatch):
    deliver(door, "lot")
    archive, told = rig.archive, []
    monkeypatch.setattr(flow, "current_archive", lambda: archive)
    monkeypatch.setattr(
        flow, "receive_waiting", lambda feed, name, batch, return_state: Ended(receive_batch(archive, feed, batch))
    )
    monkeypatch.setattr(flow, "deposit_documents", lambda title, tickets, return_state: Ended(None))
    monkeypatch.setattr(flow, "judge_whole", lambda *_, return_state: Ended(error=RuntimeError("no engine")))
    monkeypatch.setattr(
        flow, "give_receipt", lambda name, batch, received, return_state: told.append(received) or Ended({})
    )
    flow.take_feed.fn("garage", str(door))
    assert [(each.rule, each.line) for each in told[0].findings] == [("LOT-00", 0)]


@pytest.mark.parametrize("step", ["receive_waiting", "deposit_documents", "give_receipt"])
def test_a_batch_that_fails_holds_back_no_other_and_is_what_the_run_ends_with(rig, door, monkeypatch, step):
    for name in ("1-good", "2-bad", "3-good", "4-bad"):
        deliver(door, name)
    archive, stopped, receipts = rig.archive, [], []

    def outcome(name, value, *batch):
        # The name of the batch, whole: an archive_id in hexadecimal may say "bad" by chance.
        if name == step and any(each in str(batch) for each in ("2-bad", "4-bad")):
            stopped.append(ServiceUnavailableError("DOWN", f"{len(stopped)}", remedy="Try again."))
            return Ended(error=stopped[-1])
        return Ended(value)

    monkeypatch.setattr(flow, "current_archive", lambda: archive)
    monkeypatch.setattr(
        flow,
        "receive_waiting",
        lambda feed, name, batch, return_state: outcome("receive_waiting", receive_batch(archive, feed, batch), name),
    )
    monkeypatch.setattr(
        flow, "deposit_documents", lambda title, tickets, return_state: outcome("deposit_documents", None, tickets)
    )
    monkeypatch.setattr(
        flow, "give_receipt", lambda name, *_, return_state: receipts.append(name) or outcome("give_receipt", {}, name)
    )
    monkeypatch.setattr(flow, "judge_whole", lambda name, batch, received, return_state: Ended(received))
    with pytest.raises(ServiceUnavailableError) as caught:
        flow.take_feed.fn("garage", str(door))
    assert len(stopped) == 2
    assert caught.value is stopped[0]
    assert [name for name in receipts if "good" in name] == ["1-good", "3-good"]


LINES = [{"reference": "R-1", "archive_id": "a"}, {"reference": "R-2", "archive_id": "b"}]


@pytest.mark.parametrize(
    ("again", "after", "held"),
    [
        (LINES[::-1], {"ARCHIVED": 2}, True),
        (LINES, {"ARCHIVED": 3}, False),
        (LINES, {"ARCHIVED": 2, "REFUSED": 1}, False),
        ([LINES[0], {"reference": "R-2", "archive_id": "c"}], {"ARCHIVED": 2}, False),
        (LINES[:1], {"ARCHIVED": 2}, False),
        ([], {"ARCHIVED": 2}, False),
    ],
    ids=["same", "one-more", "one-more-refused", "another-answer", "a-line-less", "nothing-taken"],
)
def test_the_check_of_the_second_delivery_can_fail(again, after, held):
    assert demo.second_delivery(LINES, again, {"ARCHIVED": 2}, after).ok is held


@pytest.mark.parametrize(
    ("changed", "held"),
    [({}, True), ({"copies": 0}, False), ({"remaining": 1}, False), ({"verdict": "healed"}, False)],
)
def test_the_check_of_the_copies_can_fail(changed, held):
    assert demo.every_copy({"verdict": "clean", "copies": 10, "remaining": 0} | changed).ok is held


def test_the_demo_ends_with_the_error_of_a_run_that_did_not_complete(rig, door, monkeypatch):
    error = ServiceUnavailableError("TSA_DOWN", "No authority answers.", remedy="Try again.")
    monkeypatch.setattr("deployments.commands_documents.run_intake", lambda *_: ([], Ended(error=error)))
    with pytest.raises(ServiceUnavailableError) as caught:
        demo._take(rig.archive, "garage", door, lambda _: None)
    assert caught.value is error


def test_the_second_delivery_has_the_same_manifests_under_other_names(door, tmp_path):
    folder = deliver(door)
    (folder / RECEIPT).write_bytes(b"")
    second = tmp_path / "second-x1" / "garage"
    second.mkdir(parents=True)
    demo._deliver_again(door, second)
    (again,) = second.iterdir()
    assert again.name == "2026-03-02-x1"
    assert {path.name for path in again.iterdir()} == {MANIFEST, *NAMES}
    assert (again / MANIFEST).read_bytes() == (folder / MANIFEST).read_bytes()


def test_a_batch_that_follows_a_profile_tells_what_its_dossiers_lack(rig, door, hurried):
    expected = profiled_batch(door, "garage", lambda number: f"%PDF-1.7 {number}\n".encode())
    batches, unreadable = waiting_batches(rig.archive, "garage", door)
    assert unreadable == []
    (batch,) = batches
    report = finish_batch(rig.archive, batch, receive_batch(rig.archive, "garage", batch))
    assert [line["reference"] for line in report["lines"]] == [each.reference for each in expected]
    assert [line["motif"] for line in report["lines"]] == [""] * 6 + ["MANIFEST_LINE_BAD"]
    assert report["lines"][-1]["explication"] == (
        "Ligne 8, champ siret, règle SIV-03 : Le SIRET a 14 chiffres et sa clé de contrôle doit être juste."
    )
    told = {each["operation"]: (each["complete"], each["missing"]) for each in report["dossiers"]}
    assert told == {"DA": (True, []), "ADR": (False, ["MANDAT"])}
    page = (batch.folder / REPORT).read_text(encoding="utf-8")
    assert "3 pièces sur 4 ; il manque : mandat (Cerfa 13757)" in page
    assert "3 of 4, missing: mandat (Cerfa 13757)" in page
    assert "champ siret, règle SIV-03" in page
    assert "REFUSÉE, à corriger et à renvoyer" in page
    assert waiting_batches(rig.archive, "garage", door) == ([], [])
    found = deposits(rig)
    assert {each.lifecycle_class for each in found if each.state != "REFUSED"} == {"siv"}
    assert all("vin" in each.metadata for each in found if each.state != "REFUSED")


def test_a_dossier_grows_over_batches(rig, door, hurried):
    profiled_batch(door, "garage", lambda number: f"%PDF-1.7 {number}\n".encode())
    (batch,), _ = waiting_batches(rig.archive, "garage", door)
    finish_batch(rig.archive, batch, receive_batch(rig.archive, "garage", batch))
    lines = (batch.folder / MANIFEST).read_text().splitlines()
    header, row = lines[0].split(";"), dict(zip(lines[0].split(";"), lines[5].split(";"), strict=True))
    later = door / "later"
    later.mkdir()
    (later / "mandat.pdf").write_bytes(b"the mandate")
    digest = hashlib.sha256(b"the mandate").hexdigest()
    row |= {"no_ligne": "9", "type_piece": "MANDAT", "fichier": "mandat.pdf", "taille": "11", "sha256": digest}
    (later / MANIFEST).write_text("\n".join((lines[0], ";".join(row[name] for name in header))))
    (second,), _ = waiting_batches(rig.archive, "garage", door)
    report = finish_batch(rig.archive, second, receive_batch(rig.archive, "garage", second))
    (dossier,) = report["dossiers"]
    assert (dossier["operation"], dossier["complete"], dossier["documents"]) == ("ADR", True, 4)
