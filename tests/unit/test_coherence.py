"""Coherence of the tables: a living archive breaks no rule, and each rule finds the violation planted for it."""

import json
import uuid
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from storage import sweep
from storage.abandoning import abandon
from storage.proofs import make_checkpoint
from storage.segments import ROLE, keep_journal, segment_key
from tasks import coherence
from tasks.coherence_rules import TABLES, rules
from tests.support.rig import carry

NOBODY = "0193a2f0-7c11-7abc-8def-0123456789ab"
# What breaks each rule; $id is an archived document, $token the one of its batch.
PLANTS = {
    "document-complete": "UPDATE deposit SET sha3_512 = NULL WHERE archive_id = $id",
    "document-has-objects": (
        "DELETE FROM replica_copy WHERE archive_id = $id AND role = 'original';"
        "DELETE FROM object WHERE archive_id = $id AND role = 'original'"
    ),
    "document-has-key": "DELETE FROM document_key WHERE archive_id = $id",
    "document-locked": (
        "UPDATE replica_copy SET locked_until = locked_until - interval '1 day'"
        " WHERE archive_id = $id AND role = 'original' AND replica = 'replica-b'"
    ),
    "document-term-journaled": "UPDATE deposit SET extended_until = retain_until WHERE archive_id = $id",
    "document-committed-once": (
        "INSERT INTO journal_event (event, archive_id, at, entry, leaf)"
        " VALUES ('deposit:committed', $id, now(), 'x', 'x');"
        "INSERT INTO journal_event (event, archive_id, at, entry, leaf)"
        " VALUES ('deposit:archived', $id, now(), 'x', 'x')"
    ),
    "document-state-journaled": "UPDATE deposit SET state = 'LOCKED' WHERE archive_id = $id",
    "document-attested": "DELETE FROM outbox WHERE archive_id = $id",
    "destroyed-leaves-nothing": "UPDATE deposit SET state = 'DESTROYED' WHERE archive_id = $id",
    "held-is-not-destroyed": (
        "INSERT INTO legal_hold (hold_id, archive_id, reason, placed_by, placed_at)"
        " VALUES (gen_random_uuid(), $id, 'case', 'clerk', now());"
        "UPDATE deposit SET state = 'DESTROYING' WHERE archive_id = $id"
    ),
    "document-has-evidence": "DELETE FROM evidence_chain WHERE archive_id = $id",
    "document-after-no-token": (
        "UPDATE deposit SET received_at = received_at + interval '1 hour' WHERE archive_id = $id"
    ),
    "object-owned": (
        "INSERT INTO object (archive_id, role, key, sha256, sha3_512, size) VALUES"
        f" ('{NOBODY}', 'original', 'demo/{NOBODY}/original.age', repeat('a', 64), repeat('a', 128), 1)"
    ),
    "object-digests": "UPDATE object SET sha256 = upper(sha256) || ' ' WHERE archive_id = $id AND role = 'original'",
    "object-on-every-replica": "DELETE FROM replica_copy WHERE archive_id = $id AND replica = 'replica-b'",
    "copy-good": "UPDATE replica_copy SET health = 'damaged' WHERE archive_id = $id AND replica = 'replica-a'",
    "copy-own-version": (
        "UPDATE object SET key = (SELECT key FROM object WHERE archive_id = $id AND role = 'original')"
        " WHERE archive_id = $id;"
        "UPDATE replica_copy SET version_id = 'one and the same' WHERE archive_id = $id"
    ),
    "token-file-locked": "UPDATE object SET retain_until = retain_until - interval '1 day' WHERE archive_id = $token",
    "token-renewed-later": (
        "INSERT INTO token (token_id, gen_time, serial, root, token, tsa) SELECT gen_random_uuid(),"
        " gen_time - interval '1 day', '99999', root, token, tsa FROM token WHERE token_id = $token;"
        "INSERT INTO token_renewal (token_id, by_token, leaf, siblings) SELECT $token, token_id, 0, ''"
        " FROM token WHERE serial = '99999'"
    ),
    "journal-without-gap": (
        "ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows;"
        "DELETE FROM journal_event WHERE seq = 2;"
        "ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows"
    ),
    "journal-numbered": (
        "INSERT INTO journal_event (event, at, entry, leaf)"
        " VALUES ('sweep:ended', now() - interval '2 hours', 'x', 'x')"
    ),
    "journal-about-something": (
        "INSERT INTO journal_event (event, archive_id, at, entry, leaf)"
        f" VALUES ('document:read', '{NOBODY}', now(), 'x', 'x')"
    ),
    "journal-covers-checkpoints": (
        "INSERT INTO journal_checkpoint (size, root, note, at) VALUES (1000000, 'x', 'x', now())"
    ),
}


def judged(rig):
    found = coherence.judge(rig.archive)
    assert [each.error for each in found.findings] == [""] * len(found.findings)
    return {each.name: each for each in found.findings}


def plant(rig, statements, document):
    with rig.archive.database.transaction() as connection:
        for statement in statements.split(";"):
            text = statement.replace("$id", f"'{document.archive_id}'").replace("$token", f"'{document.token_id}'")
            done = connection.execute(text.encode())
            assert done.rowcount, statement


def test_an_archive_at_work_breaks_no_rule(rig):
    rig.deposit()
    rig.deliver(b"on its way", "R-2")
    abandon(rig.archive, rig.deliver(b"given up", "R-3").archive_id, "never mind")
    carry(rig.archive, [rig.deliver(b"%d" % number, f"B-{number}").archive_id for number in range(3)])
    with rig.archive.database.transaction() as connection:
        make_checkpoint(rig.archive, connection)
    keep_journal(rig.archive)
    store, key = rig.stores[0], segment_key(1, ROLE)
    store.damage(key, store.versions(key)[0].version_id, b"what a bad disk made of it")
    rig.clock.advance(3600)
    assert sweep.sweep(rig.archive, budget=timedelta(hours=1)).healed == 1
    keep_journal(rig.archive)
    found = coherence.judge(rig.archive)
    assert found.broken == []
    assert len(found.findings) == len(rules(["a"])) == len(PLANTS)


@pytest.mark.parametrize("name", PLANTS)
def test_each_rule_finds_what_is_planted_for_it(rig, name):
    document, _ = carry(rig.archive, [rig.deliver(b"%d" % n, f"R-{n}").archive_id for n in range(2)])
    plant(rig, PLANTS[name], document)
    found = judged(rig)[name]
    assert found.broken
    assert found.examples
    known = {"id=" + str(each) for each in (document.archive_id, document.token_id, NOBODY)}
    by_number = found.table == "journal_event"
    assert by_number or known & {example.split(", ")[0] for example in found.examples}


def test_the_key_of_a_segment_names_its_number(rig):
    rig.deposit()
    keep_journal(rig.archive)
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE object SET key = %s WHERE role = %s", (segment_key(2, ROLE), ROLE))
    assert judged(rig)["object-owned"].broken == 1


class Outside(HTMLParser):
    """Collects what a page would load."""

    def __init__(self):
        super().__init__()
        self.loaded = []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        assert tag not in ("script", "link", "iframe", "img")


def test_the_report_is_for_people_and_machines_and_holds_nothing_of_a_depositor(rig):
    secret = {"titre": "Permis de Madame Dupont"}
    document = rig.deposit(metadata=secret, name="dupont.pdf", reference="Dupont-1")
    plant(rig, PLANTS["document-attested"], document)
    found = coherence.judge(rig.archive)
    value = json.loads(json.dumps(found.as_dict()))
    assert (value["format"], value["ok"]) == ("minutier-coherence/1", False)
    assert [each["name"] for each in value["rules"] if not each["ok"]] == ["document-attested"]
    page, table = coherence.as_html(found), coherence.as_markdown(found)
    for text in (page, table, str(value)):
        assert document.archive_id in text
        assert "upont" not in text
    parser = Outside()
    parser.feed(page)
    assert parser.loaded == []
    assert "@import" not in page
    assert "url(" not in page
    assert "ALARM: 1 rule(s)" in table


def test_a_rule_that_cannot_be_judged_does_not_pass(rig, monkeypatch):
    (first, *others) = rules(["replica-a", "replica-b"])
    broken = coherence.Rule(first.name, first.table, first.en, first.fr, "SELECT no_such_column AS id FROM {batch}")
    monkeypatch.setattr(coherence, "rules", lambda names: (broken, *others))
    found = coherence.judge(rig.archive)
    assert [each.name for each in found.broken] == [first.name]
    assert "no_such_column" in found.broken[0].error


def test_names_are_unique_and_both_languages_are_there():
    known = rules(["replica-a", "it's"])
    assert len({rule.name for rule in known}) == len(known)
    assert {rule.table for rule in known} == set(TABLES)
    for rule in known:
        assert rule.en.endswith(".")
        assert rule.fr.endswith(".")
        assert "{batch}" in rule.query
    assert uuid.UUID(NOBODY).version == 7
