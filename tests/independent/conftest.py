"""The verifiers in Java and the recent openssl; where they are not, a skip that says how to have them.

In continuous integration, where `infra/bootstrap.sh test` has run, their absence is a failure.
"""

import os

import pytest

from tests.support.openssl35 import NoOpenSslError, recent_openssl, system_openssl
from tests.support.verifiers import find_judges


def absent(message: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def judges():
    found = find_judges()
    if found is None:
        absent("no independent verifiers: run infra/bootstrap.sh test")
    return found


@pytest.fixture(scope="session")
def openssl35():
    """An openssl on libcrypto 3.5 or later."""
    try:
        return recent_openssl()
    except NoOpenSslError as error:
        absent(f"no libcrypto of 3.5: {error}")


@pytest.fixture(params=["system", "recent"])
def openssl(request):
    return system_openssl() if request.param == "system" else request.getfixturevalue("openssl35")
