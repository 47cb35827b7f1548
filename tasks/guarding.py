"""Steps: back up the embedded database, rehearse its restore and the exit, and show what was found."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from storage.bootstrap import current_archive
from tasks.backups import BackupReport, back_up
from tasks.drill import DrillReport, drill
from tasks.leaving import ExitReport, rehearse_exit
from tasks.prefect_step import may_pass_later


@task(
    name="back up the database",
    retries=2,
    retry_delay_seconds=[10, 60],
    retry_condition_fn=may_pass_later,
    timeout_seconds=3 * 3600,
    persist_result=False,
)
def back_up_database(*, base: bool) -> BackupReport | None:
    """Take a base backup, remove what is too old, copy elsewhere what is new; None for a server of your own."""
    archive = current_archive()
    with archive.database.exclusive("backup", wait=True):  # one clears away what another is taking
        return back_up(archive.settings, archive.clock(), base=base)


@task(name="restore the last backup aside", timeout_seconds=3 * 3600, persist_result=False)
def rehearse_restore(documents: int) -> DrillReport | None:
    """Restore into a scratch cluster and compare; None for a server of your own."""
    archive = current_archive()
    with archive.database.exclusive("drill"):  # there is one place to restore into
        return drill(archive, documents=documents)


@task(name="publish the drill", persist_result=False)
def publish_drill(report: DrillReport) -> None:
    """Publish what a drill found, in words and figures."""
    words = {
        "green": "The last backup was restored, and is what it must be.",
        "red": "ALARM: the last backup cannot be relied on. Act now.",
    }
    figures = report.as_dict() | {"bad": len(report.bad)}
    rows = [f"| {name} | {figures[name]} |" for name in figures if name != "trouble"]
    lines = [f"## {words[report.verdict]}", "", report.trouble, "", "| what | figure |", "|---|---:|", *rows]
    create_markdown_artifact(key="restore-drill", markdown="\n".join(lines), description="Restore drill")


@task(name="let documents leave and come in elsewhere", timeout_seconds=3 * 3600, persist_result=False)
def leave_and_come_in(documents: int) -> ExitReport:
    """Restitute some documents, verify them as a stranger would, and take them in again in an empty archive."""
    return rehearse_exit(current_archive(), documents=documents)


@task(name="publish the exit rehearsal", persist_result=False)
def publish_exit(report: ExitReport) -> None:
    """Publish what an exit rehearsal found, in words and figures; documents are named by their numbers alone."""
    words = {
        "green": "The archive can be left: what went out came in elsewhere, bit for bit, and its proofs hold.",
        "red": "ALARM: what left the archive does not hold. Act now.",
        "empty": "There is no archived document yet.",
    }
    figures = report.as_dict() | {"bad": len(report.bad)}
    rows = [f"| {name} | {figure} |" for name, figure in figures.items()]
    lines = [f"## {words[report.verdict]}", "", "| what | figure |", "|---|---:|", *rows, ""]
    lines += [f"- {each}" for each in report.bad]
    create_markdown_artifact(key="exit-rehearsal", markdown="\n".join(lines), description="Exit rehearsal")
