"""A real MinIO server on the loopback, for tests: no telemetry, no update check, no console, nothing left behind."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from storage.s3 import S3Store

PIN = (Path(__file__).parents[2] / "infra" / "minio" / "VERSION").read_text("ascii").strip()
ROOT_USER = "minutier-test-root"
ROOT_PASSWORD = "minutier-test-root-password"
START_SECONDS = 60


def find_minio() -> Path | None:
    """Give the server binary of $MINUTIER_MINIO or of the cache that infra/minio.sh fills; None where there is none."""
    named = os.environ.get("MINUTIER_MINIO")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    binary = Path(named) if named else cache / "minutier" / f"minio-{PIN}" / "minio"
    return binary if os.access(binary, os.X_OK) and binary.is_file() else None


@dataclass(frozen=True)
class MinioServer:
    endpoint: str
    credentials_file: Path
    process: "subprocess.Popen[bytes]"

    def store(self, bucket: str, name: str = "minio", **options) -> S3Store:
        """Open a store on `bucket`, made with Object Lock, with the root key."""
        return S3Store(
            name, self.endpoint, bucket, self.credentials_file, **{"secure": False, "create": True, **options}
        )


@contextmanager
def minio_server(binary: Path):
    """Run a server on a free port over a temporary directory, yield it once it is healthy, stop it."""
    folder = Path(tempfile.mkdtemp(prefix="minutier-minio-"))
    port = _free_port()
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "MINIO_ROOT_USER": ROOT_USER,
        "MINIO_ROOT_PASSWORD": ROOT_PASSWORD,
        "MINIO_UPDATE": "off",
        "MINIO_BROWSER": "off",
        "MINIO_CALLHOME_ENABLE": "off",
    }
    credentials = folder / "credentials"
    credentials.write_text(
        f"[default]\naws_access_key_id = {ROOT_USER}\naws_secret_access_key = {ROOT_PASSWORD}\n", "ascii"
    )
    command = [binary, "server", "--quiet", "--address", f"127.0.0.1:{port}"]
    command += ["--certs-dir", folder / "certificates", folder / "data"]
    try:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, port, folder / "log")
            yield MinioServer(f"127.0.0.1:{port}", credentials, process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder)


def _wait(process, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with urllib3.PoolManager(retries=False, timeout=1.0) as pool:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                # "Ready" comes before the object layer is: until then, S3 requests are answered 503.
                ready = pool.request("GET", f"http://127.0.0.1:{port}/minio/health/ready").status == 200
                if ready and pool.request("GET", f"http://127.0.0.1:{port}/", redirect=False).status == 403:
                    return
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.1)
    raise RuntimeError(f"MinIO did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
