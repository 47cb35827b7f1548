"""Steps of the purge: end destructions that had begun, count what may go, destroy what another person approved."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from storage import disposal
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
