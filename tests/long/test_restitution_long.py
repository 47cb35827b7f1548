"""A thousand documents leave with their proofs, others read the bag, and an empty archive takes them in again."""

import csv
import hashlib
import json
import random

import bagit
import pytest
from lxml import etree

from minutier.report import Verdict
from minutier.trust import load_trust
from minutier.verify import verify
from storage.safes import create_safe
from tasks.restituting import restitute
from tests.independent.eark.report import judge
from tests.independent.seda.schemas import schema
from tests.support.rig import carry, make_rig

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
DOCUMENTS = 1000
_BATCH = 100


def test_a_thousand_documents_leave_and_come_in_elsewhere_bit_for_bit(rig, postgres, tmp_path):
    drawn = random.Random(20261127)
    contents = {f"R-{number}": drawn.randbytes(drawn.randrange(1, 40_000)) for number in range(DOCUMENTS)}
    given = []
    names = list(contents)
    for start in range(0, DOCUMENTS, _BATCH):
        part = names[start : start + _BATCH]
        given += carry(rig.archive, [rig.deliver(contents[name], name, name=f"{name}.bin").archive_id for name in part])
    done = restitute(rig.archive, given, tmp_path / "bag", to="the town hall")
    assert (len(done.given), done.missing) == (DOCUMENTS, ())
    bagit.Bag(str(done.folder)).validate(processes=2)
    judged, payload = schema("2.3", tmp_path), done.folder / "data"
    assert judged.validate(etree.parse(payload / "manifest.xml")), judged.error_log
    assert {each["status"] for each in judge(payload)["metadata"].values()} == {"VALID"}

    trust = load_trust(rig.archive.settings.trust_dir)
    with make_rig(postgres.database(), tmp_path / "elsewhere") as other:
        create_safe(other.archive, "again", "Reprise")
        with (done.folder / "data" / "index.csv").open(encoding="utf-8-sig", newline="") as stream:
            listed = list(csv.DictReader(stream, delimiter=";"))
        assert len(listed) == DOCUMENTS
        for start in range(0, DOCUMENTS, _BATCH):
            ids = []
            for row in listed[start : start + _BATCH]:
                folder = done.folder / "data" / "documents" / row["archive_id"]
                assert verify(folder / "proof.zip", trust, rig.clock()).verdict is Verdict.PASSED
                known = json.loads((folder / "metadata.json").read_text("utf-8"))
                (original,) = (folder / "original").iterdir()
                assert original.read_bytes() == contents[known["reference"]]
                delivered = other.deliver(
                    original.read_bytes(), known["reference"], safe="again", name=known["name"],
                    expected=known["digests"], metadata={"came_from": known["archive_id"]},
                )  # fmt: skip
                ids.append(delivered.archive_id)
            for deposit in carry(other.archive, ids):
                assert deposit.state == "ARCHIVED"
                assert deposit.sha256 == hashlib.sha256(contents[deposit.reference]).hexdigest()
