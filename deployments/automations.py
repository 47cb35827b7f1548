"""Automations of Prefect as data, applied idempotently: what died is marked, what failed, is late or absent is told.

They watch from inside; the supervision watches from outside, and is who speaks when all of this machine is silent.
Alerts go to the address in `alert_webhook_file`; without it nobody is told, and none are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from prefect import get_client
from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from pydantic import SecretStr

from minutier.errors import BadInputError
from storage.settings import Settings

BLOCK = "minutier-alerts"
PREFIX = "minutier: "
_RUNS = "prefect.flow-run.*"
_SILENT_RUN = timedelta(minutes=5)
EXPECTED: Mapping[str, timedelta] = {
    "integrity/nightly": timedelta(hours=26),
    "backup/nightly": timedelta(hours=26),
    "traces/nightly": timedelta(hours=26),
    "morning/daily": timedelta(hours=26),
    "traces/heartbeat": timedelta(minutes=45),
    "resume/waiting": timedelta(minutes=45),
}
"""Deployments whose runs are to end well within so long: their absence is told."""
_PAYLOAD = (
    '{"automation": "{{ automation.name }}", "event": "{{ event.event }}",'
    ' "resource": "{{ event.resource.id }}", "at": "{{ event.occurred }}"}'
)
"""What an alert says: names of automations, events and runs' numbers. No name of a run: it may name a dossier."""


def wanted(webhook: Any | None, deployments: Mapping[str, str]) -> Iterator[AutomationCore]:
    """Give the automations; `webhook` is the id of the block to call, `deployments` the id of each by name."""
    yield AutomationCore(
        name=f"{PREFIX}a run whose process died",
        description="A run that was killed says nothing more: it is marked as crashed, and may be run again.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            # Any sign of life, or any end, under whatever name.
            expect={_RUNS},
            match={"prefect.resource.id": _RUNS},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            within=_SILENT_RUN,
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                message="No sign of life for five minutes.",
                force=False,
            )
        ],
    )
    if webhook is None:
        return
    call = CallWebhook(block_document_id=webhook, payload=_PAYLOAD)
    yield AutomationCore(
        name=f"{PREFIX}a run failed",
        description="A run ended failed or crashed, under whatever name.",
        trigger=EventTrigger(
            expect={_RUNS},
            match={"prefect.resource.id": _RUNS, "prefect.state-type": ["FAILED", "CRASHED"]},
            posture=Posture.Reactive,
        ),
        actions=[call],
    )
    yield AutomationCore(
        name=f"{PREFIX}a run is late",
        description="A run waits for a worker that does not take it.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Late"}, match={"prefect.resource.id": _RUNS}, posture=Posture.Reactive
        ),
        actions=[call],
    )
    for name, within in EXPECTED.items():
        related: dict[str, str | list[str]] = {
            "prefect.resource.role": "deployment",
            "prefect.resource.id": f"prefect.deployment.{deployments[name]}",
        }
        yield AutomationCore(
            name=f"{PREFIX}{name} did not come",
            description=f"No run of {name} ended well for {within.total_seconds() / 3600:g} hours.",
            trigger=EventTrigger(
                expect={_RUNS},
                match={"prefect.resource.id": _RUNS, "prefect.state-type": "COMPLETED"},
                match_related=related,
                posture=Posture.Proactive,
                within=within,
            ),
            actions=[call],
        )


def apply(settings: Settings) -> list[str]:
    """Create, update or remove our automations on the Prefect server of the environment; gives their names.

    Raises BadInputError (`BAD_WEBHOOK`) when the file holds no address.
    """
    with get_client(sync_client=True) as client:
        deployments = {name: str(client.read_deployment_by_name(name).id) for name in EXPECTED}
        webhook = _block(settings)
        made = list(wanted(webhook, deployments))
        for each in made:
            _put(client, each)
        kept = {each.name for each in made}
        for found in client.read_automations():
            if found.name.startswith(PREFIX) and found.name not in kept:
                client.delete_automation(found.id)
    return [each.name for each in made]


def _block(settings: Settings) -> Any | None:
    """Keep the address of alerts in the block that Prefect calls; gives its id, None where none is set."""
    if settings.alert_webhook_file is None:
        return None
    try:
        url = settings.alert_webhook_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _bad(f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _bad("is not text") from error
    if not url.startswith(("http://", "https://")) or any(each.isspace() for each in url):
        raise _bad("does not hold one address that begins with http:// or https://")
    return Webhook(method="POST", url=SecretStr(url)).save(BLOCK, overwrite=True)


def _bad(why: str) -> BadInputError:
    return BadInputError("BAD_WEBHOOK", f"The file of alert_webhook_file {why}.", remedy="Put the address in it.")


def _put(client: SyncPrefectClient, each: AutomationCore) -> None:
    known = client.read_automations_by_name(each.name)
    if not known:
        client.create_automation(each)
    elif _told(known[0]) != _told(each):
        client.update_automation(known[0].id, each)


def _told(each: AutomationCore | Automation) -> dict[str, Any]:
    """Give what an automation says, without what the server adds."""
    return AutomationCore.model_validate(each.model_dump(mode="json", exclude={"id"})).model_dump(mode="json")
