"""Recognised text: laid under untouched pages, deposited as a document of its own, destroyed before its source."""

import io
import shutil

import pikepdf
import pypdfium2
import pytest
from PIL import Image

from minutier.errors import PolicyRefusedError
from storage import catalogue, destruction, disposal, reading, texts
from storage.destruction import Decision
from tasks import ocr
from tasks.limits import Limits
from tasks.ocr import recognise, textless_pages
from tasks.render import render
from tasks.rendering import render_deposit
from tasks.samples.paper import Paper, draw
from tasks.screening import screen_deposit
from tasks.texts import recognise_document
from tests.support.rig import carry

SENTENCE = "Le présent document atteste la remise des pièces du dossier du demandeur."
PAPER = Paper(
    "Préfecture", "Attestation de dépôt", "", (("Numéro", "12345"),), (("Objet", SENTENCE * 3),), "Fait à Lyon"
)
needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is absent")


def scanned(folder, name="scan.pdf"):
    """Give a page of print as an office scanner sends it: an image in a PDF, then its PDF/A rendition."""
    page = pypdfium2.PdfDocument(draw(PAPER))[0]
    target = io.BytesIO()
    page.render(scale=300 / 72, grayscale=True).to_pil().save(target, "JPEG", quality=80, dpi=(300, 300))
    path = folder / name
    (folder / "scan.jpg").write_bytes(target.getvalue())
    assert render(folder / "scan.jpg", "image/jpeg", path, Limits(), 1).verdict == "passed"
    return path


@needs_tesseract
def test_the_words_of_a_scan_are_found_under_its_untouched_page(tmp_path):
    source, output = scanned(tmp_path), tmp_path / "text.pdf"
    assert textless_pages(str(source)) == [0]
    answer = recognise(str(source), str(output))
    assert (answer["verdict"], answer["rung"], answer["difference"]) == ("passed", "pdfa-ocr", 0)
    words = pypdfium2.PdfDocument(output)[0].get_textpage().get_text_bounded()
    assert {"Attestation", "document", "12345"} <= set(words.split())
    assert answer["words"] > 30
    assert answer["confidence"] > 80
    assert answer["tools"]["tesseract"]
    with pikepdf.open(source) as before, pikepdf.open(output) as after:
        images = [{image.read_raw_bytes() for image in pdf.pages[0].get_images().values()} for pdf in (before, after)]
    assert images[0] <= images[1]
    assert textless_pages(str(output)) == []


@needs_tesseract
@pytest.mark.parametrize("turned", [90, 180, 270])
def test_words_lie_where_they_are_seen_on_a_turned_page(tmp_path, turned):
    source = scanned(tmp_path)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        # The image lies on its side in the page, and the page is turned so that it is read upright.
        page = pdf.pages[0]
        width, height = float(page.mediabox[2]), float(page.mediabox[3])
        matrix = {90: (0, 1, -1, 0, height, 0), 180: (-1, 0, 0, -1, width, height), 270: (0, -1, 1, 0, 0, width)}[
            turned
        ]
        page.contents_add(f"q {' '.join(map(str, matrix))} cm".encode(), prepend=True)
        page.contents_add(b"Q")
        page.mediabox = [0, 0, height, width] if turned != 180 else [0, 0, width, height]
        for name in ("/CropBox", "/TrimBox", "/BleedBox", "/ArtBox"):
            if name in page.obj:
                del page.obj[name]
        page.rotate(turned, relative=False)
        pdf.save(source)
    answer = recognise(str(source), str(tmp_path / "text.pdf"))
    assert answer["verdict"] == "passed", answer
    page = pypdfium2.PdfDocument(tmp_path / "text.pdf")[0]
    found = page.get_textpage()
    place = found.search("Attestation").get_next()
    assert place is not None
    left, bottom, right, top = found.get_charbox(place[0])
    # The title is in the upper third of the page as it is seen.
    box, middle = page.get_mediabox(), ((left + right) / 2, (bottom + top) / 2)
    seen = {90: middle[0] / box[2], 180: middle[1] / box[3], 270: 1 - middle[0] / box[2]}[turned]
    assert seen < 0.34


def blank_png():
    """Give a picture with a stain and no word."""
    picture = Image.new("L", (800, 600), 255)
    picture.paste(200, (100, 100, 500, 400))
    target = io.BytesIO()
    picture.save(target, "PNG", dpi=(150, 150))
    return target.getvalue()


def test_what_has_text_or_draws_nothing_is_left_alone(tmp_path):
    born, empty = tmp_path / "born.pdf", tmp_path / "empty.pdf"
    born.write_bytes(draw(PAPER))
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        pdf.save(empty)
    assert textless_pages(str(born)) == textless_pages(str(empty)) == []


@needs_tesseract
def test_a_picture_without_words_gives_no_text(tmp_path):
    path, output = tmp_path / "blank.png", tmp_path / "blank.pdf"
    path.write_bytes(blank_png())
    assert render(path, "image/png", output, Limits(), 1).verdict == "passed"
    assert recognise(str(output), str(tmp_path / "text.pdf"))["reason"] == "NO_WORDS"
    assert not (tmp_path / "text.pdf").exists()


@needs_tesseract
def test_a_layer_that_shows_is_refused(tmp_path, monkeypatch):
    def visible(original, number, folder, language, found):
        found.words, found.confidence, found.pages = 3, 270.0, 1
        (folder / "layer.pdf").write_bytes(draw(PAPER))
        with pikepdf.open(folder / "layer.pdf", allow_overwriting_input=True) as pdf:
            pdf.pages[0].contents_add(b"0 0 200 200 re f")
            pdf.save(folder / "layer.pdf")
        return folder / "layer.pdf"

    source = scanned(tmp_path)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.pages[0].mediabox = [0, 0, 700, 1000]  # the image leaves a margin, in which what lies under it shows
        pdf.save(source)
    monkeypatch.setattr(ocr, "_read_page", visible)
    answer = recognise(str(source), str(tmp_path / "text.pdf"))
    assert answer["verdict"] != "passed"
    assert not (tmp_path / "text.pdf").exists()


def archived_scan(rig):
    """Archive a scan, screened and rendered for real."""
    archive_id = rig.deliver(scanned(rig.folder).read_bytes(), "R-scan", name="scan.pdf").archive_id
    screen_deposit(rig.archive, archive_id)
    render_deposit(rig.archive, archive_id)
    (found,) = carry(rig.archive, [archive_id])
    return found


@needs_tesseract
def test_a_text_is_archived_with_its_source_and_goes_before_it(rig):
    source = archived_scan(rig)
    with rig.archive.database.transaction() as connection:
        assert texts.waiting(connection, 10) == [source.archive_id]
    found = recognise_document(rig.archive, source.archive_id)
    assert recognise_document(rig.archive, source.archive_id).archive_id == found.archive_id
    (text,) = carry(rig.archive, [found.archive_id])
    assert (text.state, text.safe, text.lifecycle_class) == ("ARCHIVED", source.safe, source.lifecycle_class)
    assert text.metadata["derived_from"] == source.archive_id
    target = rig.folder / "given.pdf"
    reading.read(rig.archive, text, target)
    assert "Attestation" in pypdfium2.PdfDocument(target)[0].get_textpage().get_text_bounded()
    with rig.archive.database.transaction() as connection:
        assert texts.waiting(connection, 10) == []
        assert texts.text_of(connection, source.archive_id) == text.archive_id

    rig.clock.now = text.retain_until.replace(year=text.retain_until.year + 1)
    why = Decision("end of its class", "archivist-1")
    with pytest.raises(PolicyRefusedError, match="still there"):
        destruction.destroy(rig.archive, source.archive_id, why)
    with rig.archive.database.transaction() as connection:
        listed = [each["archive_id"] for each in disposal.due(rig.archive, connection)]
    assert listed == [text.archive_id, source.archive_id]
    for archive_id in listed:
        destruction.destroy(rig.archive, archive_id, why)
    with rig.archive.database.transaction() as connection:
        assert [catalogue.get(connection, each).state for each in listed] == ["DESTROYED", "DESTROYED"]


@needs_tesseract
def test_what_another_put_under_the_reference_is_no_text(rig):
    source = archived_scan(rig)
    rig.deposit(b"another document", texts.reference_of(source.archive_id), name="a.txt")
    found = recognise_document(rig.archive, source.archive_id)
    assert (found.state, found.refusal_code) == ("REFUSED", "REFERENCE_CONFLICT")
    with rig.archive.database.transaction() as connection:
        assert texts.text_of(connection, source.archive_id) is None
        texts.require_none(connection, source.archive_id)
