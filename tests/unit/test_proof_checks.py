"""Proofs judged again by the sweep: what is altered in the tables or the stores is found, each part by its code."""

from datetime import timedelta

import pytest

from minutier.errors import ServiceUnavailableError
from storage import journal, proof_checks, sweep
from storage.proof_checks import ProofJudge
from tests.support.rig import carry

HOUR = timedelta(hours=1)


def two(rig):
    return carry(rig.archive, [rig.deliver(b"%d" % n, f"R-{n}").archive_id for n in range(2)])


def change(rig, query, *values):
    with rig.archive.database.transaction() as connection:
        connection.execute("ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows")
        done = connection.execute(query, values)
        connection.execute("ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows")
        assert done.rowcount


def flip(column):
    return f"UPDATE deposit SET {column} = set_byte({column}, 40, 255 - get_byte({column}, 40)) WHERE archive_id = %s"


def test_a_good_proof_is_good_and_a_token_is_judged_once(rig, monkeypatch):
    first, second = two(rig)
    judged = []
    check = proof_checks.check_token
    monkeypatch.setattr(proof_checks, "check_token", lambda *a, **k: (judged.append(1), check(*a, **k))[1])
    judge = ProofJudge(rig.archive)
    assert judge.judge(first.archive_id) == judge.judge(second.archive_id) == ""
    assert len(judged) == 1


PLANTS = {
    "seal": (flip("seal"), {"SEAL_DER", "SEAL_SIGNATURE", "SEAL_DIGEST", "SEAL_ESS", "SEAL_CHAIN"}),
    "manifest": (flip("manifest"), {"MANIFEST_ALTERED"}),
    "reference": ("UPDATE deposit SET reference = 'other' WHERE archive_id = %s", {"CATALOGUE_DIFFERS"}),
    "term": (
        "UPDATE deposit SET retain_until = retain_until - interval '1 year' WHERE archive_id = %s",
        {"CATALOGUE_DIFFERS"},
    ),
    "path": (
        "UPDATE evidence_chain SET siblings = set_byte(siblings, 3, 255 - get_byte(siblings, 3)) WHERE archive_id = %s",
        {"EVIDENCE_IMPRINT"},
    ),
    "no path": ("DELETE FROM evidence_chain WHERE archive_id = %s", {"PART_MISSING"}),
    "token": (
        "UPDATE token SET token = set_byte(token, 200, 255 - get_byte(token, 200))"
        " WHERE token_id = (SELECT token_id FROM deposit WHERE archive_id = %s)",
        {"TOKEN_DER", "TOKEN_SIGNATURE", "TOKEN_IMPRINT", "TOKEN_DIGEST", "TOKEN_ESS", "TOKEN_ALGORITHM"},
    ),
    "no entry": (
        "DELETE FROM journal_event WHERE event = 'deposit:committed' AND archive_id = %s",
        {"JOURNAL_ENTRY_COUNT"},
    ),
    "entry": (
        "UPDATE journal_event SET entry = convert_to(regexp_replace(convert_from(entry, 'UTF8'),"
        " '\"manifest_sha256\":\"..', '\"manifest_sha256\":\"zz'), 'UTF8')"
        " WHERE event = 'deposit:committed' AND archive_id = %s",
        {"JOURNAL_ENTRY_DIFFERS"},
    ),
}


@pytest.mark.parametrize("name", PLANTS)
def test_each_altered_part_is_found(rig, name):
    document, _ = two(rig)
    query, codes = PLANTS[name]
    change(rig, query, document.archive_id)
    assert ProofJudge(rig.archive).judge(document.archive_id) in codes


def test_a_seal_in_the_stores_that_is_not_the_one_of_the_catalogue_is_found(rig, monkeypatch):
    document, _ = two(rig)
    kept = ProofJudge._kept_beside

    def others(self, connection, deposit):
        return {role: data + b" " for role, data in kept(self, connection, deposit).items()}

    monkeypatch.setattr(ProofJudge, "_kept_beside", others)
    assert ProofJudge(rig.archive).judge(document.archive_id) == "PART_DIFFERS"


def test_the_sweep_says_it_journals_it_and_looks_again_the_next_night(rig):
    document, _ = two(rig)
    change(rig, "UPDATE deposit SET reference = 'other' WHERE archive_id = %s", document.archive_id)
    rig.clock.advance(60)
    report = sweep.sweep(rig.archive, budget=HOUR)
    assert (report.verdict, report.proofs) == ("alarm", 2)
    assert report.proofs_bad == ((document.archive_id, "CATALOGUE_DIFFERS"),)
    assert report.as_dict()["proofs_bad"] == [{"archive_id": document.archive_id, "code": "CATALOGUE_DIFFERS"}]
    with rig.archive.database.transaction() as connection:
        (line,) = [line for line in journal.lines(connection) if line.event == "proof:broken"]
    assert line.archive_id == document.archive_id
    change(rig, "UPDATE deposit SET reference = 'R-0' WHERE archive_id = %s", document.archive_id)
    rig.clock.advance(60)
    again = sweep.sweep(rig.archive, budget=HOUR)
    assert (again.verdict, again.proofs) == ("clean", 1)  # the bad one alone: the other was judged this month
    rig.clock.advance(60)
    assert sweep.sweep(rig.archive, budget=HOUR).proofs == 0
    rig.clock.advance(31 * 86400)
    assert sweep.sweep(rig.archive, budget=HOUR).proofs == 2


def test_one_bad_look_is_not_believed(rig, monkeypatch):
    document, _ = two(rig)
    answers = iter(["EVIDENCE_IMPRINT", ""])
    monkeypatch.setattr(ProofJudge, "_judged", lambda self, archive_id: next(answers))
    assert ProofJudge(rig.archive).judge(document.archive_id) == ""


def test_stores_out_of_reach_leave_the_proof_to_another_night(rig):
    document, _ = two(rig)

    def down(call):
        raise ServiceUnavailableError("STORE_UNANSWERED", "down", remedy="")

    for store in rig.stores:
        store.fault_hook = down
    with pytest.raises(ServiceUnavailableError):
        ProofJudge(rig.archive).judge(document.archive_id)
    rig.clock.advance(60)
    report = sweep.sweep(rig.archive, budget=HOUR)
    assert (report.proofs, report.proofs_bad) == (0, ())
    for store in rig.stores:
        store.fault_hook = None
    rig.clock.advance(60)
    assert sweep.sweep(rig.archive, budget=HOUR).proofs == 2


def test_a_budget_that_is_spent_leaves_proofs_to_the_next_sweep(rig):
    two(rig)
    assert sweep.sweep(rig.archive, budget=timedelta(0)).proofs == 0
    assert sweep.sweep(rig.archive, budget=HOUR).proofs == 2
