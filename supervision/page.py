"""The status page: read-only HTML in French and English, with nothing from anywhere else."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any

from minutier.events import format_time
from supervision.notices import remedy
from supervision.register import Alarm, Archive
from supervision.watch import Watch

_STYLE = (
    "body{font:16px/1.5 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#212b3d}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #c7cfd9;padding:.4rem;text-align:left;"
    "vertical-align:top}.good{background:#e3f1e6}.bad{background:#f8e0de}small{color:#626b7c}"
)


def status(watch: Watch) -> dict[str, Any]:
    """Give what stands now: each archive with its head, each alarm that is not closed."""
    standing = watch.register.alarms(standing=True)
    return {
        "at": format_time(watch.clock()),
        "good": not standing,
        "witness": watch.witness.vkey(),
        "archives": [_archive(each) for each in watch.register.archives()],
        "alarms": [_alarm(each) for each in standing],
    }


def page(watch: Watch) -> bytes:
    """Draw the status page."""
    found = status(watch)
    tone = "good" if found["good"] else "bad"
    verdict = (
        ("Tout est en ordre.", "All is well.")
        if found["good"]
        else (f"{len(found['alarms'])} alarme(s) en cours.", f"{len(found['alarms'])} alarm(s) standing.")
    )
    rows = "".join(
        f"<tr><td>{escape(each['name'])}</td><td>{each['entries']}</td><td>{each['bundles']}</td>"
        f"<td>{each['heard'] or '–'}</td><td>{each['nightly'] or '–'}</td></tr>"
        for each in found["archives"]
    )
    alarms = "".join(
        f"<tr class=bad><td>{escape(each['archive'])}</td><td>{escape(each['code'])}</td><td>{each['opened_at']}</td>"
        f"<td>{escape(each['message'])}<br><small>{escape(each['remede'])}<br>{escape(each['remedy'])}</small></td>"
        f"<td>{escape(each['acknowledged_by']) or '–'}</td></tr>"
        for each in found["alarms"]
    )
    text = (
        f"<!doctype html><html lang=fr><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Minutier – supervision</title><style>{_STYLE}</style><h1>Minutier – supervision</h1>"
        f"<p class={tone}><strong>{verdict[0]}</strong> <span lang=en>{verdict[1]}</span></p>"
        f"<p><small>{found['at']}</small></p>"
        "<table><tr><th>archive<th>écritures / entries<th>lots / bundles<th>entendue / heard"
        f"<th>nuit / nightly</tr>{rows}</table>"
        + (
            "<h2>Alarmes / Alarms</h2><table><tr><th>archive<th>code<th>depuis / since<th>fait / what"
            f"<th>vue par / seen by</tr>{alarms}</table>"
            if alarms
            else ""
        )
    )
    return text.encode()


def _written(moment: datetime | None) -> str | None:
    return format_time(moment) if moment else None


def _archive(each: Archive) -> dict[str, Any]:
    return {
        "name": each.name,
        "entries": each.head.last,
        "bundles": each.head.number,
        "heard": _written(each.received_at),
        "nightly": _written(each.nightly_at),
    }


def _alarm(each: Alarm) -> dict[str, Any]:
    english, french = remedy(each.code)
    return {
        "id": each.id,
        "archive": each.archive,
        "code": each.code,
        "message": each.message,
        "opened_at": format_time(each.opened_at),
        "acknowledged_by": each.acknowledged_by,
        "remedy": english,
        "remede": french,
    }
