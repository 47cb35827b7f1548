"""The command that ships legal traces."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from deployments.cli import app, running_archive, say, show, table


@app.command("ship")
def ship_now(
    nightly: Annotated[bool, typer.Option("--nightly", help="as the bundle of the night")] = False,
) -> None:
    """Ship legal traces to the supervision now; after a cut, all that it has missed."""
    from deployments.commands_documents import failure
    from storage.traces import Shipped, load_witness, standing

    with running_archive() as archive:
        # Imported here: Prefect reads its settings once, when it is first imported, and they are those of the instance.
        from flows.traces import ship_journal

        load_witness(archive)
        say("ship: sending what the supervision does not hold yet")
        state = ship_journal("nightly" if nightly else "heartbeat", return_state=True)
        report = state.result(raise_on_failure=False)
        if not isinstance(report, Shipped):
            raise failure(state)
        with archive.database.transaction() as connection:
            found = standing(connection)
    rows: list[tuple[object, ...]] = [
        ("bundles shipped", report.bundles),
        ("journal entries shipped", report.entries),
        ("the supervision holds up to entry", report.last),
        ("entries that wait", found["waiting"]),
        ("cosigned", report.cosigned_at),
    ]
    show(asdict(report) | {"waiting": found["waiting"]}, table(("what", "figure"), rows))
