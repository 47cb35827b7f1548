"""Notices: an alarm told once to each target, by mail (`smtp://HOST:PORT/TO@ADDRESS`) or webhook (`http(s)://…`).

A target that does not answer is tried again, later and later, for three days. No document and no name is in a notice.
"""

from __future__ import annotations

import json
import smtplib
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from minutier.errors import BadInputError
from minutier.events import format_time
from supervision.register import Alarm
from supervision.watch import LATE, SILENT, UNANSWERED, UNSTAMPED, Watch

_SECONDS = 10
_FIRST, _LONGEST = timedelta(minutes=1), timedelta(hours=1)
_SENDER = "supervision@localhost"
REMEDIES = {
    SILENT: (
        "Look at the archive's host, its network, and its worker: `minutier status`, then `minutier ship`.",
        "Vérifier la machine de l’archive, son réseau et son worker : `minutier status`, puis `minutier ship`.",
    ),
    LATE: (
        "Look at the run traces/nightly on the archive's Prefect pages, then `minutier ship --nightly`.",
        "Vérifier l’exécution traces/nightly sur les pages Prefect de l’archive, puis `minutier ship --nightly`.",
    ),
    UNANSWERED: (
        "Look at the stores of the archive: `minutier doctor`, `minutier store probe`, then `minutier ship`.",
        "Vérifier les stockages de l’archive : `minutier doctor`, `minutier store probe`, puis `minutier ship`.",
    ),
    UNSTAMPED: (
        "Look at the time-stamp authority, and at the run traces/nightly: `minutier ship --nightly`.",
        "Vérifier l’autorité d’horodatage et l’exécution traces/nightly : `minutier ship --nightly`.",
    ),
}
DOCUMENT = (
    "A copy is gone or is not what it was. Keep both replicas as they are; `minutier check` it, then `minutier sweep`.",
    "Une copie a disparu ou n’est plus la même. Laisser les deux réplicas en l’état ; `minutier check`, puis"
    " `minutier sweep`.",
)
TAMPERING = (
    "The history that was told does not hold. Keep archive and host as they are, and have the journal examined.",
    "L’histoire racontée ne tient pas. Laisser l’archive et cette machine en l’état, et faire examiner le journal.",
)


def remedy(code: str) -> tuple[str, str]:
    """Give what to do about an alarm, in English and in French."""
    return REMEDIES.get(code, DOCUMENT if code.startswith("CHALLENGE_") else TAMPERING)


def check_target(target: str) -> str:
    """Give a target back; BadInputError (`BAD_TARGET`) when it is neither mail nor webhook."""
    parts = urlsplit(target)
    mail = parts.scheme == "smtp" and parts.hostname and "@" in unquote(parts.path)
    if not mail and not (parts.scheme in ("http", "https") and parts.hostname):
        raise BadInputError(
            "BAD_TARGET", f"{target!r} is no target.", remedy="Write smtp://HOST:PORT/TO@ADDRESS or https://…"
        )
    return target


def send_due(watch: Watch, send: Callable[[str, Alarm], None] | None = None) -> int:
    """Send the notices that are due; gives how many went. What fails is tried again later."""
    sent, now = 0, watch.clock()
    for notice, alarm in watch.register.notices_due(now):
        try:
            (send or deliver)(notice.target, alarm)
        except (OSError, smtplib.SMTPException) as error:
            wait = min(_FIRST * 2**notice.tries, _LONGEST)
            watch.register.noticed(notice, now, trouble=type(error).__name__, again=now + wait)
        else:
            watch.register.noticed(notice, now)
            sent += 1
    return sent


def deliver(target: str, alarm: Alarm) -> None:
    """Send one notice; OSError or SMTPException when it was not taken."""
    if target.startswith("smtp://"):
        _mail(target, alarm)
    else:
        _post(target, alarm)


def _mail(target: str, alarm: Alarm) -> None:
    parts, (english, french) = urlsplit(target), remedy(alarm.code)
    message = EmailMessage()
    message["From"], message["To"] = _SENDER, unquote(parts.path).lstrip("/")
    message["Subject"] = f"Minutier: {alarm.code} ({alarm.archive})"
    message["Message-ID"] = f"<minutier-alarm-{alarm.id}@{alarm.archive}>"
    message.set_content(
        f"{alarm.archive} · {alarm.code} · {format_time(alarm.opened_at)}\n\n{alarm.message}\n\n{english}\n\n{french}\n"
    )
    with smtplib.SMTP(parts.hostname or "", parts.port or 25, timeout=_SECONDS) as server:
        server.send_message(message)


def _post(target: str, alarm: Alarm) -> None:
    english, french = remedy(alarm.code)
    body = {
        "id": alarm.id,
        "archive": alarm.archive,
        "code": alarm.code,
        "message": alarm.message,
        "opened_at": format_time(alarm.opened_at),
        "remedy": english,
        "remede": french,
    }
    request = urllib.request.Request(  # noqa: S310 - check_target lets http and https through alone
        target, json.dumps(body, ensure_ascii=False).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
        pass
