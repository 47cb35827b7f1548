"""The database is opened only where it is safe, its schema is exactly the release's, and its absence is said."""

import psycopg
import pytest

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from storage import database as database_module
from storage.database import Database
from storage.safes import recipients_of
from tests.support.postgres import free_port


def test_a_server_that_does_not_answer_is_said():
    database = Database(f"postgresql://nobody@127.0.0.1:{free_port()}/none", timeout=1.0)
    with pytest.raises(ServiceUnavailableError) as caught:
        database.open()
    assert (caught.value.code, caught.value.exit_code) == ("DATABASE_DOWN", 3)


def test_a_connection_cut_in_the_middle_is_a_service_that_is_down(rig):
    with pytest.raises(ServiceUnavailableError) as caught, rig.archive.database.transaction() as connection:
        with psycopg.connect(rig.archive.settings.database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        connection.execute("SELECT 1")
    assert caught.value.code == "DATABASE_DOWN"
    with rig.archive.database.transaction() as connection:
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_settings_of_the_server_do_not_cut_or_isolate_a_transaction(rig):
    url = rig.archive.settings.database_url
    strange = {"idle_in_transaction_session_timeout": "1", "default_transaction_isolation": "serializable"}
    with psycopg.connect(url, autocommit=True) as other:
        if other.info.server_version >= 170000:
            strange["transaction_timeout"] = "2s"
        name = other.info.dbname
        for key, value in strange.items():
            other.execute(f"ALTER DATABASE \"{name}\" SET {key} = '{value}'".encode())
        try:
            database = Database(url)
            database.open()
            with database.transaction() as connection:
                found = {key: connection.execute(f"SHOW {key}".encode()).fetchone()[key] for key in strange}
            database.close()
        finally:
            for key in strange:
                other.execute(f'ALTER DATABASE "{name}" RESET {key}'.encode())
    assert found == dict.fromkeys(strange, "0") | {"default_transaction_isolation": "read committed"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (psycopg.errors.DeadlockDetected("deadlock"), "BUSY"),
        (psycopg.errors.LockNotAvailable("lock"), "BUSY"),
        (psycopg.errors.SerializationFailure("serial"), "BUSY"),
        (psycopg.errors.IdleInTransactionSessionTimeout("idle"), "DATABASE_DOWN"),
        (psycopg.errors.TransactionTimeout("late"), "DATABASE_DOWN"),
    ],
)
def test_what_the_server_says_of_a_transaction_it_ended_is_told_apart(rig, error, code):
    with pytest.raises(ServiceUnavailableError) as caught, rig.archive.database.transaction():
        raise error
    assert caught.value.code == code


def test_a_pool_that_has_no_connection_left_says_so(rig):
    small = Database(rig.archive.settings.database_url, size=1, timeout=0.2)
    small.open()
    with small.transaction(), pytest.raises(ServiceUnavailableError) as caught, small.transaction():
        pytest.fail("two connections of one")
    small.close()
    assert (caught.value.code, "free" in caught.value.message) == ("DATABASE_DOWN", True)


def test_opening_twice_applies_the_schema_once(rig):
    second = Database(rig.archive.settings.database_url)
    second.open()
    with second.transaction() as connection:
        assert len(connection.execute("SELECT * FROM schema_migration").fetchall()) >= 1
    second.close()


def test_a_schema_made_by_another_text_is_refused(postgres):
    database = Database(postgres.database())
    database.open()
    with database.transaction() as connection:
        connection.execute("UPDATE schema_migration SET sha256 = 'other'")
    database.close()
    again = Database(database._pool.conninfo)
    try:
        with pytest.raises(PolicyRefusedError) as caught:
            again.open()
        assert caught.value.code == "MIGRATION_CHANGED"
    finally:
        again.close()


def test_safes_of_before_keep_their_recipients(postgres, monkeypatch):
    url, all_of_them = postgres.database(), database_module._migrations()
    monkeypatch.setattr(database_module, "_migrations", lambda: all_of_them[:1])
    before = Database(url)
    before.open()
    with before.transaction() as connection:
        connection.execute(
            "INSERT INTO safe (name, title, recipient, escrow, created_at)"
            " VALUES ('old', 'Old', 'age1own', 'age1escrow', now())"
        )
    before.close()
    monkeypatch.setattr(database_module, "_migrations", lambda: all_of_them)
    after = Database(url)
    after.open()
    with after.transaction() as connection:
        found = recipients_of(connection, "old")
        assert (found.host, found.client, found.escrow) == (("age1own",), (), ("age1escrow",))
        (row,) = connection.execute("SELECT * FROM safe").fetchall()
        assert set(row) >= {"name", "title", "created_at"}
    after.close()


def test_settings_that_may_lose_a_commit_are_refused(postgres):
    url = postgres.database()
    database = Database(url + "&options=-csynchronous_commit%3Doff")
    try:
        with pytest.raises(PolicyRefusedError) as caught:
            database.open()
        assert (caught.value.code, "synchronous_commit" in caught.value.message) == ("DATABASE_UNSAFE", True)
    finally:
        database.close()


def test_an_exclusive_block_keeps_others_out_and_ends_with_it(rig):
    with rig.archive.database.exclusive("one"):
        with rig.archive.database.exclusive("two"):
            pass
        with pytest.raises(ServiceUnavailableError), rig.archive.database.exclusive("one"):
            pytest.fail("two at once")
    with rig.archive.database.exclusive("one"):
        pass
