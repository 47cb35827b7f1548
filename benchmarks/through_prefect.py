"""The same deposit through Prefect: a whole embedded instance, flows/deposit.py run in a process of its own.

`measure` starts the instance and a child process with the environment of a worker; the child receives the papers and
runs the flow, so that the time counts every call to the Prefect server and none of its start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.rendition import papers
from benchmarks.rig import say, scratch
from deployments import instance
from storage.settings import load_settings


def measure(documents: int) -> dict[str, Any]:
    """Deposit one batch of `documents` papers by one flow run; give documents per second and the flow's own part."""
    with scratch() as directory:
        home = directory / "home"
        settings = load_settings(home, {})
        try:
            instance.up(settings, lambda line: say(f"prefect: {line}"))
            complete = instance.connected(settings)
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
            environment |= instance.prefect_environment(settings)
            environment |= {
                "MINUTIER_HOME": str(home),
                "MINUTIER_DATABASE_URL": complete.database_url or "",
                "MINUTIER_TSA_URLS": ",".join(complete.tsa_urls or ()),
                "PREFECT_LOGGING_LEVEL": "ERROR",
            }
            command = [sys.executable, "-m", "benchmarks.through_prefect", str(directory), str(documents)]
            say(f"prefect: {documents} documents in one flow run")
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=3600)
            found: dict[str, Any] = json.loads(done.stdout)
            return found
        finally:
            instance.down(settings)


def _inside(directory: Path, documents: int) -> dict[str, Any]:
    from flows.deposit import deposit_documents
    from storage.bootstrap import close_current, current_archive
    from storage.reception import Delivery, receive
    from tasks.prefect_step import Ticket, ticket_of

    archive = current_archive()
    files = papers(directory, documents + 1, 1)

    def take(path: Path) -> Ticket:
        delivery = Delivery(path, "demo", "default", path.name, "benchmark", name=path.name)
        return ticket_of(receive(archive, delivery))

    def carry(title: str, batch: list[Path]) -> float:
        started = time.perf_counter()
        state = deposit_documents(title, [take(path) for path in batch], return_state=True)
        if state.name != "Archived":
            raise RuntimeError(f"{title} ended {state.name}: {state.message}")
        return time.perf_counter() - started

    carry("warm-up", files[:1])
    seconds = carry("measured", files[1:])
    close_current()
    return {
        "documents": documents,
        "documents_per_second": round(documents / seconds, 2),
        "ms_per_document": round(1000 * seconds / documents, 1),
    }


def main() -> None:
    """Run the child's part: `python -m benchmarks.through_prefect DIRECTORY DOCUMENTS`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("documents", type=int)
    options = parser.parse_args()
    print(json.dumps(_inside(options.directory, options.documents)))


if __name__ == "__main__":
    main()
