"""Whole batches: each rule with a batch that keeps it and one that breaks it; findings name lines, never a value."""

import hashlib
from datetime import date, timedelta
from pathlib import Path

import pytest

from tasks import quality
from tasks.bordereau import Batch, Line, Row
from tasks.quality import RULES, judge_batch
from tasks.receipts import write_report

TODAY = date(2026, 3, 2)
pytestmark = pytest.mark.timeout(180)


def line(number, reference=None, **more):
    values = {
        "dossier": "D-1", "reference": reference or f"D-1/{number}", "piece": "P", "titre": "t",
        "fichier": f"f{number}.pdf", "taille": "3", "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "date": "2026-02-01",
    }  # fmt: skip
    return Line(number, Row.model_validate(values | more))


def batch(*lines):
    return Batch("lot", Path("lot"), "00", tuple(lines))


def broken(*lines, history=()):
    return [(each.rule, each.line) for each in judge_batch(batch(*lines), TODAY, history)]


def test_a_batch_that_keeps_every_rule_says_nothing():
    assert broken(*(line(n) for n in range(2, 9)), history=[7, 8, 6, 9]) == []
    assert judge_batch(batch(), TODAY) == ()


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([line(2), line(3, "D-1/2")], [("LOT-01", 2), ("LOT-01", 3)]),
        ([line(2), line(3, fichier="f2.pdf")], [("LOT-02", 2), ("LOT-02", 3)]),
        ([line(2), line(3), line(4, sha256="ab" * 32), line(5, sha256="ab" * 32)], [("LOT-03", 4), ("LOT-03", 5)]),
        ([line(n) for n in (2, 3, 4, 7, 8)], [("LOT-04", 7)]),
        ([line(2), line(3, date=(TODAY + timedelta(days=2)).isoformat())], [("LOT-05", 3)]),
        ([line(2), line(3, date="1850-01-01")], [("LOT-05", 3)]),
    ],
)
def test_what_breaks_a_rule_is_told_by_line(lines, found):
    assert broken(*lines) == found


@pytest.mark.parametrize(("lines", "told"), [(5, True), (6, False), (599, False), (700, True)])
def test_an_unusual_volume_is_told(lines, told):
    found = broken(*(line(n) for n in range(2, 2 + lines)), history=[60, 55, 65])
    assert found == ([("LOT-06", 0)] if told else [])
    assert broken(*(line(n) for n in range(2, 2 + lines)), history=[60, 55]) == [], "two batches are no habit"


def test_numbers_that_are_no_sequence_have_no_gaps():
    assert broken(line(2, "A/100"), line(3, "A/250"), line(4, "A/900"), line(5, "B/1"), line(6, "B/9")) == []


def test_lines_that_were_refused_are_not_judged():
    assert broken(line(2), Line(3, None), line(4)) == []


def test_every_rule_has_both_sentences_and_no_value(tmp_path):
    found = judge_batch(batch(line(2), line(3, "D-1/2", fichier="dupont.pdf"), line(4, fichier="dupont.pdf")), TODAY)
    assert {each.rule for each in found} == {"LOT-01", "LOT-02"}
    assert not any("dupont" in str(each) for each in found)
    assert len({rule.code for rule in RULES.values()}) == len(RULES) == 6
    assert all(rule.fr.endswith(".") and rule.en.endswith(".") for rule in RULES.values())
    rows = [vars_of(each) for each in (*found, *judge_batch(batch(line(2)), TODAY, [90, 90, 90]))]
    assert write_report(tmp_path / "rapport.txt", {"batch": "lot", "findings": rows}) == ""
    text = (tmp_path / "rapport.txt").read_text()
    assert "ligne 3, champ reference, règle LOT-01" in text
    assert "lot entier, LOT-06" in text
    table = quality._table(found)
    assert {row["rule"]: row["broken by"] for row in table} == {"LOT-01": 2, "LOT-02": 2}


def vars_of(finding):
    return {name: getattr(finding, name) for name in ("line", "field", "rule", "level", "fr", "en")}
