"""Workers and services killed at random under load: short storms here, and the long ones of `make test-long`."""

import random

import pytest

from tests.crash.chaos import WORKERS, Chaos, chaos

SEED = 20261202


def kept(outcome, *, kills):
    """Check that so many were killed and that every promise was kept."""
    print(outcome.table())
    assert outcome.broken == {}
    assert outcome.kills.total() >= kills
    assert outcome.acknowledged > 0
    assert outcome.findings.documents >= outcome.acknowledged


def shuffled(references, deliveries):
    """Share out deliveries of references among the workers, each reference as often as another, in any order."""
    each = [f"R-{number % references}" for number in range(deliveries)]
    random.Random(SEED).shuffle(each)
    return [each[worker::WORKERS] for worker in range(WORKERS)]


def delivered_again(machine, references, deliveries, kills):
    """Deliver each reference many times, by eight workers that are killed: one archive, one attestation of each."""
    run = Chaos(machine, machine.instance(), SEED, shuffled(references, deliveries))
    outcome = run.run(kills)
    kept(outcome, kills=min(kills, 1))
    assert outcome.findings.documents == outcome.acknowledged == references
    assert outcome.deliveries >= deliveries


@pytest.mark.timeout(600)
def test_a_storm(machine):
    kept(Chaos(machine, machine.instance(), SEED).run(10), kills=10)


@pytest.mark.timeout(600)
def test_fifteen_references_delivered_three_hundred_times(directory_machine):
    delivered_again(directory_machine, 15, 300, kills=20)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_long_storm(machine):
    kept(Chaos(machine, machine.instance(), SEED).run(300), kills=300)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_storm_over_the_flows_of_prefect():
    outcome = chaos(60, SEED, prefect=True)
    kept(outcome, kills=60)
    assert {"prefect", "command"} <= set(outcome.kills)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_five_hundred_references_delivered_ten_thousand_times(directory_machine):
    delivered_again(directory_machine, 500, 10_000, kills=500)
