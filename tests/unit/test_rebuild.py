"""Rebuild: an archive whose database is gone comes back from its stores and keys, equal to the last row."""

import dataclasses
import shutil
from datetime import timedelta

import psycopg
import pytest

from minutier.algorithm_dates import AlgorithmDates, published_dates
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from minutier.report import Verdict
from minutier.trust import load_trust
from minutier.verify import verify
from storage import catalogue, disposal, holds, journal, proofs, reading, renewal, segments, terms, texts
from storage.abandoning import abandon
from storage.bootstrap import open_archive, rebuild_sources
from storage.classes import LifecycleClass, create_class
from storage.comparison import compare
from storage.directory import DirectoryStore
from storage.journal_stamps import stamp_journal
from storage.keys import KeyRing
from storage.memory import MemoryStore
from storage.rebuild import rebuild, require_empty
from storage.rekey import rekey_safe
from storage.safes import create_safe
from storage.segments import LEDGER, ROLE, keep_journal, segment_key
from storage.sweep import sweep
from tests.support.authority import change_authority
from tests.support.cli import minutier
from tests.support.clients import client_safe, deposit_blind
from tests.support.rebuilt import figures, live_url, on_database, rebuild_rig, sources
from tests.support.rig import carry, make_rig

HOUR = timedelta(hours=1)


@pytest.fixture
def empty_url(postgres):
    return postgres.database()


def version(rig, key, store):
    return rig.stores[store].versions(key)[0].version_id


def damage(rig, key, store):
    rig.stores[store].damage(key, version(rig, key, store), b"what a bad disk made of it")


def end_of_life(rig):
    """One document destroyed by two persons, and one that a hold keeps."""
    create_class(rig.archive, LifecycleClass("short", "Un an", 1))
    held, gone = carry(
        rig.archive,
        [rig.deliver(name.encode(), name, lifecycle_class="short").archive_id for name in ("R-held", "R-gone")],
    )
    keep_journal(rig.archive)
    rig.clock.advance(timedelta(days=367).total_seconds())
    holds.place_hold(rig.archive, held.archive_id, "a case", "clerk")
    paper = disposal.list_due(rig.archive, "archivist")
    disposal.approve(rig.archive, paper.act_id, "director", "yearly")
    assert [(each.archive_id, each.outcome) for each in disposal.execute(rig.archive, paper.act_id)] == [
        (gone.archive_id, "destroyed")
    ]


def everything(rig):
    """Thirty-three documents in every condition; the archive is still at the end of this, and kept on its stores."""
    archive = rig.archive
    create_safe(archive, "mairie", "Mairie")
    create_class(archive, LifecycleClass("long", "Conservation longue", 30))
    end_of_life(rig)
    ids = [rig.deliver(b"document %d" % n, f"R-{n}", safe=("demo", "mairie")[n % 2]).archive_id for n in range(21)]
    first = carry(archive, ids)
    keep_journal(archive)
    # Refused, abandoned, sent twice, on their way, waiting.
    rig.deliver(b"announced otherwise", "R-bad", expected={"sha256": "00" * 32})
    abandon(archive, rig.deliver(b"given up", "R-given-up").archive_id, "sent by mistake")
    rig.deposit(
        b"sent again after it was given up", "R-given-up", lifecycle_class="long", metadata={"holder": "é \u2028"}
    )
    rig.deliver(b"just received", "R-received")
    # Safes whose keys their clients hold, from the start or since; a blind document.
    owner = client_safe(rig)
    rig.deposit(b"for a client", "R-client", safe="notary")
    source = rig.folder / "deed.txt"
    source.write_bytes(b"what the archive never sees")
    deposit_blind(rig, source, [str(owner.recipient)])
    rekey_safe(archive, "mairie", recipients=[str(owner.recipient)], escrow="none")
    rekey_safe(archive, "demo")
    # Copies healed, a checkpoint and a proof, evidence renewed under another hash.
    damage(rig, f"demo/{first[0].archive_id}/original.age", 0)
    rig.clock.advance(HOUR.total_seconds())
    assert sweep(archive, budget=HOUR).healed == 1
    proofs.export_proof(archive, first[2], rig.folder / "first.zip")
    dates = AlgorithmDates("a drill", {**published_dates().ends, "sha256": rig.clock() + timedelta(days=30)})
    assert renewal.renew(dataclasses.replace(archive, dates=dates)).documents_rehashed >= 23
    assert stamp_journal(archive) is not None
    # A document with a recognised text, and one that has none.
    with archive.database.transaction() as connection:
        texts.keep(connection, first[0].archive_id, rig.clock(), "", first[2].archive_id)
        texts.keep(connection, first[4].archive_id, rig.clock(), "NO_WORDS")
    # A term that runs from an event.
    create_class(archive, LifecycleClass("contract", "Contrats", 2, starts="event", active_years=1))
    signed = rig.deposit(b"a contract", "R-contract", lifecycle_class="contract")
    assert terms.begin(archive, signed.archive_id, rig.clock().date(), "it ended", "clerk")[1]
    more = [rig.deliver(b"later %d" % n, f"L-{n}").archive_id for n in range(3)]
    carry(archive, more)
    lasting = change_authority(rig, end=rig.clock() + timedelta(days=20 * 365)).archive
    assert renewal.renew(lasting, margin=timedelta(days=11 * 365)).tokens_renewed >= 1
    keep_journal(archive)
    return first


def test_everything_comes_back_equal_to_the_last_row(rig, empty_url, monkeypatch):
    everything(rig)
    before = [sorted(map(str, store.list_objects(""))) for store in rig.stores]

    def refused(*_arguments, **_more):
        raise AssertionError("a rebuild writes nothing")

    for store in rig.stores:
        for act in ("put", "extend_lock", "delete_version"):
            monkeypatch.setattr(store, act, refused)
    report, found = rebuild_rig(rig, empty_url)
    assert [sorted(map(str, store.list_objects(""))) for store in rig.stores] == before
    assert report.findings == ()
    assert report.silent == ()
    assert figures(found) == {}
    assert found.equal
    rows = {each.table: each.rows for each in found.tables}
    assert rows["deposit"] == 33
    assert report.seals == 29
    assert report.documents == 17  # the others are told whole: only their clients open their records
    assert report.checkpoint is not None
    assert all(rows[name] for name in rows if name not in ("seal_use", "deposit_wait", "batch", "token_revocation"))


def test_the_archive_lives_on_in_the_new_database(rig, empty_url):
    first = everything(rig)
    rebuild(sources(rig), empty_url, rig.clock())
    with rig.archive.database.transaction() as connection:
        entries, _ = journal.head(connection)
    rig.archive.database.close()
    with on_database(rig, empty_url, rig.folder) as alive:
        reading.read(alive.archive, first[0], rig.folder / "given-back")
        assert (rig.folder / "given-back").read_bytes() == b"document 0"
        again = alive.deliver(b"document 4", "R-4")
        assert (again.archive_id, again.state) == (first[4].archive_id, "ARCHIVED")
        # What was on its way goes on, what is new is taken, and the numbers of the journal go on.
        received = alive.deliver(b"just received", "R-received")
        ended = carry(alive.archive, [received.archive_id, alive.deliver(b"new", "N-1").archive_id])
        assert [deposit.state for deposit in ended] == ["ARCHIVED", "ARCHIVED"]
        assert keep_journal(alive.archive) == 1
        path = rig.folder / "new.zip"
        proofs.export_proof(alive.archive, ended[1], path)
        report = verify(path, load_trust(alive.archive.settings.trust_dir), rig.clock())
        assert report.verdict is not Verdict.FAILED
        with alive.archive.database.transaction() as connection:
            while journal.sequence(connection):
                pass
            assert journal.check_chain(connection) > entries
            journal.check_checkpoint(connection, alive.archive.journal_key.public_key())
        assert sweep(alive.archive, budget=HOUR).verdict == "clean"


def test_a_second_rebuild_is_equal_to_the_first_one_that_has_lived(rig, empty_url, postgres):
    rig.deposit()
    keep_journal(rig.archive)
    rebuild(sources(rig), empty_url, rig.clock())
    rig.archive.database.close()
    with on_database(rig, empty_url, rig.folder) as alive:
        alive.deposit(b"one more", "N-1")
        keep_journal(alive.archive)
        report, found = rebuild_rig(alive, postgres.database())
    assert report.findings == ()
    assert figures(found) == {}


def test_what_came_after_the_last_segment_is_said_to_be_later(rig, empty_url):
    rig.deposit()
    keep_journal(rig.archive)
    later = rig.deliver(b"later", "R-later")
    _, found = rebuild_rig(rig, empty_url)
    assert not found.equal
    assert figures(found) == {"journal_event": (0, 0, 0, 1), "deposit": (0, 0, 0, 1)}
    assert later.state == "RECEIVED"


def test_a_row_that_differs_is_found_on_either_side(rig, empty_url):
    deposits = carry(rig.archive, [rig.deliver(b"%d" % n, f"R-{n}").archive_id for n in range(3)])
    keep_journal(rig.archive)
    rebuild_rig(rig, empty_url)
    with psycopg.connect(empty_url) as connection:
        connection.execute("UPDATE deposit SET depositor = 'another' WHERE archive_id = %s", (deposits[0].archive_id,))
        connection.execute("DELETE FROM outbox WHERE archive_id = %s", (deposits[1].archive_id,))
        connection.execute("INSERT INTO lifecycle_class VALUES ('more', 'More', 3, 'keep')")
        connection.execute("CREATE TABLE of_a_stranger (name text PRIMARY KEY)")
    found = compare(live_url(rig), empty_url)
    assert figures(found) == {
        "deposit": (1, 0, 0, 0),
        "outbox": (0, 1, 0, 0),
        "lifecycle_class": (0, 0, 1, 0),
    }
    assert found.unknown == ("of_a_stranger",)
    assert not found.equal


def test_a_database_that_holds_anything_is_refused(rig, empty_url):
    rig.deposit()
    keep_journal(rig.archive)
    with pytest.raises(PolicyRefusedError) as caught:
        rebuild(sources(rig), live_url(rig), rig.clock())
    assert caught.value.code == "REBUILD_NOT_EMPTY"
    with pytest.raises(ServiceUnavailableError) as caught:
        rebuild(sources(rig), "postgresql://nobody@127.0.0.1:1/nothing", rig.clock())
    assert caught.value.code == "DATABASE_DOWN"


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1/name", "postgresql://h/name?no_such_option=1"])
def test_what_is_no_address_of_a_database_is_refused(url):
    with pytest.raises(BadInputError) as caught:
        require_empty(url)
    assert caught.value.code == "BAD_URL"


@pytest.mark.parametrize(
    ("taken_away", "words"),
    [
        ("REVOKE CREATE ON SCHEMA public FROM pg_database_owner", "to make tables"),
        ("REVOKE SELECT ON hidden FROM CURRENT_USER", "for table hidden"),
    ],
)
def test_a_database_that_its_user_may_not_use_is_refused(empty_url, taken_away, words):
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE hidden (name text)")
        connection.execute(taken_away)
    with pytest.raises(PolicyRefusedError, match=words) as caught:
        require_empty(empty_url)
    assert caught.value.code == "DATABASE_FORBIDDEN"


def test_a_database_is_not_compared_with_itself(rig):
    url = live_url(rig)
    with pytest.raises(BadInputError) as caught:
        compare(url, f"{url}{'&' if '?' in url else '?'}connect_timeout=9")
    assert caught.value.code == "SAME_DATABASE"


def test_a_row_that_left_the_live_database_since_is_not_equal(rig, empty_url):
    rig.deposit()
    keep_journal(rig.archive)
    rebuild_rig(rig, empty_url)
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM outbox")
    found = compare(live_url(rig), empty_url)
    (outbox,) = (each for each in found.tables if each.table == "outbox")
    assert (outbox.rows, outbox.extra, outbox.later, outbox.same, found.equal) == (0, 0, 1, False, False)


def test_one_good_copy_of_each_segment_is_enough(rig, empty_url):
    for number in range(3):
        rig.deposit(b"document %d" % number, f"R-{number}")
        keep_journal(rig.archive)
    damage(rig, segment_key(1, ROLE), 0)
    damage(rig, segment_key(2, LEDGER), 1)
    report, found = rebuild_rig(rig, empty_url)
    # The two bad copies are marked for the sweep; all else is as it was.
    assert figures(found) == {"replica_copy": (2, 0, 0, 0)}
    assert {finding.code for finding in report.findings} == {"COPY_MISSING"}
    rig.archive.database.close()
    with on_database(rig, empty_url, rig.folder) as alive:
        rig.clock.advance(HOUR.total_seconds())
        assert sweep(alive.archive, budget=HOUR).healed == 2
        assert sweep(alive.archive, budget=HOUR).verdict == "clean"


@pytest.mark.parametrize("role", [ROLE, LEDGER])
def test_a_segment_without_a_good_copy_stops_it_and_leaves_nothing(rig, empty_url, role):
    for number in range(3):
        rig.deposit(b"document %d" % number, f"R-{number}")
        keep_journal(rig.archive)
    for store in (0, 1):
        damage(rig, segment_key(2, role), store)
    with pytest.raises(IntegrityFailureError) as caught:
        rebuild(sources(rig), empty_url, rig.clock())
    assert caught.value.code.startswith("SEGMENT_")
    with psycopg.connect(empty_url) as connection:
        assert connection.execute("SELECT count(*) FROM journal_event").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM deposit").fetchone() == (0,)


def test_a_store_that_is_down_does_not_stop_it(rig, empty_url, postgres):
    rig.deposit()
    keep_journal(rig.archive)

    def down(_call):
        raise ServiceUnavailableError("STORE_DOWN", "The store is down.", remedy="Start it.")

    rig.stores[0].fault_hook = down
    report, found = rebuild_rig(rig, empty_url)
    assert report.silent == ("replica-a",)
    assert figures(found) == {"replica_copy": (2, 0, 0, 0)}
    rig.stores[1].fault_hook = down
    with pytest.raises(ServiceUnavailableError) as caught:
        rebuild(sources(rig), postgres.database(), rig.clock())
    assert caught.value.code == "STORE_DOWN"


def test_what_is_wrong_with_one_document_is_a_finding_and_the_others_come_back(rig, empty_url):
    good, no_record, no_key, swapped = carry(
        rig.archive, [rig.deliver(b"%d" % n, f"R-{n}").archive_id for n in range(4)]
    )
    keep_journal(rig.archive)
    with rig.archive.database.transaction() as connection:
        record = next(
            item for role, item in catalogue.objects(connection, no_record.archive_id).items()
            if role in ("record", "manifest")
        )  # fmt: skip
    for store in (0, 1):
        damage(rig, record.key, store)
    keys = rig.archive.keys
    keys.forget(no_key.archive_id)
    keys.keep(swapped.archive_id, keys.kept(good.archive_id), replace=True)
    report, found = rebuild_rig(rig, empty_url)
    codes = {finding.about: finding.code for finding in report.findings if finding.code != "COPY_MISSING"}
    assert codes == {
        no_record.archive_id: "NO_GOOD_COPY",
        no_key.archive_id: "KEY_MISSING",
        swapped.archive_id: "KEY_SWAPPED",
    }
    assert figures(found)["deposit"] == (3, 0, 0, 0)
    with psycopg.connect(empty_url) as connection:
        query = "SELECT reference FROM deposit WHERE archive_id = %s"
        assert connection.execute(query, (good.archive_id,)).fetchone() == ("R-0",)


def test_a_manifest_that_the_journal_did_not_commit_is_found(rig, empty_url, monkeypatch):
    one, other = carry(rig.archive, [rig.deliver(b"%d" % n, f"R-{n}").archive_id for n in range(2)])
    with rig.archive.database.transaction() as connection:
        # An operator who swaps manifest and seal of two documents, and has the keys to store them so.
        for mine, theirs in ((one, other), (other, one)):
            connection.execute(
                "UPDATE deposit SET manifest = %s, seal = %s WHERE archive_id = %s",
                (theirs.manifest, theirs.seal, mine.archive_id),
            )
    monkeypatch.setattr("storage.ledger._opens_here", lambda *_: False)
    keep_journal(rig.archive)
    report = rebuild(sources(rig), empty_url, rig.clock())
    assert {finding.code for finding in report.findings} == {"MANIFEST_ALTERED"}
    assert {finding.about for finding in report.findings} == {one.archive_id, other.archive_id}


def test_an_object_that_no_segment_tells_of_is_named(rig, empty_url):
    keep_journal(rig.archive)
    deposit = rig.deposit()
    report = rebuild(sources(rig), empty_url, rig.clock())
    named = {finding.about for finding in report.findings if finding.code == "OBJECT_UNTOLD"}
    assert f"demo/{deposit.archive_id}/original.age" in named


def test_two_segments_of_one_number_are_a_fork(rig, empty_url, tmp_path):
    rig.deposit()
    keep_journal(rig.archive)
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM journal_segment")
    store, key = rig.stores[1], segment_key(1, ROLE)
    from minutier import segment as form

    (data,) = {s.open(key, version(rig, key, n)).read() for n, s in enumerate(rig.stores)}
    read = form.decode_segment(data, rig.archive.journal_key.public_key())
    other = form.encode_segment(
        dataclasses.replace(read.head, at="2020-01-01T00:00:00Z"), read.entries, rig.archive.journal_key.sign
    )
    path = tmp_path / "other"
    path.write_bytes(other)
    store.put(key, path, rig.clock() + timedelta(days=1))
    with pytest.raises(IntegrityFailureError) as caught:
        rebuild(sources(rig), empty_url, rig.clock())
    assert caught.value.code == "SEGMENT_FORK"


def test_an_end_that_is_signed_and_was_taken_away_is_found(rig, empty_url):
    rig.deposit()
    with rig.archive.database.transaction() as connection:
        proofs.make_checkpoint(rig.archive, connection)
    keep_journal(rig.archive)
    with rig.archive.database.transaction() as connection:
        # As an operator would who cuts the journal in his database, and makes the stores tell the same.
        connection.execute("ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows")
        connection.execute("DELETE FROM journal_event WHERE seq > 3")
        connection.execute("ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows")
        connection.execute("DELETE FROM journal_segment")
        for table in segments.ledger.tables(connection):
            connection.execute(f"UPDATE {table.name} SET {table.key[0]} = {table.key[0]}".encode())
    emptied = [MemoryStore(store.name, clock=rig.clock) for store in rig.stores]
    cut = dataclasses.replace(rig.archive, replicas=tuple(emptied))
    keep_journal(cut)
    with pytest.raises(IntegrityFailureError) as caught:
        rebuild(dataclasses.replace(sources(rig), stores=tuple(emptied)), empty_url, rig.clock())
    assert caught.value.code == "JOURNAL_BROKEN"


def test_an_empty_database_before_stores_that_hold_an_archive_is_refused(rig, empty_url):
    settings = rig.archive.settings
    with_directories = open_archive(settings)
    try:
        keep_journal(dataclasses.replace(with_directories, clock=rig.clock))
    finally:
        with_directories.database.close()
    with pytest.raises(PolicyRefusedError) as caught:
        open_archive(settings.model_copy(update={"database_url": empty_url}))
    assert caught.value.code == "CATALOGUE_LOST"
    found = rebuild(rebuild_sources(settings), empty_url, rig.clock())
    assert found.segments == 1
    open_archive(settings.model_copy(update={"database_url": empty_url})).database.close()


def test_without_the_journal_s_key_nothing_is_believed(rig):
    (rig.archive.settings.trust_dir / "journal.vkey").unlink()
    with pytest.raises(BadInputError) as caught:
        rebuild_sources(rig.archive.settings)
    assert caught.value.code == "JOURNAL_KEY"


def test_without_the_archive_s_key_no_ledger_opens(rig, empty_url):
    rig.deposit()
    keep_journal(rig.archive)
    without = dataclasses.replace(sources(rig), keys=KeyRing(rig.folder / "nothing"))
    with pytest.raises(IntegrityFailureError) as caught:
        rebuild(without, empty_url, rig.clock())
    assert caught.value.code == "KEYS_MISSING"


def test_the_command_compares_with_the_living_database_and_says_how_it_ended(
    database_url, certified_home, tmp_path, postgres
):
    shutil.copytree(certified_home, tmp_path / "home")
    places = [tmp_path / "home" / "replicas" / name for name in "ab"]

    def stores(clock):
        return [DirectoryStore(f"replica-{place.name}", place, create=True, clock=clock) for place in places]

    with make_rig(database_url, tmp_path, stores) as rig:
        env = {"MINUTIER_DATABASE_URL": database_url, "MINUTIER_TSA_URLS": "http://tsa.test/"}
        env |= {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
        home = rig.archive.settings.home
        deposit = rig.deposit()
        keep_journal(rig.archive)
        whole = minutier(home, "rebuild", "--into", postgres.database(), env=env)
        assert (whole.code, whole.json["comparison"]["equal"], whole.json["findings"]) == (0, True, [])
        alone = minutier(home, "rebuild", "--into", postgres.database(), "--no-compare", env=env)
        assert (alone.code, alone.json["comparison"]) == (0, None)
        refused = minutier(home, "rebuild", "--into", database_url, env=env)
        assert (refused.code, refused.error) == (4, "REBUILD_NOT_EMPTY")
        rig.deliver(b"later", "R-later")
        later = minutier(home, "rebuild", "--into", postgres.database(), env=env)
        assert (later.code, later.json["comparison"]["equal"]) == (1, False)
        (copy,) = (places[0] / "demo" / deposit.archive_id / "original.age").glob("*.bin")
        copy.unlink()
        found = minutier(home, "rebuild", "--into", postgres.database(), "--no-compare", env=env)
        assert (found.code, [each["code"] for each in found.json["findings"]]) == (1, ["COPY_MISSING"])
