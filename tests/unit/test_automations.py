"""What watches the runs from inside: each automation as data, and no absence told of a run that is not scheduled."""

import asyncio
import itertools
import json
import re
from datetime import datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from prefect.events.schemas.automations import Posture
from prefect.server.schemas.schedules import CronSchedule

from deployments.automations import EXPECTED, PREFIX, _block, wanted
from deployments.definitions import DEFINITIONS
from minutier.errors import BadInputError
from storage.settings import load_settings

DEPLOYMENTS = {name: str(uuid4()) for name in EXPECTED}


def test_without_an_address_a_dead_run_is_marked_and_nobody_is_told():
    (only,) = wanted(None, DEPLOYMENTS)
    (action,) = only.actions
    assert (only.trigger.posture, action.state.value) == (Posture.Proactive, "CRASHED")


def test_with_an_address_failed_late_and_absent_runs_are_told():
    found = {each.name.removeprefix(PREFIX): each for each in wanted(uuid4(), DEPLOYMENTS)}
    absent = {f"{name} did not come" for name in EXPECTED}
    assert set(found) == {"a run whose process died", "a run failed", "a run is late", *absent}
    for name in absent:
        assert found[name].trigger.posture is Posture.Proactive
        assert found[name].trigger.within == EXPECTED[name.removesuffix(" did not come")]


def test_what_an_alert_says_is_json_without_the_name_of_a_run():
    (told,) = {each.actions[0].payload for each in wanted(uuid4(), DEPLOYMENTS) if "died" not in each.name}
    assert set(json.loads(told)) == {"automation", "event", "resource", "at"}
    assert "name" not in re.sub(r"automation\.name", "", told)


@pytest.mark.parametrize(("name", "within"), EXPECTED.items())
def test_an_absence_is_told_after_the_next_run_was_due_and_not_before(name, within):
    (cron,) = [each.cron for each in DEFINITIONS if f"{each.flow.name}/{each.name}" == name]
    start = datetime(2026, 10, 20, tzinfo=ZoneInfo("Europe/Paris"))  # over the end of summer time
    runs = asyncio.run(CronSchedule(cron=cron, timezone="Europe/Paris").get_dates(400, start))
    widest = max((later - earlier).total_seconds() for earlier, later in itertools.pairwise(runs))
    assert widest < within.total_seconds() < 2 * widest + timedelta(hours=1).total_seconds()


def test_the_address_is_read_from_its_file(tmp_path):
    assert _block(load_settings(tmp_path, {})) is None
    for content in (b"", b"ftp://x", b"https://a b", b"\xff"):
        (tmp_path / "hook").write_bytes(content)
        with pytest.raises(BadInputError) as stopped:
            _block(load_settings(tmp_path, {"MINUTIER_ALERT_WEBHOOK_FILE": "hook"}))
        assert stopped.value.code == "BAD_WEBHOOK"
    with pytest.raises(BadInputError):
        _block(load_settings(tmp_path, {"MINUTIER_ALERT_WEBHOOK_FILE": "none"}))
