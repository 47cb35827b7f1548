"""Step: work on schedule that can wait a night does not begin in a blackout window (setting `blackouts`)."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed

from storage.blackouts import standing
from storage.bootstrap import current_archive


def put_off() -> State[Any] | None:
    """Give the state in which a run on schedule ends inside a blackout; None outside, and for a run by hand."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not context.flow_run.auto_scheduled:
        return None
    archive = current_archive()
    zone = ZoneInfo(archive.settings.time_zone)
    end = standing(archive.settings.blackouts, archive.clock().astimezone(zone).replace(tzinfo=None))
    if end is None:
        return None
    return Completed(name="PutOff", message=f"a blackout lasts until {end:%Y-%m-%d %H:%M}: the next run does it")
