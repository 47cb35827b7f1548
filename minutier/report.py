"""What a verification says: a verdict, numbered steps and findings, in the vocabulary of ETSI EN 319 102-1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from minutier import indications


class Verdict(StrEnum):
    """PASSED: everything holds. FAILED: something does not. INDETERMINATE: something needed to judge is missing."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    INDETERMINATE = "INDETERMINATE"


_SIGNS = {Verdict.PASSED: "ok", Verdict.FAILED: "FAILED", Verdict.INDETERMINATE: "unknown", None: "not reached"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that did not hold, or could not be judged.

    `code` is stable and searchable; `where` is the path of the file inside the bundle; `clause` names the norm.
    `verdict` is the best verdict possible with this finding: FAILED or INDETERMINATE.
    """

    code: str
    where: str
    message: str
    clause: str
    verdict: Verdict = Verdict.FAILED

    def as_dict(self) -> dict[str, str]:
        """Give the finding as the command line's JSON, with its name in ETSI EN 319 102-1."""
        return {
            "code": self.code,
            "where": self.where,
            "message": self.message,
            "clause": self.clause,
            "indication": indications.of_verdict(self.verdict.value),
            "sub_indication": indications.of_finding(self.code)[1],
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered step and its own verdict; None when an earlier failure left nothing to look at."""

    number: int
    title: str
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Report:
    """The whole verification. `facts` are what the bundle states, worth what the verdict is worth."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    steps: tuple[Step, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as the command line's JSON."""
        return {
            "verdict": self.verdict.value,
            "indication": indications.of_verdict(self.verdict.value),
            "findings": [finding.as_dict() for finding in self.findings],
            "steps": [
                {"number": step.number, "title": step.title, "verdict": step.verdict and step.verdict.value}
                for step in self.steps
            ],
            "facts": dict(self.facts),
        }


def overall(findings: Sequence[Finding]) -> Verdict:
    """Give the verdict that findings leave possible."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.FAILED in verdicts:
        return Verdict.FAILED
    return Verdict.INDETERMINATE if verdicts else Verdict.PASSED


def as_text(report: Report) -> str:
    """Write a report for people; what comes from the bundle is escaped, so that it cannot draw on the terminal."""
    lines = [f"{step.number}. {step.title}: {_SIGNS[step.verdict]}" for step in report.steps]
    lines += [f"   {_plain(name)}: {_plain(value)}" for name, value in report.facts.items()]
    lines += [f"- {item.code} {_plain(item.where)}: {_plain(item.message)} [{item.clause}]" for item in report.findings]
    return "\n".join((*lines, f"Verdict: {report.verdict.value}"))


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)
