"""The integrity report of article 45j: what it says, who may say it, and how it looks."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pypdfium2
import pytest
from pikepdf import Pdf, pdfa

from deployments.cli import run
from deployments.reports import Sealing, write_report
from minutier import canonical
from minutier.certificates import load_pem
from minutier.errors import BadInputError
from minutier.integrity_report import FORMAT, Issuer, SealKind, make_report
from minutier.report import Verdict
from minutier.seal import check_seal, seal
from minutier.trust import Trust, load_trust
from storage import journal, proofs, seal_keys
from storage.dev_ca import create_development_ca
from storage.report_seals import seal_report
from tasks.report_pdf import draw_report
from tests.support.bundle import ARCHIVE_ID, ORIGINAL, make_bundle, repack, trust_of, unpack
from tests.support.pki import NOW, default_pki, new_pki, write_trust
from tests.support.renewed import DAY, Renewal, long_pki, next_tsa, pack_files, renewed_files

LATER = NOW + timedelta(days=1)
PAGE = Path(__file__).parents[2] / "docs" / "format" / "integrity-report-v1.md"
SOFTWARE = "minutier test"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("report") / "P.zip")


def altered(bundle: Path, target: Path) -> Path:
    return repack({**unpack(bundle), "document/original.pdf": b"another"}, target)


def text_of(pdf: Path) -> str:
    document = pypdfium2.PdfDocument(pdf)
    return " ".join(" ".join(page.get_textpage().get_text_range() for page in document).split())


# --- content


def test_a_good_proof_is_reported_from_start_to_retrieval(bundle):
    report = make_report(bundle, trust_of(default_pki()), LATER, Issuer(SOFTWARE, default_pki().seal))
    value = canonical.decode(report.body)
    assert value == report.value
    assert (value["format"], value["verdict"], value["indication"]) == (FORMAT, "PASSED", "TOTAL-PASSED")
    assert value["period"] == {
        "start": "2026-11-23T09:59:00Z", "dated_since": "2026-11-23T10:00:00Z", "renewed_at": "",
        "end": "2026-11-24T10:00:00Z",
    }  # fmt: skip
    assert value["proof"] == {"sha256": hashlib.sha256(bundle.read_bytes()).hexdigest(), "size": bundle.stat().st_size}
    first, second = hashlib.sha256(ORIGINAL).hexdigest(), hashlib.sha3_512(ORIGINAL).hexdigest()
    assert value["document"]["fingerprint"] == f"sha256:{first}+sha3-512:{second}"
    assert value["facts"]["archive_id"] == ARCHIVE_ID
    assert [step["verdict"] for step in value["steps"]] == ["PASSED"] * 9
    assert value["algorithms"] == [{"name": name, "status": "counts", "until": ""} for name in ("ecdsa", "sha256")]
    assert len(value["anchors"]["roots"][0]) == 64
    assert value["document"]["described"] == value["document"]["fingerprint"]
    assert "depuis l’horodatage du 2026-11-23T10:00:00Z" in value["presumption"]["fr"]
    assert "2026-11-23T09:59:00Z, is the archive’s word" in value["presumption"]["en"]


def test_the_same_inputs_give_the_same_bytes(bundle):
    first, second = (make_report(bundle, trust_of(default_pki()), LATER, Issuer(SOFTWARE)) for _ in range(2))
    assert first.body == second.body
    assert draw_report(first) == draw_report(second)


def test_a_failed_proof_confirms_nothing(bundle, tmp_path):
    report = make_report(altered(bundle, tmp_path / "a.zip"), trust_of(default_pki()), LATER, Issuer(SOFTWARE))
    assert report.verification.verdict is Verdict.FAILED
    assert report.value["presumption"]["status"] == "not-confirmed"
    finding = next(item for item in report.value["findings"] if item["code"] == "MANIFEST_OBJECT")
    assert (finding["indication"], finding["sub_indication"]) == ("TOTAL-FAILED", "HASH_FAILURE")
    assert "HASH_FAILURE" in report.value["sub_indications"]
    assert report.value["document"]["described"] != report.value["document"]["fingerprint"]
    (tmp_path / "a.pdf").write_bytes(draw_report(report))
    text = text_of(tmp_path / "a.pdf")
    for words in ("tel que trouvé", "Empreintes attendues", "FAILED (non conforme)", "Document : non conforme."):
        assert words in text


def test_under_another_root_every_finding_says_failed_and_what_to_check_first(bundle, tmp_path):
    report = make_report(bundle, trust_of(new_pki("Other")), LATER, Issuer(SOFTWARE))
    assert {item["indication"] for item in report.value["findings"]} == {"TOTAL-FAILED"}
    found = {item["code"]: item["message"] for item in report.value["findings"]}
    for code in ("SEAL_CHAIN", "TOKEN_CHAIN", "ROOT_FOREIGN"):
        assert found[code].endswith("the root given is not the one of this archive: check it first.")
    (tmp_path / "r.pdf").write_bytes(draw_report(report))
    assert "NO_CERTIFICATE_CHAIN_FOUND" in text_of(tmp_path / "r.pdf")


def test_without_anchors_nothing_is_confirmed_either(bundle):
    report = make_report(bundle, Trust(), LATER, Issuer(SOFTWARE, default_pki().seal))
    assert report.value["verdict"] == "INDETERMINATE"
    assert report.value["presumption"]["status"] == "not-confirmed"
    assert report.value["anchors"]["roots"] == []


def test_no_report_says_that_the_presumption_holds(bundle, tmp_path):
    pki = default_pki()
    development = create_development_ca(tmp_path, NOW).pki / "seal.pem"
    issuers = {
        SealKind.ABSENT: Issuer(SOFTWARE),
        SealKind.DEVELOPMENT: Issuer(SOFTWARE, load_pem(development.read_bytes())[0]),
        SealKind.GIVEN: Issuer(SOFTWARE, pki.seal),
    }
    status = {}
    for kind, issuer in issuers.items():
        value = make_report(bundle, trust_of(pki), LATER, issuer).value
        assert value["issuer"]["seal"] == kind.value
        status[kind] = value["presumption"]["status"]
    assert status == {
        SealKind.ABSENT: "confirmed-without-legal-effect",
        SealKind.DEVELOPMENT: "confirmed-without-legal-effect",
        SealKind.GIVEN: "confirmed-if-qualified",
    }


def test_a_file_that_is_no_proof_is_reported_too(tmp_path):
    (tmp_path / "nope.zip").write_bytes(b"nope")
    value = make_report(tmp_path / "nope.zip", Trust(), LATER, Issuer(SOFTWARE)).value
    assert (value["verdict"], value["document"], value["algorithms"]) == ("FAILED", {}, [])
    assert [step["verdict"] for step in value["steps"]] == ["FAILED", *["NOT_REACHED"] * 8]


def test_the_example_of_the_page_has_the_members_that_are_written(tmp_path):
    (example,) = re.findall(r"```json\n(.*)\n```", PAGE.read_text(encoding="utf-8"))
    (tmp_path / "nope.zip").write_bytes(b"nope")
    value = make_report(tmp_path / "nope.zip", Trust(), NOW, Issuer("minutier 0.1.0")).value
    shown = json.loads(example)
    assert set(shown) == set(value)
    assert shown["proof"] == value["proof"]
    for name in ("issuer", "period", "presumption", "anchors"):
        assert set(shown[name]) == set(value[name])
    table = PAGE.read_text(encoding="utf-8").partition("## 2")[2].partition("## 3")[0]
    named = {
        name for row in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, re.MULTILINE) for name in row.split("`")[1::2]
    }
    assert named == set(value)
    statuses = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(encoding="utf-8").partition("## 3")[2], re.MULTILINE)
    assert statuses == ["status", "not-confirmed", "confirmed-without-legal-effect", "confirmed-if-qualified"]


def test_a_renewed_proof_names_the_algorithms_of_its_last_evidence(tmp_path):
    pki, old = long_pki(NOW - 500 * DAY), NOW - 500 * DAY
    renewals = [Renewal("tree", old + 200 * DAY, *next_tsa(pki, old + 200 * DAY))]
    path = pack_files(renewed_files(tmp_path, pki, old, renewals, ARCHIVE_ID), tmp_path / "renewed.zip")
    value = make_report(path, trust_of(pki), LATER, Issuer(SOFTWARE)).value
    assert value["verdict"] == "PASSED"
    assert [item["name"] for item in value["algorithms"]] == ["ecdsa", "sha256", "sha3_512"]
    assert value["period"]["renewed_at"] == f"{old + 200 * DAY:%Y-%m-%dT%H:%M:%SZ}"


# --- files


def sealing() -> Sealing:
    pki = default_pki()
    return Sealing(pki.seal, lambda body, at: seal(body, pki.signer, at))


def test_a_sealed_report_is_four_files_and_its_seals_hold(bundle, tmp_path):
    report, names = write_report(bundle, trust_of(default_pki()), LATER, tmp_path / "out", sealing())
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out").iterdir())
    for name in ("report.json", "report.pdf"):
        content = (tmp_path / "out" / name).read_bytes()
        signature = (tmp_path / "out" / f"{name}.p7s").read_bytes()
        assert check_seal(content, signature, [default_pki().root], LATER).signing_time == LATER
    assert (tmp_path / "out" / "report.json").read_bytes() == report.body


def test_an_unsealed_report_says_so_on_its_face(bundle, tmp_path):
    _, names = write_report(bundle, trust_of(default_pki()), LATER, tmp_path / "out", None)
    assert sorted(names) == ["report.json", "report.pdf"]
    text = text_of(tmp_path / "out" / "report.pdf")
    for words in (
        "non scellé",
        "Unsealed: made by a verifier without seal",
        "PASSED",
        "45j(1)(d)",
        "article 45 decies (45i), § 2, n’y est pas attachée",
        "article 45i(2) is not attached to it",
        "Les neuf contrôles",
    ):
        assert words in text


def test_a_report_is_never_overwritten(bundle, tmp_path):
    write_report(bundle, trust_of(default_pki()), LATER, tmp_path / "out", sealing())
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(BadInputError, match="REPORT_EXISTS"):
        write_report(bundle, trust_of(default_pki()), LATER, tmp_path / "out", None)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInputError, match="BAD_OUTPUT"):
        write_report(bundle, trust_of(default_pki()), LATER, tmp_path / "file", None)


def test_the_report_is_pdfa_whatever_a_proof_says(bundle, tmp_path):
    long = repack({**unpack(bundle), "journal/entry.json": b'{"event":"' + b"x" * 5000 + b'"}'}, tmp_path / "long.zip")
    for number, path in enumerate((bundle, altered(bundle, tmp_path / "a.zip"), long)):
        target = tmp_path / f"{number}.pdf"
        target.write_bytes(draw_report(make_report(path, Trust(), LATER, Issuer(SOFTWARE))))
        assert pdfa.validate_written(target, "2b").passed
        with Pdf.open(target) as pdf:
            assert 1 <= len(pdf.pages) <= 4


def test_the_seal_of_an_archive_is_counted_and_journaled(rig):
    own = Sealing(rig.archive.signer.chain[0], partial(seal_report, rig.archive))
    proofs.export_proof(rig.archive, rig.deposit(), rig.folder / "P.zip")
    trust = load_trust(rig.archive.settings.trust_dir)
    at = rig.clock().replace(microsecond=0)
    report, _ = write_report(rig.folder / "P.zip", trust, at, rig.folder / "out", own)
    assert (report.value["verdict"], report.value["issuer"]["seal"]) == ("PASSED", "development")
    with rig.archive.database.transaction() as connection:
        entries = [json.loads(line.entry) for line in journal.lines(connection, None)]
        assert seal_keys.waiting(connection) == []
    sealed = [entry["details"] for entry in entries if entry["event"] == "report:sealed"]
    digests = {
        hashlib.sha256((rig.folder / "out" / name).read_bytes()).hexdigest() for name in ("report.json", "report.pdf")
    }
    assert {item["report_sha256"] for item in sealed} == digests
    assert len({item["seal_count"] for item in sealed}) == 2
    content, signature = ((rig.folder / "out" / name).read_bytes() for name in ("report.json", "report.json.p7s"))
    assert check_seal(content, signature, rig.archive.roots, at).signing_time == at


# --- the command


def told(capsys, *arguments: str) -> tuple[int, dict]:
    code = run(["--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_the_command_writes_a_report_and_seals_none_uncounted(tmp_path, capsys):
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    pki = new_pki("Command", moment)
    path = make_bundle(tmp_path / "P.zip", pki, moment=moment)
    trust, home, out = str(write_trust(tmp_path / "trust", pki)), tmp_path / "home", tmp_path / "out"
    home.mkdir()
    verify = ["--home", str(home), "verify", str(path), "--trust", trust]
    code, found = told(capsys, *verify, "--report", str(out / "unsealed"))
    assert (code, found["verdict"], found["report"]["seal"]) == (0, "PASSED", "unsealed")
    assert sorted(item.name for item in (out / "unsealed").iterdir()) == ["report.json", "report.pdf"]
    code, found = told(capsys, *verify, "--report", str(out / "unsealed"))
    assert (code, found["error"]["code"]) == (2, "REPORT_EXISTS")
    code, found = told(capsys, *verify, "--report", str(out / "x"), "--at", "2030-01-01T00:00:00Z")
    assert (code, found["error"]["code"]) == (2, "USAGE")
    code, found = told(capsys, "--home", str(home), "verify", str(path), "--report", str(out / "own"))
    assert (code, found["verdict"]) == (1, "INDETERMINATE")
    # An instance that does not run cannot count the use of its key: nothing is sealed behind its back.
    create_development_ca(home, moment)
    code, found = told(capsys, *verify, "--report", str(out / "sealed"))
    assert (code, found["error"]["code"]) == (3, "NOT_UP")
    assert not (out / "sealed").exists()
