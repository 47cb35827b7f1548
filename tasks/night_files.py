"""The files of a night in `HOME/reports/DAY/`: what an auditor is given, without the Prefect server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from storage.archive import Archive
from storage.files import write_durably


def keep_report(archive: Archive, at: datetime, name: str, value: Mapping[str, Any], pages: Mapping[str, str]) -> Path:
    """Write `name-TIME.json` and `name-TIME.SUFFIX` for each page; gives the folder of the day. Times are UTC."""
    folder, stem = archive.settings.home / "reports" / f"{at:%Y-%m-%d}", f"{name}-{at:%H%M%S}Z"
    write_durably(folder / f"{stem}.json", json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n")
    for suffix, page in pages.items():
        write_durably(folder / f"{stem}.{suffix}", page.encode())
    return folder
