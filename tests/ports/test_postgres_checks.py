"""A database that may lose what it acknowledged is refused: asked of a real PostgreSQL, setting by setting."""

import signal
import subprocess

import psycopg
import pytest

from deployments import embedded_postgres
from deployments.processes import listens, wait_until
from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from storage import postgres_checks
from storage.database import Database
from storage.postgres_checks import check
from tasks import unprivileged
from tasks.postgres_programs import Places, environment, program
from tests.support.postgres import free_port

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


@pytest.fixture(scope="module")
def unsafe_port(tmp_path_factory):
    """A server of its own: no page checksums, and started with what loses acknowledged transactions."""
    home = tmp_path_factory.mktemp("unsafe")
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o755)
    embedded_postgres.prepare(home)
    data, owner = embedded_postgres.cluster(home), Places(home).owner()
    disable = [str(program("pg_checksums")), "--disable", "-D", str(data)]
    subprocess.run(unprivileged.as_user(owner, disable), cwd=home / "postgres", check=True, capture_output=True)
    port = free_port()
    command = [*embedded_postgres.command(home, port, archive=False), "-c", "fsync=off", "-c", "full_page_writes=off"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment(), cwd=home / "postgres", stdout=log, stderr=log)
    try:
        assert wait_until(lambda: listens(port), 60.0), (home / "log").read_text("utf-8")
        yield home, port
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


def test_an_instance_that_may_lose_what_it_acknowledged_is_refused_with_what_to_do(unsafe_port):
    home, port = unsafe_port
    assert wait_until(lambda: "starting up" not in str(embedded_postgres.ready(home, port)), 60.0)
    with pytest.raises(PolicyRefusedError) as refused:
        Database(embedded_postgres.url(home, port, "minutier")).open()
    assert refused.value.code == "DATABASE_UNSAFE"
    for name in ("fsync = off", "full_page_writes = off", "data_checksums = off"):
        assert name in refused.value.message
    assert "pg_checksums --enable" in refused.value.remedy
    assert "fsync = off" in str(embedded_postgres.ready(home, port))
