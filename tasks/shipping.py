"""Step: ship legal traces to the supervision over HTTP(S)."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from prefect import task
from prefect.artifacts import create_markdown_artifact

from minutier.errors import ServiceUnavailableError
from storage.bootstrap import current_archive
from storage.challenges import meet_challenge
from storage.journal_stamps import JournalStamp, stamp_journal, tell_last
from storage.traces import Answer, Shipped, load_witness, ship
from tasks.prefect_step import may_pass_later

_SECONDS = 60.0
_LARGEST_ANSWER = 256 * 1024


@dataclass(frozen=True, slots=True)
class HttpWire:
    """The way to the supervision at an address; no redirection is followed."""

    url: str

    def send(self, data: bytes) -> Answer:
        """Post one bundle. ServiceUnavailableError (`SUPERVISION_DOWN`) when there is no answer, or one too long."""
        return self._exchange("POST", "bundles", data)

    def challenge(self) -> Answer:
        """Ask for the challenge that stands: status 204 when there is none. Errors as `send`."""
        return self._exchange("GET", "challenge", None)

    def reply(self, data: bytes) -> Answer:
        """Post the answer to a challenge. Errors as `send`."""
        return self._exchange("POST", "answers", data)

    def stamp(self, data: bytes) -> Answer:
        """Post a time-stamp of the journal. Errors as `send`."""
        return self._exchange("POST", "stamps", data)

    def _exchange(self, method: str, path: str, data: bytes | None) -> Answer:
        try:
            with httpx.stream(method, f"{self.url.rstrip('/')}/{path}", content=data, timeout=_SECONDS) as answer:
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > _LARGEST_ANSWER:
                        raise _down("its answer is too long")
                return Answer(answer.status_code, body)
        except httpx.HTTPError as error:
            raise _down(type(error).__name__) from error


def _down(why: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "SUPERVISION_DOWN",
        f"The supervision does not answer ({why}).",
        remedy="Nothing is lost: what was not acknowledged is sent again. Look at the network and at its host.",
    )


@task(
    name="time-stamp the journal",
    retries=3,
    retry_delay_seconds=[5, 30, 120],
    retry_condition_fn=may_pass_later,
    persist_result=False,
)
def stamp_day() -> JournalStamp | None:
    """Have the journal time-stamped, unless it was today."""
    return stamp_journal(current_archive())


@task(
    name="ship legal traces",
    retries=3,
    retry_delay_seconds=[5, 30, 120],
    retry_condition_fn=may_pass_later,
    persist_result=False,
)
def ship_traces(kind: str) -> Shipped:
    """Ship all that the supervision does not hold yet."""
    archive = current_archive()
    witness = load_witness(archive)
    return ship(archive, HttpWire(archive.settings.supervision_url or ""), witness, kind)


@task(
    name="tell the time-stamp",
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=may_pass_later,
    persist_result=False,
)
def tell_stamp() -> int | None:
    """Tell the supervision the last time-stamp of the journal; None where it looks at none."""
    archive = current_archive()
    return tell_last(archive, HttpWire(archive.settings.supervision_url or ""))


@task(
    name="answer the challenge",
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=may_pass_later,
    persist_result=False,
)
def answer_supervision() -> bool:
    """Answer the challenge of the supervision, if one stands; says whether there was one."""
    archive = current_archive()
    return meet_challenge(archive, HttpWire(archive.settings.supervision_url or "")) is not None


@task(name="publish the report", persist_result=False)
def publish_shipping(report: Shipped, *, challenged: bool) -> None:
    """Publish what was shipped, and until where the supervision holds the journal."""
    cosigned = f"{report.cosigned_at:%Y-%m-%d %H:%M:%S} UTC" if report.cosigned_at else "–"
    rows = (
        ("bundles", report.bundles),
        ("journal entries", report.entries),
        ("the supervision holds up to", report.last),
    )
    lines = ["| what | figure |", "|---|---:|", *(f"| {name} | {figure} |" for name, figure in rows)]
    lines += [
        f"| cosigned | {cosigned} |",
        f"| a document was asked for, and shown | {'yes' if challenged else 'no'} |",
    ]
    create_markdown_artifact(key="traces", markdown="\n".join(lines), description="Legal traces")
