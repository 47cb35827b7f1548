"""The PRONOM identifier that is recorded with a document: what FIDO says, within the format that was read."""

import io

import pikepdf
import pytest
from PIL import Image

from tasks import formats, pronom, screen
from tasks.isolate import IsolationFaultError, run_isolated
from tasks.limits import Limits
from tests.unit.test_corpus import CORPUS, FILES
from tests.unit.test_office import docx, odt


def pdf(version):
    with pikepdf.new() as made:
        made.add_blank_page()
        sink = io.BytesIO()
        made.save(sink, min_version=version, force_version=version)
    return sink.getvalue()


def image(kind):
    sink = io.BytesIO()
    Image.new("RGB", (20, 20), "white").save(sink, kind)
    return sink.getvalue()


def identified(path, found):
    arguments = {"path": str(path), "format_name": found.name}
    return run_isolated("tasks.pronom:identify", arguments, timeout=20)


@pytest.mark.parametrize(
    ("name", "data", "puid"),
    [
        ("a.pdf", pdf("1.4"), "fmt/18"),
        ("a.pdf", pdf("1.7"), "fmt/276"),
        ("a.pdf", pdf("2.0"), "fmt/1129"),
        ("a.jpg", image("JPEG"), "fmt/43"),
        ("a.png", image("PNG"), "fmt/11"),
        ("a.tif", image("TIFF"), "fmt/353"),
        ("a.docx", docx(), "fmt/412"),
        ("a.odt", odt(), "fmt/290"),
        ("a.xml", b"<?xml version='1.0'?><a/>", "fmt/101"),
        ("a.txt", b"words\n", "x-fmt/111"),
        ("a.csv", b"a;b\n1;2\n", "x-fmt/18"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_each_format_has_its_identifier(tmp_path, name, data, puid):
    path = tmp_path / name
    path.write_bytes(data)
    report = screen.screen(path, name, Limits(), None)
    assert (report.puid, report.as_dict()["puid"]) == (puid, puid)


def test_a_document_on_which_it_stumbles_has_none_and_is_no_worse(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(image("PNG"))
    real = screen.run_isolated

    def stumble(function, *given, **named):
        if function == "tasks.pronom:identify":
            raise IsolationFaultError("CPU", "too long")
        return real(function, *given, **named)

    monkeypatch.setattr(screen, "run_isolated", stumble)
    assert screen.screen(path, "a.png", Limits(), None).puid == ""


def test_an_extension_is_no_match_and_another_format_is_not_looked_for(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(image("PNG"))
    assert identified(path, formats.PDF) == ""
    assert identified(path, formats.PNG) == "fmt/11"


@pytest.mark.corpus
@pytest.mark.skipif(not FILES, reason=f"no corpus at {CORPUS}")
def test_every_accepted_file_of_the_corpus_has_one():
    for path in FILES:
        found = formats.sniff(path).format
        if found is not None and found.accepted and pronom.known_without_reading(found) is None:
            assert identified(path, found), path
