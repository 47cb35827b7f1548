"""Each planted alteration is refused by Bouncy Castle, EU DSS and us; where one cannot see it, the table says why."""

import re
from dataclasses import replace

import pytest

from tests.support import planted_records, planted_seals
from tests.support.planted_records import RECORDS
from tests.support.planted_seals import SEALS, TOKENS
from tests.support.renewals import STAMPED
from tests.support.verifiers import NAMES, ROOT, all_answers

PLANTS = {**RECORDS, **SEALS, **TOKENS}


def good():
    """What is altered, before it is: no judge refuses everything."""
    first = planted_records.chains([planted_records.parts()[0]])
    return [
        ("the record", planted_records.ask(planted_records.whole())),
        ("the first archive time-stamp", planted_records.ask(first, moments=(STAMPED,))),
        ("the seal", planted_seals.ask_seal(planted_seals.good_seal())),
        ("the token", planted_seals.ask_token(planted_seals.good_token())),
    ]


@pytest.fixture(scope="module")
def answers(judges, tmp_path_factory):
    asked = [replace(question, name=name) for name, question in good()]
    asked += [plant.make() for plant in PLANTS.values()]
    return all_answers(judges, asked, tmp_path_factory.mktemp("plants"))


@pytest.mark.parametrize("judge", NAMES)
def test_what_is_altered_was_good(answers, judge):
    assert {name: answers[judge][name].reasons for name, _ in good()} == {name: "" for name, _ in good()}


@pytest.mark.parametrize("name", PLANTS)
def test_an_alteration_is_refused(answers, name):
    blind = PLANTS[name].blind
    accepted = {judge for judge in NAMES if answers[judge][name].accepted}
    # Both versions of Bouncy Castle see the same.
    assert accepted == {judge for judge in NAMES if judge.removesuffix("-recent") in blind}


# The words of a refusal that is about hashes, signatures or structure.
ON_THE_MERITS = re.compile(
    "HASH_FAILURE|SIG_CRYPTO_FAILURE|SIGNED_DATA_NOT_FOUND|ORPHAN_REFERENCE|files are covered|IllegalInput"
    "|object hash not found|does not match root|invalid timestamp renewal|invalid digest algorithm in chain|truncated"
    "|signature not created|does not verify|DigestMismatch|message-digest|imprint|reading content"
    "|EVIDENCE_|TOKEN_(DER|DIGEST|SIGNATURE|IMPRINT|ESS)|SEAL_(DER|DIGEST|SIGNATURE)"
)
UNTRUSTED = "NO_CERTIFICATE_CHAIN_FOUND|not under a trusted root|_CHAIN"
NOT_FOR_STAMPS = "CHAIN_CONSTRAINTS_FAILURE|ExtendedKeyUsage|TOKEN_PURPOSE"
TOO_LATE = "OUT_OF_BOUNDS_NOT_REVOKED|RENEWAL_LATE"
# The words of one that is about something else.
OTHERWISE = {
    "a token of an authority under another root": UNTRUSTED,
    "a token under another root": UNTRUSTED,
    "a seal under another root": UNTRUSTED,
    "a token of a certificate that is not for time-stamps": NOT_FOR_STAMPS,
    "a token by a seal certificate": NOT_FOR_STAMPS,
    "a token without signingCertificate": '"timestampToken" is null|no signing certificate attribute|TOKEN_ESS',
    "a seal whose signingCertificateV2 names another certificate": "NO_SIGNING_CERTIFICATE_FOUND|SEAL_ESS",
    "a token made after the end of its certificate": "CERTIFICATE_CHAIN_GENERAL_FAILURE|not valid at genTime|_CHAIN",
    "a token of a revoked certificate": "REVOKED_NO_POE|TOKEN_REVOKED",
    "a revoked seal": "REVOKED_NO_POE|SEAL_REVOKED",
    "a token later than the time of judgement": "in the future|TOKEN_TIME",
    "renewed before what it renews": "in the future|EVIDENCE_ORDER",
    "renewed after the certificate of the renewed token had ended": TOO_LATE,
    "never renewed, and judged after the end": TOO_LATE,
    "version 2": "incompatible version|EVIDENCE_FORMAT",
    "a byte follows the record": "Extra data|EVIDENCE_FORMAT",
    "no archive time-stamp": "Index 0 out of bounds|EVIDENCE_FORMAT",
    "no chain": "Index 0 out of bounds|at least one DigestMatcher|EVIDENCE_FORMAT",
}


@pytest.mark.parametrize("name", PLANTS)
def test_it_is_refused_for_what_is_wrong_with_it(answers, name):
    expected = re.compile(OTHERWISE[name]) if name in OTHERWISE else ON_THE_MERITS
    refusals = {judge: found[name].reasons for judge, found in answers.items() if not found[name].accepted}
    assert {judge: said for judge, said in refusals.items() if not expected.search(said)} == {}


# Rules of our own profile that neither of the others has, and a rule of theirs that is not ours.
SEEN_BY_US_ALONE = {
    "digestAlgorithms does not list SHA3-512",
    "a byte follows the seal",
    "a byte follows a token",
}
NOT_SEEN_BY_US = {"never renewed, and judged after the end"}


def test_there_are_many_and_both_see_most_of_them():
    unseen = {name for name, plant in PLANTS.items() if {"bouncy-castle", "dss"} <= set(plant.blind)}
    assert unseen == SEEN_BY_US_ALONE
    assert {name for name, plant in PLANTS.items() if "ours" in plant.blind} == NOT_SEEN_BY_US
    assert sum(not plant.blind for plant in PLANTS.values()) >= 60


def test_the_page_lists_what_is_not_seen():
    page = (ROOT / "docs" / "other-verifiers.md").read_text(encoding="utf-8")
    _, _, table = page.partition("| alteration | not seen by | why |\n|---|---|---|\n")
    expected = [f"| {name} | {judge} | {why} |" for name, plant in PLANTS.items() for judge, why in plant.blind.items()]
    assert table.splitlines() == expected
