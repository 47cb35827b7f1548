"""Steps: look at what the night left, and tell it: on the Prefect page, as a file, by mail."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from prefect import task
from prefect.artifacts import create_markdown_artifact

from minutier.errors import ServiceUnavailableError
from minutier.events import format_time
from storage.bootstrap import current_archive
from tasks.morning import MorningReport, as_markdown, as_text, morning_report
from tasks.night_files import keep_report
from tasks.prefect_step import may_pass_later

_SECONDS = 20
_SENDER = "minutier@localhost"


@task(name="look at everything", persist_result=False)
def look_at_everything() -> MorningReport:
    """Gather what the runs of the night recorded, and what is missing."""
    return morning_report(current_archive())


@task(name="publish the report", persist_result=False)
def publish_morning(report: MorningReport) -> None:
    """Publish the report on the Prefect page and as files of the day."""
    page = as_markdown(report)
    keep_report(current_archive(), report.at, "morning", report.as_dict(), {"md": page})
    create_markdown_artifact(key="morning", markdown=page, description="Morning report")


@task(
    name="mail the report",
    retries=3,
    retry_delay_seconds=[10, 60, 300],
    retry_condition_fn=may_pass_later,
    persist_result=False,
)
def mail_morning(report: MorningReport) -> bool:
    """Mail the report where the settings say to whom; says whether it went."""
    target = current_archive().settings.report_mail
    if target is None:
        return False
    send_mail(target, f"Minutier: {report.verdict} - {report.headline()}", as_text(report), format_time(report.at))
    return True


def send_mail(target: str, subject: str, text: str, identifier: str) -> None:
    """Hand a mail to the relay of a target; ServiceUnavailableError (`MAIL_DOWN`) when it does not take it."""
    parts = urlsplit(target)
    message = EmailMessage()
    message["From"], message["To"] = _SENDER, unquote(parts.path).lstrip("/")
    message["Subject"], message["Message-ID"] = subject, f"<minutier-{identifier.replace(':', '')}@localhost>"
    message.set_content(text)
    try:
        with smtplib.SMTP(parts.hostname or "", parts.port or 25, timeout=_SECONDS) as server:
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise ServiceUnavailableError(
            "MAIL_DOWN",
            f"The mail relay {parts.hostname} does not take the report ({type(error).__name__}).",
            remedy="The report is on the Prefect page and in HOME/reports. Look at report_mail, and at the relay.",
        ) from error
