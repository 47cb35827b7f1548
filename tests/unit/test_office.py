"""Office documents: laid out by LibreOffice behind walls, validated, the same each time; and without LibreOffice."""

import io
import shutil
import zipfile

import pikepdf
import pypdfium2
import pytest

from tasks import office, sandbox
from tasks.limits import Limits
from tasks.render import render

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ODT = "application/vnd.oasis.opendocument.text"
needs_office = pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is absent")
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def docx(text="Procuration pour l’immatriculation", more=""):
    """Give a small DOCX with one paragraph; `more` is put after it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument'
            '.wordprocessingml.document.main+xml"/></Types>',
        )
        made.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1"'
            ' Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"'
            ' Target="word/document.xml"/></Relationships>',
        )
        body = f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>{more}"
        made.writestr("word/document.xml", f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>')
    return target.getvalue()


def odt(text="Procuration pour l’immatriculation"):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr("mimetype", ODT)
        made.writestr(
            "META-INF/manifest.xml",
            '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
            f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{ODT}"/>'
            '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>'
            "</manifest:manifest>",
        )
        made.writestr(
            "content.xml",
            '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
            ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.3">'
            "<office:body><office:text>"
            f"<text:p>{text}</text:p></office:text></office:body></office:document-content>",
        )
    return target.getvalue()


def rendered(folder, data, media_type, name="rendition.pdf"):
    (folder / "original").write_bytes(data)
    return render(folder / "original", media_type, folder / name, Limits(), 1), folder / name


@needs_office
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("data", "media_type"), [(docx(), DOCX), (odt(), ODT)])
def test_an_office_document_is_laid_out_and_written_as_pdfa(tmp_path, data, media_type):
    report, made = rendered(tmp_path, data, media_type)
    assert (report.verdict, report.rung, report.flavour, report.pages) == ("passed", "pdfa-office", "2b", 1)
    assert report.as_dict()["drawing"] == "not_compared"
    tools = dict(report.tools)
    assert tools["libreoffice"]
    assert tools["sandbox"] == sandbox.walls()
    assert report.changes[0].startswith("Laid out by LibreOffice")
    text = pypdfium2.PdfDocument(made)[0].get_textpage().get_text_bounded()
    assert "Procuration pour l’immatriculation" in text
    with pikepdf.open(made) as pdf:
        assert "/DocChecksum" not in pdf.trailer
        assert "/CreationDate" not in pdf.docinfo
        assert all(font["/FontDescriptor"] for font in pdf.pages[0].resources.Font.values())
    again, second = rendered(tmp_path, data, media_type, "again.pdf")
    assert again == report
    assert second.read_bytes() == made.read_bytes()


@needs_office
@pytest.mark.timeout(180)
def test_what_libreoffice_cannot_open_is_a_reason(tmp_path):
    report, made = rendered(tmp_path, docx()[:200], DOCX)
    assert (report.verdict, report.rung, report.reason) == ("failed", "original-only", "OFFICE_FAILED")
    assert not made.exists()


@needs_office
@pytest.mark.timeout(180)
def test_a_linked_file_of_this_machine_is_not_shown(tmp_path):
    """A document that includes a file by its path shows nothing of it: not allowed, and not there."""
    secret = tmp_path / "secret.txt"
    secret.write_text("ce que personne ne doit lire")
    field = (
        f'<w:p><w:fldSimple w:instr=" INCLUDETEXT &quot;{secret}&quot; "><w:r><w:t>rien</w:t></w:r></w:fldSimple></w:p>'
    )
    report, made = rendered(tmp_path, docx(more=field), DOCX)
    assert report.verdict == "passed"
    assert "personne" not in pypdfium2.PdfDocument(made)[0].get_textpage().get_text_bounded()


def test_without_libreoffice_the_original_is_kept_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "version_of", lambda program: "")
    (tmp_path / "original").write_bytes(docx())
    answer = office.convert_office(str(tmp_path / "original"), str(tmp_path / "out.pdf"), ".docx")
    assert (answer["verdict"], answer["reason"]) == ("not_checked", "NO_CONVERTER")


@pytest.mark.skipif(sandbox.walls() == "limits only", reason="bubblewrap makes no sandbox here")
def test_the_walls_hold(tmp_path):
    """What runs inside sees no home, no network, no other process, and writes nowhere but in its folder."""
    script = (
        "cat /etc/shadow; ls /root /home /srv; cat < /dev/tcp/127.0.0.1/22; id -u; ls /proc | grep -c '^[0-9]';"
        " touch /usr/x; touch mine && echo wrote; grep CapEff /proc/self/status"
    )
    done = sandbox.run_program(["bash", "-c", script], tmp_path)
    told = done.stdout.decode().split()
    assert "wrote" in told
    assert (tmp_path / "mine").exists()
    assert told[-1] == "0000000000000000"
    assert int(told[1]) < 8, told
    said = done.stderr.decode()
    assert said.count("No such file") >= 2
    assert "Read-only" in said
    assert "refused" in said or "unreachable" in said
