"""How a step appears to Prefect: names that people understand, retries only for what may pass, no values kept.

Prefect shows and repeats; whether a step is done is decided by the catalogue alone, so a repeated step is harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict

from minutier.errors import MinutierError
from storage.catalogue import Deposit

_P = ParamSpec("_P")
_Result = TypeVar("_Result")
_DELAYS: list[float] = [1, 5, 15]


class Ticket(BaseModel):
    """What travels between steps: the archive_id and the reference that run names show. No content, no person."""

    model_config = ConfigDict(frozen=True)

    archive_id: str
    reference: str


def ticket_of(deposit: Deposit) -> Ticket:
    """Give the ticket of a deposit."""
    return Ticket(archive_id=deposit.archive_id, reference=deposit.reference)


async def may_pass_later(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Repeat only what a repetition can mend: a service that was down, never a refusal or an altered byte."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, MinutierError) and error.retryable


def retried(name: str, run_name: str | None = None) -> Callable[[Callable[_P, _Result]], Task[_P, _Result]]:
    """Make a Prefect task called `name`, whose runs are called `run_name`, with retries.

    Prefect cannot stop a thread: the time limits are where they bind, on the isolated child, the calls to stores,
    authority and database, and on the run as a whole.
    """
    return task(
        name=name,
        task_run_name=run_name,
        retries=len(_DELAYS),
        retry_delay_seconds=_DELAYS,
        retry_condition_fn=may_pass_later,
        persist_result=False,
    )


def step(name: str) -> Callable[[Callable[..., _Result]], Task[..., _Result]]:
    """Make a retried task of a step on one document, given as `ticket`."""
    return retried(name, f"{name} · {{ticket.reference}}")


def batch_step(name: str) -> Callable[[Callable[_P, _Result]], Task[_P, _Result]]:
    """Make a retried task of a step on all the documents of a batch, called `title`."""
    return retried(name, f"{name} · {{title}}")


def outcome(ticket: Ticket, deposit: Deposit) -> Ticket | State[Any]:
    """Give what a step returns: the ticket, or for a refused document a completed state that says so."""
    if deposit.state == "REFUSED":
        return Completed(name="Refused", message=deposit.refusal_code, data=ticket)
    return ticket
