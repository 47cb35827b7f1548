"""The embedded instance outlives the death of any of its processes, and leaves none behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from deployments import doctor, instance, processes, state, supervisor
from deployments.automations import EXPECTED, PREFIX
from deployments.definitions import DEFINITIONS
from deployments.processes import wait_until
from minutier.errors import IntegrityFailureError, ServiceUnavailableError
from storage.dev_ca import create_development_ca
from storage.settings import Settings, load_settings
from tests.support.disks import room_for
from tests.unit.test_supervision import hook_sink

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


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def say(home: Path, *words: str) -> tuple[int, Any]:
    """Run one command of the command line; gives its exit code and the one JSON document it printed."""
    program = "from deployments.cli import main; main()"
    command = [sys.executable, "-c", program, "--home", str(home), "--json", *words]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MINUTIER_", "PREFECT_"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def levels(found: list[dict[str, str]]) -> dict[str, str]:
    return {each["name"]: each["level"] for each in found}


def healthy(settings: Settings) -> bool:
    return all(each.health == "healthy" for each in instance.status(settings))


def test_up_starts_every_service(settings):
    found = {each.name: each for each in instance.status(settings)}
    assert list(found) == ["supervisor", "postgresql", "tsa", "prefect", "worker"]
    assert {each.health for each in found.values()} == {"healthy"}
    assert instance.prefect_api_url(settings) == found["prefect"].address + "/api"
    assert instance.tsa_urls(settings) == (found["tsa"].address,)


def test_status_and_doctor_of_a_running_instance(settings):
    code, found = say(settings.home, "status")
    assert code == 0
    assert [(each["name"], each["health"]) for each in found] == [
        (name, "healthy") for name in ("supervisor", "postgresql", "tsa", "prefect", "worker")
    ]
    code, found = say(settings.home, "doctor")
    assert code == 0
    found = levels(found)
    for name in ("postgresql", "tsa", "prefect", "worker", "supervisor"):
        assert found[f"service {name}"] == "ok"
    assert found["database clock"] == found["database version"] == "ok"


MOVING = ("updated", "updated_by", "last_polled", "status", "id", "created")


def deployed(settings):
    """Give every deployment with its schedules as the Prefect server tells them, by flow and name."""
    url = instance.prefect_api_url(settings)
    found = {}
    flows = {each["id"]: each["name"] for each in httpx.post(f"{url}/flows/filter", json={}).raise_for_status().json()}
    for each in httpx.post(f"{url}/deployments/filter", json={}).raise_for_status().json():
        schedules = [{k: v for k, v in one.items() if k not in MOVING} for one in each.pop("schedules")]
        # The server says "no steps" in two ways, `[]` when it made a deployment and null once it was updated.
        kept = {name: value or None for name, value in each.items() if name not in MOVING} | {"schedules": schedules}
        found[f"{flows[each['flow_id']]}/{each['name']}"] = (each["id"], kept)
    return found


def test_deployments_applied_twice_change_nothing(settings):
    code, _ = say(settings.home, "up")
    assert code == 0
    first = deployed(settings)
    assert {f"{each.flow.name}/{each.name}" for each in DEFINITIONS} == set(first)
    code, _ = say(settings.home, "up")
    assert code == 0
    second = deployed(settings)
    for name, (own, kept) in first.items():
        assert second[name][0] == own, name
        after = second[name][1]
        changed = {field: (value, after[field]) for field, value in kept.items() if after[field] != value}
        assert changed == {}, name
    assert set(second) == set(first)


def automations(settings):
    url = instance.prefect_api_url(settings)
    found = httpx.post(f"{url}/automations/filter", json={}).raise_for_status().json()
    return {each["name"]: {name: value for name, value in each.items() if name not in MOVING} for each in found}


def test_a_run_that_fails_is_told_and_automations_applied_twice_change_nothing(settings):
    assert list(automations(settings)) == [f"{PREFIX}a run whose process died"]
    with hook_sink() as (hook, told):
        (settings.home / "hook").write_text(f"{hook}\n")
        (settings.home / "minutier.toml").write_text('alert_webhook_file = "hook"\n')
        assert say(settings.home, "up")[0] == 0
        first = automations(settings)
        assert len(first) == 3 + len(EXPECTED)
        assert say(settings.home, "up")[0] == 0
        assert automations(settings) == first
        # A new instance has had no night: its morning is red, and a red run failed.
        code, report = say(settings.home, "morning")
        assert (code, report["verdict"]) == (1, "red")
        assert wait_until(lambda: told, 60)
    assert told[0]["automation"] == f"{PREFIX}a run failed"
    (settings.home / "minutier.toml").unlink()
    assert say(settings.home, "up")[0] == 0
    assert list(automations(settings)) == [f"{PREFIX}a run whose process died"]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_run_that_gives_no_sign_of_life_is_marked_and_one_that_does_is_not(settings):
    """As the server sees it: two runs that said they run, and of which one says nothing more."""
    assert say(settings.home, "up")[0] == 0  # which makes the automations
    url = instance.prefect_api_url(settings)
    flow = httpx.post(f"{url}/flows/", json={"name": "life"}).raise_for_status().json()

    def beat(run):
        event = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        }
        httpx.post(f"{url}/events", json=[event]).raise_for_status()

    runs = []
    for _ in range(2):
        made = {"flow_id": flow["id"], "state": {"type": "RUNNING", "name": "Running"}}
        runs.append(httpx.post(f"{url}/flow_runs/", json=made).raise_for_status().json()["id"])
        beat(runs[-1])
    dead, alive = runs

    def state(run):
        return httpx.get(f"{url}/flow_runs/{run}").raise_for_status().json()["state"]["type"]

    def ended():
        beat(alive)
        return state(dead) != "RUNNING"

    assert wait_until(ended, 600, every=20)
    assert (state(dead), state(alive)) == ("CRASHED", "RUNNING")


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
    os.kill(pid_of(settings, "supervisor"), signal.SIGKILL)
    instance.down(settings)  # finds what the dead supervisor left
    assert processes_of(settings.home) == []
    failures: list[Exception] = []

    def up() -> None:
        try:
            instance.up(settings)
        except ServiceUnavailableError as error:
            failures.append(error)

    threads = [threading.Thread(target=up) for _ in range(2)]
    lost = state.read(settings.home).ports()["tsa"]
    with socket.create_server(("127.0.0.1", lost)):  # meanwhile a stranger has taken the port of a service
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert state.read(settings.home).ports()["tsa"] != lost
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
    ports = state.read(settings.home).ports()
    assert sorted(ports) == ["postgresql", "prefect", "tsa"]
    assert not any(free(port) for port in ports.values())
    instance.down(settings)
    instance.down(settings)
    assert processes_of(settings.home) == []
    assert all(free(port) for port in ports.values())
    assert {each.health for each in instance.status(settings)} == {"stopped"}


def test_status_and_doctor_of_a_stopped_instance(settings):
    code, found = say(settings.home, "status")
    assert (code, {each["health"] for each in found}) == (3, {"stopped"})
    code, found = say(settings.home, "doctor")
    assert code == 0
    assert levels(found)["service postgresql"] == "warning"
    for each in found:
        assert sorted(each) == ["detail", "level", "name", "remedy"]
        assert each["remedy"] or each["level"] == "ok" or each["name"] == "clock"


def test_a_new_home_is_looked_at_and_not_touched(tmp_path):
    code, found = say(tmp_path / "new", "doctor")
    assert code == 0
    assert levels(found)["replica 1"] == levels(found)["service postgresql"] == "warning"
    assert say(tmp_path / "new", "down") == (0, {"stopped": True})
    assert not (tmp_path / "new").exists()


def test_doctor_says_which_feature_lacks_what(tmp_path, monkeypatch):
    (tmp_path / "keys").mkdir()  # documents were archived here: a store that is away is no new one
    (tmp_path / "auth").write_text("no colon")
    (tmp_path / "credentials").write_text("nothing")
    value = load_settings(
        tmp_path,
        {
            "MINUTIER_REPLICAS": "s3+http://127.0.0.1:9/archive,dir:here",
            "MINUTIER_REPLICA_CREDENTIALS": "credentials",
            "MINUTIER_PREFECT_AUTH_FILE": "auth",
            "MINUTIER_CLAMD": "127.0.0.1:9",
            "PREFECT_API_URL": "http://127.0.0.1:9/api",
        },
    )
    found = {each.name: each for each in doctor.doctor(value)}
    assert found["replica 2"].level == "missing"
    assert found["replica 1"].level == found["antivirus"].level == found["services"].level == "missing"
    assert "credentials" in found["replica 1"].detail
    assert "user:password" in found["services"].detail
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "PACKAGES", (("no-such-package", "nothing at all"),))
    found = {each.name: each for each in doctor.doctor(load_settings(tmp_path, {}))}
    assert found["package no-such-package"].level == "missing"
    assert "nothing at all" in found["package no-such-package"].detail
    for program, feature, package in doctor.PROGRAMS:
        assert found[program].level == "warning"
        assert feature in found[program].detail
        assert package in found[program].remedy


ELSEWHERE = {
    "MINUTIER_DATABASE_URL": "postgresql://me:hidden@127.0.0.1:9/x",
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
}


def test_an_authority_without_one_of_its_keys_is_not_made_again(tmp_path):
    create_development_ca(tmp_path, datetime.now(UTC)).seal_key.unlink()
    with pytest.raises(IntegrityFailureError) as failed:
        instance.up(load_settings(tmp_path, ELSEWHERE))
    assert (failed.value.code, "seal.key" in failed.value.message) == ("KEYS_MISSING", True)
    assert not (tmp_path / "pki" / "seal.key").exists()


def test_a_service_that_cannot_start_is_given_up_with_the_reason(tmp_path):
    create_development_ca(tmp_path, datetime.now(UTC)).tsa_key.write_bytes(b"not a key")
    value = load_settings(tmp_path, ELSEWHERE)
    with pytest.raises(ServiceUnavailableError) as failed:
        instance.up(value)
    assert failed.value.code == "SERVICE_NOT_STARTED"
    assert "tsa does not start" in failed.value.message
    assert "[TSA_KEY]" in failed.value.message
    assert "Traceback" not in failed.value.message
    assert processes_of(tmp_path) == []


def test_services_run_elsewhere_are_looked_at_and_named_without_their_password(tmp_path, monkeypatch):
    monkeypatch.setattr(instance, "OTHERS_PATIENCE", 1.0)
    value = load_settings(tmp_path, ELSEWHERE)
    with pytest.raises(ServiceUnavailableError) as failed:
        instance.up(value)
    assert failed.value.code == "SERVICE_UNHEALTHY"
    assert "postgresql://me@127.0.0.1:9/x" in failed.value.message
    assert "hidden" not in failed.value.message
    assert [each.name for each in instance.status(value)] == ["supervisor", "tsa", "database", "prefect"]
    assert processes_of(tmp_path) == []


def test_a_full_disk_does_not_end_the_supervisor(tmp_path, monkeypatch):
    value = load_settings(tmp_path, ELSEWHERE | {"MINUTIER_TSA_URLS": "http://127.0.0.1:9/"})
    keeper = supervisor.Supervisor(value)
    with room_for(0):
        keeper._write()
    assert state.read(tmp_path).supervisor is None
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "tsa.log").write_bytes(b"x" * 100)
    monkeypatch.setattr(processes, "LOG_BYTES", 10)
    with room_for(50):
        keeper._rotate_logs()
    assert (tmp_path / "logs" / "tsa.log").stat().st_size == 100
    keeper._rotate_logs()
    assert (tmp_path / "logs" / "tsa.log").stat().st_size == 0
    keeper._write()
    assert state.read(tmp_path).supervisor == processes.Identity.of(os.getpid())
