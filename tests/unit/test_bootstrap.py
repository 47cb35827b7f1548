"""Opening an archive wires its ports; deposits are refused on a store that does not lock."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from minutier.age import generate_identity
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from storage import bootstrap
from storage.bootstrap import (
    current_archive,
    make_replica,
    opened_archive,
    probe_store,
    require_probed,
)
from storage.classes import all_classes
from storage.safes import create_safe, recipients_of
from storage.settings import load_settings


def environment(tmp_path, url):
    return {
        "MINUTIER_HOME": str(tmp_path / "home"),
        "MINUTIER_DATABASE_URL": url,
        "MINUTIER_TSA_URLS": "http://127.0.0.1:9/",
    }


def test_an_escrow_of_elsewhere_is_used_and_no_escrow_key_is_made_here(database_url, certified_home, tmp_path):
    shutil.copytree(certified_home, tmp_path / "home")
    escrow = str(generate_identity().recipient)
    given = environment(tmp_path, database_url) | {"MINUTIER_ESCROW_RECIPIENT": escrow}
    with opened_archive(load_settings(None, given)) as archive:
        assert not (tmp_path / "home" / "keys" / "escrow.age-key").exists()
        assert create_safe(archive, "garage", "Garages")
        assert create_safe(archive, "notary", "Notary", recipients=[str(generate_identity().recipient)])
        with archive.database.transaction() as connection:
            for name in ("demo", "garage", "notary"):
                assert recipients_of(connection, name).escrow == (escrow,)


def test_an_escrow_setting_that_is_no_recipient_is_refused(tmp_path):
    with pytest.raises(BadInputError) as caught:
        load_settings(tmp_path, {"MINUTIER_ESCROW_RECIPIENT": "age1nonsense"})
    assert caught.value.code == "SETTING_INVALID"


def test_an_instance_that_is_not_running_is_said(tmp_path):
    with pytest.raises(ServiceUnavailableError) as caught, opened_archive(load_settings(tmp_path, {})):
        pytest.fail("opened")
    assert (caught.value.code, "minutier up" in caught.value.remedy) == ("NOT_UP", True)


def test_a_new_instance_has_the_safe_and_the_class_of_the_contract(tmp_path, database_url):
    settings = load_settings(None, environment(tmp_path, database_url))
    for _ in range(2):
        with opened_archive(settings) as archive, archive.database.transaction() as connection:
            assert [row["name"] for row in connection.execute("SELECT name FROM safe")] == ["demo"]
            found = {each.name: (each.years, each.term, each.disposition) for each in all_classes(connection)}
            assert found == {
                "default": (5, "deposit", "destroy"),
                "siv": (5, "calendar", "destroy"),
                "planning-keep": (10, "deposit", "keep"),
                "planning-sort": (10, "deposit", "sort"),
                "planning-destroy": (10, "deposit", "destroy"),
            }
            assert [store.name for store in archive.replicas] == ["replica-a", "replica-b"]
            assert archive.replica("replica-b") is archive.replicas[1]
            with pytest.raises(KeyError):
                archive.replica("replica-c")


def test_a_process_opens_its_archive_once(tmp_path, database_url, monkeypatch):
    for name, value in environment(tmp_path, database_url).items():
        monkeypatch.setenv(name, value)
    try:
        assert current_archive() is current_archive()
    finally:
        bootstrap.close_current()
    assert not bootstrap._opened


def test_a_safe_is_created_once_and_journaled(rig):
    assert create_safe(rig.archive, "garage", "Garages")
    assert not create_safe(rig.archive, "garage", "Garages")
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT entry FROM journal_event WHERE event = 'safe:created'").fetchall()
    assert sum(b'"garage"' in bytes(row["entry"]) for row in rows) == 1


def test_the_canary_is_believed_for_a_day(rig):
    require_probed(rig.archive)
    calls = [store.calls for store in rig.stores]
    rig.clock.advance(3600)
    require_probed(rig.archive)
    assert [store.calls for store in rig.stores] == calls
    rig.clock.advance(86400)
    require_probed(rig.archive)
    assert all(store.calls > before for store, before in zip(rig.stores, calls, strict=True))


def test_a_store_that_lets_a_version_go_takes_no_deposit(rig):
    store = rig.stores[1]
    store.delete_version = lambda key, version_id: store._entries[key].clear()
    with pytest.raises(PolicyRefusedError) as caught:
        require_probed(rig.archive)
    assert caught.value.code == "STORE_DOES_NOT_LOCK"
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT replica, ok FROM store_probe ORDER BY replica").fetchall()
    assert [(row["replica"], row["ok"]) for row in rows] == [("replica-a", True), ("replica-b", False)]
    del store.delete_version
    assert probe_store(rig.archive, "replica-b").ok
    require_probed(rig.archive)


def test_a_replica_that_is_gone_is_never_made_again_in_silence(tmp_path, database_url):
    settings = load_settings(None, environment(tmp_path, database_url))
    with opened_archive(settings):
        pass
    shutil.rmtree(settings.home / "replicas" / "b")
    with opened_archive(settings) as archive:
        with pytest.raises(ServiceUnavailableError) as caught:
            archive.replica("replica-b").versions("demo/x/original.age")
        assert caught.value.code == "STORE_MISSING"
        with pytest.raises(BadInputError) as unknown:
            make_replica(settings, "replica-z")
        assert unknown.value.code == "UNKNOWN_REPLICA"
        make_replica(settings, "replica-b")
        assert archive.replica("replica-b").versions("demo/x/original.age") == []
        with archive.database.transaction() as connection:
            rows = connection.execute("SELECT * FROM journal_event WHERE event = 'store:made'").fetchall()
        assert len(rows) == 3


def test_keys_that_are_gone_are_never_made_again_in_silence(tmp_path, database_url):
    settings = load_settings(None, environment(tmp_path, database_url))
    with opened_archive(settings):
        pass
    shutil.rmtree(settings.home / "pki")
    with pytest.raises(IntegrityFailureError) as caught, opened_archive(settings):
        pytest.fail("opened")
    assert caught.value.code == "KEYS_MISSING"
    assert not (settings.home / "pki").exists()


def test_a_deposit_in_a_safe_whose_key_is_gone_stops_before_anything_is_stored(rig):
    (rig.archive.settings.home / "keys" / "safes" / "demo.age-key").unlink()
    with pytest.raises(IntegrityFailureError) as caught:
        rig.deposit()
    assert caught.value.code == "KEYS_MISSING"
    assert all(list(store.list_objects("demo/")) == [] for store in rig.stores)
    assert not create_safe(rig.archive, "demo", "again")
    assert not (rig.archive.settings.home / "keys" / "safes" / "demo.age-key").exists()


def test_the_escrow_key_may_be_kept_elsewhere(rig):
    path = rig.archive.settings.home / "keys" / "escrow.age-key"
    path.unlink()
    create_safe(rig.archive, "garage", "Garages")
    assert rig.deposit(safe="garage").state == "ARCHIVED"
    assert not path.exists()


def test_a_replica_whose_name_stands_for_another_place_is_not_taken_for_it(tmp_path, database_url):
    variables = environment(tmp_path, database_url)
    with opened_archive(load_settings(None, variables)) as archive:
        probe_store(archive, "replica-a")
    swapped = load_settings(None, variables | {"MINUTIER_REPLICAS": "dir:replicas/b,dir:replicas/a"})
    with pytest.raises(BadInputError) as caught, opened_archive(swapped):
        pytest.fail("opened")
    assert (caught.value.code, "minutier store create replica-a" in caught.value.remedy) == ("REPLICA_MOVED", True)
    (tmp_path / "home" / "replicas").rename(tmp_path / "home" / "elsewhere")
    moved = load_settings(None, variables | {"MINUTIER_REPLICAS": "dir:elsewhere/a,dir:elsewhere/b"})
    for name in ("replica-a", "replica-b"):
        make_replica(moved, name)
    with opened_archive(moved) as archive, archive.database.transaction() as connection:
        assert connection.execute("SELECT * FROM store_probe").fetchall() == []


def test_rivals_that_create_one_safe_leave_one_key(rig):
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: create_safe(rig.archive, "rivals", "Rivals"), range(6)))
    assert sum(made) == 1
    assert rig.deposit(safe="rivals").state == "ARCHIVED"


@pytest.mark.parametrize("name", ["", "../evil", "Garage", "a/b", "x" * 64, "é", "a\x00", "a\n"])
def test_a_name_that_could_leave_its_place_makes_nothing(rig, name):
    with pytest.raises(BadInputError) as caught:
        create_safe(rig.archive, name, "title")
    assert caught.value.code == "BAD_NAME"
    assert [path.name for path in (rig.archive.settings.home / "keys" / "safes").iterdir()] == ["demo.age-key"]
