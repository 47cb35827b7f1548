"""Revocation data beside each token: captured before it, completed after it, whatever is down in the meantime."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from minutier.checkpoint import NoteKey
from minutier.container import open_container
from minutier.errors import IntegrityFailureError, MinutierError, ServiceUnavailableError
from minutier.report import Verdict
from minutier.trust import Trust
from minutier.verify import verify
from storage import batches, journal, proofs, revocation
from storage.dev_tsa import issue_token
from storage.fetching import fetch
from storage.memory import Fault
from storage.reception import current
from storage.revocation_source import RevocationSource
from storage.sealing import seal_deposit, stamp_batch
from tests.support.ocsp_answers import answer, revoked, single
from tests.support.pki import TIME_STAMPING, issue, make_crl, new_key, new_pki
from tests.support.publisher import publisher
from tests.support.rig import LocalTsa, pass_screening

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def uri(url):
    return x509.UniformResourceIdentifier(url)


def distribution(url):
    return x509.CRLDistributionPoints([x509.DistributionPoint([uri(url)], None, None, None)])


def responder(url):
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, uri(url))])


class Authority:
    """A time-stamp authority whose certificate names where its list and its responder are."""

    def __init__(self, rig, published, *, crl=True, ocsp=True, days=365):
        self.clock, self.published = rig.clock, published
        self.pki = new_pki("Published", around=rig.clock())
        self.key = new_key()
        extra = [distribution(f"{published.url}/list")] if crl else []
        extra += [responder(f"{published.url}/ocsp")] if ocsp else []
        self.certificate = issue(
            "Published TSA", self.key, issuer=(self.pki.root, self.pki.root_key), eku=TIME_STAMPING, extra=extra,
            start=rig.clock() - DAY, end=rig.clock() + days * DAY,
        )  # fmt: skip
        self.gone, self.made_at, self.serial = [], rig.clock() - HOUR, 0
        published.pages |= {"/list": self.list, "/ocsp": self.answer}
        tsa = LocalTsa(
            urls=("http://tsa.test/",),
            roots=(self.pki.root,),
            source=RevocationSource(hosts=frozenset({"127.0.0.1"}), timeout=2.0),
            answer=self.stamp,
        )
        rig.archive = dataclasses.replace(rig.archive, tsa=tsa, roots=(*rig.archive.roots, self.pki.root))

    def stamp(self, request):
        self.serial += 1
        return issue_token(request, self.key, [self.certificate], self.clock(), self.serial)

    def list(self):
        crl = make_crl(self.pki.root, self.pki.root_key, self.gone, start=self.made_at, end=self.made_at + 7 * DAY)
        return 200, crl.public_bytes(Encoding.DER)

    def answer(self):
        status = [revoked(when, 4 if reason else 1) for _, when, reason in self.gone]
        about = single(
            self.certificate, self.pki.root, *status, this_update=self.made_at, next_update=self.made_at + 7 * DAY
        )
        return 200, answer([about], self.pki.root, self.pki.root_key, produced_at=self.made_at)


@pytest.fixture
def published():
    with publisher() as found:
        yield found


def stamped(rig, number=1):
    deposit = rig.deliver(f"document {number}".encode(), f"R-{number}")
    pass_screening(rig.archive, deposit.archive_id)
    seal_deposit(rig.archive, deposit.archive_id, {"minutier": "test"})
    return stamp_batch(rig.archive, [deposit.archive_id])


def kept(rig, token_id):
    with rig.archive.database.transaction() as connection:
        return connection.execute(
            "SELECT kind, moment, captured_at, data FROM token_revocation WHERE token_id = %s ORDER BY kind, moment",
            (token_id,),
        ).fetchall()


def state(rig, token_id):
    with rig.archive.database.transaction() as connection:
        (row,) = connection.execute("SELECT revocation_state FROM token WHERE token_id = %s", (token_id,)).fetchall()
        return row["revocation_state"]


def moments(rig, token_id):
    return [(row["kind"], row["moment"]) for row in kept(rig, token_id)]


def test_list_and_answer_are_captured_with_the_token_and_again_after_it(rig, published):
    authority = Authority(rig, published)
    token_id = stamped(rig)
    assert moments(rig, token_id) == [("crl", "before"), ("ocsp", "before")]
    assert (published.asked, len(published.bodies)) == (["/list", "/ocsp"], 1)

    # Nothing newer is published yet: the token stays open, and is asked about again.
    report = revocation.complete(rig.archive)
    assert (report.pending, report.confirmed, state(rig, token_id)) == (1, 0, "open")
    rig.clock.advance(3600)
    authority.made_at = rig.clock()
    report = revocation.complete(rig.archive)
    assert (report.pending, report.confirmed, state(rig, token_id)) == (0, 1, "confirmed")
    assert moments(rig, token_id) == [("crl", "after"), ("crl", "before"), ("ocsp", "after"), ("ocsp", "before")]
    assert kept(rig, token_id)[0]["captured_at"] == rig.clock()

    # Once confirmed, nothing is asked any more.
    before = len(published.asked)
    assert revocation.complete(rig.archive) == revocation.CompletionReport()
    assert len(published.asked) == before


def test_what_settles_a_token_is_put_on_every_replica_and_locked_like_its_documents(rig, published):
    authority = Authority(rig, published)
    found = rig.deposit()
    token_id = found.token_id
    assert batches.store_revocation(rig.archive) == 0  # nothing settles it yet
    rig.clock.advance(3600)
    authority.made_at = rig.clock()
    assert revocation.complete(rig.archive).confirmed == 1
    rig.stores[1].fault_hook = lambda _call: Fault.LOST
    with pytest.raises(MinutierError):
        batches.store_revocation(rig.archive)
    rig.stores[1].fault_hook = None
    assert batches.store_revocation(rig.archive) == 1
    assert batches.store_revocation(rig.archive) == 0
    for store in rig.stores:
        (version,) = store.versions(f"_evidence/{token_id}/revocation.json")
        value = json.loads(store.open(version.key, version.version_id).read())
        items = [(item["kind"], base64.b64decode(item["data"])) for item in value["items"]]
        assert sorted(items) == sorted((row["kind"], bytes(row["data"])) for row in kept(rig, token_id))
        lock = store.lock_state(version.key, version.version_id)
        assert lock.legal_hold
        assert lock.retain_until >= found.retain_until - timedelta(seconds=1)


def test_one_question_serves_all_tokens_of_a_path(rig, published):
    authority = Authority(rig, published, ocsp=False)
    ids = [stamped(rig, number) for number in range(3)]
    assert published.asked == ["/list"]  # remembered for ten minutes
    rig.clock.advance(60)
    authority.made_at = rig.clock()
    assert revocation.complete(rig.archive).confirmed == 3
    assert published.asked == ["/list", "/list"]
    with rig.archive.database.transaction() as connection:
        items = revocation.of_tokens(connection, ids)
    assert {item.kind for found in items.values() for item in found} == {"crl"}
    assert all(len(items[token_id]) == 2 for token_id in ids)
    (name,) = set(revocation.proof_files(items[ids[0]][-1:], "crl"))
    assert name.startswith("crl-")
    assert revocation.proof_files(items[ids[0]], "ocsp") == {}


def test_a_silent_server_stops_no_deposit_and_is_asked_again(rig, published):
    authority = Authority(rig, published)
    published.pages = {"/list": lambda: (503, b""), "/ocsp": lambda: (200, b"<html>")}
    token_id = stamped(rig)
    assert kept(rig, token_id) == []
    report = revocation.complete(rig.archive)
    assert (report.unanswered, report.alarm) == (1, False)
    assert any("/list" in sentence and "503" in sentence for sentence in report.silent)
    assert any("ocsp could not be read" in sentence for sentence in report.silent)
    published.pages = {"/list": authority.list}
    rig.clock.advance(60)
    authority.made_at = rig.clock()
    assert revocation.complete(rig.archive).confirmed == 1


def test_a_certificate_that_is_revoked_already_stamps_nothing(rig, published):
    authority = Authority(rig, published)
    authority.gone = [(authority.certificate, rig.clock() - HOUR, x509.ReasonFlags.superseded)]
    with pytest.raises(IntegrityFailureError) as caught:
        stamped(rig)
    assert caught.value.code == "TOKEN_REVOKED"


def test_a_compromise_learnt_later_is_an_alarm_for_good(rig, published):
    authority = Authority(rig, published, ocsp=False)
    first, second = stamped(rig, 1), stamped(rig, 2)
    rig.clock.advance(3600)
    authority.made_at = rig.clock()
    authority.gone = [(authority.certificate, rig.clock(), x509.ReasonFlags.key_compromise)]
    for _ in range(2):
        report = revocation.complete(rig.archive)
        assert sorted(report.revoked) == sorted([first, second])
        assert report.alarm
    assert moments(rig, first) == [("crl", "after"), ("crl", "before")]
    with rig.archive.database.transaction() as connection:
        told = [line.event for line in journal.lines(connection) if line.event == "token:revoked"]
    assert len(told) == 2


def test_a_certificate_superseded_later_leaves_its_tokens(rig, published):
    authority = Authority(rig, published)
    token_id = stamped(rig)
    rig.clock.advance(3600)
    authority.made_at = rig.clock()
    authority.gone = [(authority.certificate, rig.clock(), x509.ReasonFlags.superseded)]
    assert revocation.complete(rig.archive).confirmed == 1
    assert state(rig, token_id) == "confirmed"


def test_after_the_certificate_has_ended_it_is_too_late(rig, published):
    authority = Authority(rig, published, days=2)
    token_id = stamped(rig)
    rig.clock.advance(3 * 86400)
    authority.made_at = rig.clock()
    assert revocation.complete(rig.archive).too_late == 1
    assert state(rig, token_id) == "too-late"
    assert moments(rig, token_id) == [("crl", "before"), ("ocsp", "before")]


def test_without_any_address_the_lists_of_the_settings_serve(rig, published, tmp_path):
    authority = Authority(rig, published, crl=False, ocsp=False)
    stamped(rig)
    assert revocation.complete(rig.archive).sourceless == 1
    file = tmp_path / "authority.crl"
    source = RevocationSource(lists=(str(file),))
    rig.archive = dataclasses.replace(rig.archive, tsa=dataclasses.replace(rig.archive.tsa, source=source))
    assert revocation.complete(rig.archive).unanswered == 1  # there is no such file yet
    rig.clock.advance(60)
    authority.made_at = rig.clock()
    file.write_bytes(authority.list()[1])
    assert revocation.complete(rig.archive).confirmed == 1


def test_a_token_of_a_root_that_is_no_longer_trusted_is_said(rig, published):
    Authority(rig, published)
    token_id = stamped(rig)
    rig.archive = dataclasses.replace(rig.archive, roots=())
    report = revocation.complete(rig.archive)
    assert (report.unjudged, report.alarm) == ((f"{token_id}: TOKEN_CHAIN",), True)
    assert report.as_dict()["unjudged"] == report.unjudged


def test_a_document_waits_sealed_while_its_authority_is_revoked(rig, published):
    authority = Authority(rig, published)
    authority.gone = [(authority.certificate, rig.clock() - HOUR, x509.ReasonFlags.superseded)]
    deposit = rig.deliver()
    pass_screening(rig.archive, deposit.archive_id)
    seal_deposit(rig.archive, deposit.archive_id, {})
    with pytest.raises(IntegrityFailureError):
        stamp_batch(rig.archive, [deposit.archive_id])
    assert current(rig.archive, deposit.archive_id).state == "SEALED"


def test_a_proof_holds_what_was_kept_and_passes_by_it(rig, published):
    authority = Authority(rig, published)
    deposit = rig.deposit()
    rig.clock.advance(3600)
    authority.made_at = rig.clock()
    assert revocation.complete(rig.archive).confirmed == 1
    target = rig.folder / "P.zip"
    proofs.export_proof(rig.archive, deposit, target)
    with open_container(target) as container:
        files = [path for path in container.entries if path.startswith("revocation/")]
    assert [path.rpartition(".")[2] for path in files] == ["crl", "crl", "crl", "ocsp", "ocsp"]  # one of the seal's
    key = NoteKey(proofs.ORIGIN, rig.archive.journal_key.public_key().public_bytes_raw())
    report = verify(target, Trust(rig.archive.roots, (key,)), rig.clock())
    assert (report.verdict, report.findings) == (Verdict.PASSED, ())


# --- sources


def leaf_with(*extra):
    pki = new_pki()
    return issue("Leaf", new_key(), issuer=(pki.root, pki.root_key), eku=TIME_STAMPING, extra=extra), pki.root


def test_a_failure_is_remembered_for_a_minute_and_forgotten_for_a_fresh_question(published):
    leaf, root = leaf_with(distribution(f"{published.url}/none"))
    source = RevocationSource(hosts=frozenset({"127.0.0.1"}))
    first = source.collect((leaf, root), leaf.not_valid_before_utc)
    assert source.collect((leaf, root), leaf.not_valid_before_utc) == first
    assert (first.items, first.sources, published.asked) == ((), 1, ["/none"])
    source.collect((leaf, root), leaf.not_valid_before_utc, fresh=True)
    assert published.asked == ["/none", "/none"]


def test_only_complete_lists_of_the_issuer_are_asked_for(published):
    def point(name, **more):
        values = {"relative_name": None, "reasons": None, "crl_issuer": None} | more
        return x509.DistributionPoint([uri(name)], **values)

    leaf, root = leaf_with(
        x509.CRLDistributionPoints(
            [
                point(f"{published.url}/part", reasons=frozenset({x509.ReasonFlags.key_compromise})),
                point(f"{published.url}/other", crl_issuer=[x509.DirectoryName(new_pki().root.subject)]),
                point("ldap://127.0.0.1/list"),
                point(f"{published.url}/whole"),
            ]
        ),
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, uri(f"{published.url}/issuer")),
                x509.AccessDescription(AuthorityInformationAccessOID.OCSP, uri("ldap://127.0.0.1/ocsp")),
            ]
        ),
    )
    RevocationSource(hosts=frozenset({"127.0.0.1"})).collect((leaf, root), leaf.not_valid_before_utc)
    assert published.asked == ["/whole"]


def test_an_answer_about_nothing_or_about_others_is_not_kept(published):
    pki = new_pki()
    leaf = issue("Leaf", new_key(), issuer=(pki.root, pki.root_key), extra=[responder(f"{published.url}/ocsp")])
    source = RevocationSource(hosts=frozenset({"127.0.0.1"}))
    for singles, said in (([], ("about nothing",)), ([single(pki.tsa, pki.root)], ())):
        published.pages["/ocsp"] = lambda made=tuple(singles): (200, answer(made, pki.root, pki.root_key))
        found = source.collect((leaf, pki.root), leaf.not_valid_before_utc + DAY, fresh=True)
        assert found.items == ()
        assert len(found.failures) == len(said)
        assert all(words in sentence for words, sentence in zip(said, found.failures, strict=True))


# --- addresses


def ask(url, allowed=("127.0.0.1",), **options):
    return fetch(url, **{"allowed": allowed, "timeout": 2.0, "limit": 1000} | options)


REFUSED = {
    "another-scheme": "file:///etc/passwd",
    "ftp": "ftp://127.0.0.1/list",
    "no-host": "http:///list",
    "a-password": "http://user:secret@127.0.0.1/list",
    "a-port-out-of-range": "http://127.0.0.1:99999/list",
    "no-such-name": "http://no-such-host.invalid/list",
}
PRIVATE = [
    "http://127.0.0.1:9/list", "http://127.1:9/", "http://2130706433:9/", "http://[::1]:9/", "http://10.1.2.3/",
    "http://169.254.169.254/latest/meta-data", "http://[::ffff:127.0.0.1]:9/", "http://0.0.0.0:9/", "http://224.0.0.1/",
    "http://localhost:9/",
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_address_that_is_not_plain_is_refused(name):
    with pytest.raises(ServiceUnavailableError) as caught:
        ask(REFUSED[name])
    assert caught.value.code == "REVOCATION_SOURCE"


@pytest.mark.parametrize("url", PRIVATE)
def test_no_address_inside_the_network_is_asked(url, monkeypatch):
    monkeypatch.setattr("httpx.Client.stream", lambda *_, **__: pytest.fail("it was asked"))
    with pytest.raises(ServiceUnavailableError) as caught:
        ask(url, allowed=())
    assert "not on the public network" in caught.value.message


def test_the_connection_goes_to_the_address_that_was_looked_at(published, monkeypatch):
    published.pages["/list"] = lambda: (200, b"data")
    calls = []
    port = int(published.url.rpartition(":")[2])

    def resolve(host, *_, **__):
        calls.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("storage.fetching.socket.getaddrinfo", resolve)
    assert ask(f"http://tsa.example:{port}/list", allowed=("tsa.example",)) == b"data"
    assert calls[0] == "tsa.example"
    assert set(calls[1:]) <= {"127.0.0.1"}


def test_no_redirection_is_followed_and_no_more_is_read_than_allowed(published):
    published.pages |= {"/moved": lambda: (302, b""), "/large": lambda: (200, bytes(1001))}
    for path, said in (("/moved", "answered 302"), ("/large", "more than 1000"), ("/none", "answered 404")):
        with pytest.raises(ServiceUnavailableError) as caught:
            ask(f"{published.url}{path}")
        assert said in caught.value.message
    assert published.asked == ["/moved", "/large", "/none"]
