"""Findings have names in ETSI EN 319 102-1, and no other names than its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minutier import indications
from minutier.report import Finding, Report, Verdict
from tests.unit.test_format_docs import PAGES, made

ROOT = Path(__file__).parents[2]
# ETSI EN 319 102-1 V1.3.1, tables 5 and 6 (main indications, and sub-indications by main indication).
SUB_INDICATIONS = {
    "TOTAL-FAILED": {
        "FORMAT_FAILURE", "HASH_FAILURE", "SIG_CRYPTO_FAILURE", "REVOKED", "EXPIRED", "NOT_YET_VALID",
    },
    "INDETERMINATE": {
        "SIG_CONSTRAINTS_FAILURE", "CHAIN_CONSTRAINTS_FAILURE", "CERTIFICATE_CHAIN_GENERAL_FAILURE",
        "CRYPTO_CONSTRAINTS_FAILURE", "POLICY_PROCESSING_ERROR", "SIGNATURE_POLICY_NOT_AVAILABLE",
        "TIMESTAMP_ORDER_FAILURE", "NO_SIGNING_CERTIFICATE_FOUND", "NO_CERTIFICATE_CHAIN_FOUND", "REVOKED_NO_POE",
        "REVOKED_CA_NO_POE", "OUT_OF_BOUNDS_NOT_REVOKED", "OUT_OF_BOUNDS_NO_POE", "REVOCATION_OUT_OF_BOUNDS_NO_POE",
        "CRYPTO_CONSTRAINTS_FAILURE_NO_POE", "NO_POE", "TRY_LATER", "SIGNED_DATA_NOT_FOUND",
    },
}  # fmt: skip


def codes() -> list[str]:
    """Every code that a module of the domain gives to a finding, whole or behind the prefix of a signature."""
    modules = sorted(path.stem for path in (ROOT / "minutier").glob("*.py"))
    found = {code for module in modules for code in made(module)}
    found |= {code for module in modules for code in made(module, "TOKEN", "SEAL", "SEAL2")}
    found |= made("evidence", "EVIDENCE") | made("checkpoint", "CHECKPOINT")
    guards = re.compile(r'guard\([^"\n]*"([A-Z_]+)"\)')
    found |= {code for module in modules for code in guards.findall((ROOT / "minutier" / f"{module}.py").read_text())}
    return sorted({*found, "CONTAINER_NOT_CANONICAL"})


@pytest.mark.parametrize("code", codes())
def test_every_code_has_a_name_of_the_standard(code):
    indication, sub_indication = indications.of_finding(code)
    assert sub_indication in SUB_INDICATIONS[indication]


def test_there_are_codes_and_the_pages_name_them():
    everything = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert len(codes()) > 50
    assert all(f"`{code}`" in everything for code in ("NO_TRUST_ANCHOR", "RENEWAL_LATE", "SEAL_CHAIN"))


def test_names_are_in_the_json():
    finding = Finding("TOKEN_IMPRINT", "token.tst", "x", "y")
    assert finding.as_dict()["indication"] == "TOTAL-FAILED"
    assert finding.as_dict()["sub_indication"] == "HASH_FAILURE"
    names = {Report(verdict, ()).as_dict()["indication"] for verdict in Verdict}
    assert names == {"TOTAL-PASSED", "TOTAL-FAILED", "INDETERMINATE"}


def test_the_indication_of_a_finding_never_contradicts_its_verdict():
    chain = Finding("SEAL_CHAIN", "manifest.json.p7s", "x", "y").as_dict()
    assert (chain["indication"], chain["sub_indication"]) == ("TOTAL-FAILED", "NO_CERTIFICATE_CHAIN_FOUND")
    for code in codes():
        for verdict in (Verdict.FAILED, Verdict.INDETERMINATE):
            found = Finding(code, "x", "x", "y", verdict)
            assert found.as_dict()["indication"] == Report(verdict, (found,)).as_dict()["indication"]


def test_a_finding_that_leaves_no_verdict_is_not_called_a_failure():
    for code in ("NO_TRUST_ANCHOR", "NO_JOURNAL_KEY", "REVOCATION_UNKNOWN", "RENEWAL_LATE", "ALGORITHM_ENDED"):
        assert indications.of_finding(code)[0] == "INDETERMINATE"
    assert indications.of_finding("SOMETHING_NEW") == ("INDETERMINATE", "")
