"""A database that may lose what it acknowledged is refused: asked of a real PostgreSQL, setting by setting."""

import psycopg
import pytest

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from storage import postgres_checks
from storage.postgres_checks import check

pytestmark = pytest.mark.embedded


def test_a_safe_server_passes(postgres):
    with psycopg.connect(postgres.database()) as connection:
        check(connection)


@pytest.mark.parametrize("value", ["on", "local", "remote_write", "remote_apply"])
def test_every_way_to_wait_for_the_disk_passes(postgres, value):
    with psycopg.connect(postgres.database(), options=f"-c synchronous_commit={value}") as connection:
        check(connection)


def test_a_session_that_does_not_wait_for_the_disk_is_refused(postgres):
    with (
        psycopg.connect(postgres.database(), options="-c synchronous_commit=off") as connection,
        pytest.raises(PolicyRefusedError) as refused,
    ):
        check(connection)
    assert refused.value.code == "DATABASE_UNSAFE"
    assert "synchronous_commit = off" in refused.value.message


def test_a_setting_that_this_server_does_not_know_is_not_taken_for_safe(postgres, monkeypatch):
    monkeypatch.setitem(postgres_checks.SAFE, "no_such_setting", ("on",))
    with psycopg.connect(postgres.database()) as connection, pytest.raises(PolicyRefusedError, match="no_such_setting"):
        check(connection)


def test_an_old_server_is_refused(postgres, monkeypatch):
    with psycopg.connect(postgres.database()) as connection:
        version = connection.info.server_version // 10000
        monkeypatch.setattr(postgres_checks, "OLDEST_VERSION", version)
        check(connection)
        monkeypatch.setattr(postgres_checks, "OLDEST_VERSION", version + 1)
        with pytest.raises(PolicyRefusedError) as refused:
            check(connection)
    assert refused.value.code == "DATABASE_TOO_OLD"


def test_a_database_that_is_gone_is_unavailable(postgres):
    url = postgres.database()
    with psycopg.connect(url) as connection, psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        with pytest.raises(ServiceUnavailableError) as failed:
            check(connection)
    assert (failed.value.code, failed.value.retryable) == ("DATABASE_DOWN", True)
