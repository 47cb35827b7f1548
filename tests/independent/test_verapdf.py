"""veraPDF, which we did not write, agrees with every rendition that we call validated."""

import io
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from PIL import Image

from minutier.errors import RefusedDocumentError
from tasks.isolate import run_isolated
from tasks.limits import Limits
from tasks.render import render
from tasks.samples import scans
from tasks.samples.paper import Paper, draw
from tasks.screen import screen
from tests.support.verifiers import SCRIPT
from tests.unit.test_corpus import CORPUS, FILES
from tests.unit.test_office import DOCX, docx

PDF = "application/pdf"
PAPER = Paper("Mairie", "Arrêté", "", (("Numéro", "42"),), (("Objet", "Un permis est accordé. " * 30),), "Le maire")


@cache
def folder_of_verifiers():
    said = subprocess.run([str(SCRIPT), "where"], capture_output=True, text=True, check=False)
    return Path(said.stdout.strip()) if said.returncode == 0 and shutil.which("java") else None


pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        folder_of_verifiers() is None, reason="veraPDF is not there: infra/bootstrap.sh test fetches it"
    ),
]


def judged(questions):
    """Ask veraPDF in one run; `questions` are (name, flavour, path); gives the verdict and broken rules by name."""
    folder = folder_of_verifiers()
    done = subprocess.run(
        ["java", "-cp", f"{folder / 'verapdf'}:{folder / 'verapdf-jars' / '*'}", "VeraPdfJudge"],
        input="".join(f"{name}\t{flavour}\t{path}\n" for name, flavour, path in questions),
        capture_output=True, text=True, check=True, timeout=1500,
    )  # fmt: skip
    found = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    assert set(found) == {name for name, *_ in questions}, done.stderr[-500:]
    return found


def tiff():
    """Give two pages, one bilevel and one in colour."""
    target = io.BytesIO()
    first, second = Image.new("1", (400, 300), 1), Image.new("RGB", (400, 300), "teal")
    first.save(target, "TIFF", save_all=True, append_images=[second], compression="tiff_lzw", dpi=(150, 150))
    return target.getvalue()


def with_attachment(data):
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(data)) as pdf:
        pdf.attachments["donnees.xml"] = b"<a/>"
        pdf.save(target)
    return target.getvalue()


def shaded():
    """Give a page with a shading that our validator does not know: it is drawn as an image."""
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        function = pikepdf.Dictionary(FunctionType=2, Domain=[0, 1], C0=[1, 0, 0], C1=[0, 0, 1], N=1)
        shade = pikepdf.Dictionary(
            ShadingType=2, ColorSpace=pikepdf.Name.DeviceRGB, Coords=[0, 0, 200, 0], Function=function
        )
        pdf.pages[0].resources.Shading = pikepdf.Dictionary(S=shade)
        pdf.pages[0].contents_add(b"q 0 0 200 50 re W n /S sh Q")
        pdf.save(target)
    return target.getvalue()


CASES = {
    "structural": (draw(PAPER), PDF),
    "attachment": (with_attachment(draw(PAPER)), PDF),
    "shading": (shaded(), PDF),
    "scan": (scans.pdf("Plan", [["une ligne"], ["une autre"]], 7), PDF),
    "jpeg": (scans.jpeg("Photo", ["une ligne"], 7), "image/jpeg"),
    "png": (scans.png("Photo", ["une ligne"], 7), "image/png"),
    "tiff": (tiff(), "image/tiff"),
}


def rendered(folder, cases):
    questions = []
    for name, (data, media_type) in cases.items():
        (folder / name).write_bytes(data)
        report = render(folder / name, media_type, folder / f"{name}.pdf", Limits(), 2)
        assert report.verdict == "passed", (name, report.reason, report.findings)
        questions.append((name, report.flavour, folder / (f"{name}.pdf" if report.has_file else name)))
    return questions


def test_every_rung_is_what_it_claims(tmp_path):
    questions = rendered(tmp_path, CASES | ({"office": (docx(), DOCX)} if shutil.which("soffice") else {}))
    if shutil.which("tesseract"):
        page = pypdfium2.PdfDocument(draw(PAPER))[0].render(scale=300 / 72, grayscale=True).to_pil()
        picture = io.BytesIO()
        page.save(picture, "JPEG", dpi=(300, 300))
        ((_, flavour, source),) = rendered(tmp_path, {"page": (picture.getvalue(), "image/jpeg")})
        arguments = {"original": str(source), "output": str(tmp_path / "text.pdf")}
        assert run_isolated("tasks.ocr:recognise", arguments, timeout=120)["verdict"] == "passed"
        questions.append(("text", flavour, tmp_path / "text.pdf"))
    assert judged(questions) == {name: "PASSED\t" for name, *_ in questions}


def test_verapdf_refuses_what_is_not_pdfa(tmp_path):
    """The judge itself: the same rendition without its output intent, and an ordinary PDF, are refused."""
    ((_, _, good),) = rendered(tmp_path, {"paper": (draw(PAPER), PDF)})
    with pikepdf.open(good) as pdf:
        del pdf.Root.OutputIntents
        pdf.save(tmp_path / "broken.pdf")
    (tmp_path / "plain.pdf").write_bytes(draw(PAPER))
    found = judged([("broken", "2b", tmp_path / "broken.pdf"), ("plain", "2b", tmp_path / "plain.pdf")])
    assert {verdict.partition("\t")[0] for verdict in found.values()} == {"FAILED"}


@pytest.mark.corpus
@pytest.mark.skipif(not FILES, reason=f"no folder of real documents at {CORPUS} (set MINUTIER_CORPUS)")
def test_verapdf_agrees_on_the_whole_corpus(tmp_path):
    questions = []
    for number, path in enumerate(FILES):
        try:
            found = screen(path, path.name, Limits(), None)
        except RefusedDocumentError:
            continue
        report = render(path, found.media_type, tmp_path / f"{number}.pdf", Limits(), found.pages or None)
        if report.verdict == "passed":
            made = tmp_path / f"{number}.pdf" if report.has_file else path
            questions.append((f"{number} {path.name}", report.flavour, made))
    assert len(questions) > 90
    wrong = {name: told for name, told in judged(questions).items() if told != "PASSED\t"}
    assert wrong == {}
