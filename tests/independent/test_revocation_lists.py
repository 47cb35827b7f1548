"""Which archived revocation lists suffice for a record, at first and once renewed, as EU DSS and we judge it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.support import planted_records
from tests.support.pki import make_crl
from tests.support.renewals import RENEWED, STAMPED, century
from tests.support.verifiers import our_answers

DAY = timedelta(days=1)
JUDGED = RENEWED + timedelta(days=200)  # the certificate of the first authority has ended
AT_FIRST, NOW = (STAMPED + DAY, STAMPED + 8 * DAY), (JUDGED - DAY, JUDGED + DAY)
# The lists of an archive, each as its issue and its next update, and whether they suffice.
FIRST = {
    "none": ([], False),
    "issued before the token": ([(STAMPED - 5 * DAY, STAMPED + 2 * DAY)], True),
    "issued after the token": ([AT_FIRST], True),
    "issued before, and still in force": ([(STAMPED - 5 * DAY, JUDGED)], True),
}
RENEWED_ONCE = {
    "one right after each token": ([AT_FIRST, (RENEWED + DAY, RENEWED + 8 * DAY)], True),
    "one right after the first token, one when judged": ([AT_FIRST, NOW], True),
    "one right before the first token, one when judged": ([(STAMPED - DAY, STAMPED + 6 * DAY), NOW], True),
    "none before the end of the first certificate": ([NOW], False),
    "older than the second certificate": ([(STAMPED, JUDGED + DAY)], False),
}


def questions():
    first = planted_records.ask(planted_records.chains([planted_records.parts()[0]]), moments=(STAMPED,))
    renewed = planted_records.ask(planted_records.chains(planted_records.parts()[:2]), moments=(STAMPED, RENEWED))
    for base, table in ((first, FIRST), (renewed, RENEWED_ONCE)):
        for name, (lists, _) in table.items():
            made = [make_crl(century().root, century().root_key, start=start, end=end) for start, end in lists]
            yield replace(base, name=name, crls=tuple(made))


@pytest.fixture(scope="module")
def answers(judges, tmp_path_factory):
    asked = list(questions())
    return {"dss": judges["dss"].answers(asked, tmp_path_factory.mktemp("lists")), "ours": our_answers(asked)}


# EU DSS takes no list that is older than the certificate; we look whether it was in force at the time of the token.
TAKEN_BY_US = {"older than the second certificate"}


@pytest.mark.parametrize("name", [*FIRST, *RENEWED_ONCE])
@pytest.mark.parametrize("judge", ["dss", "ours"])
def test_the_lists_suffice_or_not(answers, judge, name):
    _, suffice = (FIRST | RENEWED_ONCE)[name]
    found = answers[judge][name]
    assert found.accepted == (suffice or (judge == "ours" and name in TAKEN_BY_US)), found.reasons
    if not found.accepted:
        assert ("INDETERMINATE" if judge == "dss" else "REVOCATION_UNKNOWN") in found.reasons


# --- OCSP


def response(moment, *, revoked: bool) -> bytes:
    """Answer for the certificate of the first authority, signed by the root."""
    status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=century().authorities[0].certificate,
        issuer=century().root,
        algorithm=hashes.SHA256(),
        cert_status=status,
        this_update=moment,
        next_update=moment + 7 * DAY,
        revocation_time=moment - DAY if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    named = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, century().root)
    return named.sign(century().root_key, hashes.SHA256()).public_bytes(Encoding.DER)


# When the answer is made, whether it says revoked, whether it suffices.
OCSP = {
    "good, right after the token": (STAMPED + DAY, False, True),
    "good, when judged": (STAMPED + 199 * DAY, False, True),
    "revoked before the token": (STAMPED + DAY, True, False),
}


@pytest.mark.parametrize("name", OCSP)
def test_an_ocsp_answer_does_in_the_place_of_a_list(judges, tmp_path, name):
    moment, revoked, suffices = OCSP[name]
    first = planted_records.ask(planted_records.chains([planted_records.parts()[0]]), moments=(STAMPED,))
    asked = replace(first, name=name, crls=(), ocsp=(response(moment, revoked=revoked),))
    for found in (judges["dss"].answers([asked], tmp_path)[name], our_answers([asked])[name]):
        assert found.accepted == suffices, found.reasons
        assert suffices or "REVOKED" in found.reasons
