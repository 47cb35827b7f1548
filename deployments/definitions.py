"""Every deployment as data, applied idempotently: names, schedules in Paris time, limits, tags."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from prefect import Flow, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.backup import back_up
from flows.deposit import deposit_documents
from flows.drill import rehearse
from flows.intake import take_feed
from flows.integrity import sweep_archive
from flows.leaving import rehearse_leaving
from flows.morning import report_morning
from flows.purge import decide_on_list, destroy_approved, review_due
from flows.renewal import renew_evidence
from flows.resume import resume_waiting
from flows.texts import recognise_texts
from flows.traces import ship_journal
from storage.settings import Settings

WORK_POOL = "minutier"


@dataclass(frozen=True, slots=True)
class Definition:
    """One deployment: `cron` in the instance's time zone, None for runs on demand; `limit` = runs at once.

    `queue` is its queue in the work pool: what takes hours of processor has one of its own, for a worker elsewhere.
    """

    flow: Flow[..., Any]
    name: str
    description: str
    cron: str | None
    limit: int
    tags: tuple[str, ...]
    queue: str = "default"
    parameters: dict[str, Any] = field(default_factory=dict)


DEFINITIONS = (
    Definition(
        take_feed, "garage", "Takes what garages left at their door: vehicle-registration files.",
        "*/15 6-22 * * *", 1, ("intake", "garage"), parameters={"feed": "garage"},
    ),
    Definition(
        take_feed, "mairie", "Takes what town halls left at their door: planning files.",
        "*/15 6-22 * * *", 1, ("intake", "mairie"), parameters={"feed": "mairie"},
    ),
    Definition(
        deposit_documents, "by-hand", "Completes deposits that an earlier run left unfinished.", None, 2, ("deposit",)
    ),
    Definition(
        resume_waiting, "waiting", "Takes up deposits that wait for a time-stamp.",
        "*/10 * * * *", 1, ("deposit", "resume"),
    ),
    Definition(
        resume_waiting, "left-behind", "Takes up deposits that a run left on their way more than an hour ago.",
        "5 * * * *", 1, ("deposit", "resume"), parameters={"left_behind": True},
    ),
    Definition(
        sweep_archive, "nightly", "Re-reads every copy, heals damaged ones, reports.",
        "0 2 * * *", 1, ("integrity",), parameters={"budget_seconds": 7200},
    ),
    Definition(
        ship_journal, "heartbeat", "Tells the supervision what is new, or that the archive lives.",
        "*/10 * * * *", 1, ("traces",), parameters={"kind": "heartbeat"},
    ),
    Definition(
        ship_journal, "nightly", "Ships the journal of the day to the supervision.",
        "30 3 * * *", 1, ("traces",), parameters={"kind": "nightly"},
    ),
    Definition(
        report_morning, "daily", "Says in one page whether the night left everything as it must be; mails it.",
        "45 6 * * *", 1, ("report",),
    ),
    Definition(
        recognise_texts, "evening", "Reads scanned documents by machine, once they are archived.",
        "0 20 * * *", 1, ("texts",), "ocr", {"limit": 2000},
    ),
    Definition(
        back_up, "nightly", "Takes a base backup of the embedded database, keeps seven days of them.",
        "0 1 * * *", 1, ("backup",), parameters={"base": True},
    ),
    Definition(
        back_up, "log", "Copies elsewhere what the embedded database has logged since, where backup_dir is set.",
        "*/10 * * * *", 1, ("backup",), parameters={"base": False},
    ),
    Definition(
        rehearse, "weekly", "Restores the last backup aside, and compares it with life.",
        "0 4 * * 6", 1, ("backup", "drill"), parameters={"documents": 20},
    ),
    Definition(
        rehearse_leaving, "monthly", "Lets some documents leave in a bag, and takes them in again in an empty archive.",
        "30 4 2 * *", 1, ("restitution", "drill"), parameters={"documents": 20},
    ),
    Definition(
        review_due, "monthly", "Ends destructions that had begun, and counts what may go now; destroys nothing else.",
        "0 6 1 * *", 1, ("lifecycle",),
    ),
    Definition(
        destroy_approved, "by-hand", "Destroys the documents of a list that two persons agreed on.",
        None, 1, ("lifecycle",),
    ),
    Definition(
        decide_on_list, "with-a-form", "Shows a list, and waits until another person approves it in a form.",
        None, 5, ("lifecycle",),
    ),
    Definition(
        renew_evidence, "weekly", "Renews time-stamps and hash trees before what they rest on ends.",
        "0 5 * * 0", 1, ("renewal",), parameters={"margin_days": 180},
    ),
)  # fmt: skip


def apply(settings: Settings) -> list[str]:
    """Create or update every deployment on the Prefect server of the environment; gives their names.

    The work pool is made where it is absent, of processes; one that is there stays what it is (Docker, Kubernetes).
    """
    _make_pool()
    applied = []
    for definition in DEFINITIONS:
        if feed := definition.parameters.get("feed"):
            # The door of each feed is open from the start: an empty one is a visit with nothing to take.
            (settings.home / "inbox" / feed).mkdir(parents=True, exist_ok=True)
        schedule = Cron(definition.cron, timezone=settings.time_zone) if definition.cron else None
        deployment: RunnerDeployment = definition.flow.to_deployment(  # type: ignore[assignment] # sync_compatible
            definition.name,
            schedule=schedule,
            description=definition.description,
            tags=list(definition.tags),
            parameters=definition.parameters,
            concurrency_limit=ConcurrencyLimitConfig(
                limit=definition.limit, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
            ),
            work_pool_name=WORK_POOL,
            work_queue_name=definition.queue,
            # By module path: a file path would put flows/ first on sys.path and shadow the storage package.
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        deployment.apply()
        applied.append(f"{definition.flow.name}/{definition.name}")
    return applied


def _make_pool() -> None:
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
