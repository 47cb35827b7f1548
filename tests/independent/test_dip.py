"""What is given back is described as SEDA wants it: the published schemas say so, and read every address of it."""

import hashlib
from urllib.parse import unquote

import pytest
from lxml import etree

from tasks.dip import NAMESPACE
from tasks.restituting import restitute
from tests.independent.seda.schemas import schema
from tests.support.clients import client_safe

S = f"{{{NAMESPACE}}}"


@pytest.fixture
def bag(rig, tmp_path):
    """A bag of all that can be in one: dossiers, none, a hostile title, an own name, a client's document."""
    one = rig.deposit(b"one", "R-1", dossier="SIV-2026-00042", metadata={"title": "Mandat", "description": "Signé"})
    two = rig.deposit(b"two", "R-2", dossier="SIV-2026-00042", name="pièce n° 2 & <autre>.pdf")
    three = rig.deposit(b"three", "R-3", metadata={"title": "\x01 \x1f\ufffe"}, name="trois.txt")
    client_safe(rig)
    four = rig.deposit(b"four", "R-4", safe="notary", name="quatre.pdf")
    done = restitute(rig.archive, [one, two, three, four], tmp_path / "bag", to="la mairie")
    assert done.missing == ()
    return done, [one, two, three, four]


@pytest.mark.parametrize("version", ["2.2", "2.3"])
def test_the_schema_validates_it(bag, version, tmp_path):
    done, _ = bag
    text = (done.folder / "data" / "manifest.xml").read_bytes()
    assert text.count(b"seda:v2.3") == 1
    tree = etree.fromstring(text.replace(b"seda:v2.3", f"seda:v{version}".encode()))
    judge = schema(version, tmp_path)
    assert judge.validate(tree), judge.error_log
    # The judge can say no.
    tree.find(f".//{{{NAMESPACE.removesuffix('2.3')}{version}}}Size").text = "much"
    assert not judge.validate(tree)


@pytest.mark.parametrize(
    ("below", "after", "added", "taken"),
    [
        ("BinaryDataObject", "DataObjectVersion", "<DataObjectUse>BinaryMaster</DataObjectUse>", True),
        ("Content", None, "<SigningInformation><SigningRole>Timestamp</SigningRole></SigningInformation>", True),
        ("Content", None, "<SigningInformation><SigningRole>Notary</SigningRole></SigningInformation>", False),
        ("Content", None, "<Signature><Masterdata>x</Masterdata></Signature>", False),
    ],
)
def test_the_judge_of_2_3_knows_what_2_3_changed(bag, tmp_path, below, after, added, taken):
    tree = etree.parse(bag[0].folder / "data" / "manifest.xml").getroot()
    (unit,) = tree.xpath(f"(//s:{below})[1]", namespaces={"s": NAMESPACE})
    place = len(unit) if after is None else unit.index(unit.find(f"{S}{after}")) + 1
    unit.insert(place, etree.fromstring(added.replace(">", f' xmlns="{NAMESPACE}">', 1)))
    assert schema("2.3", tmp_path).validate(tree) is taken


def test_what_is_missing_is_asked_for_and_the_reply_says_so(rig, tmp_path):
    one, two = rig.deposit(b"one", "R-1"), rig.deposit(b"two", "R-2")
    for number, bad in enumerate(([one], [one, two])):
        for store in rig.stores:
            (version,) = store.versions(f"demo/{bad[-1].archive_id}/original.age")
            store.damage(version.key, version.version_id, b"rotten")
        done = restitute(rig.archive, [one, two], tmp_path / f"bag-{number}")
        root = etree.parse(done.folder / "data" / "manifest.xml").getroot()
        judge = schema("2.3", tmp_path)
        assert judge.validate(root), judge.error_log
        assert root.findtext(f"{S}ReplyCode") == ("WARNING", "KO")[number]
        assert {each.text for each in root.iter(f"{S}UnitIdentifier")} == {one.archive_id, two.archive_id}


def test_every_data_object_is_the_file_it_says(bag):
    done, deposits = bag
    root = etree.parse(done.folder / "data" / "manifest.xml").getroot()
    named = {}
    for item in root.iter(f"{S}BinaryDataObject"):
        path = done.folder / "data" / unquote(item.findtext(f"{S}Uri"))
        data = path.read_bytes()
        assert item.findtext(f"{S}MessageDigest") == hashlib.sha256(data).hexdigest()
        assert int(item.findtext(f"{S}Size")) == len(data)
        named[path] = item
    there = {path for path in (done.folder / "data" / "documents").rglob("*") if path.is_file()}
    assert {path.name for path in there - set(named)} == {
        "metadata.json",
        "document.key.age",
        "manifest.age",
        "record.age",
    } & {path.name for path in there}
    assert {each.text for each in root.iter(f"{S}FormatId")} == {"fmt/276"}
    assert [each.text for each in root.iter(f"{S}UnitIdentifier")] == [each.archive_id for each in deposits]
    groups = {each.get("id") for each in root.iter(f"{S}DataObjectGroup")}
    assert {each.text for each in root.iter(f"{S}DataObjectGroupReferenceId")} == groups


def test_dossiers_hold_their_documents_and_what_has_no_spelling_is_said(bag):
    done, _ = bag
    root = etree.parse(done.folder / "data" / "manifest.xml").getroot()
    tops = root.find(f".//{S}DescriptiveMetadata").findall(f"{S}ArchiveUnit")
    titles = [each.findtext(f"{S}Content/{S}Title") for each in tops]
    assert titles == ["SIV-2026-00042", "\ufffd \ufffd\ufffd", "quatre.pdf"]
    inside = [each.findtext(f"{S}Content/{S}Title") for each in tops[0].findall(f"{S}ArchiveUnit")]
    assert inside == ["Mandat", "pièce n° 2 & <autre>.pdf"]
    assert root.findtext(f"{S}Requester/{S}Identifier") == "la mairie"
