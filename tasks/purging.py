"""Steps of the purge: end destructions that had begun, count what may go, destroy what another person approved."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from prefect import get_client, task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from minutier.events import format_time
from storage import acts, disposal
from storage.bootstrap import current_archive
from storage.disposal import Outcome


@task(name="go on with destructions that had begun", persist_result=False)
def go_on_with_begun() -> list[Outcome]:
    """End what an earlier run could not; gives what became of each document."""
    return disposal.go_on_all(current_archive())


@task(name="count what may go", persist_result=False)
def count_due() -> dict[str, int]:
    """Count the documents that may be destroyed now, by class."""
    archive = current_archive()
    with archive.database.transaction() as connection:
        found = disposal.due(archive, connection)
    return dict(sorted(Counter(each["class"] for each in found).items()))


@task(name="show the list", persist_result=False)
def publish_list(list_id: str) -> None:
    """Publish what a list names: numbers, classes, terms; neither what the documents say nor who asks."""
    found = acts.get(current_archive(), list_id)
    lines = [
        f"## {len(found.value['documents'])} documents may go",
        "",
        f"List {list_id}, sealed {format_time(found.at)}.",
    ]
    lines += ["", "Resume the run to decide, in the form that opens. Nothing goes before.", ""]
    lines += ["| archive_id | class | kept until | visa |", "|---|---|---|---|"]
    lines += [
        f"| {each['archive_id']} | {each['class']} | {each['retained_until']} | {each['visa']} |"
        for each in found.value["documents"]
    ]
    create_markdown_artifact(key="disposal-list", markdown="\n".join(lines), description="What may be destroyed")


def approve_list(list_id: str, name: str, reason: str, visa: str) -> None:
    """Approve a list in the archive's own register. No task: Prefect would keep what it is called with."""
    disposal.approve(current_archive(), list_id, name, reason, visa.strip())


def forget_input() -> None:
    """Take what was typed into the form of this run out of Prefect's database: it names a person."""
    run_id = flow_run.id
    if run_id is None:
        return
    with get_client(sync_client=True) as client:
        for each in client.filter_flow_run_input(UUID(run_id), key_prefix="", limit=200, exclude_keys=set()):
            client.delete_flow_run_input(UUID(run_id), key=each.key)


@task(name="destroy what was approved", persist_result=False)
def destroy_listed(list_id: str) -> list[Outcome]:
    """Destroy the documents of an approved list; gives what became of each."""
    logger = get_run_logger()
    return disposal.execute(
        current_archive(), list_id, lambda done, of: logger.info("%d of %d documents", done, of)
    )  # fmt: skip


@task(name="publish the report", persist_result=False)
def publish_purge(report: dict[str, Any]) -> None:
    """Publish what went, what stayed and why, and what may go once two persons agree."""
    rows = [("destroyed", report["destroyed"])]
    rows += [(f"left: {code}", count) for code, count in sorted(report["left"].items())]
    rows += [(f"may go now, of class {name}", count) for name, count in report.get("due", {}).items()]
    lines = ["## Purge", "", "| what | figure |", "|---|---:|", *(f"| {name} | {count} |" for name, count in rows)]
    if report.get("due"):
        lines += ["", "Nothing of it goes by itself: `minutier purge` makes the list, another person approves it."]
    create_markdown_artifact(key="purge", markdown="\n".join(lines), description="Purge")


def counted(outcomes: list[Outcome]) -> dict[str, Any]:
    """Give how many documents went, and how many were left, by the code of what stood against it."""
    codes = Counter(each.outcome for each in outcomes)
    return {"destroyed": codes.pop("destroyed", 0), "left": dict(codes)}
