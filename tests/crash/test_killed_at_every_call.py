"""A worker killed with SIGKILL before or after a call to a port, at every one of a whole deposit, then run again."""

import random

import pytest

from storage import seam
from storage.bootstrap import opened_archive, require_probed
from tests.support.promises import check, finish, strays
from tests.support.rig import carry
from tests.support.worker import Work, Worker, content, receive_one, told

SEED = 20261201
SOME = 12
PORTS = {"files", "database", "encryption", "signer", "tsa", "replica-a", "replica-b"}


def calls_of_a_deposit(work):
    """Give each moment of each call of a whole deposit: of the second one, for the first makes what all share."""
    calls = []
    with opened_archive(work.instance.settings) as archive:
        require_probed(archive)
        carry(archive, [receive_one(archive, work, "first")])
        with seam.installed(calls.append):
            carry(archive, [receive_one(archive, work, "counted")])
    assert {call.port for call in calls} == PORTS
    return [(call.number, call.moment) for call in calls]


def kill_and_run_again(machine, folder, choose):
    """Kill a worker at each call chosen, in a delivery of its own, which the next worker completes."""
    instance = machine.instance()
    deaths = choose(calls_of_a_deposit(Work(instance, (), folder / "count.log", folder / "stop", SEED)))
    references = tuple(f"{moment} {number}" for number, moment in deaths)
    worker = Worker(Work(instance, references, folder / "log", folder / "stop", SEED, tuple(deaths)))
    killed = -1
    while worker.process is None or worker.process.exitcode == -9:
        killed += 1
        worker.start()
        worker.process.join()
    lines = list(told(worker.work.log))
    assert worker.ended_well(), lines[-1]
    assert killed == len(deaths)
    acknowledged = {line.reference: line.detail for line in lines if line.event == "archived"}
    assert len(acknowledged) == len(deaths)
    with opened_archive(instance.settings) as archive:
        assert finish(archive) == 0
        found = check(archive, acknowledged, lambda reference: content(SEED, reference))
    found.strays += strays(machine, instance)
    assert found.broken() == {}
    assert found.documents == len(deaths) + 2
    print(f"{killed} kills, {found.documents} documents, {found.copies} copies exact")


def test_some_calls(machine, tmp_path):
    kill_and_run_again(machine, tmp_path, lambda calls: random.Random(SEED).sample(calls, SOME))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_call(machine, tmp_path):
    kill_and_run_again(machine, tmp_path, list)
