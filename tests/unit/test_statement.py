"""The page for people that goes with a proof."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pypdfium2
import pytest
from pikepdf import Pdf, pdfa

from minutier import canonical
from minutier.proof import assemble
from minutier.report import Verdict
from minutier.seal import seal
from minutier.verify import verify
from tasks.pages import Both, Fields, Notice, Sheet, draw, shown
from tasks.statement import make_statement
from tests.support.bundle import ARCHIVE_ID, ORIGINAL, RENDITION, make_parts, trust_of, with_json
from tests.support.pki import NOW, default_pki, new_pki


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    return " ".join(" ".join(page.get_textpage().get_text_range() for page in document).split())


def test_it_is_pdfa_on_one_page_and_the_same_for_the_same_proof(tmp_path):
    parts = make_parts()
    page = make_statement(parts, NOW)
    (tmp_path / "s.pdf").write_bytes(page)
    assert pdfa.validate_written(tmp_path / "s.pdf", "2b").passed
    with Pdf.open(tmp_path / "s.pdf") as pdf:
        assert len(pdf.pages) == 1
    assert make_statement(parts, NOW) == page
    assert make_statement(parts, NOW + timedelta(days=1)) != page


def test_it_says_what_when_and_by_whom_in_both_languages():
    text = text_of(make_statement(make_parts(), NOW))
    packed = "".join(text.split())
    for part in (ORIGINAL, RENDITION):
        assert hashlib.sha256(part).hexdigest() in packed
        assert hashlib.sha3_512(part).hexdigest()[:60] in packed
    for words in (
        ARCHIVE_ID, "dossier 12/façade.pdf", "mairie", "2026-11-23T09:59:00Z", "2026-11-23T10:00:00Z", "CN=Test TSA",
        "Empreinte", "fingerprint", "Comment vérifier", "How to check", "verify.sh", "verify.py", "minutier verify",
    ):  # fmt: skip
        assert words in text
    assert "valeur juridique" not in text


def test_a_development_authority_is_named_first():
    parts = make_parts(new_pki("Minutier development — no legal value"))
    text = text_of(make_statement(parts, NOW))
    assert "Sans valeur juridique" in text
    assert text.index("No legal value") < text.index("Depositor")


def test_a_blind_deposit_is_said_to_be_encrypted():
    parts = make_parts()
    screening = {**canonical.decode(parts.manifest)["screening"], "mode": "blind"}
    text = text_of(make_statement(replace(parts, manifest=with_json(parts.manifest, screening=screening)), NOW))
    for words in ("chiffré par le déposant", "encrypted by the depositor", "P.opening.json"):
        assert words in text
        assert words not in text_of(make_statement(parts, NOW))


def test_it_gives_the_commands_whole_and_claims_no_third_party():
    text = text_of(make_statement(make_parts(), NOW))
    for words in (
        "sh verify.sh ROOT.pem JOURNAL.vkey",
        "python3 verify.py --root ROOT.pem --journal-key JOURNAL.vkey PROOF.zip",
        "python -m minutier verify PROOF.zip --trust DIRECTORY",
        "selon l’autorité d’horodatage", "ce dossier ne prouve rien", "inscription n° 4 sur 7", "Page 1/1",
    ):  # fmt: skip
        assert words in text
    assert "un tiers" not in text


def test_the_date_of_the_file_is_that_of_the_statement(tmp_path):
    (tmp_path / "s.pdf").write_bytes(make_statement(make_parts(), NOW))
    with Pdf.open(tmp_path / "s.pdf") as pdf:
        assert str(pdf.docinfo["/CreationDate"]).startswith(f"D:{NOW:%Y%m%d%H%M%S}+00'00")


@pytest.mark.parametrize("name", ["漢字.pdf", "a\u202eb.pdf", "<b>&amp;</b>.pdf", "x" * 3000, "\x07bell", "🙂"])
def test_no_name_of_a_file_spoils_the_page(tmp_path, name):
    parts = make_parts()
    described = canonical.decode(parts.manifest)
    described["objects"][0]["name"] = name
    changed = replace(parts, manifest=with_json(parts.manifest, objects=described["objects"]))
    (tmp_path / "s.pdf").write_bytes(make_statement(changed, NOW))
    assert pdfa.validate_written(tmp_path / "s.pdf", "2b").passed


def test_what_the_fonts_lack_is_shown_as_a_question_mark():
    assert shown("façade – “é” ’ œ €") == "façade – “é” ’ œ €"
    assert shown("漢\n\x00a") == "???a"


def test_blocks_can_fill_more_than_a_page(tmp_path):
    blocks = [Notice("a", "b", "good"), *[Both("texte " * 40, "text " * 40)] * 40, Fields([("a", "b", "c" * 200)] * 40)]
    (tmp_path / "s.pdf").write_bytes(draw(Sheet("T", "T", "s", blocks, "f", NOW)))
    with Pdf.open(tmp_path / "s.pdf") as pdf:
        assert len(pdf.pages) > 2


def test_a_proof_with_its_statement_passes_and_with_another_does_not(tmp_path):
    pki = default_pki()
    page = make_statement(make_parts(), NOW)
    parts = replace(make_parts(), statement=page, statement_seal=seal(page, pki.signer, NOW))
    assemble(parts, tmp_path / "P.zip")
    later = NOW + timedelta(days=1)
    assert verify(tmp_path / "P.zip", trust_of(pki), later).verdict is Verdict.PASSED
    assemble(replace(parts, statement=page + b"\n"), tmp_path / "Q.zip")
    report = verify(tmp_path / "Q.zip", trust_of(pki), later)
    assert {finding.where for finding in report.findings} == {"statement.pdf.p7s"}
