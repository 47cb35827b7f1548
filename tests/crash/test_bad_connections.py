"""Slow, cut, silent, repeated connections to stores, authority and database: said in time, exact after."""

import dataclasses
import random
import time
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import pytest

from minutier.errors import ServiceUnavailableError
from storage.archive import Archive
from storage.bootstrap import opened_archive, replica_specs, require_probed
from storage.reception import Delivery, receive
from storage.s3 import S3Store
from tests.support.fault_proxy import REQUEST, RESPONSE, Fault, FaultProxy, fault_proxy
from tests.support.machine import Instance, Machine
from tests.support.promises import check, finish, strays
from tests.support.rig import carry
from tests.support.worker import LIFECYCLE_CLASS, SAFE, Work, content, insist, receive_one

SEED = 20261205
POINTS = 3
SILENCE = 1.0
"""Seconds after which a silent store or authority is given up, here; the settings in force are longer."""
LONGEST = 20.0
"""Seconds within which a deposit has ended or failed, whatever happens: a few silences, on a busy machine."""

pytestmark = pytest.mark.timeout(600)


def original(reference):
    return content(SEED, reference)


@dataclass(frozen=True)
class Network:
    """An archive whose way to one service goes through the proxy."""

    service: str
    proxy: FaultProxy
    machine: Machine
    instance: Instance
    archive: Archive

    def deliver(self, folder, reference):
        """Carry one delivery as far as the connection lets it; gives its state, or the code of the error."""
        begun = time.monotonic()
        try:
            path = folder / "document"
            path.write_bytes(original(reference))
            delivery = Delivery(path, SAFE, LIFECYCLE_CLASS, reference, "tests", name="file.pdf")
            (found,) = carry(self.archive, [receive(self.archive, delivery).archive_id])
            said = found.state
        except ServiceUnavailableError as error:
            said = error.code
        assert time.monotonic() - begun < LONGEST, (reference, said)
        return said

    def complete(self, folder, references):
        """Deliver each again over a good connection; then everything is exact, and nothing is left behind."""
        self.proxy.arm(Fault())
        work = Work(self.instance, (), folder / "log", folder / "stop", SEED)
        told = {each: receive_one(self.archive, work, each) for each in references}
        for archive_id in told.values():
            insist(partial(carry, self.archive, [archive_id]))
        assert finish(self.archive) == 0
        found = check(self.archive, told, original)
        found.strays += strays(self.machine, self.instance)
        assert found.broken() == {}
        assert found.documents == len(told)


@pytest.fixture(params=[pytest.param("minio", marks=pytest.mark.minio), "tsa", "postgresql"])
def network(request):
    """A bad network before each of the services, and an archive with less patience than it has."""
    machine = request.getfixturevalue("minio_machine" if request.param == "minio" else "directory_machine")
    port = int(machine.minio.endpoint.split(":")[1]) if request.param == "minio" else machine.ports[request.param]
    made = machine.instance()
    with fault_proxy(port) as proxy:
        variables = {name: value.replace(f":{port}/", f":{proxy.port}/") for name, value in made.environment.items()}
        assert variables != made.environment
        instance = Instance(made.home, variables)
        with opened_archive(instance.settings) as archive:
            require_probed(archive)
            yield Network(request.param, proxy, machine, instance, impatient(archive))


def impatient(archive):
    """Give the archive with its patience cut down to SILENCE."""
    replicas = []
    for (name, spec, credentials), store in zip(replica_specs(archive.settings), archive.replicas, strict=True):
        if spec.startswith("s3+"):
            address = urlsplit(spec.removeprefix("s3+"))
            bucket = address.path.strip("/")
            store = S3Store(name, address.netloc, bucket, credentials, secure=False, timeout=SILENCE)  # noqa: PLW2901
        replicas.append(store)
    tsa = dataclasses.replace(archive.tsa, timeout=SILENCE)
    return dataclasses.replace(archive, replicas=tuple(replicas), tsa=tsa)


def points(network, folder, direction):
    """Draw bytes of a whole deposit at which something happens, the first one among them."""
    network.proxy.arm(Fault())
    assert network.deliver(folder, f"counted {direction}") == "ARCHIVED"
    total = network.proxy.seen[direction]
    assert total > 300
    return [0, *random.Random(SEED).sample(range(1, total), POINTS - 1)]


@pytest.mark.parametrize("direction", [REQUEST, RESPONSE])
def test_connections_that_are_cut(network, tmp_path, direction):
    said = {}
    for after in points(network, tmp_path, direction):
        network.proxy.forget_connections()
        network.proxy.arm(Fault("cut", direction, after))
        reference = f"cut {direction} {after}"
        said[reference] = network.deliver(tmp_path, reference)
    assert set(said.values()) <= {"ARCHIVED", "STORE_UNANSWERED", "TSA_DOWN", "DATABASE_DOWN"}, said
    assert set(said.values()) != {"ARCHIVED"}, "no cut was felt"
    network.complete(tmp_path, [f"counted {direction}", *said])


@pytest.mark.parametrize("direction", [REQUEST, RESPONSE])
def test_connections_that_fall_silent(network, tmp_path, direction):
    if network.service == "postgresql":
        pytest.skip(
            "a database that answers nothing and keeps the connection is waited for: only a dead one is noticed"
        )
    said = {}
    for after in points(network, tmp_path, direction):
        network.proxy.forget_connections()
        network.proxy.arm(Fault("silence", direction, after))
        reference = f"silence {direction} {after}"
        said[reference] = network.deliver(tmp_path, reference)
    assert set(said.values()) <= {"ARCHIVED", "STORE_UNANSWERED", "TSA_DOWN"}, said
    assert set(said.values()) != {"ARCHIVED"}, "no silence was felt"
    network.complete(tmp_path, [f"counted {direction}", *said])


def test_connections_that_are_slow(network, tmp_path):
    network.proxy.arm(Fault(seconds=0.02))
    assert network.deliver(tmp_path, "slow") == "ARCHIVED"
    network.complete(tmp_path, ["slow"])


@pytest.mark.minio
def test_requests_that_reach_the_store_twice(network, tmp_path):
    if network.service != "minio":
        pytest.skip("a session of the database cannot be repeated, and a second token is nobody's")
    network.proxy.forget_connections()
    network.proxy.arm(Fault())
    assert network.deliver(tmp_path, "twice") == "ARCHIVED"
    before = sum(1 for store in network.archive.replicas for _ in store.list_objects(""))
    assert network.proxy.send_again() > 1_000
    assert sum(1 for store in network.archive.replicas for _ in store.list_objects("")) > before
    network.complete(tmp_path, ["twice"])
