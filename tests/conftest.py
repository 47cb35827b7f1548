"""Fixtures shared by all tests: one PostgreSQL server, and an archive on a database of its own."""

import shutil
from datetime import UTC, datetime

import pytest

from storage.dev_ca import create_development_ca
from tests.support.cli import minutier
from tests.support.postgres import empty, postgres_server
from tests.support.rig import make_rig


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_database(postgres):
    return postgres.database()


@pytest.fixture
def database_url(shared_database):
    """An empty database."""
    empty(shared_database)
    return shared_database


@pytest.fixture(scope="session")
def certified_home(tmp_path_factory):
    """A home with the keys and certificates that an instance is born with."""
    home = tmp_path_factory.mktemp("certified")
    create_development_ca(home, datetime.now(UTC))
    return home


@pytest.fixture
def rig(database_url, certified_home, tmp_path):
    shutil.copytree(certified_home, tmp_path / "home")
    with make_rig(database_url, tmp_path) as value:
        yield value


@pytest.fixture(scope="session")
def instance(tmp_path_factory):
    """The home of an embedded instance that runs, shared by the tests that leave it running."""
    home = tmp_path_factory.mktemp("embedded") / "home"
    answer = minutier(home, "up")
    assert answer.code == 0, answer.err
    yield home
    assert minutier(home, "down").code == 0
