"""Commands on the instance: up, down, status, doctor, demo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli import app, running_archive, say, settings, show, table
from minutier.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.settings import Settings


@app.command()
def up() -> None:
    """Start the embedded services and deploy the flows."""
    found = start(settings())
    show([item.as_dict() for item in found], _status_table(found))


def start(chosen: Settings) -> list[Any]:
    """Bring the services up, open the archive once (which makes its schema), deploy the flows; gives the status."""
    from deployments import instance

    found = instance.up(chosen, say)
    with running_archive() as archive:
        from deployments import automations, definitions

        for name in definitions.apply(chosen):
            say(f"deployed {name}")
        for name in automations.apply(chosen):
            say(f"automation {name}")
        _try_the_locks(archive)
    return found


def _try_the_locks(archive: Archive) -> None:
    """Run the canary on every replica at the start: PolicyRefusedError (`STORE_DOES_NOT_LOCK`) when one fails it.

    One that does not answer is said and waited for: deposits wait too.
    """
    from storage.bootstrap import probe_store

    for store in archive.replicas:
        try:
            report = probe_store(archive, store.name)
        except ServiceUnavailableError as error:
            say(str(error))
            continue
        for warning in report.warnings:
            say(f"warning: {warning}")
        report.require()


@app.command()
def down() -> None:
    """Stop the embedded services; nothing is lost."""
    from deployments import instance

    instance.down(settings(), say)
    show({"stopped": True}, "Stopped.")


@app.command()
def status() -> int:
    """Show each service, its address and its health, then what of the archive is still to be verified."""
    from deployments import instance, recovery

    found = instance.status(settings())
    healthy = bool(found) and all(item.health == "healthy" for item in found)
    if waiting := instance.waiting(settings()):
        say(waiting)
    if kept := recovery.summary(settings()):
        say(kept)
    value: list[dict[str, Any]] = [item.as_dict() for item in found]
    if (debt := instance.verification(settings())) is not None:
        line = instance.ServiceStatus("verification", "", None, "late" if debt.late else "healthy", debt.sentence())
        found.append(line)
        value.append(line.as_dict() | {"debt": debt.as_dict()})
    show(value, _status_table(found))
    return 0 if healthy else 3


@app.command()
def doctor() -> int:
    """Check versions, settings, clocks, and what is missing for which feature."""
    from deployments.doctor import doctor as examine

    found = examine(settings())
    rows: list[tuple[object, ...]] = [(item.name, item.level, item.detail, item.remedy) for item in found]
    show([item.as_dict() for item in found], table(("what", "state", "detail", "what to do"), rows))
    return 1 if any(item.level == "missing" for item in found) else 0


@app.command()
def demo(once: Annotated[bool, typer.Option("--once", help="stop everything at the end")] = False) -> int:
    """Show the whole life of the sample feeds on the embedded services."""
    from deployments import instance
    from deployments.demo import run_demo

    chosen = settings()
    try:
        found = start(chosen)
        with running_archive() as archive:
            report = run_demo(archive, say)
        address = next((item.address for item in found if item.name == "prefect"), "")
        show(report.as_dict() | {"prefect_ui": address}, report.words(address, left_up=not once))
    finally:
        if once:
            instance.down(chosen, say)
    if not report.ok:
        say("A check of the demo failed: read the table above.")
    return 0 if report.ok else 1


def _status_table(found: list[Any]) -> str:
    rows: list[tuple[object, ...]] = [(item.name, item.health, item.address, item.pid, item.detail) for item in found]
    return table(("service", "health", "address", "pid", "detail"), rows)
