"""`minutier deposit` killed with SIGKILL at random steps, and run again: ten documents, each archived once."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from deployments.instance import embedded_database_url
from storage.catalogue import STATES
from storage.directory import DirectoryStore
from storage.settings import load_settings
from tasks.samples.feeds import generate
from tests.support.cli import command, environment, minutier

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(900)]

KILLS, DOCUMENTS, SEED = 10, 10, 20261123
# Large enough to pass through every engine, small enough that ten of them take seconds.
LARGEST = 400_000


def corpus() -> list[Path]:
    folder = Path(os.environ.get("MINUTIER_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.rglob("*") if p.suffix in (".pdf", ".png", ".jpg") and p.stat().st_size < LARGEST)


@pytest.fixture(params=["samples", pytest.param("corpus", marks=[pytest.mark.corpus, pytest.mark.long])])
def files(request, tmp_path):
    if request.param == "corpus":
        if not (found := corpus()):
            pytest.skip("the folder of real documents is not here: name it in MINUTIER_CORPUS")
        return random.Random(SEED).sample(found, 30)
    generate(tmp_path / "feed", "mairie")
    return sorted((tmp_path / "feed").rglob("*.pdf"))


def states(home, safe):
    return Counter(item["state"] for item in minutier(home, "list", "--safe", safe).json)


def test_ten_documents_killed_ten_times(instance, files, tmp_path):
    safe = f"killed-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    assert minutier(instance, "safe", "create", safe).code == 0
    chosen = [Path(shutil.copy(path, tmp_path / f"{number:02}{path.suffix}")) for number, path in enumerate(files)]
    chosen = unlike(chosen)[:DOCUMENTS]
    arguments = ["deposit", *chosen, "--safe", safe]
    draw, struck = random.Random(SEED), list[Counter[str]]()
    with psycopg.connect(embedded_database_url(load_settings(instance, {})), autocommit=True) as connection:
        for least in sorted(draw.sample(range(1, DOCUMENTS * len(STATES) - 5), KILLS)):
            before = advance(stood(connection, safe))

            def moved(least=least, before=before):
                return advance(stood(connection, safe)) >= max(least, before + 1)

            if killed(command(instance, "--json", *arguments), moved, draw.uniform(0.0, 0.2)):
                struck.append(stood(connection, safe))
    assert len(struck) >= KILLS // 2, struck
    assert len({tuple(sorted(each.items())) for each in struck}) >= 3, struck
    assert {"SCREENED", "RENDERED", "SEALED", "STAMPED", "STORED", "COMMITTED", "LOCKED"} & set().union(*struck), struck
    final = minutier(instance, *arguments, timeout=600)
    ids = [item["archive_id"] for item in final.json]
    told = {item["archive_id"]: item["state"] for item in final.json}
    refused = [item for item in final.json if item["state"] == "REFUSED"]
    assert len(set(ids)) == DOCUMENTS
    assert not refused, refused
    assert set(told.values()) == {"ARCHIVED"}
    assert states(instance, safe) == {"ARCHIVED": DOCUMENTS}
    one_commit_each(instance, ids)
    nothing_stray(instance, safe, ids)
    back_bit_for_bit(instance, ids, chosen, tmp_path)


def stood(connection, safe):
    """How many documents of the safe stand in each state."""
    rows = connection.execute("SELECT state, count(*) FROM deposit WHERE safe = %s GROUP BY state", (safe,))
    return Counter(dict(rows.fetchall()))


def advance(found):
    """How many steps all the documents together have made."""
    return sum((1 + STATES.index(state)) * count for state, count in found.items())


def killed(arguments, moved, delay):
    """Start a command and kill it `delay` seconds after it has moved on; False when it had ended by itself."""
    process = subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and not moved():
        time.sleep(0.01)
    time.sleep(delay)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # The kernel's word: one that ended between the look and the kill was not struck.
    return process.wait() == -signal.SIGKILL


def unlike(paths):
    """Keep one of each content: the same bytes are the same deposit."""
    return list({path.read_bytes(): path for path in paths}.values())


def one_commit_each(home, ids):
    lines = minutier(home, "journal").json
    for event in ("deposit:received", "deposit:committed", "deposit:archived"):
        counted = Counter(line["archive_id"] for line in lines if line["event"] == event)
        assert [counted[each] for each in ids] == [1] * len(ids), event


def nothing_stray(home, safe, ids):
    pointers = {}
    for each in ids:
        for copy in minutier(home, "metadata", each).json["copies"]:
            pointers[(each, copy["role"], copy["replica"])] = copy
    counted = Counter()
    for name in ("a", "b"):
        store = DirectoryStore(f"replica-{name}", home / "replicas" / name)
        for version in store.list_objects(f"{safe}/"):
            lock = store.lock_state(version.key, version.version_id)
            if lock.legal_hold:
                counted[version.key] += 1
            else:
                assert lock.retain_until is not None
                assert lock.retain_until <= datetime.now(UTC) + timedelta(days=7, minutes=1), version.key
    assert set(counted.values()) == {2}
    assert len(counted) * 2 == len(pointers)
    assert all(copy["health"] == "good" for copy in pointers.values())


def back_bit_for_bit(home, ids, sources, folder):
    for archive_id, source in zip(ids, sources, strict=True):
        out = folder / "back"
        assert minutier(home, "read", archive_id, "-o", out).code == 0
        assert out.read_bytes() == source.read_bytes(), json.dumps(archive_id)
