"""The embedded instance outlives the death of any of its processes, and leaves none behind."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from deployments import instance
from deployments.processes import wait_until
from minutier.errors import ServiceUnavailableError
from storage.settings import Settings, load_settings

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    # Longer than the 107 bytes that a Unix socket's path may have, and closed to other users.
    home = tmp_path_factory.mktemp("instance") / ("a-long-name-" * 10) / "home"
    home.parent.mkdir(mode=0o700)
    value = load_settings(home, {})
    lines: list[str] = []
    instance.up(value, lines.append)
    assert any("postgresql: running" in line for line in lines)
    yield value
    instance.down(value)
    assert processes_of(home) == []


def processes_of(home: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            directory = str((entry / "cwd").readlink())
        except OSError:
            continue
        if int(entry.name) != os.getpid() and (str(home) in command or directory.startswith(str(home))):
            found.append(command)
    return found


def pid_of(settings: Settings, name: str) -> int:
    (pid,) = [each.pid for each in instance.status(settings) if each.name == name]
    assert pid is not None
    return pid


def healthy(settings: Settings) -> bool:
    return all(each.health == "healthy" for each in instance.status(settings))


def test_up_starts_every_service(settings):
    found = {each.name: each for each in instance.status(settings)}
    assert list(found) == ["supervisor", "postgresql", "tsa", "prefect", "worker"]
    assert {each.health for each in found.values()} == {"healthy"}
    assert instance.prefect_api_url(settings) == found["prefect"].address + "/api"
    assert instance.tsa_urls(settings) == (found["tsa"].address,)


def test_no_address_holds_a_password(settings):
    url = instance.embedded_database_url(settings)
    password = (settings.home / "secrets" / "postgres-minutier.pgpass").read_text().strip().rpartition(":")[2]
    assert password not in url
    assert all(password not in line for line in processes_of(settings.home))
    assert (settings.home / "secrets" / "postgres-minutier.pgpass").stat().st_mode & 0o077 == 0


def test_postgresql_needs_the_password_and_is_not_root(settings):
    url = instance.embedded_database_url(settings).split("?", 1)[0]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, passfile="/nonexistent", connect_timeout=5)
    status = Path(f"/proc/{pid_of(settings, 'postgresql')}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("Uid:")]
    assert "0" not in line.split()[1:]


def test_the_archive_does_not_read_the_engine_s_database(settings):
    url = instance.embedded_database_url(settings).replace("/minutier?", "/prefect?")
    with pytest.raises(psycopg.OperationalError, match="reject"):
        psycopg.connect(url, connect_timeout=5)


def test_up_again_says_so(settings):
    lines: list[str] = []
    before = pid_of(settings, "supervisor")
    instance.up(settings, lines.append)
    assert lines == ["already up"]
    assert pid_of(settings, "supervisor") == before


@pytest.mark.parametrize("name", ["postgresql", "tsa", "prefect", "worker"])
def test_a_killed_service_comes_back_with_its_data(settings, name):
    with psycopg.connect(instance.embedded_database_url(settings)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS killed (name text PRIMARY KEY)")
        connection.execute("INSERT INTO killed VALUES (%s) ON CONFLICT DO NOTHING", (name,))
    before, address = pid_of(settings, name), instance.embedded_database_url(settings)
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: pid_or_none(settings, name) not in (None, before) and healthy(settings), 90, every=0.5)
    assert instance.embedded_database_url(settings) == address
    with psycopg.connect(address) as connection:
        row = connection.execute("SELECT count(*) FROM killed WHERE name = %s", (name,)).fetchone()
    assert row == (1,)


def pid_or_none(settings: Settings, name: str) -> int | None:
    return next(each.pid for each in instance.status(settings) if each.name == name)


def test_a_new_supervisor_adopts_the_services_of_a_killed_one(settings):
    names = ["postgresql", "tsa", "prefect", "worker"]
    before = [pid_of(settings, name) for name in names]
    os.kill(pid_of(settings, "supervisor"), signal.SIGKILL)
    assert wait_until(lambda: pid_or_none(settings, "supervisor") is None, 10)
    instance.up(settings)
    assert [pid_of(settings, name) for name in names] == before


def test_two_ups_at_once_do_the_work_once(settings):
    instance.down(settings)
    assert processes_of(settings.home) == []
    failures: list[Exception] = []

    def up() -> None:
        try:
            instance.up(settings)
        except ServiceUnavailableError as error:
            failures.append(error)

    threads = [threading.Thread(target=up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    supervisors = [line for line in processes_of(settings.home) if "deployments.supervisor" in line]
    assert len(supervisors) == 1
    assert healthy(settings)


def test_everything_killed_at_once_comes_back(settings):
    """What a power cut does to the processes; another process now has the pid in the stale file."""
    for name in ["supervisor", "worker", "prefect", "tsa", "postgresql"]:
        os.kill(pid_of(settings, name), signal.SIGKILL)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        lock = settings.home / "postgres" / "data" / "postmaster.pid"
        lines = lock.read_text().splitlines()
        lock.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        instance.up(settings)
        assert healthy(settings)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    with psycopg.connect(instance.embedded_database_url(settings)) as connection:
        assert connection.execute("SELECT count(*) FROM killed").fetchone() == (4,)


def test_down_leaves_nothing_and_may_be_said_twice(settings):
    instance.down(settings)
    instance.down(settings)
    assert processes_of(settings.home) == []
    assert {each.health for each in instance.status(settings)} == {"stopped"}
