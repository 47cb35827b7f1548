"""Speed of the journal, against a named baseline in the same run: one hash chain in the transaction of each act.

    uv run python -m benchmarks.journal --json

Ours: each act appends its entry in its own transaction, eight workers at once; one sequencer numbers, chains and tiles
what was committed. Measured until every entry is numbered. Baseline: the design that most journals have, where each act
locks the head of the chain, hashes its entry onto it and inserts it, in the same transaction, with as many workers.
Both on the embedded PostgreSQL, fsync and synchronous commit on, with the same entries; in a second pair every act also
takes some milliseconds between its entry and its commit, as acts do. Then one line among very many is proven.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.rig import Rig, load_average, machine, running, say, scratch
from minutier import merkle
from minutier.events import Event, encode_entry
from storage import journal, tiles
from storage.database import Connection

BASELINE = "one chain: SELECT head FOR UPDATE, SHA-256, INSERT, UPDATE head, in the transaction of each act"
WORKERS = 8
_BATCH = 50
_ACT_SECONDS = 0.005


def measure(entries: int, lines: int) -> dict[str, Any]:
    """Write so many entries by each side, then prove lines of a journal of `lines` entries."""
    load = load_average()
    with scratch() as directory, running(directory) as rig:
        with rig.archive.database.transaction() as connection:
            connection.execute("CREATE TABLE chain_head (seq bigint NOT NULL, chain bytea NOT NULL)")
            connection.execute("INSERT INTO chain_head (seq, chain) VALUES (0, %s)", (bytes(32),))
            connection.execute("CREATE TABLE chain_event (seq bigint PRIMARY KEY, entry bytea, chain bytea)")
        found: dict[str, Any] = {}
        for name, seconds, batch in (("batches", 0.0, _BATCH), ("acts", _ACT_SECONDS, 1)):
            count = entries if batch > 1 else entries // 4
            say(f"journal: {count} entries, {name}")
            ours, theirs = _ours(rig, count, batch, seconds), _theirs(rig, count, batch, seconds)
            found[name] = {
                "entries": count,
                "entries_per_transaction": batch,
                "act_ms": 1000 * seconds,
                "minutier": {"entries_per_second": round(count / ours)},
                "chain": {"entries_per_second": round(count / theirs)},
                "ratio": round(theirs / ours, 1),
            }
        proven = _proven(rig, lines)
    return {
        "machine": machine(),
        "load_before_and_after": [load, load_average()],
        "workers": WORKERS,
        "baseline": BASELINE,
        **found,
        "proof": proven,
    }


def _work(rig: Rig, count: int, batch: int, act: Callable[[Connection, int], None]) -> None:
    def one(_number: int) -> None:
        with rig.archive.database.transaction() as connection:
            act(connection, batch)

    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(one, range(count // batch)))


def _ours(rig: Rig, count: int, batch: int, seconds: float) -> float:
    def act(connection: Connection, size: int) -> None:
        about = [("", "demo", {"number": number}) for number in range(size)]
        journal.append_all(connection, Event.STORE_PROBED, rig.archive.clock(), about)
        time.sleep(seconds)

    done = threading.Event()

    def sequence() -> None:
        while True:
            over = done.is_set()
            with rig.archive.database.transaction() as connection:
                numbered = journal.sequence(connection)
            if over and not numbered:
                return
            if not numbered:
                time.sleep(0.02)

    started = time.perf_counter()
    sequencer = threading.Thread(target=sequence)
    sequencer.start()
    _work(rig, count, batch, act)
    done.set()
    sequencer.join()
    return time.perf_counter() - started


def _theirs(rig: Rig, count: int, batch: int, seconds: float) -> float:
    def act(connection: Connection, size: int) -> None:
        row = connection.execute("SELECT seq, chain FROM chain_head FOR UPDATE").fetchone()
        if row is None:
            raise RuntimeError("the chain has no head")
        seq, chain, rows = int(row["seq"]), bytes(row["chain"]), []
        for number in range(size):
            entry = encode_entry(
                Event.STORE_PROBED, event_uuid=str(uuid.uuid4()), at=rig.archive.clock(), actor=journal.ACTOR,
                safe="demo", details={"number": number},
            )  # fmt: skip
            seq, chain = seq + 1, hashlib.sha256(chain + merkle.leaf_hash(entry)).digest()
            rows.append((seq, entry, chain))
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO chain_event (seq, entry, chain) VALUES (%s, %s, %s)", rows)
        connection.execute("UPDATE chain_head SET seq = %s, chain = %s", (seq, chain))
        time.sleep(seconds)

    started = time.perf_counter()
    _work(rig, count, batch, act)
    return time.perf_counter() - started


def _proven(rig: Rig, lines: int) -> dict[str, Any]:
    """Fill the journal with copies of one entry and new leaves, make its tiles, then prove lines of it."""
    database = rig.archive.database
    with database.transaction() as connection:
        known, _ = journal.head(connection)
        say(f"journal: filling up to {lines} entries")
        connection.execute(
            "INSERT INTO journal_event (event, at, entry, leaf, seq, chain) SELECT e.event, e.at, e.entry,"
            " sha256(int8send(n)), n, e.chain FROM (SELECT * FROM journal_event WHERE seq = 1) e,"
            " generate_series(%s::bigint, %s) AS n",
            (known + 1, lines),
        )
    with database.transaction() as connection:
        connection.execute("ANALYZE journal_event")
        while tiles.extend(connection, lines, most=1000):
            pass
        root = tiles.Tree(connection, lines).root()
    taken = []
    for seq in range(1, lines, lines // 100):
        started = time.perf_counter()
        with database.transaction() as connection:
            row = connection.execute("SELECT leaf FROM journal_event WHERE seq = %s", (seq,)).fetchone()
            path = tiles.Tree(connection, lines).inclusion(seq - 1)
        taken.append(time.perf_counter() - started)
        if row is None or not merkle.verify_inclusion(bytes(row["leaf"]), seq - 1, lines, path, root):
            raise RuntimeError(f"entry {seq} is not proven")
    with database.transaction() as connection:
        started = time.perf_counter()
        every = journal.leaves(connection, lines)
        if merkle.inclusion_proof(every, lines // 3) != tiles.Tree(connection, lines).inclusion(lines // 3):
            raise RuntimeError("the path through tiles is another one")
        plain = time.perf_counter() - started
    return {
        "lines": lines,
        "median_ms": round(1000 * statistics.median(taken), 2),
        "worst_ms": round(1000 * max(taken), 2),
        "without_tiles_ms": round(1000 * plain, 1),
        "ratio": round(plain / statistics.median(taken)),
    }


def rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Lay the result out as (what, figure, detail)."""
    lines = []
    for name in ("batches", "acts"):
        pair = result[name]
        what = f"journal, {pair['entries_per_transaction']} a commit"
        detail = f"one chain {pair['chain']['entries_per_second']}/s, ratio {pair['ratio']}"
        lines.append((what, f"{pair['minutier']['entries_per_second']} entries/s", detail))
    proof = result["proof"]
    detail = f"worst {proof['worst_ms']} ms; without tiles {proof['without_tiles_ms']:.0f} ms"
    lines.append((f"proof of one in {proof['lines']}", f"{proof['median_ms']} ms", detail))
    return lines


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=20_000, help="entries of each side (default 20000)")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of the journal that lines are proven of")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    result = measure(options.entries, options.lines)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for what, figure, detail in rows(result):
        print(f"{what:28} {figure:>20}   {detail}")


if __name__ == "__main__":
    main()
