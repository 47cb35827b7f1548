"""Screening: each refusal code on its own sample, what is accepted with which flags, the antivirus client."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pikepdf
import pytest
from PIL import Image

from deployments.doctor import _antivirus
from minutier.errors import RefusedDocumentError, ServiceUnavailableError
from storage.settings import load_settings
from tasks import clamd as antivirus
from tasks import screen as screen_module
from tasks.isolate import IsolationFaultError
from tasks.limits import Limits
from tasks.malware import test_signature as eicar
from tasks.samples import garage
from tasks.samples.paper import Paper, draw
from tasks.screen import _SENTENCES, ScreenReport, refusal, screen

LIMITS = Limits()
PAPER = Paper("Émetteur", "Titre", "Sous-titre", (("Champ", "valeur"),), (("Texte", "Un texte court."),))


def _screen(tmp_path: Path, data: bytes, name: str = "piece.pdf", limits: Limits = LIMITS) -> ScreenReport:
    path = tmp_path / "spooled"
    path.write_bytes(data)
    return screen(path, name, limits, None)


def _code(tmp_path: Path, data: bytes, name: str = "piece.pdf", limits: Limits = LIMITS) -> str:
    with pytest.raises(RefusedDocumentError) as caught:
        _screen(tmp_path, data, name, limits)
    assert caught.value.message
    assert caught.value.message_fr
    assert caught.value.remedy
    assert str(tmp_path) not in caught.value.message
    return caught.value.code


@pytest.fixture(scope="module")
def paper() -> bytes:
    return draw(PAPER)


def _pdf(**root: object) -> bytes:
    target = io.BytesIO()
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        for key, value in root.items():
            pdf.Root[f"/{key}"] = value  # type: ignore[assignment]
        pdf.save(target)
    return target.getvalue()


def _image(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> bytes:
    target = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(target, kind)
    return target.getvalue()


def _empty_png(width: int, height: int) -> bytes:
    """Give a PNG of one bit per pixel, whole as a file, whose rows are not there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _zip(members: dict[str, bytes], stored: str = "") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name, data in members.items():
            package.writestr(name, data, zipfile.ZIP_STORED if name == stored else zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _docx(**more: bytes) -> bytes:
    return _zip({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<w:document/>" * 50, **more})


def _odt() -> bytes:
    kind = b"application/vnd.oasis.opendocument.text"
    return _zip({"mimetype": kind, "content.xml": b"<office:document/>" * 20}, stored="mimetype")


def test_a_born_digital_pdf_is_accepted(tmp_path: Path, paper: bytes) -> None:
    report = _screen(tmp_path, paper, "Pièce n° 1.PDF")
    assert report.media_type == "application/pdf"
    assert report.format.startswith("PDF 1.")
    assert (report.pages, report.flags, report.antivirus, report.size) == (1, (), "none-configured", len(paper))
    assert report.as_dict()["flags"] == []


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("a.jpg", _image("JPEG"), "image/jpeg"),
        ("a.JPEG", _image("JPEG"), "image/jpeg"),
        ("a.png", _image("PNG"), "image/png"),
        ("a.tif", _image("TIFF"), "image/tiff"),
        ("sans-extension", _image("PNG"), "image/png"),
        ("a.docx", _docx(), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.odt", _odt(), "application/vnd.oasis.opendocument.text"),
        ("a.xml", b'<?xml version="1.0"?>\n<releve><mois>3</mois></releve>', "application/xml"),
        ("a.txt", "Été comme hiver : 12 €.\n".encode(), "text/plain"),
        ("a.txt", "Été comme hiver.\n".encode("cp1252"), "text/plain"),
        ("a.txt", "Été comme hiver.\n".encode("utf-16"), "text/plain"),
        ("a.csv", b"nom;valeur\na;1\n", "text/csv"),
    ],
)
def test_accepted_formats(tmp_path: Path, name: str, data: bytes, media_type: str) -> None:
    assert _screen(tmp_path, data, name).media_type == media_type


def test_empty(tmp_path: Path) -> None:
    assert _code(tmp_path, b"") == "EMPTY"


def test_too_large_in_bytes_pages_pixels_and_expansion(tmp_path: Path, paper: bytes) -> None:
    assert _code(tmp_path, paper, limits=Limits(max_bytes=1000)) == "TOO_LARGE"
    long = draw(Paper("É", "Long", "", (), (("Texte", "Encore une phrase. " * 900),)))
    assert _code(tmp_path, long, limits=Limits(max_pages=2)) == "TOO_LARGE"
    assert _code(tmp_path, _image("PNG"), "a.png", Limits(max_pixels=1000)) == "TOO_LARGE"
    assert _code(tmp_path, _docx(**{"word/media.bin": bytes(8 << 20)}), "a.docx") == "TOO_LARGE"


def test_malware_raw_attached_and_packed(tmp_path: Path, paper: bytes) -> None:
    assert _code(tmp_path, eicar(), "note.txt") == "MALWARE"
    assert _code(tmp_path, bytes((1 << 20) - 30) + eicar(), "note.bin") == "MALWARE"  # across two blocks
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(paper)) as pdf:
        pdf.attachments["note.txt"] = eicar()
        pdf.save(target)
    assert eicar() not in target.getvalue()
    assert _code(tmp_path, target.getvalue()) == "MALWARE"
    assert _code(tmp_path, _docx(**{"word/embeddings/a.bin": eicar()}), "a.docx") == "MALWARE"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.995])
def test_a_cut_pdf_is_damaged(tmp_path: Path, paper: bytes, share: float) -> None:
    assert _code(tmp_path, paper[: int(len(paper) * share)]) == "DAMAGED"


def test_a_cut_pdf_is_damaged_at_every_one_of_its_last_bytes(tmp_path: Path, paper: bytes) -> None:
    whole = len(paper.rstrip())
    for length in range(whole - 30, whole):
        assert _code(tmp_path, paper[:length]) == "DAMAGED", length


def test_a_pdf_that_lost_bytes_in_the_middle_is_damaged(tmp_path: Path, paper: bytes) -> None:
    middle = len(paper) // 2
    assert _code(tmp_path, paper[:middle] + paper[middle + 100 :]) == "DAMAGED"


def test_a_cut_linearized_pdf_is_damaged(tmp_path: Path) -> None:
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        pdf.save(target, linearize=True)
    data = target.getvalue()
    first_part = data.index(b"%%EOF") + 6
    assert _screen(tmp_path, data).pages == 1
    assert _code(tmp_path, data[:first_part]) == "DAMAGED"


@pytest.mark.parametrize("tail", [b"\n", b"\r\n\r\n", b" " * 1000, b"\x00" * 900])
def test_bytes_after_the_end_are_tolerated(tmp_path: Path, paper: bytes, tail: bytes) -> None:
    assert _screen(tmp_path, paper + tail).pages == 1


def test_blanks_before_the_header_are_tolerated(tmp_path: Path, paper: bytes) -> None:
    assert _screen(tmp_path, b"\r\n\r\n" + paper).pages == 1


@pytest.mark.parametrize(("kind", "name"), [("JPEG", "a.jpg"), ("PNG", "a.png"), ("TIFF", "a.tif")])
def test_a_cut_image_is_damaged(tmp_path: Path, kind: str, name: str) -> None:
    data = _image(kind, (200, 150))
    assert _code(tmp_path, data[: len(data) // 2], name) == "DAMAGED"


def test_a_cut_office_file_and_broken_xml_are_damaged(tmp_path: Path) -> None:
    docx, odt = _docx(), _odt()
    assert _code(tmp_path, docx[: len(docx) // 2], "a.docx") == "DAMAGED"
    assert _code(tmp_path, odt[:-60], "a.odt") == "DAMAGED"
    assert _code(tmp_path, b'<?xml version="1.0"?><a><b></a>', "a.xml") == "DAMAGED"


def test_an_entity_bomb_is_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "boum">{entities}]><a>&e12;</a>'
    assert _code(tmp_path, bomb.encode(), "a.xml") in {"DAMAGED", "TOO_LARGE"}


def test_a_hostile_end_of_pdf_takes_no_time(tmp_path: Path, paper: bytes) -> None:
    # A pattern with two ways to read a run of line ends needs 60 ** 30 steps here, outside the isolated child.
    end = b"startxref\n9\n" + (b"%" + b"\n" * 60) * 30 + b"x\n%%EOF\n"
    started = time.perf_counter()
    assert _code(tmp_path, paper[: paper.rindex(b"startxref")] + end) == "DAMAGED"
    assert time.perf_counter() - started < 20  # a few milliseconds once the worker is warm


def test_comments_between_the_pointer_and_the_end_are_tolerated(tmp_path: Path, paper: bytes) -> None:
    start = paper.rindex(b"%%EOF")
    assert _screen(tmp_path, paper[:start] + b"% made by\r\n\t\n%somebody\n" + paper[start:]).pages == 1


def test_the_limit_of_pixels_is_ours_to_the_pixel(tmp_path: Path) -> None:
    # Pillow's own limit (179 million) lies below ours.
    data = _empty_png(14_000, 14_000)
    assert _screen(tmp_path, data, "plan.png").pages == 1
    assert _code(tmp_path, data, "plan.png", Limits(max_pixels=14_000 * 14_000 - 1)) == "TOO_LARGE"


def test_an_attachment_that_is_an_address_is_no_damage(tmp_path: Path, paper: bytes) -> None:
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(paper)) as pdf:
        address = pikepdf.Dictionary(Type=pikepdf.Name.Filespec, F=pikepdf.String("plan.pdf"))
        names = pikepdf.Array([pikepdf.String("plan"), pdf.make_indirect(address)])
        pdf.Root.Names = pikepdf.Dictionary(EmbeddedFiles=pikepdf.Dictionary(Names=names))
        pdf.save(target)
    assert _screen(tmp_path, target.getvalue()).flags == ("attachments",)


def test_xml_that_mentions_svg_or_html_in_a_comment_is_xml(tmp_path: Path) -> None:
    data = b'<?xml version="1.0"?>\n<!-- not <html> nor <svg> -->\n<releve/>'
    assert _screen(tmp_path, data, "a.xml").media_type == "application/xml"


@pytest.mark.parametrize(("fault", "code"), [("CPU", "TOO_LARGE"), ("MEMORY", "TOO_LARGE"), ("CRASH", "DAMAGED")])
def test_a_child_without_result_is_a_refusal(
    tmp_path: Path, paper: bytes, fault: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen_module, "run_isolated", _failing(fault))
    assert _code(tmp_path, paper) == code


def test_a_busy_machine_is_not_the_fault_of_the_document(
    tmp_path: Path, paper: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen_module, "run_isolated", _failing("TIMEOUT"))
    with pytest.raises(ServiceUnavailableError) as caught:
        _screen(tmp_path, paper)
    assert caught.value.code == "WORKER_SLOW"
    assert caught.value.retryable


def _failing(code: str) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise IsolationFaultError(code, "No result.")

    return fail


def test_a_password_is_refused_and_restrictions_are_flagged(tmp_path: Path, paper: bytes) -> None:
    assert _code(tmp_path, garage.request(0, password="ouvre-toi")) == "ENCRYPTED"
    for user, expected in (("secret", "ENCRYPTED"), ("", "encrypted-owner")):
        target = io.BytesIO()
        with pikepdf.open(io.BytesIO(paper)) as pdf:
            pdf.save(target, encryption=pikepdf.Encryption(owner="propriétaire", user=user))
        if user:
            assert _code(tmp_path, target.getvalue()) == expected
        else:
            assert _screen(tmp_path, target.getvalue()).flags == (expected,)


def test_no_pages(tmp_path: Path) -> None:
    target = io.BytesIO()
    with pikepdf.new() as pdf:
        pdf.save(target)
    assert _code(tmp_path, target.getvalue()) == "NO_PAGES"


def test_unknown_formats(tmp_path: Path) -> None:
    assert _code(tmp_path, bytes(range(256)) * 8, "a.bin") == "FORMAT_UNKNOWN"
    assert _code(tmp_path, _zip({"a.txt": b"a"}), "a.zip") == "FORMAT_UNKNOWN"
    assert _code(tmp_path, b"<!DOCTYPE html><html></html>", "a.html") == "FORMAT_UNKNOWN"
    assert (
        _code(tmp_path, b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "a.svg") == "FORMAT_UNKNOWN"
    )
    assert _code(tmp_path, b"\x01garbage\x02" + b"%PDF-1.4 far from the start", "a.pdf") == "FORMAT_UNKNOWN"


def test_name_and_content_disagree(tmp_path: Path, paper: bytes) -> None:
    assert _code(tmp_path, _zip({"a.txt": b"a"}), "a.pdf") == "FORMAT_MISMATCH"
    assert _code(tmp_path, _docx(), "a.pdf") == "FORMAT_MISMATCH"
    assert _code(tmp_path, paper, "a.jpg") == "FORMAT_MISMATCH"
    assert _code(tmp_path, _image("PNG"), "a.jpg") == "FORMAT_MISMATCH"
    assert _code(tmp_path, b"<html></html>", "a.pdf") == "FORMAT_MISMATCH"
    assert _code(tmp_path, b"MZ" + bytes(100), "a.pdf") == "FORMAT_MISMATCH"


def test_two_formats_in_one_file(tmp_path: Path, paper: bytes) -> None:
    archive = _zip({"other.txt": b"another document"})
    assert _code(tmp_path, paper + archive) == "POLYGLOT"
    assert _code(tmp_path, paper + archive + b"\n") in {"POLYGLOT", "DAMAGED"}
    assert _code(tmp_path, _image("JPEG") + archive, "a.jpg") == "POLYGLOT"
    assert _code(tmp_path, _image("PNG") + paper, "a.png") == "POLYGLOT"
    gif = b"GIF89a" + bytes(20) + paper
    assert _code(tmp_path, gif, "a.gif") == "POLYGLOT"


def test_a_zip_attached_to_a_pdf_is_no_second_format(tmp_path: Path, paper: bytes) -> None:
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(paper)) as pdf:
        pdf.attachments["plans.zip"] = _zip({"a.txt": b"a"})
        pdf.save(target, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)
    assert _screen(tmp_path, target.getvalue()).flags == ("attachments",)


def test_a_text_that_speaks_of_pdf_is_a_text(tmp_path: Path) -> None:
    assert _screen(tmp_path, b"A PDF begins with %PDF-1.7 and that is all.\n", "a.txt").media_type == "text/plain"


def test_flags(tmp_path: Path) -> None:
    script = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.alert(1)"))
    assert _screen(tmp_path, _pdf(OpenAction=script)).flags == ("javascript",)
    value = pikepdf.Dictionary(Type=pikepdf.Name.Sig, ByteRange=[0, 1, 2, 3])
    field = pikepdf.Dictionary(FT=pikepdf.Name.Sig, V=value)
    form = pikepdf.Dictionary(Fields=pikepdf.Array([field]), SigFlags=3, XFA=pikepdf.String("x"))
    assert _screen(tmp_path, _pdf(AcroForm=form)).flags == ("signed", "xfa")


def test_every_code_has_both_sentences() -> None:
    for code in _SENTENCES:
        error = refusal(code, "detail")
        assert error.exit_code == 2
        assert error.message_fr != error.message


class FakeClamd(threading.Thread):
    """A daemon that answers VERSION, reads INSTREAM to its end and answers `verdict`."""

    def __init__(self, verdict: bytes) -> None:
        super().__init__(daemon=True)
        self.verdict = verdict
        self.received: list[bytes] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                link, _ = self.server.accept()
            except OSError:
                return
            with link, link.makefile("rb") as stream:
                command = stream.read(1)
                while not command.endswith(b"\0"):
                    command += stream.read(1)
                if command == b"zVERSION\0":
                    link.sendall(b"ClamAV 1.4.6/27500/Mon Mar  2 09:00:00 2026\0")
                    continue
                data = b""
                while size := struct.unpack(">I", stream.read(4))[0]:
                    data += stream.read(size)
                self.received.append(data)
                bad = b"stream: Hidden.Thing FOUND\0" if b"hidden thing" in data else self.verdict
                link.sendall(bad)


@pytest.fixture
def clamd(request: pytest.FixtureRequest) -> Iterator[FakeClamd]:
    daemon = FakeClamd(getattr(request, "param", b"stream: OK\0"))
    daemon.start()
    yield daemon
    daemon.server.shutdown(socket.SHUT_RDWR)
    daemon.server.close()
    daemon.join(5)


def test_the_antivirus_sees_the_raw_file_the_expanded_copy_and_attachments(
    tmp_path: Path, paper: bytes, clamd: FakeClamd
) -> None:
    target, path = io.BytesIO(), tmp_path / "spooled"
    with pikepdf.open(io.BytesIO(paper)) as pdf:
        pdf.attachments["note.txt"] = b"harmless note"
        pdf.save(target)
    path.write_bytes(target.getvalue())
    report = screen(path, "a.pdf", LIMITS, f"tcp:{clamd.address}")
    assert report.antivirus == "clamav 1.4.6/27500"
    assert clamd.received[0] == target.getvalue()
    assert b"harmless note" in clamd.received
    assert len(clamd.received) == 3

    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(paper)) as pdf:
        pdf.attachments["note.txt"] = b"a hidden thing " * 40
        pdf.save(target)
    path.write_bytes(target.getvalue())
    with pytest.raises(RefusedDocumentError) as caught:
        screen(path, "a.pdf", LIMITS, clamd.address)
    assert caught.value.code == "MALWARE"


@pytest.mark.parametrize(
    ("clamd", "code"),
    [
        (b"stream: Win.Test FOUND\0", "MALWARE"),
        (b"INSTREAM size limit exceeded. ERROR\0", "ANTIVIRUS_LIMIT"),
        (b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0", "ANTIVIRUS_LIMIT"),
        (b"something else\0", "ANTIVIRUS_DOWN"),
        (b"", "ANTIVIRUS_DOWN"),
    ],
    indirect=["clamd"],
)
def test_only_exact_answers_are_verdicts(tmp_path: Path, clamd: FakeClamd, code: str) -> None:
    path = tmp_path / "spooled"
    path.write_bytes(b"Texte sans histoire.\n")
    with pytest.raises((RefusedDocumentError, ServiceUnavailableError)) as caught:
        screen(path, "a.txt", LIMITS, clamd.address)
    assert caught.value.code == code


def test_the_antivirus_says_how_old_its_signatures_are(clamd: FakeClamd, tmp_path: Path) -> None:
    assert antivirus.signatures_of(clamd.address) == datetime(2026, 3, 2, 9, tzinfo=UTC)
    check = _antivirus(load_settings(tmp_path, {"MINUTIER_CLAMD": clamd.address}))
    assert (check.level, "2026-03-02" in check.detail) == ("warning", True)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "unix:/nonexistent/clamd.sock", "nonsense"])
def test_an_absent_antivirus_is_neither_acceptance_nor_refusal(tmp_path: Path, address: str) -> None:
    path = tmp_path / "spooled"
    path.write_bytes(b"Texte.\n")
    with pytest.raises(ServiceUnavailableError) as caught:
        screen(path, "a.txt", LIMITS, address)
    assert caught.value.code == "ANTIVIRUS_DOWN"
    assert caught.value.retryable
