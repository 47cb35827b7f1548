"""What an archive, or a thief with its keys, does under a moved clock: `python -m tests.support.moved_acts ACT …`.

Run through tests/support/moved_clock.py. Prints one JSON document.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from minutier.errors import MinutierError, PolicyRefusedError
from storage.bootstrap import opened_archive, probe_store
from storage.reception import Delivery, receive
from storage.worm import PROBE_PREFIX
from tests.support.machine import Instance
from tests.support.rig import carry


def deposit(instance: Instance, path: str, reference: str) -> str:
    """Try to archive one document; gives its state, or the code of the error."""
    try:
        with opened_archive(instance.settings) as archive:
            received = receive(archive, Delivery(Path(path), "demo", "default", reference, "tests", name="file.pdf"))
            (found,) = carry(archive, [received.archive_id])
            return found.state
    except MinutierError as error:
        return error.code


def canary(instance: Instance) -> dict[str, str]:
    """Run the canary on every replica: what it says of the clocks, or the code of the error."""
    said = {}
    with opened_archive(instance.settings) as archive:
        for store in archive.replicas:
            try:
                report = probe_store(archive, store.name)
                said[store.name] = "ok" if report.ok else report.acts[0].act if not report.acts[0].ok else "other"
            except MinutierError as error:
                said[store.name] = error.code
    return said


def steal(instance: Instance) -> dict[str, int]:
    """Try to delete every version of every document, as whoever holds the keys of the stores may try."""
    said: Counter[str] = Counter()
    with opened_archive(instance.settings) as archive:
        for store in archive.replicas:
            for version in [each for each in store.list_objects("") if not each.key.startswith(PROBE_PREFIX)]:
                try:
                    store.delete_version(version.key, version.version_id)
                    said["deleted"] += 1
                except PolicyRefusedError:
                    said["refused"] += 1
    return dict(said)


def main() -> None:
    """Do one act on an instance."""
    act, home, environment, *rest = sys.argv[1:]
    instance = Instance(Path(home), json.loads(environment))
    acts = {"deposit": deposit, "canary": canary, "steal": steal}
    print(json.dumps(acts[act](instance, *rest)))


if __name__ == "__main__":
    main()
