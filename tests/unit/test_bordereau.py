"""The bordereau: each value has one spelling, and a bad line stops nothing but itself."""

from __future__ import annotations

import hashlib
import os
import time
from datetime import date
from pathlib import Path

import pytest

from minutier.errors import BadInputError
from tasks.bordereau import ABSENT, COLUMNS, MANIFEST, RECEIPT, file_state, read_batch

GOOD = {
    "dossier": "PC-2026-12", "reference": "PC-2026-12/plan", "piece": "plan", "titre": "Façade",
    "fichier": "façade.txt", "taille": "8", "sha256": "0" * 64, "date": "2026-11-23",
}  # fmt: skip


def batch(folder, *rows, encoding="utf-8"):
    lines = [";".join(COLUMNS), *(";".join(row.values()) if isinstance(row, dict) else row for row in rows)]
    (folder / MANIFEST).write_bytes("".join(f"{line}\r\n" for line in lines).encode(encoding))
    return read_batch(folder)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_good_line_is_read(tmp_path, encoding):
    read = batch(tmp_path, GOOD, encoding=encoding)
    (line,) = read.lines
    assert (line.number, line.refusal, line.reference) == (2, None, "PC-2026-12/plan")
    assert line.row is not None
    assert (line.row.taille, line.row.date, line.row.titre) == (8, date(2026, 11, 23), "Façade")
    assert read.manifest_sha256 == hashlib.sha256((tmp_path / MANIFEST).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("taille", "1_000"), ("taille", "+1"), ("taille", "-1"), ("taille", "1.0"), ("taille", "1e3"), ("taille", "٣"),
        ("taille", "01"), ("taille", ""), ("taille", "9" * 16),
        ("date", "0"), ("date", "1700006400"), ("date", "2026-11-23T00:00:00"), ("date", "2026-02-30"),
        ("date", "23/11/2026"), ("date", ""),
        ("sha256", "A" * 64), ("sha256", "0" * 63), ("sha256", ""),
        ("fichier", ".."), ("fichier", "a/b"), ("fichier", "a\\b"), ("fichier", ""), ("fichier", MANIFEST),
        ("fichier", "a\0b"), ("fichier", "a\x1bb"), ("fichier", "x" * 201), ("fichier", "é" * 128),
        ("fichier", RECEIPT),
        ("titre", "a\0b"), ("titre", "x" * 301),
        ("dossier", "../up"), ("dossier", ""), ("piece", "é"), ("reference", "x" * 121), ("reference", "=cmd"),
    ],
)  # fmt: skip
def test_a_bad_value_refuses_its_line_and_no_other(tmp_path, column, value):
    bad, good = batch(tmp_path, {**GOOD, column: value}, GOOD).lines
    assert bad.row is None
    assert bad.refusal is not None
    assert (bad.refusal.code, bad.number) == ("MANIFEST_LINE_BAD", 2)
    assert good.row is not None


def test_the_longest_name_that_a_file_system_takes_is_good(tmp_path):
    (line,) = batch(tmp_path, {**GOOD, "fichier": "é" * 127 + "x"}).lines
    assert line.row is not None
    (tmp_path / line.row.fichier).touch()


def test_a_line_of_another_length_is_refused_and_named_when_it_can_be(tmp_path):
    short, odd, good = batch(tmp_path, "PC-1;PC-1/a", "PC-1;a\0b;x", GOOD).lines
    assert (short.row, short.reference) == (None, "PC-1/a")
    # A reference that no database takes is not carried on.
    assert (odd.row, odd.reference) == (None, "")
    assert good.row is not None


@pytest.mark.parametrize(
    "data",
    [b"", b"dossier;reference\n", b"\xff\xfe", ";".join(COLUMNS).encode() + b'\n"open', b"a" * ((16 << 20) + 1)],
    ids=["empty", "other-columns", "not-utf-8", "open-quote", "too-large"],
)
def test_a_manifest_that_cannot_be_read_is_bad_input(tmp_path, data):
    (tmp_path / MANIFEST).write_bytes(data)
    with pytest.raises(BadInputError) as caught:
        read_batch(tmp_path)
    assert caught.value.code == "BAD_MANIFEST"


@pytest.mark.parametrize("name", ["caf\udce9", "caf\udce9\x1b[2J"])
def test_a_folder_whose_name_is_not_utf8_is_bad_input_with_a_name_that_can_be_shown(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    with pytest.raises(BadInputError) as caught:
        batch(folder, GOOD)
    assert caught.value.code == "BAD_MANIFEST"
    assert "batch caf\\udce9" in caught.value.message
    assert caught.value.message.isprintable()


def test_a_manifest_that_may_not_be_read_is_bad_input(tmp_path, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", closed)
    (tmp_path / MANIFEST).touch()
    with pytest.raises(BadInputError) as caught:
        read_batch(tmp_path)
    assert caught.value.code == "BAD_MANIFEST"
    assert str(tmp_path) not in caught.value.message


def test_the_state_of_a_file_tells_every_change(tmp_path):
    path = tmp_path / "file"
    states = [file_state(path)]
    for change in (
        path.touch,
        lambda: path.write_bytes(b"1"),
        lambda: os.utime(path, (1, 1)),
        lambda: path.chmod(0o640),
        path.unlink,
    ):
        time.sleep(0.01)
        change()
        states.append(file_state(path))
    assert len(set(states[:-1])) == 5
    assert (states[0], states[-1]) == (ABSENT, ABSENT)
    assert file_state(path / "below") == ABSENT
    path.mkdir()
    assert file_state(path) == ABSENT
    (tmp_path / "link").symlink_to(__file__)
    assert file_state(tmp_path / "link") == ABSENT
    assert file_state(tmp_path / ("é" * 200)) == ABSENT
