"""What each finding is called in ETSI EN 319 102-1 (§5.1.3, tables of main and sub-indications).

The verdict is ours and is never milder: where the standard says INDETERMINATE because other constraints could exist
(another root, another policy), a proof judged under the given anchors is FAILED. So the indication that is written with
a finding is always that of its verdict (`of_verdict`), and the sub-indication names the cause as the standard does; the
table keeps under which indication the standard has that name. A finding that is not about a
signature (a file, an index, the journal) gets the name of what it comes nearest to.
"""

from __future__ import annotations

PASSED, FAILED, INDETERMINATE = "TOTAL-PASSED", "TOTAL-FAILED", "INDETERMINATE"

# Whole codes first; then, for what is left, the part after the first underscore (SEAL_, TOKEN_, EVIDENCE_, …).
_BY_CODE = {
    "NO_TRUST_ANCHOR": (INDETERMINATE, "NO_CERTIFICATE_CHAIN_FOUND"),
    "NO_JOURNAL_KEY": (INDETERMINATE, "NO_SIGNING_CERTIFICATE_FOUND"),
    "REVOCATION_UNKNOWN": (INDETERMINATE, "TRY_LATER"),
    "ALGORITHM_ENDED": (INDETERMINATE, "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"),
    "JOURNAL_ALGORITHM_ENDED": (INDETERMINATE, "CRYPTO_CONSTRAINTS_FAILURE_NO_POE"),
    "RENEWAL_LATE": (INDETERMINATE, "OUT_OF_BOUNDS_NO_POE"),
    "EVIDENCE_ORDER": (INDETERMINATE, "TIMESTAMP_ORDER_FAILURE"),
    "EVIDENCE_TOKEN": (FAILED, "FORMAT_FAILURE"),
    "FILE_MISSING": (INDETERMINATE, "SIGNED_DATA_NOT_FOUND"),
    "FILE_UNEXPECTED": (FAILED, "FORMAT_FAILURE"),
    "INDEX_FILES": (FAILED, "FORMAT_FAILURE"),
    "CERTIFICATE_MISMATCH": (FAILED, "FORMAT_FAILURE"),
    "KIT_UNKNOWN": (FAILED, "FORMAT_FAILURE"),
    "STATEMENT_MISMATCH": (FAILED, "HASH_FAILURE"),
    "ROOT_FOREIGN": (INDETERMINATE, "CHAIN_CONSTRAINTS_FAILURE"),
    "CRL_SIGNATURE": (INDETERMINATE, "CERTIFICATE_CHAIN_GENERAL_FAILURE"),
    "OCSP_SIGNATURE": (INDETERMINATE, "CERTIFICATE_CHAIN_GENERAL_FAILURE"),
}
_BY_KIND = {
    "DER": (FAILED, "FORMAT_FAILURE"),
    "FORMAT": (FAILED, "FORMAT_FAILURE"),
    "ENTRY_FORMAT": (FAILED, "FORMAT_FAILURE"),
    "NOT_CANONICAL": (FAILED, "FORMAT_FAILURE"),
    "CONTENT_TYPE": (FAILED, "FORMAT_FAILURE"),
    "STATUS": (FAILED, "FORMAT_FAILURE"),
    "PATH_TEXT": (FAILED, "FORMAT_FAILURE"),
    "CRC": (FAILED, "HASH_FAILURE"),
    "DIGEST": (FAILED, "HASH_FAILURE"),
    "IMPRINT": (FAILED, "HASH_FAILURE"),
    "OBJECT": (FAILED, "HASH_FAILURE"),
    "GROUP": (FAILED, "HASH_FAILURE"),
    "FILE": (FAILED, "HASH_FAILURE"),
    "RENEWAL": (FAILED, "HASH_FAILURE"),
    "PATH": (FAILED, "HASH_FAILURE"),
    "CHECKPOINT": (FAILED, "HASH_FAILURE"),
    "MANIFEST": (FAILED, "HASH_FAILURE"),
    "ID": (FAILED, "HASH_FAILURE"),
    "SAFE": (FAILED, "HASH_FAILURE"),
    "EVENT": (FAILED, "HASH_FAILURE"),
    "SIGNATURE": (FAILED, "SIG_CRYPTO_FAILURE"),
    "COSIGNATURE": (FAILED, "SIG_CRYPTO_FAILURE"),
    "SECOND_OPINION": (FAILED, "SIG_CRYPTO_FAILURE"),
    "SIGNER": (INDETERMINATE, "NO_SIGNING_CERTIFICATE_FOUND"),
    "ESS": (INDETERMINATE, "NO_SIGNING_CERTIFICATE_FOUND"),
    "CHAIN": (INDETERMINATE, "NO_CERTIFICATE_CHAIN_FOUND"),
    "PURPOSE": (INDETERMINATE, "CHAIN_CONSTRAINTS_FAILURE"),
    "ALGORITHM": (INDETERMINATE, "CRYPTO_CONSTRAINTS_FAILURE"),
    "POLICY": (INDETERMINATE, "SIG_CONSTRAINTS_FAILURE"),
    "NONCE": (INDETERMINATE, "SIG_CONSTRAINTS_FAILURE"),
    "MISSING": (INDETERMINATE, "SIG_CONSTRAINTS_FAILURE"),
    "REVOKED": (INDETERMINATE, "REVOKED_NO_POE"),
    "TIME": (INDETERMINATE, "TIMESTAMP_ORDER_FAILURE"),
    "SERIAL": (INDETERMINATE, "TIMESTAMP_ORDER_FAILURE"),
}


def of_finding(code: str) -> tuple[str, str]:
    """Give the sub-indication of a finding, after the indication under which the standard has it.

    The sub-indication is empty for a code without a name.
    """
    if code in _BY_CODE:
        return _BY_CODE[code]
    _, _, kind = code.partition("_")
    return _BY_KIND.get(kind, (INDETERMINATE, ""))


def of_verdict(verdict: str) -> str:
    """Give the main indication of a verdict: PASSED, FAILED or INDETERMINATE."""
    return {"PASSED": PASSED, "FAILED": FAILED}.get(verdict, INDETERMINATE)
