"""What is given back is an E-ARK package too: the validator of the E-ARK foundation says so, and can say no."""

import hashlib
from urllib.parse import unquote

import pytest
from lxml import etree

from tasks.restituting import restitute
from tests.independent.eark.report import broken, judge
from tests.support.clients import client_safe

M, X = "{http://www.loc.gov/METS/}", "{http://www.w3.org/1999/xlink}"


@pytest.fixture
def bag(rig, tmp_path):
    one = rig.deposit(b"one", "R-1", dossier="SIV-2026-00042", metadata={"title": "Mandat"})
    two = rig.deposit(b"two", "R-2", name="pièce n° 2 & <autre>.pdf")
    client_safe(rig)
    three = rig.deposit(b"three", "R-3", safe="notary", name="trois.pdf")
    return restitute(rig.archive, [one, two, three], tmp_path / "bag").folder


def test_the_validator_of_the_foundation_takes_it(bag):
    report = judge(bag / "data")
    assert report["structure"]["status"] == "WellFormed"
    assert report["package"]["details"]["oaispackagetype"] == "DIP"
    assert {results["status"] for results in report["metadata"].values()} == {"VALID"}
    # What a package SHOULD have: folders named so, and a METS for each representation; documents lie in `documents/`.
    assert broken(report) == {"CSIPSTR5", "CSIPSTR9", "CSIP105"}


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (' STATUS="CURRENT"', "", "DIP4"),
        ('TYPE="Mixed"', 'TYPE="Parcel"', "CSIP2"),
        ('OAISPACKAGETYPE="DIP"', 'OAISPACKAGETYPE="PARCEL"', "CSIP9"),
        ('USE="Schemas"', 'USE="Other"', "CSIP113"),
        ('LABEL="Metadata"', 'LABEL="Meta"', "CSIP88"),
        ('LOCTYPE="URL"', 'LOCTYPE="URN"', "CSIP22"),
        ('ROLE="CREATOR"', 'ROLE="EDITOR"', "CSIP11"),
        (' csip:OTHERCONTENTINFORMATIONTYPE="minutier-restitution-v1"', "", "CSIP4"),
    ],
)
def test_the_validator_can_say_no(bag, old, new, rule):
    mets = bag / "data" / "METS.xml"
    mets.write_text(mets.read_text("utf-8").replace(old, new, 1), "utf-8")
    assert rule in broken(judge(bag / "data"))


def test_every_file_of_the_payload_is_named_once_with_its_size_and_digest(bag):
    payload = bag / "data"
    root = etree.parse(payload / "METS.xml").getroot()
    named = [*root.iter(f"{M}mdRef"), *root.iter(f"{M}file")]
    paths = []
    for each in named:
        location = each if each.tag == f"{M}mdRef" else each.find(f"{M}FLocat")
        path = payload / unquote(location.get(f"{X}href"))
        data = path.read_bytes()
        assert (int(each.get("SIZE")), each.get("CHECKSUM")) == (len(data), hashlib.sha256(data).hexdigest())
        paths.append(path)
    there = {path for path in payload.rglob("*") if path.is_file()} - {payload / "METS.xml"}
    assert (set(paths), len(paths)) == (there, len(there))
    identifiers = root.xpath("//@ID")
    assert len(set(identifiers)) == len(identifiers)
    kinds = {each.get("MIMETYPE") for each in root.iter(f"{M}file")}
    assert kinds == {"application/pdf", "application/json", "application/octet-stream", "text/csv", "text/plain"}
