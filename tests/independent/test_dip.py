"""What is given back is described as SEDA wants it: the published schemas say so, and read every address of it."""

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote

import pytest
from lxml import etree

from tasks.dip import NAMESPACE
from tasks.restituting import restitute
from tests.support.clients import client_safe

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minutier"
_SCHEMAS = _CACHE / "seda-2.4.1" / "cubicweb_seda" / "xsd"
S = f"{{{NAMESPACE}}}"


def schema(version: str):
    if version == "2.3":
        named = os.environ.get("MINUTIER_TEST_SEDA_XSD")
        if not named:
            pytest.skip("MINUTIER_TEST_SEDA_XSD names no seda-2.3-main.xsd: no package brings it")
        return etree.XMLSchema(etree.parse(named))
    if not _SCHEMAS.is_dir():
        pytest.skip("the schemas of SEDA are not there: run infra/bootstrap.sh test")
    return etree.XMLSchema(etree.parse(_SCHEMAS / f"seda-{version}-main.xsd"))


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
def test_the_published_schema_validates_it(bag, version):
    done, _ = bag
    text = (done.folder / "data" / "manifest.xml").read_bytes()
    assert text.count(b"seda:v2.3") == 1
    tree = etree.fromstring(text.replace(b"seda:v2.3", f"seda:v{version}".encode()))
    judge = schema(version)
    assert judge.validate(tree), judge.error_log
    # The judge can say no.
    tree.find(f".//{{{NAMESPACE.removesuffix('2.3')}{version}}}Size").text = "much"
    assert not judge.validate(tree)


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
