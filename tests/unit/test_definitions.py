"""The deployments as they are meant to be: a change of a schedule, a limit or a queue shows here, line by line."""

import json
from pathlib import Path

import pytest
from prefect.client.schemas.schedules import CronSchedule

from deployments.definitions import DEFINITIONS

SNAPSHOT = Path(__file__).with_name("definitions.json")


def as_told():
    return [
        {
            "deployment": f"{each.flow.name}/{each.name}",
            "description": each.description,
            "cron": each.cron,
            "limit": each.limit,
            "tags": list(each.tags),
            "queue": each.queue,
            "parameters": each.parameters,
        }
        for each in DEFINITIONS
    ]


def test_the_definitions_are_those_of_the_snapshot():
    """To change it on purpose: python -m tests.unit.test_definitions"""
    assert as_told() == json.loads(SNAPSHOT.read_text("utf-8"))


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: f"{each.flow.name}/{each.name}")
def test_a_definition_can_be_run(definition):
    if definition.cron:
        assert CronSchedule(cron=definition.cron, timezone="Europe/Paris").cron == definition.cron
    assert set(definition.parameters) <= set(definition.flow.parameters.properties)
    assert set(definition.flow.parameters.required) <= set(definition.parameters) or definition.cron is None


def test_what_reads_all_night_does_not_begin_together():
    """Each nightly run has an hour of its own: backup, sweep, traces, drill, renewal."""
    nightly = [each.cron.split()[:2] for each in DEFINITIONS if each.cron and each.cron.split()[1].isdigit()]
    assert len({tuple(each) for each in nightly}) == len(nightly)


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(as_told(), indent=1, ensure_ascii=False) + "\n", "utf-8")
