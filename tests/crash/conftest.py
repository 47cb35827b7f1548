"""Machines whose services may be killed: one with directory stores, one with a real MinIO server."""

import pytest

from tests.support.machine import running_machine
from tests.support.minio_server import PIN, find_minio


def machine_with(kind):
    """Run a machine whose stores are of that kind; skipped where there is no MinIO server."""
    if kind == "minio" and find_minio() is None:
        pytest.skip(f"no MinIO server {PIN}: run infra/minio.sh, or set MINUTIER_MINIO")
    return running_machine(minio=kind == "minio")


@pytest.fixture(scope="package")
def directory_machine():
    with machine_with("directory") as machine:
        yield machine


@pytest.fixture(scope="package")
def minio_machine():
    with machine_with("minio") as machine:
        yield machine


@pytest.fixture(params=["directory", pytest.param("minio", marks=pytest.mark.minio)])
def machine(request):
    """A machine with each kind of stores; every service runs again when a test ends."""
    return request.getfixturevalue(f"{request.param}_machine")
