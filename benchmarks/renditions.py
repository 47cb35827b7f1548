"""What becomes of every file of a folder: `python -m benchmarks.renditions FOLDER` screens, renders, prints a table.

Each file as the archive would take it, in the isolated child, without antivirus. With `--each`, one line a file.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from minutier.errors import RefusedDocumentError
from tasks.isolate import close_workers
from tasks.limits import Limits
from tasks.render import render
from tasks.screen import screen


def outcome(path: Path, folder: Path) -> str:
    """Give what becomes of a file: its rung and verdict, or why it is refused."""
    limits = Limits()
    try:
        screened = screen(path, path.name, limits, None)
    except RefusedDocumentError as error:
        return f"refused: {error.code}"
    report = render(path, screened.media_type, folder / "rendition.pdf", limits, screened.pages)
    return ", ".join(filter(None, (f"`{report.rung}`", report.verdict.replace("_", " "), report.reason)))


def main(arguments: list[str]) -> None:
    """Print the table of a folder."""
    files = sorted(path for path in Path(arguments[0]).rglob("*") if path.is_file() and path.suffix != ".csv")
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="renditions-") as folder:
        for path in files:
            started = time.monotonic()
            found = outcome(path, Path(folder))
            counts[found] += 1
            if "--each" in arguments:
                print(f"{path.name}: {found}, {time.monotonic() - started:.2f} s")
    close_workers()
    print("| Outcome | Files |\n|---|---|")
    for found, count in counts.most_common():
        print(f"| {found} | {count} |")


if __name__ == "__main__":
    main(sys.argv[1:])
