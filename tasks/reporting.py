"""What the Prefect pages show: tables of references and states, without any personal value."""

from __future__ import annotations

from collections import Counter

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from minutier.events import format_time
from storage import catalogue
from storage.bootstrap import current_archive, require_probed
from storage.production import require_production
from storage.sweep import SweepReport
from storage.waiting import code, waits
from tasks.night_files import keep_report
from tasks.prefect_step import Ticket

_WORDS = {"ARCHIVED": "archived", "REFUSED": "refused", "ABANDONED": "abandoned"}


@task(name="check that the stores lock", retries=2, retry_delay_seconds=5, persist_result=False)
def check_stores() -> None:
    """Refuse to start on a replica that does not really lock (the canary, once a day), or on a stand-in for trials."""
    archive = current_archive()
    require_production(archive.settings)
    require_probed(archive)


@task(name="publish the table", persist_result=False)
def publish_deposits(title: str, tickets: list[Ticket]) -> dict[str, int]:
    """Publish one table for the batch, straight from the catalogue; gives the number of documents by state."""
    archive = current_archive()
    with archive.database.transaction() as connection:
        deposits = [catalogue.get(connection, ticket.archive_id) for ticket in tickets]
        waiting = waits(connection)
    create_table_artifact(
        key="deposits",
        table=[
            {
                "reference": deposit.reference,
                "state": _WORDS.get(deposit.state, f"on its way ({deposit.state.lower()})"),
                "reason": deposit.refusal_code or code(waiting, deposit.archive_id),
                "rendition": (deposit.rendition or {}).get("verdict", ""),
                "archive_id": deposit.archive_id,
            }
            for deposit in deposits
        ],
        description=f"## {title}\nOne line per document. “archived” means: locked on every replica, with its proof.",
    )
    return dict(Counter(deposit.state for deposit in deposits))


@task(name="publish the report", persist_result=False)
def publish_sweep(report: SweepReport) -> None:
    """Publish what a sweep found, in words and figures, on the Prefect page and as files."""
    page = sweep_page(report)
    keep_report(current_archive(), report.ended_at, "sweep", report.as_dict(), {"md": page})
    create_markdown_artifact(key="sweep", markdown=page, description="Integrity sweep")
    if report.findings:
        create_table_artifact(
            key="sweep-findings",
            table=[
                {
                    "archive_id": item.archive_id,
                    "object": item.role,
                    "replica": item.replica,
                    "found": item.outcome,
                    "detail": item.detail,
                }
                for item in report.findings
            ],
            description="Copies that were not good",
        )


def sweep_page(report: SweepReport) -> str:
    """Write the report of a sweep: the verdict, its figures, the debt of verification, what else is wrong."""
    words = {
        "clean": "Every copy that was read is exactly what was stored.",
        "healed": "Damaged copies were found and healed from good ones.",
        "alarm": "ALARM: something is damaged, out of reach or was tampered with, and could not be healed. Act now.",
    }
    debt = report.debt
    figures: list[tuple[str, object]] = [
        ("copies read", report.copies),
        ("megabytes read", f"{report.bytes_read / 1e6:.1f}"),
        ("good", report.good),
        ("healed", report.healed),
        ("not healed", report.unhealed),
        ("out of reach", report.unreachable),
        ("still to read", report.remaining),
        ("proofs judged", report.proofs),
        ("proofs that do not stand", len(report.proofs_bad)),
        ("strays deleted after their short lock", report.strays),
        ("journal entries recomputed", report.journal_entries),
        ("**debt**: new copies not read within a day", debt.new),
        ("**debt**: copies not read for 30 days", debt.old),
        ("**debt**: megabytes of these", f"{debt.late_bytes / 1e6:.1f}"),
        ("**debt**: proofs not judged in time", debt.proofs),
        ("everything was verified since", format_time(debt.covered_since) if debt.covered_since else "–"),
    ]
    lines = [f"## {words[report.verdict]}", ""]
    if report.resumed:
        lines += ["The sweep went on where an earlier one was stopped.", ""]
    lines += ["| what | figure |", "|---|---:|", *(f"| {name} | {figure} |" for name, figure in figures)]
    if report.proofs_bad:
        lines += ["", "### Proofs that do not stand", ""]
        lines += [f"- {archive_id}: {code}" for archive_id, code in report.proofs_bad]
    if report.stores:
        lines += ["", "### What was seen on the stores", ""]
        lines += [
            f"- {'ALARM ' if each.alarm else ''}{each.replica}, {each.kind}, {each.where}: {each.detail}"
            for each in report.stores
        ]
    return "\n".join(lines)
