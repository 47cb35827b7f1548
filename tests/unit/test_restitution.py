"""Documents given back: whole, with their proofs, in a bag that other programs read, and attested."""

import csv
import io
import json
import shutil
import subprocess
from datetime import timedelta

import bagit
import pytest

from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from minutier.report import Verdict
from minutier.seal import check_seal
from minutier.trust import load_trust
from minutier.verify import verify
from storage import disposal, holds, restitution
from storage.destruction import Decision
from storage.memory import Fault
from storage.reading import technical_metadata
from storage.reception import current
from storage.restitution import safe_name
from storage.sweep import sweep
from tasks.bag import read_bag
from tasks.restituting import restitute, summary
from tests.support.clients import client_safe, holding
from tests.support.rig import Killed, break_call

WHY = Decision("end of the contract", "archivist-1")


@pytest.fixture
def three(rig):
    return [rig.deposit(f"document {n}\n".encode(), f"R-{n}", name=f"pièce {n}.pdf") for n in range(3)]


def payload(bag, deposit):
    return bag / "data" / "documents" / deposit.archive_id


def events(rig, kind):
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT entry FROM journal_event WHERE event = %s ORDER BY event_id", (kind,))
        return [json.loads(bytes(row["entry"])) for row in rows]


def test_what_was_deposited_comes_back_bit_for_bit_with_its_proof(rig, three, tmp_path):
    done = restitute(rig.archive, three, tmp_path / "bag", to="the town hall")
    for number, deposit in enumerate(three):
        folder = payload(done.folder, deposit)
        original = folder / "original" / f"pièce {number}.pdf"
        assert original.read_bytes() == f"document {number}\n".encode()
        assert json.loads((folder / "metadata.json").read_text())["fingerprint"] == deposit.fingerprint
        report = verify(folder / "proof.zip", load_trust(rig.archive.settings.trust_dir), rig.clock())
        assert report.verdict is Verdict.PASSED
    assert [each["archive_id"] for each in events(rig, "document:restituted")] == [each.archive_id for each in three]


def test_the_bag_is_one_for_others_too(rig, three, tmp_path):
    done = restitute(rig.archive, three, tmp_path / "bag")
    bag = bagit.Bag(str(done.folder))
    assert bag.validate()
    assert (bag.version_info, bag.info["External-Identifier"]) == ((1, 0), done.act.act_id)
    assert bag.info["Payload-Oxum"] == f"{done.bytes}.{done.files}"
    for name in ("sha256", "sha512"):
        for manifest in (f"manifest-{name}.txt", f"tagmanifest-{name}.txt"):
            command = [f"{name}sum", "--check", "--quiet", "--strict", manifest]
            assert subprocess.run(command, cwd=done.folder, check=False).returncode == 0


def test_the_attestation_says_what_was_given(rig, three, tmp_path):
    done = restitute(rig.archive, three, tmp_path / "bag", to="the town hall")
    body, seal = (done.folder / "restitution.json").read_bytes(), (done.folder / "restitution.json.p7s").read_bytes()
    check_seal(body, seal, rig.archive.seal_roots, done.act.at, rig.archive.crls)
    value = json.loads(body)
    assert (value["act"], value["to"], value["missing"]) == ("restitution", "the town hall", [])
    assert [each["fingerprint"] for each in value["documents"]] == [each.fingerprint for each in three]
    (entry,) = events(rig, "restitution:attested")
    assert (entry["details"]["act_id"], entry["details"]["documents"]) == (done.act.act_id, 3)


def test_the_index_names_each_file_and_starts_no_formula(rig, tmp_path):
    deposit = rig.deposit(b"one", "R-1", name="=cmd().pdf", dossier="-D")
    done = restitute(rig.archive, [deposit], tmp_path / "bag")
    text = (done.folder / "data" / "index.csv").read_bytes().decode("utf-8-sig")
    (line,) = csv.DictReader(io.StringIO(text), delimiter=";")
    assert (line["name"], line["dossier"]) == ("'=cmd().pdf", "'-D")
    assert (done.folder / line["file"]).read_bytes() == b"one"


def test_run_again_it_gives_the_metadata_of_today(rig, three, tmp_path):
    place = restitute(rig.archive, three, tmp_path / "bag").folder
    holds.place_hold(rig.archive, three[0].archive_id, "case", "clerk")
    rig.clock.advance(3600 * 24 * 40)
    assert sweep(rig.archive, budget=timedelta(minutes=1)).verdict == "clean"
    before = json.loads((payload(place, three[0]) / "metadata.json").read_bytes())
    restitute(rig.archive, three, tmp_path / "bag")
    after = json.loads((payload(place, three[0]) / "metadata.json").read_bytes())
    assert before != after == technical_metadata(rig.archive, current(rig.archive, three[0].archive_id))
    assert bagit.Bag(str(place)).validate()


def test_run_again_it_gives_the_same_attestation_and_journals_nothing_twice(rig, three, tmp_path):
    first = restitute(rig.archive, three, tmp_path / "bag")
    again = restitute(rig.archive, three, tmp_path / "bag")
    assert (again.act, summary(again)) == (first.act, summary(first))
    assert len(events(rig, "document:restituted")) == 3


def test_what_was_altered_in_the_bag_is_given_again(rig, three, tmp_path):
    done = restitute(rig.archive, three, tmp_path / "bag")
    original = next((payload(done.folder, three[1]) / "original").iterdir())
    original.write_bytes(b"altered")
    with pytest.raises(IntegrityFailureError) as stopped:
        read_bag(done.folder)
    assert stopped.value.code == "BAG_ALTERED"
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(str(done.folder)).validate()
    restitute(rig.archive, three, tmp_path / "bag")
    assert original.read_bytes() == b"document 1\n"


@pytest.mark.parametrize("act", ["missing", "added", "tag", "declaration"])
def test_a_bag_that_is_not_whole_is_told(rig, three, tmp_path, act):
    bag = restitute(rig.archive, three, tmp_path / "bag").folder
    if act == "missing":
        shutil.rmtree(payload(bag, three[0]))
    elif act == "added":
        (bag / "data" / "more").write_bytes(b"more")
    elif act == "tag":
        (bag / "restitution.json").write_bytes(b"{}")
    else:
        (bag / "bagit.txt").unlink()
    with pytest.raises(IntegrityFailureError) as stopped:
        read_bag(bag)
    assert stopped.value.code == "BAG_ALTERED"


def test_a_document_of_which_no_copy_is_good_is_said_and_hinders_no_other(rig, three, tmp_path):
    for store in rig.stores:
        (version,) = store.versions(f"demo/{three[1].archive_id}/original.age")
        store.damage(version.key, version.version_id, b"rotten")
    done = restitute(rig.archive, three, tmp_path / "bag")
    assert done.missing == ((three[1].archive_id, "NO_GOOD_COPY"),)
    assert [each["archive_id"] for each in done.act.value["missing"]] == [three[1].archive_id]
    assert done.given == (three[0].archive_id, three[2].archive_id)
    assert bagit.Bag(str(done.folder)).validate()
    assert list(done.folder.rglob(f"*{three[1].archive_id}*")) == []


def test_of_a_document_without_its_proof_not_even_the_original_stays_in_the_bag(rig, three, tmp_path, monkeypatch):
    write = restitution.write_proof

    def write_some(archive, deposit, target):
        if deposit == three[1]:
            raise IntegrityFailureError("PART_MISSING", "No manifest.", remedy="Rebuild.")
        return write(archive, deposit, target)

    monkeypatch.setattr(restitution, "write_proof", write_some)
    done = restitute(rig.archive, three, tmp_path / "bag")
    assert done.missing == ((three[1].archive_id, "PART_MISSING"),)
    assert list(done.folder.rglob(f"*{three[1].archive_id}*")) == []


@pytest.mark.parametrize("fault", [Fault.LOST, Killed], ids=["lost", "killed"])
def test_broken_at_any_call_it_goes_on(rig, three, tmp_path, fault):
    for number in range(100):
        bag = tmp_path / f"bag-{number}"
        for store in rig.stores:
            store.fault_hook = None
        break_call(rig, number, fault)
        try:
            restitute(rig.archive, three, bag)
            whole = True
        except (ServiceUnavailableError, Killed):
            whole = False
            assert not (bag / "bagit.txt").exists()
        for store in rig.stores:
            store.fault_hook = None
        done = restitute(rig.archive, three, bag)
        assert (len(done.given), done.missing) == (3, ())
        read_bag(bag)
        if whole and fault is Killed:
            break
        if whole and number > 12:
            break
    assert number >= 3


@pytest.mark.parametrize("what", ["file", "other files", "no parent", "other restitution"])
def test_a_place_that_is_not_for_it_is_refused_before_anything_is_read(rig, three, tmp_path, what):
    place = tmp_path / "place"
    if what == "file":
        place.write_bytes(b"mine")
    elif what == "other files":
        place.mkdir()
        (place / "mine").write_bytes(b"mine")
    elif what == "no parent":
        place = place / "below"
    else:
        restitute(rig.archive, three[:1], place)
        three = three[1:]
    before = len(events(rig, "document:restituted"))
    with pytest.raises(BadInputError) as stopped:
        restitute(rig.archive, three, place)
    assert stopped.value.code == "BAD_OUTPUT"
    assert len(events(rig, "document:restituted")) == before


def test_a_disk_too_small_is_told_first(rig, three, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(ServiceUnavailableError) as stopped:
        restitute(rig.archive, three, tmp_path / "bag")
    assert (stopped.value.code, events(rig, "document:restituted")) == ("DISK_FULL", [])
    with pytest.raises(BadInputError) as nothing:
        restitute(rig.archive, [], tmp_path / "bag")
    assert nothing.value.code == "NOTHING_TO_GIVE"


def test_what_only_its_client_opens_is_given_as_stored_and_age_opens_it(rig, tmp_path):
    identity = client_safe(rig)
    deposit = rig.deposit(b"for my eyes", "R-1", safe="notary")
    done = restitute(rig.archive, [deposit], tmp_path / "bag")
    folder = payload(done.folder, deposit)
    assert not (folder / "original").exists()
    secret, clear = tmp_path / "identity", tmp_path / "key"
    secret.write_text(identity.text())
    command = ["age", "--decrypt", "-i", str(secret), "-o", str(clear), str(folder / "document.key.age")]
    assert subprocess.run(command, check=False).returncode == 0
    opened = subprocess.run(
        ["age", "--decrypt", "-i", str(clear), str(folder / "original.age")], check=True, capture_output=True
    )
    assert opened.stdout == b"for my eyes"
    with_it = restitute(holding(rig.archive, identity), [deposit], tmp_path / "opened")
    assert next((payload(with_it.folder, deposit) / "original").iterdir()).read_bytes() == b"for my eyes"


def test_nothing_that_was_destroyed_is_given(rig, tmp_path):
    deposit = rig.deposit()
    rig.clock.advance(timedelta(days=366 * 6).total_seconds())
    disposal.empty_safe(rig.archive, "demo", WHY)
    gone = current(rig.archive, deposit.archive_id)
    with pytest.raises(PolicyRefusedError) as stopped:
        restitute(rig.archive, [gone], tmp_path / "bag")
    assert stopped.value.code == "DESTROYED"


def test_a_safe_is_emptied_of_what_may_go_and_the_rest_is_said(rig):
    old, held = rig.deposit(b"old", "R-1"), rig.deposit(b"held", "R-2")
    rig.clock.advance(timedelta(days=366 * 6).total_seconds())
    holds.place_hold(rig.archive, held.archive_id, "case", "clerk")
    young, waiting = rig.deposit(b"young", "R-3"), rig.deliver(b"waiting", "R-4")
    outcomes = {each.archive_id: each.outcome for each in disposal.empty_safe(rig.archive, "demo", WHY)}
    assert outcomes == {
        old.archive_id: "destroyed",
        held.archive_id: "HELD",
        young.archive_id: "RETENTION",
        waiting.archive_id: "NOT_ARCHIVED",
    }
    assert old.archive_id not in {each.archive_id for each in disposal.empty_safe(rig.archive, "demo", WHY)}
    with pytest.raises(BadInputError) as stopped:
        disposal.empty_safe(rig.archive, "nosuch", WHY)
    assert stopped.value.code == "UNKNOWN_SAFE"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("plan.pdf", "plan.pdf"),
        ("a/b\\c:d.pdf", "a_b_c_d.pdf"),
        ("../../etc/passwd", "_._etc_passwd"),
        (".hidden", "hidden"),
        ("", "document"),
        ("CON.pdf", "_CON.pdf"),
        ("nul", "_nul"),
        ("50%\r\n.pdf", "50___.pdf"),
        ("e\u0301t\u00e9.pdf", "\u00e9t\u00e9.pdf"),
        ("\u00e9" * 200 + ".pdf", "\u00e9" * 78 + ".pdf"),
        ("x." + "y" * 300, "x." + "y" * 158),
    ],
    ids=[
        "plain",
        "separators",
        "traversal",
        "hidden",
        "empty",
        "device",
        "bare-device",
        "marks",
        "nfc",
        "long",
        "tail",
    ],
)
def test_names_are_those_that_every_file_system_takes(name, given):
    assert safe_name(name) == given
    assert len(safe_name(name).encode()) <= 160
