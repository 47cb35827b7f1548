"""Which archived revocation lists suffice for a record, at first and once renewed, as EU DSS and we judge it."""

from dataclasses import replace
from datetime import timedelta

import pytest

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
