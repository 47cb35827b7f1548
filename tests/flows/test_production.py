"""An archive on a database, stores and a Prefect server of one's own: `up` starts nothing, and deploys all."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from deployments.definitions import DEFINITIONS, WORK_POOL
from infra.minio.make_store import make
from tests.support.cli import minutier
from tests.support.minio_server import PIN, find_minio, minio_server

pytestmark = [pytest.mark.embedded, pytest.mark.minio, pytest.mark.timeout(300)]
AUTH = "admin:a-secret"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def prefect(tmp_path):
    """A Prefect server that asks for a password; gives the address of its API."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MINUTIER_"))}
    environment |= {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_API_AUTH_STRING": AUTH,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [Path(sys.executable).with_name("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "prefect.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    api = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, (tmp_path / "prefect.log").read_text()
            assert time.monotonic() < deadline
            try:
                if httpx.get(f"{api}/health", auth=tuple(AUTH.split(":"))).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.3)
        yield api
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def authority(tmp_path):
    """A time-stamp authority that answers; gives its address."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "storage.dev_tsa", "--home", str(tmp_path / "tsa"), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}/"
    process.terminate()
    process.wait(10)


def asked(api, path, body=None):
    method = "GET" if body is None else "POST"
    return httpx.request(method, f"{api}{path}", json=body, auth=tuple(AUTH.split(":"))).raise_for_status().json()


def test_nothing_is_started_all_is_deployed_and_a_pool_that_is_there_stays(prefect, authority, postgres, tmp_path):
    binary = find_minio()
    if binary is None:
        pytest.skip(f"no MinIO server {PIN}: run infra/minio.sh, or set MINUTIER_MINIO")
    asked(prefect, "/work_pools/", {"name": WORK_POOL, "type": "docker"})
    (tmp_path / "auth").write_text(AUTH)
    (tmp_path / "auth").chmod(0o600)
    with minio_server(binary) as store:
        for name in ("a", "b"):
            make(store.endpoint, f"kept-{name}", store.credentials_file, tmp_path / f"key-{name}", secure=False)
        environment = {
            "MINUTIER_DATABASE_URL": postgres.database(),
            "MINUTIER_REPLICAS": ",".join(f"s3+http://{store.endpoint}/kept-{name}" for name in "ab"),
            "MINUTIER_REPLICA_CREDENTIALS": ",".join(str(tmp_path / f"key-{name}") for name in "ab"),
            "MINUTIER_TSA_URLS": authority,
            "MINUTIER_PREFECT_API_URL": prefect,
            "MINUTIER_PREFECT_AUTH_FILE": str(tmp_path / "auth"),
        }
        for _ in range(2):
            answer = minutier(tmp_path / "home", "up", env=environment)
            assert answer.code == 0, answer.err
            assert {each["detail"] for each in answer.json} == {"run elsewhere"}
    deployed = {each["name"] for each in asked(prefect, "/deployments/filter", {})}
    assert deployed == {each.name for each in DEFINITIONS}
    assert asked(prefect, f"/work_pools/{WORK_POOL}")["type"] == "docker"
