"""Blackout windows: when they stand, what cannot be one, and which runs they put off."""

from datetime import datetime
from types import SimpleNamespace

import pytest

from minutier.errors import BadInputError
from storage.blackouts import parse, standing
from storage.settings import load_settings
from tasks import waiting_out

FRIDAY, SATURDAY = "2026-11-27", "2026-11-28"


@pytest.mark.parametrize(
    ("window", "moment", "end"),
    [
        ("08:00-18:00", f"{FRIDAY}T07:59", None),
        ("08:00-18:00", f"{FRIDAY}T08:00", f"{FRIDAY}T18:00"),
        ("08:00-18:00", f"{FRIDAY}T18:00", None),
        ("mon-fri 08:00-18:00", f"{SATURDAY}T09:00", None),
        ("mon-fri 08:00-18:00", f"{FRIDAY}T09:00", f"{FRIDAY}T18:00"),
        ("fri-mon 08:00-18:00", f"{SATURDAY}T09:00", f"{SATURDAY}T18:00"),
        ("fri-mon 08:00-18:00", "2026-12-01T09:00", None),
        ("mon+sat 08:00-18:00", f"{SATURDAY}T09:00", f"{SATURDAY}T18:00"),
        ("mon+sat 08:00-18:00", f"{FRIDAY}T09:00", None),
        # It belongs to the day on which it begins.
        ("fri 22:00-02:00", f"{SATURDAY}T01:59", f"{SATURDAY}T02:00"),
        ("fri 22:00-02:00", f"{FRIDAY}T01:59", None),
        ("00:00-00:00", f"{FRIDAY}T12:00", f"{SATURDAY}T00:00"),
        ("2026-11-27T12:00/2026-12-01T06:00", f"{SATURDAY}T12:00", "2026-12-01T06:00"),
        ("2026-11-27T12:00/2026-12-01T06:00", "2026-12-01T06:00", None),
    ],
)
def test_a_window_stands_from_its_beginning_to_before_its_end(window, moment, end):
    assert standing((window,), datetime.fromisoformat(moment)) == (datetime.fromisoformat(end) if end else None)


def test_of_several_the_last_end_counts():
    windows = ("08:00-12:00", "10:00-14:00", "2026-01-01T00:00/2026-01-02T00:00")
    assert standing(windows, datetime.fromisoformat(f"{FRIDAY}T11:00")) == datetime.fromisoformat(f"{FRIDAY}T14:00")
    assert standing((), datetime.fromisoformat(f"{FRIDAY}T11:00")) is None


@pytest.mark.parametrize(
    "text",
    [
        "8-18",
        "08:00-24:00",
        "mon 08:00",
        "mon,tue 08:00-18:00",
        "day 08:00-18:00",
        "08:00-18:00 mon",
        "2026-12-26T06:00/2026-12-24T12:00",
        "2026-02-30T06:00/2026-12-24T12:00",
    ],
)
def test_what_is_no_window_is_refused_when_the_settings_are_read(tmp_path, text):
    with pytest.raises(ValueError, match=r"blackout|day|before"):
        parse(text)
    with pytest.raises(BadInputError) as refused:
        load_settings(tmp_path, {"MINUTIER_BLACKOUTS": f"08:00-09:00,{text}"})
    assert (refused.value.code, "blackouts" in refused.value.message) == ("SETTING_INVALID", True)


def test_a_list_of_windows_is_read_from_the_environment(tmp_path):
    found = load_settings(tmp_path, {"MINUTIER_BLACKOUTS": "mon-fri 08:00-18:00,sat+sun 00:00-12:00"})
    assert found.blackouts == ("mon-fri 08:00-18:00", "sat+sun 00:00-12:00")


@pytest.mark.parametrize(
    ("run", "windows", "name"),
    [
        (SimpleNamespace(auto_scheduled=True), ("00:00-00:00",), "PutOff"),
        (SimpleNamespace(auto_scheduled=True), (), None),
        (SimpleNamespace(auto_scheduled=False), ("00:00-00:00",), None),
        (None, ("00:00-00:00",), None),
    ],
)
def test_only_runs_on_schedule_are_put_off(rig, monkeypatch, run, windows, name):
    settings = rig.archive.settings.model_copy(update={"blackouts": windows})
    archive = SimpleNamespace(settings=settings, clock=rig.clock)
    monkeypatch.setattr(waiting_out, "current_archive", lambda: archive)
    context = SimpleNamespace(get=lambda: SimpleNamespace(flow_run=run))
    monkeypatch.setattr(waiting_out, "FlowRunContext", context)
    found = waiting_out.put_off()
    assert (found.name if found else None) == name
    assert found is None or found.is_completed()


def test_the_window_is_of_the_time_zone_of_the_instance(rig, monkeypatch):
    rig.clock.now = datetime.fromisoformat(f"{FRIDAY}T23:30:00+00:00")
    run = SimpleNamespace(get=lambda: SimpleNamespace(flow_run=SimpleNamespace(auto_scheduled=True)))
    monkeypatch.setattr(waiting_out, "FlowRunContext", run)
    for zone, put in (("Europe/Paris", True), ("UTC", False)):
        update = {"blackouts": ("sat 00:00-01:00",), "time_zone": zone}
        archive = SimpleNamespace(settings=rig.archive.settings.model_copy(update=update), clock=rig.clock)
        monkeypatch.setattr(waiting_out, "current_archive", lambda found=archive: found)
        assert (waiting_out.put_off() is not None) is put
