"""Commands on safes, lifecycle classes and their keys, and what a depositor runs alone: seal-local."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli import app, running_archive, say, show, table
from deployments.commands_reading import archive_with
from deployments.inputs import require_file, require_text
from minutier.errors import BadInputError

safe_app = typer.Typer(help="Safes (coffres).", no_args_is_help=True)
class_app = typer.Typer(help="Lifecycle classes.", no_args_is_help=True)
app.add_typer(safe_app, name="safe")
app.add_typer(class_app, name="class")

_RECIPIENT = Annotated[
    list[str] | None, typer.Option("--recipient", help="age recipient of a client, age1…; may be repeated")
]
_ESCROW = Annotated[str | None, typer.Option("--escrow", help="age recipient of the escrow; `none` leaves it out")]


@safe_app.command("list")
def list_safes() -> None:
    """List the safes, who holds their keys, and their recipients."""
    from storage import safes

    with running_archive() as archive, archive.database.transaction() as connection:
        found = list(safes.safes(connection))
        for item in found:
            recipients = safes.recipients_of(connection, item["name"])
            item["holder"] = safes.HOST if recipients.host else safes.CLIENT
            item["recipients"] = recipients.all
            item["escrow"] = bool(recipients.escrow)
    rows: list[tuple[object, ...]] = [
        (item["name"], item["title"], item["documents"], item["holder"], _short(item["recipients"])) for item in found
    ]
    show(found, table(("safe", "title", "documents", "keys held by", "recipients"), rows))


def _short(recipients: tuple[str, ...]) -> str:
    return " ".join(each if len(each) < 80 else f"{each[:24]}…{each[-8:]}" for each in recipients)


@safe_app.command("create")
def create_safe(
    name: str,
    title: Annotated[str, typer.Option(help="a name that people read")] = "",
    recipient: _RECIPIENT = None,
    escrow: _ESCROW = None,
) -> None:
    """Create a safe: with a key of its own here, or, with --recipient, for keys that its clients hold."""
    from storage import safes

    require_text(title=title)
    with running_archive() as archive:
        made = safes.create_safe(archive, name, title or name, recipients=recipient or (), escrow=escrow)
        if not made:
            safes.require_same(archive, name, title, recipient or (), escrow)
        with archive.database.transaction() as connection:
            found = safes.recipients_of(connection, name)
    holder = safes.HOST if found.host else safes.CLIENT
    words = f"Safe {name} {'created' if made else 'was there already'}; its keys are held by the {holder}."
    if not found.escrow:
        words += "\nIt has no escrow: when its clients lose their identities, every document in it is lost."
    value = {"safe": name, "created": made, "holder": holder, "recipients": found.all, "escrow": bool(found.escrow)}
    show(value, words)


@safe_app.command("rekey")
def rekey_safe(
    name: str,
    recipient: _RECIPIENT = None,
    escrow: _ESCROW = None,
    identity: Annotated[
        list[Path] | None, typer.Option("--identity", help="age identity file that opens the keys of today")
    ] = None,
) -> None:
    """Wrap the document keys of a safe again, for new recipients; no object is rewritten. Run again, it goes on."""
    from storage.rekey import rekey_safe as rekey

    with archive_with(identity) as archive:
        report = rekey(
            archive,
            name,
            recipients=recipient or (),
            escrow=escrow,
            progress=lambda done, waiting: say(f"rekey {name}: {done} of {waiting} keys"),
        )
    value = {"safe": name, "keys": report.keys, "total": report.total, "recipients": report.recipients}
    words = f"{report.keys} of {report.total} document keys wrapped again, for {_short(report.recipients)}"
    if report.resumed and not report.keys:
        words = f"Nothing to do: all {report.total} document keys are wrapped for {_short(report.recipients)} already."
        words += " For other recipients, give --recipient."
    show(value | {"resumed": report.resumed}, words)


@class_app.command("list")
def list_classes() -> None:
    """List the lifecycle classes."""
    from storage import classes

    with running_archive() as archive, archive.database.transaction() as connection:
        found = classes.all_classes(connection)
    rows: list[tuple[object, ...]] = [
        (each.name, each.title, each.words(), "required" if each.needs_visa else "", each.mode) for each in found
    ]
    value = [dataclasses.asdict(each) | {"needs_visa": each.needs_visa} for each in found]
    show(value, table(("class", "title", "kept", "visa", "mode"), rows))


@class_app.command("create")
def create_class(
    name: str,
    years: Annotated[int, typer.Option(help="years that documents are kept, 1 to 100")],
    mode: Annotated[str, typer.Option(help="managed, or blind: the depositor encrypts")] = "managed",
    title: Annotated[str, typer.Option(help="a name that people read")] = "",
    fate: Annotated[str, typer.Option(help="what becomes of them then: destroy, sort, or keep")] = "destroy",
    calendar: Annotated[bool, typer.Option("--calendar", help="to the 1 January that follows the years")] = False,
    visa: Annotated[bool, typer.Option("--visa", help="nothing goes without the archives' visa")] = False,
    on_event: Annotated[bool, typer.Option("--on-event", help="the years run from an event, declared later")] = False,
    active_years: Annotated[int, typer.Option(help="of the years, those of the active period (DUC)")] = 0,
) -> None:
    """Create a lifecycle class. Its terms never change afterwards."""
    from storage import classes

    require_text(title=title)
    term = classes.CALENDAR if calendar else classes.FROM_DEPOSIT
    starts = classes.ON_EVENT if on_event else classes.FROM_DEPOSIT
    wanted = classes.LifecycleClass(name, title or name, years, mode, fate, term, visa, active_years, starts)
    with running_archive() as archive:
        made = classes.create_class(archive, wanted)
    words = f"Class {name} {'created' if made else 'was there already'}: {wanted.words()}, {mode}."
    value = {"class": name, "created": made, "years": years, "mode": mode, "fate": fate, "term": term}
    show(value | {"starts": starts, "active_years": active_years}, words)


@app.command("seal-local")
def seal_local(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", readable=False)],
    recipient: Annotated[list[str], typer.Option("--recipient", help="age recipient, age1…; may be repeated")],
    output: Annotated[Path, typer.Option("-o", "--output", help="directory for what is written")],
) -> None:
    """Encrypt documents here for a blind deposit; needs no instance, and sends nothing anywhere."""
    from storage.blind import seal_local as seal

    if not output.is_dir():
        raise BadInputError("BAD_OUTPUT", f"There is no directory {output}.", remedy="Make it first.")
    for path in files:
        require_file(path)
    client, written = f"minutier {version('minutier')}", []
    for path in files:
        ciphertext, wrapped, statement = seal(path, output, recipient, client)
        written.append(
            {"file": str(path), "ciphertext": str(ciphertext), "wrapped_key": str(wrapped), "statement": str(statement)}
        )
        say(f"{path.name}: encrypted")
    words = "\n".join(
        f"minutier deposit {item['ciphertext']} --blind {item['statement']} --safe SAFE --class CLASS"
        for item in written
    )
    show(written, f"Deposit what was written, in a safe of its recipients and a class of mode blind:\n{words}")
