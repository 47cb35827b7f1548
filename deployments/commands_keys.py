"""Commands on sealing keys: list with their counts, rotate, revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli import app, running_archive, say, show, table

if TYPE_CHECKING:
    from storage.seal_keys import KeyCount, SealKey

key_app = typer.Typer(help="Sealing keys.", no_args_is_help=True)
app.add_typer(key_app, name="key")


@key_app.command("list")
def list_keys() -> int:
    """List the sealing keys, and compare the count of their uses with the journal."""
    from storage import seal_keys

    with running_archive() as archive, archive.database.transaction() as connection:
        counts = seal_keys.count(connection)
        waiting = seal_keys.waiting(connection)
    rows: list[tuple[object, ...]] = [_row(count) for count in counts]
    words = table(("key", "kind", "state", "since", "uses", "journaled", "waiting", "trouble"), rows)
    if waiting:
        uses: list[tuple[object, ...]] = [tuple(each.values()) for each in waiting]
        words += (
            f"\n\nUses that no act took into the journal (it did not end, or has not yet):\n{table(_WAITING, uses)}"
        )
    show([_counted(count) | {"waiting_uses": _of(waiting, count)} for count in counts], words)
    return 1 if any(count.trouble for count in counts) else 0


@key_app.command("rotate")
def rotate_key(
    second: Annotated[bool, typer.Option("--second", help="the key of second seals instead")] = False,
) -> None:
    """Seal with another key from now on; old seals and proofs stay good."""
    from storage.key_acts import rotate
    from storage.seal_keys import SEAL, SECOND

    with running_archive() as archive:
        made = rotate(archive, SECOND if second else SEAL)
    show(_described(made), f"The sealing key is {made.name} from now on.")


@key_app.command("revoke")
def revoke_key(
    key: str,
    reason: Annotated[str, typer.Option(help="keyCompromise, superseded, cessationOfOperation, … (RFC 5280)")],
) -> None:
    """Revoke a sealing key from now on; seals that a token dates before stay good."""
    from storage.key_acts import revoke

    with running_archive() as archive:
        found, listed = revoke(archive, key, reason)
    if listed:
        say("Give the new revocation list (root.crl, or root-mldsa65.crl, in the trust directory) to those who verify.")
    else:
        say("Its certificate is of another authority: have it revoked there, and add its new list to the anchors.")
    say("To seal again: minutier key rotate" if found.retired_at is None else "It was not in use any more.")
    show(
        _described(found) | {"listed": listed}, f"{found.name} is revoked since {found.revoked_at:%Y-%m-%dT%H:%M:%SZ}."
    )


_WAITING = ("key", "number", "act", "archive_id", "reserved at")


def _row(count: KeyCount) -> tuple[object, ...]:
    if count.key is None:
        return (count.name, "", "unknown", "", "", count.journaled, count.waiting, count.trouble)
    key = count.key
    since = key.revoked_at or key.retired_at or key.active_from
    uses = (key.uses, count.journaled, count.waiting)
    return (key.name, key.kind, key.state, f"{since:%Y-%m-%d}", *uses, count.trouble)


def _counted(count: KeyCount) -> dict[str, Any]:
    described = _described(count.key) if count.key else {"key": count.name, "state": "unknown"}
    return described | {"journaled": count.journaled, "waiting": count.waiting, "trouble": count.trouble}


def _described(key: SealKey) -> dict[str, Any]:
    from minutier.certificates import name_of

    times = {name: getattr(key, name) for name in ("active_from", "retired_at", "revoked_at")}
    return {
        "key": key.name,
        "kind": key.kind,
        "state": key.state,
        "subject": name_of(key.certificate),
        "certificate_sha256": key.sha256,
        **{name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else None for name, moment in times.items()},
        "reason": key.reason,
        "uses": key.uses,
    }


def _of(waiting: list[dict[str, Any]], count: KeyCount) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in each.items() if name != "key"} for each in waiting if each["key"] == count.name
    ]
