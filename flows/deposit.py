"""The deposit procedure: one page that reads like what happens to a document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from minutier.errors import MinutierError, ServiceUnavailableError
from tasks.keeping import keep_segments
from tasks.prefect_step import Ticket
from tasks.rendering import render_document
from tasks.reporting import check_stores, publish_deposits
from tasks.screening import screen_document
from tasks.sealing import seal_document, stamp_documents, with_token
from tasks.storing import attest_documents, commit_documents, lock_document, store_document

# Four documents at once: two cores work while two wait for a disk or a store.
_FOUR_AT_ONCE = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=4))


@flow(
    name="deposit",
    flow_run_name="{title}",
    task_runner=_FOUR_AT_ONCE,
    timeout_seconds=3600,
    persist_result=False,
)
def deposit_documents(title: str, tickets: list[Ticket]) -> State[Any]:
    """Carry received documents to their end: archived, or refused with a reason.

    Every step starts from the state in the catalogue, so a run that failed or died is completed by running it again.
    """
    check_stores()

    screened = screen_document.map(tickets)
    rendered = render_document.map(screened)
    sealed = seal_document.map(rendered)

    # With no token, what is sealed waits; what had one from an earlier run goes on.
    ready = arrived(sealed)
    stamping: State[Any] = stamp_documents(title, ready, return_state=True)

    stored = store_document.map(with_token(ready))
    placed = arrived(stored)
    committing: State[Any] = commit_documents(title, placed, return_state=True)
    locked = lock_document.map(placed)
    in_place = arrived(locked)
    # Told "archived" only once the stores alone could give it all back, whatever becomes of the database.
    keeping: State[Any] = keep_segments(return_state=True)
    attesting: State[Any] = attest_documents(title, in_place if keeping.is_completed() else [], return_state=True)

    trouble = first_failure(screened, rendered, sealed, stored, locked) or expected(committing, keeping, attesting)
    return final_state(publish_deposits(title, tickets), trouble, no_token=error_of(stamping))


def arrived(futures: Iterable[PrefectFuture[Any]]) -> list[Ticket]:
    """Wait for a step on every document; give the tickets of those for which it succeeded."""
    futures = list(futures)
    wait(futures)
    results = (future.result() for future in futures if future.state.is_completed())
    return [result for result in results if isinstance(result, Ticket)]


def first_failure(*steps: Iterable[PrefectFuture[Any]]) -> MinutierError | None:
    """Give the first expected error that stopped a document, None when every step ended well."""
    # A step whose document was stopped before it has no result to ask for: it never ran.
    failed = (future for step in steps for future in step if future.state.is_failed())
    results = (future.result(raise_on_failure=False) for future in failed)
    return next((result for result in results if isinstance(result, MinutierError)), None)


def error_of(state: State[Any]) -> BaseException | None:
    """Give what a step failed with, None when it did not."""
    result = None if state.is_completed() else state.result(raise_on_failure=False)
    return result if isinstance(result, BaseException) else None


def expected(*steps: State[Any]) -> MinutierError | None:
    """Give the first expected error that a step on the whole batch ended with, None when there is none."""
    errors = (error_of(step) for step in steps)
    return next((error for error in errors if isinstance(error, MinutierError)), None)


def final_state(
    counts: dict[str, int], trouble: MinutierError | None, *, no_token: BaseException | None = None
) -> State[Any]:
    """Say how the run ended: completed when every document reached an end, failed when one waits for another run."""
    archived, refused = counts.get("ARCHIVED", 0), counts.get("REFUSED", 0)
    abandoned = counts.get("ABANDONED", 0)
    waiting = sum(counts.values()) - archived - refused - abandoned
    sentence = f"{archived} archived, {refused} refused, {waiting} waiting"
    if abandoned:
        sentence += f", {abandoned} abandoned"
    if waiting and isinstance(no_token, ServiceUnavailableError) and no_token.code.startswith(("TSA_", "TOKEN_")):
        # A name of its own on the pages. The error goes with it, for the command line.
        message = f"{sentence} for a time-stamp, not archived yet. {no_token.message} It is taken up again by itself."
        return Failed(name="WaitingForTimestamp", message=message, data=no_token)
    if waiting and no_token is not None:
        raise no_token
    if waiting and trouble is not None:
        raise trouble
    if waiting:
        return Failed(message=f"{sentence}: nothing is lost, run it again")
    if refused:
        return Completed(name="Refused" if not archived else "PartlyRefused", message=sentence)
    if abandoned and not archived:
        return Completed(name="Abandoned", message=sentence)
    return Completed(name="Archived", message=sentence)
