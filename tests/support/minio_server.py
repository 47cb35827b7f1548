"""A real MinIO server on the loopback, for tests: no telemetry, no update check, no console, nothing left behind."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import urllib3

from storage.s3 import S3Store
from tests.support import moved_clock

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


class MinioServer:
    """One server over a directory, at one address; it may be killed, and started again with another clock."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._folder, self._port = binary, folder, _free_port()
        self.endpoint = f"127.0.0.1:{self._port}"
        self.credentials_file = folder / "credentials"
        self.credentials_file.write_text(
            f"[default]\naws_access_key_id = {ROOT_USER}\naws_secret_access_key = {ROOT_PASSWORD}\n", "ascii"
        )
        self.process: subprocess.Popen[bytes]

    def start(self, moved: int = 0) -> None:
        """Start it, its clock `moved` by so many seconds, and wait until it is healthy."""
        command = [self._binary, "server", "--quiet", "--address", self.endpoint]
        command += ["--certs-dir", self._folder / "certificates", self._folder / "data"]
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self._folder),
            "MINIO_ROOT_USER": ROOT_USER,
            "MINIO_ROOT_PASSWORD": ROOT_PASSWORD,
            "MINIO_UPDATE": "off",
            "MINIO_BROWSER": "off",
            "MINIO_CALLHOME_ENABLE": "off",
        }
        with (self._folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                moved_clock.command(moved, command) if moved else command,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        _wait(self.process, self._port, self._folder / "log")

    def kill(self) -> None:
        """Kill it with SIGKILL, where it runs."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end; it is killed after ten seconds."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def store(self, bucket: str, name: str = "minio", **options) -> S3Store:
        """Open a store on `bucket`, made with Object Lock, with the root key."""
        return S3Store(
            name, self.endpoint, bucket, self.credentials_file, **{"secure": False, "create": True, **options}
        )


@contextmanager
def minio_server(binary: Path):
    """Run a server on a free port over a temporary directory, yield it once it is healthy, stop it."""
    folder = Path(tempfile.mkdtemp(prefix="minutier-minio-"))
    server = MinioServer(binary, folder)
    try:
        server.start()
        try:
            yield server
        finally:
            server.stop()
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
    process.kill()
    process.wait()
    raise RuntimeError(f"MinIO did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
