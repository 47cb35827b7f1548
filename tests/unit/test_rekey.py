"""Rotation wraps keys again and touches no object; a run that dies is completed; destroyed keys stay destroyed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from minutier.age import HYBRID, Identity, generate_identity, parse_identities, read_header
from minutier.age_stream import decrypt_bytes
from minutier.errors import BadInputError, IntegrityFailureError, MinutierError, PolicyRefusedError
from storage import catalogue, journal, reading, rekey, safes
from storage.classes import LifecycleClass, create_class, get_class
from storage.keys import KeyRing
from storage.opening import document_identity
from storage.rekey import rekey_safe
from tests.support.clients import client_safe, deposit_blind, holding

ROOT = Path(__file__).parents[2]


def code(call) -> str:
    with pytest.raises(MinutierError) as caught:
        call()
    return caught.value.code


def documents(rig, count=3, safe="demo"):
    return [rig.deposit(f"%PDF-1.7 document {n}\n".encode(), f"R-{n}", safe=safe) for n in range(count)]


def wrapped_keys(rig):
    """Every kept copy of every wrapped key: rows, then files."""
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT archive_id, wrapped FROM document_key ORDER BY archive_id").fetchall()
    return {
        f"{kind} {row['archive_id']}": value
        for row in rows
        for kind, value in (("row", bytes(row["wrapped"])), ("file", rig.archive.keys.kept(str(row["archive_id"]))))
    }


def openers(wrapped, identity):
    found = set()
    for name, value in wrapped.items():
        try:
            decrypt_bytes(value, [identity])
            found.add(name)
        except IntegrityFailureError:
            continue
    return found


def host_key(rig, safe="demo") -> Identity:
    path = rig.archive.settings.home / "keys" / "safes" / f"{safe}.age-key"
    return parse_identities(path.read_text("ascii"), "file")[0]


def stored(rig):
    return {
        (store.name, key): [e.data for e in entries] for store in rig.stores for key, entries in store._entries.items()
    }


def events(rig, name):
    with rig.archive.database.transaction() as connection:
        return [line.entry for line in journal.lines(connection) if line.event == name]


def test_the_host_gets_a_new_key_and_the_old_one_opens_nothing_that_is_kept(rig, tmp_path):
    found, old, objects = documents(rig), host_key(rig), stored(rig)
    assert openers(wrapped_keys(rig), old) == set(wrapped_keys(rig))
    report = rekey_safe(rig.archive, "demo")
    assert (report.keys, report.total, report.resumed) == (3, 3, False)
    new = host_key(rig)
    assert new.secret != old.secret
    assert openers(wrapped_keys(rig), old) == set()
    assert openers(wrapped_keys(rig), new) == set(wrapped_keys(rig))
    assert stored(rig) == objects
    files = list((rig.archive.settings.home / "keys" / "safes").iterdir())
    assert [path.name for path in files] == ["demo.age-key"]
    for number, deposit in enumerate(found):
        reading.read(rig.archive, deposit, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == f"%PDF-1.7 document {number}\n".encode()
    assert rig.deposit(b"%PDF-1.7 afterwards\n", "later").state == "ARCHIVED"


def test_a_database_restored_from_before_the_rotation_still_opens_its_documents(rig):
    (deposit,) = documents(rig, 1)
    with rig.archive.database.transaction() as connection:
        keys = connection.execute("SELECT wrapped, wrapped_for, archive_id FROM document_key").fetchall()
        before = safes.recipients_of(connection, "demo")
    rekey_safe(rig.archive, "demo")
    (rig.archive.settings.home / "keys" / "escrow.age-key").unlink()  # kept offline, as it should be
    with rig.archive.database.transaction() as connection:
        safes.put_recipients(connection, "demo", before)
        for row in keys:
            query = "UPDATE document_key SET wrapped = %s, wrapped_for = %s WHERE archive_id = %s"
            connection.execute(query, (row["wrapped"], row["wrapped_for"], row["archive_id"]))
    assert document_identity(rig.archive, deposit).secret


def test_the_rotation_is_journaled_with_the_names_of_recipients_and_the_count(rig):
    documents(rig)
    old = safes.recipient_id(str(host_key(rig).recipient))
    rekey_safe(rig.archive, "demo")
    (changed,), (done,) = events(rig, "safe:recipients"), events(rig, "safe:rekeyed")
    new = safes.recipient_id(str(host_key(rig).recipient))
    assert old.encode() in changed
    assert new.encode() in changed
    assert b'"keys":3' in done
    assert new.encode() in done
    assert old.encode() not in done


def test_a_safe_is_handed_to_its_client(rig, tmp_path):
    found, old, client, escrow = documents(rig), host_key(rig), generate_identity(), generate_identity()
    # The escrow that this host made is still here: the host could go on reading.
    assert code(lambda: rekey_safe(rig.archive, "demo", recipients=[str(client.recipient)])) == "KEY_HELD_HERE"
    report = rekey_safe(rig.archive, "demo", recipients=[str(client.recipient)], escrow=str(escrow.recipient))
    assert report.keys == 3
    assert not (rig.archive.settings.home / "keys" / "safes" / "demo.age-key").exists()
    for held in (old, parse_identities((rig.archive.settings.home / "keys" / "escrow.age-key").read_text(), "f")[0]):
        assert openers(wrapped_keys(rig), held) == set()
    for held in (client, escrow):
        assert openers(wrapped_keys(rig), held) == set(wrapped_keys(rig))
        reading.read(holding(rig.archive, held), found[0], tmp_path / "back")
    assert code(lambda: reading.read(rig.archive, found[0], tmp_path / "no")) == "IDENTITY_NEEDED"


def test_a_client_replaces_its_own_key_and_only_it_can(rig):
    client, after = client_safe(rig), generate_identity()
    documents(rig, safe="notary")
    wanted = [str(after.recipient)]
    before = wrapped_keys(rig)
    assert code(lambda: rekey_safe(rig.archive, "notary", recipients=wanted)) == "IDENTITY_NEEDED"
    other = holding(rig.archive, generate_identity())
    assert code(lambda: rekey_safe(other, "notary", recipients=wanted)) == "KEY_DOES_NOT_OPEN"
    assert wrapped_keys(rig) == before
    with rig.archive.database.transaction() as connection:
        assert safes.recipients_of(connection, "notary").client == (str(client.recipient),)
    assert rekey_safe(holding(rig.archive, client), "notary", recipients=wanted).keys == 3
    assert openers(wrapped_keys(rig), client) == set()
    assert openers(wrapped_keys(rig), after) == set(wrapped_keys(rig))
    # Nothing is left to do, and nothing is needed for it.
    assert rekey_safe(rig.archive, "notary").keys == 0


def test_blind_documents_are_wrapped_again_too(rig, tmp_path):
    client, after = client_safe(rig), generate_identity()
    source = tmp_path / "acte.txt"
    source.write_bytes(b"Acte de vente\n" * 100)
    found = deposit_blind(rig, source, [str(client.recipient)])
    rekey_safe(holding(rig.archive, client), "notary", recipients=[str(after.recipient)])
    reading.read(holding(rig.archive, after), found, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert code(lambda: reading.read(holding(rig.archive, client), found, tmp_path / "no")) == "KEY_DOES_NOT_OPEN"


def test_the_escrow_opens_what_is_to_be_rotated(rig):
    escrow, after = generate_identity(), generate_identity()
    client_safe(rig, escrow=escrow)
    documents(rig, safe="notary")
    report = rekey_safe(holding(rig.archive, escrow), "notary", recipients=[str(after.recipient)])
    assert report.recipients == (str(after.recipient), str(escrow.recipient))
    assert openers(wrapped_keys(rig), escrow) == set(wrapped_keys(rig))
    rekey_safe(holding(rig.archive, escrow), "notary", escrow="none")
    assert openers(wrapped_keys(rig), escrow) == set()
    assert openers(wrapped_keys(rig), after) == set(wrapped_keys(rig))


def test_a_lost_key_of_the_host_is_replaced_with_the_escrow_that_is_here(rig, tmp_path):
    found = documents(rig)
    (rig.archive.settings.home / "keys" / "safes" / "demo.age-key").unlink()
    assert rekey_safe(rig.archive, "demo").keys == 3
    assert openers(wrapped_keys(rig), host_key(rig)) == set(wrapped_keys(rig))
    reading.read(rig.archive, found[0], tmp_path / "back")
    assert rig.deposit(b"%PDF-1.7 afterwards\n", "later").state == "ARCHIVED"


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("when", range(1, 9))
def test_a_run_killed_at_any_key_is_completed_by_the_next(rig, monkeypatch, tmp_path, when):
    monkeypatch.setattr(rekey, "PAGE", 2)
    found, old = documents(rig, 5), host_key(rig)
    calls, keep, execute = [0], KeyRing.keep, psycopg.Connection.execute

    def count():
        calls[0] += 1
        if calls[0] == when:
            raise KilledError

    def dying_keep(ring, archive_id, wrapped, *, replace=False):
        keep(ring, archive_id, wrapped, replace=replace)
        count()

    def dying_execute(connection, query, *arguments, **options):
        if isinstance(query, str) and query.startswith("UPDATE document_key"):
            count()
        return execute(connection, query, *arguments, **options)

    with monkeypatch.context() as dying:
        dying.setattr(KeyRing, "keep", dying_keep)
        dying.setattr(psycopg.Connection, "execute", dying_execute)
        with pytest.raises(KilledError):
            rekey_safe(rig.archive, "demo")
    for deposit in found:
        reading.read(rig.archive, deposit, tmp_path / "back")
    # A deposit of the time in between is for the new recipients.
    between = rig.deposit(b"%PDF-1.7 in between\n", "between")
    report = rekey_safe(rig.archive, "demo")
    assert report.resumed
    assert openers(wrapped_keys(rig), old) == set()
    assert openers(wrapped_keys(rig), host_key(rig)) == set(wrapped_keys(rig))
    wrapped = wrapped_keys(rig)
    assert all(wrapped[name] == wrapped[name.replace("row", "file")] for name in wrapped)
    for deposit in (*found, between):
        reading.read(rig.archive, deposit, tmp_path / "back")


SCRIPT = """
import os, signal, sys
from pathlib import Path
from storage import rekey
from storage.keys import KeyRing
from tests.support.rig import make_rig

rekey.PAGE = 2
keep, calls = KeyRing.keep, [0]

def dying(ring, archive_id, wrapped, *, replace=False):
    keep(ring, archive_id, wrapped, replace=replace)
    calls[0] += 1
    if calls[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)

KeyRing.keep = dying
with make_rig(sys.argv[1], Path(sys.argv[2])) as rig:
    rekey.rekey_safe(rig.archive, "demo")
"""


def test_a_process_killed_in_the_middle_is_followed_by_one_that_ends_it(rig, database_url, tmp_path):
    found, old = documents(rig, 5), host_key(rig)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, database_url, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    half = openers(wrapped_keys(rig), old)
    assert 0 < len(half) < 10
    report = rekey_safe(rig.archive, "demo")
    assert (report.resumed, report.keys) == (True, 3)
    assert openers(wrapped_keys(rig), old) == set()
    for deposit in found:
        reading.read(rig.archive, deposit, tmp_path / "back")


def test_a_file_that_a_deposit_wrote_late_is_made_right(rig):
    (deposit,) = documents(rig, 1)
    old, before = host_key(rig), rig.archive.keys.kept(deposit.archive_id)
    rekey_safe(rig.archive, "demo")
    rig.archive.keys.keep(deposit.archive_id, before, replace=True)
    rekey_safe(rig.archive, "demo")
    assert openers(wrapped_keys(rig), old) == set()


def test_a_key_destroyed_meanwhile_does_not_come_back(rig, monkeypatch):
    kept, destroyed = documents(rig, 2)
    keep = KeyRing.keep

    def destroying(ring, archive_id, wrapped, *, replace=False):
        with rig.archive.database.transaction() as connection:
            connection.execute("DELETE FROM document_key WHERE archive_id = %s", (destroyed.archive_id,))
        keep(ring, archive_id, wrapped, replace=replace)

    monkeypatch.setattr(KeyRing, "keep", destroying)
    rekey_safe(rig.archive, "demo")
    assert rig.archive.keys.kept(destroyed.archive_id) is None
    assert rig.archive.keys.kept(kept.archive_id) is not None


def test_a_wrapped_key_of_another_document_stops_the_rotation(rig):
    first, second = documents(rig, 2)
    with rig.archive.database.transaction() as connection:
        query = "SELECT wrapped FROM document_key WHERE archive_id = %s"
        (row,) = connection.execute(query, (first.archive_id,)).fetchall()
        connection.execute(
            "UPDATE document_key SET wrapped = %s WHERE archive_id = %s", (row["wrapped"], second.archive_id)
        )
    assert code(lambda: rekey_safe(rig.archive, "demo")) == "KEY_SWAPPED"


def test_destroying_both_copies_of_a_wrapped_key_erases_though_the_objects_stay(rig, tmp_path):
    erased, kept = documents(rig, 2)
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM document_key WHERE archive_id = %s", (erased.archive_id,))
    reading.read(rig.archive, erased, tmp_path / "one copy is left")
    rig.archive.keys.forget(erased.archive_id)
    assert code(lambda: reading.read(rig.archive, erased, tmp_path / "no")) == "KEY_MISSING"
    # Every secret of this home, and every document key that is left, against every stored object.
    folder = rig.archive.settings.home / "keys"
    texts = [path.read_text("ascii") for path in folder.rglob("*.age-key")]
    held = [identity for text in texts for identity in parse_identities(text, "file")]
    held.append(document_identity(rig.archive, kept))
    with rig.archive.database.transaction() as connection:
        items = catalogue.objects(connection, erased.archive_id).values()
    for item in items:
        for store in rig.stores:
            with store.open(item.key, store.versions(item.key)[0].version_id) as stream:
                sealed = stream.read()
            assert code(lambda sealed=sealed: decrypt_bytes(sealed, held)) == "KEY_DOES_NOT_OPEN"
    reading.read(rig.archive, kept, tmp_path / "kept")


def test_a_post_quantum_safe_has_post_quantum_keys_and_mixes_none(rig, tmp_path):
    client = client_safe(rig, kind=HYBRID)
    (deposit,) = documents(rig, 1, safe="notary")
    with rig.archive.database.transaction() as connection:
        items = catalogue.objects(connection, deposit.archive_id).values()
    for item in items:
        with rig.stores[0].open(item.key, rig.stores[0].versions(item.key)[0].version_id) as stream:
            assert [stanza.arguments[0] for stanza in read_header(stream).stanzas] == [HYBRID]
    reading.read(holding(rig.archive, client), deposit, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"%PDF-1.7 document 0\n"
    ordinary = [str(generate_identity().recipient)]
    mixed = [*ordinary, str(client.recipient)]
    assert code(lambda: rekey_safe(holding(rig.archive, client), "notary", recipients=mixed)) == "MIXED_RECIPIENTS"
    assert code(lambda: rekey_safe(rig.archive, "demo", escrow=str(client.recipient))) == "MIXED_RECIPIENTS"


def test_a_safe_is_not_created_for_a_key_that_this_host_holds(rig):
    escrow = parse_identities((rig.archive.settings.home / "keys" / "escrow.age-key").read_text(), "file")[0]
    client = str(generate_identity().recipient)
    for given in ({"recipients": [str(escrow.recipient)]}, {"recipients": [client], "escrow": str(escrow.recipient)}):
        with pytest.raises(PolicyRefusedError) as caught:
            safes.create_safe(rig.archive, "new", "new", **given)
        assert caught.value.code == "KEY_HELD_HERE"
    with pytest.raises(BadInputError):
        safes.create_safe(rig.archive, "new", "new", recipients=["age1nonsense"])
    assert code(lambda: safes.create_safe(rig.archive, "new", "new", recipients=[client], escrow=client)) == "USAGE"
    with rig.archive.database.transaction() as connection:
        assert code(lambda: safes.recipients_of(connection, "new")) == "UNKNOWN_SAFE"


def test_a_safe_that_is_there_with_other_terms_is_said(rig):
    escrow, client, other = (generate_identity(), generate_identity(), generate_identity())
    alice, bob, held = str(client.recipient), str(other.recipient), str(escrow.recipient)
    assert safes.create_safe(rig.archive, "notary", "Étude", recipients=[alice], escrow=held)
    for title, given, kept in (
        ("", [], None), ("Étude", [alice], held), ("", [alice, held], held), ("", [alice, held], None),
    ):  # fmt: skip
        safes.require_same(rig.archive, "notary", title, given, kept)
    for title, given, kept, differs in (
        ("Notary", [], None, "title"), ("", [bob], None, "recipients"), ("", [alice, bob], held, "recipients"),
        ("", [], bob, "escrow"), ("x", [bob], bob, "title and recipients and escrow"),
    ):  # fmt: skip
        with pytest.raises(BadInputError) as caught:
            safes.require_same(rig.archive, "notary", title, given, kept)
        assert caught.value.code == "SAFE_EXISTS"
        assert f"'notary' with other {differs};" in caught.value.message
        assert "minutier safe rekey notary" in caught.value.remedy
    assert code(lambda: safes.require_same(rig.archive, "demo", "", [alice], None)) == "SAFE_EXISTS"


def test_what_is_said_of_a_clients_safe_helps_where_it_is_said(rig):
    client_safe(rig)
    (found,) = documents(rig, 1, safe="notary")
    with pytest.raises(BadInputError) as caught:
        document_identity(rig.archive, found)
    assert caught.value.remedy == "Give the client's age identity with --identity FILE."
    with pytest.raises(IntegrityFailureError) as closed:
        document_identity(holding(rig.archive, generate_identity()), found)
    assert closed.value.code == "KEY_DOES_NOT_OPEN"
    assert "keys directory" not in closed.value.remedy
    assert "minutier safe list" in closed.value.remedy


def test_classes_have_a_mode(rig):
    assert create_class(rig.archive, LifecycleClass("sealed", "Sealed", 10, "blind"))
    assert not create_class(rig.archive, LifecycleClass("sealed", "Sealed", 10, "blind"))
    for name, years, mode, wanted in (
        ("sealed", 11, "blind", "CLASS_EXISTS"),
        ("other", 0, "blind", "BAD_CLASS"),
        ("other", 5, "open", "BAD_CLASS"),
        ("Other !", 5, "blind", "BAD_NAME"),
    ):
        other = LifecycleClass(name, "t", years, mode)
        assert code(lambda other=other: create_class(rig.archive, other)) == wanted
    with rig.archive.database.transaction() as connection:
        assert get_class(connection, "sealed").mode == "blind"
        assert get_class(connection, "default").mode == "managed"
