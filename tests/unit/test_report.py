"""What a verification says: the verdict that findings leave, as JSON and as text."""

from __future__ import annotations

import pytest

from minutier.report import Finding, Report, Step, Verdict, as_text, overall

BAD = Finding("CODE_BAD", "a.txt", "It is altered.", "RFC 1 §2")
UNSURE = Finding("CODE_UNSURE", "b.txt", "Nothing to judge by.", "RFC 3 §4", Verdict.INDETERMINATE)


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [((), Verdict.PASSED), ((UNSURE,), Verdict.INDETERMINATE), ((BAD,), Verdict.FAILED),
     ((UNSURE, BAD), Verdict.FAILED), ((BAD, UNSURE, BAD), Verdict.FAILED)],
)  # fmt: skip
def test_the_worst_finding_decides(findings, verdict):
    assert overall(findings) is verdict


def test_a_finding_fails_unless_it_says_otherwise():
    assert BAD.verdict is Verdict.FAILED
    assert BAD.as_dict() == {
        "code": "CODE_BAD", "where": "a.txt", "message": "It is altered.", "clause": "RFC 1 §2",
        "indication": "TOTAL-FAILED", "sub_indication": "",
    }  # fmt: skip


STEPS = (Step(1, "one", Verdict.PASSED), Step(2, "two", Verdict.FAILED), Step(3, "three", Verdict.INDETERMINATE),
         Step(4, "four", None))  # fmt: skip
REPORT = Report(Verdict.FAILED, (BAD, UNSURE), STEPS, {"safe": "demo", "name\n": "\x1b[2J"})


def test_a_report_as_json():
    assert REPORT.as_dict() == {
        "verdict": "FAILED",
        "indication": "TOTAL-FAILED",
        "findings": [BAD.as_dict(), UNSURE.as_dict()],
        "steps": [
            {"number": 1, "title": "one", "verdict": "PASSED"},
            {"number": 2, "title": "two", "verdict": "FAILED"},
            {"number": 3, "title": "three", "verdict": "INDETERMINATE"},
            {"number": 4, "title": "four", "verdict": None},
        ],
        "facts": {"safe": "demo", "name\n": "\x1b[2J"},
    }
    assert Report(Verdict.PASSED, ()).as_dict() == {
        "verdict": "PASSED", "indication": "TOTAL-PASSED", "findings": [], "steps": [], "facts": {},
    }  # fmt: skip


def test_a_report_as_text():
    assert as_text(REPORT).split("\n") == [
        "1. one: ok",
        "2. two: FAILED",
        "3. three: unknown",
        "4. four: not reached",
        "   safe: demo",
        "   name\\u000a: \\u001b[2J",
        "- CODE_BAD a.txt: It is altered. [RFC 1 §2]",
        "- CODE_UNSURE b.txt: Nothing to judge by. [RFC 3 §4]",
        "Verdict: FAILED",
    ]
    odd = Finding("CODE", "a\tb", "c\rd", "clause")
    assert as_text(Report(Verdict.FAILED, (odd,))) == "- CODE a\\u0009b: c\\u000dd [clause]\nVerdict: FAILED"
