"""The sample feeds: same bytes each time, the slips say what the files are, every outcome is what screening finds."""

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from minutier.errors import RefusedDocumentError
from tasks.limits import Limits
from tasks.malware import test_signature as eicar
from tasks.render import render
from tasks.samples.feeds import COLUMNS, FEEDS, SLIP, generate
from tasks.samples.model import Expected
from tasks.screen import screen

SCREENING = {"DAMAGED", "ENCRYPTED", "MALWARE", "EMPTY", "FORMAT_MISMATCH"}
INTAKE = {"DIGEST_MISMATCH", "FILE_MISSING", "REFERENCE_CONFLICT", "MANIFEST_LINE_BAD"}
Feeds = tuple[Path, list[Expected]]


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Feeds:
    directory = tmp_path_factory.mktemp("feeds")
    started = time.monotonic()
    expected = [line for feed in FEEDS for line in generate(directory / feed, feed)]
    assert time.monotonic() - started < 60  # about 3 s on a quiet machine
    return directory, expected


def _rows(directory: Path, line: Expected) -> list[dict[str, str]]:
    with (directory / line.feed / line.batch / SLIP).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))


def _row(directory: Path, line: Expected) -> dict[str, str]:
    (row,) = [row for row in _rows(directory, line) if row["reference"] == line.reference]
    return row


def test_there_is_enough_of_everything(feeds: Feeds) -> None:
    directory, expected = feeds
    outcomes = Counter(line.outcome for line in expected)
    assert outcomes["archived"] >= 40
    assert len({line.dossier for line in expected}) >= 16
    for feed in FEEDS:
        pieces = Counter(line.dossier for line in expected if line.feed == feed and line.outcome == "archived")
        assert len(pieces) >= 8
        assert min(pieces.values()) >= 2
        assert len({line.batch for line in expected if line.feed == feed}) >= 3
    assert set(outcomes) == {"archived", "duplicate"} | SCREENING | INTAKE
    assert sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) < 15 << 20


def test_the_same_bytes_each_time(feeds: Feeds, tmp_path: Path) -> None:
    directory, expected = feeds
    again = [line for feed in FEEDS for line in generate(tmp_path / feed, feed)]
    assert again == expected

    def content(root: Path) -> dict[str, tuple[str, float]]:
        return {
            str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime)
            for path in root.rglob("*")
            if path.is_file()
        }

    assert content(tmp_path) == content(directory)


def test_the_slips_tell_the_truth_where_they_should(feeds: Feeds) -> None:
    directory, expected = feeds
    for line in expected:
        row = _row(directory, line)
        assert tuple(row) == COLUMNS
        path = directory / line.feed / line.batch / row["fichier"]
        assert path.exists() == (line.outcome != "FILE_MISSING")
        if not path.exists():
            continue
        data = path.read_bytes()
        assert (row["sha256"] == hashlib.sha256(data).hexdigest()) == (line.outcome != "DIGEST_MISMATCH")
        assert (row["taille"] == str(len(data))) == (line.outcome != "MANIFEST_LINE_BAD")


def test_duplicates_and_conflicts_share_a_reference(feeds: Feeds) -> None:
    directory, expected = feeds
    for line in expected:
        if line.outcome not in {"duplicate", "REFERENCE_CONFLICT"}:
            continue
        (first,) = [e for e in expected if e.reference == line.reference and e.outcome == "archived"]
        assert first.batch < line.batch
        same = _row(directory, first)["sha256"] == _row(directory, line)["sha256"]
        assert same == (line.outcome == "duplicate")


def test_screening_finds_what_is_expected(feeds: Feeds) -> None:
    directory, expected = feeds
    for line in expected:
        name = _row(directory, line)["fichier"]
        path = directory / line.feed / line.batch / name
        if line.outcome in SCREENING:
            with pytest.raises(RefusedDocumentError) as caught:
                screen(path, name, Limits(), None)
            assert caught.value.code == line.outcome
        elif line.outcome == "archived":
            report = screen(path, name, Limits(), None)
            assert report.pages >= 1 or report.format in ("DOCX", "ODT")


def test_every_kind_of_good_piece_has_a_valid_rendition(feeds: Feeds, tmp_path: Path) -> None:
    directory, expected = feeds
    kinds: dict[tuple[str, str], Path] = {}
    for line in expected:
        if line.outcome == "archived":
            row = _row(directory, line)
            kinds.setdefault((row["piece"], row["fichier"][-3:]), directory / line.feed / line.batch / row["fichier"])
    rungs = set()
    for index, path in enumerate(kinds.values()):
        if path.suffix in (".docx", ".odt"):
            continue  # LibreOffice may be absent: tests/unit/test_office.py says what becomes of them
        media_type = screen(path, path.name, Limits(), None).media_type
        report = render(path, media_type, tmp_path / f"{index}.pdf", Limits())
        assert report.verdict == "passed", (path.name, report)
        rungs.add(report.rung)
    assert rungs == {"pdfa-original", "pdfa-structural", "pdfa-image"}


def test_the_test_signature_is_nowhere_in_the_sources() -> None:
    root = Path(__file__).resolve().parents[2]
    for folder in ("minutier", "storage", "tasks", "flows", "deployments", "tests", "benchmarks", "docs"):
        for path in (root / folder).rglob("*"):
            if path.is_file():
                assert eicar() not in path.read_bytes(), path


def test_an_unknown_feed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="garage, mairie"):
        generate(tmp_path, "notaire")


def test_what_people_really_send_is_among_them(feeds: Feeds, tmp_path: Path) -> None:
    """A photograph in perspective, a fax, office files, a large plan, a signed paper: each ends with its own rung."""
    directory, _ = feeds
    rungs = {}
    for name in ("permis-photo.jpg", "avis.tif", "plan-a1.pdf", "arrete-signe.pdf", "mandat.docx", "notice.odt"):
        (path,) = directory.rglob(name)
        found = screen(path, name, Limits(), None)
        report = render(path, found.media_type, tmp_path / "rendition.pdf", Limits(), found.pages)
        rungs[name] = (found.puid, found.pages, found.flags, report.rung)
    office = rungs.pop("mandat.docx"), rungs.pop("notice.odt")
    assert [each[0] for each in office] == ["fmt/412", "fmt/290"]
    assert rungs == {
        "permis-photo.jpg": ("fmt/43", 1, (), "pdfa-image"),
        "avis.tif": ("fmt/353", 2, (), "pdfa-image"),
        "plan-a1.pdf": ("fmt/17", 1, (), "pdfa-raster"),  # its program embeds no font, as many do not
        "arrete-signe.pdf": ("fmt/17", 1, ("signed",), "pdfa-forms"),
    }


@pytest.mark.skipif(shutil.which("pdfsig") is None, reason="pdfsig (poppler-utils) is absent")
def test_the_signature_of_the_signed_paper_is_good_for_another_reader(feeds: Feeds) -> None:
    directory, _ = feeds
    (path,) = directory.rglob("arrete-signe.pdf")
    said = subprocess.run(["pdfsig", "-nocert", str(path)], capture_output=True, text=True, check=True).stdout
    assert "Signature is Valid" in said
    assert "Total document signed" in said
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    altered = path.with_name("altered.pdf")
    altered.write_bytes(data)
    done = subprocess.run(["pdfsig", "-nocert", str(altered)], capture_output=True, text=True, check=False)
    altered.unlink()
    assert "Signature is Valid" not in done.stdout
